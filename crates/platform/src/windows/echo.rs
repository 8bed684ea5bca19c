//! ICMP echo requests and replies (RFC 792, RFC 4443).
//!
//! A raw ICMP socket needs administrator rights and sees what the firewall lets through. The system's own calls
//! (`IcmpSendEcho2Ex`, `Icmp6SendEcho2`) need neither, but they block and make the message themselves. So, as for
//! [`frames`](super::frames), threads wait in those calls, and an answer is written as the message that a raw socket would have
//! received: same identifier, same sequence number as were asked for. On the wire they are the system's own.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    ICMP_ECHO_REPLY, ICMPV6_ECHO_REPLY_LH, IP_SUCCESS, Icmp6CreateFile, Icmp6SendEcho2, IcmpCloseHandle,
    IcmpCreateFile, IcmpSendEcho2Ex,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET6, SOCKADDR_IN6};

use super::descriptor::{AsDescriptor, Borrowed, Owned};
use super::event::Event;
use super::frames::checksum;
use super::mailbox::Mailbox;
use super::poll::{Source, Waitable};
use super::pool::Pool;

/// Whoever has not answered by then does not.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Echoes that may be out for one address: the core sends a machine that is to be declared dead one every 50 ms.
const EACH: u32 = 24;
/// Echoes that may be out for all.
const MOST: usize = 128;
/// Threads that are ready beforehand.
const SPARE: usize = 8;

/// Why a socket could not be opened; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The privilege is missing. Not on this system: echoes need none.
    #[error("not permitted to send echo requests")]
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

/// Sends echo requests and receives echo replies; never blocks. Handed to another process, nothing goes along but the
/// event that says that there is something to receive: threads are started by the first request.
#[derive(Debug)]
pub struct EchoSocket {
    inbox: Arc<Mailbox<(IpAddr, Vec<u8>)>>,
    workshop: OnceLock<(Pool, Arc<Out>)>,
}

/// Echoes that are out, by address.
type Out = Mutex<BTreeMap<IpAddr, u32>>;

impl EchoSocket {
    /// A socket for IPv4. [`EchoSocket::receive`] gives whole IP packets.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open_v4() -> Result<Self, Error> {
        let event = Event::new().map_err(|source| Error::Open { step: "make an event", source })?;
        Ok(OwnedHandle::from(event).into())
    }

    /// A socket for IPv6. [`EchoSocket::receive`] gives ICMPv6 messages without the IP header.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open_v6() -> Result<Self, Error> {
        Self::open_v4()
    }

    /// Sends one echo request.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: too many are out; [`io::ErrorKind::InvalidInput`]: no echo request. Nothing was sent.
    pub fn send(&self, to: IpAddr, message: &[u8]) -> io::Result<()> {
        self.send_through(0, to, message)
    }

    /// As [`EchoSocket::send`], for IPv6 link-local addresses, which mean nothing without an interface (RFC 4007).
    /// `interface` is its index; other addresses take the routes and ignore it.
    ///
    /// # Errors
    /// As [`EchoSocket::send`].
    pub fn send_through(&self, interface: u32, to: IpAddr, message: &[u8]) -> io::Result<()> {
        let request = Request::parse(to, message).ok_or(io::ErrorKind::InvalidInput)?;
        let (pool, out) =
            self.workshop.get_or_init(|| (Pool::new("echo", MOST, SPARE), Arc::new(Out::default())));
        let mut waiting = lock(out);
        if waiting.get(&to).is_some_and(|out| *out >= EACH) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (out, inbox) = (Arc::clone(out), Arc::clone(&self.inbox));
        pool.start(move || {
            let answered = match to {
                IpAddr::V4(address) => ask_v4(address, &request.data),
                IpAddr::V6(address) => ask_v6(interface, address, &request.data),
            };
            ended(&out, to);
            if answered {
                inbox.put((to, request.reply()));
            }
        })?;
        *waiting.entry(to).or_default() += 1;
        Ok(())
    }

    /// The next echo reply, if there is one: who sent it and how many bytes of `buffer` it fills. IPv4: with the IP
    /// header in front. IPv6: the ICMPv6 message.
    ///
    /// # Errors
    /// None on this system.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(IpAddr, usize)>> {
        Ok(self.inbox.take().map(|(from, packet)| {
            let length = packet.len().min(buffer.len());
            buffer[..length].copy_from_slice(&packet[..length]);
            (from, length)
        }))
    }
}

fn lock(out: &Out) -> MutexGuard<'_, BTreeMap<IpAddr, u32>> {
    out.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ended(out: &Out, to: IpAddr) {
    let mut out = lock(out);
    if let Some(count) = out.get_mut(&to) {
        *count -= 1;
        if *count == 0 {
            out.remove(&to);
        }
    }
}

/// An echo request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    to: IpAddr,
    /// Identifier and sequence number.
    label: [u8; 4],
    data: Vec<u8>,
}

impl Request {
    fn parse(to: IpAddr, message: &[u8]) -> Option<Self> {
        let (head, data) = message.split_first_chunk::<8>()?;
        let [kind, code, _, _, label @ ..] = *head;
        let expected = if to.is_ipv4() { 8 } else { 128 };
        ([kind, code] == [expected, 0]).then(|| Self { to, label, data: data.to_vec() })
    }

    /// What a raw socket would have received.
    fn reply(&self) -> Vec<u8> {
        let kind = if self.to.is_ipv4() { 0 } else { 129 };
        let mut message = [[kind, 0, 0, 0].as_slice(), &self.label, &self.data].concat();
        let IpAddr::V4(from) = self.to else {
            // The system has checked the sum, and nobody looks at it any more.
            return message;
        };
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let total = u16::try_from(20 + message.len()).unwrap_or(u16::MAX).to_be_bytes();
        // Version and length, not fragmented, protocol ICMP. To whom is not known, and nobody looks at it.
        let head = [0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 1, 0, 0];
        [head.as_slice(), &from.octets(), &[0; 4], &message].concat()
    }
}

