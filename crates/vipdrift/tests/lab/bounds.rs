//! The rows of the table of bounds.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vipdrift::trial::Fault;

use crate::support::{PATIENCE, WEB, cluster, fault, holder, settle, wait};

pub(crate) fn brain_killed_nothing_moves_and_nothing_is_lost() {
    fault(Fault::BrainKilled);
}

pub(crate) fn brain_hung_nothing_moves_and_nothing_is_lost() {
    fault(Fault::BrainHung);
}

pub(crate) fn keeper_and_brain_killed_the_vip_goes_when_the_lease_ends() {
    fault(Fault::KeeperAndBrainKilled);
}

pub(crate) fn cable_pulled_another_node_takes_over() {
    fault(Fault::HostDead);
}

pub(crate) fn graceful_stop_hands_over() {
    fault(Fault::GracefulStop);
}

pub(crate) fn service_killed_another_node_takes_over() {
    fault(Fault::ServiceFailed);
}

pub(crate) fn strict_switchover_hands_over() {
    fault(Fault::Switchover);
}

pub(crate) fn hitless_switchover_loses_nothing() {
    fault(Fault::SwitchoverHitless);
}

pub(crate) fn heartbeats_blocked_nothing_moves() {
    fault(Fault::HeartbeatsBlocked);
}

pub(crate) fn foreign_holder_is_waited_for_and_named() {
    fault(Fault::ForeignHolder);
}

pub(crate) fn partition_heals_to_one_holder() {
    fault(Fault::PartitionHealed);
}

pub(crate) fn second_brain_death_within_ten_seconds_releases_and_resigns() {
    let cluster = cluster();
    let victim = holder(&cluster);
    let since = Instant::now();
    for death in 0..2 {
        let starts = cluster.status(victim).unwrap().daemon.brain_starts;
        let (_, brain) = cluster.pids(victim).unwrap();
        cluster.signal(brain, Signal::SIGKILL);
        if death == 0 {
            wait(&cluster, "a new brain", |c| {
                c.status(victim).is_ok_and(|status| status.daemon.brain_starts > starts)
            });
            settle(&cluster);
            assert_eq!(holder(&cluster), victim, "the first death moves nothing");
        }
    }
    wait(&cluster, "another holder", |c| c.holder(WEB[0]).is_some_and(|now| now != victim));
    assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero(), "never two");
    // The node comes back as a standby by itself.
    settle(&cluster);
}

pub(crate) fn keeper_killed_the_vip_goes_when_the_lease_ends() {
    let mut cluster = cluster();
    let victim = holder(&cluster);
    let (keeper, brain) = cluster.pids(victim).unwrap();
    let since = Instant::now();
    cluster.signal(keeper, Signal::SIGKILL);
    wait(&cluster, "another holder", |c| c.holder(WEB[0]).is_some_and(|now| now != victim));
    assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero(), "never two");
    assert!(!std::path::Path::new(&format!("/proc/{brain}")).exists(), "the brain ends with its keeper");
    cluster.reap(victim, PATIENCE);
    cluster.start_all().unwrap();
}

pub(crate) fn power_off_another_node_takes_over() {
    let cluster = cluster();
    let victim = holder(&cluster);
    let since = Instant::now();
    cluster.nodes[victim].host.power_off().unwrap();
    wait(&cluster, "another holder", |c| c.holder(WEB[0]).is_some_and(|now| now != victim));
    // A machine without power has no kernel either; the lab's takes a moment to be torn down after the LAN has lost it.
    assert!(cluster.lab.observer().two_reachable_holders(WEB[0], since).is_zero(), "never two on the LAN");
}

pub(crate) fn silent_cut_the_active_node_lets_go_by_itself() {
    let cluster = cluster();
    let victim = holder(&cluster);
    let name = cluster.nodes[victim].name.clone();
    let since = Instant::now();
    cluster.nodes[victim].host.cut().unwrap();
    wait(&cluster, "another holder alone", |c| c.holder(WEB[0]).is_some_and(|now| now != victim));
    assert!(cluster.lab.observer().two_reachable_holders(WEB[0], since).is_zero(), "never two on the LAN");
    let status = cluster.status(victim).unwrap();
    assert!(status.groups[0].reason.contains("isolated"), "{name}: {}", status.groups[0].reason);
    cluster.nodes[victim].host.uncut().unwrap();
    settle(&cluster);
    assert_ne!(holder(&cluster), victim, "sticky");
}

pub(crate) fn frozen_node_says_nothing_until_it_has_asked() {
    let cluster = cluster();
    let victim = holder(&cluster);
    let client = cluster.client.client(&WEB).unwrap();
    cluster.nodes[victim].host.freeze().unwrap();
    wait(&cluster, "another holder", |c| {
        c.lab.observer().holders(WEB[0]).iter().any(|name| *name != c.nodes[victim].name)
    });
    let heir = cluster
        .lab
        .observer()
        .holders(WEB[0])
        .into_iter()
        .find(|name| *name != cluster.nodes[victim].name)
        .unwrap();
    assert!(client.wait_answer_by(WEB[0], &heir, Instant::now(), Instant::now() + PATIENCE));
    cluster.nodes[victim].host.thaw().unwrap();
    // Until the daemon has let go, the kernel of the sleeper answers whoever still asks it.
    settle(&cluster);
    let settled = Instant::now();
    assert_eq!(cluster.nodes[holder(&cluster)].name, heir, "the sleeper does not take it back");
    std::thread::sleep(Duration::from_millis(300));
    let record = client.record(WEB[0]).unwrap();
    let strays = record
        .probes()
        .iter()
        .filter(|probe| probe.sent >= settled)
        .filter(|probe| probe.answer.as_ref().is_some_and(|answer| *answer.by != *heir))
        .count();
    assert_eq!(strays, 0, "no client is drawn to the node that was frozen");
}
