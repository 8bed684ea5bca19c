//! What failing checks do to a group.

use std::time::Duration;

use vipdrift_wire::heartbeat::Role;

use crate::bench::{ALPHA, Bench, CHARLIE, HEARTBEAT, config};
use crate::group::State;
use crate::{
    AllUnhealthy, Carry, CarryCheck, CarryGroup, CheckIndex, Command, Drained, Event, GroupIndex,
    HealthSnapshot, Node, OccupiedPolicy, RoleName, Scope, Start, Switchover, Ticket, Timestamp,
};

const HTTP: usize = 0;
const LOAD: usize = 1;

fn check(bench: &mut Bench, check: usize, failing: Option<&str>) {
    bench.give(Event::Check { check: CheckIndex(check), failing: failing.map(str::to_owned) });
}

fn charlie_is(bench: &mut Bench, role: Role) {
    bench.say(CHARLIE, |state| state.role = role);
}

#[test]
fn a_failing_check_makes_the_holder_let_go() {
    let mut bench = Bench::active();
    check(&mut bench, HTTP, Some("status 503"));
    assert!(matches!(bench.state(), State::Standby));
    assert!(bench.mounted.is_empty());
    let decision = &bench.done.decisions[0];
    assert_eq!((decision.from, decision.to), (RoleName::Active, RoleName::Fault));
    assert_eq!(decision.reason, "check http fails: status 503");
    // The reservation names the heir, so nobody else takes it.
    assert_eq!(bench.node.groups[0].reserved.map(|(heir, _)| heir), Some(bench.puppets[CHARLIE].id));
    check(&mut bench, HTTP, None);
    let last = bench.done.decisions.last().expect("a decision");
    assert_eq!((last.from, last.to), (RoleName::Fault, RoleName::Standby));
}

#[test]
fn the_last_one_standing_keeps_the_vips() {
    let mut bench = Bench::active();
    charlie_is(&mut bench, Role::Fault);
    check(&mut bench, HTTP, Some("status 503"));
    assert!(matches!(bench.state(), State::Active));
    assert_eq!(bench.mounted.len(), 2);
    let snapshot = bench.node.snapshot();
    assert_eq!(snapshot.health, HealthSnapshot::Fault(vec!["check http fails: status 503".to_owned()]));
    assert_eq!(snapshot.groups[0].role, RoleName::Active);
    // Until somebody is healthy.
    charlie_is(&mut bench, Role::Standby);
    assert!(matches!(bench.state(), State::Standby));
    assert_eq!(bench.node.groups[0].reserved.map(|(heir, _)| heir), Some(bench.puppets[CHARLIE].id));
}

#[test]
fn a_healthy_node_that_is_not_heard_is_no_reason_to_let_go() {
    let mut bench = Bench::active();
    bench.puppets.iter_mut().for_each(|puppet| puppet.speaks = false);
    bench.pass(HEARTBEAT * 10);
    check(&mut bench, HTTP, Some("status 503"));
    assert!(matches!(bench.state(), State::Active));
    bench.puppets[CHARLIE].speaks = true;
    bench.pass(HEARTBEAT * 4);
    assert!(matches!(bench.state(), State::Standby), "{:?}", bench.state());
}

#[test]
fn a_group_may_be_better_off_with_nobody() {
    let mut bench = Bench::active();
    bench.node.config.groups[0].all_unhealthy = AllUnhealthy::Release;
    charlie_is(&mut bench, Role::Fault);
    check(&mut bench, HTTP, Some("status 503"));
    assert!(matches!(bench.state(), State::Standby));
    bench.pass(Duration::from_secs(60));
    assert!(matches!(bench.state(), State::Standby), "an unhealthy node takes nothing");
    check(&mut bench, HTTP, None);
    bench.pass(Duration::from_secs(10));
    assert!(matches!(bench.state(), State::Active));
}

#[test]
fn nothing_else_is_excused_by_a_failing_check() {
    let mut bench = Bench::active();
    charlie_is(&mut bench, Role::Fault);
    check(&mut bench, HTTP, Some("status 503"));
    assert!(matches!(bench.state(), State::Active));
    bench.give(Event::Command(Command::Drain { ticket: Ticket(1), scope: Scope::default() }));
    assert!(matches!(bench.state(), State::Standby));
}

