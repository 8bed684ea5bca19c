//! What the configuration means on one node.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use vipdrift_checks::Check;
use vipdrift_core::{
    CheckConfig, GroupConfig, GroupIndex, InterfaceIndex, NodeConfig, NodeIndex, Outline, Path, PeerConfig,
    Vip, VipIndex,
};
use vipdrift_wire::heartbeat::{GroupId, Keys, NodeId};

use super::file::{Config, GroupEntry, Lease, Prefer};
use super::placement::Placement;
use super::service::Hooks;
use super::{digest, outline};

/// How long a keeper holds the VIPs over the death of its brain.
pub(crate) const HOLD: Duration = Duration::from_millis(250);

/// The configuration as one node sees it; everything but the keys.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// This node's name.
    pub(crate) name: String,
    /// What the nodes have to agree on.
    pub(crate) outline: Outline,
    /// This node's heartbeat addresses.
    pub(crate) own: Vec<SocketAddr>,
    /// UDP port of every node.
    pub(crate) port: u16,
    /// The other nodes.
    pub(crate) peers: Vec<PeerConfig>,
    /// Heartbeat paths to the peers.
    pub(crate) paths: Vec<Path>,
    /// Real names of the interfaces that carry VIPs.
    pub(crate) interfaces: Vec<String>,
    /// Every VIP.
    pub(crate) vips: Vec<Vip>,
    /// Whether each VIP may be chosen as a source address.
    pub(crate) as_source: Vec<bool>,
    /// The groups.
    pub(crate) groups: Vec<GroupConfig>,
    /// The checks of all groups.
    pub(crate) checks: Vec<ServiceCheck>,
    /// The hooks of each group.
    pub(crate) hooks: Vec<Option<Hooks>>,
    /// Lifetime of mounted addresses.
    pub(crate) lease: Option<Duration>,
    /// Interval of the heartbeats.
    pub(crate) heartbeat: Duration,
    dead_after: u32,
    start_wait: Duration,
}

/// A health check: what decisions need of it, and how it is run.
#[derive(Debug, Clone)]
pub(crate) struct ServiceCheck {
    pub(crate) config: CheckConfig,
    pub(crate) check: Check,
    /// As whom its program runs, if that is said.
    pub(crate) user: Option<String>,
}

/// Names of the nodes that have one of `addresses`, in the order of the file.
pub(crate) fn names_of_own_addresses(config: &Config, addresses: &BTreeSet<IpAddr>) -> Vec<String> {
    let mine =
        config.nodes.iter().filter(|n| n.addresses.get_ref().iter().any(|a| addresses.contains(a.get_ref())));
    mine.map(|n| n.name.get_ref().clone()).collect()
}

impl Resolved {
    /// What all nodes have to agree on, in short, as the status shows it.
    pub(crate) fn digest(&self) -> String {
        format!("{:016x}", self.outline.digest())
    }

    /// The view of the node called `name`; `None` if there is no such node.
    pub(crate) fn new(config: &Config, name: &str) -> Option<Self> {
        let own = config.nodes.iter().find(|n| n.name.get_ref() == name)?;
        let own_addresses: Vec<_> = own.addresses.get_ref().iter().map(|a| *a.get_ref()).collect();
        let others: Vec<_> = config.nodes.iter().filter(|n| n.name.get_ref() != name).collect();
        let mut paths = Vec::new();
        for (index, other) in others.iter().enumerate() {
            let theirs: Vec<_> = other.addresses.get_ref().iter().map(|a| *a.get_ref()).collect();
            let pairs = pairs(&own_addresses, &theirs);
            paths.extend(pairs.into_iter().map(|(local, remote)| Path {
                peer: NodeIndex(index),
                local,
                remote,
            }));
        }
        let mut resolved = Self {
            name: name.to_owned(),
            outline: outline::of(config),
            own: own_addresses.iter().map(|a| SocketAddr::new(*a, config.cluster.port)).collect(),
            port: config.cluster.port,
            peers: others
                .iter()
                .map(|n| PeerConfig { name: n.name.get_ref().clone(), id: NodeId::of(n.name.get_ref()) })
                .collect(),
            paths,
            interfaces: Vec::new(),
            vips: Vec::new(),
            as_source: Vec::new(),
            groups: Vec::new(),
            checks: Vec::new(),
            hooks: Vec::new(),
            lease: match *config.cluster.lease.get_ref() {
                Lease::Off => None,
                Lease::Lasts(span) => Some(span),
            },
            heartbeat: config.cluster.heartbeat,
            dead_after: config.cluster.dead_after,
            start_wait: config.cluster.start_wait,
        };
        let placement = Placement::of(config);
        for (index, group) in config.groups.iter().enumerate() {
            resolved.add_group(config, index, &placement, own.interface(group.interface.get_ref()));
        }
        Some(resolved)
    }

