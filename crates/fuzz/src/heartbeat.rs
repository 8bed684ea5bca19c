//! Heartbeat datagrams: as they come from the network, and rightly signed with any body.

use std::sync::LazyLock;
use std::time::Duration;

use vipdrift_wire::Mac;
use vipdrift_wire::heartbeat::{
    Echo, Errand, ErrandOutcome, GROUPS_PER_DATAGRAM, GroupId, GroupState, Health, Heartbeat, Keys,
    MAX_DATAGRAM, Message, NodeId, OUTLINE_PARTS_MAX, Order, OutlinePart, PATH_MAX, Progress, Rejected, Role,
    Setting, States, Word, WordKind, decode, encode, in_parts, resign, without_code,
};

use crate::Seed;
use crate::seal::{CLUSTER, KEYS, SECRET, seal};

/// Magic, version and cluster tag; and the authentication code.
const PREFIX: usize = 9;
const CODE: usize = 16;

/// The same cluster with another secret, and another cluster with the same secret.
static FOREIGN: LazyLock<[Keys; 2]> =
    LazyLock::new(|| [Keys::new(CLUSTER, b"another secret!!", None), Keys::new("ledge", SECRET, None)]);
/// During a change of keys the old secret is the previous one.
static CHANGED: LazyLock<Keys> = LazyLock::new(|| Keys::new(CLUSTER, b"another secret!!", Some(SECRET)));

/// A datagram as it comes.
///
/// # Panics
///
/// When a property is broken.
pub fn datagram(bytes: &[u8]) {
    let result = decode(bytes, &KEYS);
    assert_eq!(decode(bytes, &CHANGED), result, "a previous key is as good as the current one");
    for keys in &*FOREIGN {
        assert!(decode(bytes, keys).is_err(), "believed with a key that did not sign it");
    }
    match result {
        Ok(message) => check(bytes, &message),
        Err(why) => assert_eq!(Rejected::ALL[why.index()], why),
    }
}

/// Kind and body of a rightly signed datagram.
///
/// # Panics
///
/// When a property is broken.
pub fn signed_body(kind_and_body: &[u8]) {
    let bytes = seal(kind_and_body);
    let result = decode(&bytes, &KEYS);
    match &result {
        Ok(message) => check(&bytes, message),
        Err(Rejected::TooLong) => assert!(bytes.len() > MAX_DATAGRAM),
        Err(Rejected::TooShort) => assert!(kind_and_body.is_empty()),
        Err(why) => assert!(matches!(why, Rejected::Malformed(_)), "{why} though rightly signed"),
    }
    assert_eq!(decode(&bytes, &CHANGED), result, "a previous key is as good as the current one");
    if result == Err(Rejected::TooLong) {
        return;
    }
    let [another_secret, another_cluster] = FOREIGN.each_ref().map(|keys| decode(&bytes, keys));
    if bytes.len() > PREFIX + CODE {
        assert_eq!(another_secret, Err(Rejected::BadMac));
        assert_eq!(another_cluster, Err(Rejected::ForeignCluster));
    }
    // One bit, anywhere, and it is somebody else's.
    let mut altered = bytes;
    let position = kind_and_body.iter().map(|byte| usize::from(*byte)).sum::<usize>() % altered.len();
    altered[position] ^= 1 << (kind_and_body.len() % 8);
    let altered = decode(&altered, &KEYS);
    assert!(altered.is_err_and(|why| !matches!(why, Rejected::Malformed(_))), "believed though altered");
}

/// What holds of every message that is believed.
fn check(bytes: &[u8], message: &Message) {
    assert!(bytes.len() <= MAX_DATAGRAM);
    assert_eq!(encode(message, &KEYS), bytes, "one message, one encoding");
    if let Message::Heartbeat(Heartbeat { states: Some(states), .. }) = message {
        assert!(states.index < states.count);
        assert!(states.groups.len() <= GROUPS_PER_DATAGRAM);
    }
    if let Message::Outline(part) = message {
        assert!(part.index < part.count && part.count <= OUTLINE_PARTS_MAX);
        assert!(part.settings.is_sorted_by(|one, next| one.path < next.path));
        for Setting { path, .. } in &part.settings {
            assert!(
                (1..=PATH_MAX).contains(&path.len()) && path.bytes().all(|byte| matches!(byte, b' '..=b'~'))
            );
        }
    }
    let [other, _] = &*FOREIGN;
    let mut again = bytes.to_vec();
    assert!(resign(&mut again, &KEYS, other), "signed anew for others");
    assert_eq!(decode(&again, other).as_ref(), Ok(message));
    assert_eq!(without_code(&again), without_code(bytes));
}

