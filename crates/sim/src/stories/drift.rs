//! What a cluster does when things happen: the rows of the design's table.

use std::time::Duration;

use vipdrift_core::{Command, RoleName, Scope};

use super::{ALPHA, BRAVO, CHARLIE, Story, hitless, ms, of, with};
use crate::scenario::{Fault, Setup, mac};

#[test]
fn nodes_started_together_end_with_one_holder_and_never_two() {
    for nodes in [2, 3] {
        let mut story = Story::new(of(nodes));
        story.start();
        story.run(ms(2000));
        assert_eq!(story.holders(), [0]);
        assert_eq!(story.two_holders(), Duration::ZERO);
        let decision = &story.decisions(ALPHA)[0];
        assert_eq!(decision.to, RoleName::Active);
        assert_eq!(decision.reason, "nobody holds it, 192.0.2.100 not answered");
    }
}

#[test]
fn a_dead_host_is_replaced_before_three_intervals_have_passed() {
    let mut story = Story::running(of(3));
    story.comes(Fault::PowerCut { on: ALPHA });
    let took = story.until_held_by(ms(100), &[1]).unwrap();
    assert!(took < ms(25), "took {took:?}");
    let decision = story.last_decision(BRAVO);
    assert_eq!(decision.reason, "alpha silent, 192.0.2.100 not answered");
    assert!(decision.evidence.iter().any(|line| line.contains("machine asked")), "{:?}", decision.evidence);
    story.run(ms(3000));
    assert_eq!(story.two_holders(), Duration::ZERO);
    assert!(story.decisions(CHARLIE).is_empty(), "charlie has nothing to decide");
}

#[test]
fn two_nodes_with_a_gateway_are_as_fast() {
    let mut story = Story::running(of(2));
    story.run(ms(6000));
    story.comes(Fault::PowerCut { on: ALPHA });
    let took = story.until_held_by(ms(100), &[1]).unwrap();
    assert!(took < ms(25), "took {took:?}");
}

#[test]
fn without_peer_or_reference_only_the_slow_way_is_taken() {
    let mut story = Story::new(Setup { gateway: false, ..of(2) });
    story.start();
    story.run(ms(1000));
    story.comes(Fault::PowerCut { on: ALPHA });
    let took = story.until_held_by(ms(200), &[1]).unwrap();
    assert!(took >= ms(20) && took < ms(45), "took {took:?}");
}

#[test]
fn a_pulled_cable_releases_here_and_mounts_there() {
    let mut story = Story::running(of(3));
    let pulled = story.comes(Fault::CablePulled { on: ALPHA });
    let took = story.until_held_by(ms(100), &[1]).unwrap();
    assert!(took < ms(25), "took {took:?}");
    assert_eq!(story.two_holders(), Duration::ZERO);
    assert_eq!(story.role(ALPHA), RoleName::Fault);
    story.goes(pulled);
    story.run(ms(2000));
    assert_eq!(story.holders(), [1], "sticky");
    assert_eq!(story.role(ALPHA), RoleName::Standby);
}

#[test]
fn a_silent_cut_makes_the_active_node_let_go_by_itself() {
    let mut story = Story::running(of(3));
    story.run(ms(6000));
    // Nothing reaches alpha and nothing leaves it, but its link stays up.
    story.comes(Fault::SilentCut { on: ALPHA });
    story.run(ms(200));
    assert_eq!(story.holders(), [1]);
    assert!(story.reason(ALPHA).starts_with("isolated on eth0"), "{}", story.reason(ALPHA));
    assert!(story.two_holders() < ms(15), "{:?}", story.two_holders());
}

#[test]
fn a_graceful_stop_is_over_in_milliseconds() {
    let mut story = Story::running(of(3));
    story.comes(Fault::Stopped { on: ALPHA });
    let took = story.until_held_by(ms(100), &[1]).unwrap();
    assert!(took < ms(2), "took {took:?}");
    assert!(story.has_exited(ALPHA));
    story.run(ms(500));
    assert_eq!(story.two_holders(), Duration::ZERO);
    assert_eq!(story.last_decision(BRAVO).reason, "alpha let go: it was stopped");
}

#[test]
fn a_strict_switchover_has_no_moment_with_two_holders() {
    let mut story = Story::running(of(3));
    let ticket = story.switchover(ALPHA, Some("charlie"));
    story.run(ms(50));
    assert_eq!(story.holders(), [2]);
    assert_eq!(story.reply(ticket), Ok("web is active on charlie"));
    assert_eq!(story.two_holders(), Duration::ZERO);
    assert!(story.nobody() < ms(2), "{:?}", story.nobody());
    story.run(ms(3000));
    assert_eq!(story.holders(), [2], "sticky");
}

