//! Unicast addresses.

use std::mem::offset_of;

use windows_sys::Win32::Foundation::{ERROR_GEN_FAILURE, ERROR_INVALID_PARAMETER};
use windows_sys::Win32::NetworkManagement::IpHelper::{MIB_UNICASTIPADDRESS_ROW, MIB_UNICASTIPADDRESS_TABLE};
use windows_sys::Win32::Networking::WinSock::{
    ADDRESS_FAMILY, IpPrefixOriginUnchanged, IpSuffixOriginUnchanged,
};

use crate::agent::{ask, code};
use crate::{memory, text};

type Row = MIB_UNICASTIPADDRESS_ROW;

/// As documented: origins unchanged, an illegal prefix length, infinite lifetimes, all else zero.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn InitializeUnicastIpAddressEntry(row: *mut Row) {
    // SAFETY: the caller passes a row to fill in, or null.
    if let Some(row) = unsafe { row.as_mut() } {
        *row = Row::default();
        row.PrefixOrigin = IpPrefixOriginUnchanged;
        row.SuffixOrigin = IpSuffixOriginUnchanged;
        row.OnLinkPrefixLength = 255;
        row.ValidLifetime = u32::MAX;
        row.PreferredLifetime = u32::MAX;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn CreateUnicastIpAddressEntry(row: *const Row) -> u32 {
    // SAFETY: the caller passes a row, or null.
    code(unsafe { pass("create", row) })
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn SetUnicastIpAddressEntry(row: *const Row) -> u32 {
    // SAFETY: the caller passes a row, or null.
    code(unsafe { pass("set", row) })
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn DeleteUnicastIpAddressEntry(row: *const Row) -> u32 {
    // SAFETY: the caller passes a row, or null.
    let Some(row) = (unsafe { row.as_ref() }) else { return ERROR_INVALID_PARAMETER };
    code(ask(&format!("delete {}", spot(row))).map(drop))
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn GetUnicastIpAddressEntry(row: *mut Row) -> u32 {
    // SAFETY: the caller passes a row, or null.
    let Some(row) = (unsafe { row.as_mut() }) else { return ERROR_INVALID_PARAMETER };
    code(ask(&format!("get {}", spot(row))).and_then(|answer| {
        *row = parse(&answer).ok_or(ERROR_GEN_FAILURE)?;
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn GetUnicastIpAddressTable(
    family: ADDRESS_FAMILY,
    table: *mut *mut MIB_UNICASTIPADDRESS_TABLE,
) -> u32 {
    // SAFETY: the caller passes a place for a pointer, or null.
    let Some(table) = (unsafe { table.as_mut() }) else { return ERROR_INVALID_PARAMETER };
    code(ask(&format!("list {family}")).and_then(|answer| {
        let rows: Vec<Row> = answer.split(';').filter_map(parse).collect();
        *table = memory::table(&rows, offset_of!(MIB_UNICASTIPADDRESS_TABLE, Table))?.cast();
        Ok(())
    }))
}

/// # Safety
/// A valid row or null.
unsafe fn pass(verb: &str, row: *const Row) -> Result<(), u32> {
    // A BOOLEAN may be any byte, a Rust bool may not: read as the byte that it is.
    let skip = offset_of!(Row, SkipAsSource);
    if row.is_null() {
        return Err(ERROR_INVALID_PARAMETER);
    }
    // SAFETY: not null, so a row; the byte lies within it.
    let skip = unsafe { row.byte_add(skip).cast::<u8>().read() };
    // SAFETY: not null, so a row.
    let row = unsafe { &*row };
    let line = format!(
        "{verb} {} {} {} {} {} {} {} {}",
        spot(row),
        row.OnLinkPrefixLength,
        row.PrefixOrigin.cast_unsigned(),
        row.SuffixOrigin.cast_unsigned(),
        row.ValidLifetime,
        row.PreferredLifetime,
        u8::from(skip != 0),
        row.DadState.cast_unsigned(),
    );
    ask(&line).map(drop)
}

fn spot(row: &Row) -> String {
    format!("{} {}", text::interface(&row.InterfaceLuid, row.InterfaceIndex), text::address(&row.Address))
}

fn parse(text: &str) -> Option<Row> {
    let mut words = text.split(' ');
    let mut row = Row { InterfaceIndex: words.next()?.parse().ok()?, ..Row::default() };
    row.InterfaceLuid = text::luid(row.InterfaceIndex);
    row.Address = text::write_address(words.next()?)?;
    row.OnLinkPrefixLength = words.next()?.parse().ok()?;
    row.PrefixOrigin = words.next()?.parse().ok()?;
    row.SuffixOrigin = words.next()?.parse().ok()?;
    row.ValidLifetime = words.next()?.parse().ok()?;
    row.PreferredLifetime = words.next()?.parse().ok()?;
    row.SkipAsSource = words.next()? == "1";
    row.DadState = words.next()?.parse().ok()?;
    Some(row)
}
