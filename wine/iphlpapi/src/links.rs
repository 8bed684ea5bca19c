//! Interfaces. Wine tells of all of them that they are up, with or without a cable.

use core::ffi::c_void;

use windows_sys::Win32::Foundation::{ERROR_GEN_FAILURE, ERROR_INVALID_PARAMETER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    IF_TYPE_ETHERNET_CSMACD, MIB_IF_ROW2, MIB_IF_TABLE_LEVEL, MIB_IF_TABLE2, MibIfTableNormal,
};
use windows_sys::Win32::NetworkManagement::Ndis::{IfOperStatusDown, MediaConnectStateDisconnected};

use crate::agent::ask;

#[link(name = "kernel32", kind = "raw-dylib")]
unsafe extern "system" {
    fn GetModuleHandleA(name: *const u8) -> *mut c_void;
    fn GetProcAddress(module: *mut c_void, name: *const u8) -> *const c_void;
}

type GetTable = unsafe extern "system" fn(MIB_IF_TABLE_LEVEL, *mut *mut MIB_IF_TABLE2) -> u32;

/// Wine's own function. Not imported: under its name the linker would take the one below.
fn wines_own() -> Option<GetTable> {
    // SAFETY: the name ends with zero; the DLL is loaded, since this one needs it.
    let module = unsafe { GetModuleHandleA(c"wiphlpapi.dll".as_ptr().cast()) };
    if module.is_null() {
        return None;
    }
    // SAFETY: the module is loaded and stays, and the name ends with zero.
    let found = unsafe { GetProcAddress(module, c"GetIfTable2Ex".as_ptr().cast()) };
    // SAFETY: the function has this type (netioapi.h).
    (!found.is_null()).then(|| unsafe { std::mem::transmute::<*const c_void, GetTable>(found) })
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn GetIfTable2(table: *mut *mut MIB_IF_TABLE2) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { GetIfTable2Ex(MibIfTableNormal, table) }
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn GetIfTable2Ex(
    level: MIB_IF_TABLE_LEVEL,
    table: *mut *mut MIB_IF_TABLE2,
) -> u32 {
    // SAFETY: the caller passes a place for a pointer, or null.
    let Some(table) = (unsafe { table.as_mut() }) else { return ERROR_INVALID_PARAMETER };
    let down = match ask("links") {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let alike = down.split(';').any(|word| word == "alike");
    let down: Vec<u32> = down.split(';').filter_map(|index| index.parse().ok()).collect();
    let Some(wines_own) = wines_own() else { return ERROR_GEN_FAILURE };
    // SAFETY: a place for a pointer.
    let code = unsafe { wines_own(level, table) };
    if code != NO_ERROR {
        return code;
    }
    // SAFETY: wine has made a table if it says so.
    if let Some(found) = unsafe { table.as_mut() } {
        let rows = (&raw mut found.Table).cast::<MIB_IF_ROW2>();
        // SAFETY: with as many rows as it says.
        let rows = unsafe { std::slice::from_raw_parts_mut(rows, found.NumEntries as usize) };
        for row in rows.iter_mut().filter(|row| down.contains(&row.InterfaceIndex)) {
            row.OperStatus = IfOperStatusDown;
            row.MediaConnectState = MediaConnectStateDisconnected;
        }
        for row in rows.iter_mut().filter(|row| alike && row.Type == IF_TYPE_ETHERNET_CSMACD) {
            let mut make = "Lab Ethernet Card".encode_utf16();
            row.Description.fill_with(|| make.next().unwrap_or(0));
        }
    }
    code
}
