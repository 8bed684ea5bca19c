//! News of addresses, links and routes.
//!
//! A thread of its own compares the system's tables and tells the differences. It looks when the system says that
//! something has changed (`NotifyUnicastIpAddressChange`, `NotifyIpInterfaceChange`, `NotifyRouteChange2`), and every 250 ms in
//! any case: how soon and how surely the system tells is not documented. The callbacks do nothing but wake the thread; what
//! they are handed is incomplete by its own documentation.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_void;
use std::io;
use std::net::IpAddr;
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use windows_sys::Win32::Foundation::{HANDLE, WIN32_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    CancelMibChangeNotify2, MIB_IPFORWARD_ROW2, MIB_IPINTERFACE_ROW, MIB_NOTIFICATION_TYPE,
    MIB_UNICASTIPADDRESS_ROW, NotifyIpInterfaceChange, NotifyRouteChange2, NotifyUnicastIpAddressChange,
};
use windows_sys::Win32::Networking::WinSock::{AF_UNSPEC, IpDadStateDuplicate};

use super::addresses::{self, Address, Kernel};
use super::event::Event;
use super::links::Link;
use super::poll::{Source, Waitable};
use super::tables;

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An address was added, or changed. A renewal is not told.
    AddressAdded(Address),
    /// An address is gone: removed by somebody, its lifetime ended, or the system has found another host with it.
    AddressRemoved {
        /// Index of the interface.
        interface: u32,
        /// The address with the length of its prefix.
        network: IpNet,
    },
    /// An interface came, went, or changed (carrier, name, MAC): list the links again.
    Link,
    /// A route came, went or changed: list the gateways again.
    Route,
    /// News were lost, because nobody has read them for long or a table could not be read: list everything again.
    Overrun,
}

/// Why news cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system does not tell, its tables cannot be read, or there is no thread: nothing is left behind.
    #[error("cannot watch the system's address tables: {0}")]
    Open(#[source] io::Error),
    /// The thread is gone: open a new [`Watch`] and list everything again.
    #[error("cannot read news of the system: {0}")]
    Receive(#[source] io::Error),
    /// News that cannot be understood: list everything again.
    #[error("cannot understand news of the system: {0}")]
    Malformed(String),
}

/// The tables are compared this often even if the system says nothing.
const PACE: Duration = Duration::from_millis(250);
/// The links and routes, which cost more to read, every so many times.
const SELDOM: u32 = 4;
/// News that may wait to be read.
const WAITING: usize = 4_096;

/// What the system said has changed.
const ADDRESSES: u8 = 1;
const LINKS: u8 = 2;
const ROUTES: u8 = 4;

/// A subscription to news about addresses, links and routes. Ready when there are some; also right after [`Watch::next`]
/// returned a change, more may be waiting: read until `None`.
#[derive(Debug)]
pub struct Watch {
    /// Cancelled before the thread is told to end.
    registrations: Vec<Registration>,
    shared: Arc<Shared>,
}

/// What the thread, the callbacks and the owner have in common.
#[derive(Debug)]
struct Shared {
    news: Mutex<VecDeque<Change>>,
    /// Set while there are any.
    ready: Event,
    /// Wakes the thread.
    look: Event,
    changed: AtomicU8,
    ended: AtomicBool,
    gone: AtomicBool,
}

impl Watch {
    /// Subscribes. Needs no privilege. Open it before listing addresses, or changes in between are missed.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open() -> Result<Self, Error> {
        let event = || Event::new().map_err(Error::Open);
        let shared = Arc::new(Shared {
            news: Mutex::default(),
            ready: event()?,
            look: event()?,
            changed: AtomicU8::new(0),
            ended: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        });
        // Dropping it on the way cancels what is registered.
        let mut watch = Self { registrations: Vec::new(), shared: Arc::clone(&shared) };
        for register in [Registration::addresses, Registration::links, Registration::routes] {
            watch.registrations.push(register(&shared).map_err(Error::Open)?);
        }
        // Read here, not by the thread: what changes after this is told.
        let seen = Seen::read().map_err(Error::Open)?;
        let looks = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("watch".into()).stack_size(256 * 1024);
        thread.spawn(move || looks.look(seen)).map_err(Error::Open)?;
        Ok(watch)
    }

    /// The next change; `None` if there is none now. Never blocks.
    ///
    /// # Errors
    /// [`Error::Receive`].
    #[expect(clippy::should_implement_trait, reason = "no iterator: `None` is not the end")]
    pub fn next(&mut self) -> Result<Option<Change>, Error> {
        let mut news = self.shared.news();
        let change = news.pop_front();
        if news.is_empty() {
            if change.is_none() && self.shared.gone.load(Ordering::Acquire) {
                return Err(Error::Receive(io::ErrorKind::BrokenPipe.into()));
            }
            self.shared.ready.reset();
        }
        Ok(change)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Waits for callbacks that are running; none begins after it.
        self.registrations.clear();
        self.shared.ended.store(true, Ordering::Release);
        // The thread may be in a call into the system: it ends by itself.
        self.shared.look.set();
    }
}

