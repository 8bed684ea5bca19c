//! The node is bravo; charlie, which comes after it, holds the group and makes way.

use std::time::Duration;

use vipdrift_wire::heartbeat::{Message, Role, WordKind, decode};

use super::ABSENCE_MAX;
use crate::bench::{ALPHA, Bench, CHARLIE, HEARTBEAT, keys};
use crate::group::State;
use crate::{Command, Event, GroupIndex, OccupiedPolicy, PeerStateName, Switchover, Ticket};

const WINDOW: Duration = Duration::from_secs(10);
/// VIPs that are answered for are asked for this often; see `Tuning::slow_round`.
const SLOW: Duration = HEARTBEAT;

/// Charlie is active; alpha is in fault, so that it is bravo's turn.
fn held() -> Bench {
    let mut bench = Bench::new(Switchover::Strict, OccupiedPolicy::Wait);
    bench.puppets[ALPHA].state.role = Role::Fault;
    bench.say(CHARLIE, |state| (state.role, state.mounted, state.term) = (Role::Active, true, 3));
    bench.pass(HEARTBEAT * 10);
    bench
}

fn absent(at_most: Duration) -> Bench {
    let mut bench = held();
    bench.puppets[CHARLIE].speaks = false;
    bench.word(CHARLIE, WordKind::Absent { at_most });
    bench
}

/// Time passes in which charlie's kernel answers for a VIP.
fn answered(bench: &mut Bench, span: Duration) {
    let (mac, step) = (bench.puppets[CHARLIE].mac, Duration::from_millis(5));
    for _ in 0..span.as_millis() / step.as_millis() {
        bench.claim(mac, true);
        bench.pass(step);
    }
}

/// How much longer charlie may be away.
fn left(bench: &Bench) -> Option<Duration> {
    bench.node.snapshot().peers[CHARLIE].absent_until.map(|until| until.since(bench.now))
}

fn is_standby(bench: &Bench) -> bool {
    matches!(bench.state(), State::Standby)
}

#[test]
fn an_absent_holder_is_waited_for_and_shown_while_its_vips_are_answered_for() {
    let mut bench = absent(WINDOW);
    answered(&mut bench, WINDOW - Duration::from_secs(1));
    assert!(is_standby(&bench), "{:?}", bench.state());
    let snapshot = bench.node.snapshot();
    let charlie = &snapshot.peers[CHARLIE];
    assert_eq!(charlie.state, PeerStateName::Silent);
    assert_eq!(left(&bench), Some(Duration::from_secs(1)));
    assert_eq!(snapshot.groups[0].active_node.as_deref(), Some("charlie"));
    let mac = bench.puppets[CHARLIE].mac;
    let expected = format!("charlie restarting, 192.0.2.100 answered by {mac} (charlie)");
    assert_eq!(snapshot.groups[0].reason, expected);
    assert_eq!(bench.done.decisions, []);
}

#[test]
fn when_nobody_answers_any_more_it_is_taken_long_before_the_end() {
    let mut bench = absent(WINDOW);
    answered(&mut bench, Duration::from_secs(2));
    // Not before the silence has lasted as long as that of a node that is given up.
    bench.pass(HEARTBEAT * 3);
    assert!(is_standby(&bench), "{:?}", bench.state());
    bench.pass(SLOW * 3 + HEARTBEAT);
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
    let decision = bench.done.decisions.last().expect("a decision");
    assert_eq!(decision.reason, "charlie silent, 192.0.2.100 not answered");
}

#[test]
fn a_single_answer_ends_the_doubt() {
    let mut bench = absent(WINDOW);
    answered(&mut bench, Duration::from_secs(1));
    for _ in 0..10 {
        bench.pass(HEARTBEAT * 3);
        answered(&mut bench, Duration::from_millis(5));
    }
    assert!(is_standby(&bench), "{:?}", bench.state());
}

