//! The parent process: small, privileged, parses nothing that came from the network. It alone mounts and unmounts,
//! and only VIPs of the configuration.

mod child;
pub(crate) mod confinement;
mod driver;
pub(crate) mod examination;
mod hands;
mod lifetimes;
mod names;
pub(crate) mod network;
mod routes;
mod runner;
pub(crate) mod sockets;
mod succession;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use vipdrift_core::keeper::Lease;
use vipdrift_core::{Drained, Switchover};
use vipdrift_platform::addresses::{BESIDE_A_HOLDER, Kernel};
use vipdrift_platform::descriptor::Number;
use vipdrift_platform::links::find;
use vipdrift_platform::poll::{Signal, Signals};
use vipdrift_platform::{privileges, process, realtime};

use self::driver::{Driver, Parts, now};
use self::hands::Hands;
use self::lifetimes::Lifetimes;
use self::names::Names;
use self::network::{Network, Survey};
use self::runner::Runner;
use self::sockets::{PRIVILEGES, Sockets, Unopened};
use self::succession::Succession;
use crate::config::{self, Config, Loaded, Refused, Resolved, Secrets, nearest};
use crate::log::Log;
use crate::message::{Setup, encode};

/// The brain's real-time priority is one higher: what it decides comes first.
const PRIORITY: u8 = 49;
/// How long the brain of a killed keeper is waited for.
const ORPHAN: Duration = Duration::from_secs(1);
/// How long the routes are waited for at start.
const ROUTES: Duration = Duration::from_secs(2);
/// How often leftovers are taken off before it is given up.
const LEFTOVERS_TRIES: u32 = 3;

/// What `vipdrift run` was told.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) config: PathBuf,
    pub(crate) node: Option<String>,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) state_folder: PathBuf,
    /// Descriptor of what an earlier program in this process has left.
    pub(crate) succession: Option<Number>,
}

impl Options {
    /// The command line that says the same, without what an earlier program has left.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["run".into(), "--config".into(), self.config.clone().into()];
        if let Some(node) = &self.node {
            args.extend(["--node".into(), node.into()]);
        }
        if let Some(socket) = &self.socket {
            args.extend(["--socket".into(), socket.into()]);
        }
        args.extend(["--state-dir".into(), self.state_folder.clone().into()]);
        args
    }
}

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    /// The configuration was refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// `--node` names no node.
    #[error("{0}")]
    Usage(String),
    /// Something on this machine is in the way.
    #[error("{}\n  {}", .0.what, .0.remedy)]
    Machine(#[from] Unopened),
}

fn machine(what: impl Into<String>, remedy: impl Into<String>) -> NotStarted {
    NotStarted::Machine(Unopened::new(what, remedy))
}

/// Runs the daemon until it is told to stop. Answers whether everything was released.
///
/// # Errors
/// [`NotStarted`]; then nothing is mounted, and nothing is left behind.
pub(crate) fn run(options: &Options) -> Result<bool, NotStarted> {
    let parts = match options.succession {
        None => {
            let loaded = config::load(&options.config)?;
            let secrets = Secrets::read(&options.config, &loaded)?;
            prepare(options, loaded, secrets, None)?
        }
        Some(left) => succeed(options, left)?,
    };
    let log = parts.log.clone();
    let released = match Driver::new(parts) {
        Ok(driver) => driver.run(),
        Err(error) => {
            return Err(machine(format!("cannot wait for events: {error}"), "raise the limit of open files"));
        }
    };
    log.flush();
    Ok(released)
}

/// Takes off what a daemon that runs no more has left. Answers what was there.
///
/// # Errors
/// [`NotStarted`]: the configuration is refused, a daemon runs, or a VIP could not be taken off.
pub(crate) fn release(options: &Options) -> Result<Vec<IpAddr>, NotStarted> {
    let loaded = config::load(&options.config)?;
    let config = &loaded.config;
    let socket = options.socket.as_ref().unwrap_or(&config.control.socket);
    let mut kernel = Kernel::open().map_err(|error| machine(error.to_string(), PRIVILEGES))?;
    let name = own_name(config, options.node.as_deref(), &mut kernel)?;
    drop(kernel);
    let resolved = Resolved::new(config, &name)
        .ok_or_else(|| machine(format!("there is no node `{name}`"), "name one with --node"))?;
    // Who has them is the one that may release. Held until it is done: no daemon begins meanwhile.
    let _sockets = open_sockets(&resolved, socket, None).map_err(|error| {
        if !error.in_use {
            return NotStarted::from(error);
        }
        machine(format!("a daemon runs here: {}", error.what), "stop it, and it releases what it holds")
    })?;
    let cannot = |error: String| machine(format!("cannot look at the addresses: {error}"), PRIVILEGES);
    let (network, survey) = Network::open(&resolved, Duration::ZERO).map_err(cannot)?;
    let held: Vec<IpAddr> = survey.held.iter().map(|vip| network.address(*vip)).collect();
    drop(network);
    let log = Log::start(&config.cluster.name, &name).map_err(|error| {
        machine(format!("cannot make a thread: {error}"), "raise the limit of processes (ulimit -u)")
    })?;
    let released = release_leftovers(&resolved, &log);
    log.flush();
    released.map(|_| held)
}

