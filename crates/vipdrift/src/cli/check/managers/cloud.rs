//! Clouds, whose networks deliver an address to the machine that it was assigned to, and their agents, which configure
//! assigned addresses.

use super::super::finding::{Findings, Id};
use super::super::scene::{Scene, list};
use super::{Process, runs, values};

pub(super) fn look(scene: &Scene, running: &[Process], findings: &mut Findings) {
    network(scene, findings);
    google(scene, running, findings);
    amazon(scene, findings);
}

/// Which cloud this is, by what its hypervisor says of itself (SMBIOS), and how an address is moved there.
fn network(scene: &Scene, findings: &mut Findings) {
    let word =
        |name: &str| scene.read(format!("/sys/class/dmi/id/{name}")).unwrap_or_default().trim().to_owned();
    let (vendor, tag) = (word("sys_vendor"), word("chassis_asset_tag"));
    let (cloud, how) = if vendor == "Amazon EC2" {
        ("Amazon EC2", "aws ec2 assign-private-ip-addresses --allow-reassignment")
    } else if vendor == "Google" {
        ("Google Compute Engine", "gcloud compute instances network-interfaces update --aliases")
    } else if tag == "7783-7084-3265-9085-8269-3286-77" {
        ("Microsoft Azure", "az network nic ip-config create")
    } else if vendor == "Hetzner" {
        ("Hetzner Cloud", "hcloud floating-ip assign, or hcloud server change-alias-ips")
    } else {
        return;
    };
    findings.warning(
        Id::CloudNetwork,
        format!(
            "this is a machine of {cloud}: its network ignores who announces an address, and delivers it to the machine that \
             it is assigned to"
        ),
        format!("move the assignment as well, in the `active` hook of [group.hooks]: {how}"),
    );
}

/// google-guest-agent makes a local route for every forwarded and alias address of the instance
/// (`README.md` of GoogleCloudPlatform/guest-agent).
fn google(scene: &Scene, running: &[Process], findings: &mut Findings) {
    if !["google_guest_agent", "google-guest-agent"].iter().any(|name| runs(running, name)) {
        return;
    }
    let file = "/etc/default/instance_configs.cfg";
    let text = scene.read(file).unwrap_or_default();
    let off = |section: &str, key: &str| values(&text, section, key).last() == Some(&"false");
    if off("NetworkInterfaces", "ip_forwarding") || off("Daemons", "network_daemon") {
        return;
    }
    findings.warning(
        Id::CloudAgent,
        "google-guest-agent makes addresses of forwarding rules and alias addresses local to this machine: a VIP that is \
         one of them is answered by every node at once",
        format!(
            "in {file}:\n[NetworkInterfaces]\nip_forwarding = false\nthen: systemctl restart google-guest-agent; ip route flush \
             table local proto 66"
        ),
    );
}

/// amazon-ec2-net-utils writes every secondary address of the interface into a drop-in for systemd-networkd, and looks for
/// new ones by a timer (its `lib/lib.sh`).
fn amazon(scene: &Scene, findings: &mut Findings) {
    for carrier in scene.carriers() {
        let name = carrier.name();
        let text = scene.read(format!("/run/systemd/network/70-{name}.network.d/ec2net_alias.conf"));
        let text = text.unwrap_or_default();
        let written: Vec<_> = values(&text, "Address", "Address")
            .into_iter()
            .filter_map(|address| address.split('/').next()?.parse().ok())
            .filter(|ip| scene.is_vip(*ip))
            .collect();
        if !written.is_empty() {
            findings.error(
                Id::CloudAgent,
                format!(
                    "amazon-ec2-net-utils configures {} on {name}, since it is assigned to this machine",
                    list(&written)
                ),
                format!(
                    "systemctl disable --now refresh-policy-routes@{name}.timer\n\
                     rm /run/systemd/network/70-{name}.network.d/ec2net_alias.conf\nnetworkctl reload"
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Level;
    use super::super::super::scene::tests::{scene, write};
    use super::super::tests::process;
    use super::*;

    fn found(files: &[(&str, &str)], agent: bool) -> Vec<(Level, Id, String)> {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            write(root.path(), path, text);
        }
        if agent {
            process(root.path(), 9, 1, "google_guest_ag", &["/usr/bin/google_guest_agent"]);
        }
        let scene = scene(root.path());
        let mut findings = Findings::default();
        look(&scene, &super::super::processes(&scene), &mut findings);
        findings.0.into_iter().map(|f| (f.level, f.id, f.text)).collect()
    }

    #[test]
    fn a_cloud_is_named_by_what_it_says_of_itself() {
        assert_eq!(found(&[("/sys/class/dmi/id/sys_vendor", "QEMU\n")], false), []);
        let all = found(&[("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n")], false);
        assert!(
            all[0].0 == Level::Warning && all[0].1 == Id::CloudNetwork && all[0].2.contains("Amazon EC2")
        );
        let azure = ("/sys/class/dmi/id/chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77\n");
        assert!(found(&[azure], false)[0].2.contains("Azure"));
    }

    #[test]
    fn an_agent_that_is_told_to_leave_addresses_alone_is_well() {
        assert_eq!(found(&[], true)[0].1, Id::CloudAgent);
        let off = "[NetworkInterfaces]\nip_forwarding = false\nsetup = true\n";
        assert_eq!(found(&[("/etc/default/instance_configs.cfg", off)], true), []);
    }

    /// The drop-in is as `create_ipv4_aliases` of amazon-ec2-net-utils 2 writes it.
    #[test]
    fn an_assigned_vip_is_an_error() {
        let file = "/run/systemd/network/70-eth0.network.d/ec2net_alias.conf";
        let with = |address: &str| format!("[Address]\nAddress={address}/32\nAddPrefixRoute=false\n");
        assert_eq!(found(&[(file, &with("192.0.2.99"))], false), []);
        assert_eq!(found(&[(file, &with("192.0.2.100"))], false)[0].0, Level::Error);
    }
}