#[test]
fn a_switchover_may_be_asked_for_on_any_node() {
    let mut story = Story::running(of(3));
    let ticket = story.switchover(CHARLIE, Some("charlie"));
    story.run(ms(50));
    assert_eq!(story.holders(), [2]);
    assert_eq!(story.reply(ticket), Ok("web is active on charlie"));
    story.switchover(BRAVO, Some("alpha"));
    story.run(ms(50));
    assert_eq!(story.holders(), [0]);
    assert_eq!(story.two_holders(), Duration::ZERO);
    let ticket = story.switchover(BRAVO, Some("alpha"));
    assert_eq!(story.reply(ticket), Err("web is already active on alpha"));
    let ticket = story.switchover(BRAVO, Some("zulu"));
    assert_eq!(story.reply(ticket), Err("no node named zulu"));
}

#[test]
fn a_hitless_switchover_is_never_without_a_holder() {
    let mut story = Story::running(hitless(of(3)));
    let ticket = story.switchover(ALPHA, None);
    story.run(ms(50));
    assert_eq!(story.holders(), [1]);
    assert_eq!(story.nobody(), Duration::ZERO);
    assert!(story.two_holders() < ms(25), "{:?}", story.two_holders());
    assert_eq!(story.reply(ticket), Ok("web is active on bravo"));
}

#[test]
fn drain_moves_the_group_away_and_keeps_it_away() {
    let mut story = Story::running(of(3));
    let ticket = story.command(ALPHA, |ticket| Command::Drain { ticket, scope: Scope::default() });
    story.run(ms(50));
    assert_eq!(story.holders(), [1]);
    assert_eq!(story.reply(ticket), Ok("drained"));
    assert_eq!(story.role(ALPHA), RoleName::Drained);
    assert!(story.world.hosts[0].drained, "on disk");
    story.comes(Fault::PowerCut { on: BRAVO });
    story.run(ms(100));
    assert_eq!(story.holders(), [2]);
    story.comes(Fault::PowerCut { on: CHARLIE });
    story.run(ms(500));
    assert!(story.holders().is_empty(), "a drained node takes nothing");
    story.command(ALPHA, |ticket| Command::Undrain { ticket, scope: Scope::default() });
    story.run(ms(500));
    assert_eq!(story.holders(), [0]);
}

#[test]
fn blocked_heartbeats_move_nothing_and_are_said_aloud() {
    let mut story = Story::running(of(3));
    let blocked = story.comes(Fault::HeartbeatsBlocked);
    story.run(ms(5000));
    assert_eq!(story.holders(), [0]);
    assert!(story.decisions(BRAVO).is_empty());
    assert!(
        story.reason(BRAVO).starts_with("alpha silent, 192.0.2.100 answered by 02:00:00:00:00:01"),
        "{}",
        story.reason(BRAVO)
    );
    story.goes(blocked);
    story.run(ms(1000));
    assert_eq!(story.holders(), [0]);
    assert_eq!(story.two_holders(), Duration::ZERO);
}

#[test]
fn when_keeper_and_brain_die_the_vip_is_taken_as_soon_as_the_lease_ends() {
    let mut story = Story::running(of(3));
    story.comes(Fault::DaemonKilled { on: ALPHA });
    story.until_held_by(ms(2500), &[]).unwrap();
    let gap = story.until_held_by(ms(100), &[1]).unwrap();
    assert!(gap < ms(12), "gap {gap:?}");
    assert_eq!(story.two_holders(), Duration::ZERO);
}

#[test]
fn a_brain_restarted_by_its_keeper_goes_on_without_a_move() {
    // The next brain is there after 8 to 25 ms. One that stood still is missed for 100 ms before that.
    for fault in [Fault::BrainKilled { on: ALPHA, slow: false }, Fault::BrainFrozen { on: ALPHA }] {
        let mut story = Story::running(of(3));
        let (term, before) = (story.term(ALPHA), story.world.hosts[0].keeper.as_ref().unwrap().number);
        story.comes(fault);
        story.run(ms(1000));
        assert_eq!(story.world.hosts[0].keeper.as_ref().unwrap().number, before + 1, "another brain");
        assert_eq!(story.holders(), [0]);
        assert_eq!(story.role(ALPHA), RoleName::Active);
        assert_eq!(story.term(ALPHA), term);
        assert!(story.decisions(BRAVO).is_empty() && story.decisions(CHARLIE).is_empty());
        assert_eq!((story.two_holders(), story.nobody()), (Duration::ZERO, Duration::ZERO));
        let last = story.last_decision(ALPHA);
        assert!(last.reason.ends_with("still the holder"), "{}", last.reason);
    }
}

