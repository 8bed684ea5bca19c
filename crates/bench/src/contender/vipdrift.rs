//! vipdrift.

use std::process::Command;
use std::time::Duration;

use vipdrift_lab::Traffic;

use super::Contender;
use crate::Result;
use crate::rig::{NODES, Rig, VIP};

pub(super) struct Vipdrift {
    name: &'static str,
    configuration: &'static str,
    /// `None`: as it comes.
    heartbeat: Option<Duration>,
}

impl Vipdrift {
    pub(super) const FAST: Self = Self {
        name: "vipdrift-10ms",
        configuration: "heartbeat 10 ms, hitless switchover",
        heartbeat: Some(Duration::from_millis(10)),
    };
    pub(super) const DEFAULT: Self =
        Self { name: "vipdrift", configuration: "defaults, hitless switchover", heartbeat: None };
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
        let nodes: String = NODES
            .iter()
            .enumerate()
            .map(|(index, name)| {
                format!("[[node]]\nname = \"{name}\"\naddresses = [\"192.0.2.{}\"]\n\n", 11 + index)
            })
            .collect();
        let text = format!(
            "[cluster]\nname = \"bench\"\nkey = \"00112233445566778899aabbccddeeff\"\n{heartbeat}\n{nodes}\
             [[group]]\nname = \"web\"\ninterface = \"eth0\"\nvips = [\"{VIP}/24\"]\nswitchover = \"hitless\"\n\n\
             [[group.check]]\nname = \"service\"\nprocess = \"{0}/service.pid\"\n\n\
             [control]\nsocket = \"{0}/control.sock\"\nhttp = \"off\"\n",
            folder.display()
        );
        let config = folder.join("vipdrift.toml");
        std::fs::write(&config, text)?;
        let mut command = Command::new(&rig.vipdrift);
        command.arg("run").arg("--config").arg(config).arg("--node").arg(NODES[node]);
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