    fn add_group(&mut self, config: &Config, at: usize, placement: &Placement, real: &str) {
        let group = &config.groups[at];
        let others = |groups: &BTreeSet<usize>| {
            groups.iter().copied().filter(|&other| other != at).map(GroupIndex).collect::<Vec<_>>()
        };
        let position = self.interfaces.iter().position(|name| name == real).unwrap_or_else(|| {
            self.interfaces.push(real.to_owned());
            self.interfaces.len() - 1
        });
        let interface = InterfaceIndex(position);
        let first = self.vips.len();
        self.vips.extend(group.vips.iter().map(|v| Vip { interface, address: *v.get_ref() }));
        self.as_source.resize(self.vips.len(), group.as_source);
        self.groups.push(GroupConfig {
            name: group.name.get_ref().clone(),
            id: GroupId::of(group.name.get_ref()),
            interface,
            vips: (first..self.vips.len()).map(VipIndex).collect(),
            order: order(config, group, placement.leader(config, at))
                .iter()
                .map(|name| NodeId::of(name))
                .collect(),
            together: others(&placement.together[at]),
            apart: others(&placement.apart[at]),
            failback: group.failback,
            occupied: group.occupied,
            switchover: group.switchover,
            references: group.references.iter().map(|r| *r.get_ref()).collect(),
            isolated: group.isolated,
            all_unhealthy: group.all_unhealthy,
            gate: group.hooks.as_ref().and_then(Hooks::gate),
        });
        let index = GroupIndex(self.groups.len() - 1);
        self.hooks.push(group.hooks.clone());
        self.checks.extend(group.checks.iter().map(|entry| ServiceCheck {
            config: CheckConfig {
                name: entry.name.get_ref().clone(),
                group: index,
                effect: entry.effect,
                initially_passing: entry.initially_passing,
            },
            check: Check {
                probe: entry.probe.clone(),
                interval: entry.interval,
                timeout: entry.timeout,
                fall: entry.fall,
                rise: entry.rise,
                initially_passing: entry.initially_passing,
            },
            user: entry.user.clone(),
        }));
    }

    /// What the core decides by.
    ///
    /// `answers_within`: what the system adds to the time that an answer takes.
    pub(crate) fn node_config(&self, keys: Keys, answers_within: Duration) -> NodeConfig {
        NodeConfig {
            name: self.name.clone(),
            id: NodeId::of(&self.name),
            keys,
            outline: self.outline.clone(),
            heartbeat: self.heartbeat,
            answers_within,
            dead_after: self.dead_after,
            lease: self.lease,
            hold: HOLD,
            start_wait: self.start_wait,
            peers: self.peers.clone(),
            paths: self.paths.clone(),
            interfaces: self.interfaces.clone(),
            vips: self.vips.clone(),
            groups: self.groups.clone(),
            sparing: false,
            checks: self.checks.iter().map(|check| check.config.clone()).collect(),
        }
    }
}

/// The nodes in the order of preference for `group`; where it is spread, by the name of `leader`.
pub(super) fn order<'c>(config: &'c Config, group: &'c GroupEntry, leader: &GroupEntry) -> Vec<&'c str> {
    let mut names: Vec<_> = config.nodes.iter().map(|n| n.name.get_ref().as_str()).collect();
    let weight = |name: &str| config.nodes.iter().find(|n| n.name.get_ref() == name).map_or(1, |n| n.weight);
    match &group.prefer {
        Prefer::AsWritten => {}
        Prefer::Spread => {
            names.sort_by_cached_key(|name| {
                (std::cmp::Reverse(digest::rendezvous(leader.name.get_ref(), name, weight(name))), *name)
            });
        }
        Prefer::These(preferred) => names.sort_by_key(|name| {
            preferred.iter().position(|p| p.get_ref() == name).unwrap_or(preferred.len())
        }),
    }
    names
}

/// The first with the first, the second with the second where that is plainly meant; else everything of one family.
fn pairs(own: &[IpAddr], theirs: &[IpAddr]) -> Vec<(IpAddr, IpAddr)> {
    let alike = |a: &IpAddr, b: &IpAddr| a.is_ipv4() == b.is_ipv4();
    if own.len() == theirs.len() && own.iter().zip(theirs).all(|(a, b)| alike(a, b)) {
        return own.iter().copied().zip(theirs.iter().copied()).collect();
    }
    let all = own.iter().flat_map(|a| theirs.iter().map(move |b| (*a, *b)));
    all.filter(|(a, b)| alike(a, b)).collect()
}
