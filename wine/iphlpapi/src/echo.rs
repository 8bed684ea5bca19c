//! ICMP echo: wine 8 crashes at that of IPv6. Only the forms that can be told the sender, and that wait: no event, no routine.

use core::ffi::c_void;
use std::net::Ipv4Addr;

use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, HANDLE};
use windows_sys::Win32::NetworkManagement::IpHelper::{ICMP_ECHO_REPLY, ICMPV6_ECHO_REPLY_LH};
use windows_sys::Win32::Networking::WinSock::{AF_INET6, SOCKADDR_IN6, SOCKADDR_INET};

use crate::agent::ask;
use crate::text;

#[link(name = "kernel32", kind = "raw-dylib")]
unsafe extern "system" {
    fn SetLastError(code: u32);
}

/// It holds nothing, so all are the same.
const OURS: HANDLE = 0x6963_6d70 as HANDLE;

#[unsafe(no_mangle)]
pub unsafe extern "system" fn IcmpCreateFile() -> HANDLE {
    OURS
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn Icmp6CreateFile() -> HANDLE {
    OURS
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn IcmpCloseHandle(handle: HANDLE) -> i32 {
    i32::from(handle == OURS)
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn IcmpSendEcho2Ex(
    handle: HANDLE,
    event: HANDLE,
    routine: *const c_void,
    _context: *const c_void,
    _source: u32,
    target: u32,
    _data: *const c_void,
    size: u16,
    _options: *const c_void,
    reply: *mut ICMP_ECHO_REPLY,
    reply_size: u32,
    timeout: u32,
) -> u32 {
    let answered = || {
        // "At least one ICMP_ECHO_REPLY structure plus the data, 8 bytes for an ICMP error, and an IO_STATUS_BLOCK."
        let least = size_of::<ICMP_ECHO_REPLY>() + usize::from(size) + 8 + 16;
        let right = handle == OURS && event.is_null() && routine.is_null() && !reply.is_null();
        if !right || (reply_size as usize) < least {
            return Err(ERROR_INVALID_PARAMETER);
        }
        ask(&format!("echo 0 {} {timeout}", Ipv4Addr::from(target.to_ne_bytes())))?;
        let told = ICMP_ECHO_REPLY { Address: target, ..ICMP_ECHO_REPLY::default() };
        // SAFETY: not null, and large enough as the caller says.
        unsafe { reply.write(told) };
        Ok(())
    };
    count(answered())
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn Icmp6SendEcho2(
    handle: HANDLE,
    event: HANDLE,
    routine: *const c_void,
    _context: *const c_void,
    source: *const SOCKADDR_IN6,
    target: *const SOCKADDR_IN6,
    _data: *const c_void,
    size: u16,
    _options: *const c_void,
    reply: *mut ICMPV6_ECHO_REPLY_LH,
    reply_size: u32,
    timeout: u32,
) -> u32 {
    let answered = || {
        // "At least one ICMPV6_ECHO_REPLY structure plus the data, 8 bytes for an ICMP error, and an IO_STATUS_BLOCK."
        let least = size_of::<ICMPV6_ECHO_REPLY_LH>() + usize::from(size) + 8 + 16;
        let right = handle == OURS && event.is_null() && routine.is_null() && !reply.is_null();
        if !right || (reply_size as usize) < least {
            return Err(ERROR_INVALID_PARAMETER);
        }
        // SAFETY: the caller passes two addresses, or null.
        let (source, target) = unsafe { (source.as_ref(), target.as_ref()) };
        let target = target.filter(|target| target.sin6_family == AF_INET6).ok_or(ERROR_INVALID_PARAMETER)?;
        source.filter(|source| source.sin6_family == AF_INET6).ok_or(ERROR_INVALID_PARAMETER)?;
        // SAFETY: both are plain integers.
        let scope = unsafe { target.Anonymous.sin6_scope_id };
        let address = text::address(&SOCKADDR_INET { Ipv6: *target });
        ask(&format!("echo {scope} {address} {timeout}"))?;
        let mut told = ICMPV6_ECHO_REPLY_LH::default();
        // SAFETY: any 16 bytes are an address in either form.
        told.Address.sin6_addr = unsafe { target.sin6_addr.u.Word };
        // SAFETY: not null, and large enough as the caller says.
        unsafe { reply.write(told) };
        Ok(())
    };
    count(answered())
}

/// The number of answers, and why there is none.
fn count(answered: Result<(), u32>) -> u32 {
    match answered {
        Ok(()) => 1,
        Err(code) => {
            // SAFETY: sets a number of this thread.
            unsafe { SetLastError(code) };
            0
        }
    }
}
