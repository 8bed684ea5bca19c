//! What is held stays held, what is not stays off, and nothing else is touched.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vipdrift_control::{DrillRequest, GroupRole, HealthState, NodeRequest};

use crate::support::{PATIENCE, WEB, cluster, holder, settle, wait, with};

pub(crate) fn vip_deleted_by_hand_is_mounted_again() {
    let cluster = cluster();
    let active = holder(&cluster);
    let host = &cluster.nodes[active].host;
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
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
        for vip in WEB {
            let held = cluster.lab.observer().held_by(&cluster.nodes[active].name, vip, since);
            longest = longest.max(held[1].from.duration_since(held[0].to.unwrap()));
        }
    }
    println!("deleted twenty times, longest without: {longest:?}");
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

/// From the holder, from the heir and from a third node; the clients' own outage is measured beside.
pub(crate) fn drill_measures_there_and_back() {
    let cluster = cluster();
    let home = holder(&cluster);
    for (asked, to) in
        [(home, (home + 1) % 3), ((home + 1) % 3, (home + 1) % 3), ((home + 2) % 3, (home + 1) % 3)]
    {
        let since = Instant::now();
        let node = |index: usize| cluster.nodes[index].name.clone();
        let request = DrillRequest { group: "web".into(), to: Some(node(to)), stay_ms: 300 };
        let mut done = Err(String::new());
        // A node that has just begun is asked in vain for a moment.
        wait(&cluster, "a node that is sure of itself", |c| {
            done = c.drill(asked, &request).map_err(|why| why.to_string());
            !done.as_ref().is_err_and(|why| why.contains("try again in a moment"))
        });
        let drill = done.unwrap_or_else(|why| panic!("{why}: {}", cluster.describe()));
        assert_eq!(drill.asked_from, node(asked));
        let ways: Vec<_> = drill.legs.iter().map(|leg| (leg.from.clone(), leg.to.clone())).collect();
        assert_eq!(ways, [(node(home), node(to)), (node(to), node(home))]);
        for leg in &drill.legs {
            assert_eq!(leg.vips.len(), 2, "one of each family: {leg:?}");
            assert!(leg.vips.iter().all(|vip| vip.longest_us > 0 && vip.longest_us < 1_000_000), "{leg:?}");
            println!("asked from {}: {leg:?}", drill.asked_from);
        }
        wait(&cluster, "back home", |c| c.holder(WEB[0]) == Some(home));
        assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero(), "{}", cluster.describe());
        settle(&cluster);
    }
    let unknown = DrillRequest { group: "wbe".into(), to: None, stay_ms: 0 };
    let refused = cluster.drill(home, &unknown).unwrap_err().to_string();
    assert!(refused.contains("did you mean `web`?"), "{refused}");
}

/// One group, on another node, by a command to a third; and it is still so after a restart there.
pub(crate) fn drain_one_group_on_another_node() {
    let mut cluster = cluster();
    let active = holder(&cluster);
    let asked = (active + 1) % 3;
    let node = cluster.nodes[active].name.clone();
    let request = NodeRequest { node: Some(node.clone()), group: Some("web".into()) };
    let since = Instant::now();
    assert_eq!(cluster.order(asked, true, &request).unwrap(), format!("web: {node} is drained"));
    wait(&cluster, "another holder", |c| c.holder(WEB[0]).is_some_and(|now| now != active));
    assert_eq!(cluster.lab.observer().two_holders(WEB[0], since), Duration::ZERO, "{}", cluster.describe());
    let status = cluster.status(active).unwrap();
    assert_eq!(status.health.state, HealthState::Healthy, "one group is not the node");
    let role = |status: &vipdrift_control::Status, name: &str| {
        status.groups.iter().find(|group| group.name == name).map(|group| group.role)
    };
    assert_eq!(role(&status, "web"), Some(GroupRole::Drained));
    assert_eq!(role(&status, "calm"), Some(GroupRole::Active), "nothing else has moved");
    let state = cluster.directory_of(active).join("state/state");
    wait(&cluster, "written down", |_| {
        std::fs::read_to_string(&state).is_ok_and(|text| text == "drained: no \ndrained group: web\nend\n")
    });
    let (keeper, _) = cluster.pids(active).unwrap();
    cluster.signal(keeper, Signal::SIGTERM);
    cluster.reap(active, Duration::from_secs(10)).unwrap();
    cluster.spawn(active).unwrap();
    wait(&cluster, "a new daemon, still drained", |c| {
        c.status(active).is_ok_and(|status| role(&status, "web") == Some(GroupRole::Drained))
    });
    // It may not be heard by all yet.
    wait(&cluster, "undrained", |c| c.order(asked, false, &request).is_ok());
    wait(&cluster, "standby", |c| {
        c.status(active).is_ok_and(|status| role(&status, "web") == Some(GroupRole::Standby))
    });
    let unknown = NodeRequest { node: Some("zulu".into()), group: None };
    let refused = cluster.order(asked, true, &unknown).unwrap_err().to_string();
    assert!(refused.contains("no node `zulu`"), "{refused}");
}

