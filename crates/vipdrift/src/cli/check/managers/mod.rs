//! Other programs that put addresses on the interfaces that carry VIPs, or take them off.

mod cloud;
mod failover;
mod network_manager;
mod networkd;
mod written;

use std::path::Path;

use super::finding::{Findings, Id};
use super::scene::Scene;

pub(super) fn look(scene: &Scene, findings: &mut Findings) {
    let before = findings.0.len();
    let running = processes(scene);
    networkd::look(scene, &running, findings);
    network_manager::look(scene, &running, findings);
    dhcp(scene, &running, findings);
    cloud::look(scene, &running, findings);
    failover::look(scene, &running, findings);
    written::look(scene, findings);
    let loud = findings.0[before..].iter().any(|finding| finding.id != Id::CloudNetwork);
    if !loud && scene.carriers().next().is_some() {
        findings.ok(Id::Managers, "no other program is known to manage the addresses of these interfaces");
    }
}

/// A program that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    /// Its short name, cut to 15 bytes by the kernel.
    name: String,
    arguments: Vec<String>,
}

/// Programs that run in this network: what runs in another one, as in containers, manages other interfaces.
fn processes(scene: &Scene) -> Vec<Process> {
    let here = std::fs::read_link(scene.file("/proc/self/ns/net")).ok();
    let entries = std::fs::read_dir(scene.file("/proc")).into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.bytes().all(|byte| byte.is_ascii_digit()).then_some(name)
    });
    ids.filter_map(|id| {
        let of = |file: &str| Path::new("/proc").join(&id).join(file);
        let there = std::fs::read_link(scene.file(of("ns/net"))).ok();
        // One that may not be looked at counts as being here.
        if here.is_some() && there.is_some() && here != there {
            return None;
        }
        let name = scene.read(of("comm"))?.trim_end().to_owned();
        let line = scene.read(of("cmdline")).unwrap_or_default();
        let arguments = line.split_terminator('\0').map(str::to_owned).collect();
        Some(Process { name, arguments })
    })
    .collect()
}

/// Whether a program runs; names are compared as far as the kernel keeps them.
fn runs(running: &[Process], name: &str) -> bool {
    let cut = &name[..name.len().min(15)];
    running.iter().any(|process| process.name == cut)
}

/// Clients of DHCP that are programs of their own.
fn dhcp(scene: &Scene, running: &[Process], findings: &mut Findings) {
    for carrier in scene.carriers() {
        let name = carrier.name();
        // One that names no interface takes all of them.
        let manages = |process: &Process| {
            let words = || process.arguments.iter().skip(1);
            words().any(|word| word == name)
                || !words().any(|word| scene.links.iter().any(|link| link.name == *word))
        };
        let client =
            |program: &str| running.iter().any(|process| process.name == program && manages(process));
        // Its script flushes the interface when the leased address changes (dhclient-script, BOUND to EXPIRE).
        if client("dhclient") {
            findings.warning(
                Id::DhcpClient,
                format!("dhclient manages {name}: when its leased address changes, it takes all IPv4 addresses off, VIPs too"),
                format!("give {name} a fixed address, or the same lease for ever (a reservation)"),
            );
        }
        if client("dhcpcd") && !dhcpcd_leaves(scene, name) {
            findings.hint(
                Id::DhcpClient,
                format!("dhcpcd runs, and may manage {name}; what it does to VIPs has not been tried"),
                format!("to have {name} left alone: give it a fixed address, and add the line `denyinterfaces {name}` to /etc/dhcpcd.conf"),
            );
        }
    }
}

/// dhcpcd.conf(5).
fn dhcpcd_leaves(scene: &Scene, interface: &str) -> bool {
    let text = scene.read("/etc/dhcpcd.conf").unwrap_or_default();
    text.lines().any(|line| {
        let mut words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        words.next() == Some("denyinterfaces") && words.any(|word| word == interface)
    })
}

/// The values of a key in the named section of a file of `key = value` lines, in order.
fn values<'t>(text: &'t str, section: &str, key: &str) -> Vec<&'t str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.eq_ignore_ascii_case(section);
        } else if inside
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            found.push(value.trim());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::super::scene::tests::{scene, write};
    use super::*;

    /// A process as `/proc` shows it.
    pub(super) fn process(root: &Path, id: u32, network: u32, name: &str, line: &[&str]) {
        let folder = format!("/proc/{id}");
        write(root, &format!("{folder}/comm"), &format!("{name}\n"));
        write(root, &format!("{folder}/cmdline"), &(line.join("\0") + "\0"));
        let ns = root.join(format!("proc/{id}/ns"));
        std::fs::create_dir_all(&ns).expect("makes folders");
        std::os::unix::fs::symlink(format!("net:[{network}]"), ns.join("net")).expect("links");
    }

    fn found(prepare: impl FnOnce(&Path)) -> Vec<(Level, Id, String)> {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(root.path().join("proc/self/ns")).expect("makes folders");
        std::os::unix::fs::symlink("net:[1]", root.path().join("proc/self/ns/net")).expect("links");
        prepare(root.path());
        let mut scene = scene(root.path());
        let second =
            vipdrift_platform::links::Link { index: 3, name: "eth1".into(), ..scene.links[0].clone() };
        scene.links.push(second);
        let mut findings = Findings::default();
        look(&scene, &mut findings);
        findings.0.into_iter().map(|f| (f.level, f.id, f.text)).collect()
    }

    #[test]
    fn a_machine_without_managers_is_well() {
        let all = found(|_| {});
        assert_eq!(all.iter().map(|f| (f.0, f.1)).collect::<Vec<_>>(), [(Level::Ok, Id::Managers)]);
    }

    #[test]
    fn a_dhcp_client_counts_where_it_manages_this_interface_in_this_network() {
        let dhclient = |network: u32, interface: &'static str| {
            move |root: &Path| process(root, 7, network, "dhclient", &["dhclient", "-4", interface])
        };
        let warned = found(dhclient(1, "eth0"));
        assert_eq!((warned[0].0, warned[0].1), (Level::Warning, Id::DhcpClient));
        assert_eq!(found(dhclient(1, "eth1"))[0].0, Level::Ok);
        // A word that is no interface leaves all to it.
        assert_eq!(found(dhclient(1, "-v"))[0].0, Level::Warning);
        assert_eq!(found(dhclient(2, "eth0"))[0].0, Level::Ok);
    }

    #[test]
    fn dhcpcd_that_is_told_to_leave_it_alone_is_well() {
        let with = |text: &'static str| {
            move |root: &Path| {
                process(root, 7, 1, "dhcpcd", &["dhcpcd", "-q"]);
                write(root, "/etc/dhcpcd.conf", text);
            }
        };
        assert_eq!(found(with("hostname\n"))[0].0, Level::Hint);
        assert_eq!(found(with("hostname\ndenyinterfaces wlan0 eth0\n"))[0].0, Level::Ok);
    }

    #[test]
    fn values_stand_in_their_section() {
        let text = "[Network]\nA=1\n# A=2\n[Other]\nA=3\n[network]\n A = 4\n";
        assert_eq!(values(text, "Network", "A"), ["1", "4"]);
    }
}
