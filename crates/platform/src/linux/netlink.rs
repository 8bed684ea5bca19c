//! A blocking rtnetlink driver: one socket, one request or batch at a time (netlink(7), rtnetlink(7)).
//!
//! Written here because a batch must be one send with one acknowledgement: asking for an acknowledgement of each of
//! 1,000 addresses overflows the socket, and one by one costs twice the time. The message codec is a library's.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, send, socket,
};

use super::addresses::Error;
use super::clock::boot_time;
use super::socket::{BUFFER, receive_from, set_option, widen_buffers};

/// Messages in one send with one acknowledgement.
const CHUNK: usize = 64;

/// How long an answer may take. The kernel works a request off inside the send, so its answer is there afterwards; this
/// only guards against waiting for ever.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a list that changed while it was read is read again.
const DUMP_TRIES: usize = 8;

/// The kernel fills at most 32 KiB, except for a single larger message.
const DATAGRAM: usize = 128 * 1024;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// The kernel's explanation of an error, in words (linux/netlink.h).
const NLMSGERR_ATTR_MSG: u16 = 1;

/// A NETLINK_ROUTE socket with the options that this project always wants, subscribed to multicast `groups`.
pub(super) fn open_socket(flags: SockFlag, groups: &[libc::c_uint]) -> io::Result<OwnedFd> {
    let kind = SockType::Raw;
    let fd =
        socket(AddressFamily::Netlink, kind, flags | SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, libc::NETLINK_GET_STRICT_CHK] {
        set_option::<libc::c_int>(fd.as_fd(), libc::SOL_NETLINK, option, &1)?;
    }
    widen_buffers(fd.as_fd(), BUFFER);
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    for group in groups {
        set_option(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)?;
    }
    Ok(fd)
}

/// One datagram from the kernel. Datagrams of other processes are skipped.
///
/// # Errors
/// `EAGAIN` (none, or none before the receive timeout), `ENOBUFS` (some were lost), `EMSGSIZE` (larger than `buffer`).
pub(super) fn receive<'b>(fd: &OwnedFd, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    loop {
        // SAFETY: all-zero bytes are a valid sockaddr_nl, a C struct of integers.
        let mut from: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        // SAFETY: as above, any bytes make a valid sockaddr_nl.
        match unsafe { receive_from(fd.as_fd(), buffer, libc::MSG_TRUNC, &mut from) } {
            Ok(length) if length > buffer.len() => return Err(io::Error::from_raw_os_error(libc::EMSGSIZE)),
            Ok(length) if from.nl_pid == 0 => return Ok(&buffer[..length]),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// One message of a datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'b> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) payload: &'b [u8],
}

/// The messages of a datagram, up to the first that is malformed.
pub(super) fn parts(mut datagram: &[u8]) -> impl Iterator<Item = Result<Part<'_>, DecodeError>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let message = match NetlinkBuffer::new_checked(datagram) {
            Ok(message) => message,
            Err(error) => {
                datagram = &[];
                return Some(Err(error));
            }
        };
        let length = message.length() as usize;
        let part = Part {
            kind: message.message_type(),
            flags: message.flags(),
            sequence: message.sequence_number(),
            payload: &datagram[HEADER..length],
        };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(part))
    })
}

/// The attributes after a message's fixed part of `fixed` bytes, as (kind, value).
pub(super) fn attributes(
    payload: &[u8],
    fixed: usize,
) -> impl Iterator<Item = Result<(u16, &[u8]), DecodeError>> + use<'_> {
    let rest = payload.get(fixed..).unwrap_or_default();
    NlasIterator::new(rest).map(|attribute| {
        let attribute = attribute?;
        let end = usize::from(attribute.length());
        Ok((attribute.kind(), &attribute.into_inner()[4..end]))
    })
}

