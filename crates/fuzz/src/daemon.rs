//! Seeds for what is private to the daemon; the bodies are in its own package.

use vipdrift::fuzzing::PAIR;
use vipdrift_control::{Group, GroupRole, Peer, PeerConfiguration, PeerState, Vip};

use crate::Seed;
use crate::control::status;

pub use vipdrift::fuzzing::pipe_seeds;

/// A configuration that uses every key there is.
const EVERYTHING: &str = r#"# three nodes
[cluster]
name = "edge"
key_file = "/etc/vipdrift/cluster.key"
previous_key = "ffeeddccbbaa99887766554433221100"
heartbeat = "10ms"
dead_after = 4
lease = "off"
start_wait = "1.5s"
port = 0x16a6
user = "nobody"

[[node]]
name = "alpha"
addresses = ["192.0.2.11", "2001:db8::11"]
interfaces = { lan = "eth0" }
[[node]]
name = "bravo"
addresses = ["192.0.2.12", "2001:db8::12"]
interfaces = { lan = "ens3" }
[[node]]
name = "charlie"
addresses = ["192.0.2.13"]
interfaces.lan = 'eth1'

[[group]]
name = "web"
interface = "lan"
vips = ["192.0.2.100/24", "2001:db8::100/64"]
prefer = ["bravo"]
failback = "1m"
occupied = "claim"
switchover = "hitless"
references = ["gateway", "auto", "192.0.2.1"]
isolated = "keep"
as_source = true
[[group]]
name = "mail"
interface = "lan"
vips = ["192.0.2.101/32"]
prefer = "spread"
failback = "never"

[control]
socket = "/run/vipdrift/control.sock"
http = "127.0.0.1:5799"
"#;

/// Seeds of the target `configuration`.
#[must_use]
pub fn configuration_seeds() -> Vec<Seed> {
    let changed = |from: &str, to: &str| {
        assert!(PAIR.contains(from), "{from}");
        PAIR.replacen(from, to, 1).into_bytes()
    };
    vec![
        ("pair", PAIR.into()),
        ("everything", EVERYTHING.into()),
        ("unknown-key", changed("name = \"edge\"", "name = \"edge\"\nhartbeat = \"1s\"")),
        ("unclosed", changed("vips = [\"192.0.2.100/24\"]\n", "vips = [\"192.0.2.100")),
        ("vip-of-a-node", changed("192.0.2.100/24", "192.0.2.12/24")),
        (
            "key-of-two-lines",
            changed(
                "\"000102030405060708090a0b0c0d0e0f\"",
                "\"\"\"\n000102030405060708090a0b0c0d0e0f\n\"\"\"",
            ),
        ),
        ("no-way", changed("192.0.2.12", "2001:db8::12")),
        ("later", changed("interface =", "check = 1\nhooks = []\ninterface =")),
        (
            "wrong-types",
            changed("addresses = [\"192.0.2.11\"]", "addresses = 1\ninterfaces = [{ a = 1979-05-27 }]"),
        ),
        (
            "lease-too-short",
            changed("name = \"edge\"", "name = \"edge\"\nheartbeat = \"1s\"\nlease = \"2s\""),
        ),
    ]
}

/// Seeds of the target `duration`.
#[must_use]
pub fn duration_seeds() -> Vec<Seed> {
    let texts = [
        ("ms", "100ms"),
        ("us", "250us"),
        ("point", "1.5s"),
        ("minutes", "2m"),
        ("hours", "1h"),
        ("bare", "7"),
    ];
    texts.map(|(name, text)| (name, text.into())).into()
}

/// Seeds of the target `key`.
#[must_use]
pub fn key_seeds() -> Vec<Seed> {
    let texts = [
        ("key", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"),
        ("upper-case", " 00FF02030405060708090A0B0C0D0E0F"),
        ("short", "00010203"),
        ("odd", "000102030405060708090a0b0c0d0e0f1"),
    ];
    texts.map(|(name, text)| (name, text.into())).into()
}

/// Seeds of the target `state`.
#[must_use]
pub fn state_seeds() -> Vec<Seed> {
    let texts =
        [("drained", "drained: yes\n"), ("ready", "drained: no \n"), ("longer", "drained: yes\nmore\n")];
    texts.map(|(name, text)| (name, text.into())).into()
}

/// Seeds of the target `status`.
#[must_use]
pub fn status_seeds() -> Vec<Seed> {
    let mut whole = status();
    let peer = |node: &str, state, config| Peer {
        node: node.into(),
        state,
        hears_us: true,
        rtt_us: Some(180),
        config,
        differs: if config == PeerConfiguration::Different {
            vec!["cluster.lease".into(), "only there: group mail".into()]
        } else {
            vec![]
        },
        heard_ms_ago: Some(42),
        absent_ms: None,
        missed: 0,
        health: None,
        groups: vec![],
    };
    whole.peers = vec![
        peer("bravo", PeerState::Alive, PeerConfiguration::Same),
        peer("charlie", PeerState::Left, PeerConfiguration::Unknown),
    ];
    let vip = |n: u32| Vip { address: format!("192.0.2.10{n}/24"), interface: "eth0".into(), mounted: n > 3 };
    whole.groups = vec![Group {
        name: "web".into(),
        role: GroupRole::Active,
        active_node: Some("alpha".into()),
        term: 3,
        since: "2026-01-01T00:00:00Z".into(),
        reason: "bravo silent, 192.0.2.100 not answered".into(),
        occupied_by: Some("00:00:5e:00:53:01".into()),
        vips: (0..6).map(vip).collect(),
        checks: vec![],
    }];
    whole.counters.datagrams_rejected.insert("bad_mac".into(), 2);
    let mut odd = whole.clone();
    odd.groups[0].since = "2026-01-01T00:00:0\u{e9}".into();
    let json = |status| serde_json::to_vec(&status).expect("JSON");
    vec![("empty", json(status())), ("whole", json(whole)), ("odd", json(odd))]
}
