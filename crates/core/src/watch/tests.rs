//! What a node concludes from silence. The node is bravo.

use std::net::Ipv4Addr;
use std::time::Duration;

use vipdrift_wire::arp;

use crate::bench::{Bench, FOREIGN_MAC, OWN_MAC, facts};
use crate::group::State;
use crate::tuning::SUBNET_GRACE;
use crate::{Event, InterfaceIndex, LinkFacts};

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
