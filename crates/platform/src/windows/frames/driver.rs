//! Frames as they are, where a driver is installed that sends and hears them: Npcap, or what else has the interface of
//! libpcap (`wpcap.dll`; pcap(3PCAP)). It is looked up, never needed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::io;
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;

use super::super::addresses::Kernel;
use super::super::library::Library;
use super::super::links::{Link, find};
use super::super::mailbox::Mailbox;
use super::super::realtime;
use super::FrameKind;

/// Longer than any frame that is understood.
const SNAPLEN: c_int = 2048;
/// How long a frame may wait in the driver where it cannot be had at once, in milliseconds.
const WAIT: c_int = 5;
/// So late it may be here then: that, and the timers of the system (15.6 ms unless somebody has asked for more).
const LATE: Duration = Duration::from_millis(20);
/// An interface that was lost is not opened again sooner.
const AGAIN: Duration = Duration::from_secs(1);
/// Nor is one that is being opened, should nobody say what became of that.
const OPENING: Duration = Duration::from_secs(30);
/// Not open, or not any more.
const NOT_NOW: io::ErrorKind = io::ErrorKind::WouldBlock;
/// Frames that wait to be read; beyond that they are lost, as in any socket.
const WAITING: usize = 1024;
/// DLT_EN10MB: frames begin with an Ethernet header.
const ETHERNET: c_int = 1;
/// PCAP_ERRBUF_SIZE.
const ERROR: usize = 256;
/// PCAP_NETMASK_UNKNOWN.
const NO_MASK: c_uint = u32::MAX;

/// `pcap_t`: the library's own.
type Raw = *mut c_void;

/// `struct pcap_pkthdr`, with the two times of 32 bits that `struct timeval` has on Windows.
#[repr(C)]
struct Header {
    _time: [i32; 2],
    captured: u32,
    _length: u32,
}

/// `struct bpf_program`.
#[repr(C)]
struct Program {
    length: c_uint,
    instructions: *mut c_void,
}

macro_rules! functions {
    ($($name:literal: $field:ident as $type:ty;)+) => {
        /// The functions of the library.
        struct Functions {
            $($field: $type,)+
            /// Npcap has it, its predecessor has not.
            set_immediate_mode: Option<SetNumber>,
        }

        fn look_up(library: &Library) -> Option<Functions> {
            let immediate = library.find(c"pcap_set_immediate_mode");
            Some(Functions {
                // SAFETY: the function of this name has this type (pcap.h), and the library is never unloaded.
                $($field: unsafe { std::mem::transmute::<*const c_void, $type>(library.find($name)?) },)+
                set_immediate_mode: immediate
                    // SAFETY: as above.
                    .map(|found| unsafe { std::mem::transmute::<*const c_void, SetNumber>(found) }),
            })
        }
    };
}

type SetNumber = unsafe extern "C" fn(Raw, c_int) -> c_int;

functions! {
    c"pcap_create": create as unsafe extern "C" fn(*const c_char, *mut c_char) -> Raw;
    c"pcap_set_snaplen": set_snaplen as SetNumber;
    c"pcap_set_promisc": set_promisc as SetNumber;
    c"pcap_set_timeout": set_timeout as SetNumber;
    c"pcap_activate": activate as unsafe extern "C" fn(Raw) -> c_int;
    c"pcap_datalink": datalink as unsafe extern "C" fn(Raw) -> c_int;
    c"pcap_geterr": geterr as unsafe extern "C" fn(Raw) -> *mut c_char;
    c"pcap_compile": compile as unsafe extern "C" fn(Raw, *mut Program, *const c_char, c_int, c_uint) -> c_int;
    c"pcap_setfilter": setfilter as unsafe extern "C" fn(Raw, *mut Program) -> c_int;
    c"pcap_freecode": freecode as unsafe extern "C" fn(*mut Program);
    c"pcap_next_ex": next_ex as unsafe extern "C" fn(Raw, *mut *mut Header, *mut *const u8) -> c_int;
    c"pcap_sendpacket": sendpacket as unsafe extern "C" fn(Raw, *const u8, c_int) -> c_int;
    c"pcap_close": close as unsafe extern "C" fn(Raw);
}

/// The library, if it is there; looked for once.
fn functions() -> Option<&'static Functions> {
    static FUNCTIONS: OnceLock<Option<Functions>> = OnceLock::new();
    FUNCTIONS.get_or_init(|| places().iter().find_map(|place| look_up(&Library::load(place)?))).as_ref()
}

/// Npcap's own folder, and where it is for programs of its predecessor.
fn places() -> Vec<PathBuf> {
    let mut text = [0u16; 260];
    // SAFETY: address and length are those of `text`.
    let length = unsafe { GetSystemDirectoryW(text.as_mut_ptr(), 260) } as usize;
    let Some(text) = text.get(..length).filter(|text| !text.is_empty()) else { return Vec::new() };
    let system = PathBuf::from(String::from_utf16_lossy(text));
    vec![system.join("Npcap").join("wpcap.dll"), system.join("wpcap.dll")]
}

