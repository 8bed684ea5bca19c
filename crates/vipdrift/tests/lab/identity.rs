//! Who is listened to.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vipdrift::trial::Cluster;
use vipdrift_control::PeerConfiguration;

use crate::support::{BINARY, PATIENCE, WEB, cluster, holder, rejected, settle, wait, with};

pub(crate) fn wrong_key_has_no_effect_and_is_counted() {
    let mut cluster = cluster();
    let active = holder(&cluster);
    let standby = (active + 1) % 3;
    // One node comes back with another key: it hears nobody, and finds the VIPs answered for.
    let (keeper, _) = cluster.pids(standby).unwrap();
    cluster.signal(keeper, Signal::SIGTERM);
    cluster.reap(standby, PATIENCE);
    let config = cluster.nodes[standby].config.clone();
    let text = std::fs::read_to_string(&config).unwrap().replace("00112233", "99112233");
    std::fs::write(&config, text).unwrap();
    let since = Instant::now();
    cluster.spawn(standby).unwrap();
    wait(&cluster, "rejections on the active node", |c| rejected(c, active, "bad_mac") > 10);
    wait(&cluster, "the stranger says that the VIP is answered for", |c| {
        c.status(standby).is_ok_and(|status| status.groups[0].reason.contains("answered by"))
    });
    // Both are told what it is, once.
    for (index, other) in [(active, standby), (standby, active)] {
        let name = cluster.nodes[other].name.clone();
        let line = format!("a datagram from the address of {name} is signed with another key");
        let log = |c: &Cluster| c.nodes[index].process.as_ref().unwrap().output();
        wait(&cluster, "it is in the log", |c| log(c).contains(&line));
        assert_eq!(log(&cluster).matches(&line).count(), 1);
    }
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(cluster.holder(WEB[0]), Some(active));
    assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero());
}

pub(crate) fn replayed_datagrams_have_no_effect_and_are_counted() {
    let mut cluster = cluster();
    let active = holder(&cluster);
    let standby = (active + 1) % 3;
    let tap = cluster.nodes[standby].host.tap("eth0").unwrap();
    let mac = cluster.nodes[active].host.mac("eth0").unwrap();
    // From a whole life of the active daemon, its resignation included.
    let (keeper, _) = cluster.pids(active).unwrap();
    let mut frames = Vec::new();
    let until = Instant::now() + Duration::from_millis(300);
    let is_heartbeat =
        |frame: &[u8]| frame.len() > 42 && frame[12..14] == [8, 0] && frame[36..38] == [0x16, 0xa6];
    while let Some(frame) = tap.next(until).unwrap() {
        if frame[6..12] == mac.0 && is_heartbeat(&frame) {
            frames.push(frame);
        }
    }
    cluster.signal(keeper, Signal::SIGTERM);
    cluster.reap(active, PATIENCE);
    let until = Instant::now() + Duration::from_millis(200);
    while let Some(frame) = tap.next(until).unwrap() {
        if frame[6..12] == mac.0 && is_heartbeat(&frame) {
            frames.push(frame);
        }
    }
    assert!(frames.len() > 10, "{} datagrams recorded", frames.len());
    cluster.start_all().unwrap();
    let now_active = holder(&cluster);
    let before = cluster.status(standby).unwrap().counters.datagrams_rejected.values().sum::<u64>();
    let since = Instant::now();
    let stranger = cluster.lab.host("stranger", &["192.0.2.66/24"]).unwrap();
    let own = stranger.mac("eth0").unwrap();
    for _ in 0..5 {
        for frame in &mut frames {
            // With its own MAC: the switch must go on knowing where the node is.
            frame[6..12].copy_from_slice(&own.0);
            // What was captured had its UDP checksum left to the hardware; zero means none (RFC 768).
            frame[40..42].fill(0);
            stranger.send_frame("eth0", frame).unwrap();
        }
    }
    wait(&cluster, "rejections of the replay", |c| {
        let now = c.status(standby).map(|s| s.counters.datagrams_rejected.values().sum::<u64>());
        now.is_ok_and(|now| now >= before + frames.len() as u64)
    });
    assert_eq!(cluster.holder(WEB[0]), Some(now_active));
    let held = cluster.lab.observer().held_by(&cluster.nodes[now_active].name, WEB[0], since);
    assert_eq!(held.len(), 1, "held without a break");
    settle(&cluster);
}

