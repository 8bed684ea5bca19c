//! A cluster as a scenario has it: nodes, groups, policies, intervals.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vipdrift_core::{
    AllUnhealthy, CheckConfig, Effect, Failback, GroupConfig, GroupIndex, InterfaceIndex, IsolatedPolicy,
    NodeConfig, NodeIndex, OccupiedPolicy, Outline, Path, PeerConfig, Reference, Switchover, Vip, VipIndex,
};
use vipdrift_wire::Mac;
use vipdrift_wire::heartbeat::{GroupId, Keys, NodeId, Setting};

use super::span;

/// Names of the nodes, in order.
pub(crate) const NAMES: [&str; 7] = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf"];
/// Name of the interface that carries the VIPs.
const INTERFACE: &str = "eth0";
/// How long a keeper may hold the VIP over the death of its brain.
pub(crate) const HOLD: Duration = Duration::from_millis(250);

/// Whose answers prove that a node is not cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum References {
    /// The gateway and neighbours seen.
    Auto,
    /// The gateway alone.
    Gateway,
    /// The client, by its address.
    Named,
    /// Nobody.
    Nobody,
}

/// What all nodes have been told alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Setup {
    /// 2 to 7.
    pub nodes: usize,
    /// H.
    #[serde(with = "span")]
    pub heartbeat: Duration,
    /// Missed heartbeats.
    pub dead_after: u32,
    /// Lifetime of a mounted address; zero for none.
    #[serde(with = "span")]
    pub lease: Duration,
    /// Longest wait for proof that the link works.
    #[serde(with = "span")]
    pub start_wait: Duration,
    /// A second heartbeat path, over a LAN of its own.
    pub cross_link: bool,
    /// There is a gateway on the LAN.
    pub gateway: bool,
    /// Whose answers prove that a node is not cut off.
    pub references: References,
    /// Real-time priority is granted: keepers are less patient then.
    pub real_time: bool,
    /// Clocks run too fast or too slow by up to this many millionths.
    pub clock_ppm: u32,
    /// Ordinary time of a packet on the wire.
    #[serde(with = "span")]
    pub wire: Duration,
    /// VIPs are asked for as if they were very many.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sparing: bool,
    /// The groups.
    pub groups: Vec<GroupSetup>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GroupSetup {
    /// Number of IPv4 VIPs.
    pub v4: usize,
    /// Number of IPv6 VIPs.
    pub v6: usize,
    /// Nodes that may hold it, most preferred first.
    pub order: Vec<usize>,
    /// How long a preferred node must have been healthy to get it back; zero for never.
    #[serde(with = "span")]
    pub failback: Duration,
    /// The heir mounts first.
    pub hitless: bool,
    /// Foreign holders are overruled.
    pub claim: bool,
    /// An isolated holder keeps the VIPs.
    pub keep_isolated: bool,
    /// Its health check.
    #[serde(default, skip_serializing_if = "GroupCheck::is_none")]
    pub check: GroupCheck,
    /// A holder whose check fails lets go even if nobody else is healthy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub release_unhealthy: bool,
    /// Positions of all others that must be on the same node; they name this one as well. Not drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<usize>,
    /// Positions of all that must not; they name this one as well. Not drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<usize>,
    /// How long the program takes that has to succeed before a mount; zero for none. Not drawn.
    #[serde(default, with = "span", skip_serializing_if = "Duration::is_zero")]
    pub gate: Duration,
}

/// The health check of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupCheck {
    /// It has none.
    #[default]
    None,
    /// A node on which it fails must not hold the group.
    Fault,
    /// A node on which it fails comes behind the others.
    Demote,
}

impl GroupCheck {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl Setup {
    /// An ordinary cluster: three nodes, one group, a gateway, 10 ms.
    #[must_use]
    pub fn ordinary() -> Self {
        Self {
            nodes: 3,
            heartbeat: Duration::from_millis(10),
            dead_after: 3,
            lease: Duration::from_secs(2),
            start_wait: Duration::from_secs(3),
            cross_link: false,
            gateway: true,
            references: References::Auto,
            real_time: true,
            clock_ppm: 0,
            wire: Duration::from_micros(80),
            sparing: false,
            groups: vec![GroupSetup {
                v4: 1,
                v6: 0,
                order: vec![0, 1, 2],
                failback: Duration::ZERO,
                hitless: false,
                claim: false,
                keep_isolated: false,
                check: GroupCheck::None,
                release_unhealthy: false,
                together: vec![],
                apart: vec![],
                gate: Duration::ZERO,
            }],
        }
    }

