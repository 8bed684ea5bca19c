//! What once went wrong, or could: each a small story.

use std::net::Ipv4Addr;
use std::time::Duration;

use vipdrift_core::{Command, RoleName, Scope, VipIndex};
use vipdrift_wire::arp;

use super::{ALPHA, BRAVO, CHARLIE, DELTA, LEASE, Story, hitless, ms, of, us, with};
use crate::scenario::{Fault, GroupSetup, NAMES, NodeNumber, Setup};
use crate::world::{Thing, World};

/// A node that was cut off hears old holders say that they hold nothing now. That is no news, and nothing to take.
#[test]
fn what_changed_while_a_node_was_cut_off_is_no_reason_to_claim() {
    for later in 0..10 {
        let mut story = Story::running(of(4));
        let pulled = story.comes(Fault::CablePulled { on: DELTA });
        story.run(ms(500));
        story.command(ALPHA, |ticket| Command::Drain { ticket, scope: Scope::default() });
        story.run(ms(500) + us(1100 * later));
        assert_eq!(story.holders(), [1]);
        story.goes(pulled);
        story.run(ms(500));
        assert_eq!(story.holders(), [1]);
        assert_eq!(story.two_holders(), Duration::ZERO);
    }
}

/// Where a node's kernel still answers beside a foreign machine, the permission to overrule foreigners does not count.
#[test]
fn a_dead_daemons_kernel_is_not_taken_for_the_foreign_machine_beside_it() {
    let mut story = Story::running(with(of(3), |group| group.claim = true));
    story.comes(Fault::DaemonKilled { on: ALPHA });
    story.run(ms(200));
    story.comes(Fault::ForeignHolder { group: 0 });
    story.run(ms(1000));
    assert_eq!(story.holders(), [0], "its lease runs");
    let taken = story.until_held_by(LEASE, &[1]);
    assert!(taken.is_some(), "then the foreign machine is overruled");
    assert_eq!(story.two_holders(), Duration::ZERO);
    let noted = story.notes(BRAVO).iter().filter(|note| note.contains("staying standby")).count();
    assert!(noted < 10, "said {noted} times");
}

/// The heir of a hitless handover mounts beside a holder that will let go. A dead one will not.
#[test]
fn an_heir_does_not_mount_beside_a_holder_that_died_while_it_handed_over() {
    for died in 0..12 {
        let mut story = Story::running(hitless(of(3)));
        // The heir stands still at first, so that the offer stands.
        let frozen = story.comes(Fault::BrainFrozen { on: BRAVO });
        story.switchover(ALPHA, Some("bravo"));
        story.run(us(700 * died));
        story.comes(Fault::DaemonKilled { on: ALPHA });
        story.run(ms(20));
        story.goes(frozen);
        story.run(LEASE + ms(500));
        assert_eq!(story.holders(), [1]);
        assert_eq!(story.two_holders(), Duration::ZERO, "died {died}");
    }
}

/// But one that was late itself takes the offer as soon as it has heard the holder again.
#[test]
fn an_heir_that_was_late_takes_a_hitless_offer_in_the_end() {
    let mut story = Story::running(hitless(of(3)));
    let frozen = story.comes(Fault::BrainFrozen { on: BRAVO });
    story.switchover(ALPHA, Some("bravo"));
    story.run(ms(12));
    story.goes(frozen);
    let took = story.until_held_by(ms(500), &[1]);
    assert!(took.is_some_and(|took| took < ms(60)), "took {took:?}");
    assert_eq!(story.nobody(), Duration::ZERO);
}

/// Nor is an heir waited for that is gone itself.
#[test]
fn a_handover_to_an_heir_that_dies_is_given_up_at_once() {
    let mut story = Story::running(hitless(of(3)));
    story.comes(Fault::BrainFrozen { on: BRAVO });
    let ticket = story.switchover(ALPHA, Some("bravo"));
    story.run(ms(1));
    story.comes(Fault::PowerCut { on: BRAVO });
    story.run(ms(100));
    assert_eq!(story.reply(ticket), Err("bravo cannot take over: not heard"));
    assert_eq!(story.role(ALPHA), RoleName::Active);
}

