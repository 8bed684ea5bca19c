//! VIPs that stand in the machine's own network configuration: it takes them when it starts, whoever holds them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::super::finding::{Findings, Id};
use super::super::scene::Scene;
use super::failover::shown;

/// Longest file that is read, in bytes.
const LONGEST: u64 = 4 * 1024 * 1024;
/// Most files in a folder.
const MOST: usize = 1000;

/// Files in which a manager of addresses is told which to configure.
#[derive(Debug, Clone, Copy)]
enum Format {
    /// interfaces(5) of ifupdown.
    Interfaces,
    /// YAML of netplan or cloud-init.
    Yaml,
    /// systemd.network(5).
    Network,
    /// Keyfiles of NetworkManager, nm-settings-keyfile(5).
    Keyfile,
    /// Shell variables of Red Hat's and SUSE's scripts.
    Variables,
    /// dhcpcd.conf(5).
    Dhcpcd,
}

const PLACES: [(&str, Format); 15] = [
    ("/etc/network/interfaces", Format::Interfaces),
    ("/etc/network/interfaces.d", Format::Interfaces),
    ("/etc/netplan", Format::Yaml),
    ("/run/netplan", Format::Yaml),
    ("/lib/netplan", Format::Yaml),
    ("/etc/cloud/cloud.cfg.d", Format::Yaml),
    ("/etc/systemd/network", Format::Network),
    ("/run/systemd/network", Format::Network),
    ("/usr/local/lib/systemd/network", Format::Network),
    ("/usr/lib/systemd/network", Format::Network),
    ("/etc/NetworkManager/system-connections", Format::Keyfile),
    ("/run/NetworkManager/system-connections", Format::Keyfile),
    ("/etc/sysconfig/network-scripts", Format::Variables),
    ("/etc/sysconfig/network", Format::Variables),
    ("/etc/dhcpcd.conf", Format::Dhcpcd),
];

pub(super) fn look(scene: &Scene, findings: &mut Findings) {
    for vip in scene.resolved.vips.iter().map(|vip| vip.address.addr()) {
        let mut places = Vec::new();
        for (place, format) in PLACES {
            // That of amazon-ec2-net-utils is told of where its agents are.
            let others = |file: &PathBuf| !file.ends_with("ec2net_alias.conf");
            for file in files(scene, place).into_iter().filter(others) {
                let Ok(text) = std::fs::read_to_string(&file) else { continue };
                let path = shown(scene, &file);
                if configures(format, &text, vip) && !places.contains(&path) {
                    places.push(path);
                }
            }
        }
        if !places.is_empty() {
            findings.error(
                Id::VipWritten,
                format!(
                    "VIP {vip} is in {}: this machine takes it whenever that is applied, at the next start at the latest, \
                     whoever holds it then",
                    places.join(" and ")
                ),
                "take it out there",
            );
        }
    }
}

/// The files of a place: itself, or everything in that folder and in its folders. What is too large, or no file, is left
/// out.
pub(super) fn files(scene: &Scene, place: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&scene.file(place), 2, &mut found);
    found.sort();
    found
}

fn collect(place: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(about) = place.metadata() else { return };
    if about.is_file() && about.len() <= LONGEST {
        found.push(place.to_owned());
    } else if about.is_dir() && depth > 0 {
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten().take(MOST) {
            collect(&entry.path(), depth - 1, found);
        }
    }
}

/// The addresses in a line, and whether each has a prefix length.
pub(super) fn addresses(line: &str) -> Vec<(IpAddr, bool)> {
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '/' | '%')));
    words
        .filter_map(|word| {
            let (address, prefix) = match word.split_once('/') {
                Some((address, _)) => (address, true),
                None => (word, false),
            };
            // A key of YAML, or a label as in `eth0:192.0.2.1`, has a colon too many.
            let parse = |text: &str| text.split('%').next().and_then(|text| text.parse().ok());
            let ip = parse(address)
                .or_else(|| parse(address.trim_end_matches([':', '.'])))
                .or_else(|| parse(address.rsplit(':').next().unwrap_or_default()))?;
            Some((ip, prefix))
        })
        .collect()
}

