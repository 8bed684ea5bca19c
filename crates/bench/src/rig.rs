//! Two nodes, a client and a gateway on one LAN, and a contender on the nodes.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use vipdrift_lab::{Host, Lab, Process, Signal};

use crate::Result;
use crate::contender::Contender;

/// The VIP.
pub(crate) const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
/// Names of the nodes; the first is to hold the VIP.
pub(crate) const NODES: [&str; 2] = ["alpha", "bravo"];
/// Longest wait for anything that a contender should do at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Rig {
    pub(crate) lab: Lab,
    pub(crate) nodes: [Host; 2],
    pub(crate) client: Host,
    pub(crate) vipdrift: PathBuf,
    contender: &'static dyn Contender,
    daemons: [Option<Process>; 2],
    services: [Option<Process>; 2],
    folder: tempfile::TempDir,
}

impl Rig {
    /// Builds the LAN and starts the contender on both nodes, the first one first: it holds the VIP, and everything has been
    /// quiet for as long as the contender needs, and up to one of its periods more, so that no fault is in step with it.
    ///
    /// # Errors
    /// The lab's, or the first node does not get the VIP.
    pub(crate) fn new(vipdrift: &Path, contender: &'static dyn Contender) -> Result<Self> {
        let lab = Lab::new()?;
        let folder = tempfile::tempdir()?;
        // A daemon that gives up root must still reach its files.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let _gateway = lab.host("gateway", &["192.0.2.1/24"])?;
        let client = lab.host("client", &["192.0.2.50/24"])?;
        let mut nodes = Vec::new();
        for (index, name) in NODES.iter().enumerate() {
            let host = lab.host(name, &[&format!("192.0.2.{}/24", 11 + index)])?;
            host.add_route("0.0.0.0/0", "192.0.2.1")?;
            nodes.push(host);
        }
        let nodes: [Host; 2] = nodes.try_into().map_err(|_| "two nodes")?;
        let vipdrift = vipdrift.to_owned();
        let (daemons, services) = Default::default();
        let mut rig = Self { lab, nodes, client, vipdrift, contender, daemons, services, folder };
        for node in 0..2 {
            rig.start_service(node)?;
        }
        rig.start(0)?;
        rig.wait_holder(0)?;
        rig.start(1)?;
        std::thread::sleep(contender.settles() + contender.period().mul_f64(random()));
        rig.wait_holder(0)?;
        Ok(rig)
    }

    /// Files of a node.
    pub(crate) fn folder(&self, node: usize) -> Result<PathBuf> {
        let folder = self.folder.path().join(NODES[node]);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    pub(crate) fn start(&mut self, node: usize) -> Result<()> {
        let command = self.contender.command(self, node)?;
        self.daemons[node] = Some(self.nodes[node].spawn(command)?);
        Ok(())
    }

    /// The process that was started.
    pub(crate) fn daemon(&self, node: usize) -> Result<&Process> {
        self.daemons[node].as_ref().ok_or_else(|| "no daemon".into())
    }

    /// The service behind the VIP.
    pub(crate) fn start_service(&mut self, node: usize) -> Result<()> {
        self.nodes[node].stop_service();
        let mut command = Command::new(&self.vipdrift);
        command.arg("demo-service").arg(NODES[node]);
        let process = self.nodes[node].spawn(command)?;
        std::fs::write(self.folder(node)?.join("service.pid"), format!("{}\n", process.pid()))?;
        self.services[node] = Some(process);
        Ok(())
    }

    pub(crate) fn service(&self, node: usize) -> Result<&Process> {
        self.services[node].as_ref().ok_or_else(|| "no service".into())
    }

    /// All processes of the contender on a node.
    pub(crate) fn daemon_pids(&self, node: usize) -> Vec<i32> {
        let service = self.services[node].as_ref().map(Process::pid);
        self.nodes[node].processes().into_iter().filter(|pid| Some(*pid) != service).collect()
    }

    /// Signals all of them.
    pub(crate) fn signal_all(&self, node: usize, signal: Signal) {
        for pid in self.daemon_pids(node) {
            // One may have ended with another.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
        }
    }

    /// Waits until exactly this node has the VIP.
    pub(crate) fn wait_holder(&self, node: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        if self.lab.observer().wait_holders(VIP, &[NODES[node]], deadline) {
            return Ok(());
        }
        let said: Vec<String> = self.daemons.iter().flatten().map(Process::output).collect();
        let holders = self.lab.observer().holders(VIP);
        Err(format!("{} has not the VIP, but {holders:?}\n{}", NODES[node], said.join("\n--\n")).into())
    }
}

/// From 0 to 1.
fn random() -> f64 {
    let number = RandomState::new().build_hasher().finish() >> 11;
    number as f64 / (1u64 << 53) as f64
}
