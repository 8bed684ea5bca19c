//! Which addresses may be what.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// Reads a node's own address: one that the node has anyway and that its peers can reach.
///
/// # Errors
/// Why this cannot be such an address.
pub(crate) fn node(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| match text.parse::<IpNet>() {
        Ok(net) => format!("write the address without its prefix: `{}`", net.addr()),
        Err(_) => "not an IP address".to_owned(),
    })?;
    ordinary(address)?;
    Ok(address)
}

/// Reads a VIP: address and prefix length.
///
/// # Errors
/// Why this cannot be a VIP.
pub(crate) fn vip(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text.parse().map_err(|_| match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => format!("the prefix length is missing, for example `{address}/24`"),
        Ok(IpAddr::V6(address)) => format!("the prefix length is missing, for example `{address}/64`"),
        Err(_) => "not an address with a prefix length, for example `192.0.2.100/24`".to_owned(),
    })?;
    ordinary(net.addr())?;
    if net.prefix_len() == 0 {
        return Err("a prefix length of 0 would make the whole Internet on-link".into());
    }
    if let IpNet::V4(v4) = net
        && v4.prefix_len() < 31
    {
        if v4.addr() == v4.network() {
            return Err(format!("this is the address of the network {} itself, not of a host", v4.trunc()));
        }
        if v4.addr() == v4.broadcast() {
            return Err(format!("this is the broadcast address of {}", v4.trunc()));
        }
    }
    Ok(net)
}

/// Reads the address of a reference: a machine outside the cluster.
///
/// # Errors
/// Why this cannot be one.
pub(crate) fn reference(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| "expected \"auto\", \"gateway\" or an IP address without prefix".to_owned())?;
    ordinary(address)?;
    Ok(address)
}

/// Refuses what no host may be reached by from outside.
fn ordinary(address: IpAddr) -> Result<(), String> {
    let why = match address {
        a if a.is_unspecified() => "the unspecified address belongs to no host",
        a if a.is_multicast() => "a multicast address belongs to no single host",
        a if a.is_loopback() => "a loopback address is never seen outside its own machine",
        IpAddr::V4(a) if a == Ipv4Addr::BROADCAST => "the broadcast address belongs to every host",
        IpAddr::V4(a) if a.is_link_local() => "a link-local address (169.254.0.0/16) is not for services",
        IpAddr::V6(a) if a.is_unicast_link_local() => {
            "a link-local address (fe80::/10) means another host on every link"
        }
        IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => {
            "an IPv4-mapped address is never on the wire; write the IPv4 address"
        }
        _ => return Ok(()),
    };
    Err(why.to_owned())
}
