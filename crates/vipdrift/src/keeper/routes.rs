//! Reads the routing table on a thread of its own: it may have a million routes, and the keeper has more urgent things
//! to do than to wait for them at real-time priority.

use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use vipdrift_platform::addresses::Kernel;
use vipdrift_platform::poll::{Poller, Wake};

/// Gateways with the interface that leads there, or why they are not known.
type Gateways = Result<Vec<(u32, IpAddr)>, String>;

/// Reading them needs little more than the socket's buffers, which are not on the stack.
const STACK: usize = 64 * 1024;

/// The reading thread. It ends with this value.
#[derive(Debug)]
pub(crate) struct Routes {
    asks: SyncSender<()>,
    latest: Arc<Mutex<Option<Gateways>>>,
    read: Arc<Wake>,
}

impl Routes {
    /// Starts the thread, which reads the routes once. Call it before this thread gets real-time priority.
    ///
    /// # Errors
    /// No thread, or no descriptors.
    pub(crate) fn start() -> io::Result<Self> {
        let (asks, asked) = sync_channel(1);
        let latest = Arc::new(Mutex::new(None));
        let read = Arc::new(Wake::new()?);
        let (slot, wake) = (Arc::clone(&latest), Arc::clone(&read));
        std::thread::Builder::new().name("routes".into()).stack_size(STACK).spawn(move || {
            while asked.recv().is_ok() {
                let gateways = Kernel::open().and_then(|mut kernel| kernel.gateways());
                let gateways = gateways.map_err(|error| error.to_string());
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(gateways);
                wake.wake();
            }
        })?;
        let routes = Self { asks, latest, read };
        routes.ask();
        Ok(routes)
    }

    /// Has the routes read (again). Never waits.
    pub(crate) fn ask(&self) {
        match self.asks.try_send(()) {
            // Asked already, and not yet begun.
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => {
                let gone = Err("the thread that reads the routes is gone".to_owned());
                *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(gone);
            }
        }
    }

    /// What was read last, once. Never waits, not even for the thread, which has no priority.
    pub(crate) fn take(&self) -> Option<Gateways> {
        self.read.clear();
        match self.latest.try_lock() {
            Ok(mut latest) => latest.take(),
            // It is being written, and wakes again afterwards.
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(latest)) => latest.into_inner().take(),
        }
    }

    /// To be polled for [`Routes::take`].
    pub(crate) fn news(&self) -> &Wake {
        &self.read
    }

    /// Waits until something was read, at most for so `long`.
    pub(crate) fn wait(&self, long: Duration) {
        // Without a poller it is known a little later.
        if let Ok(poller) = Poller::new()
            && poller.add(self.news(), 0).is_ok()
        {
            let _ = poller.wait(&mut Vec::new(), Some(long));
        }
    }
}