#[test]
fn a_demoted_holder_makes_way_for_a_healthy_node() {
    let mut bench = Bench::active();
    check(&mut bench, LOAD, Some("load 90"));
    assert!(matches!(bench.state(), State::Standby));
    assert_eq!(bench.done.decisions[0].reason, "check load fails: load 90; charlie is healthy");
    assert_eq!(bench.done.decisions[0].to, RoleName::Standby);
}

#[test]
fn a_demoted_holder_stays_before_nodes_that_are_no_better() {
    let mut bench = Bench::active();
    bench.say(CHARLIE, |state| state.demoted = true);
    check(&mut bench, LOAD, Some("load 90"));
    bench.pass(Duration::from_secs(5));
    assert!(matches!(bench.state(), State::Active));
    bench.say(CHARLIE, |state| state.demoted = false);
    assert!(matches!(bench.state(), State::Standby));
}

#[test]
fn a_demoted_node_takes_a_group_only_if_nobody_healthy_can() {
    // Charlie holds it and dies; alpha comes first, but a check fails there as well.
    for (alpha_demoted, takes) in [(false, false), (true, false)] {
        let mut bench = Bench::new(Switchover::Strict, OccupiedPolicy::Wait);
        check(&mut bench, LOAD, Some("load 90"));
        let charlie = &mut bench.puppets[CHARLIE].state;
        (charlie.role, charlie.mounted, charlie.term) = (Role::Active, true, 3);
        bench.puppets[ALPHA].state.demoted = alpha_demoted;
        bench.pass(HEARTBEAT * 10);
        bench.say(CHARLIE, |state| (state.role, state.mounted) = (Role::Fault, false));
        bench.pass(HEARTBEAT * 4);
        assert_eq!(matches!(bench.state(), State::Active), takes, "alpha demoted: {alpha_demoted}");
        bench.say(ALPHA, |state| state.role = Role::Fault);
        bench.pass(HEARTBEAT * 12);
        assert!(matches!(bench.state(), State::Active), "nobody else can: {:?}", bench.state());
    }
}

#[test]
fn a_healthy_node_comes_before_a_demoted_one_that_is_preferred() {
    let mut bench = Bench::new(Switchover::Strict, OccupiedPolicy::Wait);
    let charlie = &mut bench.puppets[CHARLIE].state;
    (charlie.role, charlie.mounted, charlie.term) = (Role::Active, true, 3);
    bench.puppets[ALPHA].state.demoted = true;
    bench.pass(HEARTBEAT * 10);
    bench.say(CHARLIE, |state| (state.role, state.mounted) = (Role::Fault, false));
    bench.pass(HEARTBEAT * 2);
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
}

#[test]
fn a_switchover_to_a_demoted_node_is_refused_with_the_reason() {
    let mut bench = Bench::active();
    bench.say(CHARLIE, |state| state.demoted = true);
    let to = Some("charlie".to_owned());
    bench.give(Event::Command(Command::Switchover { ticket: Ticket(1), group: GroupIndex(0), to }));
    let refused = bench.done.replies[0].1.clone().expect_err("refused");
    assert_eq!(refused, "a check fails on charlie, which would hand web back at once");
    check(&mut bench, LOAD, Some("load 90"));
    let to = Some("charlie".to_owned());
    bench.give(Event::Command(Command::Switchover { ticket: Ticket(2), group: GroupIndex(0), to }));
    assert!(matches!(bench.state(), State::Standby), "no better itself, so it may");
}

fn node(start: Start, initially_passing: bool) -> Node {
    let mut config = config(Switchover::Strict, OccupiedPolicy::Wait);
    config.checks[HTTP].initially_passing = initially_passing;
    let mut node = Node::new(config, 1, start, Timestamp::from_nanos(1_000_000_000));
    while node.poll_action().is_some() {}
    node
}

#[test]
fn before_its_first_result_a_check_fails_unless_said_otherwise() {
    for (passing, reason) in [(false, Some("no result yet".to_owned())), (true, None)] {
        let node = node(Start::Fresh { drained: Drained::default() }, passing);
        let checks = node.snapshot().groups[0].checks.clone();
        assert_eq!((&checks[0].failing, checks[0].since), (&reason, None));
        let said: Vec<String> = node.failing_checks(0, crate::Effect::Fault).collect();
        let expected: &[&str] = if passing { &[] } else { &["check http has no result yet"] };
        assert_eq!(said, expected);
    }
}

