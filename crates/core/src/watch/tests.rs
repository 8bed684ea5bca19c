//! What a node concludes from silence. The node is bravo.

use std::net::Ipv4Addr;
use std::time::Duration;

use vipdrift_wire::arp;
use vipdrift_wire::heartbeat::Role;

use crate::bench::{ALPHA, Bench, CHARLIE, FOREIGN_MAC, HEARTBEAT, OWN_MAC, config, facts};
use crate::group::State;
use crate::tuning::SUBNET_GRACE;
use crate::{Event, InterfaceIndex, LinkFacts, NodeConfig, OccupiedPolicy, Switchover, Vip, VipIndex};

const INTERFACE: InterfaceIndex = InterfaceIndex(0);

/// Bravo holds the group, the gateway answered a moment ago, and no peer is heard any more.
fn peers_fall_silent() -> Bench {
    let mut bench = Bench::active();
    let (gateway, own) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 12));
    let bytes = arp::reply(FOREIGN_MAC, gateway, OWN_MAC, own);
    bench.give(Event::Frame { interface: INTERFACE, bytes: &bytes });
    bench.puppets.iter_mut().for_each(|puppet| puppet.speaks = false);
    bench
}

fn is_active(bench: &Bench) -> bool {
    matches!(bench.state(), State::Active)
}

#[test]
fn nobody_answers_a_node_that_is_cut_off() {
    let mut bench = peers_fall_silent();
    bench.pass(SUBNET_GRACE);
    assert!(!is_active(&bench), "{:?}", bench.state());
    assert!(bench.done.decisions.iter().any(|decision| decision.reason.starts_with("isolated on eth0")));
}

/// Without an address of its own nothing can be asked: that is excused for a while, and silence is no proof of anything.
#[test]
fn what_cannot_be_asked_says_nothing() {
    let mut bench = peers_fall_silent();
    let gone = LinkFacts { addresses: vec!["fe80::12/64".parse().expect("a network")], ..facts() };
    bench.give(Event::Link { interface: INTERFACE, facts: gone });
    let before = SUBNET_GRACE - Duration::from_millis(5);
    bench.pass(before);
    assert!(is_active(&bench), "{:?}", bench.done.decisions);
    bench.pass(SUBNET_GRACE - before + Duration::from_millis(5));
    assert!(!is_active(&bench), "but not for ever");
    let reasons: Vec<&str> = bench.done.decisions.iter().map(|decision| decision.reason.as_str()).collect();
    assert!(!reasons.iter().any(|reason| reason.starts_with("isolated")), "{reasons:?}");
}

/// The answers of a slow network take longer than those of a fast one: it is asked for longer.
#[test]
fn rounds_follow_the_slowest_round_trip() {
    let mut bench = Bench::active();
    let quick = bench.node.tuning.round;
    assert_eq!(quick, Duration::from_millis(3));
    bench.node.tuning.pace(Duration::from_millis(12));
    assert_eq!(bench.node.tuning.round, Duration::from_millis(12));
    bench.node.tuning.pace(Duration::from_secs(1));
    assert_eq!(bench.node.tuning.round, Duration::from_millis(25), "half a heartbeat and no more");
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.node.tuning.round, quick, "and here it is fast");
}

/// Most suspicions end with the next heartbeat, and hundreds of questions for each would be a flood.
#[test]
fn many_vips_of_a_suspect_are_asked_for_only_when_its_machine_is_silent_or_time_is_short() {
    let asked_after = |answers: bool| {
        let mut config = config(Switchover::Strict, OccupiedPolicy::Wait);
        for last in 120..140 {
            let address = format!("192.0.2.{last}/24").parse().expect("a network");
            config.groups[0].vips.push(VipIndex(config.vips.len()));
            config.vips.push(Vip { interface: INTERFACE, address });
        }
        let mut bench = Bench::with(config);
        bench.puppets[ALPHA].state.role = Role::Fault;
        bench.say(CHARLIE, |state| (state.role, state.mounted, state.term) = (Role::Active, true, 3));
        bench.pass(HEARTBEAT * 40);
        let reply = arp::reply(
            bench.puppets[CHARLIE].mac,
            Ipv4Addr::new(192, 0, 2, 13),
            OWN_MAC,
            Ipv4Addr::new(192, 0, 2, 12),
        );
        bench.give(Event::Frame { interface: INTERFACE, bytes: &reply });
        bench.puppets[CHARLIE].speaks = false;
        let (silent, before) = (bench.now, bench.node.snapshot().counters.probes_sent);
        while bench.node.snapshot().counters.probes_sent == before {
            bench.pass(Duration::from_millis(1));
            if answers {
                bench.give(Event::Frame { interface: INTERFACE, bytes: &reply });
            }
            assert!(bench.now.since(silent) < HEARTBEAT * 4, "never");
        }
        bench.now.since(silent)
    };
    // The last heartbeat was up to an interval ago.
    let (silent, alive) = (asked_after(false), asked_after(true));
    assert!(silent < HEARTBEAT * 3 / 2, "{silent:?}");
    assert!(alive > silent + HEARTBEAT && alive < HEARTBEAT * 3, "{alive:?} and {silent:?}");
}

