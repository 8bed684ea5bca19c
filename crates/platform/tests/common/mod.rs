//! Network namespaces for tests: traffic stays between namespaces that the test made itself.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use vipdrift_platform::addresses::Kernel;
use vipdrift_platform::clock::boot_time;
use vipdrift_platform::frames::{FrameKind, FrameSocket};
use vipdrift_platform::links::Link;
use vipdrift_platform::poll::{Poller, Ready};

/// Longer than anything here takes; only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(15);

const INNER: &str = "VIPDRIFT_TEST_INNER";

/// Runs `body` in a network namespace of its own: this test program again, inside unshare(1), with this one test. An
/// ordinary user gets a user namespace around it.
pub fn isolated(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INNER).is_some_and(|inner| inner == test) {
        ip("link set lo up");
        body();
        return;
    }
    let kind = if nix::unistd::geteuid().is_root() { "-n" } else { "-Urn" };
    let output = Command::new("unshare")
        .arg(kind)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INNER, test)
        .output()
        .expect("unshare (util-linux) is needed");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "in its namespace:\n{out}\n{err}");
}

/// Runs `ip` (iproute2) in this thread's namespace; its output.
pub fn ip(arguments: &str) -> String {
    let output =
        Command::new("ip").args(arguments.split_whitespace()).output().expect("ip (iproute2) is needed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Another host: a second network namespace, gone with this value and the sockets made in it.
pub struct Host {
    namespace: File,
}

impl Host {
    /// A host that is connected with this namespace by a cable: interface `here` here and `there` there, both up.
    pub fn cabled(here: &str, there: &str) -> Self {
        let namespace = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        })
        .join()
        .unwrap();
        let host = Self { namespace };
        // The main thread of this process never leaves its namespace, so the process names it.
        let home = std::process::id();
        host.run(|| {
            ip("link set lo up");
            ip(&format!("link add {there} type veth peer name {here} netns {home}"));
            ip(&format!("link set {there} up"));
        });
        ip(&format!("link set {here} up"));
        // Carrier is not enough, see `Link::running`: wait until a frame gets through both ways.
        let end = |name| (FrameSocket::open(FrameKind::Arp).unwrap(), link(name).index);
        let (near, far) = (end(here), host.run(|| end(there)));
        let crosses = |from: &(FrameSocket, u32), to: &(FrameSocket, u32)| {
            let mut frame = [0; 60];
            frame[..6].fill(0xff);
            frame[12..14].copy_from_slice(&[0x08, 0x06]);
            from.0.send(from.1, &frame).is_ok() && readable_within(&to.0, Duration::from_millis(20))
        };
        wait_for("the cable", || crosses(&near, &far));
        wait_for("the cable, back", || crosses(&far, &near));
        host
    }

    /// Does something on that host. Sockets made there stay there.
    pub fn run<T>(&self, what: impl FnOnce() -> T) -> T {
        let home = File::open("/proc/thread-self/ns/net").unwrap();
        setns(&self.namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let result = what();
        setns(&home, CloneFlags::CLONE_NEWNET).unwrap();
        result
    }
}

/// The interface of this name in this thread's namespace.
pub fn link(name: &str) -> Link {
    let links = Kernel::open().unwrap().links().unwrap();
    links.into_iter().find(|link| link.name == name).unwrap_or_else(|| panic!("no interface {name}"))
}

/// Waits until something can be read from `fd`.
pub fn wait_readable(fd: impl AsFd, what: &str) {
    assert!(readable_within(fd, PATIENCE), "{what} did not come");
}

/// Whether something can be read from `fd` before the time is over.
pub fn readable_within(fd: impl AsFd, time: Duration) -> bool {
    let poller = Poller::new().unwrap();
    poller.add(&fd, 0).unwrap();
    let mut ready: Vec<Ready> = Vec::new();
    let deadline = boot_time() + time;
    while ready.is_empty() && boot_time() < deadline {
        poller.wait(&mut ready, Some(deadline.saturating_sub(boot_time()))).unwrap();
    }
    !ready.is_empty()
}

/// Waits for something that only looking again can tell.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = boot_time() + PATIENCE;
    while !condition() {
        assert!(boot_time() < deadline, "{what}: not in time");
        std::thread::yield_now();
    }
}
