//! Interfaces, addresses, VIPs and ports.

use std::path::Path;

use ipnet::IpNet;
use vipdrift_platform::links::find;

use super::finding::{Findings, Id};
use super::scene::{Scene, list};
use crate::keeper::sockets;

pub(super) fn look(scene: &Scene, findings: &mut Findings) {
    own_addresses(scene, findings);
    interfaces(scene, findings);
    vips(scene, findings);
    ports(scene, findings);
}

fn own_addresses(scene: &Scene, findings: &mut Findings) {
    for own in &scene.resolved.own {
        if scene.addresses.iter().any(|address| address.network.addr() == own.ip()) {
            findings.ok(Id::HeartbeatAddress, format!("heartbeat address {} is here", own.ip()));
        } else {
            findings.error(
                Id::HeartbeatAddress,
                format!("heartbeat address {} is not on this machine", own.ip()),
                "configure it on an interface, or correct `addresses` of this node",
            );
        }
    }
}

fn interfaces(scene: &Scene, findings: &mut Findings) {
    for name in &scene.resolved.interfaces {
        match find(&scene.links, name) {
            Ok(Some(_)) => {}
            Ok(None) => {
                let there: Vec<_> = scene.links.iter().map(|link| link.name.as_str()).collect();
                findings.error(
                    Id::InterfaceMissing,
                    format!("there is no interface {name}"),
                    format!("there are: {}", there.join(", ")),
                );
            }
            Err(error) => findings.error(
                Id::InterfaceMissing,
                error.to_string(),
                "in `interface` of the group, or `interfaces` of the node",
            ),
        }
    }
    for carrier in scene.carriers() {
        let (name, link) = (carrier.name(), carrier.link);
        let own: Vec<_> = carrier.own().collect();
        if own.is_empty() {
            findings.warning(
                Id::InterfaceAddress,
                format!("interface {name} has no address of its own"),
                "give it one: peers and references are asked from there",
            );
        }
        if link.loopback {
            findings.error(
                Id::InterfaceLoopback,
                format!("{name} is the loopback interface"),
                "choose the interface that clients reach",
            );
        } else if !link.running {
            findings.error(
                Id::InterfaceDown,
                format!("interface {name} is down or has no carrier"),
                format!("check the cable, or switch it on: ip link set {name} up"),
            );
        } else if own.is_empty() {
            findings.ok(Id::Interface, format!("interface {name} is running"));
        } else {
            findings.ok(Id::Interface, format!("interface {name} is running with {}", list(&own)));
        }
        part_of_another(scene, name, findings);
    }
}

/// Interfaces that belong to another one, by sysfs(5), which shows the network that it was mounted in.
fn part_of_another(scene: &Scene, name: &str, findings: &mut Findings) {
    let at = |file: &str| Path::new("/sys/class/net").join(name).join(file);
    let master = std::fs::read_link(scene.file(at("master"))).ok();
    let master = master.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let kind = if scene.file(at("brport")).exists() {
        Some("bridge")
    } else if scene.file(at("bonding_slave")).exists() {
        Some("bond")
    } else {
        None
    };
    if let Some(kind) = kind {
        let master = master.as_deref().unwrap_or("?");
        findings.warning(
            Id::InterfacePort,
            format!("{name} is a port of the {kind} {master}: what comes in is {master}'s, not its own"),
            format!("name {master} as `interface` of the group"),
        );
    }
    // A port of a bridge with spanning tree listens and learns before it forwards, each for the forward delay.
    let bridge = if kind == Some("bridge") { master.as_deref().unwrap_or(name) } else { name };
    let of_bridge = |file: &str| {
        scene
            .read(Path::new("/sys/class/net").join(bridge).join("bridge").join(file))?
            .trim()
            .parse::<u64>()
            .ok()
    };
    if let (Some(state @ 1..), Some(delay)) = (of_bridge("stp_state"), of_bridge("forward_delay")) {
        // Hundredths of a second.
        let seconds = 2 * delay / 100;
        let by = if state == 2 { " (by a program)" } else { "" };
        findings.hint(
            Id::SpanningTree,
            format!(
                "bridge {bridge} uses spanning tree{by}: a port that comes up forwards nothing for up to {seconds} s, and this \
                 node hears nobody meanwhile"
            ),
            format!(
                "where no loop is possible: ip link set {bridge} type bridge stp_state 0; else `start_wait` of [cluster] \
                 above that time"
            ),
        );
    }
}

