//! What a cluster of cores does when things happen: the rows of the design's table, on a simulated LAN.

mod world;

use std::time::Duration;

use vipdrift_core::{
    Command, Event, Failback, OccupiedPolicy, RoleName, Start, Switchover, Ticket, VipIndex,
};
use world::{GATEWAY_MAC, Setup, World};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn nodes_started_together_end_with_one_holder_and_never_two() {
    for nodes in [2, 3] {
        let mut world = World::new(Setup { nodes, ..Setup::default() });
        for index in 0..nodes {
            world.start(index, Start::Fresh { drained: false });
        }
        world.run(ms(2000));
        assert_eq!(world.holders(), vec![0]);
        assert_eq!(world.two_holders, Duration::ZERO);
        let decision = &world.hosts[0].decisions[0].1;
        assert_eq!(decision.to, RoleName::Active);
        assert_eq!(decision.reason, "nobody holds it, 192.0.2.100 not answered");
    }
}

#[test]
fn a_dead_host_is_replaced_before_three_intervals_have_passed() {
    let mut world = World::running(Setup::default());
    world.power_off(0);
    let took = world.run_until(ms(100), |w| w.holders() == [1]).unwrap();
    assert!(took < ms(25), "took {took:?}");
    let (_, decision) = world.hosts[1].decisions.last().unwrap();
    assert_eq!(decision.reason, "alpha silent, 192.0.2.100 not answered");
    assert!(decision.evidence.iter().any(|line| line.contains("machine asked")), "{:?}", decision.evidence);
    world.run(ms(3000));
    assert_eq!(world.two_holders, Duration::ZERO);
    assert!(world.hosts[2].decisions.is_empty(), "charlie has nothing to decide");
}

#[test]
fn two_nodes_with_a_gateway_are_as_fast() {
    let mut world = World::running(Setup { nodes: 2, ..Setup::default() });
    world.run(ms(6000));
    world.power_off(0);
    let took = world.run_until(ms(100), |w| w.holders() == [1]).unwrap();
    assert!(took < ms(25), "took {took:?}");
}

#[test]
fn without_peer_or_reference_only_the_slow_way_is_taken() {
    let mut world = World::new(Setup { nodes: 2, gateway: false, ..Setup::default() });
    for index in 0..2 {
        world.start(index, Start::Fresh { drained: false });
    }
    world.run(ms(1000));
    world.power_off(0);
    let took = world.run_until(ms(200), |w| w.holders() == [1]).unwrap();
    assert!(took >= ms(20) && took < ms(45), "took {took:?}");
}

#[test]
fn a_pulled_cable_releases_here_and_mounts_there() {
    let mut world = World::running(Setup::default());
    world.hosts[0].plugged = false;
    world.report_link(0);
    let took = world.run_until(ms(100), |w| w.holders() == [1]).unwrap();
    assert!(took < ms(25), "took {took:?}");
    assert_eq!(world.two_holders, Duration::ZERO);
    assert_eq!(world.role(0), Some(RoleName::Fault));
    world.hosts[0].plugged = true;
    world.report_link(0);
    world.run(ms(2000));
    assert_eq!(world.holders(), vec![1], "sticky");
    assert_eq!(world.role(0), Some(RoleName::Standby));
}

#[test]
fn a_silent_cut_makes_the_active_node_let_go_by_itself() {
    let mut world = World::running(Setup::default());
    world.run(ms(6000));
    // Nothing reaches alpha and nothing leaves it, but its link stays up.
    world.hosts[0].plugged = false;
    world.run(ms(200));
    assert_eq!(world.holders(), vec![1]);
    assert!(world.reason(0).starts_with("isolated on eth0"), "{}", world.reason(0));
    assert!(world.two_holders < ms(15), "{:?}", world.two_holders);
}

#[test]
fn a_graceful_stop_is_over_in_milliseconds() {
    let mut world = World::running(Setup::default());
    world.command(0, Command::Shutdown);
    let took = world.run_until(ms(100), |w| w.holders() == [1]).unwrap();
    assert!(took < ms(2), "took {took:?}");
    assert!(world.hosts[0].exited);
    world.run(ms(500));
    assert_eq!(world.two_holders, Duration::ZERO);
    assert_eq!(world.hosts[1].decisions.last().unwrap().1.reason, "alpha let go");
}

#[test]
fn a_strict_switchover_has_no_moment_with_two_holders() {
    let mut world = World::running(Setup::default());
    world.switchover(0, 1, Some("charlie"));
    world.run(ms(50));
    assert_eq!(world.holders(), vec![2]);
    assert_eq!(world.hosts[0].replies[&Ticket(1)], Ok("web is active on charlie".into()));
    assert_eq!(world.two_holders, Duration::ZERO);
    assert!(world.nobody < ms(2), "{:?}", world.nobody);
    world.run(ms(3000));
    assert_eq!(world.holders(), vec![2], "sticky");
}

