//! Messages between two processes of one machine (unix(7), `SOCK_SEQPACKET`): whole, in order, with a clear end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::socket::{nothing_now, widen_buffers};

/// Room for a few of the largest messages.
const BUFFER: usize = 4 << 20;

/// What [`MessagePipe::receive`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A message of so many bytes.
    Message(usize),
    /// Nothing now.
    Empty,
    /// The other end is closed (its process died, or dropped it) and all it ever said has been read.
    Closed,
}

/// One end of a pipe in both directions that never blocks.
#[derive(Debug)]
pub struct MessagePipe {
    fd: OwnedFd,
}

/// Two connected ends.
///
/// # Errors
/// No descriptors or memory left; nothing is left behind.
pub fn pair() -> io::Result<(MessagePipe, MessagePipe)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (left, right) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    widen_buffers(left.as_fd(), BUFFER);
    widen_buffers(right.as_fd(), BUFFER);
    Ok((MessagePipe { fd: left }, MessagePipe { fd: right }))
}

impl MessagePipe {
    /// Sends one whole message. 200 KiB always fit an empty pipe with the system's default limits.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: the other side does not read and the pipe is full;
    /// [`io::ErrorKind::BrokenPipe`]: the other end is closed; [`io::ErrorKind::InvalidInput`]: an empty message, which
    /// would look like the end; `EMSGSIZE`: larger than the pipe. Nothing was sent.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        if message.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a message must not be empty"));
        }
        loop {
            // SAFETY: pointer and length describe `message`; the kernel only reads it.
            let sent = unsafe {
                libc::send(self.fd.as_raw_fd(), message.as_ptr().cast(), message.len(), libc::MSG_NOSIGNAL)
            };
            if sent >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::ConnectionReset => return Err(io::ErrorKind::BrokenPipe.into()),
                _ => return Err(error),
            }
        }
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`]: the message is longer than `buffer`; it is lost. Other errors are faults of the
    /// socket.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            let received = nothing_now(|| {
                // SAFETY: pointer and length describe `buffer`, which is exclusively ours.
                let received = unsafe {
                    libc::recv(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_TRUNC)
                };
                usize::try_from(received).map_err(|_| io::Error::last_os_error())
            });
            return match received {
                Ok(None) => Ok(Received::Empty),
                Ok(Some(0)) => Ok(Received::Closed),
                // With MSG_TRUNC the kernel tells the whole length even of a cut message.
                Ok(Some(length)) if length > buffer.len() => {
                    Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")))
                }
                Ok(Some(length)) => Ok(Received::Message(length)),
                // The other end closed with messages of ours unread. Told once, and before what it had still said.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => continue,
                Err(error) => Err(error),
            };
        }
    }
}

impl AsFd for MessagePipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for MessagePipe {
    /// Takes over an end made by [`pair`], here or in the parent process.
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<MessagePipe> for OwnedFd {
    fn from(pipe: MessagePipe) -> Self {
        pipe.fd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_borders_both_ways() {
        let (left, right) = pair().unwrap();
        let mut buffer = [0; 16];
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Empty);
        left.send(b"one").unwrap();
        left.send(b"three").unwrap();
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(3));
        assert_eq!(&buffer[..3], b"one");
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(5));
        right.send(b"back").unwrap();
        assert_eq!(left.receive(&mut buffer).unwrap(), Received::Message(4));
    }

    #[test]
    fn two_hundred_kilobytes_are_one_message() {
        let (left, right) = pair().unwrap();
        let message: Vec<u8> =
            (0..200 * 1024).map(|i: u32| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
        left.send(&message).unwrap();
        let mut buffer = vec![0; message.len()];
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(message.len()));
        assert!(buffer == message);
    }

    #[test]
    fn the_last_words_come_before_the_end() {
        let (left, right) = pair().unwrap();
        let mut buffer = [0; 16];
        // Unread messages on both sides: the kernel then reports a reset first.
        right.send(b"unread").unwrap();
        left.send(b"last words").unwrap();
        drop(left);
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(10));
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Closed);
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Closed);
        assert_eq!(right.send(b"anybody?").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_pipe_an_empty_and_a_long_message_are_errors() {
        let (left, right) = pair().unwrap();
        assert_eq!(left.send(b"").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        left.send(&[1; 17]).unwrap();
        left.send(b"next").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(right.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(4));
        let full = (0..1_000_000).find_map(|_| left.send(&[0; 4096]).err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
}
