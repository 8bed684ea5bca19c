//! Nodes, a client and a gateway on one LAN, and a contender on the nodes.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use vipdrift_lab::{Change, Host, Lab, Process, SERVICE_PORT, Signal};

use crate::Result;
use crate::contender::Contender;
use crate::shape::{Shape, VIP, with_prefix};

/// What a daemon has said last, in lines, where a run goes wrong.
const LINES: usize = 15;

/// Longest wait for anything that a contender should do at once.
const PATIENCE: Duration = Duration::from_secs(40);

/// What follows the start of very many VIPs, such as second and third announcements, is over by then.
const BEGINNING: Duration = Duration::from_secs(6);

/// Where packages are that were unpacked and not installed, with `usr` and the like below.
const UNPACKED: &str = "VIPDRIFT_BENCH_UNPACKED";

/// The client's addresses.
pub(crate) const CLIENT: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 50), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50));

/// See the module.
pub(crate) struct Rig {
    pub(crate) lab: Lab,
    pub(crate) nodes: Vec<Host>,
    pub(crate) client: Host,
    pub(crate) vipdrift: PathBuf,
    pub(crate) shape: Shape,
    contender: &'static dyn Contender,
    daemons: Vec<Option<Process>>,
    services: Vec<Option<Process>>,
    folder: tempfile::TempDir,
}

impl Rig {
    /// Builds the LAN, and the service on every node. No daemon runs.
    pub(crate) fn build(vipdrift: &Path, contender: &'static dyn Contender, shape: Shape) -> Result<Self> {
        let lab = Lab::new()?;
        let folder = tempfile::tempdir()?;
        // A daemon that gives up root must still reach its files.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let _gateway = lab.host("gateway", &["192.0.2.1/24", "2001:db8::1/64"])?;
        let client = lab.host("client", &[&with_prefix(CLIENT.0.into()), &with_prefix(CLIENT.1.into())])?;
        let mut nodes = Vec::new();
        for node in 0..shape.nodes {
            let number = 11 + node;
            let host = lab.host(
                Shape::name(node),
                &[&format!("192.0.2.{number}/24"), &format!("2001:db8::{number}/64")],
            )?;
            host.add_route("0.0.0.0/0", "192.0.2.1")?;
            nodes.push(host);
        }
        let none = || (0..shape.nodes).map(|_| None).collect();
        let (daemons, services) = (none(), none());
        let vipdrift = vipdrift.to_owned();
        let mut rig = Self { lab, nodes, client, vipdrift, shape, contender, daemons, services, folder };
        for node in 0..rig.shape.nodes {
            rig.start_service(node)?;
        }
        Ok(rig)
    }

    /// Two nodes and a VIP. The first node is started first: it holds the VIP, and everything has been quiet for as long as
    /// the contender needs, and up to one of its periods more, so that no fault is in step with it.
    ///
    /// # Errors
    /// The lab's, or the first node does not get the VIP.
    pub(crate) fn pair(vipdrift: &Path, contender: &'static dyn Contender) -> Result<Self> {
        let mut rig = Self::build(vipdrift, contender, Shape::pair())?;
        rig.start(0)?;
        rig.wait_held_by(0)?;
        rig.start(1)?;
        rig.meet_client()?;
        rig.settle();
        rig.wait_held_by(0)?;
        rig.all_run()?;
        Ok(rig)
    }

    /// As many nodes and VIPs as that, all started at once: every VIP has a holder, after the time that is returned with a
    /// tenth of a second to spare, and everything is quiet as above.
    ///
    /// # Errors
    /// The lab's, or a VIP without a holder.
    pub(crate) fn of_shape(
        vipdrift: &Path,
        contender: &'static dyn Contender,
        shape: Shape,
    ) -> Result<(Self, Duration)> {
        let mut rig = Self::build(vipdrift, contender, shape)?;
        let begun = Instant::now();
        for node in 0..rig.shape.nodes {
            rig.start(node)?;
        }
        rig.wait_all_held()?;
        let held_after = begun.elapsed();
        rig.meet_client()?;
        std::thread::sleep(BEGINNING);
        rig.settle();
        rig.wait_all_held()?;
        rig.all_run()?;
        Ok((rig, held_after))
    }

    fn settle(&self) {
        std::thread::sleep(self.contender.settles() + self.contender.period().mul_f64(random()));
    }

