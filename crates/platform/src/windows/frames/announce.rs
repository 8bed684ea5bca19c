//! Announcing an address without sending a frame of one's own making.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use windows_sys::Win32::NetworkManagement::IpHelper::MIB_IPNET_ROW2;
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, NlnsDelay, NlnsProbe, NlnsReachable, NlnsStale,
};

use super::super::pool::Pool;
use super::super::resolve::resolve;
use super::super::{inet, tables};

/// Threads that announce: the core announces 64 addresses in one go, and where nobody answers each takes a thread for
/// seconds.
const THREADS: usize = 64;
/// Threads that are ready beforehand.
const SPARE: usize = 8;
/// So many of them tell neighbours that can wait.
const PATIENT: usize = 16;
/// Announcements that may wait for a thread.
const WAITING: usize = 1_024;
/// Neighbours that are told besides the gateways.
const NEIGHBORS: usize = 4;
/// Whom to tell is looked up again after this.
const FRESH: Duration = Duration::from_secs(1);
/// A neighbour that was not told by then is not told any more.
const LATE: Duration = Duration::from_secs(2);

/// An address to be announced.
#[derive(Debug, Clone)]
pub(super) struct Announcement {
    /// Index of the interface.
    pub(super) interface: u32,
    /// The address.
    pub(super) address: IpAddr,
    /// IPv6: the Neighbor Advertisement.
    pub(super) message: Vec<u8>,
}

/// Announces on threads of its own.
#[derive(Debug)]
pub(super) struct Announcer {
    pool: Pool,
    desk: Arc<Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    known: Mutex<Vec<(u32, Known)>>,
}

#[derive(Debug, Default)]
struct Waiting {
    first: VecDeque<Announcement>,
    /// Who is told when nothing else waits.
    later: VecDeque<(Instant, u32, IpAddr, IpAddr)>,
    /// Threads that look here before they rest.
    threads: usize,
    /// Those of them that tell somebody who can wait.
    patient: usize,
}

/// Whom to tell on an interface.
#[derive(Debug, Clone)]
struct Known {
    at: Instant,
    gateways: Vec<IpAddr>,
    neighbors: Vec<IpAddr>,
}

impl Announcer {
    pub(super) fn new() -> Self {
        // A thread that has just gone to rest may not be free yet.
        Self { pool: Pool::new("announce", 2 * THREADS, SPARE), desk: Arc::default() }
    }

