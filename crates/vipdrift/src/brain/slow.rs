//! The second thread: control API and everything else that may take its time.

use std::fs::File;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};
use vipdrift_control::{
    Accept, Drill, DrillRequest, Events, EventsRequest, Failure, Handler, NodeRequest, Request, Status, serve,
};
use vipdrift_core::{Drained, GroupIndex, Scope, drill_limit, move_limit};
use vipdrift_platform::endpoint::{Accepts, Listener, Stream};
use vipdrift_platform::poll::Wake;

use super::degraded::Shared;
use super::heart::{Ask, HeartReport};
use super::history::{History, News};
use super::page::{self, Page};
use super::status::{self, WallClock};
use crate::config::{Resolved, Secrets, nearest};
use crate::log::Log;
use crate::state;
use crate::writers::Writers;

/// Deep enough for hyper and serde; the default of 2 MiB would be locked memory for nothing.
const STACK: usize = 512 * 1024;
/// How often it shows that it is alive.
const PULSE: Duration = Duration::from_millis(500);
/// The heart answers in microseconds or not at all.
const REPORT: Duration = Duration::from_secs(2);
/// What has no limit of its own in the core, such as a drain, is answered by then. What has one gets so much more than that.
const COMMAND: Duration = Duration::from_secs(60);
/// A wall clock that jumps by more is worth a line.
const JUMP: Duration = Duration::from_secs(1);

/// What the slow side is made of.
pub(super) struct SlowParts {
    pub(super) keeper_pid: u32,
    pub(super) keeper_real_time: String,
    pub(super) life_number: u32,
    /// What an operator had ordered that this brain begins with; empty: nothing.
    pub(super) ordered: String,
    pub(super) resolved: Resolved,
    /// Where the page is served, or why it is not.
    pub(super) page: String,
    pub(super) secrets: Secrets,
    pub(super) cluster: String,
    pub(super) state: Option<File>,
    pub(super) events: Vec<File>,
    pub(super) writers: Writers,
    pub(super) news: Receiver<News>,
    pub(super) to_keep: Receiver<Drained>,
    pub(super) log: Log,
    pub(super) asks: Sender<Ask>,
    pub(super) wake: Arc<Wake>,
    pub(super) pulse: Arc<AtomicU64>,
    pub(super) grants: Arc<Shared>,
    /// Woken when a peer says something new.
    pub(super) stirred: Arc<Notify>,
}

/// Starts the thread.
///
/// # Errors
/// No thread, or no descriptors.
pub(super) fn start(parts: SlowParts, control: Listener, page: Option<TcpListener>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .map_err(|error| format!("cannot make a runtime: {error}"))?;
    let thread = std::thread::Builder::new().name("slow".into()).stack_size(STACK);
    let body = move || runtime.block_on(run(parts, control, page));
    thread.spawn(body).map(drop).map_err(|error| format!("cannot make a thread: {error}"))
}

async fn run(mut parts: SlowParts, control: Listener, page: Option<TcpListener>) {
    let log = parts.log.clone();
    let pulse = Arc::clone(&parts.pulse);
    let state = parts.state.take();
    let history = Arc::new(History::open(std::mem::take(&mut parts.events), &parts.writers, &log));
    let (_, nothing) = tokio::sync::mpsc::channel(1);
    let mut news = std::mem::replace(&mut parts.news, nothing);
    let (_, nothing) = tokio::sync::mpsc::channel(1);
    let mut to_keep = std::mem::replace(&mut parts.to_keep, nothing);
    let inner = Arc::new(Inner { parts, state, history: Arc::clone(&history), clock: WallClock::new() });
    tokio::spawn(async move {
        while let Some(news) = news.recv().await {
            history.add(news);
        }
    });
    let keeping = Arc::clone(&inner);
    tokio::spawn(async move {
        while let Some(drained) = to_keep.recv().await {
            if let Err(why) = keeping.keep(&drained) {
                keeping
                    .parts
                    .log
                    .warning(format_args!("what is drained will be forgotten by a restart: {why}"));
            }
        }
    });
    let handler = Arc::new(Control(Arc::clone(&inner)));
    if let Some(listener) = page {
        match page::Accepts::new(listener) {
            Ok(accepts) => {
                let page = Page::new(Arc::clone(&handler), accepts.are_local());
                drop(tokio::spawn(serve(accepts, Arc::new(page))));
            }
            Err(error) => log.warning(format_args!("no page: {error}")),
        }
    }
    match Accepts::new(control) {
        Ok(accepts) => drop(tokio::spawn(serve(Connections(accepts), handler))),
        Err(error) => log.warning(format_args!("no control API: {error}")),
    }
    let mut ticks = interval(PULSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        pulse.fetch_add(1, Ordering::Relaxed);
        if let Some(jump) = inner.clock.follow(JUMP) {
            log.info(format_args!(
                "the wall clock was set by {:+.1} s; nothing here is decided by it",
                jump.as_secs_f64()
            ));
        }
    }
}