    /// A server knows its clients: every node has the client in its neighbour table.
    fn meet_client(&self) -> Result<()> {
        for node in &self.nodes {
            node.run(|| {
                let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
                socket.send_to(&[0; 8], (CLIENT.0.to_ipv6_mapped(), SERVICE_PORT))?;
                socket.send_to(&[0; 8], (CLIENT.1, SERVICE_PORT))
            })?;
        }
        Ok(())
    }

    /// What does not run cannot be measured, even if something is left that answers.
    fn all_run(&self) -> Result<()> {
        if self.daemons.iter().flatten().any(|daemon| daemon.ended().is_some()) {
            return Err(format!("a daemon has ended\n{}", self.said()).into());
        }
        Ok(())
    }

    /// Files of a node.
    pub(crate) fn folder(&self, node: usize) -> Result<PathBuf> {
        let folder = self.folder.path().join(Shape::name(node));
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

    /// The service behind the VIPs.
    pub(crate) fn start_service(&mut self, node: usize) -> Result<()> {
        self.nodes[node].stop_service();
        let mut command = Command::new(&self.vipdrift);
        command.arg("demo-service").arg(Shape::name(node));
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

    /// Waits until exactly this node of a pair has the VIP.
    fn wait_held_by(&self, node: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        if self.contender.is_on_all() {
            // Who answers for it is all that can be seen.
            while Instant::now() < deadline {
                let soon = Instant::now() + Duration::from_millis(100);
                if self.client.ask(VIP, soon).as_deref() == Some(Shape::name(node)) {
                    return Ok(());
                }
            }
        } else if self.lab.observer().wait_holders(VIP, &[Shape::name(node)], deadline) {
            return Ok(());
        }
        let holders = self.lab.observer().holders(VIP);
        Err(format!("{} has not the VIP, but {holders:?}\n{}", Shape::name(node), self.said()).into())
    }

    fn wait_all_held(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let vips: Vec<IpAddr> = self.shape.vips().collect();
        let mut missing = vips.len();
        while Instant::now() < deadline {
            let holders = self.holders();
            missing = vips.iter().filter(|vip| holders.get(vip).is_none_or(|nodes| nodes.len() != 1)).count();
            if missing == 0 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("{missing} of {} VIPs have no holder, or two\n{}", vips.len(), self.said()).into())
    }

    /// Names of the nodes that have each VIP.
    pub(crate) fn holders(&self) -> HashMap<IpAddr, BTreeSet<String>> {
        let mut holders: HashMap<IpAddr, BTreeSet<String>> = HashMap::new();
        for happening in self.lab.observer().timeline().happenings() {
            match happening.change {
                Change::Added(vip) => holders.entry(vip).or_default().insert(happening.host.clone()),
                Change::Removed(vip) => holders.entry(vip).or_default().remove(&happening.host),
                Change::CutOff | Change::Back => continue,
            };
        }
        holders
    }

    /// Shows a node the packages that were unpacked and not installed, as if they were: their programs look for their parts
    /// in places that they know by heart. With what is in `more` on top of it.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(crate) fn show_unpacked(&self, node: usize, more: Option<&Path>) -> Result<()> {
        let unpacked = std::env::var_os(UNPACKED).map(|folder| PathBuf::from(folder).join("usr"));
        let unpacked = unpacked.filter(|folder| folder.is_dir());
        let layers: Vec<String> = more
            .map(Path::to_owned)
            .into_iter()
            .chain(unpacked)
            .map(|layer| layer.display().to_string())
            .chain(["/usr".to_owned()])
            .collect();
        let layers = format!("lowerdir={}", layers.join(":"));
        self.nodes[node].run(|| {
            // A node that starts for the second time has it still.
            let mounts = std::fs::read_to_string("/proc/thread-self/mounts")?;
            if mounts.lines().any(|line| line.starts_with("overlay /usr ")) {
                return Ok(());
            }
            let kind = Some("overlay");
            let flags = nix::mount::MsFlags::MS_RDONLY;
            nix::mount::mount(kind, "/usr", kind, flags, Some(layers.as_str())).map_err(std::io::Error::from)
        })?;
        Ok(())
    }

    /// What the daemons have written.
    pub(crate) fn said(&self) -> String {
        let last = |daemon: &Process| {
            let said = daemon.output();
            let lines: Vec<&str> = said.lines().collect();
            lines[lines.len().saturating_sub(LINES)..].join("\n")
        };
        self.daemons.iter().flatten().map(last).collect::<Vec<_>>().join("\n--\n")
    }
}

/// From 0 to 1.
fn random() -> f64 {
    let number = RandomState::new().build_hasher().finish() >> 11;
    number as f64 / (1u64 << 53) as f64
}
