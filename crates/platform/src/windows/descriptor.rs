//! What one process hands to another when it starts it: files, pipes, events and sockets, under numbers that both know.
//!
//! On Windows these are the values of handles: an inherited handle has the same value in the child
//! (CreateProcessW). A socket is a handle as well, but is closed otherwise, so an [`Owned`] knows which it is, or finds out.

use std::fs::File;
use std::marker::PhantomData;
use std::net::{TcpListener, UdpSocket};
use std::os::windows::io::{
    AsHandle, AsRawHandle as _, AsRawSocket as _, AsSocket, BorrowedHandle, BorrowedSocket,
    FromRawHandle as _, FromRawSocket as _, IntoRawHandle as _, IntoRawSocket as _, OwnedHandle, OwnedSocket,
    RawHandle, RawSocket,
};

use windows_sys::Win32::Foundation::{CloseHandle, HANDLE};
use windows_sys::Win32::Networking::WinSock::{SOCKET, closesocket};

use super::winsock;

/// The number under which a child process finds what it [inherits](super::process::spawn).
pub type Number = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Handle,
    Socket,
    /// Inherited, and not yet said what it is.
    Unknown,
}

/// A handle or a socket that closes when it is dropped.
#[derive(Debug)]
pub struct Owned {
    raw: usize,
    kind: Kind,
}

/// A handle or a socket that somebody else closes.
#[derive(Debug, Clone, Copy)]
pub struct Borrowed<'a> {
    raw: usize,
    lives: PhantomData<&'a ()>,
}

/// Can be handed to a child process.
pub trait AsDescriptor {
    /// What is handed over.
    fn as_descriptor(&self) -> Borrowed<'_>;
}

/// Under which number a child process finds it.
pub fn number(of: &(impl AsDescriptor + ?Sized)) -> Number {
    of.as_descriptor().raw as Number
}

impl Owned {
    /// Takes over what nobody else owns.
    ///
    /// # Safety
    /// `raw` is an open handle or socket of this process, and nobody closes it but the new owner.
    pub(super) unsafe fn from_raw(raw: usize) -> Self {
        Self { raw, kind: Kind::Unknown }
    }

    fn into_raw(self) -> usize {
        let raw = self.raw;
        std::mem::forget(self);
        raw
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let socket = match self.kind {
            Kind::Handle => false,
            Kind::Socket => true,
            Kind::Unknown => winsock::is_socket(self.raw),
        };
        if socket {
            // SAFETY: it is ours and open, and nobody uses it after this.
            unsafe { closesocket(self.raw as SOCKET) };
        } else {
            // SAFETY: as above.
            unsafe { CloseHandle(self.raw as HANDLE) };
        }
    }
}

impl Borrowed<'_> {
    /// The value of the handle.
    pub(super) fn raw(self) -> usize {
        self.raw
    }
}

impl AsDescriptor for Owned {
    fn as_descriptor(&self) -> Borrowed<'_> {
        Borrowed { raw: self.raw, lives: PhantomData }
    }
}

impl AsDescriptor for File {
    fn as_descriptor(&self) -> Borrowed<'_> {
        self.as_handle().into()
    }
}

impl AsDescriptor for UdpSocket {
    fn as_descriptor(&self) -> Borrowed<'_> {
        self.as_socket().into()
    }
}

impl AsDescriptor for TcpListener {
    fn as_descriptor(&self) -> Borrowed<'_> {
        self.as_socket().into()
    }
}

impl AsDescriptor for Borrowed<'_> {
    fn as_descriptor(&self) -> Borrowed<'_> {
        *self
    }
}

impl<T: AsDescriptor + ?Sized> AsDescriptor for &T {
    fn as_descriptor(&self) -> Borrowed<'_> {
        (**self).as_descriptor()
    }
}

impl<'a> From<BorrowedHandle<'a>> for Borrowed<'a> {
    fn from(handle: BorrowedHandle<'a>) -> Self {
        Self { raw: handle.as_raw_handle() as usize, lives: PhantomData }
    }
}