/// Connections of the control API.
struct Connections(Accepts);

impl Accept for Connections {
    type Stream = Stream;

    async fn accept(&mut self) -> std::io::Result<Stream> {
        self.0.accept().await
    }
}

/// Answers the control API.
pub(super) struct Control(Arc<Inner>);

impl Control {
    /// A fresh report of the heart.
    pub(super) async fn report(&self) -> Result<HeartReport, Failure> {
        self.0.report().await
    }

    /// What the report means.
    pub(super) fn status(&self, report: &HeartReport) -> Status {
        status::of(&self.0.parts, report, &self.0.clock)
    }

    /// What has happened.
    pub(super) fn history(&self) -> &History {
        &self.0.history
    }

    /// Ends when a peer says something new.
    pub(super) fn stirred(&self) -> Notified<'_> {
        self.0.parts.stirred.notified()
    }

    /// Whether this is the token of the page; `None`: there is none.
    pub(super) fn is_token(&self, text: &str) -> Option<bool> {
        self.0.parts.secrets.is_token(text)
    }
}

/// What it answers from.
struct Inner {
    parts: SlowParts,
    state: Option<File>,
    history: Arc<History>,
    clock: WallClock,
}

impl Inner {
    fn ask(&self, ask: Ask) -> Result<(), Failure> {
        let gone = || Failure::Unavailable("the daemon is ending".into());
        self.parts.asks.send(ask).map_err(|_| gone())?;
        self.parts.wake.wake();
        Ok(())
    }

    async fn report(&self) -> Result<HeartReport, Failure> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Report(answer))?;
        match timeout(REPORT, answered).await {
            Ok(Ok(report)) => Ok(report),
            _ => Err(Failure::Unavailable("the heartbeat thread does not answer".into())),
        }
    }

    async fn command(
        &self,
        limit: Duration,
        make: impl FnOnce(oneshot::Sender<Result<String, String>>) -> Ask,
    ) -> Result<String, Failure> {
        let (answer, answered) = oneshot::channel();
        self.ask(make(answer))?;
        match timeout(limit, answered).await {
            Ok(Ok(outcome)) => outcome.map_err(Failure::NotDone),
            _ => Err(Failure::Unavailable("no answer in time; it may still be done".into())),
        }
    }

    fn group(&self, name: &str) -> Result<GroupIndex, Failure> {
        let groups = &self.parts.resolved.groups;
        let found = groups.iter().position(|group| group.name == name);
        found
            .map(GroupIndex)
            .ok_or_else(|| unknown("group", name, groups.iter().map(|group| group.name.as_str())))
    }

    /// How long a claim of this group may wait for its program.
    fn gate(&self, GroupIndex(group): GroupIndex) -> Option<Duration> {
        self.parts.resolved.groups.get(group).and_then(|group| group.gate)
    }

    fn nodes(&self) -> impl Iterator<Item = &str> + Clone {
        let peers = self.parts.resolved.peers.iter().map(|peer| peer.name.as_str());
        std::iter::once(self.parts.resolved.name.as_str()).chain(peers)
    }

    fn known_node(&self, name: &str) -> Result<(), Failure> {
        if self.nodes().any(|node| node == name) { Ok(()) } else { Err(unknown("node", name, self.nodes())) }
    }

    /// Writes down what is drained.
    fn keep(&self, drained: &Drained) -> Result<(), String> {
        let file = self.state.as_ref().ok_or("the daemon could not open its state file at start")?;
        let groups = self.parts.resolved.groups.iter().filter(|group| drained.groups.contains(&group.id.0));
        let text = state::text(drained.node, groups.map(|group| group.name.as_str()));
        let _writing = self.parts.writers.begin();
        state::write(file, &text).map_err(|error| crate::config::plain(&error))
    }

    /// Drains or undrains; here it is on the disk before this answers.
    async fn order(&self, drain: bool, request: NodeRequest) -> Result<String, Failure> {
        if let Some(node) = &request.node {
            self.known_node(node)?;
        }
        let group = request.group.as_deref().map(|name| self.group(name)).transpose()?;
        let elsewhere = request.node.as_ref().is_some_and(|node| *node != self.parts.resolved.name);
        let scope = Scope { node: request.node, group };
        let ask = |answer| if drain { Ask::Drain { scope, answer } } else { Ask::Undrain { scope, answer } };
        let done = self.command(COMMAND, ask).await?;
        if elsewhere {
            return Ok(done);
        }
        let kept = self.report().await.map_err(|_| "it is ending".to_owned());
        Ok(match kept.and_then(|report| self.keep(&report.drained)) {
            Ok(()) => done,
            Err(why) => format!("{done}; but a restart of the daemon will forget it: {why}"),
        })
    }
}

