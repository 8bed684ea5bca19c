//! What several sockets have in common.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Room for a burst, so that a few milliseconds without reading lose nothing.
pub(super) const BUFFER: usize = 1 << 20;

/// Asks for a receive and a send buffer of `bytes`: past the system's limit if permitted (`CAP_NET_ADMIN`), otherwise
/// as much as the limit gives. Never fails: a smaller buffer is no error.
pub(super) fn widen_buffers(fd: BorrowedFd<'_>, bytes: usize) {
    let socket = socket2::SockRef::from(&fd);
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    if set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &value).is_err() {
        let _ = socket.set_recv_buffer_size(bytes);
    }
    if set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &value).is_err() {
        let _ = socket.set_send_buffer_size(bytes);
    }
}

/// setsockopt(2) for the options that no library wraps. `T` must be the kernel's type of the option, without padding.
#[expect(clippy::cast_possible_truncation, reason = "options are a few bytes long")]
pub(super) fn set_option<T>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives across the call; the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// recvfrom(2) with flags and any kind of socket address. Tells the length, which exceeds the buffer's only with
/// `MSG_TRUNC`.
///
/// # Safety
/// All bit patterns must be valid values of `A`, because the kernel fills it in: a C struct of integers.
#[expect(clippy::cast_possible_truncation, reason = "socket addresses are a few bytes long")]
pub(super) unsafe fn receive_from<A>(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: libc::c_int,
    from: &mut A,
) -> io::Result<usize> {
    let mut length = size_of::<A>() as libc::socklen_t;
    // SAFETY: pointers and lengths describe `buffer` and `from`, both live and exclusively ours; the caller vouches that
    // any bytes make a valid `A`.
    let received = unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            flags,
            std::ptr::from_mut(from).cast(),
            &raw mut length,
        )
    };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

/// `Ok(None)` where there is nothing to read now; interruptions are tried again.
pub(super) fn nothing_now<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
    loop {
        match attempt() {
            Ok(value) => return Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
