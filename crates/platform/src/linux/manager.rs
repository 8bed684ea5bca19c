//! What the service manager is told (sd_notify(3), systemd.service(5)).
//!
//! Written here, and not taken from a library, since nothing may hold the sender up: a manager that does not read misses a line.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A manager that wants to be told.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that has started this process, if it is there to be told (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    #[must_use]
    pub fn find() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let own = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = variable("WATCHDOG_USEC").filter(|_| own).and_then(|micros| micros.parse().ok());
        Self::at(&std::env::var_os("NOTIFY_SOCKET")?, watchdog.map(Duration::from_micros))
    }

    /// Behind this socket: a path, or a name in the abstract namespace after `@` (unix(7)).
    fn at(place: &OsStr, watchdog: Option<Duration>) -> Option<Self> {
        let address = match place.as_bytes().split_first()? {
            (b'@', name) => SocketAddr::from_abstract_name(name).ok()?,
            (b'/', _) => SocketAddr::from_pathname(place).ok()?,
            _ => return None,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self { socket, address, watchdog: watchdog.filter(|limit| !limit.is_zero()) })
    }

    /// The process is to be called alive more often than this, or it is ended.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// All is set up; what is done, in a sentence.
    pub fn ready(&self, status: &str) {
        // One that was given more time has the old limit again.
        let limit =
            self.watchdog.map_or_else(String::new, |limit| format!("WATCHDOG_USEC={}\n", limit.as_micros()));
        self.tell(&format!("READY=1\n{limit}STATUS={status}\n"));
    }

    /// The process is alive.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1\n");
    }

    /// Another program takes its place in this process, or another configuration. It need not be called alive for so long.
    pub fn reloading(&self, within: Duration) {
        let limit = self.watchdog.map(|limit| limit + within);
        let limit = limit.map_or_else(String::new, |limit| format!("WATCHDOG_USEC={}\n", limit.as_micros()));
        self.tell(&format!("RELOADING=1\n{limit}STATUS=making way\n"));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=releasing the VIPs\n");
    }

    fn tell(&self, state: &str) {
        let _ = self.socket.send_to_addr(state.as_bytes(), &self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_is_told_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::at(path.as_os_str(), Some(Duration::from_secs(10))).unwrap();
        manager.ready("on duty");
        assert_eq!(heard(&by_path), "READY=1\nWATCHDOG_USEC=10000000\nSTATUS=on duty\n");
        manager.alive();
        assert_eq!(heard(&by_path), "WATCHDOG=1\n");
        manager.reloading(Duration::from_secs(30));
        assert_eq!(heard(&by_path), "RELOADING=1\nWATCHDOG_USEC=40000000\nSTATUS=making way\n");

        let name = format!("vipdrift-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        let manager = Manager::at(OsStr::new(&format!("@{name}")), None).unwrap();
        manager.stopping();
        assert_eq!(heard(&by_name), "STOPPING=1\nSTATUS=releasing the VIPs\n");
    }

    #[test]
    fn a_manager_that_does_not_read_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::at(path.as_os_str(), None).unwrap();
        for _ in 0..100_000 {
            manager.alive();
        }
        assert!(Manager::at(OsStr::new("relative"), None).is_none());
        assert!(Manager::at(OsStr::new(""), None).is_none());
    }
}