/// A machine that is silent for a moment ends no suspicion, and its VIPs are asked for in time all the same.
#[test]
fn many_vips_of_a_machine_that_answers_again_are_asked_for_before_the_dead_time_ends() {
    let config = NodeConfig { sparing: true, ..config(Switchover::Strict, OccupiedPolicy::Wait) };
    let mut bench = Bench::with(config);
    bench.puppets[ALPHA].state.role = Role::Fault;
    bench.say(CHARLIE, |state| (state.role, state.mounted, state.term) = (Role::Active, true, 3));
    bench.pass(HEARTBEAT * 40);
    let (theirs, ours) = (Ipv4Addr::new(192, 0, 2, 13), Ipv4Addr::new(192, 0, 2, 12));
    let reply = arp::reply(bench.puppets[CHARLIE].mac, theirs, OWN_MAC, ours);
    bench.puppets[CHARLIE].speaks = false;
    let probes = |bench: &Bench| bench.node.snapshot().counters.probes_sent;
    let before = probes(&bench);
    while probes(&bench) == before {
        bench.pass(Duration::from_millis(1));
    }
    let silent = bench.now;
    let mut calm = Vec::new();
    while bench.node.peers[CHARLIE].is_up() {
        assert!(bench.now.since(silent) < HEARTBEAT * 4, "never given up");
        bench.give(Event::Frame { interface: INTERFACE, bytes: &reply });
        if calm.len() < 10 {
            // And the group is looked at.
            bench.say(ALPHA, |state| state.demoted ^= true);
        }
        bench.pass(Duration::from_millis(1));
        calm.push(probes(&bench));
    }
    let middle = calm.len() / 2;
    assert_eq!(calm[12], calm[middle], "its machine answers: {calm:?}");
    assert!(calm.last() >= Some(&(calm[middle] + 6)), "two VIPs, three rounds: {calm:?}");
}

/// Seven nodes that ask for the same thousand VIPs keep each other from hearing anything.
#[test]
fn many_vips_of_a_suspect_are_asked_for_by_the_node_whose_turn_it_is() {
    let asked = |alpha: Role| {
        let config = NodeConfig { sparing: true, ..config(Switchover::Strict, OccupiedPolicy::Wait) };
        let mut bench = Bench::with(config);
        bench.say(CHARLIE, |state| (state.role, state.mounted, state.term) = (Role::Active, true, 3));
        bench.say(ALPHA, |state| state.role = alpha);
        bench.pass(HEARTBEAT * 40);
        bench.puppets[CHARLIE].speaks = false;
        let before = bench.node.snapshot().counters.probes_sent;
        bench.pass(HEARTBEAT * 4);
        bench.node.snapshot().counters.probes_sent - before
    };
    assert_eq!(asked(Role::Standby), 0, "it is alpha's turn");
    assert!(asked(Role::Fault) >= 6, "two VIPs, three rounds");
}

/// A node that is late has too much to do, and others too: it asks for many VIPs more slowly.
#[test]
fn a_node_that_is_late_asks_for_many_vips_more_slowly() {
    let asked = |sparing: bool| {
        let config = NodeConfig { sparing, ..config(Switchover::Strict, OccupiedPolicy::Wait) };
        let mut bench = Bench::with(config);
        bench.say(CHARLIE, |state| (state.role, state.mounted, state.term) = (Role::Active, true, 3));
        bench.say(ALPHA, |state| state.role = Role::Fault);
        bench.pass(HEARTBEAT * 40);
        for at in 1..10 {
            bench.node.strain.late(bench.now + Duration::from_secs(at), HEARTBEAT * 2, HEARTBEAT);
        }
        bench.puppets[CHARLIE].speaks = false;
        let (since, before) = (bench.now, bench.node.snapshot().counters.probes_sent);
        while bench.node.snapshot().counters.probes_sent < before + 6 {
            bench.pass(Duration::from_millis(1));
            assert!(bench.now.since(since) < HEARTBEAT * 4, "never");
        }
        bench.now.since(since)
    };
    // Two VIPs take 5 ms then, and three rounds are two pauses; without that they are 3 ms apart.
    let (at_once, slowly) = (asked(false), asked(true));
    assert!(slowly >= at_once + Duration::from_millis(4), "{slowly:?} and {at_once:?}");
}
