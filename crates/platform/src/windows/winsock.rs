//! Sockets that this process did not make itself.

use std::sync::Once;

use windows_sys::Win32::Networking::WinSock::{
    FROM_PROTOCOL_INFO, INVALID_SOCKET, SO_TYPE, SOCK_STREAM, SOCKET, SOL_SOCKET, WSA_FLAG_NO_HANDLE_INHERIT,
    WSA_FLAG_OVERLAPPED, WSADATA, WSADuplicateSocketW, WSAPROTOCOL_INFOW, WSASocketW, WSAStartup,
    closesocket, getsockopt,
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

/// The same socket under a number that Winsock has given out in this process itself (WSADuplicateSocketW). What was inherited
/// is known to the system alone; Winsock finds out about most of it when it is used, but not everywhere (wine does not
/// send with it). Where that fails, the number stays.
pub(super) fn known(inherited: SOCKET) -> SOCKET {
    start();
    // SAFETY: all-zero bytes are a valid structure of integers and arrays of them.
    let mut about: WSAPROTOCOL_INFOW = unsafe { std::mem::zeroed() };
    // SAFETY: the caller's socket is open; the system writes to `about`.
    if unsafe { WSADuplicateSocketW(inherited, std::process::id(), &raw mut about) } != 0 {
        return inherited;
    }
    let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
    let any = FROM_PROTOCOL_INFO;
    // SAFETY: the structure was filled in for this process, and is used once.
    let socket = unsafe { WSASocketW(any, any, any, &raw const about, 0, flags) };
    if socket == INVALID_SOCKET {
        return inherited;
    }
    // SAFETY: the caller gives it up for the new one.
    unsafe { closesocket(inherited) };
    socket
}
