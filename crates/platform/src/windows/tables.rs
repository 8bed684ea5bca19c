//! The tables of IP Helper (netioapi.h), copied out and freed.

use std::ffi::c_void;
use std::io;
use std::mem::offset_of;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, ERROR_NOT_FOUND, NO_ERROR, WIN32_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    FreeMibTable, GetIfTable2, GetIfTable2Ex, GetIpForwardTable2, GetIpNetTable2, GetUnicastIpAddressTable,
    MIB_IF_ROW2, MIB_IF_TABLE2, MIB_IPFORWARD_ROW2, MIB_IPFORWARD_TABLE2, MIB_IPNET_ROW2, MIB_IPNET_TABLE2,
    MIB_UNICASTIPADDRESS_ROW, MIB_UNICASTIPADDRESS_TABLE, MibIfTableNormalWithoutStatistics,
};
use windows_sys::Win32::Networking::WinSock::{ADDRESS_FAMILY, AF_UNSPEC};

/// What a call of IP Helper answers, as an error if it is one.
pub(super) fn check(code: WIN32_ERROR) -> io::Result<()> {
    if code == NO_ERROR { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}

/// All unicast addresses, of both families.
pub(super) fn addresses() -> io::Result<Vec<MIB_UNICASTIPADDRESS_ROW>> {
    let mut table: *mut MIB_UNICASTIPADDRESS_TABLE = ptr::null_mut();
    // SAFETY: the pointer is to a place for the table, which is ours to free afterwards.
    let code = unsafe { GetUnicastIpAddressTable(AF_UNSPEC, &raw mut table) };
    // SAFETY: rows of that type follow at this offset (netioapi.h).
    unsafe { copy(code, table.cast(), offset_of!(MIB_UNICASTIPADDRESS_TABLE, Table)) }
}

/// All interfaces. Without counters where the system knows how to leave them out (Windows 10 1703): to read them
/// it asks every driver.
pub(super) fn interfaces() -> io::Result<Vec<MIB_IF_ROW2>> {
    let mut table: *mut MIB_IF_TABLE2 = ptr::null_mut();
    // SAFETY: as above.
    let mut code = unsafe { GetIfTable2Ex(MibIfTableNormalWithoutStatistics, &raw mut table) };
    if code == ERROR_INVALID_PARAMETER {
        // SAFETY: as above.
        code = unsafe { GetIfTable2(&raw mut table) };
    }
    // SAFETY: as above.
    unsafe { copy(code, table.cast(), offset_of!(MIB_IF_TABLE2, Table)) }
}

/// All routes, of both families.
pub(super) fn routes() -> io::Result<Vec<MIB_IPFORWARD_ROW2>> {
    let mut table: *mut MIB_IPFORWARD_TABLE2 = ptr::null_mut();
    // SAFETY: as above.
    let code = unsafe { GetIpForwardTable2(AF_UNSPEC, &raw mut table) };
    // SAFETY: as above.
    unsafe { copy(code, table.cast(), offset_of!(MIB_IPFORWARD_TABLE2, Table)) }
}

/// The neighbours of a family.
pub(super) fn neighbors(family: ADDRESS_FAMILY) -> io::Result<Vec<MIB_IPNET_ROW2>> {
    let mut table: *mut MIB_IPNET_TABLE2 = ptr::null_mut();
    // SAFETY: as above.
    let code = unsafe { GetIpNetTable2(family, &raw mut table) };
    // SAFETY: as above.
    unsafe { copy(code, table.cast(), offset_of!(MIB_IPNET_TABLE2, Table)) }
}

/// Copies the rows and frees the table.
///
/// # Safety
/// If `code` is `NO_ERROR`, `table` is null or a table that is ours to free: a number of 32 bits, and so many rows from
/// `offset` on.
unsafe fn copy<Row: Copy>(code: WIN32_ERROR, table: *const c_void, offset: usize) -> io::Result<Vec<Row>> {
    match code {
        NO_ERROR if !table.is_null() => {}
        // An empty table: no neighbours, or no route.
        NO_ERROR | ERROR_NOT_FOUND => return Ok(Vec::new()),
        code => return Err(io::Error::from_raw_os_error(code.cast_signed())),
    }
    // SAFETY: the table begins with the number of its rows.
    let count = unsafe { table.cast::<u32>().read() };
    // SAFETY: so many rows follow, aligned as their type says.
    let rows = unsafe { std::slice::from_raw_parts(table.byte_add(offset).cast::<Row>(), count as usize) };
    let rows = rows.to_vec();
    // SAFETY: the table came from the system and is not used any more.
    unsafe { FreeMibTable(table) };
    Ok(rows)
}
