//! Structures as text, and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use windows_sys::Win32::NetworkManagement::Ndis::NET_LUID_LH;
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6, SOCKADDR_INET};

// Not from "iphlpapi.dll", which is this DLL itself.
#[link(name = "wiphlpapi", kind = "raw-dylib")]
unsafe extern "system" {
    fn ConvertInterfaceLuidToIndex(luid: *const NET_LUID_LH, index: *mut u32) -> u32;
    fn ConvertInterfaceIndexToLuid(index: u32, luid: *mut NET_LUID_LH) -> u32;
}

/// An address, or `-` where the family is none that is known.
pub(crate) fn address(address: &SOCKADDR_INET) -> String {
    // SAFETY: every part of the union is plain integers, and the family lies at the same place in each.
    let family = unsafe { address.si_family };
    match family {
        // SAFETY: as above; four bytes make an address whatever they are.
        AF_INET => Ipv4Addr::from(unsafe { address.Ipv4.sin_addr.S_un.S_addr }.to_ne_bytes()).to_string(),
        // SAFETY: as above.
        AF_INET6 => Ipv6Addr::from(unsafe { address.Ipv6.sin6_addr.u.Byte }).to_string(),
        _ => "-".to_owned(),
    }
}

/// Fills in an address.
pub(crate) fn write_address(text: &str) -> Option<SOCKADDR_INET> {
    let mut written = SOCKADDR_INET::default();
    match text.parse().ok()? {
        IpAddr::V4(address) => {
            written.Ipv4.sin_family = AF_INET;
            written.Ipv4.sin_addr.S_un.S_addr = u32::from_ne_bytes(address.octets());
        }
        IpAddr::V6(address) => {
            written.Ipv6.sin6_family = AF_INET6;
            written.Ipv6.sin6_addr.u.Byte = address.octets();
        }
    }
    Some(written)
}

/// The interface of a row as Windows finds it: by LUID if there is one, by index otherwise. `-` = neither is given, 0 =
/// there is no such LUID.
pub(crate) fn interface(luid: &NET_LUID_LH, index: u32) -> String {
    // SAFETY: every part of the union is a plain integer.
    if unsafe { luid.Value } != 0 {
        let mut found = 0;
        // SAFETY: both pointers are to live values, of which the function keeps nothing.
        let code = unsafe { ConvertInterfaceLuidToIndex(luid, &raw mut found) };
        return if code == 0 { found.to_string() } else { "0".to_owned() };
    }
    if index == 0 { "-".to_owned() } else { index.to_string() }
}

/// The LUID of an interface; zero if there is none.
pub(crate) fn luid(index: u32) -> NET_LUID_LH {
    let mut luid = NET_LUID_LH::default();
    // SAFETY: the pointer is to a live value, which the function fills in.
    let _ = unsafe { ConvertInterfaceIndexToLuid(index, &raw mut luid) };
    luid
}
