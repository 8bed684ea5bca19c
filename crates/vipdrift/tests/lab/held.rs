//! What is held stays held, what is not stays off, and nothing else is touched.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vipdrift_control::{GroupRole, HealthState};

use crate::support::{PATIENCE, WEB, cluster, holder, settle, wait, with};

pub(crate) fn vip_deleted_by_hand_is_mounted_again() {
    let cluster = cluster();
    let active = holder(&cluster);
    let host = &cluster.nodes[active].host;
    for _ in 0..5 {
        let since = Instant::now();
        host.delete_address("192.0.2.100/24").unwrap();
        host.delete_address("2001:db8::100/64").unwrap();
        wait(&cluster, "both VIPs again", |c| {
            // Held until deleted, and again.
            let name = &c.nodes[active].name;
            WEB.iter().all(|&vip| {
                let held = c.lab.observer().held_by(name, vip, since);
                held.len() == 2 && held[1].to.is_none()
            })
        });
    }
    wait(&cluster, "it is said", |c| {
        let said = c.nodes[active].process.as_ref().unwrap().output();
        said.contains("somebody removed 192.0.2.100/24; mounted again")
    });
    settle(&cluster);
}

pub(crate) fn vip_added_by_hand_on_a_standby_is_removed() {
    let cluster = cluster();
    let active = holder(&cluster);
    let standby = (active + 1) % cluster.nodes.len();
    cluster.nodes[standby].host.add_address("192.0.2.100/24").unwrap();
    wait(&cluster, "it is said", |c| {
        let said = c.nodes[standby].process.as_ref().unwrap().output();
        said.contains("somebody added 192.0.2.100/24; unmounted again")
    });
    wait(&cluster, "one holder again", |c| c.holder(WEB[0]) == Some(active));
}

pub(crate) fn leftover_vip_is_removed_at_start() {
    let mut cluster = with(|options| options.start = false);
    let last = cluster.nodes.len() - 1;
    cluster.nodes[last].host.add_address("192.0.2.100/24").unwrap();
    cluster.nodes[last].host.add_address("2001:db8::100/64").unwrap();
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(holder(&cluster), 0, "the leftover is gone, so the first node takes over");
}

pub(crate) fn other_addresses_are_never_touched() {
    let mut cluster = cluster();
    let active = holder(&cluster);
    let host = cluster.nodes[active].host.clone();
    let before = |host: &vipdrift_lab::Host| {
        let mut all: Vec<String> = host.addresses().unwrap().iter().map(ToString::to_string).collect();
        all.retain(|address| !address.starts_with("192.0.2.10") && !address.starts_with("2001:db8::10"));
        all.sort();
        all
    };
    host.add_address("198.51.100.7/24").unwrap();
    let had = before(&host);
    let (keeper, _) = cluster.pids(active).unwrap();
    cluster.signal(keeper, Signal::SIGTERM);
    assert!(cluster.reap(active, PATIENCE).is_some_and(|status| status.success()));
    assert_eq!(before(&host), had);
    assert!(
        !host.addresses().unwrap().iter().any(|net| WEB.contains(&net.addr())),
        "its own VIPs are gone: {:?}",
        host.addresses()
    );
}

pub(crate) fn random_loss_moves_nothing() {
    let cluster = cluster();
    let active = holder(&cluster);
    let since = Instant::now();
    for node in &cluster.nodes {
        node.host.lose(5).unwrap();
    }
    std::thread::sleep(Duration::from_secs(5).saturating_sub(since.elapsed()));
    assert_eq!(cluster.holder(WEB[0]), Some(active), "{}", cluster.describe());
    let held = cluster.lab.observer().held_by(&cluster.nodes[active].name, WEB[0], since);
    assert_eq!(held.len(), 1, "held without a break");
    assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero());
}

