//! Asking the segment who has an address (`ResolveIpNetEntry2`).

use std::io;
use std::net::IpAddr;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_BAD_NET_NAME, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{MIB_IPNET_ROW2, ResolveIpNetEntry2};

use super::inet;

/// Has the system forget whom it believes to have `target`, ask on the interface, and wait for an answer: `None` if there was
/// none. `source`, one of this machine's addresses, is the one in whose name it asks; without it the system chooses.
///
/// # Errors
/// The question was not asked: no such interface, or `source` is not this machine's (`ERROR_NOT_FOUND`).
pub(super) fn resolve(interface: u32, target: IpAddr, source: Option<IpAddr>) -> io::Result<Option<[u8; 6]>> {
    let source = source.map(inet::to_system);
    let mut row = MIB_IPNET_ROW2 { InterfaceIndex: interface, ..MIB_IPNET_ROW2::default() };
    row.Address = inet::to_system(target);
    // SAFETY: the row is our own and is filled in; the source is null or an address that lives across the call.
    let code =
        unsafe { ResolveIpNetEntry2(&raw mut row, source.as_ref().map_or(ptr::null(), ptr::from_ref)) };
    match code {
        NO_ERROR => {
            let [a, b, c, d, e, f, ..] = row.PhysicalAddress;
            // Something that is no Ethernet address does not mean that nobody has it.
            if row.PhysicalAddressLength == 6 {
                Ok(Some([a, b, c, d, e, f]))
            } else {
                Err(io::ErrorKind::InvalidData.into())
            }
        }
        // "The network with the neighbor IP address is unreachable": nobody answered.
        ERROR_BAD_NET_NAME => Ok(None),
        code => Err(io::Error::from_raw_os_error(code.cast_signed())),
    }
}
