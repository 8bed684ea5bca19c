//! A scenario made of bytes, for fuzzers: every string of bytes is one, and a small change of the bytes is a small change
//! of the scenario. What is missing at the end is zero, and zeros are what is ordinary.
//!
//! The first byte is the seed of the wire. [`SETUP`] bytes tell of the cluster, [`GROUP`] of each group, and then
//! [`FAULT`] of each fault.

use std::time::Duration;

use super::{Bystanders, Fault, GroupCheck, GroupSetup, NodeNumber, Planned, References, Scenario, Setup};
use crate::bounds;

/// Bytes behind the first that tell of the cluster.
const SETUP: usize = 9;
/// Bytes of each group.
const GROUP: usize = 4;
/// Bytes of each fault.
const FAULT: usize = 5;
/// More groups than this cost more than they show.
const MOST_GROUPS: usize = 3;
/// Faults past this are left out.
const MOST_FAULTS: usize = 8;
/// Heartbeats, from all nodes to all, that one world may cost. Where there would be more, they are made less frequent.
const MOST_HEARTBEATS: u128 = 4000;
/// The longest heartbeat.
const LONGEST: Duration = ms(1000);
/// Below this, the time of a fault is counted from the rest after the faults before it, in steps of [`CALM`].
const AFTER_REST: u8 = 64;
const CALM: Duration = ms(32);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// 0.5 ms to 31.75 s, in 16 steps for each doubling.
fn scale(byte: u8) -> Duration {
    Duration::from_nanos((31_250 * u64::from(16 + byte % 16)) << (byte / 16))
}

/// From `least` to `most`, in even steps.
fn share(byte: u8, least: u64, most: u64) -> u64 {
    least + (most - least) * u64::from(byte) / 255
}

fn pick<T: Copy, const N: usize>(byte: u8, among: [T; N]) -> T {
    among[usize::from(byte) % N]
}

fn bit(byte: u8, number: u8) -> bool {
    byte >> number & 1 == 1
}

/// Takes the next `N` bytes, zeros where there are none.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (head, rest) = bytes.split_at(N.min(bytes.len()));
    *bytes = rest;
    let mut taken = [0; N];
    taken[..head.len()].copy_from_slice(head);
    taken
}

pub(super) fn scenario(mut bytes: &[u8]) -> Scenario {
    let [seed] = take(&mut bytes);
    let mut setup = setup(&mut bytes);
    let faults: Vec<[u8; FAULT]> =
        bytes.chunks(FAULT).take(MOST_FAULTS).map(|mut rest| take(&mut rest)).collect();
    loop {
        let (faults, lasts) = plan(&setup, &faults);
        let pairs = setup.nodes * (setup.nodes - 1) * if setup.cross_link { 2 } else { 1 };
        let cost = lasts.as_nanos() / setup.heartbeat.as_nanos() * pairs as u128;
        if cost <= MOST_HEARTBEATS || setup.heartbeat >= LONGEST {
            return Scenario { seed: seed.into(), lasts, setup, faults };
        }
        setup.heartbeat = (setup.heartbeat * 2).min(LONGEST);
    }
}

fn setup(bytes: &mut &[u8]) -> Setup {
    let [nodes, heartbeat, dead_after, lease, start_wait, flags, clock, wire, groups] = take::<SETUP>(bytes);
    let nodes = pick(nodes, [3, 2, 4]);
    let groups = (0..=usize::from(groups) % MOST_GROUPS).map(|_| group(take(bytes), nodes)).collect();
    Setup {
        nodes,
        heartbeat: ms(pick(heartbeat, [100, 20, 50, 200, 500, 1000, 30, 75, 150, 300, 700])),
        dead_after: pick(dead_after, [3, 2, 4, 6, 5, 8]),
        lease: ms(pick(lease, [2000, 1000, 3000, 8000, 0, 1500, 5000])),
        start_wait: ms(pick(start_wait, [3000, 500, 10_000, 1000, 5000])),
        cross_link: bit(flags, 0),
        gateway: !bit(flags, 1),
        references: pick(
            flags >> 2,
            [References::Auto, References::Gateway, References::Named, References::Nobody],
        ),
        real_time: !bit(flags, 4),
        clock_ppm: u32::from(clock) * 2,
        wire: Duration::from_micros(share(wire, 80, 900)),
        sparing: bit(clock, 0),
        groups,
    }
}

