//! Routes. Wine tells those of IPv4 only.

use std::mem::offset_of;

use windows_sys::Win32::Foundation::ERROR_INVALID_PARAMETER;
use windows_sys::Win32::NetworkManagement::IpHelper::{MIB_IPFORWARD_ROW2, MIB_IPFORWARD_TABLE2};
use windows_sys::Win32::Networking::WinSock::ADDRESS_FAMILY;

use crate::agent::{ask, code};
use crate::{memory, text};

#[unsafe(no_mangle)]
pub unsafe extern "system" fn GetIpForwardTable2(
    family: ADDRESS_FAMILY,
    table: *mut *mut MIB_IPFORWARD_TABLE2,
) -> u32 {
    // SAFETY: the caller passes a place for a pointer, or null.
    let Some(table) = (unsafe { table.as_mut() }) else { return ERROR_INVALID_PARAMETER };
    code(ask(&format!("routes {family}")).and_then(|answer| {
        let rows: Vec<MIB_IPFORWARD_ROW2> = answer.split(';').filter_map(parse).collect();
        *table = memory::table(&rows, offset_of!(MIB_IPFORWARD_TABLE2, Table))?.cast();
        Ok(())
    }))
}

fn parse(text: &str) -> Option<MIB_IPFORWARD_ROW2> {
    let mut words = text.split(' ');
    let interface = words.next()?.parse().ok()?;
    let mut row = MIB_IPFORWARD_ROW2 { InterfaceIndex: interface, ..MIB_IPFORWARD_ROW2::default() };
    row.InterfaceLuid = text::luid(interface);
    row.DestinationPrefix.Prefix = text::write_address(words.next()?)?;
    row.DestinationPrefix.PrefixLength = words.next()?.parse().ok()?;
    row.NextHop = text::write_address(words.next()?)?;
    row.Metric = words.next()?.parse().ok()?;
    (row.ValidLifetime, row.PreferredLifetime) = (u32::MAX, u32::MAX);
    Some(row)
}
