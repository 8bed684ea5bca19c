//! Settings of the kernel that keep a VIP from being mounted, answered for, asked about or served.
//!
//! Source: `Documentation/networking/ip-sysctl.rst` of Linux; which value counts where `all` and the interface
//! differ is said there for each (the larger one, or either). What is not looked at, since it does no harm:
//! `arp_announce` (the daemon writes its own announcements), `arp_accept` (a cache takes news of what it knows without
//! it), `accept_dad` (VIPs are mounted without the kernel's own question), `keep_addr_on_down` (an interface that goes down
//! is a fault whatever stays on it), `accept_ra`.

use std::path::Path;

use super::finding::{Findings, Id};
use super::scene::{Carrier, Scene, list};

/// Where the settings are.
const SYSTEM: &str = "/proc/sys";

pub(super) fn look(scene: &Scene, findings: &mut Findings) {
    let before = findings.0.len();
    for carrier in scene.carriers() {
        arp_ignore(scene, &carrier, findings);
        arp_filter(scene, &carrier, findings);
        rp_filter(scene, &carrier, findings);
        proxy_arp(scene, &carrier, findings);
        promote_secondaries(scene, &carrier, findings);
        ipv6(scene, &carrier, findings);
        deaf_to_announcements(scene, &carrier, findings);
    }
    echo(scene, findings);
    let quiet = findings.0[before..].iter().all(|finding| finding.id == Id::PromoteSecondaries);
    if quiet && scene.carriers().next().is_some() {
        findings.ok(Id::KernelSettings, "no kernel setting keeps a VIP from being mounted or answered for");
    }
    nonlocal_bind(scene, findings);
}

fn number(scene: &Scene, path: &str) -> Option<i64> {
    scene.read(Path::new(SYSTEM).join(path))?.trim().parse().ok()
}

/// Where a setting stands, for all interfaces and for one.
fn places(setting: &str, interface: &str) -> [String; 2] {
    ["all", interface].map(|of| format!("net/ipv4/conf/{of}/{setting}"))
}

/// The larger of both, and the places that have it.
fn largest(scene: &Scene, setting: &str, carrier: &Carrier) -> (i64, Vec<String>) {
    let found = places(setting, carrier.name()).map(|place| (number(scene, &place).unwrap_or(0), place));
    let most = found.iter().map(|(value, _)| *value).max().unwrap_or(0);
    (most, found.into_iter().filter(|(value, _)| *value == most).map(|(_, place)| place).collect())
}

/// The places where a switch is on; it is on if one of both is.
fn switched_on(scene: &Scene, setting: &str, carrier: &Carrier) -> Vec<String> {
    places(setting, carrier.name())
        .into_iter()
        .filter(|place| number(scene, place).unwrap_or(0) != 0)
        .collect()
}

/// How sysctl(8) writes a setting: with dots, unless the name of the interface has one.
fn dotted(place: &str) -> String {
    if place.contains('.') { place.to_owned() } else { place.replace('/', ".") }
}

/// The commands that set it now, and where to keep it.
fn set(places: &[String], value: i64) -> String {
    let lines: Vec<_> = places.iter().map(|place| format!("{}={value}", dotted(place))).collect();
    format!(
        "sysctl -w {}\nand the same as lines of /etc/sysctl.d/90-vipdrift.conf, to keep it",
        lines.join(" ")
    )
}

fn shown(places: &[String], value: i64) -> String {
    places.iter().map(|place| format!("{} = {value}", dotted(place))).collect::<Vec<_>>().join(", ")
}