fn configures(format: Format, text: &str, vip: IpAddr) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let says = |line: &str| addresses(line).into_iter().any(|(ip, _)| ip == vip);
    lines.iter().enumerate().any(|(number, line)| {
        let trimmed = line.trim_start();
        if trimmed.starts_with(['#', ';']) || !says(line) {
            return false;
        }
        let key = |separator: char| {
            trimmed
                .split(separator)
                .next()
                .unwrap_or_default()
                .trim()
                .trim_end_matches(|c: char| c.is_ascii_digit())
        };
        match format {
            Format::Interfaces => {
                key(' ') == "address"
                    || (trimmed.contains("ip ") && trimmed.contains("addr") && trimmed.contains("add "))
            }
            Format::Network => key('=') == "Address",
            Format::Keyfile => matches!(key('='), "address" | "addresses"),
            Format::Variables => key('=').starts_with("IPADDR") || key('=').starts_with("IPV6ADDR"),
            Format::Dhcpcd => {
                trimmed.starts_with("static ip_address=") || trimmed.starts_with("static ip6_address=")
            }
            // An address to configure has a prefix length there, and stands in no list of other machines.
            Format::Yaml => {
                addresses(line).contains(&(vip, true))
                    && !under(&lines, number, &["routes", "routing-policy"])
            }
        }
    })
}

/// Whether a line of YAML stands below one of these keys, by indentation.
fn under(lines: &[&str], number: usize, keys: &[&str]) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut depth = indent(lines[number]);
    if keys.iter().any(|key| lines[number].contains(&format!("{key}:"))) {
        return true;
    }
    for line in lines[..number].iter().rev().filter(|line| !line.trim().is_empty()) {
        // Items of a list may stand as deep as their key.
        let is_key = !line.trim_start().starts_with('-');
        if indent(line) < depth
            || (indent(line) == depth && is_key && lines[number].trim_start().starts_with('-'))
        {
            depth = indent(line);
            if keys
                .iter()
                .any(|key| line.trim_start().trim_start_matches("- ").starts_with(&format!("{key}:")))
            {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Level;
    use super::super::super::scene::tests::{scene, write};
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), path, text);
        let mut findings = Findings::default();
        look(&scene(root.path()), &mut findings);
        for finding in &findings.0 {
            assert_eq!(finding.level, Level::Error);
            assert!(finding.text.contains(path), "{}", finding.text);
        }
        findings.0.len()
    }

    #[test]
    fn every_manager_has_its_way_to_say_it() {
        for (path, text) in [
            ("/etc/network/interfaces", "iface eth0 inet static\n  address 192.0.2.100/24\n"),
            ("/etc/network/interfaces.d/vip", "  up ip addr add 192.0.2.100/32 dev eth0\n"),
            (
                "/etc/netplan/50-x.yaml",
                "network:\n  ethernets:\n    eth0:\n      addresses: [192.0.2.11/24, 192.0.2.100/24]\n",
            ),
            (
                "/etc/netplan/50-x.yaml",
                "network:\n  ethernets:\n    eth0:\n      addresses:\n      - \"2001:DB8:0::100/64\"\n",
            ),
            (
                "/etc/netplan/50-x.yaml",
                "      addresses:\n        - 192.0.2.100/24:\n            label: \"eth0:1\"\n",
            ),
            ("/etc/systemd/network/10-eth0.network", "[Network]\nAddress=192.0.2.100/24\n"),
            ("/etc/systemd/network/10-eth0.network.d/vip.conf", "[Address]\nAddress=2001:db8::100/64\n"),
            ("/etc/NetworkManager/system-connections/a.nmconnection", "[ipv4]\naddress2=192.0.2.100/24\n"),
            ("/etc/sysconfig/network-scripts/ifcfg-eth0", "IPADDR1=\"192.0.2.100\"\n"),
            ("/etc/dhcpcd.conf", "interface eth0\nstatic ip_address=192.0.2.100/24\n"),
        ] {
            assert_eq!(found(path, text), 1, "{text}");
        }
    }

    #[test]
    fn what_only_mentions_it_does_not_configure_it() {
        for (path, text) in [
            (
                "/etc/network/interfaces",
                "# address 192.0.2.100\niface eth0 inet static\n  gateway 192.0.2.100\n",
            ),
            ("/etc/network/interfaces", "iface eth0 inet static\n  address 192.0.2.10\n"),
            ("/etc/netplan/50-x.yaml", "      nameservers:\n        addresses: [192.0.2.100]\n"),
            ("/etc/netplan/50-x.yaml", "      routes:\n      - to: 192.0.2.100/32\n        via: 192.0.2.1\n"),
            (
                "/etc/systemd/network/10-eth0.network",
                "[Network]\nDNS=192.0.2.100\n[Route]\nGateway=192.0.2.100\n",
            ),
            ("/etc/NetworkManager/system-connections/a.nmconnection", "[ipv4]\ndns=192.0.2.100;\n"),
        ] {
            assert_eq!(found(path, text), 0, "{text}");
        }
    }
}
