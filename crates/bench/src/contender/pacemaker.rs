//! Pacemaker on corosync, Debian's packages: a cluster stack, with an agent for the VIP and one for the service. Without fencing, as a
//! pair of machines has it that cannot switch each other's power.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use vipdrift_lab::Traffic;

use super::{Contender, keepalived};
use crate::Result;
use crate::rig::Rig;
use crate::shape::{Shape, VIP};

/// knet's port.
const COROSYNC: u16 = 5405;
/// User and group that its parts run as.
const ACCOUNT: u32 = 189;

/// An OCF agent that looks at the service by its process and neither starts nor stops it.
const AGENT: &str = r#"#!/bin/sh
case "$1" in
meta-data) cat <<'END'
<?xml version="1.0"?>
<resource-agent name="service" version="1.0"><version>1.1</version><longdesc lang="en">service</longdesc>
<shortdesc lang="en">service</shortdesc><parameters/><actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/>
<action name="monitor" interval="1s" timeout="20s" depth="0"/><action name="meta-data" timeout="5s"/></actions></resource-agent>
END
exit 0 ;;
start) touch /run/bench-service; exit 0 ;;
stop) rm -f /run/bench-service; exit 0 ;;
monitor)
  [ -e /run/bench-service ] || exit 7
  kill -0 "$(cat /run/bench-service.pid)" 2>/dev/null && exit 0
  exit 1 ;;
*) exit 3 ;;
esac
"#;

pub(super) struct Pacemaker;

impl Contender for Pacemaker {
    fn name(&self) -> &'static str {
        "pacemaker"
    }

    fn configuration(&self) -> &'static str {
        "corosync with a token of 1 s, its default; monitors every second; no fencing"
    }

    fn command(&self, rig: &Rig, node: usize) -> Result<Command> {
        let host = &rig.nodes[node];
        let folder = rig.folder(node)?;
        let layer = folder.join("layer");
        let agents = layer.join("lib/ocf/resource.d/bench");
        fs::create_dir_all(&agents)?;
        fs::write(agents.join("service"), AGENT)?;
        keepalived::make_runnable(&agents.join("service"))?;
        rig.show_unpacked(node, Some(&layer))?;
        let etc = host.private_etc()?;
        for (file, line) in [
            ("passwd", format!("hacluster:x:{ACCOUNT}:{ACCOUNT}::/var/lib/pacemaker:/usr/sbin/nologin\n")),
            ("group", format!("haclient:x:{ACCOUNT}:\n")),
        ] {
            let known = fs::read_to_string(etc.join(file))?;
            let name = line.split(':').next().unwrap_or_default().to_owned();
            if !known.contains(&format!("{name}:")) {
                fs::write(etc.join(file), known + &line)?;
            }
        }
        // Agents are scripts: `which` and `awk` are what these say.
        let alternatives = etc.join("alternatives");
        fs::create_dir_all(&alternatives)?;
        for name in ["which", "awk"] {
            let (from, to) = (Path::new("/etc/alternatives").join(name), alternatives.join(name));
            if let Ok(program) = fs::read_link(from)
                && !to.is_symlink()
            {
                std::os::unix::fs::symlink(program, to)?;
            }
        }
        fs::create_dir_all(etc.join("corosync"))?;
        fs::write(etc.join("corosync/corosync.conf"), corosync(rig))?;
        let state = folder.join("lib");
        for part in
            ["pacemaker/cib", "pacemaker/pengine", "pacemaker/blackbox", "pacemaker/cores", "corosync"]
        {
            fs::create_dir_all(state.join(part))?;
        }
        let cib = state.join("pacemaker/cib/cib.xml");
        if !cib.exists() {
            fs::write(&cib, resources())?;
        }
        give(&state.join("pacemaker"))?;
        let memory = folder.join("shm");
        fs::create_dir_all(&memory)?;
        fs::set_permissions(&memory, std::os::unix::fs::PermissionsExt::from_mode(0o1777))?;
        let logs = folder.join("log");
        fs::create_dir_all(logs.join("pacemaker"))?;
        give(&logs.join("pacemaker"))?;
        host.bind_directory(&state, Path::new("/var/lib"))?;
        host.bind_directory(&logs, Path::new("/var/log"))?;
        host.bind_directory(&memory, Path::new("/dev/shm"))?;
        let script = folder.join("pacemaker.sh");
        fs::write(
            &script,
            format!(
                "#!/bin/sh\nmkdir -p /run/crm /run/resource-agents /run/lock\nchown {ACCOUNT}:{ACCOUNT} /run/crm\n\
                 ln -sf '{0}/service.pid' /run/bench-service.pid\n\
                 corosync -f >'{0}/corosync.log' 2>&1 &\ntries=0\n\
                 until corosync-quorumtool >/dev/null 2>&1 || [ $tries -ge 100 ]; do sleep 0.1; tries=$((tries + 1)); done\n\
                 export PCMK_logfile='{0}/log/pacemaker.log' PCMK_stderr=1 PCMK_logpriority=notice\nexec pacemakerd -f\n",
                folder.display()
            ),
        )?;
        keepalived::make_runnable(&script)?;
        Ok(Command::new(script))
    }

    fn traffic(&self) -> Vec<Traffic> {
        vec![Traffic::Udp(COROSYNC)]
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn settles(&self) -> Duration {
        Duration::from_secs(8)
    }

    fn watch(&self) -> Duration {
        Duration::from_secs(8)
    }

    fn fits(&self, shape: &Shape) -> bool {
        shape.vips().eq([VIP])
    }

    /// The controller.
    fn decider(&self, rig: &Rig, node: usize) -> Result<i32> {
        let is_it = |pid: &i32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim().starts_with("pacemaker-contr")
        };
        rig.daemon_pids(node).into_iter().find(is_it).ok_or_else(|| "no pacemaker-controld".into())
    }

    fn switch_over(&self, rig: &Rig, from: usize) -> Result<()> {
        standby(rig, from, "on")
    }

    fn switch_back(&self, rig: &Rig, from: usize) -> Result<()> {
        standby(rig, from, "off")
    }
}

