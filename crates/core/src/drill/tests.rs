//! A drill as the bench sees it: bravo holds the group, charlie takes it for a while.

use std::time::Duration;

use vipdrift_wire::heartbeat::Role;

use crate::bench::{ALPHA, Bench, CHARLIE};
use crate::group::State;
use crate::{Command, Event, GroupIndex, Ticket, drill_limit};

const STAY: Duration = Duration::from_secs(1);

fn drill(bench: &mut Bench, ticket: u64) {
    let command = Command::Drill { ticket: Ticket(ticket), group: GroupIndex(0), to: None, stay: STAY };
    bench.give(Event::Command(command));
}

/// Charlie takes the group after so long, and answers for it.
fn charlie_takes_it(bench: &mut Bench, after: Duration) {
    assert!(matches!(bench.state(), State::Standby), "let go: {:?}", bench.state());
    bench.pass(after);
    bench.takes_over(CHARLIE);
    let mac = bench.puppets[CHARLIE].mac;
    bench.claim(mac, true);
    bench.claim(mac, false);
    bench.pass(Duration::from_millis(2));
}

#[test]
fn there_and_back_with_the_longest_time_without_an_answer() {
    let mut bench = Bench::active();
    drill(&mut bench, 1);
    drill(&mut bench, 2);
    assert_eq!(bench.reply(2), Some(Err("there is a drill already")));
    charlie_takes_it(&mut bench, Duration::from_millis(7));
    // For a second it stays there, and answers.
    assert_eq!(bench.reply(1), None);
    bench.pass(STAY);
    let mac = bench.puppets[CHARLIE].mac;
    bench.claim(mac, true);
    bench.claim(mac, false);
    bench.pass(Duration::from_millis(2));
    // Bravo asks for it: charlie lets go and names it.
    let bravo = bench.node.config.id;
    bench.say(CHARLIE, |state| {
        (state.role, state.mounted, state.heir) = (Role::Standby, false, Some(bravo));
    });
    bench.pass(Duration::from_millis(5));
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
    assert_eq!(bench.reply(1), Some(Ok("drilled")));
    let legs = &bench.done.legs;
    let ways: Vec<_> = legs.iter().map(|leg| (leg.from.as_str(), leg.to.as_str())).collect();
    assert_eq!(ways, [("bravo", "charlie"), ("charlie", "bravo")]);
    assert_eq!(legs[0].vips.len(), 2);
    let there = legs[0].longest();
    assert!((Duration::from_millis(7)..Duration::from_millis(9)).contains(&there), "{there:?}");
}

#[test]
fn a_drill_that_cannot_begin_moves_nothing() {
    let mut bench = Bench::active();
    bench.say(CHARLIE, |state| state.role = Role::Fault);
    drill(&mut bench, 1);
    assert_eq!(
        bench.reply(1),
        Some(Err("no other node is ready to take web (alpha: in fault; charlie: in fault)"))
    );
    assert!(matches!(bench.state(), State::Active));
}

/// Its clients would be without it for as long as it stays there.
#[test]
fn an_heir_for_which_nobody_answers_gives_it_back_at_once() {
    let mut bench = Bench::active();
    drill(&mut bench, 1);
    bench.pass(Duration::from_millis(2));
    bench.takes_over(CHARLIE);
    bench.pass(Duration::from_secs(4));
    assert_eq!(bench.reply(1), None);
    let bravo = bench.node.config.id;
    bench.say(CHARLIE, |state| {
        (state.role, state.mounted, state.heir) = (Role::Standby, false, Some(bravo));
    });
    bench.pass(Duration::from_millis(20));
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
    let said = bench.reply(1).expect("an answer").expect_err("it has failed");
    let expected =
        "web: nobody answers for 192.0.2.100 after the move; it is back on bravo; charlie to bravo: ";
    assert!(said.starts_with(expected), "{said}");
}

/// The other node dies just before the way back: this one takes the group as it always would, and keeps it.
#[test]
fn a_group_that_is_home_already_is_not_handed_over_to_itself() {
    let mut bench = Bench::active();
    drill(&mut bench, 1);
    charlie_takes_it(&mut bench, Duration::from_millis(2));
    bench.pass(STAY - Duration::from_millis(4));
    bench.done.decisions.clear();
    bench.puppets[CHARLIE].speaks = false;
    bench.pass(Duration::from_secs(4));
    assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
    assert_eq!(bench.done.decisions.len(), 1, "{:?}", bench.done.decisions);
    let said = bench.reply(1).expect("an answer").expect_err("that was no drill");
    assert!(said.starts_with("web: it was not moved: web is already active on bravo; "), "{said}");
}

#[test]
fn a_group_that_goes_elsewhere_meanwhile_is_left_there() {
    let mut bench = Bench::active();
    drill(&mut bench, 1);
    charlie_takes_it(&mut bench, Duration::from_millis(2));
    bench.say(CHARLIE, |state| (state.role, state.mounted) = (Role::Fault, false));
    bench.takes_over(ALPHA);
    bench.pass(STAY * 2);
    let said = bench.reply(1).expect("an answer").expect_err("it was not done");
    assert!(said.starts_with("web: alpha has taken it meanwhile; bravo to charlie: "), "{said}");
    assert!(matches!(bench.state(), State::Standby));
}

#[test]
fn every_drill_ends_within_its_limit() {
    // Each way is as slow as it may be.
    let gate = Duration::from_secs(60);
    let mut bench = Bench::active();
    bench.node.config.groups[0].gate = Some(gate);
    let begun = bench.now;
    drill(&mut bench, 1);
    bench.say(CHARLIE, |state| state.claiming = true);
    bench.pass(gate);
    bench.say(CHARLIE, |state| state.claiming = false);
    charlie_takes_it(&mut bench, Duration::ZERO);
    bench.pass(STAY);
    let mac = bench.puppets[CHARLIE].mac;
    bench.claim(mac, true);
    bench.claim(mac, false);
    // Charlie keeps it, whatever it is asked for.
    while bench.reply(1).is_none() {
        bench.pass(Duration::from_secs(1));
        let taken = bench.now.since(begun);
        assert!(taken < drill_limit(Some(gate), STAY) + Duration::from_secs(1), "{taken:?}");
    }
    assert!(bench.now.since(begun) > gate * 2, "the way back has its time as well");
    assert!(matches!(bench.reply(1), Some(Err(_))));
}