/// An interface, opened once. Closes when it is dropped.
struct Handle {
    raw: Raw,
    functions: &'static Functions,
}

// SAFETY: the library lets any thread use a handle, one at a time; each of these has one owner.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: made by `open`, and not used after this.
        unsafe { (self.functions.close)(self.raw) };
    }
}

impl Handle {
    /// Opens it; what it hears are frames of that kind.
    fn open(functions: &'static Functions, link: &Link, kind: FrameKind) -> io::Result<Self> {
        let name = CString::new(format!(r"\Device\NPF_{}", link.guid)).map_err(io::Error::other)?;
        let mut why = [0; ERROR];
        // SAFETY: the name ends with zero; there is room for a reason as long as the library's longest.
        let raw = unsafe { (functions.create)(name.as_ptr(), why.as_mut_ptr()) };
        if raw.is_null() {
            // SAFETY: it ends with zero: it was all zeros, and the library ends what it writes.
            return Err(io::Error::other(words(unsafe { CStr::from_ptr(why.as_ptr()) })));
        }
        let handle = Self { raw, functions };
        // SAFETY: the handle is open and not active yet, as these want it.
        let activated = unsafe {
            (functions.set_snaplen)(raw, SNAPLEN);
            (functions.set_promisc)(raw, 0);
            (functions.set_timeout)(raw, WAIT);
            if functions.set_immediate_mode.is_some_and(|immediate| immediate(raw, 1) != 0) {
                return Err(handle.error());
            }
            (functions.activate)(raw)
        };
        // More than zero is a warning.
        if activated < 0 {
            return Err(handle.error());
        }
        // SAFETY: the handle is active.
        if unsafe { (functions.datalink)(raw) } != ETHERNET {
            return Err(io::Error::other("no Ethernet"));
        }
        let filter = match kind {
            FrameKind::Arp => c"arp",
            FrameKind::Neighbor => c"icmp6 and (ip6[40] == 135 or ip6[40] == 136)",
        };
        let mut program = Program { length: 0, instructions: ptr::null_mut() };
        // SAFETY: the handle is active; the text ends with zero; the library writes to the program, which is freed once it has been
        // taken over.
        unsafe {
            if (functions.compile)(raw, &raw mut program, filter.as_ptr(), 1, NO_MASK) != 0 {
                return Err(handle.error());
            }
            let set = (functions.setfilter)(raw, &raw mut program);
            (functions.freecode)(&raw mut program);
            if set != 0 {
                return Err(handle.error());
            }
        }
        Ok(handle)
    }

    fn error(&self) -> io::Error {
        // SAFETY: the handle is open; the text ends with zero, and lives until the next call.
        io::Error::other(words(unsafe { CStr::from_ptr((self.functions.geterr)(self.raw)) }))
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        let length = c_int::try_from(frame.len()).map_err(io::Error::other)?;
        // SAFETY: the handle is active; address and length are those of `frame`, which is only read.
        let sent = unsafe { (self.functions.sendpacket)(self.raw, frame.as_ptr(), length) };
        if sent == 0 { Ok(()) } else { Err(self.error()) }
    }

    /// The next frame, or `None` after a while without one.
    fn next(&self) -> io::Result<Option<&[u8]>> {
        let (mut header, mut bytes) = (ptr::null_mut(), ptr::null());
        // SAFETY: the handle is active; the library writes to the two pointers.
        match unsafe { (self.functions.next_ex)(self.raw, &raw mut header, &raw mut bytes) } {
            // SAFETY: so many bytes were captured; they live until the next call.
            1 => Ok(Some(unsafe { std::slice::from_raw_parts(bytes, (*header).captured as usize) })),
            0 => Ok(None),
            _ => Err(self.error()),
        }
    }
}

fn words(why: &CStr) -> String {
    why.to_string_lossy().into_owned()
}

type Inbox = Mailbox<(u32, Vec<u8>)>;

fn links() -> io::Result<Vec<Link>> {
    Kernel::open().and_then(|mut kernel| kernel.links()).map_err(io::Error::other)
}

/// Sends and hears frames on some interfaces. Belongs to one thread, which is in a hurry: what may take long is done by another,
/// and the two share nothing that could be locked.
pub(super) struct Driver {
    kind: FrameKind,
    /// A frame may reach this program so much later than this machine.
    late: Duration,
    ports: RefCell<BTreeMap<u32, Port>>,
    helper: Sender<Order>,
    opened: Receiver<(u32, io::Result<Port>)>,
}

/// What is known of an interface.
enum Port {
    Open(Open),
    /// Being opened, or could not be: not again before then.
    Closed {
        until: Instant,
    },
}

/// An interface that frames are sent to, and heard from by a thread of its own. When this is dropped, that ends.
struct Open {
    sender: Handle,
    /// Shared with whoever listens: a sender without a listener would have silence taken for an answer.
    lives: Arc<AtomicBool>,
}

