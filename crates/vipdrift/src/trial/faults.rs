//! The faults of the contract, each made on a running cluster, measured, judged and undone.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vipdrift_lab::Client;

use super::cluster::PATIENCE;
use super::{Cluster, Outcome, TrialError, Window};

/// A fault of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The cable of the active node is pulled at the switch.
    HostDead,
    /// `kill -9` of the brain.
    BrainKilled,
    /// `SIGSTOP` of the brain.
    BrainHung,
    /// `kill -9` of keeper and brain.
    KeeperAndBrainKilled,
    /// `SIGTERM`.
    GracefulStop,
    /// `vipdrift switchover`, strict.
    Switchover,
    /// `vipdrift switchover`, hitless.
    SwitchoverHitless,
    /// Heartbeats do not pass, all else does.
    HeartbeatsBlocked,
    /// A host outside the cluster has the VIP when the nodes start.
    ForeignHolder,
    /// The LAN falls into two parts, each with a holder and a reference, and heals.
    PartitionHealed,
    /// The service behind the VIP is killed; its machine and the daemon are well.
    ServiceFailed,
}

impl Fault {
    /// All of them, in the order in which the demo makes them.
    pub const ALL: [Self; 11] = [
        Self::HostDead,
        Self::BrainKilled,
        Self::BrainHung,
        Self::KeeperAndBrainKilled,
        Self::GracefulStop,
        Self::Switchover,
        Self::SwitchoverHitless,
        Self::HeartbeatsBlocked,
        Self::ForeignHolder,
        Self::PartitionHealed,
        Self::ServiceFailed,
    ];

    /// Its name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HostDead => "host_dead",
            Self::BrainKilled => "brain_killed",
            Self::BrainHung => "brain_hung",
            Self::KeeperAndBrainKilled => "keeper_and_brain_killed",
            Self::GracefulStop => "graceful_stop",
            Self::Switchover => "switchover",
            Self::SwitchoverHitless => "switchover_hitless",
            Self::HeartbeatsBlocked => "heartbeats_blocked",
            Self::ForeignHolder => "foreign_holder",
            Self::PartitionHealed => "partition_healed",
            Self::ServiceFailed => "service_failed",
        }
    }

    /// What is done, for people.
    #[must_use]
    pub const fn story(self) -> &'static str {
        match self {
            Self::HostDead => "the active node's cable is pulled at the switch",
            Self::BrainKilled => "the active node's brain is killed (kill -9)",
            Self::BrainHung => "the active node's brain hangs (SIGSTOP)",
            Self::KeeperAndBrainKilled => "the active node's daemon is killed, keeper and brain (kill -9)",
            Self::GracefulStop => "the active node's daemon is stopped (SIGTERM)",
            Self::Switchover => "an operator moves the group (strict)",
            Self::SwitchoverHitless => "an operator moves the group (hitless)",
            Self::HeartbeatsBlocked => "a firewall drops all heartbeats; the LAN works",
            Self::ForeignHolder => "a host outside the cluster has the VIP when the nodes start",
            Self::ServiceFailed => "the service behind the VIP is killed (kill -9), a process check sees it",
            Self::PartitionHealed => "the LAN is split for 2 s with a holder on each side, and heals",
        }
    }

    /// The outage aimed at in the median, with heartbeats every 10 ms; zero means that no probe is lost.
    #[must_use]
    pub const fn goal(self) -> Option<Duration> {
        match self {
            Self::HostDead => Some(Duration::from_millis(25)),
            Self::KeeperAndBrainKilled => Some(Duration::from_millis(15)),
            Self::ServiceFailed => Some(Duration::from_millis(10)),
            Self::GracefulStop | Self::Switchover => Some(Duration::from_millis(5)),
            Self::BrainKilled | Self::BrainHung | Self::SwitchoverHitless | Self::HeartbeatsBlocked => {
                Some(Duration::ZERO)
            }
            Self::ForeignHolder | Self::PartitionHealed => None,
        }
    }

    /// VIPs that are watched.
    #[must_use]
    pub fn vips(self) -> Vec<IpAddr> {
        match self {
            Self::SwitchoverHitless => vec![Cluster::CALM],
            _ => Cluster::WEB.to_vec(),
        }
    }
}

