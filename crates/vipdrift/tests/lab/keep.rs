//! `vipdrift restart --keep`: a new binary that needs its time, or never gets there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use vipdrift::trial::{Cluster, Options};
use vipdrift_lab::Process;

use crate::reload::{is_unbroken, served};
use crate::support::{BINARY, PATIENCE, WEB, holder, settle, wait};

/// A cluster whose program can be replaced, and the folder that it is in.
fn replaceable(lease: &str) -> (Cluster, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    // The brain gives up root and is started from there.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(BINARY, program(folder.path())).unwrap();
    let mut options = Options::new(program(folder.path()));
    options.start = false;
    let mut cluster = Cluster::start(options, None).unwrap_or_else(|error| panic!("{error}"));
    for node in &cluster.nodes {
        let text = fs::read_to_string(&node.config).unwrap();
        fs::write(&node.config, text.replacen("lease = \"2s\"", &format!("lease = \"{lease}\""), 1)).unwrap();
    }
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    (cluster, folder)
}

fn program(folder: &Path) -> PathBuf {
    folder.join("vipdrift")
}

/// Installs a program over the one that runs: a script that is as good as the real one, but for what it does first where
/// it is to be the daemon. The process stays the same, and inherits what it was left.
fn install(folder: &Path, first: &str) {
    let script = format!("#!/bin/sh\nif [ \"$1\" = run ]; then {first}; fi\nexec {BINARY} \"$@\"\n");
    let new = folder.join("new");
    fs::write(&new, script).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, program(folder)).unwrap();
}

/// `vipdrift restart` on a node; it waits by itself.
fn restart(cluster: &Cluster, index: usize, keep: Option<&str>) -> Process {
    let node = &cluster.nodes[index];
    let mut command = Command::new(BINARY);
    command.arg("restart").arg("--config").arg(&node.config);
    command.args(keep.iter().flat_map(|keep| ["--keep", keep]));
    node.host.spawn(command).unwrap()
}

/// What it said in the end.
fn said(process: &Process) -> String {
    let status = process.wait_output(Instant::now() + PATIENCE * 3).unwrap();
    assert!(status.success(), "{status}: {}", process.output());
    process.output()
}

/// Seconds that the kernel of a node will have each VIP of `web` without a renewal; `None`: for ever, or it has it not.
fn lifetimes(cluster: &Cluster, index: usize) -> Vec<Option<u64>> {
    let show = || Command::new("ip").args(["-j", "address", "show", "dev", "eth0"]).output().unwrap();
    let output = cluster.nodes[index].host.run(show);
    let links: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let lifetime = |vip: std::net::IpAddr| {
        let addresses = links.iter().flat_map(|link| link["addr_info"].as_array().unwrap());
        let found = addresses.into_iter().find(|address| address["local"] == vip.to_string())?;
        found["valid_life_time"].as_u64().filter(|&seconds| seconds < u64::from(u32::MAX))
    };
    WEB.map(lifetime).to_vec()
}

fn never_two(cluster: &Cluster, since: Instant) {
    for vip in WEB {
        assert!(cluster.lab.observer().two_holders(vip, since).is_zero(), "{vip}\n{}", cluster.describe());
    }
}

/// Two seconds until it is there: longer than the lease that is left, and than a brain may take.
pub(crate) fn a_slow_binary_takes_over_within_the_time_to_keep() {
    let (cluster, folder) = replaceable("2s");
    let active = holder(&cluster);
    let peer = (active + 1) % cluster.nodes.len();
    let client = served(&cluster, active);
    let (keeper, brain) = cluster.pids(active).unwrap();
    install(folder.path(), "sleep 2");
    let since = Instant::now();
    let command = restart(&cluster, active, Some("9.5s"));
    let name = &cluster.nodes[active].name;
    wait(&cluster, "a peer that knows", |c| {
        c.status(peer).is_ok_and(|status| {
            let seen = status.peers.iter().find(|peer| peer.node == *name).unwrap();
            seen.absent_ms.is_some_and(|ms| ms <= 9500)
                && status.groups[0].active_node.as_ref() == Some(name)
                && status.groups[0].reason.starts_with(&format!("{name} restarting, "))
        })
    });
    let lifetimes_then = lifetimes(&cluster, active);
    assert!(
        lifetimes_then.iter().all(|left| left.is_some_and(|left| (3..=10).contains(&left))),
        "{lifetimes_then:?}"
    );
    let text = said(&command);
    assert!(text.starts_with("version ") && text.contains("nothing that the nodes agree on"), "{text}");
    settle(&cluster);
    wait(&cluster, "the lease as configured", |c| {
        lifetimes(c, active).iter().all(|left| left.is_some_and(|left| left <= 2))
    });
    std::thread::sleep(Duration::from_secs(3));
    let now = cluster.pids(active).unwrap();
    assert_eq!(now.0, keeper, "the same process");
    assert_ne!(now.1, brain);
    for vip in WEB {
        assert!(is_unbroken(&cluster, active, vip, since), "{vip}\n{}", cluster.describe());
    }
    never_two(&cluster, since);
    assert_eq!(client.lost_probes(since, Instant::now()), 0, "{}", cluster.describe());
}