pub(crate) fn drain_and_undrain() {
    let cluster = cluster();
    let active = holder(&cluster);
    let since = Instant::now();
    assert_eq!(cluster.drain(active, true).unwrap(), "drained");
    wait(&cluster, "another holder", |c| c.holder(WEB[0]).is_some_and(|now| now != active));
    let status = cluster.status(active).unwrap();
    assert_eq!(status.health.state, HealthState::Drained);
    assert_eq!(status.groups[0].role, GroupRole::Drained);
    assert_eq!(cluster.lab.observer().two_holders(WEB[0], since), Duration::ZERO, "{}", cluster.describe());
    cluster.drain(active, false).unwrap();
    settle(&cluster);
    assert_eq!(cluster.status(active).unwrap().groups[0].role, GroupRole::Standby, "sticky");
}

pub(crate) fn drained_survives_a_restart() {
    let mut cluster = cluster();
    let active = holder(&cluster);
    cluster.drain(active, true).unwrap();
    let (keeper, brain) = cluster.pids(active).unwrap();
    let starts = cluster.status(active).unwrap().daemon.brain_starts;
    cluster.signal(brain, Signal::SIGKILL);
    wait(&cluster, "a new brain, still drained", |c| {
        c.status(active)
            .is_ok_and(|s| s.daemon.brain_starts > starts && s.health.state == HealthState::Drained)
    });
    cluster.signal(keeper, Signal::SIGTERM);
    cluster.reap(active, PATIENCE);
    cluster.spawn(active).unwrap();
    wait(&cluster, "a new daemon, still drained", |c| {
        c.status(active).is_ok_and(|status| status.health.state == HealthState::Drained)
    });
}

pub(crate) fn vips_are_never_source_addresses() {
    let cluster = cluster();
    let active = holder(&cluster);
    let host = &cluster.nodes[active].host;
    for (to, own) in [("192.0.2.50:9", "192.0.2.11"), ("[2001:db8::50]:9", "2001:db8::11")] {
        let source = host.run(|| {
            let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            let socket = std::net::UdpSocket::bind(any).unwrap();
            socket.connect(to).unwrap();
            socket.local_addr().unwrap().ip()
        });
        assert_eq!(source.to_string(), own);
    }
}

pub(crate) fn the_brain_has_no_privileges() {
    let cluster = cluster();
    let (keeper, brain) = cluster.pids(0).unwrap();
    assert_ne!(keeper, brain);
    let status = std::fs::read_to_string(format!("/proc/{brain}/status")).unwrap();
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}")).trim()
    };
    for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(field(set), 16).unwrap(), 0, "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    if vipdrift_lab::enclosed().is_some_and(|enclosed| !enclosed.user_namespace) {
        assert_ne!(field("Uid:").split_whitespace().next(), Some("0"), "not root");
    }
    // The control socket is for root and its group alone.
    let socket = cluster.directory().join("alpha/control.sock");
    let output = Command::new("stat").arg("-c").arg("%a").arg(&socket).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "660");
}

pub(crate) fn foreign_holder_of_one_vip_among_many_is_noticed() {
    let mut cluster = with(|options| options.start = false);
    for node in &cluster.nodes {
        let text = std::fs::read_to_string(&node.config).unwrap();
        let text = text.replace("\"2001:db8::100/64\"]", "\"2001:db8::100/64\", \"192.0.2.102/24\"]");
        std::fs::write(&node.config, text).unwrap();
    }
    // Its address is neither the first nor the only one of its family.
    let stranger = cluster.lab.host("stranger", &["192.0.2.66/24"]).unwrap();
    stranger.add_address("192.0.2.102/24").unwrap();
    let mac = stranger.mac("eth0").unwrap().to_string();
    let since = Instant::now();
    for node in 0..cluster.nodes.len() {
        cluster.spawn(node).unwrap();
    }
    wait(&cluster, "its MAC is named", |c| {
        c.status(0).is_ok_and(|status| status.groups[0].occupied_by.as_deref() == Some(mac.as_str()))
    });
    std::thread::sleep(Duration::from_millis(500));
    for vip in WEB {
        for node in &cluster.nodes {
            let held = cluster.lab.observer().held_by(&node.name, vip, since);
            assert!(held.is_empty(), "{} mounted {vip}", node.name);
        }
    }
    stranger.delete_address("192.0.2.102/24").unwrap();
    settle(&cluster);
}