/// Makes a fault on a settled cluster, measures, judges and undoes it; the cluster is settled again afterwards.
///
/// # Errors
/// The cluster could not be brought into the state that the fault needs, or did not settle afterwards. What went wrong
/// in the fault itself is a complaint in the outcome.
pub fn run(cluster: &mut Cluster, client: &Client, fault: Fault) -> Result<Outcome, TrialError> {
    cluster.wait_settled()?;
    let vips = fault.vips();
    let victim = cluster.holder(vips[0]).ok_or_else(|| TrialError::Unready {
        what: format!("one node holds {}", vips[0]),
        limit: Duration::ZERO,
        state: cluster.describe(),
    })?;
    let mut outcome = match fault {
        Fault::HostDead => host_dead(cluster, client, victim)?,
        Fault::BrainKilled => brain(cluster, client, victim, Signal::SIGKILL)?,
        Fault::BrainHung => brain(cluster, client, victim, Signal::SIGSTOP)?,
        Fault::KeeperAndBrainKilled => killed(cluster, client, victim)?,
        Fault::GracefulStop => graceful_stop(cluster, client, victim)?,
        Fault::Switchover => switchover(cluster, client, victim, "web", &Cluster::WEB)?,
        Fault::SwitchoverHitless => switchover(cluster, client, victim, "calm", &[Cluster::CALM])?,
        Fault::HeartbeatsBlocked => heartbeats_blocked(cluster, client, victim)?,
        Fault::ForeignHolder => foreign_holder(cluster, client, victim)?,
        Fault::PartitionHealed => partition_healed(cluster, client, victim)?,
        Fault::ServiceFailed => service_failed(cluster, client, victim)?,
    };
    let bound = match fault {
        // The holder lets go a moment after the first word that the heir serves.
        Fault::SwitchoverHitless => Duration::from_millis(100),
        // Counted from the healing: the first heartbeat that passes ends it.
        Fault::PartitionHealed => cluster.heartbeat() + Duration::from_millis(20),
        _ => Duration::ZERO,
    };
    if outcome.two_holders > bound {
        outcome.complaints.push(format!("two holders for {:?}", outcome.two_holders));
    }
    // These are far from what is aimed at: more than that is not slow but broken.
    let longest = match fault {
        Fault::SwitchoverHitless | Fault::HeartbeatsBlocked => Duration::ZERO,
        // Wine heeds no priorities.
        _ if cluster.nodes.iter().any(|node| node.windows.is_some()) => Duration::from_secs(5),
        _ => Duration::from_secs(1),
    };
    if outcome.outage > longest {
        outcome.complaints.push(format!("no answer for {:?}", outcome.outage));
    }
    let stale = cluster.lease() + Duration::from_secs(1);
    if outcome.stale.is_some_and(|kept| kept > stale) {
        outcome.complaints.push(format!("the old holder kept a VIP for {:?}", outcome.stale));
    }
    cluster.start_all()?;
    Ok(outcome)
}

/// Complaints of a fault after which the group must be served by another node.
fn must_move(window: Window<'_>, limit: Duration) -> Outcome {
    let mut complaints = Vec::new();
    match window.moved(limit) {
        None => complaints.push(format!("no other node had the VIPs within {limit:?}")),
        Some(node) => {
            if !window.served_by(&node, window.since(), PATIENCE) {
                complaints.push(format!("the client was not answered by {node}"));
            }
        }
    }
    let mut outcome = window.close();
    outcome.complaints.append(&mut complaints);
    outcome
}

/// Complaints of a fault after which nothing must have moved.
fn must_stay(window: Window<'_>) -> Outcome {
    let mut outcome = window.close();
    if let Some(node) = &outcome.moved_to {
        outcome.complaints.push(format!("moved to {node}"));
    }
    if outcome.lost_probes > 0 {
        outcome.complaints.push(format!("{} probes lost", outcome.lost_probes));
    }
    outcome
}

fn host_dead(cluster: &mut Cluster, client: &Client, victim: usize) -> Result<Outcome, TrialError> {
    let window = Window::open(cluster, client, &Cluster::WEB, victim);
    cluster.nodes[victim].host.unplug()?;
    let outcome = must_move(window, PATIENCE);
    cluster.nodes[victim].host.plug()?;
    Ok(outcome)
}

fn brain(
    cluster: &mut Cluster,
    client: &Client,
    victim: usize,
    signal: Signal,
) -> Result<Outcome, TrialError> {
    let (_, brain) = cluster.pids(victim)?;
    let starts = cluster.status(victim)?.daemon.brain_starts;
    let window = Window::open(cluster, client, &Cluster::WEB, victim);
    cluster.signal(brain, signal);
    cluster.wait("a new brain answers", PATIENCE, |cluster| {
        cluster.status(victim).is_ok_and(|status| status.daemon.brain_starts > starts)
    })?;
    cluster.wait_settled()?;
    let outcome = must_stay(window);
    // A second death within ten seconds is answered otherwise; a new keeper knows of none.
    cluster.stop(victim)?;
    cluster.reap(victim, PATIENCE);
    Ok(outcome)
}