/// Everybody who waits is answered, whatever becomes of what they wait for.
#[test]
fn commands_are_answered_when_the_node_ends() {
    let mut story = Story::running(hitless(of(3)));
    story.comes(Fault::BrainFrozen { on: BRAVO });
    let first = story.switchover(ALPHA, Some("bravo"));
    let second = story.switchover(CHARLIE, Some("bravo"));
    story.comes(Fault::Stopped { on: CHARLIE });
    let third = story.command(ALPHA, |ticket| Command::Drain { ticket, scope: Scope::default() });
    story.comes(Fault::KeeperKilled { on: ALPHA });
    assert!(story.has_exited(ALPHA) && story.has_exited(CHARLIE));
    let open = |host: &crate::world::Host| host.brain.as_ref().map_or(0, |brain| brain.open.len());
    assert!(story.world.hosts.iter().all(|host| open(host) == 0));
    assert!(story.world.replies.contains_key(&first) && story.world.replies.contains_key(&second));
    assert!(story.reply(third).is_err());
}

/// An operator who changes their mind is told so.
#[test]
fn a_drain_undone_before_it_was_done_is_answered() {
    let mut story = Story::running(hitless(of(2)));
    story.comes(Fault::BrainFrozen { on: BRAVO });
    let first = story.command(ALPHA, |ticket| Command::Drain { ticket, scope: Scope::default() });
    let second = story.command(ALPHA, |ticket| Command::Undrain { ticket, scope: Scope::default() });
    assert!(story.reply(first).is_err());
    assert_eq!(story.reply(second), Ok("undrained"));
}

/// A node whose timers are always late must not wait for ever before it declares anybody dead.
#[test]
fn a_node_that_is_always_late_finds_the_dead_as_well() {
    for (heartbeat, late) in [(ms(10), ms(6)), (ms(100), ms(60)), (ms(100), ms(90))] {
        let mut story = Story::running(Setup { heartbeat, ..of(2) });
        story.world.hosts[1].late = late;
        story.run(heartbeat * 50);
        story.comes(Fault::PowerCut { on: ALPHA });
        let took = story.until_held_by(heartbeat * 50, &[1]);
        assert!(took.is_some_and(|took| took < heartbeat * 10), "{late:?} late: took {took:?}");
    }
}

/// Answers to heartbeats that prove nothing, since the path is too slow, must not call forth answers for ever.
#[test]
fn a_slow_path_does_not_make_two_nodes_answer_each_other_without_end() {
    // Questions are not answered in time on such a path: who holds the VIP is not promised.
    let mut story = Story::unwatched(Setup { wire: ms(50), ..of(2) });
    story.start();
    story.run(ms(1000));
    let before = story.world.hosts[0].actions;
    story.run(ms(5000));
    let each_second = (story.world.hosts[0].actions - before) / 5;
    assert!(each_second < 1000, "{each_second} actions each second");
}

/// Two holders of which one cannot hear the other: the term is known to one of them only, so the order counts.
#[test]
fn holders_of_which_one_is_deaf_part_by_order() {
    for (from, to) in [(ALPHA, BRAVO), (BRAVO, ALPHA)] {
        let mut story = Story::running(Setup { gateway: false, ..of(2) });
        story.run(ms(500));
        let cut = story.comes(Fault::SilentCut { on: ALPHA });
        story.run(ms(2000));
        assert_eq!(story.holders(), [0, 1]);
        story.comes(Fault::HeartbeatsBlockedOneWay { from, to });
        story.goes(cut);
        let took = story.run_until(ms(2000), |world| world.holders(VipIndex(0)).count() == 1);
        assert!(took.is_some(), "blocked from {from} to {to}");
        story.run(ms(3000));
        assert_eq!(story.holders().len(), 1, "and it stays so");
    }
}

/// A resignation that waited in the socket of a brain that stood still may be old.
#[test]
fn an_heir_that_stood_still_asks_before_it_mounts() {
    // A keeper without real-time priority waits for longer than any of these brains stands still.
    let setup = Setup { heartbeat: ms(100), real_time: false, ..of(2) };
    for stood in 0..24 {
        let mut story = Story::running(setup.clone());
        let frozen = story.comes(Fault::BrainFrozen { on: BRAVO });
        story.switchover(ALPHA, Some("bravo"));
        story.run(ms(10 * stood));
        story.goes(frozen);
        story.run(ms(2000));
        assert_eq!(story.holders().len(), 1);
        assert_eq!(story.two_holders(), Duration::ZERO, "stood still for {} ms", 10 * stood);
    }
}

