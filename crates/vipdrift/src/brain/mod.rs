//! The child process: unprivileged, sandboxed where the system can. It holds the decisions, the sockets that the
//! keeper opened for it, and the control API.

mod degraded;
mod frames;
mod heart;
mod history;
mod inquiry;
mod page;
mod services;
mod slow;
mod status;
mod wires;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;

use vipdrift_core::{Node, Note, Start, Timestamp};
use vipdrift_platform::descriptor::Number;
use vipdrift_platform::endpoint::Listener;
use vipdrift_platform::pipe::MessagePipe;
use vipdrift_platform::poll::{Signal, Signals, Wake};
use vipdrift_platform::sandbox::Account;
use vipdrift_platform::{clock, process};

use self::degraded::Grants;
use self::heart::{Heart, HeartParts};
use self::history::News;
use self::services::Services;
use self::slow::SlowParts;
use self::wires::Wires;
use crate::config::{self, Resolved};
use crate::journal::{self, Birth};
use crate::log::Log;
use crate::message::{Life, Setup};
use crate::writers::Writers;

/// Numbers of the descriptors that a brain starts from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inherited {
    pub(crate) setup: Number,
    pub(crate) life: Number,
    pub(crate) pipe: Number,
}

/// The time now.
fn now() -> Timestamp {
    Timestamp::ZERO + clock::boot_time()
}

/// Lives the life of a brain.
///
/// # Errors
/// In a sentence, if it cannot begin.
pub(crate) fn run(inherited: Inherited) -> Result<(), String> {
    process::rename("vipdrift-brain");
    // What is meant for the daemon as a whole is the keeper's to hear; Ctrl-C reaches both.
    let signals = Signals::block_and_open(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup]);
    let setup: Setup = read(inherited.setup)?;
    let life: Life = read(inherited.life)?;
    let text = |error: process::Error| error.to_string();
    let pipe = MessagePipe::from(process::inherited(inherited.pipe).map_err(text)?);
    let config = config::parse(&setup.config_file, &setup.config_text).map_err(|error| error.to_string())?;
    let resolved = Resolved::new(&config, &setup.node).ok_or("no such node")?;
    let mut wires = Wires::open(&setup.descriptors, &resolved).map_err(text)?;
    let answers_within = wires.attend(&resolved);
    let means = wires.arp.means();
    let control = Listener::from(process::inherited(setup.descriptors.control).map_err(text)?);
    let page = setup.descriptors.page.map(process::inherited).transpose().map_err(text)?;
    let page = page.map(std::net::TcpListener::from);
    let runner = setup.descriptors.runner.map(process::inherited).transpose().map_err(text)?;
    let state = setup.descriptors.state.map(process::inherited).transpose().map_err(text)?;
    let events: Vec<_> = setup.descriptors.events.clone();
    let take = |number: &Number| process::inherited(*number).map(std::fs::File::from);
    let events = events.iter().map(take).collect::<Result<Vec<_>, _>>().map_err(text)?;
    let files = setup.descriptors.journal.iter().map(take).collect::<Result<Vec<_>, _>>().map_err(text)?;

    // One thread until here: privileges belong to threads.
    let account = setup.account.map(|(name, uid, gid)| Account { name, uid, gid });
    let mut grants = Grants::take(account.as_ref())
        .map_err(|error| format!("will not serve with privileges that it cannot give up: {error}"))?;
    // A stopped brain whose keeper dies must wake up to notice, or it would hold the sockets for ever. Forgotten by the
    // kernel when privileges change, so not before.
    process::wake_when_orphaned();
    let log = Log::start(&config.cluster.name, &setup.node)
        .map_err(|error| format!("cannot make a thread: {error}"))?;
    let wake = Arc::new(Wake::new().map_err(|error| error.to_string())?);
    let (asks, asked) = mpsc::channel();
    let pulse = Arc::new(AtomicU64::new(0));
    let (news, heard) = tokio::sync::mpsc::channel(history::WAITING);
    let (keep, to_keep) = tokio::sync::mpsc::channel(history::WAITING);
    let stirred = Arc::new(tokio::sync::Notify::new());
    let writers = Writers::default();
    let slow = SlowParts {
        events,
        writers: writers.clone(),
        news: heard,
        to_keep,
        keeper_pid: setup.keeper_pid,
        keeper_real_time: setup.keeper_real_time,
        life_number: life.number,
        ordered: life.ordered.unwrap_or_default(),
        resolved: resolved.clone(),
        page: setup.page,
        secrets: setup.secrets.clone(),
        cluster: config.cluster.name.clone(),
        state: state.map(std::fs::File::from),
        log: log.clone(),
        asks,
        wake: Arc::clone(&wake),
        pulse: Arc::clone(&pulse),
        grants: grants.shared(),
        stirred: Arc::clone(&stirred),
    };
    slow::start(slow, control, page)?;
    grants.filter();
    if let Some(means) = means {
        log.info(format_args!("ARP and Neighbor Discovery go through {means}"));
    }
    for degraded in grants.degraded() {
        log.warning(degraded);
    }

    let resumed = life.resumed.is_some();
    let services = runner.map(|pipe| Services::new(pipe.into(), &resolved.checks, resumed, now()));
    if !resumed {
        let text = if life.number > 1 {
            "the brain has been started afresh".to_owned()
        } else {
            // Without "shutting down" before it, the daemon before has been killed, or the machine has died.
            format!("the daemon has started: vipdrift {}", env!("CARGO_PKG_VERSION"))
        };
        let _ = news.try_send(News::note(&Note { warning: false, text }, &[]));
    }
    let drained = life.resumed.as_ref().map_or(&life.drained, |carry| &carry.drained).clone();
    let start = match life.resumed {
        Some(carry) => Start::Resumed(carry),
        None => Start::Fresh { drained: life.drained },
    };
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| error.to_string())?;
    let node_config = resolved.node_config(setup.secrets.keys(&config.cluster.name), answers_within);
    let (seed, at) = (u64::from_ne_bytes(seed), now());
    let scribe = match &config.cluster.journal {
        Some(journal) if !files.is_empty() => {
            let parts = journal::Parts {
                files,
                limit: journal.limit,
                cluster: config.cluster.name.clone(),
                log: log.clone(),
                writers: writers.clone(),
            };
            let birth = Birth { config: node_config.clone(), seed, start: start.clone(), at };
            let begun = journal::start(parts, birth);
            begun.map_err(|why| log.warning(format_args!("no journal: {why}"))).ok()
        }
        _ => None,
    };
    let node = Node::new(node_config, seed, start, at);
    let parts = HeartParts {
        node,
        lease: setup.lease,
        resolved,
        wires,
        pipe,
        wake,
        asked,
        pulse,
        log: log.clone(),
        epoch: life.epoch,
        real_time: grants.real_time(),
        scribe,
        services,
        news,
        writers,
        stirred,
        keep,
        drained,
    };
    let ended = Heart::new(parts).and_then(Heart::run);
    drop(signals);
    if let Err(error) = &ended {
        log.warning(format_args!("brain: {error}"));
    }
    log.flush();
    ended.map_err(|error| error.to_string())
}

fn read<T: serde::de::DeserializeOwned>(number: Number) -> Result<T, String> {
    let bytes = process::inherited_bytes(number).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}