    /// The dead time.
    #[must_use]
    pub fn dead(&self) -> Duration {
        self.heartbeat * self.dead_after
    }

    /// `None` where addresses are mounted for ever.
    #[must_use]
    pub fn lease(&self) -> Option<Duration> {
        (!self.lease.is_zero()).then_some(self.lease)
    }

    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let ms = Duration::from_millis;
        if !(2..=NAMES.len()).contains(&self.nodes) {
            return Some(format!("{} nodes: 2 to {} are possible", self.nodes, NAMES.len()));
        }
        if !(ms(5)..=ms(10_000)).contains(&self.heartbeat) {
            return Some("heartbeat: 5 ms to 10 s are possible".to_owned());
        }
        if !(2..=100).contains(&self.dead_after) {
            return Some("dead-after: 2 to 100 are possible".to_owned());
        }
        let spans = [self.lease, self.start_wait, self.wire];
        let failbacks = self.groups.iter().map(|group| group.failback);
        if spans.into_iter().chain(failbacks).any(|span| span > ms(3_600_000)) {
            return Some("lease, start-wait, failback and wire: up to an hour is possible".to_owned());
        }
        if self.clock_ppm > 10_000 {
            return Some("clock-ppm: 0 to 10000 are possible".to_owned());
        }
        if self.groups.iter().map(|group| group.v4.min(21)).sum::<usize>() > 200 {
            return Some("0 to 200 IPv4 VIPs are possible".to_owned());
        }
        if self.groups.is_empty() || self.groups.len() > 40 {
            return Some("1 to 40 groups are possible".to_owned());
        }
        for (index, group) in self.groups.iter().enumerate() {
            let names = |others: fn(&GroupSetup) -> &Vec<usize>| {
                let named =
                    |&other: &usize| self.groups.get(other).is_some_and(|o| others(o).contains(&index));
                others(group).iter().all(|other| *other != index && named(other))
            };
            if !names(|group| &group.together) || !names(|group| &group.apart) {
                return Some("together and apart: each group of a pair has to name the other".to_owned());
            }
            let known = group.order.iter().all(|&node| node < self.nodes);
            if !known || group.order.is_empty() || group.v4 + group.v6 == 0 || group.v4 + group.v6 > 20 {
                return Some("a group needs nodes that exist and 1 to 20 VIPs".to_owned());
            }
        }
        None
    }