/// A little-endian or big-endian number, whichever this machine is, at `from`.
pub(super) fn number(bytes: &[u8], from: usize) -> Option<u32> {
    bytes.get(from..from + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// What the kernel says about one request: `None` for an acknowledgement.
fn refusal(part: &Part<'_>) -> Result<Option<Error>, DecodeError> {
    let code = number(part.payload, 0).ok_or("an error message without a code")?.cast_signed();
    if code == 0 {
        return Ok(None);
    }
    // The request's header follows, and the rest of the request unless capped; then explanations.
    let request = match number(part.payload, 4) {
        Some(length) if part.flags & NLM_F_CAPPED == 0 => (length as usize).next_multiple_of(4),
        _ => HEADER,
    };
    let mut reason = None;
    if part.flags & NLM_F_ACK_TLVS != 0 {
        for attribute in attributes(part.payload, 4 + request) {
            let (kind, value) = attribute?;
            if kind == NLMSGERR_ATTR_MSG {
                reason = Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
            }
        }
    }
    Ok(Some(Error::Refused { source: io::Error::from_raw_os_error(-code), reason }))
}

/// A socket for requests.
#[derive(Debug)]
pub(super) struct Requests {
    fd: OwnedFd,
    /// Number of the last message sent. Answers carry it, so late answers to earlier requests are told apart.
    sequence: u32,
    buffer: Box<[u8]>,
}

impl Requests {
    pub(super) fn open() -> io::Result<Self> {
        let fd = open_socket(SockFlag::empty(), &[])?;
        socket2::SockRef::from(&fd).set_read_timeout(Some(PATIENCE))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; DATAGRAM].into_boxed_slice() })
    }

    /// Asks for a list and gives each message of the answer to `parse`, which may skip it with `None`.
    pub(super) fn dump<T>(
        &mut self,
        request: &RouteNetlinkMessage,
        parse: impl Fn(&Part<'_>) -> Result<Option<T>, DecodeError>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..DUMP_TRIES {
            self.sequence = self.sequence.wrapping_add(1);
            let bytes = serialize(request.clone(), NLM_F_REQUEST | NLM_F_DUMP, self.sequence);
            self.send(&bytes)?;
            match self.collect(&parse) {
                Ok(Some(list)) => return Ok(list),
                Ok(None) => {}
                Err(error) => {
                    self.start_anew();
                    return Err(error);
                }
            }
        }
        Err(Error::Changing)
    }

    /// Reads the answer to a dump; `None` if the list changed meanwhile.
    fn collect<T>(
        &mut self,
        parse: &impl Fn(&Part<'_>) -> Result<Option<T>, DecodeError>,
    ) -> Result<Option<Vec<T>>, Error> {
        let deadline = boot_time() + PATIENCE;
        let mut list = Vec::new();
        let mut changed = false;
        let mut malformed = None;
        loop {
            if boot_time() > deadline {
                return Err(Error::TimedOut(PATIENCE));
            }
            let datagram = receive(&self.fd, &mut self.buffer).map_err(receive_error)?;
            for part in parts(datagram) {
                let part = part.map_err(malformed_error)?;
                if part.sequence != self.sequence {
                    continue;
                }
                changed |= part.flags & NLM_F_DUMP_INTR != 0;
                match part.kind {
                    // The end carries an error code as well, without the request's header.
                    NLMSG_DONE if number(part.payload, 0).is_none_or(|code| code == 0) => {
                        return match malformed {
                            Some(error) if !changed => Err(malformed_error(error)),
                            _ => Ok((!changed).then_some(list)),
                        };
                    }
                    NLMSG_DONE | NLMSG_ERROR => {
                        if let Some(error) = refusal(&part).map_err(malformed_error)? {
                            return Err(error);
                        }
                    }
                    _ => match parse(&part) {
                        Ok(item) => list.extend(item),
                        Err(error) => malformed = malformed.or(Some(error)),
                    },
                }
            }
        }
    }

    /// Sends all messages, [`CHUNK`] at a time, with one acknowledgement for each chunk. One result for each message.
    pub(super) fn batch(
        &mut self,
        flags: u16,
        messages: impl ExactSizeIterator<Item = RouteNetlinkMessage>,
    ) -> Vec<Result<(), Error>> {
        let total = messages.len();
        let mut messages = messages;
        let mut results = Vec::with_capacity(total);
        while results.len() < total {
            let first = self.sequence.wrapping_add(1);
            let count = CHUNK.min(total - results.len());
            let mut bytes = Vec::with_capacity(count * 96);
            for (position, message) in messages.by_ref().take(count).enumerate() {
                self.sequence = self.sequence.wrapping_add(1);
                let acknowledge = if position + 1 == count { NLM_F_ACK } else { 0 };
                bytes.extend(serialize(message, NLM_F_REQUEST | flags | acknowledge, self.sequence));
            }
            let mut chunk: Vec<Option<Error>> = std::iter::repeat_with(|| None).take(count).collect();
            let outcome = self.send(&bytes).and_then(|()| self.answers(first, &mut chunk));
            match outcome {
                Ok(()) => results.extend(chunk.into_iter().map(|refused| refused.map_or(Ok(()), Err))),
                Err(error) => {
                    // What was refused by name is known; of the others nothing is.
                    results.extend(
                        chunk.into_iter().map(|refused| Err(refused.unwrap_or_else(|| same(&error)))),
                    );
                    results.resize_with(total, || Err(Error::NotTried));
                    self.start_anew();
                }
            }
        }
        results
    }

    /// Reads the answers to the messages numbered from `first` on, until the last has one.
    fn answers(&mut self, first: u32, chunk: &mut [Option<Error>]) -> Result<(), Error> {
        let deadline = boot_time() + PATIENCE;
        loop {
            if boot_time() > deadline {
                return Err(Error::TimedOut(PATIENCE));
            }
            let datagram = receive(&self.fd, &mut self.buffer).map_err(receive_error)?;
            for part in parts(datagram) {
                let part = part.map_err(malformed_error)?;
                let position = part.sequence.wrapping_sub(first) as usize;
                if part.kind != NLMSG_ERROR || position >= chunk.len() {
                    continue;
                }
                chunk[position] = refusal(&part).map_err(malformed_error)?;
                if position + 1 == chunk.len() {
                    return Ok(());
                }
            }
        }
    }

    /// Replaces the socket after a failure. The old one would refuse the next list while one is unread (`EBUSY`), and
    /// after an overrun the kernel drops further answers until all old ones are read. Keeps the old one if there is no
    /// new one.
    fn start_anew(&mut self) {
        if let Ok(new) = Self::open() {
            self.fd = new.fd;
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        loop {
            match send(self.fd.as_raw_fd(), bytes, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(Error::Send(error.into())),
            }
        }
    }
}

fn serialize(message: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn receive_error(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOBUFS) => Error::Overrun,
        Some(libc::EAGAIN) => Error::TimedOut(PATIENCE),
        _ => Error::Receive(error),
    }
}

