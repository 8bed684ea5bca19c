//! keepalived (VRRP), Debian's package.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vipdrift_lab::Traffic;

use super::Contender;
use crate::Result;
use crate::rig::{Rig, VIP};

/// IP protocol number of VRRP (RFC 5798).
const VRRP: u8 = 112;

pub(super) struct Keepalived {
    name: &'static str,
    configuration: &'static str,
    version: u8,
    interval: Duration,
    /// More lines of `global_defs`.
    global: &'static str,
}

impl Keepalived {
    pub(super) const FAST: Self = Self {
        name: "keepalived-10ms",
        configuration: "VRRPv3, adverts every 10 ms, real-time priority 50, second announcement after 1 s",
        version: 3,
        interval: Duration::from_millis(10),
        global: "    vrrp_garp_master_delay 1\n    vrrp_rt_priority 50\n    vrrp_rlimit_rttime 10000000\n    vrrp_no_swap\n",
    };
    pub(super) const DEFAULT: Self = Self {
        name: "keepalived",
        configuration: "VRRPv2, adverts every second",
        version: 2,
        interval: Duration::from_secs(1),
        global: "",
    };
}

impl Contender for Keepalived {
    fn name(&self) -> &'static str {
        self.name
    }

    fn configuration(&self) -> &'static str {
        self.configuration
    }

    fn command(&self, rig: &Rig, node: usize) -> Result<Command> {
        let folder = rig.folder(node)?;
        let place = |name: &str| folder.join(name).display().to_string();
        // The service is looked for as vipdrift does, by its process; this one has to be asked for by a script.
        let script = place("check.sh");
        std::fs::write(&script, format!("#!/bin/sh\nkill -0 \"$(cat '{}')\"\n", place("service.pid")))?;
        make_runnable(Path::new(&script))?;
        std::fs::write(place("maintenance"), "0\n")?;
        let text = format!(
            "global_defs {{\n    router_id node{node}\n    enable_script_security\n    script_user root\n    \
             vrrp_version {version}\n{global}}}\n\
             vrrp_script service {{\n    script \"{script}\"\n    interval 1\n    fall 1\n    rise 1\n}}\n\
             vrrp_track_file maintenance {{\n    file \"{maintenance}\"\n    weight 1\n}}\n\
             vrrp_instance VI_1 {{\n    state BACKUP\n    interface eth0\n    virtual_router_id 51\n    priority {priority}\n    \
             advert_int {interval}\n    virtual_ipaddress {{\n        {VIP}/24 dev eth0\n    }}\n    \
             track_file {{\n        maintenance\n    }}\n    track_script {{\n        service\n    }}\n}}\n",
            version = self.version,
            global = self.global,
            maintenance = place("maintenance"),
            priority = if node == 0 { 150 } else { 100 },
            interval = self.interval.as_secs_f64(),
        );
        let config = place("keepalived.conf");
        std::fs::write(&config, text)?;
        let mut command = Command::new("keepalived");
        command.args(["-n", "-l", "-G", "-f", &config]);
        command.args([
            "-p",
            &place("keepalived.pid"),
            "-r",
            &place("vrrp.pid"),
            "-c",
            &place("checkers.pid"),
        ]);
        Ok(command)
    }

    fn traffic(&self) -> Vec<Traffic> {
        vec![Traffic::Protocol(VRRP)]
    }

    fn period(&self) -> Duration {
        self.interval
    }

    fn settles(&self) -> Duration {
        // It announces once more 5 s after it has become the master, or 1 s.
        if self.global.is_empty() { Duration::from_secs(9) } else { Duration::from_secs(3) }
    }

    fn watch(&self) -> Duration {
        self.interval * 4 + Duration::from_secs(3)
    }

    /// Its priority falls below the other's.
    fn switch_over(&self, rig: &Rig, from: usize) -> Result<()> {
        Ok(std::fs::write(rig.folder(from)?.join("maintenance"), "-100\n")?)
    }

    fn switch_back(&self, rig: &Rig, from: usize) -> Result<()> {
        Ok(std::fs::write(rig.folder(from)?.join("maintenance"), "0\n")?)
    }
}

pub(super) fn make_runnable(file: &Path) -> Result<()> {
    Ok(std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o755))?)
}