/// Takes over from an earlier program in this process: with the configuration as it is now, or, if that cannot be put in force
/// after all, with the one that was.
fn succeed(options: &Options, left: Number) -> Result<Parts, NotStarted> {
    // Peers do not wait for long.
    let _ = realtime::real_time(PRIORITY);
    let left = Succession::read(left).map_err(|error| {
        machine(format!("cannot take over: {error}"), "nothing: started anew, the daemon finds what is left")
    })?;
    let new = config::load(&options.config).and_then(|loaded| {
        let secrets = Secrets::read(&options.config, &loaded)?;
        Ok((loaded, secrets))
    });
    let why = match new {
        Ok((loaded, secrets)) => match prepare(options, loaded, secrets, Some(left.clone())) {
            Ok(parts) => return Ok(parts),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    // What was ordered is not what begins now.
    let mut left = left;
    if let Some(carry) = &mut left.carry {
        carry.ordered = None;
    }
    let old = left.old(&options.config).map_err(NotStarted::from);
    let parts = old.and_then(|(loaded, secrets)| prepare(options, loaded, secrets, Some(left.clone())));
    let parts = parts.inspect_err(|_| {
        // Nobody is left to renew it, or to tell the peers: they find it free.
        if !left.abandon() {
            eprintln!("vipdrift: a VIP could not be released");
        }
    })?;
    parts.log.warning(format_args!(
        "keeper: the new configuration could not be put in force; back to the old one: {why}"
    ));
    Ok(parts)
}

fn prepare(
    options: &Options,
    loaded: Loaded,
    secrets: Secrets,
    left: Option<Succession>,
) -> Result<Parts, NotStarted> {
    let config = &loaded.config;
    let mut kernel = Kernel::open().map_err(|error| machine(error.to_string(), PRIVILEGES))?;
    let name = match &left {
        Some(left) => left.node.clone(),
        None => own_name(config, options.node.as_deref(), &mut kernel)?,
    };
    let names = match &left {
        Some(left) => left.names.clone(),
        None => Names::look_up([config]),
    };
    let resolved = Resolved::new(config, &name)
        .ok_or_else(|| machine(format!("there is no node `{name}`"), "name one with --node"))?;
    is_possible(&resolved, &mut kernel)?;
    let missing = privileges::missing();
    if !missing.is_empty() {
        return Err(machine(
            format!("not permitted: this process lacks {}", missing.join(" and ")),
            PRIVILEGES,
        ));
    }
    drop(kernel);

    // Before any thread: threads inherit what is blocked.
    let signals = Signals::block_and_open(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup]).map_err(
        |error| machine(format!("cannot wait for signals: {error}"), "raise the limit of open files"),
    )?;
    // Sockets before anything is touched: a second vipdrift by mistake must not release the VIPs of the first.
    let control = options.socket.as_ref().unwrap_or(&config.control.socket);
    let mut sockets = open_sockets(&resolved, control, names.group(config))?;
    let log = Log::start(&config.cluster.name, &name).map_err(|error| {
        machine(format!("cannot make a thread: {error}"), "raise the limit of processes (ulimit -u)")
    })?;
    let drained = sockets.open_state(&options.state_folder).unwrap_or_else(|error| {
        log.warning(format_args!(
            "cannot keep state in {}: {}; a drained node will not stay drained over a restart of the daemon",
            options.state_folder.display(),
            config::plain(&error)
        ));
        Drained::default()
    });
    let page = open_page(config.control.http, &mut sockets, &log);
    if let Some(journal) = &config.cluster.journal
        && let Err(error) = sockets.open_journal(&journal.folder, &name)
    {
        log.warning(format_args!(
            "cannot keep a journal in {}: {}",
            journal.folder.display(),
            config::plain(&error)
        ));
    }
    if let Some(why) = &names.failure {
        log.warning(format_args!(
            "keeper: {why}; processes may stay the user that this is, without capabilities"
        ));
    }
    let account = names.unprivileged(config).map(|account| (account.name, account.uid, account.gid));
    let (network, survey) = match &left {
        None => release_leftovers(&resolved, &log)?,
        Some(left) => take_over(&resolved, left, &log)?,
    };
    let keeper_real_time = raise_priority(&log);
    let roles = left.as_ref().and_then(|left| left.roles);
    let runner = Runner::prepare(config, &resolved, &names, roles, &mut sockets, &log)
        .map_err(|error| machine(error, "free some memory"))?;
    let confined = confinement::is_possible(&resolved, &log)
        && left.as_ref().map_or_else(|| confinement::try_out(&log), |left| left.confined);
    let lifetimes = Lifetimes::start(&resolved).map_err(|error| {
        machine(format!("cannot wait for events: {error}"), "raise the limit of open files")
    })?;
    let setup = Setup {
        config_file: options.config.display().to_string(),
        config_text: loaded.text.clone(),
        secrets: secrets.clone(),
        node: name,
        keeper_pid: std::process::id(),
        keeper_real_time,
        lease: lifetimes.known(),
        page,
        account,
        descriptors: sockets.descriptors(),
    };
    let setup = process::memory_file(c"vipdrift-setup", &encode(&setup))
        .map_err(|error| machine(error.to_string(), "free some memory"))?;
    let order = left.as_ref().and_then(|left| left.carry.as_ref()?.ordered.as_ref());
    let order = order.map_or_else(String::new, |order| format!("{}: ", order.what));
    log.info(format_args!(
        "{order}vipdrift {}: node {} of cluster {}, {} groups, {} VIPs",
        env!("CARGO_PKG_VERSION"),
        resolved.name,
        config.cluster.name,
        resolved.groups.len(),
        resolved.vips.len()
    ));
    let mut lease = Lease::new(resolved.lease, resolved.heartbeat, now());
    if left.as_ref().is_some_and(|left| left.extended) {
        lease.restore(now());
    }
    let file = left.as_ref().and_then(|left| left.file.clone()).or_else(succession::own_file);
    let hands = Hands::new(network, survey, lease, now());
    let parts = Parts {
        log,
        options: options.clone(),
        loaded,
        secrets,
        resolved,
        sockets,
        hands,
        lifetimes,
        confined,
        file,
        signals,
        setup,
        drained,
        runner,
        left,
    };
    Ok(parts)
}

/// Opens everything. After a keeper was killed, its brain needs a moment to notice and let go.
fn open_sockets(resolved: &Resolved, control: &Path, group: Option<u32>) -> Result<Sockets, Unopened> {
    let begun = now();
    loop {
        match Sockets::open(resolved, control, group) {
            Err(error) if error.in_use && now().since(begun) < ORPHAN => std::thread::sleep(ORPHAN / 20),
            other => return other,
        }
    }
}

/// Listens for the page. Answers its address, or why there is none: no reason to hold no VIPs.
fn open_page(at: Option<SocketAddr>, sockets: &mut Sockets, log: &Log) -> String {
    let Some(at) = at else { return "off".to_owned() };
    match sockets.open_page(at) {
        Ok(()) => format!("http://{at}/"),
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::AddrInUse => format!("{at} is in use by another program"),
                _ => format!("cannot listen on {at}: {}", config::plain(&error)),
            };
            log.warning(format_args!(
                "no page and no metrics: {why}; set `http` in [control] to another address or \"off\", then reload"
            ));
            why
        }
    }
}

