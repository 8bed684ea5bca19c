//! News of addresses, links and routes, pushed by the kernel (rtnetlink(7) multicast groups).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipnet::IpNet;
use nix::sys::socket::SockFlag;

use super::addresses::{Address, parse_address};
use super::netlink::{Part, open_socket, parts, receive};

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An address was added, or changed, or renewed.
    AddressAdded(Address),
    /// An address is gone: removed by somebody, or its lifetime ended.
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
    /// News were lost because they were not read in time (`ENOBUFS`). Read on until there are none, because until then
    /// the kernel drops further news silently; then list everything again.
    Overrun,
}

/// Why news cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be opened: nothing is left behind.
    #[error("cannot open a netlink socket for news: {0}")]
    Open(#[source] io::Error),
    /// The socket could not be read: news may be missing, open a new [`Watch`] and list everything again.
    #[error("cannot read news of the kernel: {0}")]
    Receive(#[source] io::Error),
    /// News that cannot be understood: list everything again.
    #[error("cannot understand news of the kernel: {0}")]
    Malformed(String),
}

/// A subscription to the kernel's news about addresses, links and routes. Readable when there are some; also right after
/// [`Watch::next`] returned a change, more may be waiting that a poller does not know of: read until `None`.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
    ready: VecDeque<Result<Change, Error>>,
    buffer: Box<[u8]>,
}

/// News come one or a few messages to a datagram; a link may have some kilobytes of attributes.
const DATAGRAM: usize = 128 * 1024;

impl Watch {
    /// Subscribes. Needs no privilege. Open it before listing addresses, or changes in between are missed.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open() -> Result<Self, Error> {
        let groups = [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV6_IFADDR,
            libc::RTNLGRP_IPV4_ROUTE,
            libc::RTNLGRP_IPV6_ROUTE,
        ];
        let fd = open_socket(SockFlag::SOCK_NONBLOCK, &groups).map_err(Error::Open)?;
        Ok(Self { fd, ready: VecDeque::new(), buffer: vec![0; DATAGRAM].into_boxed_slice() })
    }

    /// The next change; `None` if there is none now. Never blocks.
    ///
    /// # Errors
    /// [`Error::Receive`], [`Error::Malformed`].
    #[expect(clippy::should_implement_trait, reason = "no iterator: `None` is not the end")]
    pub fn next(&mut self) -> Result<Option<Change>, Error> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return change.map(Some);
            }
            match receive(&self.fd, &mut self.buffer) {
                Ok(datagram) => self.ready.extend(parts(datagram).filter_map(|part| match part {
                    Ok(part) => change(&part).transpose(),
                    Err(error) => Some(Err(Error::Malformed(error.to_string()))),
                })),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(None),
                    Some(libc::ENOBUFS) => return Ok(Some(Change::Overrun)),
                    _ => return Err(Error::Receive(error)),
                },
            }
        }
    }
}

fn change(part: &Part<'_>) -> Result<Option<Change>, Error> {
    let address = || parse_address(part.payload).map_err(|error| Error::Malformed(error.to_string()));
    Ok(match part.kind {
        libc::RTM_NEWADDR => Some(Change::AddressAdded(address()?)),
        libc::RTM_DELADDR => {
            let Address { interface, network, .. } = address()?;
            Some(Change::AddressRemoved { interface, network })
        }
        libc::RTM_NEWLINK | libc::RTM_DELLINK => Some(Change::Link),
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => Some(Change::Route),
        _ => None,
    })
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
