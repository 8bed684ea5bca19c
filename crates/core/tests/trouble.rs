//! What once went wrong, or could: each a small story on a simulated LAN.

mod world;

use std::time::Duration;

use vipdrift_core::{Command, OccupiedPolicy, RoleName, Start, Switchover, Ticket, VipIndex};
use world::{LEASE, Setup, World, name};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

/// A node that was cut off hears old holders say that they hold nothing now. That is no news, and nothing to take.
#[test]
fn what_changed_while_a_node_was_cut_off_is_no_reason_to_claim() {
    for later in 0..10 {
        let mut world = World::running(Setup { nodes: 4, ..Setup::default() });
        world.hosts[3].plugged = false;
        world.report_link(3);
        world.run(ms(500));
        world.command(0, Command::Drain { ticket: Ticket(1) });
        world.run(ms(500) + us(1100 * later));
        assert_eq!(world.holders(), vec![1]);
        world.hosts[3].plugged = true;
        world.report_link(3);
        world.run(ms(500));
        assert_eq!(world.holders(), vec![1]);
        assert_eq!(world.two_holders, Duration::ZERO);
    }
}

/// Where a node's kernel still answers beside a foreign machine, the permission to overrule foreigners does not count.
#[test]
fn a_dead_daemons_kernel_is_not_taken_for_the_foreign_machine_beside_it() {
    let mut world = World::running(Setup { occupied: OccupiedPolicy::Claim, ..Setup::default() });
    world.kill(0);
    world.run(ms(200));
    world.gateway_vips.insert(VipIndex(0));
    world.run(ms(1000));
    assert_eq!(world.holders(), vec![0], "its lease runs");
    let taken = world.run_until(LEASE, |w| w.holders() == [1]);
    assert!(taken.is_some(), "then the foreign machine is overruled");
    assert_eq!(world.two_holders, Duration::ZERO);
    let noted = world.hosts[1].notes.iter().filter(|note| note.contains("staying standby")).count();
    assert!(noted < 10, "said {noted} times");
}

/// The heir of a hitless handover mounts beside a holder that will let go. A dead one will not.
#[test]
fn an_heir_does_not_mount_beside_a_holder_that_died_while_it_handed_over() {
    let setup = Setup { switchover: Switchover::Hitless, ..Setup::default() };
    for died in 0..12 {
        let mut world = World::running(setup.clone());
        // The heir's kernel refuses at first, so that the offer stands.
        world.freeze_brain(1);
        world.switchover(0, 1, Some("bravo"));
        world.run(us(700 * died));
        world.kill(0);
        world.run(ms(20));
        world.thaw(1);
        world.run(LEASE + ms(500));
        assert_eq!(world.holders(), vec![1]);
        assert_eq!(world.two_holders, Duration::ZERO, "died {died}");
    }
}

/// But one that was late itself takes the offer as soon as it has heard the holder again.
#[test]
fn an_heir_that_was_late_takes_a_hitless_offer_in_the_end() {
    let mut world = World::running(Setup { switchover: Switchover::Hitless, ..Setup::default() });
    world.freeze_brain(1);
    world.switchover(0, 1, Some("bravo"));
    world.run(ms(12));
    world.thaw(1);
    let took = world.run_until(ms(500), |w| w.holders() == [1]);
    assert!(took.is_some_and(|took| took < ms(60)), "took {took:?}");
    assert_eq!(world.nobody, Duration::ZERO);
}

/// Nor is an heir waited for that is gone itself.
#[test]
fn a_handover_to_an_heir_that_dies_is_given_up_at_once() {
    let mut world = World::running(Setup { switchover: Switchover::Hitless, ..Setup::default() });
    world.freeze_brain(1);
    world.switchover(0, 1, Some("bravo"));
    world.run(ms(1));
    world.power_off(1);
    world.run(ms(100));
    let reply = &world.hosts[0].replies[&Ticket(1)];
    assert_eq!(*reply, Err("bravo cannot take over: not heard".into()));
    assert_eq!(world.role(0), Some(RoleName::Active));
}

/// Everybody who waits is answered, whatever becomes of what they wait for.
#[test]
fn commands_are_answered_when_the_node_ends() {
    let mut world = World::running(Setup { switchover: Switchover::Hitless, ..Setup::default() });
    world.freeze_brain(1);
    world.switchover(0, 1, Some("bravo"));
    world.switchover(2, 2, Some("bravo"));
    world.command(2, Command::Shutdown);
    world.command(0, Command::Drain { ticket: Ticket(3) });
    world.kill_keeper(0);
    assert!(world.hosts[0].exited && world.hosts[2].exited);
    assert!(world.hosts.iter().all(|host| host.open.is_empty()));
    assert!(world.hosts[0].replies[&Ticket(3)].is_err());
}

/// An operator who changes their mind is told so.
#[test]
fn a_drain_undone_before_it_was_done_is_answered() {
    let mut world = World::running(Setup { switchover: Switchover::Hitless, nodes: 2, ..Setup::default() });
    world.freeze_brain(1);
    world.command(0, Command::Drain { ticket: Ticket(1) });
    world.command(0, Command::Undrain { ticket: Ticket(2) });
    assert!(world.hosts[0].replies[&Ticket(1)].is_err());
    assert_eq!(world.hosts[0].replies[&Ticket(2)], Ok("undrained".into()));
}

