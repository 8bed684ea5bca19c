//! The command that lets a packet pass, in the words of whichever program keeps the rules.

use std::net::IpAddr;

use super::packet::Protocol;
use super::rules::{Place, Rules};

/// Chains of iptables that the kernel asks.
const CHAINS: [&str; 4] = ["INPUT", "OUTPUT", "PREROUTING", "POSTROUTING"];

/// Lets packets pass at `place`. `with`: the peers; for ARP and Neighbor Discovery, the VIPs.
pub(super) fn remedy(
    rules: &Rules,
    place: &Place,
    protocol: Protocol,
    with: &[IpAddr],
    incoming: bool,
) -> String {
    let [family, table, chain] = place.chain.each_ref().map(String::as_str);
    let legacy = table.ends_with("(legacy)");
    match protocol {
        Protocol::Udp(port) if table == "firewalld" && incoming => {
            return format!("firewall-cmd --permanent --add-port={port}/udp && firewall-cmd --reload");
        }
        Protocol::Udp(port) if rules.is_of_ufw(family, table) => {
            let rule = |peer: &IpAddr| match incoming {
                true => format!("ufw allow from {peer} to any port {port} proto udp"),
                false => format!("ufw allow out to {peer} port {port} proto udp"),
            };
            return with.iter().map(rule).collect::<Vec<_>>().join("\n");
        }
        _ => {}
    }
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = with.iter().copied().partition(IpAddr::is_ipv4);
    let of_iptables = CHAINS.contains(&chain) && matches!(family, "ip" | "ip6");
    let mut lines = Vec::new();
    for (is_v4, addresses) in [(true, v4), (false, v6)].into_iter().filter(|(_, some)| !some.is_empty()) {
        lines.push(if of_iptables || legacy {
            let program = match (is_v4, legacy) {
                (true, false) => "iptables",
                (false, false) => "ip6tables",
                (true, true) => "iptables-legacy",
                (false, true) => "ip6tables-legacy",
            };
            let table = table.split(' ').next().unwrap_or_default();
            let table = if table == "filter" { String::new() } else { format!(" -t {table}") };
            format!(
                "{program}{table} -I {chain} {} -j ACCEPT",
                in_iptables(protocol, is_v4, &addresses, incoming)
            )
        } else {
            let rule = in_nft(protocol, is_v4, &addresses, incoming);
            format!("nft insert rule {family} {table} {chain} {rule} accept")
        });
    }
    if !of_iptables && !legacy {
        lines.push("and the same in the file that the rules come from, often /etc/nftables.conf".to_owned());
    }
    lines.join("\n")
}

fn joined(addresses: &[IpAddr], by: &str) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(by)
}

fn in_nft(protocol: Protocol, is_v4: bool, addresses: &[IpAddr], incoming: bool) -> String {
    let all = format!("{{ {} }}", joined(addresses, ", "));
    let side = if incoming { "saddr" } else { "daddr" };
    let family = if is_v4 { "ip" } else { "ip6" };
    let icmp = if is_v4 { "icmp" } else { "icmpv6" };
    match protocol {
        Protocol::Udp(port) => format!("{family} {side} {all} udp dport {port}"),
        Protocol::Echo => format!("{family} {side} {all} {icmp} type echo-request"),
        Protocol::Reply => format!("{family} {side} {all} {icmp} type echo-reply"),
        Protocol::Arp if incoming => format!("arp daddr ip {all}"),
        Protocol::Arp => format!("arp saddr ip {all}"),
        Protocol::Neighbor => "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }".to_owned(),
    }
}

fn in_iptables(protocol: Protocol, is_v4: bool, addresses: &[IpAddr], incoming: bool) -> String {
    let side = if incoming { "-s" } else { "-d" };
    let all = joined(addresses, ",");
    let icmp = if is_v4 { "-p icmp --icmp-type" } else { "-p ipv6-icmp --icmpv6-type" };
    match protocol {
        Protocol::Udp(port) => format!("-p udp {side} {all} --dport {port}"),
        Protocol::Echo => format!("{side} {all} {icmp} echo-request"),
        Protocol::Reply => format!("{side} {all} {icmp} echo-reply"),
        Protocol::Neighbor if incoming => format!("{icmp} neighbour-solicitation"),
        Protocol::Neighbor | Protocol::Arp => format!("{icmp} neighbour-advertisement"),
    }
}
