//! Frames as they are, where a driver is installed that sends and hears them: Npcap, or what else has the interface of
//! libpcap (`wpcap.dll`; pcap(3PCAP)). It is looked up, never needed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::io;
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;

use super::super::addresses::Kernel;
use super::super::library::Library;
use super::super::links::{Link, find};
use super::super::mailbox::Mailbox;
use super::FrameKind;

/// Longer than any frame that is understood.
const SNAPLEN: c_int = 2048;
/// How long a frame may wait in the driver where it cannot be had at once, in milliseconds.
const WAIT: c_int = 5;
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
            /// Not in every version.
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
            if let Some(immediate) = functions.set_immediate_mode {
                immediate(raw, 1);
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

/// Sends and hears frames on some interfaces.
pub(super) struct Driver {
    shared: Arc<Shared>,
}

struct Shared {
    functions: &'static Functions,
    kind: FrameKind,
    inbox: Arc<Inbox>,
    ports: Mutex<Ports>,
    over: AtomicBool,
}

#[derive(Default)]
struct Ports {
    open: BTreeMap<u32, Handle>,
    /// Being opened.
    opening: BTreeSet<u32>,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open: Vec<u32> = lock(&self.shared.ports).open.keys().copied().collect();
        f.debug_struct("Driver").field("kind", &self.shared.kind).field("open", &open).finish()
    }
}

fn lock(ports: &Mutex<Ports>) -> MutexGuard<'_, Ports> {
    ports.lock().unwrap_or_else(PoisonError::into_inner)
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
        let shared = Arc::new(Shared {
            functions,
            kind,
            inbox: Arc::clone(inbox),
            ports: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let driver = Self { shared };
        interfaces.iter().try_for_each(|interface| driver.shared.open(*interface))?;
        Ok(driver)
    }

    /// Sends a frame. One for an interface that was not there before is refused while that is opened.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: that; else those of the driver.
    pub(super) fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        let mut ports = lock(&self.shared.ports);
        if let Some(handle) = ports.open.get(&interface) {
            let sent = handle.send(frame);
            if sent.is_err() {
                // It may have been unplugged and be back: opened anew by the next one.
                ports.open.remove(&interface);
            }
            return sent;
        }
        if ports.opening.insert(interface) {
            let shared = Arc::clone(&self.shared);
            let open = move || {
                let _ = shared.open(interface);
                lock(&shared.ports).opening.remove(&interface);
            };
            if std::thread::Builder::new().name("pcap".into()).spawn(open).is_err() {
                ports.opening.remove(&interface);
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// Opens an interface twice: a handle is for one thread at a time, and one thread listens.
    fn open(self: &Arc<Self>, interface: u32) -> io::Result<()> {
        let links = links()?;
        let link = links.iter().find(|link| link.index == interface).ok_or(io::ErrorKind::NotFound)?;
        let own = link.mac.ok_or(io::ErrorKind::Unsupported)?;
        let sender = Handle::open(self.functions, link, self.kind)?;
        let listener = Handle::open(self.functions, link, self.kind)?;
        let shared = Arc::clone(self);
        let listen = move || shared.listen(interface, own, &listener);
        std::thread::Builder::new().name("pcap".into()).spawn(listen)?;
        lock(&self.ports).open.insert(interface, sender);
        Ok(())
    }

    /// Until the interface is gone, or nobody wants to hear any more.
    fn listen(&self, interface: u32, own: [u8; 6], handle: &Handle) {
        while !self.over.load(Ordering::Relaxed) {
            match handle.next() {
                // What this machine itself sends is heard as well.
                Ok(Some(frame)) if frame.get(6..12) != Some(&own) => {
                    self.inbox.put_if_room((interface, frame.to_vec()), WAITING);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        // A sender without a listener would have silence taken for an answer.
        lock(&self.ports).open.remove(&interface);
    }
}
