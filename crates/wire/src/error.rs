//! Why a frame or an echo was not accepted.

use std::fmt;

/// Why a frame or an ICMP packet was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameError {
    /// It ends before its header, packet or option does.
    Truncated,
    /// The Ethernet source address is a group address (IEEE 802.3 3.2.3).
    EthernetSource,
    /// Neither ARP nor IPv6.
    EtherType,
    /// ARP: the hardware type is not Ethernet.
    ArpHardware,
    /// ARP: the protocol type is not IPv4.
    ArpProtocol,
    /// ARP: the address lengths are not 6 and 4.
    ArpLengths,
    /// ARP: the operation is neither request nor reply.
    ArpOperation,
    /// ARP: the sender's protocol address is a multicast or broadcast address, which no host can have.
    ArpSender,
    /// The IP version is not the expected one.
    IpVersion,
    /// IPv4: impossible header length or total length.
    IpLength,
    /// IPv4: a fragment, of which nothing can be concluded.
    IpFragment,
    /// IP: the payload is not ICMP (IPv4) or not ICMPv6 right behind the header (IPv6).
    IpProtocol,
    /// IPv6: the source is a multicast address (RFC 4291 2.7).
    IpSource,
    /// Neighbor Discovery: the hop limit is not 255, so it may come from beyond a router (RFC 4861 7.1).
    HopLimit,
    /// The ICMP checksum is wrong.
    Checksum,
    /// ICMP: not a type that this project understands.
    IcmpType,
    /// ICMP: the code is not 0.
    IcmpCode,
    /// Neighbor Discovery: the target is a multicast address (RFC 4861 7.1.1, 7.1.2).
    NdTarget,
    /// Neighbor Solicitation from `::` that is not sent to a solicited-node group (RFC 4861 7.1.1).
    NdDestination,
    /// Neighbor Solicitation from `::` with a source link-layer address (RFC 4861 7.1.1).
    NdSourceOption,
    /// Neighbor Advertisement to a group that says it was solicited (RFC 4861 7.1.2).
    NdSolicited,
    /// Neighbor Discovery: an option of length 0, or a link-layer address that is not one of Ethernet (RFC
    /// 4861 4.6.1, RFC 2464 6).
    NdOptionLength,
}

impl FrameError {
    /// Every kind, in the order of [`FrameError::index`].
    pub const ALL: [Self; 22] = [
        Self::Truncated,
        Self::EthernetSource,
        Self::EtherType,
        Self::ArpHardware,
        Self::ArpProtocol,
        Self::ArpLengths,
        Self::ArpOperation,
        Self::ArpSender,
        Self::IpVersion,
        Self::IpLength,
        Self::IpFragment,
        Self::IpProtocol,
        Self::IpSource,
        Self::HopLimit,
        Self::Checksum,
        Self::IcmpType,
        Self::IcmpCode,
        Self::NdTarget,
        Self::NdDestination,
        Self::NdSourceOption,
        Self::NdSolicited,
        Self::NdOptionLength,
    ];

    /// Position in [`FrameError::ALL`], for counting.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A short name that never changes, for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::EthernetSource => "ethernet-source",
            Self::EtherType => "ethertype",
            Self::ArpHardware => "arp-hardware",
            Self::ArpProtocol => "arp-protocol",
            Self::ArpLengths => "arp-lengths",
            Self::ArpOperation => "arp-operation",
            Self::ArpSender => "arp-sender",
            Self::IpVersion => "ip-version",
            Self::IpLength => "ip-length",
            Self::IpFragment => "ip-fragment",
            Self::IpProtocol => "ip-protocol",
            Self::IpSource => "ip-source",
            Self::HopLimit => "hop-limit",
            Self::Checksum => "checksum",
            Self::IcmpType => "icmp-type",
            Self::IcmpCode => "icmp-code",
            Self::NdTarget => "nd-target",
            Self::NdDestination => "nd-destination",
            Self::NdSourceOption => "nd-source-option",
            Self::NdSolicited => "nd-solicited",
            Self::NdOptionLength => "nd-option-length",
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame rejected: {}", self.name())
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_its_place_and_its_name() {
        for (position, kind) in FrameError::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), position);
        }
        let names: BTreeSet<_> = FrameError::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), FrameError::ALL.len());
    }
}
