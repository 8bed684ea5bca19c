//! Two nodes whose datagrams arrive at once and whose keepers carry out at once what they are told.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};
use vipdrift_core::{
    Action, AllUnhealthy, Drained, Event, Failback, GroupConfig, InterfaceIndex, IsolatedPolicy, LinkFacts,
    Node, NodeConfig, NodeIndex, OccupiedPolicy, Outline, Path, PathIndex, PeerConfig, Plan, Start,
    Switchover, Timestamp, Vip, VipIndex,
};
use vipdrift_wire::heartbeat::{GroupId, Keys, NodeId, Setting};
use vipdrift_wire::{Mac, arp, parse_frame};

const NAMES: [&str; 2] = ["alpha", "bravo"];
const HEARTBEAT: Duration = Duration::from_millis(10);
/// Answers for its own address like any other machine.
const GATEWAY: (Mac, Ipv4Addr) = (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(192, 0, 2, 1));

pub(crate) struct Pair {
    nodes: [Option<Node>; 2],
    now: Timestamp,
}

/// What one node did in a step.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) frames: usize,
    pub(crate) mounted: usize,
}

fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 11 + u8::try_from(node).unwrap_or_default())
}

fn address_v6(node: usize) -> Ipv6Addr {
    let [.., last] = address(node).octets();
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last))
}

fn mac(node: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, 11 + u8::try_from(node).unwrap_or_default()])
}

fn vip(number: usize) -> IpNet {
    let [.., high, low] = number.to_be_bytes();
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, u16::from_be_bytes([high, low]));
    Ipv6Net::new_assert(address, 64).into()
}

fn config(node: usize, groups: usize, vips: usize) -> NodeConfig {
    let id = NodeId::of;
    let interface = InterfaceIndex(0);
    let other = 1 - node;
    NodeConfig {
        name: NAMES[node].into(),
        id: id(NAMES[node]),
        keys: Keys::new("bench", b"0123456789abcdef", None),
        outline: Outline::from(vec![Setting::new("cluster.heartbeat", "10ms")]),
        heartbeat: HEARTBEAT,
        answers_within: Duration::ZERO,
        dead_after: 3,
        lease: Some(Duration::from_secs(2)),
        hold: Duration::from_millis(250),
        start_wait: Duration::from_secs(3),
        peers: vec![PeerConfig { name: NAMES[other].into(), id: id(NAMES[other]) }],
        paths: vec![Path {
            peer: NodeIndex(0),
            local: IpAddr::V4(address(node)),
            remote: IpAddr::V4(address(other)),
        }],
        interfaces: vec!["eth0".into()],
        vips: (0..groups * vips).map(|number| Vip { interface, address: vip(number) }).collect(),
        groups: (0..groups)
            .map(|group| GroupConfig {
                name: format!("g{group}"),
                id: GroupId::of(&format!("g{group}")),
                interface,
                vips: (group * vips..(group + 1) * vips).map(VipIndex).collect(),
                order: NAMES.map(id).into(),
                together: Vec::new(),
                apart: Vec::new(),
                failback: Failback::Never,
                occupied: OccupiedPolicy::Wait,
                switchover: Switchover::Strict,
                references: vec![vipdrift_core::Reference::Auto],
                isolated: IsolatedPolicy::Release,
                all_unhealthy: AllUnhealthy::Keep,
                gate: None,
            })
            .collect(),
        checks: Vec::new(),
        sparing: false,
    }
}

impl Pair {
    /// Alpha holds all groups, and nothing has happened for a second.
    pub(crate) fn settled(groups: usize, vips: usize) -> Self {
        let now = Timestamp::from_nanos(1_000_000_000);
        let nodes = [0, 1].map(|node| {
            let start = Start::Fresh { drained: Drained::default() };
            let mut node_made = Node::new(config(node, groups, vips), 7 + node as u64, start, now);
            let facts = LinkFacts {
                present: true,
                running: true,
                mac: Some(mac(node)),
                addresses: vec![
                    IpNet::new_assert(IpAddr::V4(address(node)), 24),
                    IpNet::new_assert(IpAddr::V6(address_v6(node)), 64),
                ],
                gateways: vec![IpAddr::V4(GATEWAY.1)],
            };
            node_made.handle(Event::Link { interface: InterfaceIndex(0), facts }, now);
            Some(node_made)
        });
        let mut pair = Self { nodes, now };
        pair.carry_on();
        while pair.mounted(0) < groups * vips || pair.now < Timestamp::from_nanos(6_000_000_000) {
            pair.step();
            assert!(pair.now < Timestamp::from_nanos(60_000_000_000), "alpha does not take all groups");
        }
        pair
    }

