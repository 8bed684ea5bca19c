//! Raw Ethernet frames (packet(7)): ARP and Neighbor Discovery, all interfaces over one socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::socket::{BUFFER, nothing_now, receive_from, widen_buffers};

/// What a [`FrameSocket`] hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// ARP (RFC 826).
    Arp,
    /// IPv6 Neighbor Solicitations and Advertisements (ICMPv6 types 135 and 136, RFC 4861) without extension headers.
    Neighbor,
}

/// Why a socket could not be opened; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Packet sockets need `CAP_NET_RAW`.
    #[error("not permitted to open a packet socket (needs CAP_NET_RAW)")]
    NotPermitted,
    /// Anything else.
    #[error("cannot {step}: {source}")]
    Open {
        /// What was being done.
        step: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// What became of a burst of frames.
#[derive(Debug)]
#[must_use]
pub struct Burst {
    /// Frames handed to the kernel.
    pub sent: usize,
    /// Positions of the frames that were refused, in order, and why. Those after them were tried all the same.
    pub refused: Vec<(usize, io::Error)>,
}

/// A packet socket, not bound to an interface, that never blocks. Frames sent by this machine are not heard.
#[derive(Debug)]
pub struct FrameSocket {
    fd: OwnedFd,
}

/// As many frames as one sendmmsg(2) call takes here.
const PER_CALL: usize = 64;

impl FrameSocket {
    /// Prepares for the interfaces of these names. Nothing is to be done here, where a socket is for all of them. Answers what this system adds to
    /// the time that an answer takes: nothing.
    pub fn attend(&mut self, _kind: FrameKind, _interfaces: &[String]) -> Duration {
        Duration::ZERO
    }

    /// What frames go through, in words, if that is not the same on every machine. Here it is.
    #[must_use]
    pub fn means(&self) -> Option<&'static str> {
        None
    }

    /// Opens it. It hears nothing but `kind` from its first moment on: the kernel filters.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(kind: FrameKind) -> Result<Self, Error> {
        // Protocol 0: deaf until bind, so no frame slips in before the filter.
        // SAFETY: socket(2) takes no pointer.
        let raw = unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
        };
        if raw < 0 {
            let source = io::Error::last_os_error();
            return Err(match source.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => Error::NotPermitted,
                _ => Error::Open { step: "open a packet socket", source },
            });
        }
        // SAFETY: `raw` is a descriptor that socket(2) just gave us; nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        let step = |step: &'static str| move |source| Error::Open { step, source };
        socket2::SockRef::from(&fd).attach_filter(&filter(kind)).map_err(step("attach the frame filter"))?;
        widen_buffers(fd.as_fd(), BUFFER);
        // Bound to one protocol, it is not shown what this machine sends: the kernel does that for ETH_P_ALL only.
        let address = link_address(0, protocol(kind));
        // SAFETY: pointer and length describe `address`, which lives across the call; the kernel only reads it.
        let bound =
            unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), ADDRESS_LENGTH) };
        if bound != 0 {
            return Err(step("bind a packet socket")(io::Error::last_os_error()));
        }
        Ok(Self { fd })
    }

    /// Sends one whole frame (Ethernet header included) out of an interface.
    ///
    /// # Errors
    /// `ENXIO` or `ENODEV`: no such interface; `ENETDOWN`: it is switched off; [`io::ErrorKind::WouldBlock`]: its queue
    /// is full. The frame was not sent.
    pub fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        match self.send_many(&[(interface, frame)]).refused.pop() {
            None => Ok(()),
            Some((_, error)) => Err(error),
        }
    }

    /// Sends many frames with few system calls (sendmmsg(2)), in order; a refused frame does not stop the others.
    pub fn send_many(&self, frames: &[(u32, &[u8])]) -> Burst {
        let mut burst = Burst { sent: 0, refused: Vec::new() };
        for (chunk_number, chunk) in frames.chunks(PER_CALL).enumerate() {
            let mut from = 0;
            while from < chunk.len() {
                match self.send_some(&chunk[from..]) {
                    Ok(sent) => {
                        burst.sent += sent;
                        from += sent;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        burst.refused.push((chunk_number * PER_CALL + from, error));
                        from += 1;
                    }
                }
            }
        }
        burst
    }

    /// One sendmmsg(2) call: how many of the first frames were taken, at least one; or why the first was not.
    fn send_some(&self, frames: &[(u32, &[u8])]) -> io::Result<usize> {
        let count = frames.len().min(PER_CALL);
        let mut addresses = [link_address(0, 0); PER_CALL];
        let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; PER_CALL];
        // SAFETY: all-zero bytes are a valid mmsghdr: null pointers with zero lengths.
        let mut headers: [libc::mmsghdr; PER_CALL] = unsafe { std::mem::zeroed() };
        for (slot, (interface, frame)) in frames.iter().take(count).enumerate() {
            let ethertype = frame.get(12..14).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
            addresses[slot] = link_address(*interface, ethertype);
            parts[slot] = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
            headers[slot].msg_hdr.msg_name = (&raw mut addresses[slot]).cast();
            headers[slot].msg_hdr.msg_namelen = ADDRESS_LENGTH;
            headers[slot].msg_hdr.msg_iov = &raw mut parts[slot];
            headers[slot].msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: the first `count` headers point to addresses and parts on this stack frame and to frames borrowed
        // for this call; sendmmsg(2) writes nothing but `msg_len`.
        #[expect(clippy::cast_possible_truncation, reason = "at most PER_CALL")]
        let sent =
            unsafe { libc::sendmmsg(self.fd.as_raw_fd(), headers.as_mut_ptr(), count as libc::c_uint, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// The next frame, if there is one: index of the interface it came in by, and how many bytes of `buffer` it fills
    /// (a longer frame is cut).
    ///
    /// # Errors
    /// `ENETDOWN` once after an interface went down; other errors are faults of the socket.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(u32, usize)>> {
        nothing_now(|| {
            let mut address = link_address(0, 0);
            // SAFETY: sockaddr_ll is a C struct of integers.
            let received = unsafe { receive_from(self.fd.as_fd(), buffer, 0, &mut address) }?;
            Ok((address.sll_ifindex.cast_unsigned(), received))
        })
    }
}

impl AsFd for FrameSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for FrameSocket {
    /// Takes over a socket opened by [`FrameSocket::open`], here or in the parent process.
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<FrameSocket> for OwnedFd {
    fn from(socket: FrameSocket) -> Self {
        socket.fd
    }
}

#[expect(clippy::cast_possible_truncation, reason = "20 bytes")]
const ADDRESS_LENGTH: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

fn protocol(kind: FrameKind) -> u16 {
    match kind {
        FrameKind::Arp => 0x0806,
        FrameKind::Neighbor => 0x86dd,
    }
}

fn link_address(interface: u32, ethertype: u16) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        #[expect(clippy::cast_possible_truncation, reason = "17")]
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

/// Classic BPF (linux/filter.h): accept the whole frame or nothing. A load past the end of a frame rejects it.
fn filter(kind: FrameKind) -> Vec<socket2::SockFilter> {
    const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
    const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
    const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let op = socket2::SockFilter::new;
    match kind {
        FrameKind::Arp => vec![
            op(LOAD_HALF, 0, 0, 12),
            op(IF_EQUAL, 0, 1, 0x0806),
            op(RETURN, 0, 0, u32::MAX),
            op(RETURN, 0, 0, 0),
        ],
        FrameKind::Neighbor => vec![
            op(LOAD_HALF, 0, 0, 12),
            op(IF_EQUAL, 0, 6, 0x86dd),
            op(LOAD_BYTE, 0, 0, 14 + 6),
            op(IF_EQUAL, 0, 4, 58),
            op(LOAD_BYTE, 0, 0, 14 + 40),
            op(IF_EQUAL, 1, 0, 135),
            op(IF_EQUAL, 0, 1, 136),
            op(RETURN, 0, 0, u32::MAX),
            op(RETURN, 0, 0, 0),
        ],
    }
}
