//! A client of very many VIPs: keeps its own table of who has which, as clients' kernels do, believes announcements, and asks
//! the service at a VIP the moment that it is announced from elsewhere. It costs next to nothing until then.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use vipdrift_lab::{Host, Mac, SERVICE_PORT};
use vipdrift_wire::{Frame, ndp, parse_frame};

use crate::Result;

/// Asked again after this.
const AGAIN: Duration = Duration::from_millis(2);
/// So many in one go.
const AT_ONCE: usize = 64;
/// Its port, and half of the number that it asks with.
const PORT: u16 = 40_000;

/// When things were seen of a VIP.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// First announced by another than the old holder.
    pub(crate) announced: Option<Instant>,
    /// First answer of the service by another than the old holder.
    pub(crate) answered: Option<Instant>,
    asked: Option<Instant>,
    by: Option<[u8; 6]>,
}

/// See the module.
pub(crate) struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<BTreeMap<IpAddr, Seen>>>,
}

impl Prober {
    /// Watches from `client` for new holders of these VIPs, all IPv6, whose holder has the MAC address `old`.
    ///
    /// # Errors
    /// The lab's.
    pub(crate) fn start(client: &Host, own: Ipv6Addr, vips: Vec<IpAddr>, old: Mac) -> Result<Self> {
        let tap = client.tap("eth0")?;
        let mac = client.mac("eth0")?.0;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = client.thread("prober", move || {
            let mut table: HashMap<IpAddr, Seen> =
                vips.into_iter().map(|vip| (vip, Seen::default())).collect();
            while !stopped.load(Ordering::Relaxed) {
                let ask = |vip: IpAddr, by: [u8; 6]| -> Result<()> {
                    let IpAddr::V6(to) = vip else { return Ok(()) };
                    let builder = PacketBuilder::ethernet2(mac, by).ipv6(own.octets(), to.octets(), 64);
                    let number = [0; 8];
                    let mut frame = Vec::with_capacity(80);
                    builder.udp(PORT, SERVICE_PORT).write(&mut frame, &number)?;
                    Ok(tap.send(&frame)?)
                };
                let frame = tap.next(Instant::now() + AGAIN)?;
                let now = Instant::now();
                match frame.as_deref().and_then(|frame| read(frame, mac)) {
                    Some(News::Claimed(vip, by)) if by != old.0 => {
                        if let Some(seen) = table.get_mut(&vip) {
                            seen.announced.get_or_insert(now);
                            if seen.by.replace(by) != Some(by) && seen.answered.is_none() {
                                seen.asked = Some(now);
                                ask(vip, by)?;
                            }
                        }
                    }
                    Some(News::Answered(vip, by)) if by != old.0 => {
                        if let Some(seen) = table.get_mut(&vip) {
                            seen.answered.get_or_insert(now);
                        }
                    }
                    Some(_) => {}
                    None if frame.is_some() => {}
                    None => {
                        let open = |(_, seen): &(&IpAddr, &mut Seen)| {
                            seen.answered.is_none() && seen.asked.is_some_and(|at| at + AGAIN <= now)
                        };
                        for (&vip, seen) in table.iter_mut().filter(open).take(AT_ONCE) {
                            if let Some(by) = seen.by {
                                seen.asked = Some(now);
                                ask(vip, by)?;
                            }
                        }
                    }
                }
            }
            Ok(table.into_iter().collect())
        })?;
        Ok(Self { stop, thread })
    }

    /// What it has seen.
    ///
    /// # Errors
    /// The kernel's, while it watched.
    pub(crate) fn stop(self) -> Result<BTreeMap<IpAddr, Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the prober broke off")?
    }
}

enum News {
    /// Somebody says that it has this address.
    Claimed(IpAddr, [u8; 6]),
    /// The service at this address answers, from this machine.
    Answered(IpAddr, [u8; 6]),
}

fn read(frame: &[u8], own: [u8; 6]) -> Option<News> {
    if let Ok((header, Frame::Neighbor(ndp::Message::Advertisement { target, target_mac, .. }))) =
        parse_frame(frame)
    {
        return Some(News::Claimed(IpAddr::V6(target), target_mac.unwrap_or(header.source).0));
    }
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let from: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    match (packet.net, packet.transport) {
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp)))
            if from != own && udp.source_port() == SERVICE_PORT =>
        {
            Some(News::Answered(IpAddr::V6(ip.header().source_addr()), from))
        }
        _ => None,
    }
}
