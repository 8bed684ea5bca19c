//! Watches the address events of every host's kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netlink_packet_core::NetlinkPayload;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::{Result, While};
use crate::namespace::Namespace;
use crate::netlink::{Route, if_address, messages};
use crate::realtime::{Rank, real_time};
use crate::timeline::{Change, Interval, Timeline};

/// `RTNLGRP_IPV4_IFADDR` and `RTNLGRP_IPV6_IFADDR` (linux/rtnetlink.h).
const GROUPS: [u32; 2] = [5, 9];

/// Knows who holds each VIP, and since when.
///
/// One socket receives the address events of all hosts (`NETLINK_LISTEN_ALL_NSID`), so their order is the order in
/// which the kernel made the changes: an address that moves from one host to another never looks as if both had held
/// it. Every interface has an index that no other host uses, which tells whose event it is; so addresses on `lo` or
/// on interfaces that a program makes inside a host are not seen.
#[derive(Clone)]
pub struct Observer {
    shared: Arc<Shared>,
    stop: Arc<EventFd>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    timeline: Timeline,
    owners: BTreeMap<u32, String>,
    kernels: Vec<(String, Arc<Mutex<Route>>)>,
    real_time: bool,
    overruns: u32,
}

impl Observer {
    /// Starts to watch. `switch` is where all hosts have an identity.
    pub(crate) fn start(switch: &Namespace) -> Result<Self> {
        let socket = switch.run(open)?.doing(|| "listen to address events".into())?;
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).doing(|| "make an eventfd".into())?;
        let stop = Arc::new(stop);
        let (watched, stopped) = (Arc::clone(&shared), Arc::clone(&stop));
        let (started, ready) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name("lab-observer".into())
            .spawn(move || {
                watched.lock().real_time = real_time(Rank::Observer);
                let _ = started.send(());
                watch(&socket, &watched, &stopped);
            })
            .doing(|| "start the observer".into())?;
        let _ = ready.recv();
        Ok(Self { shared, stop })
    }

    /// Whose interface this is. To be called before the interface exists.
    pub(crate) fn introduce(&self, host: &str, interface: u32) {
        self.shared.lock().owners.insert(interface, host.into());
    }

    /// Where to ask for the addresses of a host if events were lost.
    pub(crate) fn ask_at(&self, host: &str, kernel: &Arc<Mutex<Route>>) {
        self.shared.lock().kernels.push((host.into(), Arc::clone(kernel)));
    }

    /// Ends the watch; what was seen stays.
    pub(crate) fn stop(&self) {
        let _ = self.stop.write(1);
    }

    pub(crate) fn mark(&self, at: Instant, host: &str, change: Change) {
        self.shared.lock().timeline.push(at, host, change);
        self.shared.changed.notify_all();
    }

    /// The hosts whose kernels hold `vip` now, by name.
    pub fn holders(&self, vip: IpAddr) -> Vec<String> {
        self.shared.lock().timeline.holders(vip)
    }

    /// See [`Timeline::held_by`].
    pub fn held_by(&self, host: &str, vip: IpAddr, since: Instant) -> Vec<Interval> {
        self.shared.lock().timeline.held_by(host, vip, since)
    }

    /// See [`Timeline::two_holders`].
    pub fn two_holders(&self, vip: IpAddr, since: Instant) -> Duration {
        self.shared.lock().timeline.two_holders(vip, since)
    }

    /// See [`Timeline::two_reachable_holders`].
    pub fn two_reachable_holders(&self, vip: IpAddr, since: Instant) -> Duration {
        self.shared.lock().timeline.two_reachable_holders(vip, since)
    }

    /// A copy of everything seen so far.
    pub fn timeline(&self) -> Timeline {
        self.shared.lock().timeline.clone()
    }

    /// Waits until `predicate` holds, looking again after every event; false if it did not by `deadline`.
    pub fn wait_until(&self, deadline: Instant, mut predicate: impl FnMut(&Timeline) -> bool) -> bool {
        let mut state = self.shared.lock();
        loop {
            if predicate(&state.timeline) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until exactly these hosts hold `vip`; false if they did not by `deadline`.
    pub fn wait_holders(&self, vip: IpAddr, hosts: &[&str], deadline: Instant) -> bool {
        let wanted: BTreeSet<&str> = hosts.iter().copied().collect();
        self.wait_until(deadline, |line| {
            line.holders(vip).iter().map(String::as_str).collect::<BTreeSet<_>>() == wanted
        })
    }

    /// True if the observer runs at real-time priority; without it, times may be some milliseconds late on a busy
    /// machine, their order never.
    pub fn real_time(&self) -> bool {
        self.shared.lock().real_time
    }

    /// How often events were lost and made up for by asking every kernel; the times of those changes are late.
    pub fn overruns(&self) -> u32 {
        self.shared.lock().overruns
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn events_lost(&self) {
        let kernels = {
            let mut state = self.lock();
            state.overruns += 1;
            state.kernels.clone()
        };
        for (host, kernel) in kernels {
            let answer = kernel.lock().unwrap_or_else(PoisonError::into_inner).addresses();
            let Ok(addresses) = answer else { continue };
            let mut state = self.lock();
            let present = addresses
                .into_iter()
                .filter(|(interface, _)| state.owners.get(interface) == Some(&host))
                .map(|(interface, network)| (interface, network.addr()))
                .collect();
            state.timeline.settle(Instant::now(), &host, &present);
        }
        self.changed.notify_all();
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.set_listen_all_namespaces(true)?;
    socket.set_non_blocking(true)?;
    // As much as is granted: 4 MiB is some thousand addresses at once.
    let _ = socket.set_rx_buf_sz(4 << 20);
    for group in GROUPS {
        socket.add_membership(group)?;
    }
    Ok(socket)
}

fn watch(socket: &Socket, shared: &Shared, stop: &EventFd) {
    loop {
        let mut waiting = [socket.as_fd(), stop.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let _ = poll(&mut waiting, PollTimeout::NONE);
        if waiting[1].any().unwrap_or(true) {
            return;
        }
        match socket.recv_from_full() {
            Ok((bytes, _)) => {
                let now = Instant::now();
                let mut state = shared.lock();
                let state = &mut *state;
                for message in messages(&bytes).flatten() {
                    let NetlinkPayload::InnerMessage(inner) = message.payload else { continue };
                    let Some(found) = if_address(&inner) else { continue };
                    let Some(host) = state.owners.get(&found.index) else { continue };
                    if found.present {
                        state.timeline.add(now, host, found.index, found.network.addr());
                    } else {
                        state.timeline.remove(now, host, found.index, found.network.addr());
                    }
                }
                shared.changed.notify_all();
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => shared.events_lost(),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => {
                eprintln!("lab: the observer stopped: {error}");
                return;
            }
        }
    }
}
