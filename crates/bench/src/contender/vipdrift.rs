//! vipdrift.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use vipdrift_lab::Traffic;

use super::Contender;
use crate::Result;
use crate::figures::Lateness;
use crate::rig::Rig;
use crate::shape::{Shape, with_prefix};

pub(super) struct Vipdrift {
    name: &'static str,
    configuration: &'static str,
    /// `None`: as it comes.
    heartbeat: Option<Duration>,
    /// It may run at real-time priority.
    real_time: bool,
}

const fn ms(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

impl Vipdrift {
    pub(super) const FAST: Self = Self {
        name: "vipdrift-10ms",
        configuration: "heartbeat 10 ms, hitless switchover",
        heartbeat: ms(10),
        real_time: true,
    };
    pub(super) const DEFAULT: Self = Self {
        name: "vipdrift",
        configuration: "defaults, hitless switchover",
        heartbeat: None,
        ..Self::FAST
    };
    pub(super) const FASTEST: Self = Self {
        name: "vipdrift-5ms",
        configuration: "heartbeat 5 ms, the shortest",
        heartbeat: ms(5),
        ..Self::FAST
    };
    pub(super) const CALM: Self =
        Self { name: "vipdrift-20ms", configuration: "heartbeat 20 ms", heartbeat: ms(20), ..Self::FAST };
    pub(super) const FAST_ORDINARY: Self = Self {
        name: "vipdrift-10ms-ordinary",
        configuration: "heartbeat 10 ms, real-time priority refused",
        real_time: false,
        ..Self::FAST
    };
    pub(super) const FASTEST_ORDINARY: Self = Self {
        name: "vipdrift-5ms-ordinary",
        configuration: "heartbeat 5 ms, real-time priority refused",
        real_time: false,
        ..Self::FASTEST
    };
    pub(super) const CALM_ORDINARY: Self = Self {
        name: "vipdrift-20ms-ordinary",
        configuration: "heartbeat 20 ms, real-time priority refused",
        real_time: false,
        ..Self::CALM
    };
}

impl Contender for Vipdrift {
    fn name(&self) -> &'static str {
        self.name
    }

    fn configuration(&self) -> &'static str {
        self.configuration
    }

    fn command(&self, rig: &Rig, node: usize) -> Result<Command> {
        let folder = rig.folder(node)?;
        let heartbeat = self
            .heartbeat
            .map_or_else(String::new, |pace| format!("heartbeat = \"{}ms\"\n", pace.as_millis()));
        let nodes: String = (0..rig.shape.nodes)
            .map(|node| {
                let (name, number) = (Shape::name(node), 11 + node);
                format!("[[node]]\nname = \"{name}\"\naddresses = [\"192.0.2.{number}\"]\n\n")
            })
            .collect();
        let mut groups = String::new();
        for group in &rig.shape.groups {
            let quoted = |names: Vec<String>| {
                names.into_iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
            };
            let vips = quoted(group.vips.iter().copied().map(with_prefix).collect());
            let order = quoted(group.order.iter().map(|&node| Shape::name(node).to_owned()).collect());
            let _ = write!(
                groups,
                "[[group]]\nname = \"{}\"\ninterface = \"eth0\"\nvips = [{vips}]\nprefer = [{order}]\n\
                 switchover = \"hitless\"\n\n",
                group.name
            );
            if rig.shape.checked {
                let pid = folder.join("service.pid");
                let _ = write!(
                    groups,
                    "[[group.check]]\nname = \"service\"\nprocess = \"{}\"\n\n",
                    pid.display()
                );
            }
        }
        let text = format!(
            "[cluster]\nname = \"bench\"\nkey = \"00112233445566778899aabbccddeeff\"\n{heartbeat}\n{nodes}{groups}\
             [control]\nsocket = \"{}/control.sock\"\n",
            folder.display()
        );
        let config = folder.join("vipdrift.toml");
        std::fs::write(&config, text)?;
        let mut command = if self.real_time {
            Command::new(&rig.vipdrift)
        } else {
            // setpriv(1): neither the permission nor the one to get it.
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set", "-sys_nice,-sys_resource"]).arg(&rig.vipdrift);
            command
        };
        command.arg("run").arg("--config").arg(config).arg("--node").arg(Shape::name(node));
        command.arg("--state-dir").arg(&folder);
        Ok(command)
    }

    fn traffic(&self) -> Vec<Traffic> {
        vec![Traffic::Udp(vipdrift_lab::HEARTBEAT_PORT)]
    }

    fn period(&self) -> Duration {
        self.heartbeat.unwrap_or(Duration::from_millis(100))
    }

    fn settles(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn watch(&self) -> Duration {
        // A lease, and what follows.
        Duration::from_secs(4)
    }

    fn decider(&self, rig: &Rig, node: usize) -> Result<i32> {
        let brain = status(rig, node)?.pointer("/daemon/brain_pid").and_then(serde_json::Value::as_i64);
        Ok(i32::try_from(brain.ok_or("no brain")?)?)
    }

    fn lateness(&self, rig: &Rig, node: usize) -> Result<Option<Lateness>> {
        let status = status(rig, node)?;
        let number = |place: &str| status.pointer(place).and_then(serde_json::Value::as_f64);
        let lateness = || {
            Some(Lateness {
                late: number("/counters/late")?,
                wakeups: number("/daemon/lateness/wakeups")?,
                half: number("/daemon/lateness/p50_us")?,
                most_of_all: number("/daemon/lateness/p999_us")?,
                worst: number("/daemon/lateness/max_us")?,
            })
        };
        lateness().map(Some).ok_or_else(|| format!("no lateness in {status}").into())
    }

    fn switch_over(&self, rig: &Rig, from: usize) -> Result<()> {
        let mut command = Command::new(&rig.vipdrift);
        command.args(["switchover", "web", "--socket"]).arg(rig.folder(from)?.join("control.sock"));
        let process = rig.nodes[from].spawn(command)?;
        let ended = process.wait_output(std::time::Instant::now() + Duration::from_secs(10));
        match ended {
            Some(status) if status.success() => Ok(()),
            _ => Err(format!("switchover: {}", process.output()).into()),
        }
    }
}

fn status(rig: &Rig, node: usize) -> Result<serde_json::Value> {
    let mut command = Command::new(&rig.vipdrift);
    command.args(["status", "--json", "--socket"]).arg(rig.folder(node)?.join("control.sock"));
    let process = rig.nodes[node].spawn(command)?;
    process.wait_output(std::time::Instant::now() + Duration::from_secs(10));
    Ok(serde_json::from_str(&process.output())?)
}
