//! The process that runs health checks and hooks: beside the brain, which may start nothing, and out of its way. A
//! program that hangs, a file system that hangs, a hundred of them, keep nobody but themselves.
//!
//! It is unprivileged like the brain, unless the configuration names a user for a program: then it stays root, to
//! become that user. It hears nothing from the network but the answers to its own questions.

mod hooks;
pub(crate) mod message;
mod roles;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use vipdrift_checks::{Pinger, Probe, Report, Tools, run as run_check};
use vipdrift_platform::descriptor::Number;
use vipdrift_platform::pipe::{MessagePipe, Received};
use vipdrift_platform::poll::{Signal, Signals};
use vipdrift_platform::readable::Readable;
use vipdrift_platform::sandbox::Account;
use vipdrift_platform::{process, sandbox};

use self::hooks::{Ended, Hooks};
use self::message::{FromRunner, RunnerSetup, ToRunner};
use self::roles::Roles;
use crate::log::Log;
use crate::message::encode;

/// How often it shows that it is at work.
const PULSE: Duration = Duration::from_millis(500);
/// Blocking threads end a program when they end themselves, so they do not.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// Looks at files that hang, and programs that do not start, occupy a thread each.
const THREADS: usize = 512;
/// Enough for what such a thread does.
const STACK: usize = 512 * 1024;
/// At the end a hook that runs and the one after it have their time, and this.
const LEAVING: Duration = Duration::from_secs(1);

/// Numbers of the descriptors that a runner starts from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inherited {
    pub(crate) setup: Number,
    pub(crate) pipe: Number,
    /// For which roles hooks have run.
    pub(crate) roles: Number,
    /// Hooks of an earlier runner may still run.
    pub(crate) waits: bool,
}

/// Runs checks and hooks until it is told to stop, or nobody is left to talk to.
///
/// # Errors
/// In a sentence, if it cannot begin.
pub(crate) fn run(inherited: Inherited) -> Result<(), String> {
    process::rename("vipdrift-runner");
    // What is said to the daemon as a whole, by Ctrl-C or by a service manager that tells every process of it, is the keeper's to
    // hear: it lets go first, and what that means is still to be told here.
    let signals = Signals::block_and_open(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup])
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    let text = |error: process::Error| error.to_string();
    let setup = process::inherited_bytes(inherited.setup).map_err(text)?;
    let setup: RunnerSetup = serde_json::from_slice(&setup).map_err(|error| error.to_string())?;
    let pipe = MessagePipe::from(process::inherited(inherited.pipe).map_err(text)?);
    let roles = Roles::new(process::inherited(inherited.roles).map_err(text)?.into());
    let mut ident = [0; 2];
    let _ = getrandom::fill(&mut ident);
    let pings = setup.checks.iter().any(|check| matches!(check.check.probe, Probe::Icmp(_)));
    // While it still may.
    let pinger = pings.then(|| Pinger::open(u16::from_ne_bytes(ident)).map(Arc::new));
    if !setup.keeps_root {
        let account = setup.account.clone().map(|a| Account { name: a.name, uid: a.uid, gid: a.gid });
        sandbox::drop_privileges(account.as_ref()).map_err(|error| {
            format!("will not run programs with privileges that it cannot give up: {error}")
        })?;
    }
    let log =
        Log::start(&setup.cluster, &setup.node).map_err(|error| format!("cannot make a thread: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .thread_keep_alive(FOR_EVER)
        .thread_stack_size(STACK)
        .build()
        .map_err(|error| format!("cannot make a runtime: {error}"))?;
    let hooks = (roles, inherited.waits);
    let ended = runtime.block_on(work(setup, pipe, hooks, pinger, log.clone()));
    drop(signals);
    log.flush();
    // Threads that hang in a file system are not waited for.
    runtime.shutdown_background();
    ended.map_err(|error| error.to_string())
}

async fn work(
    setup: RunnerSetup,
    pipe: MessagePipe,
    (roles, waits): (Roles, bool),
    pinger: Option<Result<Arc<Pinger>, String>>,
    log: Log,
) -> std::io::Result<()> {
    let told = Readable::of(&pipe)?;
    if let Some(Ok(pinger)) = &pinger {
        tokio::spawn(Arc::clone(pinger).listen());
    }
    let tools = Arc::new(Tools { pinger });
    let (mut checks, mut reports) = start_checks(&setup, &tools);
    let longest = setup.groups.iter().filter_map(|group| Some(group.hooks.as_ref()?.timeout)).max();
    let (ended, mut over) = mpsc::unbounded_channel();
    let hooks = Hooks::new(&setup, roles, ended, log);
    let mut last: Vec<Option<Report>> = setup.checks.iter().map(|_| None).collect();
    let mut side = Side { pipe, hooks };
    if !waits {
        side.hooks.begin_all();
    }
    side.say(&FromRunner::Hello);
    let mut pulse = interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            Some((check, report)) = reports.recv() => {
                last[check] = Some(report.clone());
                side.say(&FromRunner::Report { check, report });
            }
            Some(ended) = over.recv() => side.ended(ended),
            _ = pulse.tick() => side.say(&FromRunner::Pulse),
            ready = told.becomes() => {
                ready?;
                if !side.listen(&last) {
                    break;
                }
            }
        }
    }
    checks.abort_all();
    // What is to be told of the end is told to its end.
    let deadline = Instant::now() + longest.unwrap_or_default() * 2 + LEAVING;
    while side.hooks.is_busy() {
        match timeout_at(deadline, over.recv()).await {
            Ok(Some(ended)) => side.ended(ended),
            _ => break,
        }
    }
    Ok(())
}

