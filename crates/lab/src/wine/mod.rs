//! The kernel under a Windows program that runs in wine: what wine's own `iphlpapi.dll` lacks or only pretends to do.
//!
//! `wine/iphlpapi` at the root of the repository builds a DLL that passes each call on as one line of text, over loopback
//! TCP, to an [`Agent`] in the same network namespace. The agent changes real addresses, sends real ARP and Neighbor
//! Discovery, and answers as Windows documents it: strictly, since a kind stand-in would let pass what Windows refuses.
//!
//! It proves that a program makes the right calls. It proves nothing about Windows: what is not documented is a guess, and each
//! guess is a field of [`Habits`] or named where it is made.
//!
//! | Line | Answer |
//! |---|---|
//! | `create INTERFACE ADDRESS LENGTH PREFIX SUFFIX VALID PREFERRED SKIP DAD` | code |
//! | `set`, the same | code |
//! | `get INTERFACE ADDRESS` | code, and a row |
//! | `delete INTERFACE ADDRESS` | code |
//! | `list FAMILY` | code, and rows |
//! | `resolve INTERFACE ADDRESS SOURCE` | code, and a hardware address |
//! | `flush FAMILY INTERFACE` | code |
//! | `neighbors FAMILY` | code, and rows |
//! | `routes FAMILY` | code, and rows |
//! | `links` | code, and the interfaces that have no carrier |
//! | `echo INTERFACE ADDRESS MILLISECONDS` | code |
//! | `watch KIND FAMILY` | code; then a line for each change |
//!
//! INTERFACE is the kernel's index, `-` if the program named none, 0 if it named one that is not there. An ADDRESS or
//! SOURCE that is none is `-`.

mod codes;
mod desk;
mod neighborhood;
mod news;
mod packet;
mod ping;
mod prefix;
mod request;
mod table;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::error::{Result, While};
use crate::host::Host;
use desk::Desk;

pub use prefix::{WineHost, program, template};

/// Where the DLL looks for the agent unless `VIPDRIFT_WINE_AGENT` names another port.
pub const PORT: u16 = 20_910;

/// What is a guess about Windows, or differs between its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// Lifetimes of addresses end. Nobody has seen yet whether they do for IPv4 addresses set by hand.
    pub counts_down: bool,
    /// An address is announced once it may be used: gratuitous ARP, unsolicited Neighbor Advertisement. Off, nothing
    /// tells the segment of a new address but what the program itself does.
    pub announces: bool,
    /// The duplicate address probe asks this often, a second apart (`DadTransmits`: 3 for IPv4 by default).
    pub dad_transmits: u32,
    /// All cards are of one make, and so have one description.
    pub alike: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self { counts_down: true, announces: true, dad_transmits: 3, alike: false }
    }
}

/// Answers the DLL from the network namespace of the thread that started it. Ends when it is dropped.
#[derive(Debug)]
pub struct Agent {
    listener: TcpListener,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Listens on 127.0.0.1 in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// The port is taken, or the kernel's refusal.
    pub fn start(port: u16, habits: Habits) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .doing(|| format!("listen on port {port} for programs under wine"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let desk = Desk::open(habits, Arc::clone(&stop))?;
        let accepting = listener.try_clone().doing(|| "copy a listener".into())?;
        let ends = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("wine-agent".into())
            .spawn(move || accept(&accepting, &desk, &ends))
            .doing(|| "start a thread".into())?;
        Ok(Self { listener, stop, thread: Some(thread) })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Host {
    /// Starts an [`Agent`] on this host, for programs under wine that run there. It is no process of the host: it goes on
    /// when the host is frozen or its power is off.
    ///
    /// # Errors
    ///
    /// The port is taken, or the kernel's refusal.
    pub fn wine_agent(&self, habits: Habits) -> Result<Agent> {
        self.run(|| Agent::start(PORT, habits))
    }
}

fn accept(listener: &TcpListener, desk: &Arc<Desk>, stop: &AtomicBool) {
    for stream in listener.incoming() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let desk = Arc::clone(desk);
        // Whoever asks for something that takes seconds must not keep the others waiting.
        let _ = std::thread::Builder::new().name("wine-call".into()).spawn(move || serve(&desk, &stream));
    }
}

fn serve(desk: &Arc<Desk>, stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        if let Some(watched) = news::parse(&line) {
            desk.news().tell(watched, stream);
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        let answer = desk.answer(&line);
        let mut stream = stream;
        if stream.write_all(format!("{answer}\n").as_bytes()).is_err() {
            return;
        }
    }
}