/// A handle for echo requests; closed when dropped.
struct Handle(HANDLE);

impl Handle {
    fn new(handle: HANDLE) -> Option<Self> {
        (!handle.is_null() && handle != INVALID_HANDLE_VALUE).then_some(Self(handle))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and closed once.
        unsafe { IcmpCloseHandle(self.0) };
    }
}

/// "At least one structure plus the data, 8 bytes for an ICMP error message, and an IO_STATUS_BLOCK", in words of 64 bits
/// so that it is aligned.
const REPLY: usize = 256;
type Reply = [MaybeUninit<u64>; REPLY];

#[expect(clippy::cast_possible_truncation, reason = "2 KiB, 1000 ms")]
const REPLY_BYTES: u32 = size_of::<Reply>() as u32;
#[expect(clippy::cast_possible_truncation, reason = "2 KiB, 1000 ms")]
const MILLIS: u32 = TIMEOUT.as_millis() as u32;

fn length(data: &[u8]) -> u16 {
    u16::try_from(data.len()).unwrap_or(u16::MAX).min(1_024)
}

fn ask_v4(to: Ipv4Addr, data: &[u8]) -> bool {
    // SAFETY: takes nothing.
    let Some(handle) = Handle::new(unsafe { IcmpCreateFile() }) else { return false };
    let mut reply: Reply = [MaybeUninit::zeroed(); REPLY];
    let address = u32::from_ne_bytes(to.octets());
    // SAFETY: the handle is open; no event and no routine, so the call ends before it returns; data and reply are described by
    // their lengths and live across the call; the reply is aligned for the structures that are written to it.
    let count = unsafe {
        IcmpSendEcho2Ex(
            handle.0,
            ptr::null_mut(),
            None,
            ptr::null(),
            0,
            address,
            data.as_ptr().cast(),
            length(data),
            ptr::null(),
            reply.as_mut_ptr().cast(),
            REPLY_BYTES,
            MILLIS,
        )
    };
    if count == 0 {
        return false;
    }
    // SAFETY: at least one structure was written to the start of the buffer, which was zeroed before.
    let first = unsafe { reply.as_ptr().cast::<ICMP_ECHO_REPLY>().read() };
    // A router that says "unreachable" answers too.
    first.Status == IP_SUCCESS && first.Address == address
}

fn ask_v6(interface: u32, to: Ipv6Addr, data: &[u8]) -> bool {
    // SAFETY: takes nothing.
    let Some(handle) = Handle::new(unsafe { Icmp6CreateFile() }) else { return false };
    let mut reply: Reply = [MaybeUninit::zeroed(); REPLY];
    let source = SOCKADDR_IN6 { sin6_family: AF_INET6, ..SOCKADDR_IN6::default() };
    let mut target = source;
    target.sin6_addr.u.Byte = to.octets();
    if to.is_unicast_link_local() {
        target.Anonymous.sin6_scope_id = interface;
    }
    // SAFETY: as above; both addresses live across the call.
    let count = unsafe {
        Icmp6SendEcho2(
            handle.0,
            ptr::null_mut(),
            None,
            ptr::null(),
            &raw const source,
            &raw const target,
            data.as_ptr().cast(),
            length(data),
            ptr::null(),
            reply.as_mut_ptr().cast(),
            REPLY_BYTES,
            MILLIS,
        )
    };
    // SAFETY: as above.
    count != 0 && unsafe { reply.as_ptr().cast::<ICMPV6_ECHO_REPLY_LH>().read() }.Status == IP_SUCCESS
}

impl AsHandle for EchoSocket {
    /// The event that is set while there is something to receive.
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.inbox.as_handle()
    }
}

impl From<OwnedHandle> for EchoSocket {
    /// Takes over the event of a socket opened by [`EchoSocket::open_v4`] or [`EchoSocket::open_v6`], here or in the parent
    /// process.
    fn from(handle: OwnedHandle) -> Self {
        Self { inbox: Arc::new(Mailbox::new(handle.into())), workshop: OnceLock::new() }
    }
}

impl Waitable for EchoSocket {
    fn waitable(&self) -> Source<'_> {
        Source::Object(self.as_handle())
    }
}

impl AsDescriptor for EchoSocket {
    fn as_descriptor(&self) -> Borrowed<'_> {
        self.as_handle().into()
    }
}

impl From<Owned> for EchoSocket {
    /// As from the handle of its event.
    fn from(owned: Owned) -> Self {
        OwnedHandle::from(owned).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_what_a_raw_socket_would_receive() {
        let request = Request::parse([192, 0, 2, 1].into(), &[8, 0, 0, 0, 0x12, 0x34, 0, 7]).unwrap();
        let packet = request.reply();
        assert_eq!((packet[0], packet[9], packet.len()), (0x45, 1, 28));
        assert_eq!(packet[2..4], [0, 28]);
        assert_eq!(packet[12..16], [192, 0, 2, 1]);
        assert_eq!(packet[20..22], [0, 0], "an echo reply");
        assert_eq!(packet[24..], [0x12, 0x34, 0, 7]);
        assert_eq!(checksum(&packet[20..]), 0);
        let to: IpAddr = "2001:db8::1".parse().unwrap();
        let request = Request::parse(to, &[128, 0, 0, 0, 0x12, 0x34, 0, 7]).unwrap();
        assert_eq!(request.reply(), [129, 0, 0, 0, 0x12, 0x34, 0, 7]);
        assert_eq!(Request::parse(to, &[8, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Request::parse(to, &[128, 0, 0, 0]), None);
    }
}