impl AsHandle for Watch {
    /// The event that is set while there are news.
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.shared.ready.as_handle()
    }
}

impl Shared {
    fn news(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut news = self.news();
        if news.len() + changes.len() > WAITING {
            news.clear();
            news.push_back(Change::Overrun);
        } else {
            news.extend(changes);
        }
        // Under the lock, or `next` might reset what was just set.
        self.ready.set();
    }

    /// What the thread does.
    fn look(&self, mut seen: Seen) {
        let _gone = Gone(self);
        let mut turn: u32 = 0;
        let mut unread = false;
        loop {
            self.look.wait(PACE);
            self.look.reset();
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            let told = self.changed.swap(0, Ordering::AcqRel);
            turn = turn.wrapping_add(1);
            let what =
                if turn.is_multiple_of(SELDOM) { ADDRESSES | LINKS | ROUTES } else { told | ADDRESSES };
            match seen.update(what) {
                Ok(mut changes) => {
                    unread = false;
                    // Routes without a gateway change too, and links in ways that are not compared.
                    let also = [(LINKS, Change::Link), (ROUTES, Change::Route)];
                    for (flag, change) in also {
                        if told & flag != 0 && !changes.contains(&change) {
                            changes.push(change);
                        }
                    }
                    self.tell(changes);
                }
                // Told once, and then not before something could be read.
                Err(_) if unread => {}
                Err(_) => {
                    unread = true;
                    self.tell(vec![Change::Overrun]);
                }
            }
        }
    }
}

/// Says that the thread is gone, however it went.
struct Gone<'a>(&'a Shared);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Release);
        self.0.ready.set();
    }
}

/// The tables as they were last read.
#[derive(Debug, Default)]
struct Seen {
    addresses: BTreeMap<(u32, IpAddr), Address>,
    links: Vec<Link>,
    gateways: Vec<(u32, IpAddr)>,
}

impl Seen {
    fn read() -> io::Result<Self> {
        let mut seen = Self::default();
        seen.update(ADDRESSES | LINKS | ROUTES)?;
        Ok(seen)
    }

    /// Reads some tables again, and answers what has changed.
    fn update(&mut self, what: u8) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        if what & ADDRESSES != 0 {
            let now = usable(&tables::addresses()?);
            changes.extend(difference(&self.addresses, &now));
            self.addresses = now;
        }
        let mut kernel = Kernel::open().map_err(io::Error::other)?;
        if what & LINKS != 0 {
            let now = kernel.links().map_err(io::Error::other)?;
            if now != self.links {
                changes.push(Change::Link);
                self.links = now;
            }
        }
        if what & ROUTES != 0 {
            let now = kernel.gateways().map_err(io::Error::other)?;
            if now != self.gateways {
                changes.push(Change::Route);
                self.gateways = now;
            }
        }
        Ok(changes)
    }
}

/// The addresses that the system uses. What cannot be understood is left to whoever lists them.
fn usable(rows: &[MIB_UNICASTIPADDRESS_ROW]) -> BTreeMap<(u32, IpAddr), Address> {
    let used = rows.iter().filter(|row| row.DadState != IpDadStateDuplicate);
    used.filter_map(|row| addresses::parse(row).ok())
        .map(|address| ((address.interface, address.network.addr()), address))
        .collect()
}

/// Time that passes is no change.
fn difference<'a>(
    before: &'a BTreeMap<(u32, IpAddr), Address>,
    now: &'a BTreeMap<(u32, IpAddr), Address>,
) -> impl Iterator<Item = Change> + 'a {
    let same = |address: &Address, table: &BTreeMap<(u32, IpAddr), Address>| {
        let spot = (address.interface, address.network.addr());
        table.get(&spot).is_some_and(|other| other.network == address.network)
    };
    let gone = before.values().filter(move |address| !same(address, now));
    let come = now.values().filter(move |address| !same(address, before));
    gone.map(|address| Change::AddressRemoved { interface: address.interface, network: address.network })
        .chain(come.map(|address| Change::AddressAdded(address.clone())))
}

