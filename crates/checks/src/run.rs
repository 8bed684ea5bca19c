//! A check at work.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::check::{Check, Probe};
use crate::http::Asker;
use crate::icmp::Pinger;
use crate::output::Outcome;
use crate::slot::Slot;
use crate::tally::Tally;
use crate::{exec, file, managed, process, tcp};

/// Results that change nothing are reported this often, for those who look.
const NEWS: Duration = Duration::from_secs(1);
/// What ending a program that has taken too long may take.
const ENDING: Duration = Duration::from_millis(50);
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
    Exec(crate::check::Exec, Slot),
    Process(crate::check::Subject, process::Watched),
    Managed(String, Box<managed::Watched>),
    File(std::path::PathBuf, Slot),
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
            Probe::Exec(exec) => Self::Exec(exec.clone(), Slot::default()),
            Probe::Process(subject) => Self::Process(subject.clone(), process::Watched::default()),
            Probe::Managed(both) => match managed::name(both) {
                Ok(name) => Self::Managed(name.to_owned(), Box::default()),
                Err(why) => Self::Blind(why),
            },
            Probe::File(path) => Self::File(path.clone(), Slot::default()),
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
                Self::Exec(exec, slot) => exec::look(exec, slot, limit).await,
                Self::Process(subject, watched) => watched.look(subject).await,
                Self::Managed(name, watched) => watched.look(name).await,
                Self::File(path, slot) => {
                    let wanted = path.clone();
                    let look = slot.take(move || file::look(&wanted)).await;
                    look.unwrap_or_else(|why| Outcome::bad(format!("{}: {why}", path.display())))
                }
                Self::Icmp(address, pinger) => pinger.look(*address).await,
                Self::Blind(why) => Outcome::bad(why.clone()),
            }
        };
        // A program is ended within the limit, which takes a moment more.
        let outcome = timeout(limit + ENDING, look).await;
        outcome.unwrap_or_else(|_| Outcome::bad(format!("no answer within {} ms", limit.as_millis())))
    }

    /// Waits until it is worth another look before its time.
    async fn stirred(&mut self) {
        match self {
            Self::Process(_, watched) => watched.ended().await,
            Self::Managed(_, watched) => watched.changed().await,
            _ => std::future::pending().await,
        }
    }
}

/// Runs a check for as long as it is let: dropping the future ends it, with the program that it may be running. Its first
/// look comes after a share of its interval, `phase` of 0 to 255, so that many checks do not look at once.
pub async fn run(check: &Check, phase: u8, tools: &Tools, mut report: impl FnMut(Report)) {
    let mut eye = Eye::new(&check.probe, tools);
    let mut tally = Tally::new(check.fall, check.rise, check.initially_passing);
    let mut looks = 0;
    let mut told: Option<(Instant, bool)> = None;
    let mut between = false;
    if !check.probe.is_watched() {
        sleep(check.interval.min(FIRST) * u32::from(phase) / 256).await;
    }
    let mut due = Instant::now();
    loop {
        let begun = Instant::now();
        if !between {
            due = begun + check.interval;
        }
        let outcome = eye.look(check.timeout).await;
        looks += 1;
        let verdict = if between { tally.add_between(outcome.good) } else { tally.add(outcome.good) };
        let changed = verdict.is_some();
        // A look that goes the other way is told too: people see a verdict coming.
        let news = told.is_none_or(|(at, good)| good != outcome.good || at.elapsed() >= NEWS);
        if changed || news {
            told = Some((Instant::now(), outcome.good));
            report(Report { passing: tally.passing(), outcome, took: begun.elapsed(), looks });
        }
        between = tokio::select! {
            biased;
            () = sleep_until(due) => false,
            () = eye.stirred() => true,
        };
    }
}
