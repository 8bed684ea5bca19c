//! keepalived (VRRP), Debian's package.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vipdrift_lab::Traffic;

use super::Contender;
use crate::Result;
use crate::rig::Rig;
use crate::shape::{Shape, with_prefix};

/// IP protocol number of VRRP (RFC 5798).
const VRRP: u8 = 112;

/// What makes it so in `global_defs`.
const FAST: &str = "    vrrp_garp_master_delay 1\n    vrrp_rt_priority 50\n    vrrp_rlimit_rttime 10000000\n    vrrp_no_swap\n";

pub(super) struct Keepalived {
    name: &'static str,
    configuration: &'static str,
    version: u8,
    interval: Duration,
    /// Of the node that is to have the VIPs.
    priority: usize,
    /// Of all others, less their place after it. The lower, the longer they wait when they are told to take over.
    others: usize,
    /// More lines of `global_defs`.
    global: &'static str,
}

impl Keepalived {
    pub(super) const FAST: Self = Self {
        name: "keepalived-10ms",
        configuration: "VRRPv3, adverts every 10 ms, real-time priority 50, second announcement after 1 s, priorities 150 and 100",
        version: 3,
        interval: Duration::from_millis(10),
        priority: 150,
        others: 101,
        global: FAST,
    };
    pub(super) const FASTEST: Self = Self {
        name: "keepalived-10ms-253",
        configuration: "the same with the priorities 254 and 253: a backup waits least of all after a resignation",
        priority: 254,
        others: 254,
        ..Self::FAST
    };
    pub(super) const FAST_ORDINARY: Self = Self {
        name: "keepalived-10ms-ordinary",
        configuration: "adverts every 10 ms, no real-time priority",
        global: "",
        ..Self::FAST
    };
    pub(super) const TENTH: Self = Self {
        name: "keepalived-100ms",
        configuration: "the same with adverts every 100 ms",
        interval: Duration::from_millis(100),
        ..Self::FAST
    };
    pub(super) const DEFAULT: Self = Self {
        name: "keepalived",
        configuration: "VRRPv2, adverts every second, priorities 150 and 100",
        version: 2,
        interval: Duration::from_secs(1),
        priority: 150,
        others: 101,
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
        let mut text = format!(
            "global_defs {{\n    router_id node{node}\n    enable_script_security\n    script_user root\n    \
             vrrp_version {}\n{}}}\n",
            self.version, self.global,
        );
        let mut tracked = String::new();
        if rig.shape.checked {
            // The service is looked for as vipdrift does, by its process; this one has to be asked for by a script.
            let script = place("check.sh");
            std::fs::write(&script, format!("#!/bin/sh\nkill -0 \"$(cat '{}')\"\n", place("service.pid")))?;
            make_runnable(Path::new(&script))?;
            std::fs::write(place("maintenance"), "0\n")?;
            let _ = write!(
                text,
                "vrrp_script service {{\n    script \"{script}\"\n    interval 1\n    fall 1\n    rise 1\n}}\n\
                 vrrp_track_file maintenance {{\n    file \"{}\"\n    weight 1\n}}\n",
                place("maintenance"),
            );
            tracked +=
                "    track_file {\n        maintenance\n    }\n    track_script {\n        service\n    }\n";
        }
        for (number, group) in rig.shape.groups.iter().enumerate() {
            let turn = group.order.iter().position(|&other| other == node).unwrap_or_default();
            // An advert has room for twenty; the others are moved with them and not named.
            let vips = |vips: &[IpAddr]| -> String {
                vips.iter().map(|vip| format!("        {} dev eth0\n", with_prefix(*vip))).collect()
            };
            let (named, more) = group.vips.split_at(group.vips.len().min(20));
            let more = if more.is_empty() {
                String::new()
            } else {
                format!("    virtual_ipaddress_excluded {{\n{}    }}\n", vips(more))
            };
            let _ = write!(
                text,
                "vrrp_instance {} {{\n    state BACKUP\n    interface eth0\n    virtual_router_id {}\n    priority {}\n    \
                 advert_int {}\n    virtual_ipaddress {{\n{}    }}\n{more}{tracked}}}\n",
                group.name,
                1 + number,
                if turn == 0 { self.priority } else { self.others - turn },
                self.interval.as_secs_f64(),
                vips(named),
            );
        }
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

    /// A virtual router has a number of one byte.
    fn fits(&self, shape: &Shape) -> bool {
        shape.groups.len() <= 255
    }

    /// The child that speaks VRRP.
    fn decider(&self, rig: &Rig, node: usize) -> Result<i32> {
        Ok(std::fs::read_to_string(rig.folder(node)?.join("vrrp.pid"))?.trim().parse()?)
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
