//! Bodies of fuzz targets for what is private to this package. They take any bytes, and panic when the code under them
//! does or when a property is broken.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vipdrift_core::{Carry, CarryErrand, CarryGroup, CarryOrder, Drained, Node, Start, Timestamp};
use vipdrift_wire::heartbeat::{GroupId, Keys, NodeId, Order};

use crate::config::{self, Config, Resolved, duration as span};
use crate::message::{self, Facts, Life, Setup, ToBrain, ToKeeper};
use crate::{cli, state as state_file};

const FILE: &str = "vipdrift.toml";
/// A small configuration, and a good one.
pub const PAIR: &str = r#"[cluster]
name = "edge"
key = "000102030405060708090a0b0c0d0e0f"

[[node]]
name = "alpha"
addresses = ["192.0.2.11"]

[[node]]
name = "bravo"
addresses = ["192.0.2.12"]

[[group]]
name = "web"
interface = "eth0"
vips = ["192.0.2.100/24"]
"#;
/// As a node's life begins.
const BEGIN: Timestamp = Timestamp::from_nanos(1_000_000_000);

/// A configuration file.
///
/// # Panics
///
/// When a property is broken.
pub fn configuration(bytes: &[u8]) {
    match config::read(FILE, bytes.to_vec()) {
        Ok(loaded) => {
            accepted(&loaded.config, &loaded.text);
            key_is_not_shown(&loaded.config, &loaded.text);
        }
        Err(refused) => {
            let text = refused.to_string();
            assert!(refused.count > 0 && text.starts_with("error: "), "{text}");
            assert!(bytes.is_empty() || text.contains(FILE), "says where:\n{text}");
            // Twelve problems with a few lines each, a line being at most the file.
            assert!(text.len() < 100_000 + 100 * bytes.len(), "{} bytes of error", text.len());
        }
    }
}

/// What holds of every configuration that is accepted.
fn accepted(config: &Config, text: &str) {
    let names: BTreeSet<_> = config.nodes.iter().map(|node| node.name.get_ref().as_str()).collect();
    assert_eq!(names.len(), config.nodes.len(), "names are unique");
    let again = config::parse(FILE, text).expect("accepted once, accepted again");
    let mut digests = BTreeSet::new();
    for name in &names {
        let resolved = Resolved::new(config, name).expect("a node of the file");
        digests.insert(resolved.outline.digest());
        assert_eq!(Resolved::new(&again, name).map(|again| again.outline), Some(resolved.outline.clone()));
        let own = resolved.own.iter().map(|address| address.ip()).collect();
        assert_eq!(config::names_of_own_addresses(config, &own), [*name], "found by its addresses");
        assert_eq!(resolved.peers.len() + 1, names.len());
        for peer in 0..resolved.peers.len() {
            assert!(resolved.paths.iter().any(|path| path.peer.0 == peer), "no way to a peer");
        }
        assert!(resolved.paths.iter().all(|path| path.peer.0 < resolved.peers.len()));
        assert!(resolved.vips.iter().all(|vip| vip.interface.0 < resolved.interfaces.len()));
        assert_eq!(resolved.as_source.len(), resolved.vips.len());
        let vips: Vec<_> = resolved.groups.iter().flat_map(|group| &group.vips).map(|vip| vip.0).collect();
        assert_eq!(vips, (0..resolved.vips.len()).collect::<Vec<_>>(), "each VIP in one group");
        for group in &resolved.groups {
            let order: BTreeSet<_> = group.order.iter().collect();
            assert!(order.len() == names.len() && group.order.len() == names.len(), "every node, once");
        }
    }
    assert_eq!(digests.len(), 1, "the nodes agree on what they have");
    let first = Resolved::new(config, config.nodes[0].name.get_ref()).expect("a node of the file");
    live(&first, Start::Fresh { drained: Drained::default() });
}