fn malformed_error(error: DecodeError) -> Error {
    Error::Malformed(error.to_string())
}

/// The same error again, for the next entry that it hits.
fn same(error: &Error) -> Error {
    let copy = |error: &io::Error| match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    };
    match error {
        Error::Send(error) => Error::Send(copy(error)),
        Error::Receive(error) => Error::Receive(copy(error)),
        Error::Overrun => Error::Overrun,
        Error::Malformed(what) => Error::Malformed(what.clone()),
        _ => Error::TimedOut(PATIENCE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_cut_into_its_messages_and_rubbish_ends_it() {
        let message = |kind: u16, payload: &[u8]| {
            let mut bytes = u32::try_from(HEADER + payload.len()).unwrap().to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(2u16.to_ne_bytes());
            bytes.extend(7u32.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(payload);
            bytes.resize(bytes.len().next_multiple_of(4), 0xA5);
            bytes
        };
        let mut datagram = message(20, &[1, 2, 3, 4, 5]);
        datagram.extend(message(21, &[]));
        datagram.extend([0xff; 9]);
        let all: Vec<_> = parts(&datagram).collect();
        assert_eq!(all.len(), 3);
        let first = all[0].as_ref().unwrap();
        assert_eq!((first.kind, first.sequence, first.payload), (20, 7, &[1, 2, 3, 4, 5][..]));
        assert_eq!(all[1].as_ref().unwrap().payload, &[]);
        assert!(all[2].is_err());
    }

    #[test]
    fn no_cut_datagram_makes_it_panic() {
        let bytes = serialize(
            RouteNetlinkMessage::NewAddress(netlink_packet_route::address::AddressMessage::default()),
            NLM_F_REQUEST,
            1,
        );
        for end in 0..bytes.len() {
            for part in parts(&bytes[..end]).flatten() {
                let _ = refusal(&part);
                attributes(part.payload, 8).for_each(drop);
            }
        }
    }

    #[test]
    fn lost_answers_are_told_for_each_entry_and_the_socket_stays_in_step() {
        // Deleting from an interface that cannot exist: refused for lack of one, or of privilege, and changes nothing.
        let nowhere = || {
            let mut message = netlink_packet_route::address::AddressMessage::default();
            message.header.family = netlink_packet_route::AddressFamily::Inet;
            message.header.index = i32::MAX.cast_unsigned();
            RouteNetlinkMessage::DelAddress(message)
        };
        let total = CHUNK + 6;
        let batch = |requests: &mut Requests| requests.batch(0, (0..total).map(|_| nowhere()));
        let count = |results: &[Result<(), Error>], kind: fn(&Error) -> bool| {
            results.iter().filter(|result| result.as_ref().is_err_and(kind)).count()
        };
        let refused: fn(&Error) -> bool = |error| matches!(error, Error::Refused { .. });
        let lost: fn(&Error) -> bool = |error| matches!(error, Error::Overrun);
        let not_tried: fn(&Error) -> bool = |error| matches!(error, Error::NotTried);

        let mut requests = Requests::open().unwrap();
        socket2::SockRef::from(&requests.fd).set_recv_buffer_size(4096).unwrap();
        let results = batch(&mut requests);
        assert_eq!(results.len(), total);
        assert!(count(&results, lost) > 0, "the buffer was to be too small");
        assert_eq!(count(&results, refused) + count(&results, lost), CHUNK);
        assert_eq!(count(&results, not_tried), 6);

        assert_eq!(count(&batch(&mut requests), refused), total);
    }

    #[test]
    fn a_refusal_carries_the_kernels_words() {
        let mut payload = (-libc::EINVAL).to_ne_bytes().to_vec();
        payload.extend([0; HEADER]);
        payload.extend(9u16.to_ne_bytes());
        payload.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        payload.extend(b"Nope\0\0\0\0");
        let flags = NLM_F_CAPPED | NLM_F_ACK_TLVS;
        let part = Part { kind: NLMSG_ERROR, flags, sequence: 1, payload: &payload };
        let error = refusal(&part).unwrap().unwrap();
        assert_eq!(error.to_string(), "the kernel refused: Invalid argument (os error 22) (Nope)");
    }
}
