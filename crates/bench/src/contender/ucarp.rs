//! ucarp (CARP), Debian's package.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vipdrift_lab::{Signal, Traffic};

use super::{Contender, keepalived};
use crate::Result;
use crate::fault::Fault;
use crate::rig::Rig;
use crate::shape::{Shape, VIP};

/// CARP shares the IP protocol number of VRRP.
const CARP: u8 = 112;

/// At its fastest: below one second it elects two masters.
pub(super) struct Ucarp;

impl Contender for Ucarp {
    fn name(&self) -> &'static str {
        "ucarp"
    }

    fn configuration(&self) -> &'static str {
        "-b 1 -r 1, its fastest"
    }

    fn command(&self, rig: &Rig, node: usize) -> Result<Command> {
        let folder = rig.folder(node)?;
        let script = |verb: &str| -> Result<String> {
            let path = folder.join(format!("{verb}.sh"));
            std::fs::write(&path, format!("#!/bin/sh\nexec ip address {verb} {VIP}/24 dev eth0\n"))?;
            keepalived::make_runnable(Path::new(&path))?;
            Ok(path.display().to_string())
        };
        let (up, down) = (script("add")?, script("delete")?);
        let mut command = Command::new("ucarp");
        command.args(["-i", "eth0", "-s", &format!("192.0.2.{}", 11 + node), "-v", "51", "-p", "bench"]);
        command.args(["-a", &VIP.to_string(), "-u", &up, "-d", &down, "-b", "1", "-r", "1", "-z"]);
        if node == 0 {
            command.args(["-k", "1", "-P"]);
        } else {
            command.args(["-k", "50"]);
        }
        Ok(command)
    }

    fn traffic(&self) -> Vec<Traffic> {
        vec![Traffic::Protocol(CARP)]
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn settles(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn watch(&self) -> Duration {
        Duration::from_secs(6)
    }

    /// It looks at no service.
    fn answers(&self, fault: Fault) -> bool {
        fault != Fault::ServiceFailed
    }

    /// A process for each VIP.
    fn fits(&self, shape: &Shape) -> bool {
        shape.vips().count() == 1
    }

    /// ucarp(8): "USR2: demote".
    fn switch_over(&self, rig: &Rig, from: usize) -> Result<()> {
        Ok(rig.daemon(from)?.kill(Signal::SIGUSR2)?)
    }
}