#[test]
fn a_switchover_may_be_asked_for_on_any_node() {
    let mut world = World::running(Setup::default());
    world.switchover(2, 9, Some("charlie"));
    world.run(ms(50));
    assert_eq!(world.holders(), vec![2]);
    assert_eq!(world.hosts[2].replies[&Ticket(9)], Ok("web is active on charlie".into()));
    world.switchover(1, 10, Some("alpha"));
    world.run(ms(50));
    assert_eq!(world.holders(), vec![0]);
    assert_eq!(world.two_holders, Duration::ZERO);
    world.switchover(1, 11, Some("alpha"));
    assert_eq!(world.hosts[1].replies[&Ticket(11)], Err("web is already active on alpha".into()));
    world.switchover(1, 12, Some("zulu"));
    assert_eq!(world.hosts[1].replies[&Ticket(12)], Err("no node named zulu".into()));
}

#[test]
fn a_hitless_switchover_is_never_without_a_holder() {
    let mut world = World::running(Setup { switchover: Switchover::Hitless, ..Setup::default() });
    world.switchover(0, 1, None);
    world.run(ms(50));
    assert_eq!(world.holders(), vec![1]);
    assert_eq!(world.nobody, Duration::ZERO);
    assert!(world.two_holders < ms(25), "{:?}", world.two_holders);
    assert_eq!(world.hosts[0].replies[&Ticket(1)], Ok("web is active on bravo".into()));
}

#[test]
fn drain_moves_the_group_away_and_keeps_it_away() {
    let mut world = World::running(Setup::default());
    world.command(0, Command::Drain { ticket: Ticket(1) });
    world.run(ms(50));
    assert_eq!(world.holders(), vec![1]);
    assert_eq!(world.hosts[0].replies[&Ticket(1)], Ok("drained".into()));
    assert_eq!(world.role(0), Some(RoleName::Drained));
    assert!(world.hosts[0].carry.drained);
    world.power_off(1);
    world.run(ms(100));
    assert_eq!(world.holders(), vec![2]);
    world.power_off(2);
    world.run(ms(500));
    assert!(world.holders().is_empty(), "a drained node takes nothing");
    world.command(0, Command::Undrain { ticket: Ticket(2) });
    world.run(ms(500));
    assert_eq!(world.holders(), vec![0]);
}

#[test]
fn blocked_heartbeats_move_nothing_and_are_said_aloud() {
    let mut world = World::running(Setup::default());
    world.heartbeats_blocked = true;
    world.run(ms(5000));
    assert_eq!(world.holders(), vec![0]);
    assert!(world.hosts[1].decisions.is_empty());
    assert!(
        world.reason(1).starts_with("alpha silent, 192.0.2.100 answered by 02:00:00:00:00:01"),
        "{}",
        world.reason(1)
    );
    world.heartbeats_blocked = false;
    world.run(ms(1000));
    assert_eq!(world.holders(), vec![0]);
    assert_eq!(world.two_holders, Duration::ZERO);
}

#[test]
fn when_keeper_and_brain_die_the_vip_is_taken_as_soon_as_the_lease_ends() {
    let mut world = World::running(Setup::default());
    world.kill(0);
    world.run_until(ms(2500), |w| w.holders().is_empty()).unwrap();
    let gap = world.run_until(ms(100), |w| w.holders() == [1]).unwrap();
    assert!(gap < ms(12), "gap {gap:?}");
    assert_eq!(world.two_holders, Duration::ZERO);
}

#[test]
fn a_brain_restarted_by_its_keeper_goes_on_without_a_move() {
    let mut world = World::running(Setup::default());
    let term = world.hosts[0].carry.groups[0].term;
    world.restart_brain(0, ms(110));
    world.run(ms(1000));
    assert_eq!(world.holders(), vec![0]);
    assert_eq!(world.role(0), Some(RoleName::Active));
    assert_eq!(world.hosts[0].carry.groups[0].term, term);
    assert!(world.hosts[1].decisions.is_empty() && world.hosts[2].decisions.is_empty());
    assert_eq!((world.two_holders, world.nobody), (Duration::ZERO, Duration::ZERO));
    let last = &world.hosts[0].decisions.last().unwrap().1;
    assert!(last.reason.ends_with("still the holder"), "{}", last.reason);
}