/// Which node this is.
pub(crate) fn own_name(
    config: &Config,
    wanted: Option<&str>,
    kernel: &mut Kernel,
) -> Result<String, NotStarted> {
    let names = || config.nodes.iter().map(|node| node.name.get_ref().as_str());
    if let Some(wanted) = wanted {
        if names().any(|name| name == wanted) {
            return Ok(wanted.to_owned());
        }
        let near = nearest(wanted, names()).map(|near| format!("did you mean `{near}`?"));
        let help = near.unwrap_or_else(|| format!("known: {}", names().collect::<Vec<_>>().join(", ")));
        return Err(NotStarted::Usage(format!("there is no node `{wanted}` in the configuration; {help}")));
    }
    let addresses = kernel.addresses().map_err(|error| machine(error.to_string(), PRIVILEGES))?;
    let own: BTreeSet<IpAddr> = addresses.iter().map(|address| address.network.addr()).collect();
    let mut found = config::names_of_own_addresses(config, &own);
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(machine(
            "this machine has no address of any [[node]] in the configuration",
            format!("say which node it is with --node NAME ({})", names().collect::<Vec<_>>().join(", ")),
        )),
        _ => Err(machine(
            format!("this machine has addresses of several nodes: {}", found.join(", ")),
            "say which one it is with --node NAME",
        )),
    }
}