/// The checks at work, and what they find.
fn start_checks(
    setup: &RunnerSetup,
    tools: &Arc<Tools>,
) -> (JoinSet<()>, UnboundedReceiver<(usize, Report)>) {
    let mut checks = JoinSet::new();
    let (send, reports) = mpsc::unbounded_channel();
    let mut phases = vec![0; setup.checks.len()];
    let _ = getrandom::fill(&mut phases);
    for (index, (named, phase)) in setup.checks.iter().zip(phases).enumerate() {
        let (check, tools, send) = (with_environment(named, &setup.node), Arc::clone(tools), send.clone());
        checks.spawn(async move {
            run_check(&check, phase, &tools, |report| {
                let _ = send.send((index, report));
            })
            .await;
        });
    }
    (checks, reports)
}

/// A program is told for whom it looks.
fn with_environment(named: &message::NamedCheck, node: &str) -> vipdrift_checks::Check {
    let mut check = named.check.clone();
    if let Probe::Exec(exec) = &mut check.probe {
        let pairs =
            [("VIPDRIFT_NODE", node), ("VIPDRIFT_GROUP", &named.group), ("VIPDRIFT_CHECK", &named.name)];
        exec.environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    }
    check
}

/// The way to the brain.
struct Side {
    pipe: MessagePipe,
    hooks: Hooks,
}

impl Side {
    fn say(&mut self, message: &FromRunner) {
        // A brain that does not read asks for everything when it begins anew.
        let _ = self.pipe.send(&encode(message));
    }

    /// A hook is over.
    fn ended(&mut self, ended: Ended) {
        let group = ended.group;
        if let Some((number, outcome)) = ended.prepared {
            self.say(&FromRunner::Prepared { group, number, outcome });
        }
        self.hooks.ended(group);
    }

    /// Everything that was said. False when nobody will say anything any more.
    fn listen(&mut self, last: &[Option<Report>]) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.pipe.receive(&mut buffer) {
                Ok(Received::Message(length)) => match serde_json::from_slice(&buffer[..length]) {
                    Ok(ToRunner::Hello) => {
                        let reports = last.iter().enumerate();
                        for (check, report) in reports.filter_map(|(at, report)| Some((at, report.clone()?)))
                        {
                            self.say(&FromRunner::Report { check, report });
                        }
                    }
                    Ok(ToRunner::Role(turn)) => self.hooks.turn(turn),
                    Ok(ToRunner::Begin) => self.hooks.begin_all(),
                    Ok(ToRunner::Finish) => return false,
                    Err(_) => {}
                },
                Ok(Received::Empty) => return true,
                Ok(Received::Closed) | Err(_) => return false,
            }
        }
    }
}
