//! Firewall rules that stand between the nodes: what this machine drops of heartbeats, echo requests, ARP and Neighbor
//! Discovery.
//!
//! The rules are read with nft(8). Where it shows rules of iptables-nft that it cannot spell out, iptables-nft-save does, and
//! rules of the older kind (`ip_tables`) are read with iptables-legacy-save, if there are any: asking it makes the kernel
//! load what it asks for.

mod iptables;
mod packet;
mod remedy;
mod rules;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use self::packet::{Packet, Protocol, State};
use self::remedy::remedy;
use self::rules::{Place, Rules, Verdict};
use super::finding::{Findings, Id, Level};
use super::program::{NoOutput, output};
use super::scene::{Scene, list};

/// Each program has this long.
const LIMIT: Duration = Duration::from_secs(3);

/// The families of iptables: nft's name, the two programs that print rules, and where the kernel lists the old tables.
const IPTABLES: [(&str, &str, &str, &str); 2] = [
    ("ip", "iptables-nft-save", "iptables-legacy-save", "/proc/net/ip_tables_names"),
    ("ip6", "ip6tables-nft-save", "ip6tables-legacy-save", "/proc/net/ip6_tables_names"),
];

pub(super) fn look(scene: &Scene, findings: &mut Findings) {
    let before = findings.0.len();
    let mut rules = match output("nft", &["-j", "list", "ruleset"], LIMIT) {
        Ok(text) => Rules::read(&text).unwrap_or_else(|why| {
            unread(&format!("what nft says of the firewall cannot be read: {why}"), findings);
            Rules::default()
        }),
        // Whoever has rules has the program that made them.
        Err(NoOutput::Missing) => Rules::default(),
        Err(NoOutput::Failed(why)) => {
            unread(&format!("nft does not tell the firewall's rules: {why}"), findings);
            Rules::default()
        }
    };
    for (family, modern, old, names) in IPTABLES {
        if rules.has_foreign(family)
            && let Ok(saved) = output(modern, &[], LIMIT)
        {
            rules.add(iptables::read(&String::from_utf8_lossy(&saved), family, ""));
        }
        let tables = scene.read(names).unwrap_or_default();
        if tables.lines().any(|name| name != "nat") {
            match output(old, &[], LIMIT) {
                Ok(saved) => rules.add(iptables::read(&String::from_utf8_lossy(&saved), family, " (legacy)")),
                Err(NoOutput::Missing) => {
                    unread(
                        &format!("there are tables of iptables-legacy, and no {old} to show them"),
                        findings,
                    );
                }
                Err(NoOutput::Failed(why)) => {
                    unread(&format!("{old} does not tell the firewall's rules: {why}"), findings);
                }
            }
        }
    }
    judge(scene, &rules, findings);
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

/// What is dropped, by whom.
fn judge(scene: &Scene, rules: &Rules, findings: &mut Findings) {
    let port = scene.resolved.port;
    for (id, protocol, what) in [
        (Id::FirewallHeartbeat, Protocol::Udp(port), format!("heartbeats (UDP port {port})")),
        (Id::FirewallEcho, Protocol::Echo, "ICMP echo requests".to_owned()),
        (Id::FirewallEcho, Protocol::Reply, "ICMP echo replies".to_owned()),
    ] {
        for incoming in [true, false] {
            let mut worst: Option<(Trouble, Vec<IpAddr>)> = None;
            for path in &scene.resolved.paths {
                let Some(interface) = scene.interface_of(path.local) else { continue };
                let packet = Packet { protocol, here: path.local, there: path.remote, interface, incoming };
                let Some(new) = trouble(rules, &packet) else { continue };
                match &mut worst {
                    Some((known, peers)) if known.level >= new.level => {
                        if !peers.contains(&path.remote) {
                            peers.push(path.remote);
                        }
                    }
                    _ => worst = Some((new, vec![path.remote])),
                }
            }
            let Some((Trouble { level, certain, by, place }, with)) = worst else { continue };
            let (way, word) = if incoming { ("from", "drops") } else { ("to", "does not let out") };
            // Without echoes nothing fails but the proof that a machine is dead.
            let level = if id == Id::FirewallEcho { level.min(Level::Warning) } else { level };
            let text = if certain {
                format!("the firewall {word} {what} {way} {}: {by}", list(&with))
            } else {
                format!("the firewall may drop {what} {way} {}: {by}", list(&with))
            };
            findings.add(level, id, text, remedy(rules, &place, protocol, &with, incoming));
        }
    }
    segment(scene, rules, findings);
}

/// How bad what becomes of a packet is, and which rule or policy does it.
struct Trouble {
    level: Level,
    certain: bool,
    by: String,
    place: Place,
}

fn trouble(rules: &Rules, packet: &Packet<'_>) -> Option<Trouble> {
    // A reply belongs to a request that has passed; a request is always the first.
    let state = if packet.protocol == Protocol::Reply { State::Established } else { State::New };
    let of = |level, certain, by: String, place| Some(Trouble { level, certain, by, place });
    let perhaps = |place: Place| of(Level::Warning, false, format!("it depends on {}", place.by), place);
    let certain = |place: Place| of(Level::Error, true, place.by.clone(), place);
    match rules.verdict(packet, state) {
        Verdict::Passes => None,
        Verdict::Unknown(place) => perhaps(place),
        Verdict::Drops(place) if matches!(packet.protocol, Protocol::Udp(_)) => {
            match rules.verdict(packet, State::Established) {
                // It passes as an answer to what this node sends, until that is forgotten.
                Verdict::Passes => of(
                    Level::Warning,
                    false,
                    format!("only answers pass; the rest meets {}", place.by),
                    place,
                ),
                Verdict::Unknown(place) => perhaps(place),
                Verdict::Drops(_) => certain(place),
            }
        }
        Verdict::Drops(place) => certain(place),
    }
}

/// ARP and Neighbor Discovery on the interfaces that carry VIPs: nobody finds a VIP that does not answer them.
fn segment(scene: &Scene, rules: &Rules, findings: &mut Findings) {
    for carrier in scene.carriers() {
        for (id, protocol, v4) in
            [(Id::FirewallArp, Protocol::Arp, true), (Id::FirewallNeighbor, Protocol::Neighbor, false)]
        {
            let vips = carrier.vips_of(v4);
            let ways = vips.iter().flat_map(|vip| [(vip, true), (vip, false)]);
            for (&vip, incoming) in ways {
                let there = if v4 {
                    IpAddr::from([192, 0, 2, 1])
                } else {
                    IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1])
                };
                let packet = Packet { protocol, here: vip, there, interface: carrier.name(), incoming };
                let Verdict::Drops(place) = rules.verdict(&packet, State::New) else { continue };
                let what = if v4 { "ARP" } else { "Neighbor Discovery" };
                findings.error(
                    id,
                    format!(
                        "the firewall drops {what} on {}: {}; nobody finds {} here",
                        carrier.name(),
                        place.by,
                        list(&vips)
                    ),
                    remedy(rules, &place, protocol, &vips, incoming),
                );
                break;
            }
        }
    }
}