    /// Groups and VIPs: the group of each VIP.
    pub(crate) fn vips(&self) -> Vec<(usize, IpNet)> {
        let mut vips = Vec::new();
        let (mut v4, mut v6) = (0u16, 0u16);
        for (index, group) in self.groups.iter().enumerate() {
            for _ in 0..group.v4 {
                let net = if v4 < 100 { [192, 0, 2] } else { [198, 51, 100] };
                let last = u8::try_from(v4 % 100).unwrap_or(0) + 100;
                vips.push((index, net_of(IpAddr::from([net[0], net[1], net[2], last]), 24)));
                v4 += 1;
            }
            for _ in 0..group.v6 {
                let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, v6);
                vips.push((index, net_of(IpAddr::V6(address), 64)));
                v6 += 1;
            }
        }
        vips
    }

    /// The configuration of a node. `other`: it has read a different file, with the orders reversed.
    pub(crate) fn node(&self, own: usize, keys: &Keys, other: bool) -> NodeConfig {
        let others: Vec<usize> = (0..self.nodes).filter(|&index| index != own).collect();
        let links = if self.cross_link { 2 } else { 1 };
        let paths = others
            .iter()
            .enumerate()
            .flat_map(|(peer, &index)| {
                (0..links).map(move |lan| Path {
                    peer: NodeIndex(peer),
                    local: IpAddr::V4(ip(lan, own)),
                    remote: IpAddr::V4(ip(lan, index)),
                })
            })
            .collect();
        let vips = self.vips();
        NodeConfig {
            name: NAMES[own].to_owned(),
            id: NodeId::of(NAMES[own]),
            keys: keys.clone(),
            outline: self.outline(other),
            heartbeat: self.heartbeat,
            answers_within: Duration::ZERO,
            dead_after: self.dead_after,
            lease: self.lease(),
            hold: HOLD,
            start_wait: self.start_wait,
            peers: others
                .iter()
                .map(|&index| PeerConfig { name: NAMES[index].to_owned(), id: NodeId::of(NAMES[index]) })
                .collect(),
            paths,
            interfaces: vec![INTERFACE.to_owned()],
            vips: vips.iter().map(|&(_, address)| Vip { interface: InterfaceIndex(0), address }).collect(),
            groups: self
                .groups
                .iter()
                .enumerate()
                .map(|(i, group)| self.group(i, group, &vips, other))
                .collect(),
            checks: self.checks().into_iter().map(|(_, check)| check).collect(),
            sparing: self.sparing,
        }
    }

    /// What the nodes have to agree on; in the other file, the orders of those groups where it makes a difference.
    fn outline(&self, other: bool) -> Outline {
        let order = |index: usize, group: &GroupSetup| {
            let mut order = group.order.clone();
            if other {
                order.reverse();
            }
            Setting::new(format!("group {} prefer", group_name(index)), &format!("{order:?}"))
        };
        let groups = self.groups.iter().enumerate().map(|(index, group)| order(index, group));
        groups
            .chain([Setting::new("cluster.heartbeat", &format!("{:?}", self.heartbeat))])
            .collect::<Vec<_>>()
            .into()
    }

    /// Every check, with the group that it belongs to.
    pub(crate) fn checks(&self) -> Vec<(usize, CheckConfig)> {
        let groups = self.groups.iter().enumerate();
        let check = |(index, group): (usize, &GroupSetup)| {
            let effect = match group.check {
                GroupCheck::None => return None,
                GroupCheck::Fault => Effect::Fault,
                GroupCheck::Demote => Effect::Demote,
            };
            let group = GroupIndex(index);
            Some((index, CheckConfig { name: "service".into(), group, effect, initially_passing: false }))
        };
        groups.filter_map(check).collect()
    }

    fn group(&self, index: usize, group: &GroupSetup, vips: &[(usize, IpNet)], other: bool) -> GroupConfig {
        let name = group_name(index);
        let mut order: Vec<NodeId> = group.order.iter().map(|&node| NodeId::of(NAMES[node])).collect();
        if other {
            order.reverse();
        }
        GroupConfig {
            id: GroupId::of(&name),
            name,
            interface: InterfaceIndex(0),
            vips: (0..vips.len()).filter(|&vip| vips[vip].0 == index).map(VipIndex).collect(),
            order,
            together: group.together.iter().copied().map(GroupIndex).collect(),
            apart: group.apart.iter().copied().map(GroupIndex).collect(),
            failback: if group.failback.is_zero() {
                Failback::Never
            } else {
                Failback::After(group.failback)
            },
            occupied: if group.claim { OccupiedPolicy::Claim } else { OccupiedPolicy::Wait },
            switchover: if group.hitless { Switchover::Hitless } else { Switchover::Strict },
            references: match self.references {
                References::Auto => vec![Reference::Auto],
                References::Gateway => vec![Reference::Gateway],
                References::Named => vec![Reference::Address(IpAddr::V4(CLIENT))],
                References::Nobody => vec![],
            },
            // One that runs already has its time first.
            gate: (!group.gate.is_zero()).then(|| group.gate * 2 + Duration::from_secs(1)),
            all_unhealthy: if group.release_unhealthy { AllUnhealthy::Release } else { AllUnhealthy::Keep },
            isolated: if group.keep_isolated { IsolatedPolicy::Keep } else { IsolatedPolicy::Release },
        }
    }
}

fn net_of(address: IpAddr, prefix: u8) -> IpNet {
    IpNet::new(address, prefix).unwrap_or_else(|_| IpNet::from(address))
}

/// Name of a group.
pub(crate) fn group_name(index: usize) -> String {
    if index == 0 { "web".to_owned() } else { format!("group{index}") }
}

/// The gateway's address.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The client's address.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// The foreign machine's address.
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 8);

/// A node's own address on the LAN (0) or on the cross link (1).
pub(crate) fn ip(lan: usize, node: usize) -> Ipv4Addr {
    let last = 11 + u8::try_from(node).unwrap_or(0);
    if lan == 0 { Ipv4Addr::new(192, 0, 2, last) } else { Ipv4Addr::new(203, 0, 113, last) }
}

/// A node's own IPv6 address on the LAN.
pub(crate) fn ip6(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11 + u16::try_from(node).unwrap_or(0))
}

/// The MAC address of a station on the LAN.
pub(crate) fn mac(station: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, 1 + u8::try_from(station).unwrap_or(0)])
}
