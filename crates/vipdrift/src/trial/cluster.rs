//! Nodes, a client and a gateway on one LAN, each node with the real daemon.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vipdrift_control::{
    Client as Control, Drill, DrillRequest, GroupRole, NodeRequest, PeerState, Status, SwitchoverRequest,
};
use vipdrift_lab::wine::Habits;
use vipdrift_lab::{Host, Lab, Process};

use super::TrialError;
use super::windows::Windows;

/// How a cluster is laid out.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program under trial.
    pub binary: PathBuf,
    /// Nodes, 1 to 5.
    pub nodes: usize,
    /// Heartbeat interval.
    pub heartbeat: Duration,
    /// `lease` of the configuration.
    pub lease: Duration,
    /// A host with the address of the default gateway.
    pub gateway: bool,
    /// Lines added to `[cluster]`.
    pub cluster_lines: String,
    /// Lines added to the group `web`.
    pub web_lines: String,
    /// Lines added to `[control]`.
    pub control_lines: String,
    /// The nodes' service is a process of its own, and `web` has a check that watches it.
    pub service: bool,
    /// Daemons are started at once.
    pub start: bool,
    /// The program for Windows, and the positions of the nodes that run it.
    pub windows: Option<(PathBuf, Vec<usize>)>,
    /// How Windows behaves there.
    pub habits: Habits,
    /// There is Npcap.
    pub driver: bool,
}

impl Options {
    /// Three nodes at 10 ms with the `binary`.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            nodes: 3,
            heartbeat: Duration::from_millis(10),
            lease: Duration::from_secs(2),
            gateway: true,
            cluster_lines: String::new(),
            web_lines: String::new(),
            control_lines: "http = \"off\"\n".into(),
            service: false,
            start: true,
            windows: None,
            habits: Habits::default(),
            driver: false,
        }
    }
}

/// A node of the cluster.
#[derive(Debug)]
pub struct NodeHandle {
    /// Its name.
    pub name: String,
    /// Its machine.
    pub host: Host,
    /// The keeper, while it was started and not yet taken away.
    pub process: Option<Process>,
    /// Its service, if that is a process of its own.
    pub service: Option<Process>,
    /// What it runs the program for Windows with, if it does.
    pub windows: Option<Windows>,
    /// Its configuration file.
    pub config: PathBuf,
    socket: PathBuf,
    state: PathBuf,
}

/// See the module.
pub struct Cluster {
    /// The LAN.
    pub lab: Lab,
    /// The nodes, in the order of the configuration.
    pub nodes: Vec<NodeHandle>,
    /// A machine that uses the VIPs.
    pub client: Host,
    /// The default gateway, if there is one.
    pub gateway: Option<Host>,
    options: Options,
    log: Option<Sender<(String, String)>>,
    directory: tempfile::TempDir,
}

