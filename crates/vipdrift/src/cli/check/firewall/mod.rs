//! Firewall rules that stand between the nodes: what this machine drops of heartbeats, echo requests, ARP and Neighbor
//! Discovery.
//!
//! The rules are read with nft(8), which shows those of iptables-nft too. Rules of the older kind (`ip_tables`) are only
//! noticed.

mod rules;

use std::net::IpAddr;
use std::time::Duration;

use self::rules::{Packet, Protocol, Rules, Verdict};
use super::finding::{Findings, Id, Level};
use super::program::{NoOutput, output};
use super::scene::{Scene, list};

/// nft has this long.
const LIMIT: Duration = Duration::from_secs(3);

pub(super) fn look(scene: &Scene, findings: &mut Findings) {
    let before = findings.0.len();
    old_tables(scene, findings);
    match output("nft", &["-j", "list", "ruleset"], LIMIT) {
        Ok(text) => match Rules::read(&text) {
            Ok(rules) => judge(scene, &rules, findings),
            Err(why) => unread(&format!("what nft says of the firewall cannot be read: {why}"), findings),
        },
        // Whoever has rules has the program that made them.
        Err(NoOutput::Missing) => {}
        Err(NoOutput::Failed(why)) => {
            unread(&format!("nft does not tell the firewall's rules: {why}"), findings)
        }
    }
    if findings.0.len() == before {
        findings.ok(
            Id::Firewall,
            "no firewall rule here drops heartbeats, echo requests, ARP or Neighbor Discovery",
        );
    }
}

fn unread(text: &str, findings: &mut Findings) {
    findings.hint(
        Id::FirewallUnread,
        text,
        "run this command as root; or look for yourself that UDP, ICMP echo and ARP pass between the nodes",
    );
}

/// Tables of ip_tables(8) that is not nftables underneath: the kernel lists them, their rules are not read.
fn old_tables(scene: &Scene, findings: &mut Findings) {
    let names = |file: &str| scene.read(file).is_some_and(|text| text.lines().any(|name| name == "filter"));
    if names("/proc/net/ip_tables_names") || names("/proc/net/ip6_tables_names") {
        let port = scene.resolved.port;
        findings.hint(
            Id::FirewallUnread,
            "there are rules of iptables-legacy, which are not read here",
            format!("look for yourself: iptables-legacy -S; UDP port {port}, ICMP echo and ARP must pass between the nodes"),
        );
    }
}

/// What is dropped, by whom.
fn judge(scene: &Scene, rules: &Rules, findings: &mut Findings) {
    let port = scene.resolved.port;
    let mut peers: Vec<IpAddr> = scene.resolved.paths.iter().map(|path| path.remote).collect();
    peers.sort_unstable();
    peers.dedup();
    for (id, protocol, what) in [
        (Id::FirewallHeartbeat, Protocol::Udp(port), format!("heartbeats (UDP port {port})")),
        (Id::FirewallEcho, Protocol::Echo, "ICMP echo requests".to_owned()),
    ] {
        for incoming in [true, false] {
            let mut worst: Option<(Level, String, Vec<String>)> = None;
            for path in &scene.resolved.paths {
                let Some(interface) = scene.interface_of(path.local) else { continue };
                let packet = Packet { protocol, here: path.local, there: path.remote, interface, incoming };
                let Some((level, by)) = trouble(rules, &packet) else { continue };
                let peer = path.remote.to_string();
                match &mut worst {
                    Some((known, _, peers)) if *known >= level => peers.push(peer),
                    _ => worst = Some((level, by, vec![peer])),
                }
            }
            let Some((level, by, with)) = worst else { continue };
            let (way, word) = if incoming { ("from", "drops") } else { ("to", "does not let out") };
            // Without echoes nothing fails but the proof that a machine is dead.
            let level = if id == Id::FirewallEcho { level.min(Level::Warning) } else { level };
            let text = match level {
                Level::Error => format!("the firewall {word} {what} {way} {}: {by}", list(&with)),
                _ => format!("the firewall may drop {what} {way} {}: {by}", list(&with)),
            };
            findings.add(level, id, text, remedy(rules, protocol, &peers, incoming));
        }
    }
    segment(scene, rules, findings);
}

/// How bad what becomes of a packet is, and which rule or policy does it.
fn trouble(rules: &Rules, packet: &Packet<'_>) -> Option<(Level, String)> {
    match rules.verdict(packet, false) {
        Verdict::Passes => None,
        Verdict::Unknown(by) => Some((Level::Warning, format!("it depends on {by}"))),
        Verdict::Drops(by) => match rules.verdict(packet, true) {
            // It passes as an answer to what this node sends, until that is forgotten.
            Verdict::Passes => Some((Level::Warning, format!("only answers pass; the rest meets {by}"))),
            _ => Some((Level::Error, by)),
        },
    }
}

/// ARP and Neighbor Discovery on the interfaces that carry VIPs: nobody finds a VIP that does not answer them.
fn segment(scene: &Scene, rules: &Rules, findings: &mut Findings) {
    for carrier in scene.carriers() {
        for (id, protocol, v4) in
            [(Id::FirewallArp, Protocol::Arp, true), (Id::FirewallNeighbor, Protocol::Neighbor, false)]
        {
            let vips = carrier.vips_of(v4);
            let Some(&vip) = vips.first() else { continue };
            for incoming in [true, false] {
                let there = if v4 {
                    IpAddr::from([192, 0, 2, 1])
                } else {
                    IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1])
                };
                let packet = Packet { protocol, here: vip, there, interface: carrier.name(), incoming };
                let Verdict::Drops(by) = rules.verdict(&packet, false) else { continue };
                let what = if v4 { "ARP" } else { "Neighbor Discovery" };
                findings.error(
                    id,
                    format!(
                        "the firewall drops {what} on {}: {by}; nobody finds {} here",
                        carrier.name(),
                        list(&vips)
                    ),
                    remedy(rules, protocol, &[], incoming),
                );
                break;
            }
        }
    }
}

fn remedy(rules: &Rules, protocol: Protocol, peers: &[IpAddr], incoming: bool) -> String {
    let (v4, v6): (Vec<_>, Vec<_>) = peers.iter().partition(|peer| peer.is_ipv4());
    match (protocol, rules.manager()) {
        (Protocol::Udp(port), Some("firewalld")) if incoming => {
            format!("firewall-cmd --permanent --add-port={port}/udp && firewall-cmd --reload")
        }
        (Protocol::Udp(port), Some("ufw")) if incoming => {
            let lines =
                peers.iter().map(|peer| format!("ufw allow from {peer} to any port {port} proto udp"));
            lines.collect::<Vec<_>>().join("\n")
        }
        _ => {
            let side = if incoming { "saddr" } else { "daddr" };
            let of = |peers: &[IpAddr]| peers.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
            let mut lines = Vec::new();
            for (family, peers) in
                [("ip", &v4), ("ip6", &v6)].into_iter().filter(|(_, peers)| !peers.is_empty())
            {
                let what = match protocol {
                    Protocol::Udp(port) => format!("udp dport {port}"),
                    _ if family == "ip" => "icmp type echo-request".to_owned(),
                    _ => "icmpv6 type echo-request".to_owned(),
                };
                lines.push(format!("before that rule: {family} {side} {{ {} }} {what} accept", of(peers)));
            }
            match protocol {
                Protocol::Arp => {
                    lines.push("before that rule: arp operation { request, reply } accept".into())
                }
                Protocol::Neighbor => lines.push(
                    "before that rule: icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept".into(),
                ),
                Protocol::Udp(_) | Protocol::Echo => {}
            }
            lines.join("\n")
        }
    }
}