/// A node begins its life with this.
fn live(resolved: &Resolved, start: Start) {
    let keys = Keys::new("edge", b"0123456789abcdef", None);
    let mut node = Node::new(resolved.node_config(keys, Duration::ZERO), 1, start, BEGIN);
    let mut now = BEGIN;
    for _ in 0..20 {
        while node.poll_action().is_some() {}
        now = node.next_deadline().map_or(now, |deadline| deadline.at.max(now));
        node.handle(vipdrift_core::Event::Timeout, now);
        assert!(node.next_deadline().is_none_or(|deadline| deadline.at > now), "no progress");
    }
    while node.poll_action().is_some() {}
    let _ = node.snapshot();
}

/// No error message shows a key that stands in the file, wherever else the file is broken.
fn key_is_not_shown(config: &Config, text: &str) {
    let cluster = &config.cluster;
    for source in [Some(&cluster.key), cluster.previous_key.as_ref()].into_iter().flatten() {
        let config::KeySource::Inline(key) = source else { continue };
        let secret: String = key.get_ref().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        // As it is written; if it is not in one piece, there is nothing to look for.
        let Some(at) = text.to_ascii_lowercase().find(&secret) else { continue };
        let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1)
            ..text[at..].find('\n').map_or(text.len(), |newline| at + newline);
        let middle = at + secret.len() / 2;
        let broken = [
            text[..middle].to_owned(),
            format!("{}\\q{}", &text[..middle], &text[middle..]),
            format!("{}zz{}", &text[..middle], &text[middle..]),
            format!("{}\n{}\n{}", &text[..line.end], &text[line.clone()], &text[line.end..]),
            format!("{} x{}", &text[..line.end], &text[line.end..]),
        ];
        for text in broken {
            let Err(refused) = config::parse(FILE, &text) else { continue };
            let shown = refused.to_string().to_ascii_lowercase();
            for part in secret.as_bytes().windows(10) {
                let part = std::str::from_utf8(part).expect("hexadecimal digits");
                // Some keys look like other text in the file.
                let elsewhere = text.to_ascii_lowercase().matches(part).count() > 1;
                assert!(elsewhere || !shown.contains(part), "shows the key:\n{shown}");
            }
        }
    }
}

