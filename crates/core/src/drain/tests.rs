//! Draining a group, and passing orders on to other nodes and back.

use std::time::Duration;

use vipdrift_wire::heartbeat::{Errand, ErrandOutcome, Health, Message, Order, Progress, Role};

use crate::bench::{ALPHA, Bench, CHARLIE, GROUP, HEARTBEAT};
use crate::group::State;
use crate::{Command, Event, GroupIndex, Scope, Ticket};

fn order(bench: &mut Bench, ticket: u64, order: Order, node: Option<&str>, group: bool) {
    let scope = Scope { node: node.map(str::to_owned), group: group.then_some(GroupIndex(0)) };
    let ticket = Ticket(ticket);
    bench.give(Event::Command(match order {
        Order::Drain => Command::Drain { ticket, scope },
        Order::Undrain => Command::Undrain { ticket, scope },
    }));
}

#[test]
fn a_drained_group_goes_and_is_remembered_while_the_node_stays_healthy() {
    let mut bench = Bench::active();
    order(&mut bench, 1, Order::Drain, None, true);
    bench.pass(HEARTBEAT * 2);
    assert_eq!(bench.reply(1), Some(Ok("web: drained")));
    assert!(matches!(bench.state(), State::Standby));
    let carry = bench.done.carry.clone().expect("remembered");
    assert_eq!((carry.drained.node, carry.drained.groups), (false, [GROUP.0].into()));
    let snapshot = bench.node.snapshot();
    assert_eq!(snapshot.health, crate::HealthSnapshot::Healthy);
    assert_eq!(snapshot.groups[0].role, crate::RoleName::Drained);
    // Nobody else takes it, and yet it is not taken back.
    bench.pass(Duration::from_secs(10));
    assert!(matches!(bench.state(), State::Standby));
    order(&mut bench, 2, Order::Drain, None, false);
    order(&mut bench, 3, Order::Undrain, None, false);
    assert_eq!(bench.reply(3), Some(Ok("undrained; still drained: web")));
    order(&mut bench, 4, Order::Undrain, None, true);
    assert_eq!(bench.reply(4), Some(Ok("web: undrained")));
    bench.pass(Duration::from_secs(10));
    assert!(matches!(bench.state(), State::Active));
}

#[test]
fn an_order_for_another_node_is_repeated_until_it_is_done() {
    let mut bench = Bench::active();
    order(&mut bench, 1, Order::Drain, Some("charlie"), true);
    bench.pass(HEARTBEAT * 5);
    let wanted = Errand { number: 1, order: Order::Drain, group: Some(GROUP) };
    let said = bench.done.errands(CHARLIE);
    assert!(said.len() >= 4 && said.iter().all(|errand| *errand == Some(wanted)), "{said:?}");
    assert!(bench.done.errands(ALPHA).iter().all(Option::is_none), "it is nobody else's business");
    bench.puppets[CHARLIE].outcome = Some(ErrandOutcome { number: 1, progress: Progress::Working });
    bench.pass(HEARTBEAT * 2);
    assert_eq!(bench.reply(1), None);
    bench.puppets[CHARLIE].outcome = Some(ErrandOutcome { number: 1, progress: Progress::Done });
    bench.pass(HEARTBEAT * 2);
    assert_eq!(bench.reply(1), Some(Ok("web: charlie is drained")));
    bench.done = crate::bench::Done::default();
    bench.pass(HEARTBEAT * 2);
    assert!(bench.done.errands(CHARLIE).iter().all(Option::is_none), "no longer asked");
    assert!(matches!(bench.state(), State::Active), "it was not meant");
}

