//! A check at work.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::check::{Check, Probe};
use crate::http::Asker;
use crate::icmp::Pinger;
use crate::output::Outcome;
use crate::tally::Tally;
use crate::{exec, file, process, tcp, unit};

/// Results that change nothing are reported this often, for those who look.
const NEWS: Duration = Duration::from_secs(1);
/// A first look comes no later than this after the start.
const FIRST: Duration = Duration::from_millis(250);

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether it passes; `None` before there is a verdict.
    pub passing: Option<bool>,
    /// The last look.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// Looks so far.
    pub looks: u64,
}

/// What checks share.
#[derive(Debug, Default)]
pub struct Tools {
    /// For ICMP, or why there is none.
    pub pinger: Option<Result<Arc<Pinger>, String>>,
}

/// How a check looks, with what it keeps from one look to the next.
enum Eye {
    Tcp(std::net::SocketAddr),
    Http(Box<Asker>),
    Exec(crate::check::Exec),
    Process(crate::check::Subject, process::Watched),
    Unit(String, unit::Watched),
    File(std::path::PathBuf, Arc<Semaphore>),
    Icmp(std::net::IpAddr, Arc<Pinger>),
    /// It cannot look at all.
    Blind(String),
}

impl Eye {
    fn new(probe: &Probe, tools: &Tools) -> Self {
        match probe {
            Probe::Tcp(address) => Self::Tcp(*address),
            Probe::Http(http) => match Asker::new(http) {
                Ok(asker) => Self::Http(Box::new(asker)),
                Err(why) => Self::Blind(why),
            },
            Probe::Exec(exec) => Self::Exec(exec.clone()),
            Probe::Process(subject) => Self::Process(subject.clone(), process::Watched::default()),
            Probe::Unit(name) => Self::Unit(name.clone(), unit::Watched::default()),
            Probe::File(path) => Self::File(path.clone(), Arc::new(Semaphore::new(1))),
            Probe::Impossible(why) => Self::Blind(why.clone()),
            Probe::Icmp(address) => match &tools.pinger {
                Some(Ok(pinger)) => Self::Icmp(*address, Arc::clone(pinger)),
                Some(Err(why)) => Self::Blind(why.clone()),
                None => Self::Blind("there is no socket for ICMP".to_owned()),
            },
        }
    }

    async fn look(&mut self, limit: Duration) -> Outcome {
        let look = async {
            match self {
                Self::Tcp(address) => tcp::look(*address).await,
                Self::Http(asker) => asker.look().await,
                Self::Exec(exec) => exec::look(exec, limit).await,
                Self::Process(subject, watched) => watched.look(subject).await,
                Self::Unit(name, watched) => watched.look(name).await,
                Self::File(path, turn) => look_at_file(path, turn).await,
                Self::Icmp(address, pinger) => pinger.look(*address).await,
                Self::Blind(why) => Outcome::bad(why.clone()),
            }
        };
        // A program is ended by its own limit, a moment before this one.
        match timeout(limit + Duration::from_millis(100), timeout_unless_program(look, limit)).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) | Err(_) => Outcome::bad(format!("no answer within {} ms", limit.as_millis())),
        }
    }

    /// Waits until it is worth another look before its time.
    async fn stirred(&mut self) {
        match self {
            Self::Process(_, watched) => watched.ended().await,
            Self::Unit(_, watched) => watched.changed().await,
            _ => std::future::pending().await,
        }
    }
}

async fn timeout_unless_program(look: impl Future<Output = Outcome>, limit: Duration) -> Option<Outcome> {
    timeout(limit + Duration::from_millis(50), look).await.ok()
}

/// On a file system that hangs a look does not come back. It occupies one thread then, and the next looks do not wait
/// for it.
async fn look_at_file(path: &std::path::Path, turn: &Arc<Semaphore>) -> Outcome {
    let Ok(turn) = Arc::clone(turn).try_acquire_owned() else {
        return Outcome::bad(format!("{}: an earlier look still hangs", path.display()));
    };
    let wanted = path.to_owned();
    let look = tokio::task::spawn_blocking(move || {
        let outcome = file::look(&wanted);
        drop(turn);
        outcome
    });
    look.await.unwrap_or_else(|error| Outcome::bad(error.to_string()))
}

/// Runs a check for as long as it is let: dropping the future ends it, with the program that it may be running. Its first
/// look comes after a share of its interval, `phase` of 0 to 255, so that many checks do not look at once.
pub async fn run(check: &Check, phase: u8, tools: &Tools, mut report: impl FnMut(Report)) {
    let mut eye = Eye::new(&check.probe, tools);
    let mut tally = Tally::new(check.fall, check.rise, check.initially_passing);
    let mut looks = 0;
    let mut told: Option<(Instant, bool)> = None;
    if !check.probe.is_watched() {
        sleep(check.interval.min(FIRST) * u32::from(phase) / 256).await;
    }
    loop {
        let begun = Instant::now();
        let outcome = eye.look(check.timeout).await;
        looks += 1;
        let changed = tally.add(outcome.good).is_some();
        // A look that goes the other way is told too: people see a verdict coming.
        let news = told.is_none_or(|(at, good)| good != outcome.good || at.elapsed() >= NEWS);
        if changed || news {
            told = Some((Instant::now(), outcome.good));
            report(Report { passing: tally.passing(), outcome, took: begun.elapsed(), looks });
        }
        tokio::select! {
            () = sleep_until(begun + check.interval) => {}
            () = eye.stirred() => {}
        }
    }
}
