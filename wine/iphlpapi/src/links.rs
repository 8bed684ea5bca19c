//! Interfaces. Wine tells of all of them that they are up, with or without a cable.

use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    MIB_IF_ROW2, MIB_IF_TABLE_LEVEL, MIB_IF_TABLE2, MibIfTableNormal,
};
use windows_sys::Win32::NetworkManagement::Ndis::{IfOperStatusDown, MediaConnectStateDisconnected};

use crate::agent::ask;

mod wines_own {
    use super::{MIB_IF_TABLE_LEVEL, MIB_IF_TABLE2};

    #[link(name = "wiphlpapi", kind = "raw-dylib")]
    unsafe extern "system" {
        pub(super) fn GetIfTable2Ex(level: MIB_IF_TABLE_LEVEL, table: *mut *mut MIB_IF_TABLE2) -> u32;
    }
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
    let down: Vec<u32> = down.split(';').filter_map(|index| index.parse().ok()).collect();
    // SAFETY: a place for a pointer; wine's own function, with wine's own level.
    let code = unsafe { wines_own::GetIfTable2Ex(level, table) };
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
    }
    code
}