#[test]
fn whoever_cannot_be_asked_or_does_not_answer_is_named() {
    let mut bench = Bench::active();
    order(&mut bench, 1, Order::Drain, Some("zulu"), false);
    assert_eq!(bench.reply(1), Some(Err("no node named zulu")));
    order(&mut bench, 2, Order::Undrain, Some("charlie"), false);
    bench.pass(Duration::from_secs(11));
    assert_eq!(bench.reply(2), Some(Err("charlie has not answered; it may still do it if it has heard")));
    bench.puppets[CHARLIE].speaks = false;
    bench.pass(HEARTBEAT * 10);
    order(&mut bench, 3, Order::Drain, Some("charlie"), false);
    assert_eq!(bench.reply(3), Some(Err("charlie is not heard; run `vipdrift drain` on it")));
    order(&mut bench, 4, Order::Drain, Some("bravo"), false);
    assert!(bench.node.drained, "its own name means this node");
}

#[test]
fn a_later_order_takes_the_place_of_an_earlier_one() {
    let mut bench = Bench::active();
    order(&mut bench, 1, Order::Drain, Some("charlie"), false);
    bench.puppets[CHARLIE].outcome = Some(ErrandOutcome { number: 1, progress: Progress::Working });
    bench.pass(HEARTBEAT * 2);
    order(&mut bench, 2, Order::Undrain, Some("charlie"), false);
    bench.done.sent.clear();
    bench.pass(HEARTBEAT * 2);
    assert_eq!(bench.reply(1), Some(Err("another order for the same came meanwhile")));
    let wanted = Errand { number: 2, order: Order::Undrain, group: None };
    let said = bench.done.errands(CHARLIE);
    assert!(!said.is_empty() && said.iter().all(|errand| *errand == Some(wanted)), "{said:?}");
    bench.puppets[CHARLIE].outcome = Some(ErrandOutcome { number: 2, progress: Progress::Done });
    bench.pass(HEARTBEAT * 2);
    assert_eq!(bench.reply(2), Some(Ok("charlie is not drained any more")));
}

/// Whoever drains the last node that could hold a group is told so.
#[test]
fn a_drain_that_leaves_nobody_says_so() {
    let mut bench = Bench::active();
    bench.say(CHARLIE, |state| state.role = Role::Drained);
    order(&mut bench, 1, Order::Drain, None, false);
    bench.pass(HEARTBEAT * 2);
    assert_eq!(
        bench.reply(1),
        Some(Ok("drained; web is left without a holder: alpha in fault, charlie drained"))
    );
}

#[test]
fn an_errand_is_done_once_and_its_outcome_told_until_it_is_known() {
    let mut bench = Bench::active();
    let errand = Errand { number: 7, order: Order::Drain, group: None };
    bench.puppets[CHARLIE].errand = Some(errand);
    bench.pass(HEARTBEAT * 3);
    assert!(bench.node.drained);
    assert!(matches!(bench.state(), State::Standby));
    let told = bench.done.outcomes(CHARLIE);
    let done = ErrandOutcome { number: 7, progress: Progress::Done };
    assert_eq!(told.last(), Some(&Some(done)), "{told:?}");
    assert!(bench.done.outcomes(ALPHA).iter().all(Option::is_none));
    // An operator here changes his mind while charlie has not heard yet that it was done.
    order(&mut bench, 1, Order::Undrain, None, false);
    bench.pass(HEARTBEAT * 3);
    assert!(!bench.node.drained, "the same errand is not done again");
    bench.puppets[CHARLIE].errand = None;
    bench.pass(HEARTBEAT * 2);
    bench.done = crate::bench::Done::default();
    bench.pass(HEARTBEAT * 2);
    assert!(bench.done.outcomes(CHARLIE).iter().all(Option::is_none), "it knows");
    let other = Errand { number: 8, order: Order::Drain, group: Some(vipdrift_wire::heartbeat::GroupId(1)) };
    bench.puppets[CHARLIE].errand = Some(other);
    bench.pass(HEARTBEAT * 2);
    let refused = ErrandOutcome { number: 8, progress: Progress::Refused };
    assert_eq!(bench.done.outcomes(CHARLIE).last(), Some(&Some(refused)));
}