/// Where each node keeps the id of its service's process.
const SERVICE_PID: &str = "/run/service.pid";
const NAMES: [&str; 5] = ["alpha", "bravo", "charlie", "delta", "echo"];
/// Longest wait for anything that the daemon should do at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Cluster {
    /// VIPs of the group `web`: IPv4 and IPv6.
    pub const WEB: [IpAddr; 2] = [
        IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 100)),
        IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100)),
    ];
    /// VIP of the group `calm`, which switches over without a gap.
    pub const CALM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 101));

    /// Builds the LAN, writes the configuration and starts the daemons. `log` gets every line that a daemon prints,
    /// with the node's name.
    ///
    /// # Errors
    /// As [`TrialError`] says; nothing is left behind.
    pub fn start(options: Options, log: Option<Sender<(String, String)>>) -> Result<Self, TrialError> {
        let lab = Lab::new()?;
        let directory = tempfile::tempdir().map_err(file("a directory for the cluster"))?;
        // The brain gives up root and must still reach its files.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.path(), open).map_err(file("a directory for the cluster"))?;
        let gateway = if options.gateway {
            Some(lab.host("gateway", &["192.0.2.1/24", "2001:db8::1/64"])?)
        } else {
            None
        };
        let client = lab.host("client", &["192.0.2.50/24", "2001:db8::50/64"])?;
        let mut nodes = Vec::new();
        for (index, name) in NAMES.iter().take(options.nodes).enumerate() {
            let v4 = format!("192.0.2.{}/24", 11 + index);
            let v6 = format!("2001:db8::{}/64", 11 + index);
            let host = lab.host(name, &[&v4, &v6])?;
            if options.gateway {
                host.add_route("0.0.0.0/0", "192.0.2.1")?;
            }
            host.start_service()?;
            let own = directory.path().join(name);
            fs::create_dir_all(own.join("state")).map_err(file(name))?;
            let windows = match &options.windows {
                Some((program, positions)) if positions.contains(&index) => {
                    Some(Windows::on(&host, program, options.habits, options.driver)?)
                }
                _ => None,
            };
            nodes.push(NodeHandle {
                name: (*name).to_owned(),
                windows,
                host,
                process: None,
                service: None,
                config: own.join("vipdrift.toml"),
                socket: own.join("control.sock"),
                state: own.join("state"),
            });
        }
        let mut cluster = Self { lab, nodes, client, gateway, options, log, directory };
        for index in 0..cluster.nodes.len() {
            if cluster.options.service {
                cluster.start_service(index)?;
            }
            let text = cluster.config_text(index);
            fs::write(&cluster.nodes[index].config, text).map_err(file("vipdrift.toml"))?;
        }
        if cluster.options.start {
            cluster.start_all()?;
        }
        Ok(cluster)
    }

    /// Heartbeat interval.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.options.heartbeat
    }

    /// Lease of the mounted addresses.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.options.lease
    }

    /// Where files of the cluster may be put; gone with the cluster.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where files of a node are.
    #[must_use]
    pub fn directory_of(&self, index: usize) -> PathBuf {
        self.directory.path().join(&self.nodes[index].name)
    }

    /// The configuration of a node; nodes differ in the place of the control socket alone.
    #[must_use]
    pub fn config_text(&self, index: usize) -> String {
        let o = &self.options;
        let mut text = format!(
            "[cluster]\nname = \"trial\"\nkey = \"{}\"\nheartbeat = \"{}ms\"\nlease = \"{}s\"\n{}\n",
            "00112233445566778899aabbccddeeff",
            o.heartbeat.as_millis(),
            o.lease.as_secs(),
            o.cluster_lines
        );
        for (index, node) in self.nodes.iter().enumerate() {
            text += &format!(
                "[[node]]\nname = \"{}\"\naddresses = [\"192.0.2.{}\"]\ninterfaces = {{ lan = \"eth0\" }}\n\n",
                node.name,
                11 + index
            );
        }
        text += &format!(
            "[[group]]\nname = \"web\"\ninterface = \"lan\"\nvips = [\"{}/24\", \"{}/64\"]\n{}\n",
            Self::WEB[0],
            Self::WEB[1],
            o.web_lines
        );
        if o.service {
            text += &format!("[[group.check]]\nname = \"service\"\nprocess = \"{SERVICE_PID}\"\n\n");
        }
        // No Windows lets two machines have an address, for however short a time.
        let calm = if o.windows.is_some() { "strict" } else { "hitless" };
        text += &format!(
            "[[group]]\nname = \"calm\"\ninterface = \"lan\"\nvips = [\"{}/24\"]\nswitchover = \"{calm}\"\n\n",
            Self::CALM
        );
        if self.nodes[index].windows.is_none() {
            text += &format!(
                "[control]\nsocket = \"{}\"\n{}",
                self.nodes[index].socket.display(),
                o.control_lines
            );
        }
        text
    }

    /// Index of a node by its name.
    ///
    /// # Panics
    /// If no node has it.
    #[must_use]
    pub fn index(&self, name: &str) -> usize {
        self.nodes.iter().position(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    /// Starts the daemon on every node that has none, all at once, and waits until `web` and `calm` are held and all
    /// hear each other.
    ///
    /// # Errors
    /// As [`TrialError`] says.
    pub fn start_all(&mut self) -> Result<(), TrialError> {
        for index in 0..self.nodes.len() {
            if self.nodes[index].process.is_none() {
                self.spawn(index)?;
            }
        }
        self.wait_settled()
    }

    /// Starts the service of a node as a process of its own, whose end the check sees.
    ///
    /// # Errors
    /// As [`TrialError`] says.
    pub fn start_service(&mut self, index: usize) -> Result<(), TrialError> {
        let node = &mut self.nodes[index];
        node.host.stop_service();
        let mut command = Command::new(&self.options.binary);
        command.arg("demo-service").arg(&node.name);
        let process = node.host.spawn(command)?;
        let pid = process.pid();
        let noted = node.host.run(|| fs::write(SERVICE_PID, format!("{pid}\n")));
        noted.map_err(file("the file with the service's id"))?;
        node.service = Some(process);
        Ok(())
    }

    /// Starts the daemon on a node.
    ///
    /// # Errors
    /// As [`TrialError`] says.
    pub fn spawn(&mut self, index: usize) -> Result<(), TrialError> {
        let node = &mut self.nodes[index];
        let process = if let Some(windows) = &node.windows {
            let [config, state] = [&node.config, &node.state].map(|path| Windows::path(path));
            windows.start(&["run", "--config", &config, "--node", &node.name, "--state-dir", &state])?
        } else {
            let mut command = Command::new(&self.options.binary);
            command.arg("run").arg("--config").arg(&node.config).arg("--node").arg(&node.name);
            command.arg("--state-dir").arg(&node.state);
            node.host.spawn(command)?
        };
        if let Some(log) = self.log.clone() {
            let (lines, name) = (process.live(), node.name.clone());
            std::thread::spawn(move || {
                for line in lines {
                    if log.send((name.clone(), line.text)).is_err() {
                        break;
                    }
                }
            });
        }
        node.process = Some(process);
        Ok(())
    }

    /// What the daemon on a node says of itself.
    ///
    /// # Errors
    /// The daemon's silence.
    pub fn status(&self, index: usize) -> Result<Status, TrialError> {
        if let Some(windows) = &self.nodes[index].windows {
            return windows.status();
        }
        self.ask(index, |control, runtime| runtime.block_on(control.status()))
    }

    /// Moves a group by a command to the daemon on node `index`.
    ///
    /// # Errors
    /// The daemon's refusal or silence.
    pub fn switchover(&self, index: usize, group: &str, to: Option<&str>) -> Result<String, TrialError> {
        if let Some(windows) = &self.nodes[index].windows {
            let to: Vec<&str> = to.map(|to| ["--to", to]).into_iter().flatten().collect();
            return Self::done(windows.run(&[&["switchover", group], &to[..]].concat())?);
        }
        let request = SwitchoverRequest { group: group.to_owned(), to: to.map(str::to_owned) };
        self.ask(index, |control, runtime| runtime.block_on(control.switchover(&request)))
    }

    /// Moves a group there and back by a command to the daemon on node `index`.
    ///
    /// # Errors
    /// The daemon's refusal or silence.
    pub fn drill(&self, index: usize, request: &DrillRequest) -> Result<Drill, TrialError> {
        self.ask(index, |control, runtime| runtime.block_on(control.drill(request)))
    }

    /// Drains or undrains a node.
    ///
    /// # Errors
    /// The daemon's refusal or silence.
    pub fn drain(&self, index: usize, drained: bool) -> Result<String, TrialError> {
        self.order(index, drained, &NodeRequest::default())
    }

    /// Has node `index` drain or undrain what the request names.
    ///
    /// # Errors
    /// The daemon's refusal or silence.
    pub fn order(&self, index: usize, drained: bool, request: &NodeRequest) -> Result<String, TrialError> {
        if let Some(windows) = &self.nodes[index].windows {
            let mut args = vec![if drained { "drain" } else { "undrain" }];
            args.extend(request.node.as_deref());
            args.extend(request.group.as_deref().map(|group| ["--group", group]).into_iter().flatten());
            return Self::done(windows.run(&args)?);
        }
        self.ask(index, |control, runtime| {
            if drained {
                runtime.block_on(control.drain(request))
            } else {
                runtime.block_on(control.undrain(request))
            }
        })
    }

    /// What a command of a Windows program came to.
    fn done(said: super::windows::Said) -> Result<String, TrialError> {
        if said.done { Ok(said.text) } else { Err(TrialError::Said { text: said.text }) }
    }

    fn ask<T>(
        &self,
        index: usize,
        call: impl FnOnce(&Control, &tokio::runtime::Runtime) -> Result<T, vipdrift_control::ClientError>,
    ) -> Result<T, TrialError> {
        let node = &self.nodes[index];
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(file("a runtime for the control client"))?;
        let control = Control::new(&node.socket, Duration::from_secs(5));
        call(&control, &runtime).map_err(|source| TrialError::Control { node: node.name.clone(), source })
    }

    /// Waits until `ready` holds, looking every few milliseconds.
    ///
    /// # Errors
    /// `Unready` with what the nodes said last, if it does not within `limit`.
    pub fn wait(
        &self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut(&Self) -> bool,
    ) -> Result<Duration, TrialError> {
        let begun = Instant::now();
        while !ready(self) {
            if begun.elapsed() > limit {
                return Err(TrialError::Unready { what: what.to_owned(), limit, state: self.describe() });
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        Ok(begun.elapsed())
    }

    /// Waits until every daemon that runs hears every other, and each group has one holder whom all name.
    ///
    /// # Errors
    /// As [`Cluster::wait`].
    pub fn wait_settled(&self) -> Result<(), TrialError> {
        // Wine heeds no priorities, and every look starts a program.
        let limit =
            if self.nodes.iter().any(|node| node.windows.is_some()) { PATIENCE * 3 } else { PATIENCE };
        self.wait("every node hears every other and each group has one holder", limit, |cluster| {
            let running: Vec<usize> = cluster.running();
            let statuses: Vec<Status> = running.iter().filter_map(|&i| cluster.status(i).ok()).collect();
            statuses.len() == running.len() && !statuses.is_empty() && cluster.agree(&statuses)
        })?;
        Ok(())
    }

    fn agree(&self, statuses: &[Status]) -> bool {
        let up: Vec<&str> = statuses.iter().map(|status| status.node.as_str()).collect();
        let heard = statuses.iter().all(|status| {
            status
                .peers
                .iter()
                .filter(|peer| up.contains(&peer.node.as_str()))
                .all(|peer| peer.state == PeerState::Alive && peer.hears_us)
        });
        heard
            && (0..statuses[0].groups.len()).all(|group| {
                let holders: Vec<&str> = statuses
                    .iter()
                    .filter(|status| status.groups[group].role == GroupRole::Active)
                    .map(|status| status.node.as_str())
                    .collect();
                holders.len() == 1
                    && statuses.iter().all(|s| s.groups[group].active_node.as_deref() == Some(holders[0]))
                    && statuses
                        .iter()
                        .all(|s| s.groups[group].vips.iter().all(|vip| vip.mounted == (s.node == holders[0])))
            })
    }

    fn running(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&i| self.nodes[i].process.as_ref().is_some_and(|process| process.ended().is_none()))
            .collect()
    }

    /// Index of the node that a VIP is on, by the kernels' own account.
    #[must_use]
    pub fn holder(&self, vip: IpAddr) -> Option<usize> {
        let holders = self.lab.observer().holders(vip);
        let [holder] = holders.as_slice() else { return None };
        self.nodes.iter().position(|node| node.name == *holder)
    }

    /// Processes of the daemon on a node: keeper and brain.
    ///
    /// # Errors
    /// The daemon's silence.
    pub fn pids(&self, index: usize) -> Result<(i32, i32), TrialError> {
        if let Some(windows) = &self.nodes[index].windows {
            let one = |word| {
                windows
                    .pids(word)
                    .first()
                    .copied()
                    .ok_or_else(|| TrialError::Said { text: format!("no {word}") })
            };
            return Ok((one("keeper")?, one("brain")?));
        }
        let daemon = self.status(index)?.daemon;
        let pid = |pid: u32| i32::try_from(pid).unwrap_or(i32::MAX);
        Ok((pid(daemon.keeper_pid), pid(daemon.brain_pid)))
    }

    /// Sends a signal to a process of the cluster.
    pub fn signal(&self, pid: i32, signal: Signal) {
        // It may have ended by itself: then there is nothing to signal.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
    }

    /// Asks the daemon on a node to stop, as its service manager or its terminal would.
    ///
    /// # Errors
    /// The daemon's silence.
    pub fn stop(&self, index: usize) -> Result<(), TrialError> {
        if let Some(windows) = &self.nodes[index].windows {
            // What a Windows program hears of it is Ctrl-C; the host passes it on.
            windows.pids("host").iter().for_each(|host| self.signal(*host, Signal::SIGINT));
            return Ok(());
        }
        let (keeper, _) = self.pids(index)?;
        self.signal(keeper, Signal::SIGTERM);
        Ok(())
    }

    /// Takes away a daemon that has ended or is to end now, and waits for it.
    pub fn reap(&mut self, index: usize, deadline: Duration) -> Option<std::process::ExitStatus> {
        let process = self.nodes[index].process.take()?;
        process.wait(Instant::now() + deadline)
    }

    /// What all nodes say, for error messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (index, node) in self.nodes.iter().enumerate() {
            match self.status(index) {
                Ok(status) => {
                    text +=
                        &format!("{}: {:?} {:?}\n", node.name, status.health.state, status.health.reasons);
                    text += &format!("   {:?}\n", status.counters);
                    for peer in &status.peers {
                        text +=
                            &format!("   peer {} {:?} hears_us={}\n", peer.node, peer.state, peer.hears_us);
                    }
                    for group in &status.groups {
                        text += &format!(
                            "   {} {:?} active={:?} term={} {} occupied_by={:?}\n",
                            group.name,
                            group.role,
                            group.active_node,
                            group.term,
                            group.reason,
                            group.occupied_by
                        );
                    }
                }
                Err(error) => text += &format!("{}: {error}\n", node.name),
            }
            if let Some(process) = &node.process {
                let lines = process.lines();
                for line in lines.iter().rev().take(25).rev() {
                    text += &format!("   | {}\n", line.text);
                }
            }
        }
        for vip in Self::WEB.into_iter().chain([Self::CALM]) {
            text += &format!("{vip} is on {:?}\n", self.lab.observer().holders(vip));
        }
        text
    }
}

pub(super) fn file(what: &str) -> impl FnOnce(std::io::Error) -> TrialError + use<> {
    let what = what.to_owned();
    move |source| TrialError::File { what, source }
}