#[test]
fn one_that_comes_back_is_the_holder_again() {
    let mut bench = absent(WINDOW);
    answered(&mut bench, Duration::from_secs(2));
    let charlie = &mut bench.puppets[CHARLIE];
    (charlie.incarnation, charlie.sequence, charlie.speaks) = (charlie.incarnation + 2, 0, true);
    bench.pass(HEARTBEAT * 4);
    let snapshot = bench.node.snapshot();
    assert_eq!(snapshot.peers[CHARLIE].state, PeerStateName::Alive);
    assert_eq!(left(&bench), None);
    assert!(bench.node.groups[0].ghost.is_none());
    assert!(is_standby(&bench) && !bench.node.groups[0].occupancy.is_asking());
    bench.pass(WINDOW * 2);
    assert!(is_standby(&bench), "the end of the time means nothing any more");
    assert_eq!(bench.done.decisions, []);
}

#[test]
fn when_its_time_is_over_it_is_silent_like_any_other() {
    let mut bench = absent(Duration::from_secs(3));
    answered(&mut bench, Duration::from_secs(5));
    let snapshot = bench.node.snapshot();
    assert_eq!(left(&bench), None);
    assert_eq!(snapshot.groups[0].active_node, None);
    let reason = &snapshot.groups[0].reason;
    assert!(reason.starts_with("charlie silent, 192.0.2.100 answered by"), "{reason}");
    assert!(is_standby(&bench), "and still answered for");
    bench.pass(SLOW * 4);
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
}

#[test]
fn the_word_is_believed_once_and_not_for_long() {
    let mut bench = absent(ABSENCE_MAX * 100);
    assert_eq!(left(&bench), Some(ABSENCE_MAX));
    answered(&mut bench, Duration::from_secs(1));
    for kind in
        [WordKind::Absent { at_most: ABSENCE_MAX }, WordKind::Holding { at_most: Duration::from_secs(1) }]
    {
        bench.word(CHARLIE, kind);
        assert_eq!(left(&bench), Some(ABSENCE_MAX - Duration::from_secs(1)), "{kind:?}");
    }
    // Its keeper gives up: that counts, and nothing can be said after it.
    bench.word(CHARLIE, WordKind::Resigned);
    bench.word(CHARLIE, WordKind::Absent { at_most: ABSENCE_MAX });
    assert_eq!(bench.node.snapshot().peers[CHARLIE].state, PeerStateName::Left);
    assert_eq!(left(&bench), None);
    bench.pass(HEARTBEAT);
    assert!(matches!(bench.state(), State::Active), "at once: {:?}", bench.state());
}

#[test]
fn a_word_of_another_life_says_nothing() {
    let mut bench = held();
    bench.puppets[CHARLIE].incarnation += 2;
    bench.word(CHARLIE, WordKind::Absent { at_most: WINDOW });
    bench.puppets[CHARLIE].incarnation -= 2;
    assert_eq!(left(&bench), None);
    assert_eq!(bench.node.snapshot().peers[CHARLIE].state, PeerStateName::Alive);
}

#[test]
fn a_node_at_rest_signs_its_own_absence_and_one_that_is_busy_does_not() {
    let mut bench = Bench::new(Switchover::Strict, OccupiedPolicy::Wait);
    bench.puppets[ALPHA].state.role = Role::Fault;
    bench.pass(HEARTBEAT * 10);
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
    let signed = bench.node.absence(WINDOW).expect("at rest");
    let Ok(Message::Word(word)) = decode(&signed, &keys()) else { panic!("a word") };
    assert_eq!((word.sender, word.incarnation), (bench.node.config.id, bench.node.incarnation));
    assert_eq!(word.kind, WordKind::Absent { at_most: WINDOW });

    bench.obedient = false;
    let command = Command::Switchover { ticket: Ticket(1), group: GroupIndex(0), to: Some("charlie".into()) };
    bench.give(Event::Command(command));
    let why = bench.node.absence(WINDOW).expect_err("being moved");
    assert_eq!(why, "web: it is being moved; try again in a moment");

    let mut bench = Bench::new(Switchover::Strict, OccupiedPolicy::Wait);
    bench.puppets[ALPHA].state.role = Role::Fault;
    bench.pass(HEARTBEAT * 10);
    bench.give(Event::ClockGap { missing: Duration::from_secs(1) });
    let why = bench.node.absence(WINDOW).expect_err("asking around");
    assert!(why.starts_with("web: this node asks around"), "{why}");
}