/// Whether this machine and this system can do what the configuration says.
fn is_possible(resolved: &Resolved, kernel: &mut Kernel) -> Result<(), NotStarted> {
    let hitless = resolved.groups.iter().find(|group| group.switchover == Switchover::Hitless);
    if let Some(group) = hitless
        && !BESIDE_A_HOLDER
    {
        return Err(machine(
            format!(
                "group {} cannot be hitless: this system takes an address off that another machine has",
                group.name
            ),
            "set switchover = \"strict\" in that group, on all nodes",
        ));
    }
    let links = kernel.links().map_err(|error| machine(error.to_string(), PRIVILEGES))?;
    for (index, name) in resolved.interfaces.iter().enumerate() {
        match find(&links, name) {
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(error) => {
                return Err(machine(
                    error.to_string(),
                    "in `interface` of the group, or `interfaces` of the node",
                ));
            }
        }
        let groups: Vec<_> =
            resolved.groups.iter().filter(|g| g.interface.0 == index).map(|g| g.name.as_str()).collect();
        let there: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        return Err(machine(
            format!("there is no interface {name} (needed by group {}) on this machine", groups.join(", ")),
            format!(
                "there are: {}; set `interface` of the group or `interfaces` of the node",
                there.join(", ")
            ),
        ));
    }
    Ok(())
}

/// Takes off VIPs that an earlier life has left.
fn release_leftovers(resolved: &Resolved, log: &Log) -> Result<(Network, Survey), NotStarted> {
    let cannot = |error: String| machine(format!("cannot look at the addresses: {error}"), PRIVILEGES);
    let (mut network, mut survey) = Network::open(resolved, ROUTES).map_err(cannot)?;
    for _ in 0..LEFTOVERS_TRIES {
        if survey.held.is_empty() {
            return Ok((network, survey));
        }
        let held: Vec<_> = survey.held.iter().copied().collect();
        let names: Vec<_> = held.iter().map(|vip| network.address(*vip).to_string()).collect();
        log.warning(format_args!("releasing what an earlier life has left: {}", names.join(", ")));
        let outcome = network.unmount(&held);
        let failed = outcome.results.into_iter().find_map(|(vip, result)| result.err().map(|why| (vip, why)));
        if let Some((vip, why)) = failed {
            log.warning(format_args!("cannot release {}: {why}", network.address(vip)));
        }
        survey = network.survey().map_err(cannot)?;
    }
    Err(machine("a VIP that an earlier life has left cannot be released", PRIVILEGES))
}

/// Takes off what the configuration does not know any more; all else stays as it is.
fn take_over(resolved: &Resolved, left: &Succession, log: &Log) -> Result<(Network, Survey), NotStarted> {
    let cannot = |error: String| machine(format!("cannot look at the addresses: {error}"), PRIVILEGES);
    // Gateways are told when they are known: peers do not wait for a long table of routes.
    let (mut network, mut survey) = Network::open(resolved, Duration::ZERO).map_err(cannot)?;
    let mut off = left.dropped(resolved);
    off.extend(&survey.strays);
    if !off.is_empty() {
        let names: Vec<_> = off.iter().map(|(_, network)| network.addr().to_string()).collect();
        log.info(format_args!("keeper: taking off what is no longer to be here: {}", names.join(", ")));
        if let Err(error) = network.clear(&off) {
            log.warning(format_args!("keeper: cannot take off a VIP: {error}"));
        }
        survey = network.survey().map_err(cannot)?;
    }
    Ok((network, survey))
}

/// Real-time priority and locked memory, where permitted. What the status says of it.
fn raise_priority(log: &Log) -> String {
    // Refused limits show in what they were for.
    let _ = realtime::raise_limits();
    if let Err(error) = realtime::lock_memory() {
        log.warning(format_args!("keeper: {error}"));
    }
    match realtime::real_time(PRIORITY) {
        Ok(()) => "granted".to_owned(),
        Err(error) => {
            let _ = realtime::fallback();
            log.warning(format_args!("keeper: {error}"));
            error.to_string()
        }
    }
}

/// Where the control socket of the daemon with this configuration is.
pub(crate) fn control_socket(config: &Config) -> &Path {
    &config.control.socket
}
