//! A program that has to succeed before a mount. The node is bravo: alpha comes before it and charlie after it.

use std::time::Duration;

use vipdrift_wire::heartbeat::Role;

use crate::bench::{ALPHA, Bench, CHARLIE, HEARTBEAT, config};
use crate::group::State;
use crate::{Event, GroupIndex, OccupiedPolicy, RoleName, Switchover};

const LIMIT: Duration = Duration::from_secs(2);

/// Charlie was active and has just died; alpha is in fault. Bravo has its program run.
fn preparing() -> Bench {
    let mut config = config(Switchover::Strict, OccupiedPolicy::Wait);
    config.groups[0].gate = Some(LIMIT);
    let mut bench = Bench::with(config);
    bench.puppets[ALPHA].state.role = Role::Fault;
    bench.say(CHARLIE, |state| (state.role, state.mounted, state.term) = (Role::Active, true, 3));
    bench.pass(HEARTBEAT * 10);
    bench.puppets[CHARLIE].speaks = false;
    bench.pass(HEARTBEAT * 10);
    assert!(matches!(bench.done.prepared[..], [Some(_)]), "{:?}", bench.done.prepared);
    assert!(matches!(bench.state(), State::Standby), "{:?}", bench.state());
    assert!(bench.node.describe(0).claiming, "the others wait");
    bench
}

/// What was asked for, counted from 1; 0 is undone.
fn asked(bench: &Bench) -> Vec<usize> {
    let mut count = 0;
    let count_up = |asked: &Option<u64>| {
        count += usize::from(asked.is_some());
        if asked.is_some() { count } else { 0 }
    };
    bench.done.prepared.iter().map(count_up).collect()
}

/// The program ends that was asked for as the last one.
fn prepared(bench: &mut Bench, outcome: Result<(), &str>) {
    let number = bench.done.prepared.iter().rev().find_map(|asked| *asked).expect("it was asked for");
    prepared_as(bench, number, outcome);
}

fn prepared_as(bench: &mut Bench, number: u64, outcome: Result<(), &str>) {
    let outcome = outcome.map_err(str::to_owned);
    bench.give(Event::Prepared { group: GroupIndex(0), number, outcome });
}

#[test]
fn nothing_is_mounted_before_it_has_succeeded() {
    let mut bench = preparing();
    bench.pass(LIMIT - HEARTBEAT * 20);
    assert!(matches!(bench.state(), State::Standby));
    prepared_as(&mut bench, 7, Ok(()));
    bench.pass(HEARTBEAT * 5);
    assert!(matches!(bench.state(), State::Standby), "that was another time");
    prepared(&mut bench, Ok(()));
    bench.pass(HEARTBEAT * 5);
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
    let decision = bench.done.decisions.last().expect("a decision");
    assert_eq!(decision.reason, "charlie silent, 192.0.2.100 not answered");
    assert!(decision.evidence[0].starts_with("before_active succeeded after "), "{:?}", decision.evidence);
    assert_eq!(asked(&bench), [1], "once");
}

#[test]
fn a_node_that_cannot_prepare_is_in_fault_and_tries_again_later() {
    for late in [false, true] {
        let mut bench = preparing();
        if late {
            bench.pass(LIMIT);
        } else {
            prepared(&mut bench, Err("exit status 1"));
        }
        assert_eq!(asked(&bench), [1, 0], "what it has done is undone");
        assert_eq!(bench.node.idle_role(0), RoleName::Fault);
        let faults = bench.node.faults(0);
        let why =
            if late { "before_active failed: no end after " } else { "before_active failed: exit status 1" };
        assert!(faults[0].starts_with(why), "{faults:?}");
        assert!(!bench.node.describe(0).claiming, "others may take it");
        bench.pass(Duration::from_secs(2));
        assert_eq!(asked(&bench), [1, 0, 2]);
        prepared(&mut bench, Ok(()));
        bench.pass(HEARTBEAT * 5);
        assert!(matches!(bench.state(), State::Active));
    }
}

#[test]
fn whoever_is_active_meanwhile_ends_it() {
    let mut bench = preparing();
    let term = bench.node.groups[0].term + 1;
    bench.say(ALPHA, |state| (state.role, state.mounted, state.term) = (Role::Active, true, term));
    assert_eq!(asked(&bench), [1, 0]);
    prepared(&mut bench, Ok(()));
    bench.pass(HEARTBEAT * 20);
    assert!(matches!(bench.state(), State::Standby), "it came too late");
}

#[test]
fn of_two_that_prepare_the_one_that_comes_first_goes_on() {
    let mut bench = preparing();
    bench.puppets[CHARLIE].speaks = true;
    bench.say(CHARLIE, |state| {
        (state.role, state.mounted, state.claiming) = (Role::Standby, false, true);
    });
    bench.pass(HEARTBEAT * 5);
    assert_eq!(asked(&bench), [1], "charlie comes after bravo");
    bench.say(ALPHA, |state| (state.role, state.claiming) = (Role::Standby, true));
    assert_eq!(asked(&bench), [1, 0], "alpha comes before it");
}

#[test]
fn a_vip_that_is_taken_meanwhile_is_not_mounted() {
    let mut bench = preparing();
    bench.claim(crate::bench::FOREIGN_MAC, true);
    prepared(&mut bench, Ok(()));
    bench.pass(HEARTBEAT);
    assert!(matches!(bench.state(), State::Standby), "{:?}", bench.state());
    assert_eq!(asked(&bench)[..2], [1, 0]);
}