fn killed(cluster: &mut Cluster, client: &Client, victim: usize) -> Result<Outcome, TrialError> {
    let (keeper, brain) = cluster.pids(victim)?;
    let window = Window::open(cluster, client, &Cluster::WEB, victim);
    // The keeper first: with the brain first it could still act.
    cluster.signal(keeper, Signal::SIGKILL);
    cluster.signal(brain, Signal::SIGKILL);
    let outcome = must_move(window, PATIENCE);
    cluster.reap(victim, PATIENCE);
    Ok(outcome)
}

fn graceful_stop(cluster: &mut Cluster, client: &Client, victim: usize) -> Result<Outcome, TrialError> {
    let window = Window::open(cluster, client, &Cluster::WEB, victim);
    cluster.stop(victim)?;
    let mut outcome = must_move(window, PATIENCE);
    match cluster.reap(victim, PATIENCE) {
        Some(status) if status.success() => {}
        other => outcome.complaints.push(format!("the daemon ended with {other:?}")),
    }
    Ok(outcome)
}

fn switchover(
    cluster: &mut Cluster,
    client: &Client,
    victim: usize,
    group: &str,
    vips: &[IpAddr],
) -> Result<Outcome, TrialError> {
    // A node that has just started may not be ready yet, and says so; an operator would ask again.
    let begun = Instant::now();
    let (window, asked) = loop {
        let window = Window::open(cluster, client, vips, victim);
        let asked = cluster.switchover(victim, group, None);
        if asked.is_ok() || begun.elapsed() > PATIENCE {
            break (window, asked);
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut outcome = must_move(window, PATIENCE);
    if let Err(error) = asked {
        outcome.complaints.push(error.to_string());
    }
    Ok(outcome)
}

fn heartbeats_blocked(cluster: &mut Cluster, client: &Client, victim: usize) -> Result<Outcome, TrialError> {
    let window = Window::open(cluster, client, &Cluster::WEB, victim);
    let since = window.since();
    cluster.lab.block_heartbeats()?;
    let others: Vec<usize> = (0..cluster.nodes.len()).filter(|&index| index != victim).collect();
    let said = cluster.wait("a standby says that the VIP is answered for", PATIENCE, |cluster| {
        others.iter().any(|&index| {
            cluster.status(index).is_ok_and(|status| status.groups[0].reason.contains("answered by"))
        })
    });
    // Long enough for anything rash to happen: several dead times and a lease.
    std::thread::sleep(Duration::from_millis(2500).saturating_sub(since.elapsed()));
    let mut outcome = must_stay(window);
    if let Err(error) = said {
        outcome.complaints.push(error.to_string());
    }
    cluster.lab.unblock_heartbeats()?;
    Ok(outcome)
}

/// All daemons are stopped, a foreign host takes the VIPs, and the daemons start again. The outage counted is the one
/// after the foreign host has gone.
fn foreign_holder(cluster: &mut Cluster, client: &Client, victim: usize) -> Result<Outcome, TrialError> {
    for index in 0..cluster.nodes.len() {
        cluster.stop(index)?;
        cluster.reap(index, PATIENCE);
    }
    let stranger = match cluster.lab.hosts().into_iter().find(|host| host.name() == "stranger") {
        Some(host) => host,
        None => cluster.lab.host("stranger", &["192.0.2.66/24", "2001:db8::66/64"])?,
    };
    stranger.start_service()?;
    for vip in Cluster::WEB {
        stranger.add_address(&format!("{vip}/{}", if vip.is_ipv4() { 24 } else { 64 }))?;
    }
    let started = Instant::now();
    for index in 0..cluster.nodes.len() {
        cluster.spawn(index)?;
    }
    let mac = stranger.mac("eth0")?.to_string();
    let named = cluster.wait("the first node names the foreign host's MAC", PATIENCE, |cluster| {
        cluster.status(0).is_ok_and(|s| s.groups[0].occupied_by.as_deref() == Some(mac.as_str()))
    });
    std::thread::sleep(Duration::from_millis(500));
    let mut complaints: Vec<String> = named.err().map(|error| error.to_string()).into_iter().collect();
    for index in 0..cluster.nodes.len() {
        for vip in Cluster::WEB {
            if !cluster.lab.observer().held_by(&cluster.nodes[index].name, vip, started).is_empty() {
                complaints.push(format!("{} mounted {vip} while it was taken", cluster.nodes[index].name));
            }
        }
    }
    // The client is served by the stranger, as it would be.
    stranger.announce("eth0")?;
    for vip in Cluster::WEB {
        if !client.wait_answer_by(vip, "stranger", started, Instant::now() + PATIENCE) {
            complaints.push(format!("the client did not reach the foreign host at {vip}"));
        }
    }
    let window = Window::open(cluster, client, &Cluster::WEB, victim);
    for vip in Cluster::WEB {
        stranger.delete_address(&format!("{vip}/{}", if vip.is_ipv4() { 24 } else { 64 }))?;
    }
    let taken = cluster.wait("a node has the VIPs after the foreign host has gone", PATIENCE, |cluster| {
        Cluster::WEB.iter().all(|&vip| cluster.holder(vip).is_some())
    });
    if let Err(error) = taken {
        complaints.push(error.to_string());
    } else if let Some(holder) = cluster.holder(Cluster::WEB[0]) {
        let name = cluster.nodes[holder].name.clone();
        if !window.served_by(&name, window.since(), PATIENCE) {
            complaints.push(format!("the client was not answered by {name}"));
        }
    }
    let mut outcome = window.close();
    outcome.stale = None;
    outcome.moved_to = cluster.holder(Cluster::WEB[0]).map(|index| cluster.nodes[index].name.clone());
    outcome.complaints.append(&mut complaints);
    Ok(outcome)
}

fn service_failed(cluster: &mut Cluster, client: &Client, victim: usize) -> Result<Outcome, TrialError> {
    let Some(pid) = cluster.nodes[victim].service.as_ref().map(vipdrift_lab::Process::pid) else {
        return Err(TrialError::Unready {
            what: "a service that can be killed".into(),
            limit: Duration::ZERO,
            state: "the cluster was made without one".into(),
        });
    };
    let window = Window::open(cluster, client, &Cluster::WEB, victim);
    cluster.signal(pid, Signal::SIGKILL);
    let outcome = must_move(window, PATIENCE);
    cluster.start_service(victim)?;
    cluster.wait("the node is healthy again", PATIENCE, |cluster| {
        cluster
            .status(victim)
            .is_ok_and(|status| status.groups[0].role == vipdrift_control::GroupRole::Standby)
    })?;
    Ok(outcome)
}

/// The client stays with the old holder, the gateway with the new one: each side has reason to think itself connected.
/// Counted from the moment of healing, when the client must find the winner without waiting for its own traffic.
fn partition_healed(cluster: &mut Cluster, client: &Client, victim: usize) -> Result<Outcome, TrialError> {
    let Some(gateway) = cluster.gateway.clone() else {
        return Err(TrialError::Unready {
            what: "a gateway".into(),
            limit: Duration::ZERO,
            state: "the cluster was made without one".into(),
        });
    };
    let old = cluster.nodes[victim].host.clone();
    let mut rest: Vec<_> =
        (0..cluster.nodes.len()).filter(|&i| i != victim).map(|i| cluster.nodes[i].host.clone()).collect();
    rest.push(gateway);
    let rest: Vec<&vipdrift_lab::Host> = rest.iter().collect();
    let client_host = cluster.client.clone();
    cluster.lab.partition(&[&[&old, &client_host], &rest])?;
    let split = cluster.wait("the other side has a holder of its own", PATIENCE, |cluster| {
        cluster.lab.observer().holders(Cluster::WEB[0]).len() == 2
    });
    std::thread::sleep(Duration::from_secs(2));
    let window = Window::open(cluster, client, &Cluster::WEB, victim);
    cluster.lab.heal()?;
    let healed = window.since();
    let mut complaints: Vec<String> = split.err().map(|error| error.to_string()).into_iter().collect();
    let one = cluster.wait("one holder after the partition has healed", PATIENCE, |cluster| {
        let holder = cluster.holder(Cluster::WEB[0]);
        holder.is_some() && holder == cluster.holder(Cluster::WEB[1])
    });
    match (one, cluster.holder(Cluster::WEB[0])) {
        (Ok(_), Some(holder)) => {
            let node = &cluster.nodes[holder].name;
            if !window.served_by(node, healed, PATIENCE) {
                complaints.push(format!("the client did not find {node} after the partition healed"));
            }
        }
        (Err(error), _) => complaints.push(error.to_string()),
        (Ok(_), None) => complaints.push("the holder after the partition did not stay one".into()),
    }
    let mut outcome = window.close();
    outcome.complaints.append(&mut complaints);
    Ok(outcome)
}
