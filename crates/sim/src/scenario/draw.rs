//! How a scenario is drawn from a seed: the cluster first, then episodes of trouble with calm between them.

use std::time::Duration;

use super::{Bystanders, Fault, GroupCheck, GroupSetup, NodeNumber, Planned, References, Scenario, Setup};
use crate::bounds;
use crate::random::Random;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// How bad an episode gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// One fault alone: what the table of bounds speaks of.
    Single,
    /// Several rows of the table at once.
    Fair,
    /// Machines stand still and the LAN falls apart.
    Rough,
    /// The wire loses, delays, doubles and reorders packets on top.
    Storm,
}

pub(super) fn scenario(seed: u64, lasts: Duration) -> Scenario {
    let mut random = Random::new(seed, 1);
    let setup = Setup { sparing: seed.is_multiple_of(3), ..setup(&mut random) };
    with(random, seed, lasts, setup)
}

/// Drawn faults for a cluster that is not drawn.
pub(super) fn faults_for(setup: Setup, seed: u64, lasts: Duration) -> Scenario {
    with(Random::new(seed, 1), seed, lasts, setup)
}

fn with(mut random: Random, seed: u64, lasts: Duration, setup: Setup) -> Scenario {
    let mut faults = Vec::new();
    let start = bounds::start(&setup);
    // Sometimes trouble does not wait until everybody is there.
    let mut at = if random.chance(200) { random.spread(ms(1), start) } else { start };
    loop {
        let weather = random.weigh(&[
            (35, Weather::Single),
            (25, Weather::Fair),
            (25, Weather::Rough),
            (15, Weather::Storm),
        ]);
        let episode = episode(&mut random, &setup, weather, at);
        let over = bounds::rest_after(&setup, &episode);
        if over > lasts {
            break;
        }
        at = over + random.upto(Duration::from_secs(2));
        faults.extend(episode);
    }
    Scenario { seed, lasts, setup, faults }
}

fn setup(random: &mut Random) -> Setup {
    let nodes = random.weigh(&[(34, 2), (36, 3), (10, 4), (10, 5), (5, 6), (5, 7)]);
    let cross_link = random.chance(150);
    // A heartbeat costs what it costs: the fast ones are drawn where there are few nodes.
    let pairs = u32::try_from(nodes * (nodes - 1) * if cross_link { 2 } else { 1 }).unwrap_or(2);
    let heartbeat = loop {
        let heartbeat = random.weigh(&[
            (3, ms(5)),
            (6, ms(10)),
            (6, ms(20)),
            (10, ms(50)),
            (35, ms(100)),
            (12, ms(200)),
            (12, ms(500)),
            (10, ms(1000)),
            (4, ms(3000)),
            (2, ms(10_000)),
        ]);
        if ms(1000) * pairs <= heartbeat * 800 {
            break heartbeat;
        }
    };
    let count = random.weigh(&[(45, 1), (30, 2), (15, 3), (7, 5), (3, 9)]);
    let mut setup = Setup {
        nodes,
        heartbeat,
        dead_after: random.weigh(&[(80, 3), (8, 2), (6, 4), (6, 6)]),
        lease: ms(random.weigh(&[(60, 2000), (15, 1000), (15, 3000), (5, 8000), (5, 0)])),
        start_wait: ms(random.weigh(&[(70, 3000), (15, 500), (15, 10_000)])),
        cross_link,
        gateway: random.chance(800),
        references: random.weigh(&[
            (70, References::Auto),
            (10, References::Gateway),
            (10, References::Named),
            (10, References::Nobody),
        ]),
        real_time: random.chance(700),
        clock_ppm: random.weigh(&[(30, 0), (60, 100), (10, 500)]),
        wire: Duration::from_micros(random.weigh(&[(60, 80), (25, 250), (15, 900)])),
        sparing: false,
        groups: vec![],
    };
    let same = random.chance(500);
    let policy = policy(random);
    for index in 0..count {
        let (failback, hitless, claim, keep_isolated) = if same { policy } else { self::policy(random) };
        let mut order: Vec<usize> = (0..nodes).map(|node| (node + index) % nodes).collect();
        if random.chance(200) {
            random.shuffle(&mut order);
        }
        if nodes > 2 && random.chance(150) {
            order.pop();
        }
        let (v4, v6) = random.weigh(&[(50, (1, 0)), (25, (1, 1)), (10, (0, 1)), (10, (3, 0)), (5, (2, 2))]);
        let check =
            random.weigh(&[(50, GroupCheck::None), (30, GroupCheck::Fault), (20, GroupCheck::Demote)]);
        let release_unhealthy = random.chance(300);
        setup.groups.push(GroupSetup {
            v4,
            v6,
            order,
            failback,
            hitless,
            claim,
            keep_isolated,
            check,
            release_unhealthy,
            together: vec![],
            apart: vec![],
            gate: Duration::ZERO,
        });
    }
    setup
}