#[test]
fn a_keepers_resignation_is_asked_about_and_then_followed() {
    let mut story = Story::running(of(3));
    // A second death within seconds is too much for the keeper: it releases, and says so.
    story.comes(Fault::BrainKilled { on: ALPHA, slow: false });
    story.run(ms(1000));
    assert_eq!(story.holders(), [0]);
    story.comes(Fault::BrainKilled { on: ALPHA, slow: false });
    story.until_held_by(ms(100), &[]).unwrap();
    let took = story.until_held_by(ms(100), &[1]).unwrap();
    assert!(took < ms(10), "took {took:?}");
}

#[test]
fn a_foreign_holder_is_waited_for_and_named() {
    let mut story = Story::new(of(3));
    let foreign = story.comes(Fault::ForeignHolder { group: 0 });
    story.start();
    story.run(ms(10_000));
    assert!(story.holders().is_empty());
    let group = &story.snapshot(ALPHA).groups[0];
    let stranger = mac(story.world.lan.stranger_station());
    assert_eq!(group.occupied_by, Some(stranger));
    assert!(group.reason.contains(&stranger.to_string()), "{}", group.reason);
    story.goes(foreign);
    let took = story.until_held_by(ms(1000), &[0]).unwrap();
    assert!(took < ms(100), "took {took:?}");
}

#[test]
fn a_foreign_holder_is_overruled_where_configured() {
    let mut story = Story::new(with(of(3), |group| group.claim = true));
    story.comes(Fault::ForeignHolder { group: 0 });
    story.start();
    story.run(ms(2000));
    assert_eq!(story.holders(), [0]);
}

#[test]
fn when_a_partition_heals_one_lets_go_and_the_other_announces() {
    let mut story = Story::running(Setup { gateway: false, ..of(2) });
    story.run(ms(1000));
    let cut = story.comes(Fault::SilentCut { on: ALPHA });
    story.run(ms(3000));
    assert_eq!(story.holders(), [0, 1], "neither has a reference: both hold");
    story.goes(cut);
    let healed = story.world.now;
    story.until_held_by(ms(30), &[1]).unwrap();
    story.run(ms(5));
    assert!(story.has_announced(BRAVO, healed), "the winner announces again");
    story.run(ms(1000));
    assert_eq!(story.holders(), [1]);
}

#[test]
fn failback_waits_until_the_preferred_node_has_been_healthy_long_enough() {
    let mut story = Story::running(with(of(3), |group| group.failback = ms(500)));
    let cut = story.comes(Fault::PowerCut { on: ALPHA });
    story.run(ms(1000));
    assert_eq!(story.holders(), [1]);
    story.goes(cut);
    story.run(ms(300));
    assert_eq!(story.holders(), [1]);
    story.run(ms(400));
    assert_eq!(story.holders(), [0]);
    assert_eq!(story.two_holders(), Duration::ZERO);
}

#[test]
fn a_node_that_was_frozen_asks_before_it_says_a_word() {
    let mut story = Story::running(of(3));
    // Frozen with its kernel: nothing moves on it, and nobody hears of it.
    let suspended = story.comes(Fault::Suspended { on: ALPHA });
    story.run(ms(1000));
    assert_eq!(story.holders(), [0, 1], "its memory still has the VIP, the LAN does not see it");
    let thawed = story.world.now;
    story.goes(suspended);
    story.run(ms(100));
    assert_eq!(story.holders(), [1]);
    let last = story.last_decision(ALPHA);
    assert!(last.reason.contains("while this node was away"), "{}", last.reason);
    assert!(!story.has_announced(ALPHA, thawed), "it announces nothing");
}

#[test]
fn datagrams_recorded_and_replayed_change_nothing() {
    let mut story = Story::running(of(3));
    let words = story.world.hosts[0].keeper.as_ref().unwrap().words.clone().unwrap();
    story.comes(Fault::BrainKilled { on: ALPHA, slow: false });
    story.run(ms(500));
    for to in [BRAVO, CHARLIE] {
        story.world.brain_is_fooled(to.0, 0, &words.resigned);
    }
    story.run(ms(500));
    assert_eq!(story.holders(), [0]);
    assert_eq!(story.two_holders(), Duration::ZERO);
    let counters = story.snapshot(BRAVO).counters;
    assert!(counters.datagrams_rejected.iter().any(|&(name, count)| name == "replayed" && count > 0));
}
