//! Changes, told by a thread for each registration.

use core::ffi::c_void;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;

use windows_sys::Win32::Foundation::{ERROR_GEN_FAILURE, ERROR_INVALID_PARAMETER, HANDLE};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    MIB_IPFORWARD_ROW2, MIB_IPINTERFACE_ROW, MIB_NOTIFICATION_TYPE, MIB_UNICASTIPADDRESS_ROW,
    MibInitialNotification,
};
use windows_sys::Win32::Networking::WinSock::{ADDRESS_FAMILY, AF_INET, AF_UNSPEC};

use crate::agent::{code, connect};
use crate::text;

/// `void Callback(CallerContext, Row, NotificationType)`, of all three kinds.
type Callback = unsafe extern "system" fn(*const c_void, *const c_void, MIB_NOTIFICATION_TYPE);

/// What a handle points to.
struct Registration {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

/// The caller's context, which it lets us use on another thread.
struct Context(*const c_void);

// SAFETY: the caller of a Notify function gives the pointer to be passed to its callback on threads of the system.
unsafe impl Send for Context {}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn NotifyUnicastIpAddressChange(
    family: ADDRESS_FAMILY,
    callback: Option<Callback>,
    context: *const c_void,
    initial: u8,
    handle: *mut HANDLE,
) -> u32 {
    let call = move |context: &Context, callback: Callback, interface: u32, address: &str, kind: i32| {
        // "Incomplete": only what names the address.
        let mut row = MIB_UNICASTIPADDRESS_ROW { InterfaceIndex: interface, ..Default::default() };
        row.InterfaceLuid = text::luid(interface);
        row.Address = text::write_address(address).unwrap_or_default();
        // SAFETY: the caller's own callback with the caller's own context and a row that lives across the call.
        unsafe { callback(context.0, (&raw const row).cast(), kind) };
    };
    // SAFETY: as the caller promises.
    unsafe { register("addresses", family, callback, context, initial, handle, call) }
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn NotifyIpInterfaceChange(
    family: ADDRESS_FAMILY,
    callback: Option<Callback>,
    context: *const c_void,
    initial: u8,
    handle: *mut HANDLE,
) -> u32 {
    let call = move |context: &Context, callback: Callback, interface: u32, _: &str, kind: i32| {
        let mut row = MIB_IPINTERFACE_ROW { InterfaceIndex: interface, ..Default::default() };
        row.Family = if family == AF_UNSPEC { AF_INET } else { family };
        row.InterfaceLuid = text::luid(interface);
        // SAFETY: as above.
        unsafe { callback(context.0, (&raw const row).cast(), kind) };
    };
    // SAFETY: as the caller promises.
    unsafe { register("interfaces", family, callback, context, initial, handle, call) }
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn NotifyRouteChange2(
    family: ADDRESS_FAMILY,
    callback: Option<Callback>,
    context: *const c_void,
    initial: u8,
    handle: *mut HANDLE,
) -> u32 {
    let call = move |context: &Context, callback: Callback, _: u32, _: &str, kind: i32| {
        let row = MIB_IPFORWARD_ROW2::default();
        // SAFETY: as above.
        unsafe { callback(context.0, (&raw const row).cast(), kind) };
    };
    // SAFETY: as the caller promises.
    unsafe { register("routes", family, callback, context, initial, handle, call) }
}

/// Waits for a running callback, as Windows does: called from inside one it hangs.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CancelMibChangeNotify2(handle: HANDLE) -> u32 {
    if handle.is_null() {
        return ERROR_INVALID_PARAMETER;
    }
    // SAFETY: a handle is what `register` gave out, and the caller cancels it once.
    let registration = unsafe { Box::from_raw(handle.cast::<Registration>()) };
    let _ = registration.stream.shutdown(Shutdown::Both);
    let _ = registration.thread.join();
    0
}

/// # Safety
/// `handle` is a place for a handle or null; `callback` may be called with `context` until the handle is cancelled.
unsafe fn register(
    what: &str,
    family: ADDRESS_FAMILY,
    callback: Option<Callback>,
    context: *const c_void,
    initial: u8,
    handle: *mut HANDLE,
    call: impl Fn(&Context, Callback, u32, &str, i32) + Send + 'static,
) -> u32 {
    // SAFETY: as the caller promises.
    let (Some(callback), Some(handle)) = (callback, unsafe { handle.as_mut() }) else {
        return ERROR_INVALID_PARAMETER;
    };
    let context = Context(context);
    let start = || {
        let mut stream = connect()?;
        stream.write_all(format!("watch {what} {family}\n").as_bytes()).map_err(|_| ERROR_GEN_FAILURE)?;
        let mut reader = BufReader::new(stream.try_clone().map_err(|_| ERROR_GEN_FAILURE)?);
        let mut answer = String::new();
        reader.read_line(&mut answer).map_err(|_| ERROR_GEN_FAILURE)?;
        if answer.trim_end() != "0" {
            return Err(ERROR_GEN_FAILURE);
        }
        let listen = move || {
            let context = context;
            if initial != 0 {
                // SAFETY: the caller's own callback with the caller's own context; the first one has no row.
                unsafe { callback(context.0, std::ptr::null(), MibInitialNotification) };
            }
            for line in reader.lines() {
                let Ok(line) = line else { return };
                let mut words = line.split(' ');
                let kind = words.next().and_then(|word| word.parse().ok());
                let interface = words.next().and_then(|word| word.parse().ok());
                if let (Some(kind), Some(interface), Some(address)) = (kind, interface, words.next()) {
                    call(&context, callback, interface, address, kind);
                }
            }
        };
        let thread = std::thread::Builder::new().spawn(listen).map_err(|_| ERROR_GEN_FAILURE)?;
        *handle = Box::into_raw(Box::new(Registration { stream, thread })).cast();
        Ok(())
    };
    code(start())
}
