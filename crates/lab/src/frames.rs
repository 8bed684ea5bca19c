//! Raw Ethernet frames, for tests that forge or replay them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvfrom, sendto, setsockopt,
    socket, sockopt,
};

use crate::error::{Error, Result, While};

/// Room for the longest frame, segmentation offload included.
const LONGEST: usize = 1 << 16;

fn open(protocol: Option<SockProtocol>) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    match protocol {
        Some(protocol) => socket(AddressFamily::Packet, SockType::Raw, flags, protocol),
        None => socket(AddressFamily::Packet, SockType::Raw, flags, None),
    }
    .doing(|| "open a packet socket".into())
}

/// With room for thousands of frames at once; less is no error.
fn roomy() -> Result<OwnedFd> {
    let socket = open(Some(SockProtocol::EthAll))?;
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20));
    Ok(socket)
}

/// Sends frames by the interfaces of one host. Kept open, since closing a packet socket takes the kernel milliseconds.
pub(crate) struct Sender {
    socket: OwnedFd,
}

impl Sender {
    /// In the namespace of the calling thread.
    pub(crate) fn open() -> Result<Self> {
        Ok(Self { socket: open(None)? })
    }

    pub(crate) fn send(&self, by: &LinkAddr, frame: &[u8]) -> Result<()> {
        let sent = sendto(self.socket.as_raw_fd(), frame, by, MsgFlags::empty());
        sent.map(|_| ()).doing(|| "send a frame".into())
    }
}

/// The link-layer address structure of an interface of the calling thread's network namespace.
pub(crate) fn link_address(interface: &str) -> Result<LinkAddr> {
    let mut found = getifaddrs().doing(|| "list interfaces".into())?;
    let found = found.find_map(|entry| {
        let address = *entry.address.as_ref()?.as_link_addr()?;
        (entry.interface_name == interface).then_some(address)
    });
    found.ok_or_else(|| Error::Name(format!("there is no interface {interface}")))
}

/// Hears every frame that one interface receives or sends, and can send some.
pub struct Tap {
    socket: OwnedFd,
    index: usize,
    /// Of that interface.
    by: Option<LinkAddr>,
}

impl Tap {
    /// In the namespace of the calling thread.
    pub(crate) fn open(interface: &str, index: u32) -> Result<Self> {
        let index = usize::try_from(index).map_err(|_| Error::Name("no such interface".into()))?;
        let socket = roomy()?;
        Ok(Self { socket, index, by: Some(link_address(interface)?) })
    }

    /// Hears every interface of the calling thread's namespace: for [`Tap::next_anywhere`].
    pub(crate) fn open_everywhere() -> Result<Self> {
        Ok(Self { socket: roomy()?, index: 0, by: None })
    }

    /// The next frame with the index of its interface; `None` if there was none by `deadline`.
    pub(crate) fn next_anywhere(&self, deadline: Instant, frame: &mut [u8]) -> Result<Option<(u32, usize)>> {
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), frame) {
                Ok((length, from)) => {
                    let index = from.and_then(|from| u32::try_from(from.ifindex()).ok());
                    return Ok(Some((index.unwrap_or_default(), length)));
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
                    let mut waiting = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
                    let _ = poll(&mut waiting, timeout);
                }
                Err(errno) => return Err(io::Error::from(errno)).doing(|| "hear a frame".into()),
            }
        }
    }

    /// Sends one Ethernet frame as it is, at no more cost than that.
    ///
    /// # Errors
    ///
    /// A frame that is too short or too long, or the interface is down.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let by = self.by.as_ref().ok_or_else(|| Error::Name("no interface to send by".into()))?;
        let sent = sendto(self.socket.as_raw_fd(), frame, by, MsgFlags::empty());
        sent.map(|_| ()).doing(|| "send a frame".into())
    }

    /// The next frame; `None` if there was none by `deadline`.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, for example because the interface went down.
    pub fn next(&self, deadline: Instant) -> Result<Option<Vec<u8>>> {
        let mut frame = vec![0; LONGEST];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut frame) {
                Ok((length, from)) if from.is_some_and(|from| from.ifindex() == self.index) => {
                    frame.truncate(length);
                    return Ok(Some(frame));
                }
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
                    let mut waiting = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
                    let _ = poll(&mut waiting, timeout);
                }
                Err(errno) => return Err(io::Error::from(errno)).doing(|| "hear a frame".into()),
            }
        }
    }

    /// The next frame that is wanted; `None` if there was none by `deadline`.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn find(&self, deadline: Instant, mut wanted: impl FnMut(&[u8]) -> bool) -> Result<Option<Vec<u8>>> {
        while let Some(frame) = self.next(deadline)? {
            if wanted(&frame) {
                return Ok(Some(frame));
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Ok(None)
    }
}
