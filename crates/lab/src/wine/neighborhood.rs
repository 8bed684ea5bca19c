//! Asks on the segments of this namespace, and hears who answers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::LinkAddr;

use super::packet::{self, Heard};
use crate::announce;
use crate::error::{Result, While};
use crate::frames::{Sender, Tap, link_address};
use crate::mac::Mac;
use crate::netlink::Interface;

/// How long the listener may take to notice that it is to end.
const PATIENCE: Duration = Duration::from_millis(100);
/// Longer than any frame that is understood.
const LONGEST: usize = 2_048;

/// When a machine was last heard with an address.
#[derive(Clone, Copy, Debug)]
struct Seen {
    answered: Option<Instant>,
    used: Instant,
}

/// Who, with which address, on which interface.
type Who = (u32, IpAddr, Mac);

#[derive(Debug, Default)]
struct Heeded {
    seen: Mutex<BTreeMap<Who, Seen>>,
    changed: Condvar,
}

/// The segments that the namespace has.
pub(super) struct Neighborhood {
    heeded: Arc<Heeded>,
    sender: Sender,
    /// How frames are sent by an interface; it takes long to find out.
    ways: Mutex<BTreeMap<(u32, String), LinkAddr>>,
}

impl Neighborhood {
    /// Starts to listen.
    pub(super) fn open(stop: Arc<AtomicBool>) -> Result<Self> {
        let tap = Tap::open_everywhere()?;
        let heeded = Arc::new(Heeded::default());
        let listens = Arc::clone(&heeded);
        std::thread::Builder::new()
            .name("wine-listen".into())
            .spawn(move || listens.listen(&tap, &stop))
            .doing(|| "start a thread".into())?;
        Ok(Self { heeded, sender: Sender::open()?, ways: Mutex::default() })
    }

    /// Asks for `target` now and waits for `patience`. An answer only counts as one if it was given to a question,
    /// unless `any_use` of the address by another machine is wanted.
    pub(super) fn ask(
        &self,
        by: &Interface,
        source: IpAddr,
        target: IpAddr,
        patience: Duration,
        any_use: bool,
    ) -> Result<Option<Mac>> {
        let Some(own) = by.mac else { return Ok(None) };
        let begun = Instant::now();
        self.send(by, &packet::question(own, source, target))?;
        let mut seen = self.heeded.lock();
        loop {
            let since = |at: Instant| at >= begun;
            let all = (by.index, target, Mac([0; 6]))..=(by.index, target, Mac([0xff; 6]));
            let found = seen.range(all).find(|((_, _, mac), seen)| {
                *mac != own && (seen.answered.is_some_and(since) || any_use && since(seen.used))
            });
            if let Some(((_, _, mac), _)) = found {
                return Ok(Some(*mac));
            }
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            let waited = self.heeded.changed.wait_timeout(seen, left);
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Tells everybody who has `address`.
    pub(super) fn announce(&self, by: &Interface, address: IpAddr) -> Result<()> {
        let Some(own) = by.mac else { return Ok(()) };
        let frame = match address {
            IpAddr::V4(address) => announce::gratuitous_arp(own, address),
            IpAddr::V6(address) => announce::unsolicited_advertisement(own, address),
        };
        self.send(by, &frame)
    }

    fn send(&self, by: &Interface, frame: &[u8]) -> Result<()> {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let way = match ways.entry((by.index, by.name.clone())) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(slot) => *slot.insert(link_address(&by.name)?),
        };
        drop(ways);
        self.sender.send(&way, frame)
    }
}

impl Heeded {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Who, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self, tap: &Tap, stop: &AtomicBool) {
        let mut frame = [0; LONGEST];
        while !stop.load(Ordering::Relaxed) {
            match tap.next_anywhere(Instant::now() + PATIENCE, &mut frame) {
                Ok(Some((index, length))) => {
                    if let Some(heard) = packet::read(&frame[..length.min(LONGEST)]) {
                        self.take(index, heard);
                    }
                }
                Ok(None) => {}
                // An interface went down.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn take(&self, index: u32, heard: Heard) {
        let now = Instant::now();
        let mut seen = self.lock();
        let entry =
            seen.entry((index, heard.address, heard.mac)).or_insert(Seen { answered: None, used: now });
        entry.used = now;
        if heard.answer {
            entry.answered = Some(now);
        }
        self.changed.notify_all();
    }
}