fn arp_ignore(scene: &Scene, carrier: &Carrier, findings: &mut Findings) {
    let vips = carrier.vips_of(true);
    let (value, places) = largest(scene, "arp_ignore", carrier);
    let name = carrier.name();
    if vips.is_empty() {
        return;
    }
    if value == 8 {
        findings.error(
            Id::ArpIgnore,
            format!(
                "{name} answers no ARP request ({}): nobody finds {} here",
                shown(&places, value),
                list(&vips)
            ),
            set(&places, 0),
        );
    } else if value == 2 {
        // The kernel wants an address there whose subnet has both the asker and what is asked for.
        let alone: Vec<_> =
            vips.into_iter().filter(|vip| !carrier.own().any(|own| own.contains(vip))).collect();
        if !alone.is_empty() {
            findings.error(
                Id::ArpIgnore,
                format!(
                    "{name} answers ARP only to askers of a subnet that it has an address in ({}), and it has none in \
                     that of {}: nobody finds it here",
                    shown(&places, value),
                    list(&alone)
                ),
                set(&places, 1),
            );
        }
    }
}

fn arp_filter(scene: &Scene, carrier: &Carrier, findings: &mut Findings) {
    let on = switched_on(scene, "arp_filter", carrier);
    if on.is_empty() {
        return;
    }
    if let Some((rival, vip)) = carrier.rival() {
        let name = carrier.name();
        findings.warning(
            Id::ArpFilter,
            format!(
                "{name} answers ARP only where the route back leads out of {name} ({}), and {rival} is in the subnet of \
                 {vip} too: some clients may not find it",
                shown(&on, 1)
            ),
            set(&on, 0),
        );
    }
}

fn rp_filter(scene: &Scene, carrier: &Carrier, findings: &mut Findings) {
    let vips = carrier.vips_of(true);
    let (value, places) = largest(scene, "rp_filter", carrier);
    if value != 1 || vips.is_empty() {
        return;
    }
    let name = carrier.name();
    let why = if let Some((rival, vip)) = carrier.rival() {
        format!("{rival} is in the subnet of {vip} too")
    } else if let Some(other) = default_elsewhere(scene, name) {
        format!("the default route leads out of {other}")
    } else {
        return;
    };
    findings.warning(
        Id::RpFilter,
        format!(
            "{name} drops packets whose way back leads out of another interface ({}), and {why}: some clients may not \
             reach {}",
            shown(&places, value),
            list(&vips)
        ),
        // Loose: some interface leads back. The larger value counts, so it is enough to raise one.
        set(&[format!("net/ipv4/conf/{name}/rp_filter")], 2),
    );
}

/// An interface with the default route, if this one has none. From the kernel's list of IPv4 routes: name, destination
/// and gateway in hexadecimal, flags, two counters, metric, mask.
fn default_elsewhere(scene: &Scene, name: &str) -> Option<String> {
    let routes = scene.read("/proc/net/route")?;
    let defaults: Vec<&str> = routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            (fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000")).then_some(fields[0])
        })
        .collect();
    if defaults.contains(&name) { None } else { defaults.first().map(|&other| other.to_owned()) }
}

fn proxy_arp(scene: &Scene, carrier: &Carrier, findings: &mut Findings) {
    let name = carrier.name();
    // The kernel answers for others only where it would forward to them.
    let forwards = number(scene, &format!("net/ipv4/conf/{name}/forwarding")).unwrap_or(0) != 0;
    if !forwards || carrier.vips_of(true).is_empty() {
        return;
    }
    let private = format!("net/ipv4/conf/{name}/proxy_arp_pvlan");
    let outside = |vip: &std::net::IpAddr| !carrier.own().any(|own| own.contains(vip));
    let (places, for_what) = if number(scene, &private).unwrap_or(0) != 0 {
        (vec![private], "every address of its subnet".to_owned())
    } else {
        let places = switched_on(scene, "proxy_arp", carrier);
        let vips: Vec<_> = carrier.vips_of(true).into_iter().filter(outside).collect();
        if places.is_empty() || vips.is_empty() {
            return;
        }
        (places, list(&vips))
    };
    findings.warning(
        Id::ProxyArp,
        format!(
            "{name} answers ARP for {for_what} ({}): clients may take this machine for the holder of a VIP",
            shown(&places, 1)
        ),
        set(&places, 0),
    );
}