pub(crate) fn different_configuration_is_reported() {
    let mut cluster = cluster();
    let active = holder(&cluster);
    let standby = (active + 1) % 3;
    let (keeper, _) = cluster.pids(standby).unwrap();
    cluster.signal(keeper, Signal::SIGTERM);
    cluster.reap(standby, PATIENCE);
    let config = cluster.nodes[standby].config.clone();
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("\"2001:db8::100/64\"]", "\"2001:db8::100/64\", \"192.0.2.102/24\"]");
    std::fs::write(&config, text).unwrap();
    let since = Instant::now();
    cluster.spawn(standby).unwrap();
    let name = cluster.nodes[standby].name.clone();
    wait(&cluster, "the difference is reported", |c| {
        c.status(active).is_ok_and(|status| {
            status.peers.iter().any(|p| p.node == name && p.config == PeerConfiguration::Different)
        })
    });
    assert_eq!(cluster.holder(WEB[0]), Some(active), "no effect on the holder");
    let held = cluster.lab.observer().held_by(&cluster.nodes[active].name, WEB[0], since);
    assert_eq!(held.len(), 1, "held without a break");
}

pub(crate) fn two_clusters_on_one_lan_do_not_meet() {
    let mut cluster = cluster();
    let active = holder(&cluster);
    // Another cluster: other name, other key, other VIPs, the same segment; one of its nodes even claims to have
    // the address of one of ours as a peer.
    let other = cluster.lab.host("other", &["192.0.2.71/24", "2001:db8::71/64"]).unwrap();
    other.start_service().unwrap();
    let directory = cluster.directory().join("other");
    std::fs::create_dir_all(&directory).unwrap();
    let config = directory.join("vipdrift.toml");
    let text = format!(
        "[cluster]\nname = \"other\"\nkey = \"ffeeddccbbaa99887766554433221100\"\nheartbeat = \"10ms\"\n\n\
         [[node]]\nname = \"one\"\naddresses = [\"192.0.2.71\"]\n\n\
         [[node]]\nname = \"two\"\naddresses = [\"192.0.2.{}\"]\n\n\
         [[group]]\nname = \"web\"\ninterface = \"eth0\"\nvips = [\"192.0.2.200/24\"]\n\n\
         [control]\nsocket = \"{}\"\nhttp = \"off\"\n",
        11 + active,
        directory.join("control.sock").display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = std::process::Command::new(BINARY);
    command
        .arg("run")
        .arg("--config")
        .arg(&config)
        .args(["--node", "one"])
        .arg("--state-dir")
        .arg(&directory);
    let daemon = other.spawn(command).unwrap();
    let since = Instant::now();
    let vip = "192.0.2.200".parse().unwrap();
    assert!(
        cluster.lab.observer().wait_holders(vip, &["other"], Instant::now() + PATIENCE),
        "the other cluster works\n{}",
        daemon.output()
    );
    wait(&cluster, "its datagrams are counted", |c| rejected(c, active, "foreign_cluster") > 10);
    assert_eq!(cluster.holder(WEB[0]), Some(active));
    assert_eq!(cluster.lab.observer().held_by(&cluster.nodes[active].name, WEB[0], since).len(), 1);
    let since = Instant::now();
    cluster.nodes[active].host.unplug().unwrap();
    wait(&cluster, "our group drifts all the same", |c| c.holder(WEB[0]).is_some_and(|now| now != active));
    assert_eq!(cluster.lab.observer().held_by("other", vip, since).len(), 1);
    cluster.nodes[active].host.plug().unwrap();
    cluster.start_all().unwrap();
}

pub(crate) fn nodes_started_at_once_never_hold_twice() {
    let mut cluster = with(|options| {
        options.nodes = 2;
        options.start = false;
    });
    let since = Instant::now();
    for round in 0..50 {
        cluster.start_all().unwrap_or_else(|error| panic!("round {round}: {error}"));
        for node in 0..2 {
            let (keeper, _) = cluster.pids(node).unwrap();
            cluster.signal(keeper, Signal::SIGTERM);
        }
        for node in 0..2 {
            let status = cluster.reap(node, PATIENCE);
            assert!(status.is_some_and(|status| status.success()), "round {round}: {status:?}");
        }
        assert!(cluster.lab.observer().holders(WEB[0]).is_empty(), "round {round}: nothing is left");
    }
    for vip in WEB {
        assert!(cluster.lab.observer().two_holders(vip, since).is_zero(), "{vip} was never on two nodes");
    }
}