/// A node whose timers are always late must not wait for ever before it declares anybody dead.
#[test]
fn a_node_that_is_always_late_finds_the_dead_as_well() {
    for (heartbeat, late) in [(ms(10), ms(6)), (ms(100), ms(60)), (ms(100), ms(90))] {
        let mut world = World::running(Setup { nodes: 2, heartbeat, ..Setup::default() });
        world.hosts[1].late = late;
        world.run(heartbeat * 50);
        world.power_off(0);
        let took = world.run_until(heartbeat * 50, |w| w.holders() == [1]);
        assert!(took.is_some_and(|took| took < heartbeat * 10), "{late:?} late: took {took:?}");
    }
}

/// Answers to heartbeats that prove nothing, since the path is too slow, must not call forth answers for ever.
#[test]
fn a_slow_path_does_not_make_two_nodes_answer_each_other_without_end() {
    let mut world = World::new(Setup { nodes: 2, ..Setup::default() });
    world.wire.latency = ms(50);
    for index in 0..2 {
        world.start(index, Start::Fresh { drained: false });
    }
    world.run(ms(1000));
    let before = world.hosts[0].actions;
    world.run(ms(5000));
    let each_second = (world.hosts[0].actions - before) / 5;
    assert!(each_second < 1000, "{each_second} actions each second");
}

/// Two holders of which one cannot hear the other: the term is known to one of them only, so the order counts.
#[test]
fn holders_of_which_one_is_deaf_part_by_order() {
    for blocked in [(0, 1), (1, 0)] {
        let mut world = World::running(Setup { nodes: 2, gateway: false, ..Setup::default() });
        world.run(ms(500));
        world.hosts[0].plugged = false;
        world.run(ms(2000));
        assert_eq!(world.holders(), vec![0, 1]);
        world.wire.blocked.insert(blocked);
        world.hosts[0].plugged = true;
        let took = world.run_until(ms(2000), |w| w.holders().len() == 1);
        assert!(took.is_some(), "blocked {blocked:?}");
        world.run(ms(3000));
        assert_eq!(world.holders().len(), 1, "and it stays so");
    }
}

/// A resignation that waited in the socket of a brain that stood still may be old.
#[test]
fn an_heir_that_stood_still_asks_before_it_mounts() {
    let setup = Setup { nodes: 2, heartbeat: ms(100), ..Setup::default() };
    for stood in 0..24 {
        let mut world = World::running(setup.clone());
        world.freeze_brain(1);
        world.switchover(0, 1, Some("bravo"));
        world.run(ms(10 * stood));
        world.thaw(1);
        world.run(ms(2000));
        assert_eq!(world.holders().len(), 1);
        assert_eq!(world.two_holders, Duration::ZERO, "stood still for {} ms", 10 * stood);
    }
}

/// Each node thinks that it is another's turn. That must not leave the VIP to nobody for ever.
#[test]
fn nodes_that_differ_about_the_order_serve_all_the_same() {
    for nodes in 2..=4 {
        let mut world = World::new(Setup { nodes, quarrel: true, ..Setup::default() });
        for index in 0..nodes {
            world.start(index, Start::Fresh { drained: false });
        }
        world.run(ms(5000));
        assert_eq!(world.holders().len(), 1, "{nodes} nodes");
        assert_eq!(world.two_holders, Duration::ZERO);
        let holder = world.holders()[0];
        world.power_off(holder);
        world.run(ms(5000));
        assert_eq!(world.holders().len(), 1, "{nodes} nodes");
        assert_eq!(world.two_holders, Duration::ZERO);
    }
}

/// A silent peer costs a heartbeat and a question now and then, a deaf one no more than it must.
#[test]
fn many_groups_are_no_burden_when_nothing_happens() {
    let mut world = World::new(Setup { nodes: 3, groups: 150, heartbeat: ms(200), ..Setup::default() });
    for index in 0..3 {
        world.start(index, Start::Fresh { drained: false });
    }
    world.run(ms(1500));
    for index in 0..3 {
        assert_eq!(world.hosts[index].vips.len(), 50, "{} holds its share", name(index));
    }
    // Past the announcements of the beginning.
    world.run(ms(5500));
    let quiet = |world: &mut World, index: usize| {
        let before = world.hosts[index].actions;
        world.run(ms(1000));
        world.hosts[index].actions - before
    };
    assert!(quiet(&mut world, 0) < 100, "{} actions in a second", quiet(&mut world, 0));
    world.power_off(2);
    let taken = |w: &World| (0..150).all(|group| w.holders_of(group).len() == 1);
    let took = world.run_until(ms(1000), taken);
    assert!(took.is_some_and(|took| took < ms(200)), "took {took:?}");
    world.run(ms(7000));
    assert!(quiet(&mut world, 0) < 150, "{} actions in a second with a dead peer", quiet(&mut world, 0));
    assert!(world.contests.is_empty());
}