fn promote_secondaries(scene: &Scene, carrier: &Carrier, findings: &mut Findings) {
    if !switched_on(scene, "promote_secondaries", carrier).is_empty() {
        return;
    }
    let same = |own: &ipnet::IpNet| carrier.vips().any(|vip| vip.address.trunc() == own.trunc());
    if let Some(own) = carrier.own().filter(|own| own.addr().is_ipv4()).find(same) {
        let name = carrier.name();
        findings.hint(
            Id::PromoteSecondaries,
            format!(
                "whoever takes {own} off {name} takes its VIPs off too (net.ipv4.conf.{name}.promote_secondaries = 0); \
                 the daemon mounts them again within milliseconds"
            ),
            set(&[format!("net/ipv4/conf/{name}/promote_secondaries")], 1),
        );
    }
}

fn ipv6(scene: &Scene, carrier: &Carrier, findings: &mut Findings) {
    let name = carrier.name();
    let vips = carrier.vips_of(false);
    if vips.is_empty() {
        return;
    }
    if !scene.file(Path::new(SYSTEM).join("net/ipv6")).exists() {
        if scene.file(SYSTEM).exists() {
            findings.error(
                Id::Ipv6Off,
                format!("this kernel has no IPv6: {} cannot be mounted", list(&vips)),
                "start the kernel without ipv6.disable=1, or take these VIPs out of the configuration",
            );
        }
        return;
    }
    let place = format!("net/ipv6/conf/{name}/disable_ipv6");
    if number(scene, &place).unwrap_or(0) != 0 {
        findings.error(
            Id::Ipv6Off,
            format!("IPv6 is off on {name} ({} = 1): {} cannot be mounted", dotted(&place), list(&vips)),
            set(&[place], 0),
        );
    }
}

/// As a client of what other nodes hold.
fn deaf_to_announcements(scene: &Scene, carrier: &Carrier, findings: &mut Findings) {
    let mut on = switched_on(scene, "drop_gratuitous_arp", carrier);
    on.retain(|_| !carrier.vips_of(true).is_empty());
    let place = format!("net/ipv6/conf/{}/drop_unsolicited_na", carrier.name());
    if number(scene, &place).unwrap_or(0) != 0 && !carrier.vips_of(false).is_empty() {
        on.push(place);
    }
    if !on.is_empty() {
        findings.hint(
            Id::DropGratuitous,
            format!(
                "this machine ignores announcements ({}): as a client of a VIP it goes on sending to the old holder, for up \
                 to a minute",
                shown(&on, 1)
            ),
            set(&on, 0),
        );
    }
}

/// Peers tell a machine that lives from one that does not by echo requests.
fn echo(scene: &Scene, findings: &mut Findings) {
    let used = |v4: bool| scene.resolved.own.iter().any(|own| own.is_ipv4() == v4);
    let settings = [(true, "net/ipv4/icmp_echo_ignore_all"), (false, "net/ipv6/icmp/echo_ignore_all")];
    for (v4, place) in settings {
        if used(v4) && number(scene, place).unwrap_or(0) != 0 {
            findings.warning(
                Id::EchoIgnored,
                format!(
                    "this machine answers no ICMP echo ({} = 1): while heartbeats are blocked, peers cannot tell that it \
                     lives",
                    dotted(place)
                ),
                set(&[place.to_owned()], 0),
            );
        }
    }
}

