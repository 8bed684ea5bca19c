//! What a new holder says of why the old one let go. The node is bravo, and charlie holds the group.

use std::time::Duration;

use vipdrift_wire::heartbeat::{Message, NodeId, Role, WordKind};

use crate::bench::{ALPHA, Bench, CHARLIE, HEARTBEAT};
use crate::group::State;
use crate::tuning::SLOW_LOSS;
use crate::{Cause, Command, Event, GroupIndex, InterfaceIndex, OccupiedPolicy, Switchover, Ticket};

fn charlie_holds() -> Bench {
    let mut bench = Bench::new(Switchover::Strict, OccupiedPolicy::Wait);
    bench.puppets[ALPHA].state.role = Role::Fault;
    bench.say(CHARLIE, |state| (state.role, state.mounted, state.term) = (Role::Active, true, 3));
    bench.pass(HEARTBEAT * 10);
    assert!(matches!(bench.state(), State::Standby), "{:?}", bench.state());
    bench
}

/// Charlie unmounts and names bravo, or its keeper does.
fn reason_after(lets_go: impl FnOnce(&mut Bench)) -> (String, Vec<String>) {
    let mut bench = charlie_holds();
    lets_go(&mut bench);
    bench.pass(HEARTBEAT * 20);
    let decision = bench.done.decisions.pop().expect("it has taken over");
    (decision.reason, decision.evidence)
}

fn resigns(bench: &mut Bench, role: Role) {
    let bravo = bench.node.config.id;
    bench.say(CHARLIE, |state| (state.role, state.mounted, state.heir) = (role, false, Some(bravo)));
}

#[test]
fn the_kind_of_reason_is_told() {
    assert_eq!(reason_after(|bench| resigns(bench, Role::Drained)).0, "charlie let go: it is drained");
    assert_eq!(reason_after(|bench| resigns(bench, Role::Standby)).0, "charlie handed it over as planned");
    let (reason, evidence) = reason_after(|bench| resigns(bench, Role::Fault));
    assert_eq!(reason, "charlie let go: it is in fault");
    assert!(
        evidence.contains(&"what is wrong with charlie: `vipdrift why web` there".to_owned()),
        "{evidence:?}"
    );
    let (reason, _) = reason_after(|bench| {
        bench.puppets[CHARLIE].state.demoted = true;
        resigns(bench, Role::Standby);
    });
    assert_eq!(reason, "charlie handed it over: a check fails there that demotes");
    let (reason, _) = reason_after(|bench| {
        let to = Some("bravo".to_owned());
        let command = Command::Switchover { ticket: Ticket(1), group: GroupIndex(0), to };
        bench.give(Event::Command(command));
        resigns(bench, Role::Standby);
    });
    assert_eq!(reason, "charlie handed it over: a move was ordered here");
}

#[test]
fn a_holder_that_is_heard_again_is_not_shown_as_silent() {
    let mut bench = charlie_holds();
    let mac = bench.puppets[CHARLIE].mac;
    bench.puppets[CHARLIE].speaks = false;
    for _ in 0..100 {
        bench.pass(HEARTBEAT / 10);
        bench.claim(mac, true);
        bench.claim(mac, false);
    }
    let reason = |bench: &Bench| bench.node.snapshot().groups.swap_remove(0).reason;
    assert!(reason(&bench).starts_with("charlie silent, "), "{}", reason(&bench));
    bench.puppets[CHARLIE].speaks = true;
    bench.pass(HEARTBEAT * 3);
    assert_eq!(reason(&bench), "charlie is active in term 3");
}

/// Lets bravo take the group over, and answers how it came to it and for how long nobody held it.
fn takeover(mut bench: Bench) -> (Cause, Option<Duration>) {
    let begun = bench.now;
    while !matches!(bench.state(), State::Active) {
        bench.pass(Duration::from_millis(1));
        assert!(bench.now.since(begun) < Duration::from_secs(10), "{:?}", bench.state());
    }
    let decision = bench.done.decisions.pop().expect("a decision");
    let takeover = decision.takeover.expect("the group has come to this node");
    let seen = bench.node.snapshot().groups.swap_remove(0);
    assert_eq!((seen.takeovers.get(&takeover.cause), seen.outage), (Some(&1), takeover.outage));
    // What this node has held all the while does not come to it anew.
    bench.give(Event::ClockGap { missing: Duration::from_secs(5) });
    bench.pass(HEARTBEAT * 20);
    assert_eq!(bench.done.decisions.pop().and_then(|decision| decision.takeover), None);
    assert_eq!(bench.node.snapshot().groups[0].takeovers, seen.takeovers);
    (takeover.cause, takeover.outage)
}