/// The holder is cut off from the others, with client and gateway on their side, and drained meanwhile.
pub(crate) fn drain_during_a_partition() {
    let cluster = cluster();
    let active = holder(&cluster);
    let since = Instant::now();
    let old = cluster.nodes[active].host.clone();
    let mut rest: Vec<_> = cluster.nodes.iter().map(|node| node.host.clone()).collect();
    rest.remove(active);
    rest.extend([cluster.client.clone(), cluster.gateway.clone().unwrap()]);
    let rest: Vec<&vipdrift_lab::Host> = rest.iter().collect();
    cluster.lab.partition(&[&[&old], &rest]).unwrap();
    // Whatever it has noticed by now, it does what the operator wants.
    assert!(cluster.drain(active, true).unwrap().starts_with("drained"));
    wait(&cluster, "the other side has a holder", |c| c.holder(WEB[0]).is_some_and(|now| now != active));
    let heir = holder(&cluster);
    cluster.lab.heal().unwrap();
    settle(&cluster);
    assert_eq!(holder(&cluster), heir, "sticky");
    assert_eq!(cluster.status(active).unwrap().groups[0].role, GroupRole::Drained);
    assert!(cluster.lab.observer().two_reachable_holders(WEB[0], since).is_zero(), "{}", cluster.describe());
    cluster.drain(active, false).unwrap();
    settle(&cluster);
    assert_eq!(cluster.status(active).unwrap().groups[0].role, GroupRole::Standby);
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
    let own = [format!("192.0.2.{}", 11 + active), format!("2001:db8::{}", 11 + active)];
    for (to, own) in ["192.0.2.50:9", "[2001:db8::50]:9"].into_iter().zip(own) {
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

/// The real systemd-networkd on the holder's machine, which takes off addresses that it does not know when it starts.
pub(crate) fn networkd_restarted_twenty_times_and_the_vip_comes_back() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/lib/systemd".into()]);
    let networkd = folders.map(|folder| folder.join("systemd-networkd")).find(|file| file.exists());
    let networkd = networkd.expect("systemd-networkd is missing: apt-get install -y systemd");
    let mut cluster = with(|options| {
        options.start = false;
        // The interval of the default: at 10 ms peers take over what is away for 15.
        options.heartbeat = Duration::from_millis(100);
    });
    let host = cluster.nodes[0].host.clone();
    // It becomes a user of its own, which an ordinary user's namespace lacks: here that user is root.
    let etc = host.private_etc().unwrap();
    std::fs::write(etc.join("machine-id"), "00112233445566778899aabbccddeeff\n").unwrap();
    for (file, entry) in
        [("passwd", "systemd-network:x:0:0::/:/bin/false"), ("group", "systemd-network:x:0:")]
    {
        let text = std::fs::read_to_string(etc.join(file)).unwrap();
        let others = text.lines().filter(|line| !line.starts_with("systemd-network:"));
        let lines: Vec<&str> = others.chain([entry]).collect();
        std::fs::write(etc.join(file), lines.join("\n") + "\n").unwrap();
    }
    host.run(|| {
        // It looks for interfaces in a /sys of its own network, and waits for udev to have seen them: there is none here,
        // so its word is given for it.
        let mounted = Command::new("mount").args(["-t", "sysfs", "sysfs", "/sys"]).output().unwrap();
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
        std::fs::create_dir_all("/run/udev/data").unwrap();
        let index = nix::net::if_::if_nametoindex("eth0").unwrap();
        std::fs::write(format!("/run/udev/data/n{index}"), "I:1\n").unwrap();
        std::fs::create_dir_all("/run/systemd/network").unwrap();
        let own = "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.11/24\nAddress=2001:db8::11/64\nGateway=192.0.2.1\n";
        std::fs::write("/run/systemd/network/10-eth0.network", own).unwrap();
    });
    let restart = |pause: u64| {
        let mut command = Command::new(&networkd);
        command.env("SYSTEMD_LOG_TARGET", "console");
        let process = host.spawn(command).unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        assert!(process.ended().is_none(), "{}", process.output());
        process.kill(Signal::SIGTERM).unwrap();
        process.wait(Instant::now() + PATIENCE);
    };
    // From now on the machine's own addresses are networkd's.
    restart(1500);
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(holder(&cluster), 0);
    let (mut longest, mut taken) = (Duration::ZERO, 0);
    for _ in 0..20 {
        let since = Instant::now();
        restart(300);
        wait(&cluster, "both VIPs", |c| WEB.iter().all(|&vip| c.holder(vip) == Some(0)));
        for vip in WEB {
            let held = cluster.lab.observer().held_by("alpha", vip, since);
            taken += held.len() - 1;
            for pair in held.windows(2) {
                longest = longest.max(pair[1].from.duration_since(pair[0].to.unwrap()));
            }
        }
    }
    // Told to, it leaves them alone.
    let since = Instant::now();
    host.run(|| {
        let path = "/run/systemd/network/10-eth0.network";
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::write(path, text + "KeepConfiguration=yes\n").unwrap();
    });
    (0..3).for_each(|_| restart(300));
    let held = cluster.lab.observer().held_by("alpha", WEB[0], since);
    assert!(held.len() == 1 && held[0].to.is_none(), "{held:?}");
    println!("networkd took VIPs off {taken} times, longest without: {longest:?}");
    assert!(taken > 0, "networkd does take them off");
    assert_eq!(cluster.status(0).unwrap().groups[0].term, 1, "and it never moved\n{}", cluster.describe());
}