/// A span of time in a configuration.
///
/// # Panics
///
/// When a property is broken.
pub fn duration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match span::parse(text) {
        Ok(read) => {
            let whole = Duration::from_nanos(u64::try_from(read.as_nanos()).expect("fits") / 1000 * 1000);
            assert_eq!(span::parse(&span::show(whole)), Ok(whole), "shown as {}", span::show(whole));
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// A key file.
///
/// # Panics
///
/// When a property is broken.
pub fn key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match config::hex_key(text) {
        Ok(key) => {
            let again = key.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            assert_eq!(again, text.trim().to_ascii_lowercase());
            assert!(key.len() >= 16, "128 bits at least");
        }
        Err(why) => {
            let repeated = |part: &[u8]| {
                part.iter().all(u8::is_ascii_hexdigit) && { why.contains(&*String::from_utf8_lossy(part)) }
            };
            assert!(!bytes.windows(6).any(repeated), "repeats what may be a key: {why}");
        }
    }
}

/// A state file, into which the state is then written.
///
/// # Panics
///
/// When a property is broken.
pub fn state(bytes: &[u8]) {
    for drained in [true, false] {
        let mut file = bytes.to_vec();
        let text = state_file::text(drained, ["web"].into_iter());
        file.resize(file.len().max(text.len()), 0);
        file[..text.len()].copy_from_slice(text.as_bytes());
        let wanted = Drained { node: drained, groups: [GroupId::of("web").0].into() };
        assert_eq!(state_file::read(&file), wanted, "the last word counts");
    }
    let read = state_file::read(bytes);
    assert!(!read.node || bytes.starts_with(b"drained: yes"));
    assert!(read.groups.is_empty() || bytes.starts_with(b"drained: "));
}

/// A packet between keeper and brain, or a memory file from the one to the other.
///
/// # Panics
///
/// When a property is broken.
pub fn pipe(bytes: &[u8]) {
    if let Some(message) = stable::<ToBrain>(bytes) {
        assert_eq!(serde_json::from_slice::<ToBrain>(&message::encode(&message)).ok(), Some(message));
    }
    if let Some(message) = stable::<ToKeeper>(bytes) {
        assert_eq!(
            serde_json::from_slice::<ToKeeper>(&message::encode(&message)).ok().as_ref(),
            Some(&message)
        );
        if let ToKeeper::Remember(carry) = message {
            resume(carry);
        }
    }
    if let Some(Life { resumed: Some(carry), .. }) = stable::<Life>(bytes) {
        resume(carry);
    }
    let _ = stable::<Setup>(bytes);
}

/// Seeds of [`pipe`]: one of each kind that has something to it.
#[must_use]
pub fn pipe_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let facts = Facts {
        present: true,
        running: true,
        mac: Some([0, 0, 0x5e, 0, 0x53, 1]),
        addresses: ["192.0.2.11/24", "2001:db8::11/64"].map(|text| text.parse().expect("a network")).into(),
        gateways: vec!["192.0.2.1".parse().expect("an address")],
    };
    let group = CarryGroup { group: GroupId::of("web").0, term: 3, active: true };
    let carry = Carry { plan: 5, groups: vec![group], ..Carry::default() };
    let limits = Carry {
        failing: vec![],
        drained: Drained { node: true, groups: [GroupId::of("web").0].into() },
        plan: u64::MAX,
        groups: vec![CarryGroup { group: GroupId::of("web").0, term: u64::MAX, active: true }],
        errands: vec![CarryErrand {
            node: NodeId::of("bravo").0,
            order: Order::Undrain,
            group: Some(GroupId::of("web").0),
        }],
        ordered: Some(CarryOrder { what: "reload".into(), changes: "nothing".into() }),
    };
    let life = Life {
        number: 2,
        epoch: 1,
        resumed: Some(carry.clone()),
        drained: Drained::default(),
        ordered: None,
    };
    let applied =
        ToBrain::Applied { plan: 5, mounted: vec![0], failed: vec![(1, "no device".into())], complete: true };
    vec![
        ("link", message::encode(&ToBrain::Link { interface: 0, index: Some(2), facts })),
        ("applied", message::encode(&applied)),
        ("gap", message::encode(&ToBrain::Gap { epoch: 1, missing: Duration::from_millis(1500) })),
        ("alive", message::encode(&ToBrain::Alive)),
        ("beat", message::encode(&ToKeeper::Beat { renew: true, epoch: 1 })),
        ("apply", message::encode(&ToKeeper::Apply { plan: 6, desired: vec![0, 1] })),
        ("absence", message::encode(&ToKeeper::Absence(Ok(vec![118, 105])))),
        (
            "succeed",
            message::encode(&ToKeeper::Succeed {
                restart: true,
                keep: Some(Duration::from_secs(30)),
                ticket: 1,
            }),
        ),
        ("words", message::encode(&ToKeeper::Words { holding: vec![118, 105], resigned: vec![255] })),
        ("remember", message::encode(&ToKeeper::Remember(carry))),
        ("remember-limits", message::encode(&ToKeeper::Remember(limits))),
        ("life", message::encode(&life)),
    ]
}

/// A brain begins where another ended.
fn resume(carry: Carry) {
    let config = config::parse(FILE, PAIR).expect("a good configuration");
    let resolved = Resolved::new(&config, "alpha").expect("a node of it");
    live(&resolved, Start::Resumed(carry));
}

/// Reads the message; what is written from it is read as the same.
fn stable<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let message: T = serde_json::from_slice(bytes).ok()?;
    let written = message::encode(&message);
    let again: T = serde_json::from_slice(&written).expect("what is written can be read");
    assert_eq!(message::encode(&again), written);
    Some(message)
}

/// The answer to `vipdrift status`.
///
/// # Panics
///
/// When a property is broken.
pub fn status(bytes: &[u8]) {
    let Some(status) = stable::<vipdrift_control::Status>(bytes) else { return };
    let text = cli::status_text(&status);
    assert!(text.starts_with("node ") && text.ends_with('\n'));
}
