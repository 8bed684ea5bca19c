//! Sockets that this process did not make itself.

use std::sync::Once;

use windows_sys::Win32::Networking::WinSock::{
    SO_TYPE, SOCK_STREAM, SOCKET, SOL_SOCKET, WSADATA, WSAStartup, getsockopt,
};

/// Starts Winsock in this process, once. `std` does so with the first socket that it makes, which for one that was
/// inherited is too late.
pub(super) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // SAFETY: all-zero bytes are a valid WSADATA: integers, arrays of them and a pointer.
        let mut data: WSADATA = unsafe { std::mem::zeroed() };
        // SAFETY: the system writes to `data` only. Where it fails, so does every use of a socket, by name.
        let _ = unsafe { WSAStartup(0x0202, &raw mut data) };
    });
}

/// Whether it is a socket.
pub(super) fn is_socket(raw: usize) -> bool {
    start();
    let mut kind: i32 = SOCK_STREAM;
    #[expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "four bytes")]
    let mut length = size_of::<i32>() as i32;
    // SAFETY: the system writes four bytes to `kind` at most; what is no socket is refused (WSAENOTSOCK).
    let known =
        unsafe { getsockopt(raw as SOCKET, SOL_SOCKET, SO_TYPE, (&raw mut kind).cast(), &raw mut length) };
    known == 0
}