    /// Announces soon. The same address that waits already is announced once.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: too many wait.
    pub(super) fn announce(&self, announcement: Announcement) -> io::Result<()> {
        let mut waiting = self.desk.waiting();
        let spot = (announcement.interface, announcement.address);
        if waiting.first.iter().any(|known| (known.interface, known.address) == spot) {
            return Ok(());
        }
        if waiting.first.len() >= WAITING {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if waiting.threads < THREADS {
            let desk = Arc::clone(&self.desk);
            match self.pool.start(move || desk.work()) {
                Ok(()) => waiting.threads += 1,
                Err(error) if waiting.threads == 0 => return Err(error),
                // Later, by one of those that there are.
                Err(_) => {}
            }
        }
        waiting.first.push_back(announcement);
        Ok(())
    }
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until nothing waits.
    fn work(&self) {
        let mut waiting = self.waiting();
        loop {
            if let Some(announcement) = waiting.first.pop_front() {
                drop(waiting);
                self.tell_first(&announcement);
                waiting = self.waiting();
            } else if waiting.patient < PATIENT
                && let Some((since, interface, address, neighbor)) = waiting.later.pop_front()
            {
                waiting.patient += 1;
                drop(waiting);
                if since.elapsed() < LATE {
                    let _ = resolve(interface, neighbor, Some(address));
                }
                waiting = self.waiting();
                waiting.patient -= 1;
            } else {
                waiting.threads -= 1;
                return;
            }
        }
    }

    /// Whoever must know it at once.
    fn tell_first(&self, announcement: &Announcement) {
        let Announcement { interface, address, message } = announcement;
        if let IpAddr::V6(vip) = address
            && advertise(*interface, *vip, message).is_ok()
        {
            return;
        }
        let known = self.known(*interface, address.is_ipv4());
        let mut others = known.gateways.into_iter().chain(known.neighbors).filter(|other| other != address);
        // Nobody is known: the question itself is what tells, so anybody will do, and an address that nobody
        // has is asked for three times.
        let first = others.next().unwrap_or_else(|| beside(*address));
        let now = Instant::now();
        let later = others.map(|other| (now, *interface, *address, other));
        self.waiting().later.extend(later);
        // Whether there was an answer does not matter.
        let _ = resolve(*interface, first, Some(*address));
    }

    fn known(&self, interface: u32, v4: bool) -> Known {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(index, known): &&(u32, Known)| {
            *index == interface && known.v4() == Some(v4) && known.at.elapsed() < FRESH
        };
        if let Some((_, known)) = all.iter().find(same) {
            return known.clone();
        }
        let known = look_up(interface, v4);
        all.retain(|(index, old)| *index != interface || old.v4() != Some(v4));
        all.push((interface, known.clone()));
        known
    }
}

impl Known {
    fn v4(&self) -> Option<bool> {
        self.gateways.first().or(self.neighbors.first()).map(IpAddr::is_ipv4)
    }
}

fn look_up(interface: u32, v4: bool) -> Known {
    // What cannot be read is nobody.
    let routes = tables::routes().unwrap_or_default();
    let through = routes.iter().filter(|route| route.InterfaceIndex == interface);
    let hops = through.filter_map(|route| inet::from_system(&route.NextHop));
    let mut gateways: Vec<IpAddr> = hops.filter(|hop| !hop.is_unspecified() && hop.is_ipv4() == v4).collect();
    gateways.sort_unstable();
    gateways.dedup();
    let rows = tables::neighbors(if v4 { AF_INET } else { AF_INET6 }).unwrap_or_default();
    let neighbors = choose(&rows, interface, &gateways);
    Known { at: Instant::now(), gateways, neighbors }
}

/// The neighbours that were heard from lately, those of which that is certain first.
fn choose(rows: &[MIB_IPNET_ROW2], interface: u32, gateways: &[IpAddr]) -> Vec<IpAddr> {
    let certainty = |row: &&MIB_IPNET_ROW2| {
        [NlnsReachable, NlnsDelay, NlnsProbe, NlnsStale].iter().position(|state| *state == row.State)
    };
    let mut found: Vec<(usize, IpAddr)> = rows
        .iter()
        .filter(|row| row.InterfaceIndex == interface && row.PhysicalAddressLength == 6)
        // Groups have entries of their own.
        .filter(|row| row.PhysicalAddress[0] & 1 == 0)
        .filter_map(|row| Some((certainty(&row)?, inet::from_system(&row.Address)?)))
        .filter(|(_, address)| !gateways.contains(address))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, address)| address).take(NEIGHBORS).collect()
}

/// Another address of the same network, whatever the length of its prefix.
fn beside(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() ^ 2).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() ^ 2).into(),
    }
}

/// Sends an unsolicited Neighbor Advertisement to all nodes.
///
/// # Errors
/// Raw sockets need administrator rights; or `vip` is not mounted on this machine.
fn advertise(interface: u32, vip: Ipv6Addr, message: &[u8]) -> io::Result<()> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.bind(&SocketAddrV6::new(vip, 0, 0, 0).into())?;
    socket.set_multicast_if_v6(interface)?;
    // Anything less is not believed (RFC 4861 7.1.2).
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_loop_v6(false)?;
    socket.send_to(message, &SocketAddrV6::new(ALL_NODES, 0, 0, interface).into())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_chosen_by_how_certain_they_are() {
        let row = |interface: u32, address: &str, state: i32, first: u8, length: u32| {
            let mut row = MIB_IPNET_ROW2 { InterfaceIndex: interface, State: state, ..Default::default() };
            row.Address = inet::to_system(address.parse().unwrap());
            row.PhysicalAddress[0] = first;
            row.PhysicalAddressLength = length;
            row
        };
        let rows = [
            row(3, "192.0.2.1", NlnsReachable, 2, 6), // a gateway
            row(3, "192.0.2.2", NlnsStale, 2, 6),
            row(3, "192.0.2.3", NlnsReachable, 2, 6),
            row(4, "192.0.2.4", NlnsReachable, 2, 6), // elsewhere
            row(3, "192.0.2.5", 0, 2, 6),             // unreachable
            row(3, "192.0.2.6", NlnsReachable, 2, 0), // not known
            row(3, "224.0.0.22", 6, 1, 6),            // a group
        ];
        let chosen = choose(&rows, 3, &["192.0.2.1".parse().unwrap()]);
        let expected: [IpAddr; 2] = [[192, 0, 2, 3].into(), [192, 0, 2, 2].into()];
        assert_eq!(chosen, expected);
        assert_eq!(beside([192, 0, 2, 10].into()), IpAddr::from([192, 0, 2, 8]));
    }
}
