//! Who is on the LAN: names, addresses, and each node's configuration.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vipdrift_core::{
    Failback, GroupConfig, InterfaceIndex, IsolatedPolicy, NodeConfig, NodeIndex, OccupiedPolicy, Path,
    PeerConfig, Reference, Switchover, Vip, VipIndex,
};
use vipdrift_wire::Mac;
use vipdrift_wire::heartbeat::{GroupId, Keys, NodeId};

pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// What differs between tests.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) nodes: usize,
    /// Groups of one VIP each; every next one prefers the next node.
    pub(crate) groups: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) failback: Failback,
    pub(crate) switchover: Switchover,
    pub(crate) occupied: OccupiedPolicy,
    /// The nodes' configurations differ: every other one has the order of the nodes reversed.
    pub(crate) quarrel: bool,
    /// A host outside the cluster that answers ARP and may hold the VIP.
    pub(crate) gateway: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 3,
            groups: 1,
            heartbeat: Duration::from_millis(10),
            failback: Failback::Never,
            switchover: Switchover::Strict,
            occupied: OccupiedPolicy::Wait,
            quarrel: false,
            gateway: true,
        }
    }
}

pub(crate) fn name(index: usize) -> String {
    ["alpha", "bravo", "charlie", "delta"][index].to_owned()
}

pub(super) fn ip(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 11 + u8::try_from(index).unwrap())
}

/// VIPs in the nodes' own subnet, 192.0.2.100 and up; then others'.
const NEAR: usize = 100;

/// The VIP of a group.
pub(crate) fn vip(group: usize) -> Ipv4Addr {
    let last = |offset: usize| u8::try_from(offset).expect("up to 612 groups");
    match group {
        0..NEAR => Ipv4Addr::new(192, 0, 2, 100 + last(group)),
        NEAR..356 => Ipv4Addr::new(198, 51, 100, last(group - NEAR)),
        _ => Ipv4Addr::new(203, 0, 113, last(group - NEAR - 256)),
    }
}

pub(super) fn vip_index(address: Ipv4Addr) -> Option<VipIndex> {
    let last = usize::from(address.octets()[3]);
    match address.octets() {
        [192, 0, 2, _] => last.checked_sub(100).filter(|&group| group < NEAR),
        [198, 51, 100, _] => Some(NEAR + last),
        [203, 0, 113, _] => Some(NEAR + 256 + last),
        _ => None,
    }
    .map(VipIndex)
}

pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const GATEWAY_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);

pub(super) fn mac(index: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, 1 + u8::try_from(index).unwrap()])
}

pub(crate) fn config(setup: &Setup, own: usize) -> NodeConfig {
    let others: Vec<usize> = (0..setup.nodes).filter(|&index| index != own).collect();
    let reversed = setup.quarrel && own.is_multiple_of(2);
    NodeConfig {
        name: name(own),
        id: NodeId::of(&name(own)),
        keys: Keys::new("test", b"0123456789abcdef", None),
        digest: if reversed { 8 } else { 7 },
        heartbeat: setup.heartbeat,
        dead_after: 3,
        lease: Some(LEASE),
        hold: Duration::from_millis(250),
        start_wait: Duration::from_secs(3),
        peers: others
            .iter()
            .map(|&index| PeerConfig { name: name(index), id: NodeId::of(&name(index)) })
            .collect(),
        paths: others
            .iter()
            .enumerate()
            .map(|(peer, &index)| Path {
                peer: NodeIndex(peer),
                local: IpAddr::V4(ip(own)),
                remote: IpAddr::V4(ip(index)),
            })
            .collect(),
        interfaces: vec!["eth0".into()],
        vips: (0..setup.groups)
            .map(|group| Vip {
                interface: InterfaceIndex(0),
                address: format!("{}/24", vip(group)).parse().unwrap(),
            })
            .collect(),
        groups: (0..setup.groups)
            .map(|group| {
                let title = if group == 0 { "web".to_owned() } else { format!("group {group}") };
                GroupConfig {
                    id: GroupId::of(&title),
                    name: title,
                    interface: InterfaceIndex(0),
                    vips: vec![VipIndex(group)],
                    order: (0..setup.nodes)
                        .map(|index| if reversed { setup.nodes - 1 - index } else { index })
                        .map(|index| NodeId::of(&name((index + group) % setup.nodes)))
                        .collect(),
                    failback: setup.failback,
                    occupied: setup.occupied,
                    switchover: setup.switchover,
                    references: vec![Reference::Auto],
                    isolated: IsolatedPolicy::Release,
                }
            })
            .collect(),
    }
}