fn policy(random: &mut Random) -> (Duration, bool, bool, bool) {
    let failback = ms(random.weigh(&[(65, 0), (20, 700), (15, 5000)]));
    (failback, random.chance(300), random.chance(250), random.chance(150))
}

fn episode(random: &mut Random, setup: &Setup, weather: Weather, begins: Duration) -> Vec<Planned> {
    let count = match weather {
        Weather::Single => 1,
        _ => 2 + random.below(4),
    };
    // Faults that belong together come close together, in the measure of what they may disturb.
    let within = random.pick(&[setup.dead() * 2, ms(300), ms(4000)]);
    let mut planned: Vec<Planned> = (0..count)
        .map(|_| {
            let at = begins + random.upto(within);
            let fault = fault(random, setup, weather);
            // A machine that leaves no trace is a fault of its own; one that is back before anybody noticed, another.
            let longest = random
                .weigh(&[(31, setup.dead() * 3), (31, ms(3000)), (31, ms(30_000)), (7, ms(300_000))])
                .max(ms(2));
            let lasts = random.spread(ms(1), longest);
            Planned { at, lasts, fault }
        })
        .collect();
    planned.sort_by_key(|planned| planned.at);
    planned
}

fn fault(random: &mut Random, setup: &Setup, weather: Weather) -> Fault {
    let group = random.below(setup.groups.len());
    // Half of the time whoever is likely to hold something.
    let likely = setup.groups[group].order[0];
    let on = if random.chance(500) { likely } else { random.below(setup.nodes) };
    let other = NodeNumber((on + 1 + random.below(setup.nodes - 1)) % setup.nodes);
    let on = NodeNumber(on);
    let kinds = match weather {
        Weather::Single | Weather::Fair => 28,
        Weather::Rough => 35,
        Weather::Storm => 38,
    };
    match random.below(kinds) {
        0 | 1 => {
            let asked = if random.chance(500) { on } else { other };
            Fault::Switchover { on: asked, group, to: random.chance(600).then_some(other) }
        }
        2 => Fault::Drained { on },
        3 => Fault::Stopped { on },
        4 => Fault::BrainKilled { on, slow: random.chance(150) },
        5 => Fault::BrainFrozen { on },
        6 => Fault::DaemonKilled { on },
        7 => Fault::KeeperKilled { on },
        8 | 9 => Fault::PowerCut { on },
        10 | 11 => Fault::CablePulled { on },
        12 => Fault::HeartbeatsBlocked,
        13 => Fault::HeartbeatsBlockedOneWay { from: on, to: other },
        14 => Fault::ForeignHolder { group },
        15 => Fault::MountsFail { on },
        16 => Fault::UnmountsFail { on },
        17 => Fault::AddressLost { on },
        18 => Fault::KeeperSlow { on, longest: ms(random.pick(&[5, 50, 200])) },
        19 => Fault::BrainStalls { on, longest: ms(random.pick(&[3, 30, 80])) },
        20 => Fault::VipRemoved { on, group },
        21 => Fault::VipAdded { on, group },
        22 => Fault::SlowSideHangs { on },
        23 => {
            if setup.cross_link {
                Fault::CrossLinkCut
            } else {
                Fault::EchoesBlocked
            }
        }
        24 => Fault::Forgery,
        25 => Fault::Delay { longest: random.upto(ms(2).min(setup.heartbeat / 20)) },
        26 | 27 => Fault::ServiceFails { on, group },
        28 => Fault::Suspended { on },
        29 => Fault::Paused { on },
        30 => Fault::SilentCut { on },
        31 => {
            let size = 1 + random.below(setup.nodes - 1);
            let inside = (0..size).map(|i| NodeNumber((on.0 + i) % setup.nodes)).collect();
            let bystanders = random.pick(&[Bystanders::Both, Bystanders::Inside, Bystanders::Outside]);
            Fault::Partition { inside, bystanders }
        }
        32 => Fault::OneWayCut { from: on, to: other },
        33 => {
            if random.chance(300) {
                Fault::OtherFile { on }
            } else {
                Fault::KeeperFrozen { on }
            }
        }
        34 => {
            if random.chance(500) {
                Fault::InterfaceGone { on }
            } else {
                Fault::Proxy
            }
        }
        35 => Fault::Loss { per_mille: 10 + random.next() % 290 },
        36 => Fault::Delay { longest: random.upto(setup.heartbeat * 2) },
        _ => Fault::Twice { per_mille: 500 },
    }
}