fn group([vips, order, failback, policy]: [u8; GROUP], nodes: usize) -> GroupSetup {
    let (v4, v6) = pick(vips, [(1, 0), (1, 1), (0, 1), (3, 0), (2, 2)]);
    GroupSetup {
        v4,
        v6,
        order: self::order(order.into(), nodes),
        // Never, in half of the cases.
        failback: if bit(failback, 0) { scale(failback).max(ms(1)).min(ms(8000)) } else { Duration::ZERO },
        hitless: bit(policy, 0),
        claim: bit(policy, 1),
        keep_isolated: bit(policy, 2),
        check: pick(policy >> 3, [GroupCheck::None, GroupCheck::Fault, GroupCheck::Demote]),
        release_unhealthy: bit(policy, 7),
        together: vec![],
        apart: vec![],
        gate: Duration::ZERO,
    }
}

/// All nodes in their order, first; then in every other; and then without the last ones.
fn order(mut number: usize, nodes: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..nodes).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let index = number % left.len();
        number /= left.len();
        order.push(left.remove(index));
    }
    order.truncate(nodes - number % nodes);
    order
}

/// The faults with their times, and how long the world has to last for them.
fn plan(setup: &Setup, faults: &[[u8; FAULT]]) -> (Vec<Planned>, Duration) {
    let mut planned: Vec<Planned> = Vec::new();
    // The first fault since the last rest.
    let mut first = 0;
    let mut rest = bounds::start(setup);
    for &[kind, when, lasts, on, more] in faults {
        let at = if when < AFTER_REST {
            first = planned.len();
            rest + ms(1) + CALM * u32::from(when)
        } else {
            planned.last().map_or(Duration::ZERO, |last| last.at) + scale(when)
        };
        let fault = fault(setup, kind, on, more);
        planned.push(Planned { at, lasts: scale(lasts).max(ms(1)), fault });
        rest = bounds::rest_after(setup, &planned[first..]);
    }
    (planned, rest)
}