/// What the helper is to do.
enum Order {
    Open(u32),
    /// Closing takes long.
    Close(Open),
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Driver {
    /// Opens the interfaces of all these names, or none. Blocking.
    ///
    /// # Errors
    /// There is no driver, it does not let this process use it, or one of the interfaces is not there or not one of its own.
    pub(super) fn open(kind: FrameKind, names: &[String], inbox: &Arc<Inbox>) -> io::Result<Self> {
        let functions = functions().ok_or(io::ErrorKind::NotFound)?;
        let links = links()?;
        let index = |name: &String| find(&links, name).ok().flatten().map(|link| link.index);
        // Two names may mean one.
        let interfaces: Option<BTreeSet<u32>> = names.iter().map(index).collect();
        let interfaces = interfaces.ok_or(io::ErrorKind::NotFound)?;
        let opener = Opener { functions, kind, inbox: Arc::clone(inbox) };
        let mut ports = BTreeMap::new();
        for interface in interfaces {
            ports.insert(interface, Port::Open(opener.open(interface)?));
        }
        let (helper, orders) = channel();
        let (tell, opened) = channel();
        std::thread::Builder::new().name("pcap".into()).spawn(move || opener.help(&orders, &tell))?;
        let late = if functions.set_immediate_mode.is_some() { Duration::ZERO } else { LATE };
        Ok(Self { kind, late, ports: RefCell::new(ports), helper, opened })
    }

    /// A frame may reach this program so much later than this machine.
    pub(super) fn late(&self) -> Duration {
        self.late
    }

    /// Sends a frame. One for an interface that was not there before is refused while that is opened.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: that; else those of the driver.
    pub(super) fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        let (mut ports, now) = (self.ports.borrow_mut(), Instant::now());
        for (interface, port) in self.opened.try_iter() {
            ports.insert(interface, port.unwrap_or(Port::Closed { until: now + AGAIN }));
        }
        match ports.get(&interface) {
            Some(Port::Open(open)) => {
                let sent = if open.lives() { open.sender.send(frame) } else { Err(NOT_NOW.into()) };
                if sent.is_err() {
                    // It may have been unplugged and be back: opened anew soon.
                    let closed = Port::Closed { until: now + AGAIN };
                    if let Some(Port::Open(open)) = ports.insert(interface, closed) {
                        let _ = self.helper.send(Order::Close(open));
                    }
                }
                sent
            }
            Some(Port::Closed { until }) if now < *until => Err(NOT_NOW.into()),
            _ => {
                ports.insert(interface, Port::Closed { until: now + OPENING });
                let _ = self.helper.send(Order::Open(interface));
                Err(NOT_NOW.into())
            }
        }
    }
}

impl Open {
    fn lives(&self) -> bool {
        self.lives.load(Ordering::Relaxed)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.lives.store(false, Ordering::Relaxed);
    }
}

/// Opens interfaces, which takes long.
struct Opener {
    functions: &'static Functions,
    kind: FrameKind,
    inbox: Arc<Inbox>,
}

impl Opener {
    /// Until nobody has orders any more.
    fn help(&self, orders: &Receiver<Order>, tell: &Sender<(u32, io::Result<Port>)>) {
        while let Ok(order) = orders.recv() {
            match order {
                Order::Open(interface) => {
                    drop(tell.send((interface, self.open(interface).map(Port::Open))));
                }
                Order::Close(open) => drop(open),
            }
        }
    }

    /// Opens an interface twice: a handle is for one thread at a time, and one thread listens.
    fn open(&self, interface: u32) -> io::Result<Open> {
        let links = links()?;
        let link = links.iter().find(|link| link.index == interface).ok_or(io::ErrorKind::NotFound)?;
        let own = link.mac.ok_or(io::ErrorKind::Unsupported)?;
        let sender = Handle::open(self.functions, link, self.kind)?;
        let listener = Handle::open(self.functions, link, self.kind)?;
        let lives = Arc::new(AtomicBool::new(true));
        let open = Open { sender, lives: Arc::clone(&lives) };
        let inbox = Arc::clone(&self.inbox);
        let listen = move || listen(interface, own, &listener, &inbox, &lives);
        std::thread::Builder::new().name("pcap".into()).spawn(listen)?;
        Ok(open)
    }
}

/// Until the interface is gone, or nobody wants to hear any more.
fn listen(interface: u32, own: [u8; 6], handle: &Handle, inbox: &Inbox, lives: &AtomicBool) {
    // Whoever waits for an answer takes silence for one.
    realtime::hurry();
    while lives.load(Ordering::Relaxed) {
        match handle.next() {
            // What this machine itself sends is heard as well.
            Ok(Some(frame)) if frame.get(6..12) != Some(&own) => {
                inbox.put_if_room((interface, frame.to_vec()), WAITING);
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    lives.store(false, Ordering::Relaxed);
}
