//! What the machine grants this process, and what it has to do without.

use std::sync::{Arc, OnceLock};

use vipdrift_platform::sandbox::Account;
use vipdrift_platform::{realtime, sandbox};

/// One above the keeper's: what is decided here comes first.
const PRIORITY: u8 = 50;

const GRANTED: &str = "granted";

/// What was granted, in words for the status.
#[derive(Debug, Clone)]
pub(super) struct Grants {
    shared: Arc<Shared>,
}

/// Readable by the slow thread, which starts before the last word is known.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) real_time: String,
    pub(super) memory_locked: String,
    pub(super) user: String,
    filter: OnceLock<String>,
}

impl Shared {
    /// Whether system calls are filtered.
    pub(super) fn filter(&self) -> String {
        self.filter.get().cloned().unwrap_or_else(|| "not yet".to_owned())
    }
}

impl Grants {
    /// Raises limits, locks memory, takes real-time priority, gives up privileges, as far as each is possible. The
    /// calling thread must be the only one.
    ///
    /// # Errors
    /// Privileges could not be given up. What listens to the network must not have any: do not go on.
    pub(super) fn take(account: Option<&Account>) -> Result<Self, sandbox::Error> {
        // Refused limits show in what they were for.
        let _ = realtime::raise_limits();
        let memory_locked = words(realtime::lock_memory().map_err(|error| error.to_string()));
        let real_time = realtime::real_time(PRIORITY);
        if real_time.is_err() {
            let _ = realtime::fallback();
        }
        let dropped = sandbox::drop_privileges(account)?;
        let user = dropped.user.unwrap_or_else(|| format!("uid {} without capabilities", dropped.uid));
        let shared = Shared {
            real_time: words(real_time.map_err(|error| error.to_string())),
            memory_locked,
            user,
            filter: OnceLock::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Forbids system calls that are not needed, in all threads.
    pub(super) fn filter(&mut self) {
        let result = sandbox::filter_system_calls().map_err(|error| error.to_string());
        let _ = self.shared.filter.set(words(result));
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The heartbeat has real-time priority.
    pub(super) fn real_time(&self) -> bool {
        self.shared.real_time == GRANTED
    }

    /// A line for everything that was not granted.
    pub(super) fn degraded(&self) -> Vec<String> {
        let shared = &self.shared;
        let mut lines = Vec::new();
        if !self.real_time() {
            lines.push(format!("degraded: {}", shared.real_time));
        }
        if shared.memory_locked != GRANTED {
            lines.push(format!("degraded: {}", shared.memory_locked));
        }
        if shared.filter() != GRANTED {
            lines.push(format!("degraded: {}", shared.filter()));
        }
        lines
    }
}

fn words(result: Result<(), String>) -> String {
    result.err().unwrap_or_else(|| GRANTED.to_owned())
}
