//! Pairs that keep a VIP and let it drift.

use std::time::{Duration, Instant};

use vipdrift::trial::Fault;
use vipdrift_lab::Signal;

use crate::support::{WEB, fault, holder, pair, wait, windows, with};

/// What a pair has to bear, whoever holds.
const FAULTS: [Fault; 4] =
    [Fault::HostDead, Fault::GracefulStop, Fault::Switchover, Fault::HeartbeatsBlocked];

pub(crate) fn a_pair_keeps_the_vip_and_drifts() {
    let mut cluster = pair(&[0, 1]);
    for kind in FAULTS {
        fault(&mut cluster, "exe pair", kind);
    }
    // What a third host believes is true.
    let at = holder(&cluster);
    let mac = cluster.nodes[at].host.mac("eth0").unwrap();
    let client = cluster.client.client(&WEB[..1]).unwrap();
    let name = cluster.nodes[at].name.clone();
    assert!(client.wait_answer_by(WEB[0], &name, Instant::now(), Instant::now() + Duration::from_secs(5)));
    assert_eq!(client.neighbor(WEB[0]).unwrap(), Some(mac));
}

pub(crate) fn a_mixed_pair_keeps_the_vip_and_drifts() {
    let mut cluster = pair(&[0]);
    for kind in FAULTS {
        // Each in turn is the one that holds.
        for _ in 0..2 {
            fault(&mut cluster, "mixed pair", kind);
        }
    }
}

/// Where a driver is installed, frames go out and come in as they are, also after its interface was lost.
pub(crate) fn a_pair_with_npcap_keeps_the_vip_and_drifts() {
    let mut cluster = with(&[0, 1], |options| options.driver = true);
    for kind in FAULTS {
        fault(&mut cluster, "exe pair with Npcap", kind);
    }
    for node in &cluster.nodes {
        let lines = node.process.as_ref().unwrap().lines();
        let said = |what: &str| lines.iter().any(|line| line.text.contains(what));
        // Wine's cannot be told to hand them over at once.
        assert!(
            said("go through a driver that lets them wait") && !said("own calls"),
            "{}",
            cluster.describe()
        );
    }
}

pub(crate) fn killed_brain_and_the_vip_is_with_one_node() {
    lost_brain(Signal::SIGKILL);
}

/// Its keeper kills it.
pub(crate) fn hung_brain_and_the_vip_is_with_one_node() {
    lost_brain(Signal::SIGSTOP);
}

fn lost_brain(signal: Signal) {
    let cluster = pair(&[0, 1]);
    let at = holder(&cluster);
    let (keeper, brain) = cluster.pids(at).unwrap();
    // In wine a socket is deaf for ever if somebody is killed while he reads it. So there is nothing to be read.
    let [this, other] = [at, 1 - at].map(|index| &cluster.nodes[index].host);
    cluster.lab.block_heartbeats_from(other, this).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    let lost = Instant::now();
    windows(&cluster, at).wine().kill(brain, signal).unwrap();
    cluster.lab.unblock_heartbeats().unwrap();
    // The keeper holds for a moment and starts another; where that takes too long, it lets go and the other node takes over.
    wait(&cluster, "a new brain of the same keeper, or another holder", |cluster| {
        let pids = windows(cluster, at).pids("brain");
        cluster.holder(WEB[0]).is_some_and(|now| now != at) || pids.iter().any(|pid| *pid != brain)
    });
    wait(&cluster, "one holder, and all agree", |cluster| cluster.wait_settled().is_ok());
    assert_eq!(windows(&cluster, at).pids("keeper"), [keeper], "the keeper has lived on");
    let timeline = cluster.lab.observer().timeline();
    for vip in WEB {
        assert_eq!(timeline.two_holders(vip, lost), Duration::ZERO, "{vip}");
    }
}

/// Without a keeper nobody takes the VIP off but the system, if it counts lifetimes down. Here it does not, as Windows perhaps
/// does not: the VIP stays on a machine without a daemon, no other node takes it, and the next start takes it off.
pub(crate) fn killed_keeper_takes_its_brain_along_and_what_is_left_goes_at_the_next_start() {
    let mut cluster = with(&[0, 1], |options| options.habits.counts_down = false);
    let at = holder(&cluster);
    let (keeper, _) = cluster.pids(at).unwrap();
    // It has found that out by itself, and says so.
    wait(&cluster, "the status says what to reckon with", |cluster| {
        let lease = cluster.status(at).map(|status| status.daemon.lease).unwrap_or_default();
        lease.contains("does not take IPv4 and IPv6 addresses off when their lifetime is over")
    });
    windows(&cluster, at).wine().kill(keeper, Signal::SIGKILL).unwrap();
    wait(&cluster, "the brain ends with its keeper", |cluster| windows(cluster, at).pids("brain").is_empty());
    cluster.reap(at, Duration::from_secs(10));
    // Longer than any lease.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(cluster.holder(WEB[0]), Some(at), "it stays, and nobody doubles it\n{}", cluster.describe());
    let restarted = Instant::now();
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    let now = holder(&cluster);
    let timeline = cluster.lab.observer().timeline();
    let name = &cluster.nodes[at].name;
    let first = timeline.held_by(name, WEB[0], restarted).first().and_then(|interval| interval.to);
    assert!(now != at || first.is_some(), "taken off first: {:?}", timeline.happenings());
    for vip in WEB {
        assert_eq!(timeline.two_holders(vip, restarted), Duration::ZERO, "{vip}");
    }
}

/// What the tests above show is not wine's own doing.
pub(crate) fn without_the_stand_in_nothing_is_mounted() {
    let cluster = with(&[0], |options| {
        options.nodes = 1;
        options.start = false;
    });
    let windows = windows(&cluster, 0);
    let [config, state] = ["vipdrift.toml", "state"]
        .map(|name| vipdrift::trial::windows::Windows::path(&cluster.directory_of(0).join(name)));
    let mut command = windows.wine().command(&crate::support::exe());
    command.args(["run", "--config", &config, "--node", "alpha", "--state-dir", &state]);
    command.env("WINEDLLOVERRIDES", "mscoree,mshtml=;iphlpapi=b");
    let process = windows.wine().host().spawn(command).unwrap();
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(cluster.lab.observer().holders(WEB[0]), Vec::<String>::new(), "{}", process.output());
    let _ = process.kill(Signal::SIGKILL);
    process.wait(Instant::now() + Duration::from_secs(10));
}