#[test]
fn a_takeover_says_how_it_came_about_and_for_how_long_nobody_held() {
    let mut bench = charlie_holds();
    bench.puppets[CHARLIE].speaks = false;
    let (cause, outage) = takeover(bench);
    assert_eq!(cause, Cause::Silent);
    assert!(outage.is_some_and(|outage| outage > HEARTBEAT && outage < HEARTBEAT * 4), "{outage:?}");

    let mut bench = charlie_holds();
    resigns(&mut bench, Role::Drained);
    let (cause, outage) = takeover(bench);
    assert_eq!(cause, Cause::Released);
    assert!(outage.is_some_and(|outage| outage < HEARTBEAT), "{outage:?}");

    // It names nobody, so the segment is asked.
    let mut bench = charlie_holds();
    bench.say(CHARLIE, |state| (state.role, state.mounted, state.heir) = (Role::Fault, false, None));
    let (cause, outage) = takeover(bench);
    assert_eq!(cause, Cause::Released);
    assert!(outage.is_some_and(|outage| outage < HEARTBEAT * 4), "{outage:?}");

    let mut bench = charlie_holds();
    let bravo = bench.node.config.id;
    bench.say(CHARLIE, |state| (state.hitless, state.heir) = (true, Some(bravo)));
    assert_eq!(takeover(bench), (Cause::HandedOver, Some(Duration::ZERO)));

    let mut bench = Bench::new(Switchover::Strict, OccupiedPolicy::Wait);
    bench.puppets[ALPHA].state.role = Role::Fault;
    assert_eq!(takeover(bench), (Cause::Unheld, None));
}

#[test]
fn a_daemon_that_was_stopped_is_told_from_one_whose_brain_died() {
    let (reason, _) = reason_after(|bench| {
        let bravo = bench.node.config.id;
        let charlie = &mut bench.puppets[CHARLIE];
        charlie.speaks = false;
        charlie.version += 1;
        let (version, state) = (charlie.version, &mut charlie.state);
        (state.version, state.role, state.mounted, state.heir) = (version, Role::Fault, false, Some(bravo));
        let mut farewell = charlie.heartbeat(bravo);
        farewell.leaving = true;
        bench.send(CHARLIE, &Message::Heartbeat(farewell));
    });
    assert_eq!(reason, "charlie let go: it was stopped");
    let mut bench = charlie_holds();
    bench.puppets[CHARLIE].speaks = false;
    bench.word(CHARLIE, WordKind::Resigned);
    let how = bench.node.groups[0].released.as_ref().map(|released| released.how.as_str());
    assert_eq!(how, Some("let go: its keeper has unmounted everything"));
}

/// On a system that refuses questions, silence is no answer.
#[test]
fn what_could_not_be_asked_is_not_free() {
    let mut bench = charlie_holds();
    bench.puppets[CHARLIE].speaks = false;
    for _ in 0..1000 {
        bench.pass(Duration::from_millis(1));
        for vip in ["192.0.2.100", "2001:db8::100"] {
            let target = vip.parse().expect("an address");
            bench.give(Event::Unasked { interface: InterfaceIndex(0), target });
        }
        assert!(matches!(bench.state(), State::Standby), "{:?}", bench.state());
    }
    bench.pass(HEARTBEAT * 20);
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
}

/// A machine that needs longer to notice that it is cut off is given that time before anybody takes its VIPs.
#[test]
fn a_peer_that_hears_slowly_is_waited_for() {
    let taken_after = |hears_slowly| {
        let mut bench = charlie_holds();
        bench.puppets[CHARLIE].hears_slowly = hears_slowly;
        bench.pass(HEARTBEAT * 3);
        bench.puppets[CHARLIE].speaks = false;
        let silent = bench.now;
        while !matches!(bench.state(), State::Active) {
            bench.pass(Duration::from_millis(1));
            assert!(bench.now.since(silent) < Duration::from_secs(2), "{:?}", bench.state());
        }
        bench.now.since(silent)
    };
    let (quick, slow) = (taken_after(false), taken_after(true));
    // Counted from the last heartbeat, which was up to an interval ago.
    assert!(slow >= SLOW_LOSS + HEARTBEAT / 10 && slow > quick + HEARTBEAT, "{slow:?} and {quick:?}");
}

/// An heir that gives the group back at once, for a reason of its own, does not get it again for the same wish.
#[test]
fn a_wish_is_granted_once() {
    let mut bench = Bench::active();
    let [alpha, bravo] = ["alpha", "bravo"].map(NodeId::of);
    bench.say(ALPHA, |state| state.role = Role::Standby);
    bench.say(CHARLIE, |state| (state.claiming, state.heir) = (true, Some(alpha)));
    assert!(!matches!(bench.state(), State::Active), "{:?} {:?}", bench.state(), bench.done.decisions);
    let term = bench.node.groups[0].term + 1;
    bench.say(ALPHA, |state| (state.role, state.mounted, state.term) = (Role::Active, true, term));
    bench.say(ALPHA, |state| (state.role, state.mounted, state.heir) = (Role::Standby, false, Some(bravo)));
    bench.pass(HEARTBEAT);
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
    let changes = bench.done.decisions.len();
    bench.pass(HEARTBEAT * 20);
    assert_eq!(bench.done.decisions.len(), changes, "{:?}", bench.done.decisions);
    // Withdrawn, and wished anew.
    bench.say(CHARLIE, |state| (state.claiming, state.heir) = (false, None));
    bench.say(CHARLIE, |state| (state.claiming, state.heir) = (true, Some(alpha)));
    bench.pass(HEARTBEAT);
    assert!(!matches!(bench.state(), State::Active), "{:?}", bench.state());
}