#[test]
fn a_brain_that_resumes_knows_what_the_last_one_knew() {
    let group = CarryGroup { group: crate::bench::GROUP.0, term: 3, active: true };
    let failing =
        CarryCheck { group: crate::bench::GROUP.0, check: "load".to_owned(), why: "load 90".to_owned() };
    let carry = Carry { groups: vec![group], failing: vec![failing], ..Carry::default() };
    let node = node(Start::Resumed(carry), false);
    let checks = node.snapshot().groups[0].checks.clone();
    assert_eq!(checks[HTTP].failing, None, "passing until something else is heard");
    assert_eq!(checks[LOAD].failing.as_deref(), Some("load 90"));
}

/// A preferred node whose services have not been looked at yet is waited for when a cluster starts: it says that it is
/// about to know. What is known to fail is not waited for.
#[test]
fn what_has_not_been_looked_at_yet_is_no_fault_for_others() {
    for (effect, name) in [(crate::Effect::Fault, "fault"), (crate::Effect::Demote, "demote")] {
        let mut config = config(Switchover::Strict, OccupiedPolicy::Wait);
        config.checks[HTTP].initially_passing = false;
        config.checks[HTTP].effect = effect;
        let now = Timestamp::from_nanos(1_000_000_000);
        let start = Start::Fresh { drained: Drained::default() };
        let mut node = Node::new(config, 1, start, now);
        while node.poll_action().is_some() {}
        let mut give = |event: Event<'_>| {
            node.handle(event, now);
            while node.poll_action().is_some() {}
            let said = node.describe(0);
            (said.role, said.proving, said.demoted)
        };
        let facts = crate::bench::facts();
        let said = give(Event::Link { interface: crate::InterfaceIndex(0), facts });
        assert_eq!(said, (Role::Standby, true, false), "{name}: not known yet");
        let said = give(Event::Check { check: CheckIndex(HTTP), failing: Some("refused".into()) });
        let known = if effect == crate::Effect::Fault {
            (Role::Fault, true, false)
        } else {
            (Role::Standby, true, true)
        };
        assert_eq!(said, known, "{name}: known to fail");
        let said = give(Event::Check { check: CheckIndex(HTTP), failing: None });
        assert_eq!(said, (Role::Standby, true, false), "{name}: passes");
    }
}

/// A check that only demotes keeps nobody from a takeover who is the only one left.
#[test]
fn a_demoting_check_that_has_not_been_looked_at_is_not_waited_for() {
    let mut config = config(Switchover::Strict, OccupiedPolicy::Wait);
    config.checks[LOAD].initially_passing = false;
    let mut bench = Bench::with(config);
    bench.puppets[ALPHA].speaks = false;
    bench.say(CHARLIE, |state| (state.role, state.mounted, state.term) = (Role::Active, true, 3));
    bench.pass(HEARTBEAT * 20);
    bench.puppets[CHARLIE].speaks = false;
    bench.pass(HEARTBEAT * 20);
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
}

/// Its peers have looked at nothing either: the group would go round between them, as fast as messages do.
#[test]
fn a_holder_does_not_give_way_for_want_of_a_look() {
    let mut config = config(Switchover::Strict, OccupiedPolicy::Wait);
    config.checks[LOAD].initially_passing = false;
    let mut bench = Bench::with(config);
    bench.puppets[ALPHA].speaks = false;
    check(&mut bench, HTTP, None);
    bench.pass(HEARTBEAT * 40);
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
    bench.pass(std::time::Duration::from_secs(5));
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.done.decisions);
    check(&mut bench, LOAD, Some("load 90"));
    assert!(matches!(bench.state(), State::Standby), "known now: {:?}", bench.state());
}

/// Failback's patience begins when the preferred node knows that it is well.
#[test]
fn the_time_in_which_nobody_has_looked_is_no_time_of_health() {
    let mut config = config(Switchover::Strict, OccupiedPolicy::Wait);
    config.groups[0].failback = crate::Failback::After(std::time::Duration::from_secs(5));
    let mut bench = Bench::with(config);
    bench.say(ALPHA, |state| (state.role, state.proving) = (Role::Fault, true));
    bench.pass(HEARTBEAT * 40);
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
    bench.say(ALPHA, |state| state.role = Role::Standby);
    bench.pass(std::time::Duration::from_secs(20));
    bench.say(ALPHA, |state| state.proving = false);
    bench.pass(std::time::Duration::from_secs(4));
    assert!(matches!(bench.state(), State::Active), "not before its time");
    bench.pass(std::time::Duration::from_secs(2));
    assert!(matches!(bench.state(), State::Standby), "{:?}", bench.state());
}