#[test]
fn a_keepers_resignation_is_asked_about_and_then_followed() {
    let mut world = World::running(Setup::default());
    let (_, resigned) = world.hosts[0].words.clone().unwrap();
    world.hosts[0].node = None;
    world.hosts[0].vips.clear();
    for to in [1, 2] {
        world.give(to, Event::Datagram { path: Some(vipdrift_core::PathIndex(0)), bytes: &resigned });
    }
    let took = world.run_until(ms(100), |w| w.holders() == [1]).unwrap();
    assert!(took < ms(10), "took {took:?}");
}

#[test]
fn a_foreign_holder_is_waited_for_and_named() {
    let mut world = World::new(Setup::default());
    world.gateway_vips.insert(VipIndex(0));
    for index in 0..3 {
        world.start(index, Start::Fresh { drained: false });
    }
    world.run(ms(10_000));
    assert!(world.holders().is_empty());
    let snapshot = world.hosts[0].node.as_ref().unwrap().snapshot();
    assert_eq!(snapshot.groups[0].occupied_by, Some(GATEWAY_MAC));
    assert!(snapshot.groups[0].reason.contains("02:00:00:00:00:fe"), "{}", snapshot.groups[0].reason);
    world.gateway_vips.clear();
    let took = world.run_until(ms(1000), |w| w.holders() == [0]).unwrap();
    assert!(took < ms(100), "took {took:?}");
}

#[test]
fn a_foreign_holder_is_overruled_where_configured() {
    let mut world = World::new(Setup { occupied: OccupiedPolicy::Claim, ..Setup::default() });
    world.gateway_vips.insert(VipIndex(0));
    for index in 0..3 {
        world.start(index, Start::Fresh { drained: false });
    }
    world.run(ms(2000));
    assert_eq!(world.holders(), vec![0]);
}

#[test]
fn when_a_partition_heals_one_lets_go_and_the_other_announces() {
    let mut world = World::running(Setup { nodes: 2, gateway: false, ..Setup::default() });
    world.run(ms(1000));
    world.hosts[0].plugged = false;
    world.run(ms(3000));
    assert_eq!(world.holders(), vec![0, 1], "neither has a reference: both hold");
    world.hosts[0].plugged = true;
    let healed = world.now;
    world.run_until(ms(30), |w| w.holders() == [1]).unwrap();
    world.run(ms(5));
    assert!(world.hosts[1].announced.iter().any(|&at| at >= healed), "the winner announces again");
    world.run(ms(1000));
    assert_eq!(world.holders(), vec![1]);
}

#[test]
fn failback_waits_until_the_preferred_node_has_been_healthy_long_enough() {
    let mut world = World::running(Setup { failback: Failback::After(ms(500)), ..Setup::default() });
    world.power_off(0);
    world.run(ms(1000));
    assert_eq!(world.holders(), vec![1]);
    world.hosts[0].powered = true;
    world.start(0, Start::Fresh { drained: false });
    world.run(ms(300));
    assert_eq!(world.holders(), vec![1]);
    world.run(ms(400));
    assert_eq!(world.holders(), vec![0]);
    assert_eq!(world.two_holders, Duration::ZERO);
}

#[test]
fn a_node_that_was_frozen_asks_before_it_says_a_word() {
    let mut world = World::running(Setup::default());
    // Frozen with its kernel: nothing moves on it, and nobody hears of it.
    let mut frozen = world.hosts[0].node.take();
    world.hosts[0].powered = false;
    world.run(ms(1000));
    assert_eq!(world.holders(), vec![0, 1], "its memory still has the VIP, the LAN does not see it");
    world.hosts[0].powered = true;
    world.hosts[0].node = frozen.take();
    world.run(ms(100));
    assert_eq!(world.holders(), vec![1]);
    let last = &world.hosts[0].decisions.last().unwrap().1;
    assert!(last.reason.contains("while this node was away"), "{}", last.reason);
    let thawed = world.now - ms(100);
    assert!(!world.hosts[0].announced.iter().any(|&at| at >= thawed), "it announces nothing");
}

#[test]
fn datagrams_recorded_and_replayed_change_nothing() {
    let mut world = World::running(Setup::default());
    let (_, resigned) = world.hosts[0].words.clone().unwrap();
    world.restart_brain(0, ms(20));
    world.run(ms(500));
    for to in [1, 2] {
        world.give(to, Event::Datagram { path: Some(vipdrift_core::PathIndex(0)), bytes: &resigned });
    }
    world.run(ms(500));
    assert_eq!(world.holders(), vec![0]);
    assert_eq!(world.two_holders, Duration::ZERO);
    let counters = world.hosts[1].node.as_ref().unwrap().snapshot().counters;
    assert!(counters.datagrams_rejected.iter().any(|&(name, count)| name == "replayed" && count > 0));
}