fn fault(setup: &Setup, kind: u8, on: u8, more: u8) -> Fault {
    let (nodes, groups) = (setup.nodes, setup.groups.len());
    // Whoever is likely to hold a group, or a node that is named.
    let group = usize::from(on / 16) % groups;
    let order = &setup.groups[group].order;
    let on = usize::from(on % 16);
    let on = if on < 4 { order[on % order.len()] } else { on % nodes };
    let other = NodeNumber((on + 1 + usize::from(more) % (nodes - 1)) % nodes);
    let on = NodeNumber(on);
    match kind % 36 {
        0 => Fault::PowerCut { on },
        1 => Fault::Switchover {
            on: if bit(more, 7) { other } else { on },
            group,
            to: (!bit(more, 6)).then_some(other),
        },
        2 => Fault::Drained { on },
        3 => Fault::Stopped { on },
        4 => Fault::OtherFile { on },
        5 => Fault::BrainKilled { on, slow: bit(more, 0) },
        6 => Fault::BrainFrozen { on },
        7 => Fault::BrainStalls { on, longest: ms(share(more, 1, 80)) },
        8 => Fault::DaemonKilled { on },
        9 => Fault::KeeperKilled { on },
        10 => Fault::KeeperFrozen { on },
        11 => Fault::KeeperSlow { on, longest: ms(share(more, 1, 200)) },
        12 => Fault::SlowSideHangs { on },
        13 => Fault::Suspended { on },
        14 => Fault::Paused { on },
        15 => Fault::MountsFail { on },
        16 => Fault::UnmountsFail { on },
        17 => Fault::VipRemoved { on, group },
        18 => Fault::VipAdded { on, group },
        19 => Fault::AddressLost { on },
        20 => Fault::InterfaceGone { on },
        21 => Fault::CablePulled { on },
        22 => Fault::SilentCut { on },
        23 => Fault::HeartbeatsBlocked,
        24 => Fault::HeartbeatsBlockedOneWay { from: on, to: other },
        25 => Fault::EchoesBlocked,
        26 => {
            let size = 1 + usize::from(more / 3) % (nodes - 1);
            let inside = (0..size).map(|next| NodeNumber((on.0 + next) % nodes)).collect();
            let bystanders = pick(more, [Bystanders::Both, Bystanders::Inside, Bystanders::Outside]);
            Fault::Partition { inside, bystanders }
        }
        27 => Fault::OneWayCut { from: on, to: other },
        28 => Fault::CrossLinkCut,
        29 => Fault::Loss { per_mille: share(more, 10, 300) },
        30 => Fault::Delay { longest: setup.heartbeat * 2 * u32::from(more) / 255 },
        31 => Fault::Twice { per_mille: share(more, 0, 1000) },
        32 => Fault::ForeignHolder { group },
        33 => Fault::Proxy,
        34 => Fault::ServiceFails { on, group },
        _ => Fault::Forgery,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::random::Random;

    fn some(count: u64) -> impl Iterator<Item = Scenario> {
        (0..count).map(|seed| {
            let mut random = Random::new(seed, 9);
            let length = random.below(1 + SETUP + GROUP * MOST_GROUPS + FAULT * (MOST_FAULTS + 1));
            let bytes: Vec<u8> = (0..length).map(|_| random.next().to_le_bytes()[0]).collect();
            Scenario::from_bytes(&bytes)
        })
    }

    #[test]
    fn text_and_back() {
        for scenario in some(2000) {
            let text = scenario.to_text();
            assert_eq!(Scenario::from_text(&text).as_ref(), Ok(&scenario), "{text}");
        }
    }

    #[test]
    fn nothing_is_what_is_ordinary() {
        let scenario = Scenario::from_bytes(&[]);
        let ordinary = Setup { heartbeat: ms(100), ..Setup::ordinary() };
        assert_eq!((scenario.setup, scenario.faults), (ordinary, vec![]));
        assert_eq!(Scenario::from_bytes(&[0; 14]), Scenario::from_bytes(&[]));
        assert_eq!(Scenario::from_bytes(&[0; 15]).faults.len(), 1);
    }

    #[test]
    fn everything_can_be_reached() {
        let mut seen = BTreeSet::new();
        for scenario in some(10_000) {
            let setup = &scenario.setup;
            let mut see = |what: &'static str, value: String| seen.insert((what, value));
            see("nodes", setup.nodes.to_string());
            see("heartbeat", setup.heartbeat.as_millis().to_string());
            see("dead-after", setup.dead_after.to_string());
            see("lease", setup.lease.as_millis().to_string());
            see("start-wait", setup.start_wait.as_millis().to_string());
            see("cross-link", setup.cross_link.to_string());
            see("gateway", setup.gateway.to_string());
            see("references", format!("{:?}", setup.references));
            see("real-time", setup.real_time.to_string());
            see("clock", (setup.clock_ppm / 100).to_string());
            see("wire", (setup.wire.as_micros() / 100).to_string());
            see("groups", setup.groups.len().to_string());
            for group in &setup.groups {
                see("vips", format!("{} {}", group.v4, group.v6));
                see("order", format!("{:?} of {}", group.order, setup.nodes));
                see("never back", group.failback.is_zero().to_string());
                see("hitless", group.hitless.to_string());
                see("claim", group.claim.to_string());
                see("keep-isolated", group.keep_isolated.to_string());
                see("check", format!("{:?}", group.check));
                see("release-unhealthy", group.release_unhealthy.to_string());
            }
            for planned in &scenario.faults {
                see("fault", planned.fault.name().to_owned());
                match &planned.fault {
                    Fault::BrainKilled { slow, .. } => see("slow", slow.to_string()),
                    Fault::Switchover { to, .. } => see("to", to.is_some().to_string()),
                    Fault::Partition { inside, bystanders } => {
                        see("inside", inside.len().to_string());
                        see("bystanders", format!("{bystanders:?}"))
                    }
                    _ => true,
                };
            }
        }
        let count = |what: &str| seen.iter().filter(|(kind, _)| *kind == what).count();
        let counts = [
            ("nodes", 3),
            ("dead-after", 6),
            ("lease", 7),
            ("start-wait", 5),
            ("cross-link", 2),
            ("gateway", 2),
            ("references", 4),
            ("real-time", 2),
            ("clock", 6),
            ("wire", 10),
            ("groups", 3),
            ("vips", 5),
            ("never back", 2),
            ("hitless", 2),
            ("claim", 2),
            ("keep-isolated", 2),
            ("check", 3),
            ("release-unhealthy", 2),
            ("fault", 36),
            ("slow", 2),
            ("to", 2),
            ("inside", 3),
            ("bystanders", 3),
        ];
        for (what, expected) in counts {
            assert_eq!(count(what), expected, "{what}");
        }
        for heartbeat in ["20", "50", "100", "200", "500", "1000"] {
            assert!(seen.contains(&("heartbeat", heartbeat.to_owned())), "{heartbeat}");
        }
        // All orders of all nodes, and of fewer.
        for order in
            ["[1, 0] of 2", "[1] of 2", "[2, 1, 0] of 3", "[0] of 3", "[3, 2, 1, 0] of 4", "[1, 3] of 4"]
        {
            assert!(seen.contains(&("order", order.to_owned())), "{order}");
        }
    }

    #[test]
    fn small() {
        for scenario in some(2000) {
            let setup = &scenario.setup;
            assert!((ms(20)..=LONGEST).contains(&setup.heartbeat) && scenario.faults.len() <= MOST_FAULTS);
            let rest = bounds::rest_after(setup, &scenario.faults).max(bounds::start(setup));
            assert!(scenario.lasts <= rest && scenario.lasts < Duration::from_secs(1500), "{scenario:?}");
            assert!(scenario.faults.is_sorted_by_key(|planned| planned.at));
        }
    }
}