fn standby(rig: &Rig, node: usize, value: &str) -> Result<()> {
    let mut command = Command::new("crm_attribute");
    command.args(["--node", Shape::name(node), "--name", "standby", "--update", value]);
    let process = rig.nodes[node].spawn(command)?;
    match process.wait_output(Instant::now() + Duration::from_secs(10)) {
        Some(status) if status.success() => Ok(()),
        _ => Err(format!("crm_attribute: {}", process.output()).into()),
    }
}

fn corosync(rig: &Rig) -> String {
    let mut text = String::from(
        "totem {\n  version: 2\n  cluster_name: bench\n  transport: knet\n  crypto_cipher: none\n  crypto_hash: none\n}\n\
         quorum {\n  provider: corosync_votequorum\n  two_node: 1\n  wait_for_all: 0\n}\n\
         logging {\n  to_stderr: yes\n  to_logfile: no\n  to_syslog: no\n}\nnodelist {\n",
    );
    for node in 0..rig.shape.nodes {
        let _ = write!(
            text,
            "  node {{\n    ring0_addr: 192.0.2.{}\n    nodeid: {}\n    name: {}\n  }}\n",
            11 + node,
            1 + node,
            Shape::name(node)
        );
    }
    text + "}\n"
}

/// The cluster information base with which both nodes begin.
fn resources() -> String {
    format!(
        r#"<cib validate-with="pacemaker-3.0" admin_epoch="1" epoch="1" num_updates="0"><configuration><crm_config>
<cluster_property_set id="options"><nvpair id="o1" name="stonith-enabled" value="false"/><nvpair id="o2" name="no-quorum-policy" value="ignore"/>
<nvpair id="o3" name="dc-deadtime" value="2s"/></cluster_property_set></crm_config><nodes/><resources><group id="web">
<primitive id="service" class="ocf" provider="bench" type="service"><operations><op id="m1" name="monitor" interval="1s" timeout="20s"/></operations>
<meta_attributes id="t1"><nvpair id="t1a" name="migration-threshold" value="1"/><nvpair id="t1b" name="failure-timeout" value="3s"/></meta_attributes></primitive>
<primitive id="vip" class="ocf" provider="heartbeat" type="IPaddr2"><instance_attributes id="i1"><nvpair id="i1a" name="ip" value="{VIP}"/>
<nvpair id="i1b" name="cidr_netmask" value="24"/><nvpair id="i1c" name="nic" value="eth0"/></instance_attributes>
<operations><op id="m2" name="monitor" interval="1s" timeout="20s"/></operations></primitive></group></resources>
<constraints><rsc_location id="l1" rsc="web" node="{}" score="100"/></constraints></configuration><status/></cib>
"#,
        Shape::name(0)
    )
}

/// To the account, with everything below.
fn give(place: &Path) -> Result<()> {
    std::os::unix::fs::chown(place, Some(ACCOUNT), Some(ACCOUNT))?;
    if place.is_dir() {
        for entry in fs::read_dir(place)? {
            give(&entry?.path())?;
        }
    }
    Ok(())
}