/// Each node thinks that it is another's turn. That must not leave the VIP to nobody for ever.
#[test]
fn nodes_that_differ_about_the_order_serve_all_the_same() {
    for nodes in 2..=4 {
        let mut story = Story::new(of(nodes));
        for on in (0..nodes).step_by(2).map(NodeNumber) {
            story.comes(Fault::OtherFile { on });
        }
        story.start();
        story.run(ms(5000));
        assert_eq!(story.holders().len(), 1, "{nodes} nodes");
        assert_eq!(story.two_holders(), Duration::ZERO);
        let holder = story.holders()[0];
        story.comes(Fault::PowerCut { on: NodeNumber(holder) });
        story.run(ms(5000));
        assert_eq!(story.holders().len(), 1, "{nodes} nodes");
        assert_eq!(story.two_holders(), Duration::ZERO);
    }
}

/// A silent peer costs a heartbeat and a question now and then, a deaf one no more than it must.
#[test]
fn many_groups_are_no_burden_when_nothing_happens() {
    let group = |first: usize| GroupSetup {
        order: (0..3).map(|node| (node + first) % 3).collect(),
        ..of(3).groups[0].clone()
    };
    let setup = Setup { heartbeat: ms(200), groups: (0..150).map(group).collect(), ..of(3) };
    let mut story = Story::new(setup);
    story.start();
    story.run(ms(1500));
    for (host, name) in story.world.hosts.iter().zip(NAMES) {
        assert_eq!(host.kernel.vips().count(), 50, "{name} holds its share");
    }
    // Past the announcements of the beginning.
    story.run(ms(5500));
    let quiet = |story: &mut Story| {
        let before = story.world.hosts[0].actions;
        story.run(ms(1000));
        story.world.hosts[0].actions - before
    };
    let actions = quiet(&mut story);
    assert!(actions < 100, "{actions} actions in a second");
    story.comes(Fault::PowerCut { on: CHARLIE });
    let taken = |world: &World| (0..150).all(|vip| world.holders(VipIndex(vip)).count() == 1);
    let took = story.run_until(ms(1000), taken);
    assert!(took.is_some_and(|took| took < ms(200)), "took {took:?}");
    story.run(ms(7000));
    let actions = quiet(&mut story);
    assert!(actions < 150, "{actions} actions in a second with a dead peer");
    assert_eq!(story.contests(), 0);
}

/// The machines of all that come before it live, and none of their daemons runs: each has a head start, and then the last
/// node takes the VIP.
#[test]
fn the_last_of_the_order_takes_what_nobody_else_takes() {
    for (nodes, heartbeat) in [(2, ms(100)), (4, ms(50)), (6, ms(20)), (7, ms(100))] {
        let last = nodes - 1;
        let mut story = Story::new(Setup { heartbeat, ..of(nodes) });
        let life = story.world.hosts[last].life;
        story.world.push(Duration::ZERO, Thing::Start { host: last, life });
        let took = story.until_held_by(ms(8000), &[last]);
        assert!(took.is_some(), "{nodes} nodes, a heartbeat of {heartbeat:?}");
    }
}

/// One frame with the MAC of a preferred node that is dead makes nobody let go.
#[test]
fn one_forged_claim_moves_nothing() {
    let mut story = Story::running(of(3));
    let mac = story.world.hosts[0].mac;
    story.comes(Fault::PowerCut { on: ALPHA });
    story.run(ms(1000));
    assert_eq!(story.holders(), [1]);
    for _ in 0..20 {
        let frame = arp::announcement(mac, Ipv4Addr::new(192, 0, 2, 100), arp::Operation::Request);
        story.world.brain_sees(1, frame.into());
        story.run(ms(250));
        assert_eq!(story.holders(), [1]);
    }
    assert_eq!(story.decisions(BRAVO).len(), 1, "only the takeover itself");
}
