//! `vipdrift check` on real kernels: what is wrong with a machine is named, with what to do about it.

use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use vipdrift::trial::Cluster;
use vipdrift_control::PeerState;

use crate::support::{BINARY, PATIENCE, WEB, cluster, holder, settle, wait};

/// Runs a program on a node.
fn run(cluster: &Cluster, index: usize, program: &str, args: &[&str]) -> (bool, String) {
    let node = &cluster.nodes[index];
    let output = node.host.run(|| Command::new(program).args(args).output().unwrap());
    let words = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), words.concat())
}

/// What the doctor finds on a node, but what is well: level, id, text, remedy.
fn found(cluster: &Cluster, index: usize) -> Vec<[String; 4]> {
    let node = &cluster.nodes[index];
    let config = cluster.directory_of(index).join("vipdrift.toml");
    let binary = env!("CARGO_BIN_EXE_vipdrift");
    let config = config.to_str().unwrap();
    let (good, said) =
        run(cluster, index, binary, &["check", "--json", "--config", config, "--node", &node.name]);
    let answer: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let findings = answer["findings"].as_array().unwrap().iter().map(|finding| {
        ["level", "id", "text", "remedy"].map(|key| finding[key].as_str().unwrap_or_default().to_owned())
    });
    let all: Vec<_> = findings.collect();
    let errors = all.iter().any(|[level, ..]| level == "error");
    assert_eq!((good, answer["ok"].as_bool()), (!errors, Some(!errors)), "{said}");
    assert!(all.iter().all(|[level, _, _, remedy]| (level == "ok") == remedy.is_empty()), "{said}");
    all
}

/// The finding with this id.
fn one(all: &[[String; 4]], id: &str) -> [String; 4] {
    let mut these = all.iter().filter(|finding| finding[1] == id);
    let first = these.next().unwrap_or_else(|| panic!("no {id} in {all:#?}"));
    first.clone()
}

fn none(all: &[[String; 4]], id: &str) {
    assert!(all.iter().all(|finding| finding[1] != id), "{id} in {all:#?}");
}

pub(crate) fn doctor_finds_a_healthy_node_well() {
    let cluster = cluster();
    let active = holder(&cluster);
    settle(&cluster);
    for index in 0..cluster.nodes.len() {
        let all = found(&cluster, index);
        assert!(all.iter().all(|[level, ..]| level != "error"), "{all:#?}");
        let heard = all.iter().filter(|[level, id, ..]| level == "ok" && id == "peer").count();
        assert_eq!(heard, 2, "both peers are heard: {all:#?}");
        for id in
            ["firewall_heartbeat", "firewall_echo", "firewall_arp", "vip_foreign", "vip_left", "arp_ignore"]
        {
            none(&all, id);
        }
    }
    // A peer that falls silent is named.
    let other = (active + 1) % 3;
    let name = cluster.nodes[other].name.clone();
    cluster.nodes[other].host.cut().unwrap();
    wait(&cluster, "silence", |c| {
        let all = found(c, active);
        all.iter().any(|[level, id, text, _]| {
            level == "warning" && id == "peer" && text == &format!("{name} is not heard")
        })
    });
}

