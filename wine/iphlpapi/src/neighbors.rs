//! Who has which address on the segment.

use std::mem::offset_of;

use windows_sys::Win32::Foundation::{ERROR_GEN_FAILURE, ERROR_INVALID_PARAMETER};
use windows_sys::Win32::NetworkManagement::IpHelper::{MIB_IPNET_ROW2, MIB_IPNET_TABLE2};
use windows_sys::Win32::Networking::WinSock::{ADDRESS_FAMILY, NlnsReachable, NlnsStale, SOCKADDR_INET};

use crate::agent::{ask, code};
use crate::{memory, text};

#[unsafe(no_mangle)]
pub unsafe extern "system" fn ResolveIpNetEntry2(
    row: *mut MIB_IPNET_ROW2,
    source: *const SOCKADDR_INET,
) -> u32 {
    // SAFETY: the caller passes a row, or null.
    let Some(row) = (unsafe { row.as_mut() }) else { return ERROR_INVALID_PARAMETER };
    // SAFETY: the caller passes an address, or null.
    let source = unsafe { source.as_ref() }.map_or_else(|| "-".to_owned(), text::address);
    let interface = text::interface(&row.InterfaceLuid, row.InterfaceIndex);
    let line = format!("resolve {interface} {} {source}", text::address(&row.Address));
    code(ask(&line).and_then(|answer| {
        write_mac(row, &answer).ok_or(ERROR_GEN_FAILURE)?;
        row.State = NlnsReachable;
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn FlushIpNetTable2(family: ADDRESS_FAMILY, interface: u32) -> u32 {
    code(ask(&format!("flush {family} {interface}")).map(drop))
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn GetIpNetTable2(
    family: ADDRESS_FAMILY,
    table: *mut *mut MIB_IPNET_TABLE2,
) -> u32 {
    // SAFETY: the caller passes a place for a pointer, or null.
    let Some(table) = (unsafe { table.as_mut() }) else { return ERROR_INVALID_PARAMETER };
    code(ask(&format!("neighbors {family}")).and_then(|answer| {
        let rows: Vec<MIB_IPNET_ROW2> = answer.split(';').filter_map(parse).collect();
        *table = memory::table(&rows, offset_of!(MIB_IPNET_TABLE2, Table))?.cast();
        Ok(())
    }))
}

fn parse(text: &str) -> Option<MIB_IPNET_ROW2> {
    let mut words = text.split(' ');
    let mut row = MIB_IPNET_ROW2 { InterfaceIndex: words.next()?.parse().ok()?, ..MIB_IPNET_ROW2::default() };
    row.InterfaceLuid = text::luid(row.InterfaceIndex);
    row.Address = text::write_address(words.next()?)?;
    write_mac(&mut row, words.next()?)?;
    row.State = if words.next()? == "1" { NlnsReachable } else { NlnsStale };
    Some(row)
}

fn write_mac(row: &mut MIB_IPNET_ROW2, text: &str) -> Option<()> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|pair| u8::from_str_radix(pair, 16).ok()).collect();
    let bytes: [u8; 6] = bytes?.try_into().ok()?;
    row.PhysicalAddress[..6].copy_from_slice(&bytes);
    row.PhysicalAddressLength = 6;
    Some(())
}