/// The same without the option.
pub(crate) fn a_slow_binary_without_a_time_to_keep_loses_the_vip() {
    let (cluster, folder) = replaceable("2s");
    let active = holder(&cluster);
    install(folder.path(), "sleep 4");
    let since = Instant::now();
    let command = restart(&cluster, active, None);
    wait(&cluster, "another holder", |c| c.holder(WEB[0]).is_some_and(|now| now != active));
    said(&command);
    settle(&cluster);
    assert_ne!(holder(&cluster), active);
    never_two(&cluster, since);
}

fn one_that_dies_on_its_way(lease: &str) {
    const KEEP: Duration = Duration::from_secs(3);
    let (cluster, folder) = replaceable(lease);
    let active = holder(&cluster);
    install(folder.path(), "exit 3");
    let since = Instant::now();
    let command = restart(&cluster, active, Some("3s"));
    let process = cluster.nodes[active].process.as_ref().unwrap();
    let status = process.wait(since + PATIENCE);
    assert_eq!(status.and_then(|status| status.code()), Some(3), "{}", cluster.describe());
    wait(&cluster, "another holder", |c| {
        WEB.iter().all(|&vip| c.holder(vip).is_some_and(|now| now != active))
    });
    let name = &cluster.nodes[active].name;
    for vip in WEB {
        let held = cluster.lab.observer().held_by(name, vip, since);
        assert_eq!(held.len(), 1, "{held:?}");
        let kept = held[0].to.unwrap().saturating_duration_since(since);
        // The kernel takes its time, and a busy machine more.
        assert!(kept >= KEEP - Duration::from_millis(100) && kept < KEEP * 2, "{vip}: {kept:?}");
        let taken = cluster.lab.observer().held_by(&cluster.nodes[holder(&cluster)].name, vip, since);
        println!("{vip}: kept {kept:?}, taken {:?} later", taken[0].from - held[0].to.unwrap());
    }
    never_two(&cluster, since);
    drop(command);
}

pub(crate) fn a_binary_that_dies_on_its_way_leaves_the_vip_no_longer_than_that() {
    one_that_dies_on_its_way("2s");
}

pub(crate) fn without_a_lease_a_binary_that_dies_leaves_the_vip_no_longer_either() {
    one_that_dies_on_its_way("off");
}

pub(crate) fn without_a_lease_vips_are_kept_and_live_for_ever_again() {
    let (cluster, folder) = replaceable("off");
    let active = holder(&cluster);
    assert_eq!(lifetimes(&cluster, active), [None, None]);
    install(folder.path(), "sleep 1");
    let since = Instant::now();
    let command = restart(&cluster, active, Some("5s"));
    wait(&cluster, "a lifetime", |c| lifetimes(c, active).iter().all(Option::is_some));
    said(&command);
    settle(&cluster);
    wait(&cluster, "no lifetime", |c| lifetimes(c, active).iter().all(Option::is_none));
    std::thread::sleep(Duration::from_secs(6));
    for vip in WEB {
        assert!(is_unbroken(&cluster, active, vip, since), "{vip}\n{}", cluster.describe());
    }
    never_two(&cluster, since);
}

/// The machine goes while nobody is there to say so.
pub(crate) fn a_machine_that_dies_meanwhile_is_not_waited_for() {
    let (cluster, folder) = replaceable("2s");
    let active = holder(&cluster);
    let peer = (active + 1) % cluster.nodes.len();
    install(folder.path(), "sleep 20");
    let command = restart(&cluster, active, Some("1m"));
    wait(&cluster, "a peer that waits", |c| {
        c.status(peer).is_ok_and(|status| status.peers.iter().any(|peer| peer.absent_ms.is_some()))
    });
    std::thread::sleep(Duration::from_secs(1));
    cluster.nodes[active].host.power_off().unwrap();
    let off = Instant::now();
    let others = |c: &Cluster| {
        let others = (0..c.nodes.len()).filter(|&index| index != active);
        others
            .filter(|&index| {
                c.status(index).is_ok_and(|status| status.groups[0].vips.iter().all(|vip| vip.mounted))
            })
            .count()
    };
    let took = wait(&cluster, "another holder", |c| others(c) == 1);
    println!("taken {took:?} after the power went");
    for vip in WEB {
        assert!(cluster.lab.observer().two_reachable_holders(vip, off).is_zero());
    }
    drop(command);
}