/// A registration with the system; cancelled when dropped. Never dropped by a callback, which would wait for itself.
#[derive(Debug)]
struct Registration {
    handle: HANDLE,
    /// Lives as long as callbacks may be called with it.
    _context: Arc<Shared>,
}

// SAFETY: the handle is a number to the system, and may be cancelled from any thread.
unsafe impl Send for Registration {}
// SAFETY: as above; nothing is done with a shared one.
unsafe impl Sync for Registration {}

impl Registration {
    fn addresses(shared: &Arc<Shared>) -> io::Result<Self> {
        Self::new(shared, |context, handle| {
            // SAFETY: the context lives until the registration is cancelled; the handle is a place of ours.
            unsafe { NotifyUnicastIpAddressChange(AF_UNSPEC, Some(on_address), context, false, handle) }
        })
    }

    fn links(shared: &Arc<Shared>) -> io::Result<Self> {
        Self::new(shared, |context, handle| {
            // SAFETY: as above.
            unsafe { NotifyIpInterfaceChange(AF_UNSPEC, Some(on_link), context, false, handle) }
        })
    }

    fn routes(shared: &Arc<Shared>) -> io::Result<Self> {
        Self::new(shared, |context, handle| {
            // SAFETY: as above.
            unsafe { NotifyRouteChange2(AF_UNSPEC, Some(on_route), context, false, handle) }
        })
    }

    fn new(
        shared: &Arc<Shared>,
        register: impl FnOnce(*const c_void, *mut HANDLE) -> WIN32_ERROR,
    ) -> io::Result<Self> {
        let context = Arc::clone(shared);
        let mut handle = ptr::null_mut();
        tables::check(register(Arc::as_ptr(&context).cast(), &raw mut handle))?;
        Ok(Self { handle, _context: context })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle came from a Notify function and is cancelled once; no callback runs after it.
            unsafe { CancelMibChangeNotify2(self.handle) };
        }
    }
}

/// # Safety
/// `context` is what [`Registration::new`] registered.
unsafe fn changed(context: *const c_void, what: u8) {
    // SAFETY: the registration keeps it alive while callbacks may be called.
    let shared = unsafe { &*context.cast::<Shared>() };
    shared.changed.fetch_or(what, Ordering::AcqRel);
    shared.look.set();
}

unsafe extern "system" fn on_address(
    context: *const c_void,
    _: *const MIB_UNICASTIPADDRESS_ROW,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: the system hands back what was registered.
    unsafe { changed(context, ADDRESSES) };
}

unsafe extern "system" fn on_link(
    context: *const c_void,
    _: *const MIB_IPINTERFACE_ROW,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: as above.
    unsafe { changed(context, LINKS) };
}

unsafe extern "system" fn on_route(
    context: *const c_void,
    _: *const MIB_IPFORWARD_ROW2,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: as above.
    unsafe { changed(context, ROUTES) };
}

impl Waitable for Watch {
    fn waitable(&self) -> Source<'_> {
        Source::Object(self.as_handle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(list: &[(u32, &str, u64)]) -> BTreeMap<(u32, IpAddr), Address> {
        list.iter()
            .map(|(interface, network, seconds)| {
                let network: IpNet = network.parse().unwrap();
                let valid = Some(Duration::from_secs(*seconds));
                ((*interface, network.addr()), Address { interface: *interface, network, valid, ours: false })
            })
            .collect()
    }

    #[test]
    fn differences_are_told_and_time_is_none() {
        let before = table(&[(3, "192.0.2.10/32", 3), (3, "192.0.2.11/32", 3), (3, "192.0.2.12/24", 3)]);
        let now = table(&[(3, "192.0.2.10/32", 2), (3, "192.0.2.12/32", 3), (4, "192.0.2.11/32", 3)]);
        let changes: Vec<Change> = difference(&before, &now).collect();
        let removed =
            |network: &str| Change::AddressRemoved { interface: 3, network: network.parse().unwrap() };
        let added = |spot: (u32, &str)| {
            Change::AddressAdded(now[&(spot.0, spot.1.parse::<IpAddr>().unwrap())].clone())
        };
        let expected = [
            removed("192.0.2.11/32"),
            removed("192.0.2.12/24"),
            added((3, "192.0.2.12")),
            added((4, "192.0.2.11")),
        ];
        assert_eq!(changes, expected);
    }
}
