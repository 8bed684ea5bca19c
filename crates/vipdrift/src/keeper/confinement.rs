//! What a brain is not to have it takes from itself, where the system lets it. Where only its parent can, as the rights of
//! administrators on Windows, it is tried beforehand with a child that does what a brain does first: one that could not even
//! begin would be no brain at all.

use std::ffi::OsString;
use std::time::Duration;

use vipdrift_platform::poll::Poller;
use vipdrift_platform::process::{Exit, spawn_confined, this_program};
use vipdrift_platform::{realtime, sandbox};

use super::PRIORITY;
use super::child::how;
use super::driver::now;
use crate::config::Resolved;
use crate::log::Log;

/// A child that has not ended by then never will.
const LIMIT: Duration = Duration::from_secs(5);

/// Whether a brain with so little could do its work: IPv6 VIPs are announced from a raw socket, which administrators only
/// may open, and how soon clients find the new holder counts for more.
pub(super) fn is_possible(resolved: &Resolved, log: &Log) -> bool {
    let needs = resolved.vips.iter().any(|vip| vip.address.addr().is_ipv6());
    if sandbox::BY_PARENT && needs {
        log.info("keeper: the brain keeps the rights of this user, since it announces IPv6 VIPs");
    }
    sandbox::BY_PARENT && !needs
}

/// Whether brains are to be started so. What stands in the way is said.
pub(super) fn try_out(log: &Log) -> bool {
    rehearsed()
        .inspect_err(|why| {
            log.warning(format_args!("degraded: the brain keeps the rights of this user: {why}"));
        })
        .is_ok()
}

/// What a brain with so little must be able to do: no less than its keeper.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Rehearsal {
    #[arg(long)]
    memory: bool,
    #[arg(long)]
    real_time: bool,
}

impl Rehearsal {
    /// What a child is told, which must be able to do what this process is.
    fn arguments() -> Vec<OsString> {
        let memory = realtime::lock_memory().ok().map(|()| "--memory".into());
        let real_time = realtime::real_time(PRIORITY).ok().map(|()| "--real-time".into());
        [Some("rehearse".into()), memory, real_time].into_iter().flatten().collect()
    }

    /// Does what a brain does first.
    ///
    /// # Errors
    /// It cannot be done; in words.
    pub(crate) fn run(&self) -> Result<(), String> {
        let _ = realtime::raise_limits();
        let memory = realtime::lock_memory();
        let real_time = realtime::real_time(PRIORITY);
        if self.memory {
            memory.map_err(|error| error.to_string())?;
        }
        if self.real_time {
            real_time.map_err(|error| error.to_string())?;
        }
        sandbox::drop_privileges(None).map(drop).map_err(|error| error.to_string())
    }
}

fn rehearsed() -> Result<(), String> {
    let program = this_program().map_err(|error| error.to_string())?;
    let child = spawn_confined(&program, &Rehearsal::arguments(), &[]).map_err(|error| error.to_string())?;
    let poller = Poller::new().map_err(|error| error.to_string())?;
    poller.add(&child, 0).map_err(|error| error.to_string())?;
    let (until, mut ready) = (now() + LIMIT, Vec::new());
    loop {
        match child.reap() {
            Ok(Some(Exit::Code(0))) => return Ok(()),
            Ok(Some(exit)) => return Err(format!("a child without them {}", how(exit))),
            Ok(None) if now() < until => {
                let _ = poller.wait(&mut ready, Some(until.since(now())));
            }
            Ok(None) => {
                let _ = child.kill();
                return Err("a child without them does not end".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