impl<'a> From<BorrowedSocket<'a>> for Borrowed<'a> {
    #[expect(clippy::cast_possible_truncation, reason = "a handle, as wide as a pointer")]
    fn from(socket: BorrowedSocket<'a>) -> Self {
        Self { raw: socket.as_raw_socket() as usize, lives: PhantomData }
    }
}

impl From<OwnedHandle> for Owned {
    fn from(handle: OwnedHandle) -> Self {
        Self { raw: handle.into_raw_handle() as usize, kind: Kind::Handle }
    }
}

impl From<OwnedSocket> for Owned {
    #[expect(clippy::cast_possible_truncation, reason = "a handle, as wide as a pointer")]
    fn from(socket: OwnedSocket) -> Self {
        Self { raw: socket.into_raw_socket() as usize, kind: Kind::Socket }
    }
}

impl From<File> for Owned {
    fn from(file: File) -> Self {
        OwnedHandle::from(file).into()
    }
}

impl From<UdpSocket> for Owned {
    fn from(socket: UdpSocket) -> Self {
        OwnedSocket::from(socket).into()
    }
}

impl From<Owned> for OwnedHandle {
    /// To be used for what is no socket.
    fn from(owned: Owned) -> Self {
        // SAFETY: the handle is open, and its one owner has just given it up.
        unsafe { Self::from_raw_handle(owned.into_raw() as RawHandle) }
    }
}

impl From<Owned> for OwnedSocket {
    /// To be used for sockets only.
    fn from(owned: Owned) -> Self {
        let kind = owned.kind;
        let raw = owned.into_raw() as SOCKET;
        let raw = if kind == Kind::Unknown { winsock::known(raw) } else { raw };
        // SAFETY: the socket is open, and its one owner has just given it up.
        unsafe { Self::from_raw_socket(raw as RawSocket) }
    }
}

impl From<Owned> for File {
    /// Takes over a file opened here or in the parent process.
    fn from(owned: Owned) -> Self {
        OwnedHandle::from(owned).into()
    }
}

impl From<Owned> for TcpListener {
    /// Takes over a socket made by [`listen`](super::tcp::listen), here or in the parent process.
    fn from(owned: Owned) -> Self {
        let socket = Self::from(OwnedSocket::from(owned));
        // As with a `UdpSocket`.
        let _ = socket.set_nonblocking(true);
        socket
    }
}

impl From<Owned> for UdpSocket {
    /// Takes over a socket made by [`bind`](super::datagrams::bind), here or in the parent process.
    fn from(owned: Owned) -> Self {
        let socket = Self::from(OwnedSocket::from(owned));
        // Whether a socket blocks is kept in part by the process that made it; where the system passes it on, this
        // changes nothing, and a socket that cannot be told is told by its use.
        let _ = socket.set_nonblocking(true);
        socket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_values_of_handles() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        assert_eq!(number(&socket), socket.as_raw_socket());
        let owned = Owned::from(socket);
        let (raw, kind) = (owned.raw, owned.kind);
        assert_eq!(kind, Kind::Socket);
        assert!(winsock::is_socket(raw));
        let socket = UdpSocket::from(owned);
        assert_eq!(socket.local_addr().unwrap(), at);
    }

    #[test]
    fn what_is_unknown_is_closed_as_what_it_is() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let owned = forgotten(socket.into());
        assert!(UdpSocket::bind(at).is_err());
        drop(owned);
        UdpSocket::bind(at).unwrap();
        let file = tempfile::tempfile().unwrap();
        assert!(!winsock::is_socket(file.as_raw_handle() as usize));
        drop(forgotten(file.into()));
    }

    /// As if it had been inherited.
    fn forgotten(owned: Owned) -> Owned {
        Owned { raw: owned.into_raw(), kind: Kind::Unknown }
    }
}
