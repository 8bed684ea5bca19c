//! Other programs that move addresses, with one of ours in their configuration.

use super::super::finding::{Findings, Id};
use super::super::scene::{Scene, list};
use super::written::{addresses, files};
use super::{Process, runs};

struct Program {
    name: &'static str,
    /// Short names of its processes.
    processes: &'static [&'static str],
    /// Files and folders of its configuration.
    files: &'static [&'static str],
    stop: &'static str,
}

const PROGRAMS: [Program; 5] = [
    Program {
        name: "keepalived",
        processes: &["keepalived"],
        files: &["/etc/keepalived"],
        stop: "systemctl disable --now keepalived",
    },
    Program {
        name: "Pacemaker",
        processes: &["pacemakerd"],
        files: &["/var/lib/pacemaker/cib/cib.xml"],
        stop: "pcs resource delete NAME, or crm configure delete NAME, of its IPaddr2 resource",
    },
    Program {
        name: "ucarp",
        processes: &["ucarp"],
        files: &["/etc/ucarp", "/etc/sysconfig/carp", "/etc/default/ucarp"],
        stop: "stop ucarp, and take its lines out of /etc/network/interfaces or /etc/ucarp",
    },
    Program {
        name: "FRR",
        processes: &["vrrpd"],
        files: &["/etc/frr/frr.conf", "/etc/frr/vrrpd.conf"],
        stop: "take the `vrrp` lines out with vtysh, and write the configuration",
    },
    Program {
        name: "Heartbeat",
        processes: &["heartbeat"],
        files: &["/etc/ha.d/haresources", "/etc/heartbeat/haresources"],
        stop: "systemctl disable --now heartbeat",
    },
];

pub(super) fn look(scene: &Scene, running: &[Process], findings: &mut Findings) {
    for program in &PROGRAMS {
        let mut named = Vec::new();
        let mut place = None;
        for file in program.files.iter().flat_map(|place| files(scene, place)) {
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
            for ip in lines.flat_map(addresses).map(|(ip, _)| ip).filter(|ip| scene.is_vip(*ip)) {
                place.get_or_insert_with(|| file.clone());
                if !named.contains(&ip) {
                    named.push(ip);
                }
            }
        }
        // ucarp takes its address as an argument.
        let processes: Vec<_> =
            running.iter().filter(|process| program.processes.contains(&process.name.as_str())).collect();
        for ip in
            processes.iter().flat_map(|p| &p.arguments).flat_map(|word| addresses(word)).map(|(ip, _)| ip)
        {
            if scene.is_vip(ip) && !named.contains(&ip) {
                named.push(ip);
            }
        }
        if named.is_empty() {
            continue;
        }
        let by = place.map(|file| format!(" ({})", shown(scene, &file))).unwrap_or_default();
        let remedy = format!("one program per address: {}", program.stop);
        if program.processes.iter().any(|name| runs(running, name)) {
            findings.error(
                Id::OtherFailover,
                format!("{} runs on this machine and moves {} too{by}", program.name, list(&named)),
                remedy,
            );
        } else {
            findings.warning(
                Id::OtherFailover,
                format!("{} would move {} too{by}; it does not run now", program.name, list(&named)),
                remedy,
            );
        }
    }
}

/// The path from the root.
pub(super) fn shown(scene: &Scene, file: &std::path::Path) -> String {
    let path = file.strip_prefix(&scene.root).unwrap_or(file);
    format!("/{}", path.display())
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Level;
    use super::super::super::scene::tests::{scene, write};
    use super::super::tests::process;
    use super::*;

    const KEEPALIVED: &str = "vrrp_instance web {\n  interface eth0\n  virtual_router_id 51\n  # 192.0.2.100\n  \
                              virtual_ipaddress {\n    192.0.2.100/24 dev eth0\n  }\n}\n";

    fn found(files: &[(&str, &str)], running: &[&[&str]]) -> Vec<(Level, String)> {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            write(root.path(), path, text);
        }
        for (id, line) in (10..).zip(running) {
            process(root.path(), id, 1, line[0], line);
        }
        let scene = scene(root.path());
        let mut findings = Findings::default();
        look(&scene, &super::super::processes(&scene), &mut findings);
        findings.0.into_iter().map(|f| (f.level, f.text)).collect()
    }

    #[test]
    fn keepalived_with_the_same_vip_is_named_with_its_file() {
        let file = ("/etc/keepalived/keepalived.conf", KEEPALIVED);
        let all = found(&[file], &[&["keepalived"]]);
        let text =
            "keepalived runs on this machine and moves 192.0.2.100 too (/etc/keepalived/keepalived.conf)";
        assert_eq!(all, [(Level::Error, text.to_owned())]);
        assert_eq!(found(&[file], &[])[0].0, Level::Warning);
        let other = KEEPALIVED.replace("192.0.2.100", "192.0.2.10");
        assert_eq!(found(&[(file.0, &other)], &[&["keepalived"]]), []);
        let comment = KEEPALIVED.replace("    192.0.2.100", "    192.0.2.10");
        assert_eq!(found(&[(file.0, &comment)], &[&["keepalived"]]), []);
    }

    #[test]
    fn ucarp_is_known_by_its_arguments() {
        let all = found(&[], &[&["ucarp", "-i", "eth0", "-s", "192.0.2.11", "-a", "192.0.2.100"]]);
        assert_eq!(all[0].0, Level::Error);
        let all = found(&[], &[&["ucarp", "--interface=eth0", "--addr=192.0.2.100"]]);
        assert_eq!(all[0].0, Level::Error);
    }

    /// The resource is as `pcs resource create` of Pacemaker 2.1 writes it.
    #[test]
    fn a_pacemaker_resource_is_found() {
        let cib = "<nvpair id=\"vip-instance_attributes-ip\" name=\"ip\" value=\"192.0.2.100\"/>\n";
        assert_eq!(found(&[("/var/lib/pacemaker/cib/cib.xml", cib)], &[&["pacemakerd"]])[0].0, Level::Error);
    }
}