fn vips(scene: &Scene, findings: &mut Findings) {
    let mut quiet = true;
    let resolved = &scene.resolved;
    for vip in &resolved.vips {
        let name = &resolved.interfaces[vip.interface.0];
        let index = find(&scene.links, name).ok().flatten().map(|link| link.index);
        let ip = vip.address.addr();
        let here = scene.addresses.iter().filter(|address| Some(address.interface) == index);
        let mut subnets = here.map(|address| address.network).filter(|network| !scene.is_vip(network.addr()));
        if index.is_some()
            && !subnets.any(|net: IpNet| net.contains(&ip) && net.addr().is_ipv4() == ip.is_ipv4())
        {
            quiet = false;
            findings.warning(
                Id::VipSubnet,
                format!("VIP {} is in no subnet of {name}: no address of its own is in it", vip.address),
                "correct the VIP or its prefix, or give the interface an address of that subnet: without one the VIP is\n\
                 mounted, but this machine has no route to clients in it",
            );
        }
        for held in scene.addresses.iter().filter(|address| address.network.addr() == ip) {
            let on = scene.links.iter().find(|link| link.index == held.interface);
            let on = on.map_or("?", |link| link.name.as_str());
            if scene.running && held.ours {
                continue;
            }
            quiet = false;
            let remove = format!("ip address del {} dev {on}", held.network);
            if held.ours {
                findings.warning(
                    Id::VipLeft,
                    format!("VIP {ip} was left on {on} by an earlier vipdrift"),
                    format!("the next start removes it; or: {remove}"),
                );
            } else {
                findings.error(
                    Id::VipForeign,
                    format!("VIP {ip} is configured on {on} by something else"),
                    format!("take it out of this machine's network configuration, then: {remove}"),
                );
            }
        }
    }
    if quiet {
        findings.ok(
            Id::Vips,
            format!("{} VIPs fit their interfaces, and nothing else has them here", resolved.vips.len()),
        );
    }
}

fn ports(scene: &Scene, findings: &mut Findings) {
    if scene.running {
        findings.ok(Id::Daemon, format!("vipdrift is running: it answers on {}", scene.socket.display()));
        return;
    }
    for own in &scene.resolved.own {
        match sockets::heartbeat(*own) {
            Ok(_) => findings.ok(Id::Port, format!("UDP port {} of {} is free", own.port(), own.ip())),
            Err(error) => findings.error(Id::Port, error.what, error.remedy),
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::super::finding::Level;
    use super::super::scene::tests::{scene, write};
    use super::*;

    fn found(prepare: impl FnOnce(&Path)) -> Vec<(Level, Id, String)> {
        let root = tempfile::tempdir().expect("a folder");
        prepare(root.path());
        let mut findings = Findings::default();
        part_of_another(&scene(root.path()), "eth0", &mut findings);
        findings.0.into_iter().map(|f| (f.level, f.id, f.text)).collect()
    }

    /// The files of a bridge and its port as Linux 6.18 shows them.
    #[test]
    fn ports_of_bridges_and_their_spanning_tree() {
        assert_eq!(found(|_| {}), []);
        let port = |stp: &'static str| {
            move |root: &Path| {
                let net = root.join("sys/class/net");
                std::fs::create_dir_all(net.join("eth0/brport")).expect("makes folders");
                std::os::unix::fs::symlink("../br0", net.join("eth0/master")).expect("links");
                write(root, "/sys/class/net/br0/bridge/stp_state", stp);
                write(root, "/sys/class/net/br0/bridge/forward_delay", "1500\n");
            }
        };
        let all = found(port("0\n"));
        assert_eq!(all.iter().map(|f| (f.0, f.1)).collect::<Vec<_>>(), [(Level::Warning, Id::InterfacePort)]);
        assert!(all[0].2.contains("eth0 is a port of the bridge br0"), "{all:?}");
        let all = found(port("1\n"));
        assert_eq!((all[1].0, all[1].1), (Level::Hint, Id::SpanningTree));
        assert!(all[1].2.contains("up to 30 s"), "{all:?}");
    }
}