fn nonlocal_bind(scene: &Scene, findings: &mut Findings) {
    let used = |v4: bool| scene.resolved.vips.iter().any(|vip| vip.address.addr().is_ipv4() == v4);
    let settings = [(true, "net/ipv4/ip_nonlocal_bind"), (false, "net/ipv6/ip_nonlocal_bind")];
    let off: Vec<_> = settings
        .into_iter()
        .filter(|(v4, place)| used(*v4) && number(scene, place) == Some(0))
        .map(|(_, place)| place.to_owned())
        .collect();
    if !off.is_empty() {
        findings.hint(
            Id::NonlocalBind,
            "a service that listens on a VIP itself, and not on all addresses, cannot start while the VIP is elsewhere",
            format!("if you have one: {}", set(&off, 1)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::super::scene::tests::{scene, write};
    use super::*;

    fn found(settings: &[(&str, &str)]) -> Vec<(Level, Id, String, String)> {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0\n");
        write(root.path(), "/proc/sys/net/ipv4/conf/eth0/promote_secondaries", "1\n");
        for (path, value) in settings {
            write(root.path(), &format!("/proc{path}"), value);
        }
        let mut findings = Findings::default();
        look(&scene(root.path()), &mut findings);
        findings.0.into_iter().map(|f| (f.level, f.id, f.text, f.remedy.unwrap_or_default())).collect()
    }

    fn only(settings: &[(&str, &str)]) -> (Level, Id, String, String) {
        let mut all = found(settings);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn the_ordinary_settings_are_well() {
        let (level, id, ..) = only(&[
            ("/sys/net/ipv4/conf/all/arp_ignore", "1\n"),
            ("/sys/net/ipv4/conf/eth0/arp_ignore", "2\n"),
            ("/sys/net/ipv4/conf/eth0/rp_filter", "1\n"),
            ("/sys/net/ipv4/conf/eth0/arp_filter", "1\n"),
            ("/sys/net/ipv4/ip_nonlocal_bind", "1\n"),
        ]);
        assert_eq!((level, id), (Level::Ok, Id::KernelSettings));
    }

    #[test]
    fn the_larger_value_counts_and_its_place_is_named() {
        let (level, id, text, remedy) = only(&[
            ("/sys/net/ipv4/conf/all/arp_ignore", "8\n"),
            ("/sys/net/ipv4/conf/eth0/arp_ignore", "1\n"),
        ]);
        assert_eq!((level, id), (Level::Error, Id::ArpIgnore));
        assert!(text.contains("(net.ipv4.conf.all.arp_ignore = 8)"), "{text}");
        assert!(remedy.starts_with("sysctl -w net.ipv4.conf.all.arp_ignore=0\n"), "{remedy}");
    }

    /// The route table is from Linux 6.18, `cat /proc/net/route`.
    #[test]
    fn a_strict_filter_matters_where_the_way_back_is_another() {
        const HEAD: &str =
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let strict = ("/sys/net/ipv4/conf/all/rp_filter", "1\n");
        let route = |interface: &str| {
            format!("{HEAD}{interface}\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
        };
        let (level, ..) = only(&[strict, ("/net/route", &route("eth0"))]);
        assert_eq!(level, Level::Ok);
        let (level, id, text, remedy) = only(&[strict, ("/net/route", &route("eth1"))]);
        assert_eq!((level, id), (Level::Warning, Id::RpFilter));
        assert!(text.contains("the default route leads out of eth1"), "{text}");
        assert!(remedy.starts_with("sysctl -w net.ipv4.conf.eth0.rp_filter=2\n"), "{remedy}");
    }

    #[test]
    fn a_proxy_matters_only_where_it_forwards() {
        let private = ("/sys/net/ipv4/conf/eth0/proxy_arp_pvlan", "1\n");
        assert_eq!(only(&[private]).0, Level::Ok);
        let (level, id, ..) = only(&[private, ("/sys/net/ipv4/conf/eth0/forwarding", "1\n")]);
        assert_eq!((level, id), (Level::Warning, Id::ProxyArp));
        // VIPs of its own subnet lead out of the same interface: no answer.
        let plain = ("/sys/net/ipv4/conf/eth0/proxy_arp", "1\n");
        assert_eq!(only(&[plain, ("/sys/net/ipv4/conf/eth0/forwarding", "1\n")]).0, Level::Ok);
    }

    #[test]
    fn a_name_with_a_dot_is_written_with_slashes() {
        assert_eq!(dotted("net/ipv4/conf/eth0/arp_ignore"), "net.ipv4.conf.eth0.arp_ignore");
        assert_eq!(dotted("net/ipv4/conf/eth0.7/arp_ignore"), "net/ipv4/conf/eth0.7/arp_ignore");
    }
}