impl Handler for Control {
    async fn status(&self) -> Result<Status, Failure> {
        let report = self.0.report().await?;
        Ok(status::of(&self.0.parts, &report, &self.0.clock))
    }

    async fn events(&self, request: EventsRequest) -> Result<Events, Failure> {
        if let Some(group) = &request.group {
            self.0.group(group)?;
        }
        Ok(Events { events: self.0.history.select(&request).await })
    }

    async fn drill(&self, request: DrillRequest) -> Result<Drill, Failure> {
        let group = self.0.group(&request.group)?;
        if let Some(to) = &request.to {
            self.0.known_node(to)?;
        }
        let (answer, answered) = oneshot::channel();
        let stay = Duration::from_millis(request.stay_ms).min(Drill::STAY);
        self.0.ask(Ask::Drill { group, to: request.to, stay, answer })?;
        let limit = drill_limit(self.0.gate(group), stay) + COMMAND;
        let legs = match timeout(limit, answered).await {
            Ok(Ok(outcome)) => outcome.map_err(Failure::NotDone)?,
            _ => return Err(Failure::Unavailable("no answer in time; it may still go on".into())),
        };
        Ok(status::drill(request.group, self.0.parts.resolved.name.clone(), &legs))
    }

    async fn command(&self, request: Request) -> Result<String, Failure> {
        let (drain, request) = match request {
            Request::Switchover(request) => {
                let group = self.0.group(&request.group)?;
                if let Some(to) = &request.to {
                    self.0.known_node(to)?;
                }
                let limit = move_limit(self.0.gate(group)) + COMMAND;
                let ask = |answer| Ask::Switchover { group, to: request.to, answer };
                return self.0.command(limit, ask).await;
            }
            Request::Reload => {
                let ask = |answer| Ask::Succeed { restart: false, keep: None, answer };
                return self.0.command(COMMAND, ask).await;
            }
            Request::Restart(request) => {
                let keep = request.keep_ms.map(Duration::from_millis);
                let ask = |answer| Ask::Succeed { restart: true, keep, answer };
                return self.0.command(COMMAND, ask).await;
            }
            Request::Drain(request) => (true, request),
            Request::Undrain(request) => (false, request),
            Request::Status => return Err(Failure::NotDone("not a command".into())),
        };
        // To the end, even if the client does not wait for it: what is done must be remembered.
        let inner = Arc::clone(&self.0);
        let done = tokio::spawn(async move { inner.order(drain, request).await });
        done.await.unwrap_or_else(|error| Err(Failure::Unavailable(error.to_string())))
    }
}

fn unknown<'k>(what: &str, name: &str, known: impl Iterator<Item = &'k str> + Clone) -> Failure {
    Failure::Unknown(match nearest(name, known.clone()) {
        Some(near) => format!("there is no {what} `{name}`; did you mean `{near}`?"),
        None => format!("there is no {what} `{name}`; known: {}", known.collect::<Vec<_>>().join(", ")),
    })
}