#[test]
fn nobody_is_left_without_an_answer() {
    let mut bench = Bench::active();
    order(&mut bench, 1, Order::Drain, Some("charlie"), false);
    bench.obedient = false;
    order(&mut bench, 2, Order::Drain, None, false);
    bench.give(Event::KeeperGone);
    for ticket in [1, 2] {
        assert_eq!(bench.reply(ticket), Some(Err("this node has ended")), "{ticket}");
    }
}

/// Whoever gave the order has lost his connection with the brain, and the order stands.
#[test]
fn an_order_for_another_node_outlives_the_brain() {
    let mut bench = Bench::active();
    order(&mut bench, 1, Order::Drain, Some("charlie"), true);
    let carry = bench.done.carry.clone().expect("remembered at once");
    let mut next = Bench::resumed(carry.clone());
    next.pass(HEARTBEAT * 4);
    let wanted = Errand { number: 1, order: Order::Drain, group: Some(GROUP) };
    let said = next.done.errands(CHARLIE);
    assert!(said.len() >= 4 && said.iter().all(|errand| *errand == Some(wanted)), "{said:?}");
    assert!(next.done.errands(ALPHA).iter().all(Option::is_none));
    next.puppets[CHARLIE].outcome = Some(ErrandOutcome { number: 1, progress: Progress::Done });
    next.pass(HEARTBEAT * 2);
    next.bring_back();
    next.pass(HEARTBEAT * 2);
    assert_eq!(next.done.errands(CHARLIE).last(), Some(&None));
    assert_eq!(next.done.carry.as_ref().map(|carry| carry.errands.len()), Some(0), "it is done");
    let told = "web: charlie is drained, as was ordered before this brain began";
    assert!(next.done.notes.iter().any(|note| note == told), "{:?}", next.done.notes);

    // Nobody answers: that is said, and the order ends.
    let mut next = Bench::resumed(carry);
    next.pass(Duration::from_secs(11));
    let told =
        "an order from before this brain began: charlie has not answered; it may still do it if it has heard";
    assert!(next.done.notes.iter().any(|note| note == told), "{:?}", next.done.notes);
    assert_eq!(next.done.carry.as_ref().map(|carry| carry.errands.len()), Some(0));
}

#[test]
fn whoever_undrains_another_node_is_told_what_is_still_drained_there() {
    let done = |number| Some(ErrandOutcome { number, progress: Progress::Done });
    let mut bench = Bench::active();
    bench.say(CHARLIE, |state| state.role = Role::Drained);
    bench.puppets[CHARLIE].health = Health::Drained;
    order(&mut bench, 1, Order::Undrain, Some("charlie"), true);
    bench.puppets[CHARLIE].outcome = done(1);
    bench.pass(HEARTBEAT * 2);
    assert_eq!(bench.reply(1), Some(Ok("web: undrained on charlie; still drained: the node")));

    order(&mut bench, 2, Order::Undrain, Some("charlie"), false);
    // The outcome comes before what charlie says of its groups.
    bench.puppets[CHARLIE].health = Health::Healthy;
    bench.puppets[CHARLIE].outcome = done(2);
    bench.puppets[CHARLIE].version += 1;
    let mut early = bench.puppets[CHARLIE].heartbeat(bench.node.config.id);
    early.states = None;
    bench.send(CHARLIE, &Message::Heartbeat(early));
    assert_eq!(bench.reply(2), None, "not known yet");
    bench.pass(HEARTBEAT * 2);
    assert_eq!(bench.reply(2), Some(Ok("undrained on charlie; still drained: web")));

    order(&mut bench, 3, Order::Undrain, Some("charlie"), true);
    bench.puppets[CHARLIE].outcome = done(3);
    bench.say(CHARLIE, |state| state.role = Role::Standby);
    assert_eq!(bench.reply(3), Some(Ok("web: charlie is not drained any more")));
}
