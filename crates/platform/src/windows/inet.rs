//! IP addresses in the system's form (`SOCKADDR_INET`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6, SOCKADDR_INET};

/// Fills in family and address; no port, no scope.
pub(super) fn to_system(address: IpAddr) -> SOCKADDR_INET {
    let mut system = SOCKADDR_INET::default();
    match address {
        IpAddr::V4(address) => {
            system.Ipv4.sin_family = AF_INET;
            system.Ipv4.sin_addr.S_un.S_addr = u32::from_ne_bytes(address.octets());
        }
        IpAddr::V6(address) => {
            system.Ipv6.sin6_family = AF_INET6;
            system.Ipv6.sin6_addr.u.Byte = address.octets();
        }
    }
    system
}

/// `None` if it is of another family.
pub(super) fn from_system(system: &SOCKADDR_INET) -> Option<IpAddr> {
    // SAFETY: all variants are plain integers and begin with the family.
    match unsafe { system.si_family } {
        // SAFETY: as above; any four bytes are an address.
        AF_INET => Some(Ipv4Addr::from(unsafe { system.Ipv4.sin_addr.S_un.S_addr }.to_ne_bytes()).into()),
        // SAFETY: as above; any sixteen bytes are an address.
        AF_INET6 => Some(Ipv6Addr::from(unsafe { system.Ipv6.sin6_addr.u.Byte }).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for text in ["192.0.2.1", "2001:db8::1", "0.0.0.0", "::"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(from_system(&to_system(address)), Some(address));
        }
        assert_eq!(from_system(&SOCKADDR_INET::default()), None);
    }
}
