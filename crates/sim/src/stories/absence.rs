//! A daemon that makes way for another one and says for how long: back in time, or never.

use std::time::Duration;

use vipdrift_core::Decision;

use super::{ALPHA, BRAVO, LEASE, Story, ms, of, us};
use crate::scenario::{Fault, Setup};
use crate::world::{Left, SLACK, Thing};

const WINDOW: Duration = Duration::from_secs(8);
/// Four slow rounds and the dead time, and 20 ms for what an ordinary takeover takes.
const NOTICED: Duration = Duration::from_millis(4 * 100 + 300 + 20);
/// Clusters of two and of three nodes, with a lease and without one (zero), each at several moments between two heartbeats.
fn everywhere(tell: impl Fn(&mut Story, Left)) {
    for nodes in [2, 3] {
        for lease in [LEASE, Duration::ZERO] {
            for later in 0..6 {
                let mut story = Story::running(Setup { lease, ..of(nodes) });
                story.run(us(17_300 * later));
                let left = story.world.make_way(ALPHA.0, WINDOW);
                tell(&mut story, left);
                assert_eq!(story.two_holders(), Duration::ZERO, "{nodes} nodes, lease {lease:?}");
            }
        }
    }
}

#[test]
fn back_in_time_it_is_still_the_holder() {
    for away in [ms(20), ms(300), LEASE + ms(700), WINDOW - ms(100)] {
        everywhere(|story, left| {
            story.run(away);
            story.world.take_over(ALPHA.0, left);
            story.run(WINDOW * 2);
            assert_eq!(story.holders(), [0]);
            assert_eq!(story.nobody(), Duration::ZERO);
            assert_eq!(story.decisions(BRAVO), []);
            assert_eq!(story.snapshot(BRAVO).groups[0].active_node.as_deref(), Some("alpha"));
        });
    }
}

#[test]
fn never_back_the_kernel_lets_go_at_the_end_and_a_peer_takes_over() {
    everywhere(|story, _| {
        story.run(WINDOW - ms(1));
        assert_eq!(story.holders(), [0], "not before");
        let took = story.until_held_by(SLACK + NOTICED, &[1]);
        assert!(took.is_some(), "{:?}", story.holders());
    });
}

#[test]
fn too_late_it_finds_another_holder_and_is_standby() {
    everywhere(|story, left| {
        story.run(WINDOW + SLACK + NOTICED);
        assert_eq!(story.holders(), [1]);
        story.world.take_over(ALPHA.0, left);
        story.run(WINDOW);
        assert_eq!(story.holders(), [1]);
    });
}

#[test]
fn a_machine_that_dies_meanwhile_is_not_waited_for() {
    everywhere(|story, _| {
        story.run(ms(1500));
        story.comes(Fault::PowerCut { on: ALPHA });
        let took = story.until_held_by(NOTICED, &[1]);
        assert!(took.is_some(), "{:?}", story.holders());
    });
}

#[test]
fn one_that_lets_go_and_says_so_is_not_waited_for_at_all() {
    everywhere(|story, left| {
        story.run(ms(1500));
        story.world.take_over_in_vain(ALPHA.0, left);
        let took = story.until_held_by(ms(40), &[1]);
        assert!(took.is_some(), "{:?}", story.holders());
    });
}

/// As a service manager does it with a daemon that has failed.
#[test]
fn started_afresh_it_takes_off_what_it_left_and_a_peer_takes_over() {
    everywhere(|story, _| {
        story.run(ms(1500));
        let life = story.world.hosts[ALPHA.0].life;
        story.world.push(Duration::ZERO, Thing::Start { host: ALPHA.0, life });
        let took = story.until_held_by(NOTICED, &[1]);
        assert!(took.is_some(), "{:?}", story.holders());
        story.run(WINDOW);
        assert_eq!(story.holders(), [1]);
    });
}

/// Answers that get lost are no silence.
#[test]
fn a_bad_network_does_not_move_what_an_absent_node_holds() {
    everywhere(|story, left| {
        let loss = story.comes(Fault::Loss { per_mille: 150 });
        story.run(WINDOW - ms(500));
        assert_eq!(story.holders(), [0]);
        story.goes(loss);
        story.world.take_over(ALPHA.0, left);
        story.run(WINDOW);
        assert_eq!(story.nobody(), Duration::ZERO);
        // That its references are silent may well be found.
        assert!(!story.decisions(BRAVO).iter().any(Decision::moves), "{:?}", story.decisions(BRAVO));
    });
}

/// To a standby that is cut off every VIP is silent.
#[test]
fn a_standby_that_is_cut_off_meanwhile_takes_nothing() {
    everywhere(|story, left| {
        story.run(ms(1500));
        let cut = story.comes(Fault::SilentCut { on: BRAVO });
        story.run(ms(3000));
        assert_eq!(story.holders(), [0]);
        story.goes(cut);
        story.run(ms(1000));
        story.world.take_over(ALPHA.0, left);
        story.run(WINDOW);
        assert_eq!(story.holders(), [0]);
        assert_eq!(story.nobody(), Duration::ZERO);
    });
}
