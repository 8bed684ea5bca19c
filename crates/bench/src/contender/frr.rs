//! FRR's vrrpd (VRRP), Debian's package.
//!
//! The address is on an interface of its own on every node, always; the backup's has no carrier. So it cannot be said whose the
//! address is but by who answers.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use vipdrift_lab::Traffic;

use super::{Contender, keepalived};
use crate::Result;
use crate::fault::Fault;
use crate::rig::Rig;
use crate::shape::{Shape, VIP, with_prefix};

/// IP protocol number of VRRP (RFC 5798).
const VRRP: u8 = 112;
/// What the manual asks for: neither interface answers for the other's addresses.
const KERNEL: [(&str, &str); 5] = [
    ("net/ipv4/conf/all/arp_ignore", "1"),
    ("net/ipv4/conf/all/arp_announce", "2"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/eth0/rp_filter", "0"),
    ("net/ipv4/conf/all/ignore_routes_with_linkdown", "1"),
];

pub(super) struct Frr;

impl Contender for Frr {
    fn name(&self) -> &'static str {
        "frr-10ms"
    }

    fn configuration(&self) -> &'static str {
        "vrrpd, VRRPv3, adverts every 10 ms, priorities 150 and 100, macvlan as its manual has it"
    }

    fn command(&self, rig: &Rig, node: usize) -> Result<Command> {
        let host = &rig.nodes[node];
        rig.show_unpacked(node, None)?;
        let etc = host.private_etc()?;
        let groups = std::fs::read_to_string(etc.join("group"))?;
        if !groups.contains("frrvty") {
            std::fs::write(etc.join("group"), groups + "frrvty:x:989:root\n")?;
        }
        // What vtysh(1) wants to find.
        std::fs::create_dir_all(etc.join("frr"))?;
        std::fs::write(etc.join("frr/vtysh.conf"), "no service integrated-vtysh-config\n")?;
        std::fs::create_dir_all(etc.join("pam.d"))?;
        std::fs::write(
            etc.join("pam.d/frr"),
            "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n",
        )?;
        // Its logs of crashes go there.
        let scratch = rig.folder(node)?.join("tmp");
        std::fs::create_dir_all(&scratch)?;
        host.bind_directory(&scratch, Path::new("/var/tmp"))?;
        for (setting, value) in KERNEL {
            host.set_kernel(setting, value)?;
        }
        let folder = rig.folder(node)?;
        std::fs::write(folder.join("zebra.conf"), "")?;
        let priority = if node == 0 { 150 } else { 100 };
        std::fs::write(folder.join("vrrpd.conf"), "")?;
        std::fs::write(
            folder.join("frr.conf"),
            format!(
                "interface eth0\n vrrp 51 version 3\n vrrp 51 priority {priority}\n vrrp 51 advertisement-interval 10\n \
                 vrrp 51 ip {VIP}\n"
            ),
        )?;
        let script = folder.join("frr.sh");
        std::fs::write(
            &script,
            format!(
                "#!/bin/sh\nset -e\nmkdir -p /run/frr\nif ! ip link show vrrp4 >/dev/null 2>&1; then\n  \
                 ip link add vrrp4 link eth0 type macvlan mode bridge\n  \
                 ip link set vrrp4 address 00:00:5e:00:01:33\n  ip address add {vip} dev vrrp4\nfi\nip link set vrrp4 up\n\
                 await() {{\n  tries=0\n  until [ -S \"/run/frr/$1\" ] || [ $tries -ge 100 ]; do\n    sleep 0.05\n    \
                 tries=$((tries + 1))\n  done\n  sleep 0.3\n}}\nrm -f /run/frr/vrrpd.vty\n\
                 if ! kill -0 \"$(cat {0}/zebra.pid)\" 2>/dev/null; then\n  rm -f /run/frr/zserv.api\n  \
                 /usr/lib/frr/zebra -d -u root -g root -A 127.0.0.1 -P 0 -f {0}/zebra.conf -i {0}/zebra.pid\nfi\n\
                 await zserv.api\n(await vrrpd.vty; vtysh -d vrrpd -f {0}/frr.conf) &\n\
                 exec /usr/lib/frr/vrrpd -u root -g root -A 127.0.0.1 -P 0 -f {0}/vrrpd.conf -i {0}/vrrpd.pid\n",
                folder.display(),
                vip = with_prefix(VIP),
            ),
        )?;
        keepalived::make_runnable(Path::new(&script))?;
        Ok(Command::new(script))
    }

    fn traffic(&self) -> Vec<Traffic> {
        vec![Traffic::Protocol(VRRP)]
    }

    fn period(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn settles(&self) -> Duration {
        Duration::from_secs(3)
    }

    fn watch(&self) -> Duration {
        Duration::from_secs(3)
    }

    fn is_on_all(&self) -> bool {
        true
    }

    /// It looks at no service.
    fn answers(&self, fault: Fault) -> bool {
        fault != Fault::ServiceFailed
    }

    fn fits(&self, shape: &Shape) -> bool {
        shape.vips().eq([VIP])
    }

    /// Its priority falls below the other's.
    fn switch_over(&self, rig: &Rig, from: usize) -> Result<()> {
        set_priority(rig, from, 50)
    }

    fn switch_back(&self, rig: &Rig, from: usize) -> Result<()> {
        set_priority(rig, from, 150)
    }
}

fn set_priority(rig: &Rig, node: usize, priority: u8) -> Result<()> {
    let mut command = Command::new("/usr/bin/vtysh");
    command.args(["-d", "vrrpd", "-c", "configure terminal", "-c", "interface eth0", "-c"]);
    command.arg(format!("vrrp 51 priority {priority}"));
    let process = rig.nodes[node].spawn(command)?;
    match process.wait_output(Instant::now() + Duration::from_secs(10)) {
        Some(status) if status.success() => Ok(()),
        _ => Err(format!("vtysh: {}", process.output()).into()),
    }
}