    fn mounted(&self, node: usize) -> usize {
        let groups = self.nodes[node].iter().flat_map(|node| node.snapshot().groups);
        groups.flat_map(|group| group.vips).filter(|vip| vip.mounted).count()
    }

    /// Both nodes live through one heartbeat interval.
    pub(crate) fn interval(&mut self) {
        let until = self.now + HEARTBEAT;
        while self.next().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now = until;
    }

    /// Alpha's machine dies.
    pub(crate) fn kill(&mut self) {
        self.nodes[0] = None;
    }

    /// Bravo lives on until it has mounted all VIPs.
    pub(crate) fn take_over(&mut self, vips: usize) -> Done {
        let mut done = Done::default();
        while done.mounted < vips {
            let more = self.step();
            done.frames += more.frames;
            done.mounted = done.mounted.max(more.mounted);
            assert!(self.now < Timestamp::from_nanos(90_000_000_000), "bravo does not take over");
        }
        done
    }

    fn next(&self) -> Option<Timestamp> {
        self.nodes.iter().flatten().filter_map(Node::next_deadline).map(|deadline| deadline.at).min()
    }

    /// To the next deadline, and what follows from it.
    fn step(&mut self) -> Done {
        if let Some(at) = self.next() {
            self.now = self.now.max(at);
        }
        for node in self.nodes.iter_mut().flatten() {
            if node.next_deadline().is_some_and(|deadline| deadline.at <= self.now) {
                node.handle(Event::Timeout, self.now);
            }
        }
        self.carry_on()
    }

    /// Delivers what there is, until there is nothing.
    fn carry_on(&mut self) -> Done {
        let mut done = Done::default();
        let now = self.now;
        let mut busy = true;
        while std::mem::take(&mut busy) {
            for node in 0..2 {
                let mut actions = Vec::new();
                while let Some(action) = self.nodes[node].as_mut().and_then(Node::poll_action) {
                    actions.push(action);
                }
                busy |= !actions.is_empty();
                for action in actions {
                    self.act(node, action, now, &mut done);
                }
            }
        }
        done
    }

    fn act(&mut self, node: usize, action: Action, now: Timestamp, done: &mut Done) {
        let mut tell = |node: usize, event: Event<'_>| {
            if let Some(node) = &mut self.nodes[node] {
                node.handle(event, now);
            }
        };
        match action {
            Action::SendDatagram { bytes, .. } => {
                tell(1 - node, Event::Datagram { path: Some(PathIndex(0)), bytes: &bytes });
            }
            Action::SendFrame { bytes, .. } => {
                done.frames += 1;
                let interface = InterfaceIndex(0);
                let alive = self.nodes[1 - node].is_some();
                let mut tell = |bytes: &[u8]| {
                    if let Some(node) = &mut self.nodes[node] {
                        node.handle(Event::Frame { interface, bytes }, now);
                    }
                };
                // Each kernel answers for its own address, and so does the gateway.
                if let Ok((_, vipdrift_wire::Frame::Arp(asked))) = parse_frame(&bytes) {
                    if asked.target_ip == GATEWAY.1 {
                        tell(&arp::reply(GATEWAY.0, GATEWAY.1, mac(node), address(node)));
                    } else if asked.target_ip == address(1 - node) && alive {
                        tell(&arp::reply(mac(1 - node), address(1 - node), mac(node), address(node)));
                    }
                }
            }
            Action::Apply { plan, desired } => {
                if node == 1 {
                    done.mounted = desired.len();
                }
                tell(node, applied(plan, &desired));
            }
            _ => {}
        }
    }
}

fn applied(plan: Plan, desired: &BTreeSet<VipIndex>) -> Event<'static> {
    Event::Applied { plan, mounted: desired.iter().copied().collect(), failed: Vec::new(), complete: true }
}