/// Seeds of [`datagram`].
#[must_use]
pub fn datagram_seeds() -> Vec<Seed> {
    let mut seeds: Vec<_> = messages().into_iter().map(|(name, it)| (name, encode(&it, &KEYS))).collect();
    seeds.push(("foreign-cluster", encode(&messages()[0].1, &Keys::new("third", SECRET, None))));
    seeds.push(("foreign-key", encode(&messages()[0].1, &Keys::new(CLUSTER, b"a third secret!!", None))));
    seeds
}

/// Seeds of [`signed_body`].
#[must_use]
pub fn signed_body_seeds() -> Vec<Seed> {
    let body = |bytes: Vec<u8>| bytes[PREFIX..bytes.len() - CODE].to_vec();
    messages().into_iter().map(|(name, it)| (name, body(encode(&it, &KEYS)))).collect()
}

pub(crate) fn bare_group(number: u64) -> GroupState {
    GroupState {
        group: GroupId(number),
        version: 1,
        role: Role::Standby,
        term: 0,
        mounted: false,
        claiming: false,
        proving: false,
        hitless: false,
        demoted: false,
        heir: None,
        mac: None,
        answered_by: None,
    }
}

/// One of each kind that matters.
fn messages() -> Vec<(&'static str, Message)> {
    let small = Heartbeat {
        sender: NodeId::of("alpha"),
        receiver: NodeId::of("bravo"),
        incarnation: 3,
        sequence: 4,
        echo: None,
        interval: Duration::from_millis(100),
        config_digest: 5,
        health: Health::Healthy,
        solicit: false,
        leaving: false,
        slow_side_alive: true,
        hears_slowly: false,
        states_version: 6,
        states_seen: 7,
        states: None,
        errand: None,
        outcome: None,
    };
    let full = |number| GroupState {
        role: Role::Active,
        term: 13,
        mounted: true,
        claiming: true,
        proving: true,
        hitless: true,
        demoted: true,
        heir: Some(NodeId::of("charlie")),
        mac: Some(Mac([0, 0, 0x5e, 0, 0x53, 1])),
        answered_by: Some(Mac([0, 0, 0x5e, 0, 0x53, 2])),
        ..bare_group(number)
    };
    let states = |index, count, groups| Some(States { base: 2, index, count, groups });
    let with_groups = Heartbeat {
        echo: Some(Echo { incarnation: 8, sequence: 9, age: Duration::from_micros(1500) }),
        health: Health::Drained,
        solicit: true,
        leaving: true,
        states: states(0, 1, vec![full(11), bare_group(12)]),
        ..small.clone()
    };
    let busy = Heartbeat {
        errand: Some(Errand { number: 1, order: Order::Drain, group: None }),
        outcome: Some(ErrandOutcome { number: 2, progress: Progress::Working }),
        ..small.clone()
    };
    let largest = Heartbeat {
        errand: Some(Errand { number: 3, order: Order::Undrain, group: Some(GroupId(11)) }),
        outcome: Some(ErrandOutcome { number: 4, progress: Progress::Refused }),
        states: states(65_534, 65_535, (0..GROUPS_PER_DATAGRAM as u64).map(full).collect()),
        ..with_groups.clone()
    };
    let outline = |settings| OutlinePart {
        sender: NodeId::of("alpha"),
        receiver: NodeId::of("bravo"),
        incarnation: 9,
        receiver_incarnation: 3,
        config_digest: 5,
        index: 63,
        count: 64,
        settings,
    };
    let settings = (0..100).map(|number| Setting::new(format!("group g{number:02} vips"), "")).collect();
    let largest_part = in_parts(settings).swap_remove(0);
    let word = |kind| Message::Word(Word { sender: NodeId::of("alpha"), incarnation: 9, kind });
    vec![
        ("heartbeat", Message::Heartbeat(small.clone())),
        ("heartbeat-fault", Message::Heartbeat(Heartbeat { health: Health::Fault, ..small })),
        ("heartbeat-errand", Message::Heartbeat(busy)),
        ("heartbeat-with-groups", Message::Heartbeat(with_groups)),
        ("heartbeat-largest", Message::Heartbeat(largest)),
        ("outline", Message::Outline(outline(vec![Setting::new("cluster.lease", "2s")]))),
        ("outline-largest", Message::Outline(outline(largest_part))),
        ("word-holding", word(WordKind::Holding { at_most: Duration::from_millis(250) })),
        ("word-resigned", word(WordKind::Resigned)),
        ("word-lease-ends", word(WordKind::LeaseEnds { within: Duration::from_secs(2) })),
        ("word-absent", word(WordKind::Absent { at_most: Duration::from_secs(30) })),
    ]
}