pub(crate) fn doctor_names_settings_of_the_kernel_and_of_the_firewall() {
    let cluster = cluster();
    let active = holder(&cluster);
    let host = &cluster.nodes[active].host;
    host.set_kernel("net/ipv4/conf/all/arp_ignore", "8").unwrap();
    let all = found(&cluster, active);
    let [level, _, _, remedy] = one(&all, "arp_ignore");
    assert_eq!(level, "error");
    assert!(remedy.contains("sysctl -w net.ipv4.conf.all.arp_ignore=0"), "{remedy}");
    host.set_kernel("net/ipv4/conf/all/arp_ignore", "0").unwrap();
    none(&found(&cluster, active), "arp_ignore");

    let nft = |rules: &str| {
        let (good, said) = run(&cluster, active, "nft", &[rules]);
        assert!(good, "{rules}: {said}");
    };
    nft("add table inet guard");
    nft("add chain inet guard incoming { type filter hook input priority 0; policy accept; }");
    nft("add rule inet guard incoming iifname lo accept");
    nft("add rule inet guard incoming udp dport 5798 drop");
    let all = found(&cluster, active);
    let [level, _, text, remedy] = one(&all, "firewall_heartbeat");
    assert_eq!(level, "error", "{text}");
    assert!(text.contains("from 192.0.2.") && text.contains("of chain inet guard incoming"), "{text}");
    assert!(remedy.contains("udp dport 5798 accept"), "{remedy}");
    // The remedy helps: by the doctor, and by the kernel.
    nft("insert rule inet guard incoming ip saddr 192.0.2.0/24 udp dport 5798 accept");
    none(&found(&cluster, active), "firewall_heartbeat");
    wait(&cluster, "both peers again", |c| {
        found(c, active).iter().filter(|[level, id, ..]| level == "ok" && id == "peer").count() == 2
    });
    nft("delete table inet guard");
    nft("add table arp guard");
    nft("add chain arp guard outgoing { type filter hook output priority 0; policy drop; }");
    let [level, _, text, _] = one(&found(&cluster, active), "firewall_arp");
    assert_eq!(level, "error", "{text}");
    nft("delete table arp guard");
    none(&found(&cluster, active), "firewall_arp");
}

/// What the doctor says of heartbeats from the peers, and whether they pass then.
struct Case {
    rules: &'static str,
    /// Level of the finding; empty if there is none.
    level: &'static str,
    heard: bool,
}

const fn case(rules: &'static str, level: &'static str, heard: bool) -> Case {
    Case { rules, level, heard }
}

const INPUT: &str = "type filter hook input priority 0;";

/// `INPUT` stands for that, so that lines stay short.
const CASES: [Case; 16] = [
    case("table inet t { chain i { INPUT policy accept; } }", "", true),
    case("table inet t { chain i { INPUT policy drop; } }", "error", false),
    case("table inet t { chain i { INPUT policy drop; udp dport 5798 accept; } }", "", true),
    case("table inet t { chain i { INPUT udp dport != 22 drop; } }", "error", false),
    case("table inet t { chain i { INPUT udp dport vmap { 5798 : drop }; } }", "error", false),
    case(
        "table inet t { chain l { udp dport 5798 drop; } chain i { INPUT iifname vmap { \"eth0\" : jump l }; } }",
        "error",
        false,
    ),
    case(
        "table inet t { map m { type inet_service : verdict; elements = { 5798 : drop } } chain i { INPUT udp dport vmap @m; } }",
        "error",
        false,
    ),
    case(
        "table inet t { set s { type ipv4_addr; flags interval; elements = { 192.0.2.8/29 } } chain i { INPUT policy drop; ip saddr @s accept; } }",
        "",
        true,
    ),
    case(
        "table inet t { set s { type ipv4_addr; elements = { 192.0.2.99 } } chain i { INPUT policy drop; ip saddr @s accept; } }",
        "error",
        false,
    ),
    case(
        "table inet t { chain i { INPUT policy drop; ip saddr . udp dport { 192.0.2.0/24 . 5798 } accept; } }",
        "",
        true,
    ),
    case(
        "table inet t { chain l { udp dport 22 accept; } chain i { INPUT policy drop; iifname \"eth0\" goto l; accept; } }",
        "error",
        false,
    ),
    case(
        "table inet t { chain i { INPUT policy drop; meta l4proto . th dport { udp . 5798 } accept; } }",
        "",
        true,
    ),
    case("table inet t { chain i { INPUT meta mark 7 accept; udp dport 5798 drop; } }", "warning", false),
    case(
        "table inet t { chain i { INPUT policy drop; ct state vmap { established : accept, related : accept, invalid : drop }; } }",
        "warning",
        true,
    ),
    case(
        "table ip t { chain i { type filter hook prerouting priority -300; fib daddr type local udp dport 5000-6000 drop; } }",
        "error",
        false,
    ),
    case(
        "table netdev t { chain i { type filter hook ingress device eth0 priority 0; udp dport 5798 drop; } }",
        "error",
        false,
    ),
];

/// The kernel has the last word on each ruleset.
pub(crate) fn doctor_and_kernel_agree_about_firewalls() {
    let cluster = cluster();
    let index = (holder(&cluster) + 1) % 3;
    let heard = |c: &Cluster, all: bool| {
        let status = c.status(index);
        status.is_ok_and(|s| s.peers.iter().all(|peer| (peer.state == PeerState::Alive) == all))
    };
    for Case { rules, level, heard: passes } in CASES {
        wait(&cluster, "both peers", |c| heard(c, true));
        // A block ends with its line.
        let rules = rules.replace("INPUT", INPUT).replace("} }", "}\n}").replace("} chain", "}\nchain");
        let (good, said) = run(&cluster, index, "nft", &[&rules]);
        assert!(good, "{rules}: {said}");
        if passes {
            // Longer than the dead time; a late machine has the wait below.
            std::thread::sleep(10 * cluster.heartbeat());
        }
        wait(&cluster, &rules, |c| heard(c, passes));
        let all = found(&cluster, index);
        let from = |f: &&[String; 4]| f[1] == "firewall_heartbeat" && f[2].contains(" from ");
        let finding = all.iter().find(from);
        assert_eq!(finding.map_or("", |f| &f[0]), level, "{rules}\n{all:#?}");
        // What it says to do is what helps.
        if let Some([_, _, _, remedy]) = finding {
            for command in remedy.lines().filter_map(|line| line.strip_prefix("nft ")) {
                let (good, said) = run(&cluster, index, "nft", &[command]);
                assert!(good, "{command}: {said}");
            }
            wait(&cluster, remedy, |c| heard(c, true));
            none(&found(&cluster, index), "firewall_heartbeat");
        }
        let (good, said) = run(&cluster, index, "nft", &["flush ruleset"]);
        assert!(good, "{said}");
    }
}

pub(crate) fn doctor_asks_the_machines_where_no_daemon_runs() {
    let mut cluster = cluster();
    let active = holder(&cluster);
    let (keeper, _) = cluster.pids(active).unwrap();
    cluster.signal(keeper, Signal::SIGTERM);
    cluster.reap(active, PATIENCE).unwrap();
    let all = found(&cluster, active);
    assert_eq!(
        all.iter().filter(|[level, id, ..]| level == "ok" && id == "peer_machine").count(),
        2,
        "{all:#?}"
    );
    one(&all, "port");
    let other = (active + 1) % 3;
    cluster.nodes[other].host.cut().unwrap();
    let name = cluster.nodes[other].name.clone();
    let all = found(&cluster, active);
    assert!(
        all.iter().any(|[level, id, text, _]| {
            level == "warning"
                && id == "peer_machine"
                && text.starts_with(&format!("the machine of {name} does not"))
        }),
        "{all:#?}"
    );
    // Somebody has put the VIP there by hand.
    cluster.nodes[other].host.uncut().unwrap();
    wait(&cluster, "a holder", |c| c.holder(WEB[0]).is_some());
    let idle = active;
    cluster.nodes[idle].host.add_address("192.0.2.100/24").unwrap();
    let [level, _, _, remedy] = one(&found(&cluster, idle), "vip_foreign");
    assert_eq!(level, "error");
    assert!(remedy.contains("ip address del 192.0.2.100/24 dev eth0"), "{remedy}");
    cluster.nodes[idle].host.delete_address("192.0.2.100/24").unwrap();
}

pub(crate) fn doctor_says_that_a_changed_file_is_not_in_force() {
    let cluster = cluster();
    none(&found(&cluster, 0), "configuration_in_force");
    let file = &cluster.nodes[0].config;
    let text = std::fs::read_to_string(file).unwrap();
    let changed = text.replacen("\"2001:db8::100/64\"", "\"2001:db8::100/64\", \"192.0.2.102/24\"", 1);
    assert_ne!(text, changed);
    std::fs::write(file, changed).unwrap();
    let all = found(&cluster, 0);
    let [level, _, text, remedy] = one(&all, "configuration_in_force");
    assert_eq!((level.as_str(), remedy.as_str()), ("warning", "vipdrift reload"), "{text}");
    let (good, said) = run(&cluster, 0, BINARY, &["reload", "--config", file.to_str().unwrap()]);
    assert!(good, "{said}");
    none(&found(&cluster, 0), "configuration_in_force");
}
