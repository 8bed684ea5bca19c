//! Heartbeat datagrams: golden bytes, round trips, forgeries, and bodies that are rightly signed and wrong.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac as _};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use vipdrift_wire::Mac;
use vipdrift_wire::heartbeat::{
    Echo, Errand, ErrandOutcome, GROUPS_PER_DATAGRAM, GroupId, GroupState, Health, Heartbeat, Keys,
    MAX_DATAGRAM, Malformed, Message, NodeId, OUTLINE_PARTS_MAX, Order, OutlinePart, PATH_MAX, Progress,
    Rejected, Role, Setting, States, Word, WordKind, decode, encode, fold, in_parts, resign, without_code,
};

const SECRET: &[u8] = b"0123456789abcdef";

fn keys() -> Keys {
    Keys::new("edge", SECRET, None)
}

/// Bytes from hexadecimal digits; blanks are skipped.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).expect("a digit")).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Signs any kind and body as the documentation of the format says, without the library's help.
fn seal(kind: u8, body: &[u8]) -> Vec<u8> {
    let hmac = |key: &[u8], text: &[u8]| {
        Hmac::<Sha256>::new_from_slice(key).expect("any length").chain_update(text).finalize().into_bytes()
    };
    let tag = Sha256::digest(b"vipdrift cluster\0edge");
    let mut out = [b"vipd\x01", &tag[..4], &[kind], body].concat();
    let code = hmac(&hmac(SECRET, b"vipdrift heartbeat key 1\0edge"), &out);
    out.extend_from_slice(&code[..16]);
    out
}

fn small() -> Heartbeat {
    Heartbeat {
        sender: NodeId(1),
        receiver: NodeId(2),
        incarnation: 3,
        sequence: 4,
        echo: None,
        interval: Duration::from_millis(10),
        config_digest: 5,
        health: Health::Healthy,
        solicit: false,
        leaving: false,
        slow_side_alive: false,
        hears_slowly: false,
        states_version: 6,
        states_seen: 7,
        states: None,
        errand: None,
        outcome: None,
    }
}

fn group(number: u64) -> GroupState {
    GroupState {
        group: GroupId(number),
        version: 12,
        role: Role::Active,
        term: 13,
        mounted: true,
        claiming: true,
        proving: true,
        hitless: true,
        demoted: true,
        heir: Some(NodeId(14)),
        mac: Some(Mac([0, 0, 0x5e, 0, 0x53, 1])),
        answered_by: Some(Mac([0, 0, 0x5e, 0, 0x53, 2])),
    }
}

fn large() -> Heartbeat {
    let bare = GroupState {
        group: GroupId(15),
        version: 16,
        role: Role::Drained,
        term: 17,
        mounted: false,
        claiming: false,
        proving: false,
        hitless: false,
        demoted: false,
        heir: None,
        mac: None,
        answered_by: None,
    };
    Heartbeat {
        echo: Some(Echo { incarnation: 8, sequence: 9, age: Duration::from_micros(1500) }),
        health: Health::Drained,
        solicit: true,
        leaving: true,
        slow_side_alive: true,
        hears_slowly: false,
        states: Some(States { base: 10, index: 0, count: 1, groups: vec![group(11), bare] }),
        ..small()
    }
}

/// With an errand and what has become of one.
fn busy() -> Heartbeat {
    Heartbeat {
        errand: Some(Errand { number: 18, order: Order::Undrain, group: Some(GroupId(19)) }),
        outcome: Some(ErrandOutcome { number: 20, progress: Progress::Refused }),
        ..large()
    }
}

fn word(kind: WordKind) -> Message {
    Message::Word(Word { sender: NodeId(0x0102_0304_0506_0708), incarnation: 9, kind })
}

fn part() -> OutlinePart {
    let setting = |path: &str, hash| Setting { path: path.into(), hash };
    OutlinePart {
        sender: NodeId(1),
        receiver: NodeId(2),
        incarnation: 3,
        receiver_incarnation: 4,
        config_digest: 5,
        index: 6,
        count: 7,
        settings: vec![setting("cluster.lease", 8), setting("group web vips", u64::MAX)],
    }
}

/// Hides the hash of a setting, or shows it, as the documentation of the format says.
fn veil(sender: u64, incarnation: u64, path: &str) -> u64 {
    let hmac = |key: &[u8], text: &[u8]| {
        Hmac::<Sha256>::new_from_slice(key).expect("any length").chain_update(text).finalize().into_bytes()
    };
    let key = hmac(SECRET, b"vipdrift heartbeat key 1\0edge");
    let text = [b"vipdrift setting ", &sender.to_be_bytes()[..], &incarnation.to_be_bytes(), path.as_bytes()]
        .concat();
    u64::from_be_bytes(hmac(&key, &text)[..8].try_into().expect("eight bytes"))
}

#[test]
fn signed_anew_it_says_the_same_to_others() {
    let other = Keys::new("edge", b"fedcba9876543210", None);
    let message = Message::Heartbeat(large());
    let before = encode(&message, &keys());
    let mut bytes = before.clone();
    assert!(resign(&mut bytes, &keys(), &other));
    assert_eq!(bytes, encode(&message, &other));
    assert_eq!(decode(&bytes, &keys()), Err(Rejected::BadMac));
    assert_eq!(without_code(&bytes), without_code(&before));
    // Signed with the older of two keys.
    let both = Keys::new("edge", b"a new secret, 16", Some(SECRET));
    let mut bytes = before.clone();
    assert!(resign(&mut bytes, &both, &other));
    assert_eq!(bytes, encode(&message, &other));
    // What is hidden by the key is hidden anew.
    for message in [Message::Outline(part()), Message::Outline(OutlinePart { settings: vec![], ..part() })] {
        let before = encode(&message, &keys());
        let mut bytes = before.clone();
        assert!(resign(&mut bytes, &both, &other));
        assert_eq!(bytes, encode(&message, &other));
        assert_eq!(decode(&bytes, &other), Ok(message));
        assert_eq!(without_code(&bytes), without_code(&before));
    }
    // Rightly signed, and yet not a message: that is still what is wrong with it.
    let mut bytes = seal(9, &[1, 2, 3]);
    assert!(resign(&mut bytes, &keys(), &other));
    assert_eq!(decode(&bytes, &other), Err(Rejected::Malformed(Malformed::Kind)));
}

proptest! {
    #[test]
    fn what_is_not_authentic_stays_as_it_is(bytes in vec(any::<u8>(), 0..1500), spoilt in 0usize..58) {
        let other = Keys::new("edge", b"fedcba9876543210", None);
        let mut forged = encode(&Message::Heartbeat(small()), &keys());
        forged[spoilt] ^= 1;
        for bytes in [bytes, forged] {
            let mut after = bytes.clone();
            prop_assert!(!resign(&mut after, &keys(), &other));
            prop_assert_eq!(&after, &bytes);
            prop_assert_eq!(decode(&bytes, &keys()), decode(&bytes, &other));
        }
    }
}

#[test]
fn golden_heartbeat() {
    let golden = "76697064 01 25b5211e 01 0000000000000001 0000000000000002 0000000000000003 0000000000000004
        0000000000002710 0000000000000005 02 1f 00000006 00000007 0000000000000008 0000000000000009 00000000000005dc
        0000000a 0000 0001 0002 000000000000000b 0000000c 00 000000000000000d ff 000000000000000e 00005e005301
        00005e005302 000000000000000f 00000010 03 0000000000000011 00 35d0ced70d44fb14928f90bc0e505b23";
    let message = Message::Heartbeat(large());
    assert_eq!(encode(&message, &keys()), hex(golden));
    assert_eq!(decode(&hex(golden), &keys()), Ok(message));
}

/// An errand stands between echo and states, and what has become of one behind it.
#[test]
fn golden_errand() {
    let (kind, plain) = unseal(&encode(&Message::Heartbeat(large()), &keys()));
    let errand = hex("00000012 04 0000000000000013 00000014 02");
    let mut body = [&plain[..82], &errand, &plain[82..]].concat();
    body[49] |= 0x60;
    assert_eq!(encode(&Message::Heartbeat(busy()), &keys()), seal(kind, &body));
    assert_eq!(decode(&seal(kind, &body), &keys()), Ok(Message::Heartbeat(busy())));
    for (position, value, expected) in
        [(86, 0, Malformed::Errand), (86, 5, Malformed::Errand), (99, 3, Malformed::Errand)]
    {
        let mut bad = body.clone();
        bad[position] = value;
        assert_eq!(decode(&seal(kind, &bad), &keys()), Err(Rejected::Malformed(expected)), "byte {position}");
    }
}

#[test]
fn golden_word() {
    let golden = "76697064 01 25b5211e 02 0102030405060708 0000000000000009 01 000000000003d090
        ec7b1d82e1acb9f3269e03d0a3849669";
    let message = word(WordKind::Holding { at_most: Duration::from_millis(250) });
    assert_eq!(encode(&message, &keys()), hex(golden));
    assert_eq!(decode(&hex(golden), &keys()), Ok(message));
}

#[test]
fn golden_word_of_absence() {
    let golden = "76697064 01 25b5211e 02 0102030405060708 0000000000000009 04 0000000001c9c380
        1a807b4892a79ee7499bf608c6560022";
    let message = word(WordKind::Absent { at_most: Duration::from_secs(30) });
    assert_eq!(encode(&message, &keys()), hex(golden));
    assert_eq!(decode(&hex(golden), &keys()), Ok(message));
}

#[test]
fn golden_outline() {
    let golden = "76697064 01 25b5211e 03 0000000000000001 0000000000000002 0000000000000003 0000000000000004
        0000000000000005 0006 0007 0002 0d 636c75737465722e6c65617365 7f47f6dc2aa393b5
        0e 67726f7570207765622076697073 0b2b9ae62123ebe0 5e6f8155cf86a74a4ec548a567c56e55";
    let message = Message::Outline(part());
    assert_eq!(encode(&message, &keys()), hex(golden));
    assert_eq!(decode(&hex(golden), &keys()), Ok(message));
}

#[test]
fn what_was_hashed_cannot_be_guessed_without_the_key() {
    let datagram = encode(&Message::Outline(part()), &keys());
    let shown = |path: &str| {
        let at =
            datagram.windows(path.len()).position(|window| window == path.as_bytes()).expect("in the clear");
        u64::from_be_bytes(datagram[at + path.len()..][..8].try_into().expect("eight bytes"))
    };
    for Setting { path, hash } in part().settings {
        assert_ne!(shown(&path), hash);
        assert_eq!(shown(&path) ^ veil(1, 3, &path), hash, "by the key alone, sender, incarnation and path");
    }
    // The same in another life, by another sender, or by another key looks like something else.
    let of = |part: &OutlinePart, keys: &Keys| encode(&Message::Outline(part.clone()), keys)[71..79].to_vec();
    let others = [
        of(&part(), &keys()),
        of(&OutlinePart { incarnation: 4, ..part() }, &keys()),
        of(&OutlinePart { sender: NodeId(9), ..part() }, &keys()),
        of(&part(), &Keys::new("edge", b"fedcba9876543210", None)),
    ];
    assert_eq!(others.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
}

#[test]
fn settings_are_folded_step_by_step() {
    let settings: Vec<_> =
        ["cluster.lease", "group a", "group web check b c", "group web vips", "group web-2 vips"]
            .map(|path| Setting::new(path, "x"))
            .into();
    let paths = |settings: &[Setting]| settings.iter().map(|s| s.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(&fold(&settings, 2)), ["cluster.lease", "group a", "group web", "group web-2"]);
    assert_eq!(paths(&fold(&settings, 1)), ["cluster.lease", "group"]);
    assert_eq!(paths(&fold(&settings, 0)), [""]);
    assert_eq!(fold(&settings, 0)[0].hash, 0x5874_c946_083e_0f42);
    assert_eq!(fold(&settings, 9), settings);
    assert_eq!(fold(&[], 0), []);
    for first in 0..6 {
        for second in 0..=first {
            assert_eq!(fold(&fold(&settings, first), second), fold(&settings, second), "{first} {second}");
        }
    }
    assert_eq!(fold(&settings, 2)[1], settings[1], "what is alone and ends there stays as it is");
}

#[test]
fn parts_of_an_outline_fit_and_are_nearly_full() {
    let settings: Vec<_> =
        (0..500).map(|n| Setting::new(format!("group g{n:03} {}", "x".repeat(n % 180)), "")).collect();
    let parts = in_parts(settings.clone());
    assert_eq!(parts.concat(), settings);
    let count = u16::try_from(parts.len()).expect("few");
    for (index, settings) in (0u16..).zip(parts) {
        let message = Message::Outline(OutlinePart { index, count, settings, ..part() });
        let length = encode(&message, &keys()).len();
        assert!(length <= MAX_DATAGRAM, "{length}");
        assert!(
            length + PATH_MAX + 9 > MAX_DATAGRAM || index + 1 == count,
            "one more would have fitted: {length}"
        );
    }
}

#[test]
#[should_panic(expected = "settings in one datagram")]
fn too_many_settings_are_not_cut() {
    let settings = (0..100).map(|n| Setting::new(format!("group g{n:03} vips"), "")).collect();
    let _ = encode(&Message::Outline(OutlinePart { settings, ..part() }), &keys());
}

#[test]
fn rightly_signed_and_malformed_outlines() {
    let (kind, body) = unseal(&encode(&Message::Outline(part()), &keys()));
    assert_eq!(decode(&seal(kind, &body), &keys()), Ok(Message::Outline(part())));
    let most = u8::try_from(OUTLINE_PARTS_MAX).expect("few");
    for (position, value, expected) in [
        // Index and count, length of the list.
        (41, 7, Malformed::Part),
        (43, 6, Malformed::Part),
        (43, most + 1, Malformed::Part),
        (42, 1, Malformed::Part),
        (45, 1, Malformed::Trailing),
        (45, 3, Malformed::Truncated),
        // The length of a path and its letters.
        (46, 0, Malformed::Path),
        (46, 14, Malformed::Path),
        (47, b'\n', Malformed::Path),
        (47, 0x7f, Malformed::Path),
        (47, 0xc3, Malformed::Path),
        (47, b'h', Malformed::Order),
    ] {
        let mut bad = body.clone();
        bad[position] = value;
        let expected = Err(Rejected::Malformed(expected));
        assert_eq!(decode(&seal(kind, &bad), &keys()), expected, "byte {position} = {value}");
    }
    for length in 0..body.len() {
        let expected = Err(Rejected::Malformed(Malformed::Truncated));
        assert_eq!(decode(&seal(kind, &body[..length]), &keys()), expected, "{length} bytes");
    }
    let longer = [&body[..], &[0]].concat();
    assert_eq!(decode(&seal(kind, &longer), &keys()), Err(Rejected::Malformed(Malformed::Trailing)));
    let twice = OutlinePart { settings: vec![part().settings[0].clone()], ..part() };
    let (_, mut body) = unseal(&encode(&Message::Outline(twice), &keys()));
    body[45] = 2;
    let again = [&body[..], &body[46..]].concat();
    assert_eq!(decode(&seal(kind, &again), &keys()), Err(Rejected::Malformed(Malformed::Order)));
}

#[test]
fn ids_depend_on_name_and_kind() {
    assert_eq!(NodeId::of("alpha"), NodeId(0xd4c2_7ff2_8750_4795));
    assert_eq!(GroupId::of("alpha"), GroupId(0x9148_bf1c_2f6d_4fcd));
    assert_eq!(NodeId::of("alpha").to_string(), "d4c27ff287504795");
}

#[test]
fn a_full_datagram_fits_and_is_nearly_full() {
    let groups: Vec<_> = (0..GROUPS_PER_DATAGRAM).map(|number| group(number as u64)).collect();
    let states = Some(States { base: u32::MAX, index: 65_534, count: u16::MAX, groups });
    let message = Message::Heartbeat(Heartbeat { states, ..busy() });
    let bytes = encode(&message, &keys());
    assert!(bytes.len() <= MAX_DATAGRAM, "{}", bytes.len());
    assert!(bytes.len() + 42 > MAX_DATAGRAM, "one more group would have fitted: {}", bytes.len());
    assert_eq!(decode(&bytes, &keys()), Ok(message));
}

#[test]
#[should_panic(expected = "groups in one datagram")]
fn too_many_groups_are_not_cut() {
    let groups: Vec<_> = (0..=GROUPS_PER_DATAGRAM).map(|number| group(number as u64)).collect();
    let states = Some(States { base: 0, index: 0, count: 1, groups });
    let _ = encode(&Message::Heartbeat(Heartbeat { states, ..small() }), &keys());
}

#[test]
#[should_panic(expected = "part 1 of 1")]
fn an_impossible_part_is_not_sent() {
    let states = Some(States { base: 0, index: 1, count: 1, groups: vec![] });
    let _ = encode(&Message::Heartbeat(Heartbeat { states, ..small() }), &keys());
}

#[test]
fn durations_saturate() {
    let heartbeat = Heartbeat { interval: Duration::MAX, ..small() };
    let Ok(Message::Heartbeat(heard)) = decode(&encode(&Message::Heartbeat(heartbeat), &keys()), &keys())
    else {
        panic!("not a heartbeat")
    };
    assert_eq!(heard.interval, Duration::from_micros(u64::MAX));

    let heartbeat = Heartbeat { interval: Duration::from_nanos(1_999), ..small() };
    let Ok(Message::Heartbeat(heard)) = decode(&encode(&Message::Heartbeat(heartbeat), &keys()), &keys())
    else {
        panic!("not a heartbeat")
    };
    assert_eq!(heard.interval, Duration::from_micros(1));
}

#[test]
fn keys_and_clusters() {
    let message = word(WordKind::Resigned);
    let old = Keys::new("edge", b"old secret", None);
    let new = Keys::new("edge", b"new secret", None);
    let both = Keys::new("edge", b"new secret", Some(b"old secret"));
    let reversed = Keys::new("edge", b"old secret", Some(b"new secret"));
    let foreign = Keys::new("core", b"old secret", None);

    assert_eq!(decode(&encode(&message, &old), &both), Ok(message.clone()));
    assert_eq!(decode(&encode(&message, &new), &both), Ok(message.clone()));
    assert_eq!(decode(&encode(&message, &both), &new), Ok(message.clone()), "signs with the current key");
    assert_eq!(decode(&encode(&message, &both), &old), Err(Rejected::BadMac));
    assert_eq!(decode(&encode(&message, &both), &reversed), Ok(message.clone()));
    assert_eq!(decode(&encode(&message, &old), &new), Err(Rejected::BadMac));
    assert_eq!(decode(&encode(&message, &foreign), &old), Err(Rejected::ForeignCluster));

    // The cluster's name is part of the key, not of the tag alone.
    let mut forged = encode(&message, &foreign);
    forged[5..9].copy_from_slice(&encode(&message, &old)[5..9]);
    assert_eq!(decode(&forged, &old), Err(Rejected::BadMac));
}

#[test]
fn secrets_are_not_printed() {
    let text = format!("{:?}", Keys::new("edge", b"visible", Some(b"visible")));
    assert_eq!(text, "Keys { .. }");
}

#[test]
fn not_a_datagram() {
    let good = encode(&word(WordKind::Resigned), &keys());
    for length in 0..26 {
        assert_eq!(decode(&good[..length], &keys()), Err(Rejected::TooShort), "{length} bytes");
    }
    for length in 26..good.len() {
        assert_eq!(decode(&good[..length], &keys()), Err(Rejected::BadMac), "{length} bytes");
    }
    assert_eq!(decode(&[0; MAX_DATAGRAM], &keys()), Err(Rejected::BadMagic));
    assert_eq!(decode(&[0; MAX_DATAGRAM + 1], &keys()), Err(Rejected::TooLong));
    for (position, expected) in [
        (0, Rejected::BadMagic),
        (3, Rejected::BadMagic),
        (4, Rejected::UnknownVersion),
        (5, Rejected::ForeignCluster),
        (8, Rejected::ForeignCluster),
        (9, Rejected::BadMac),
        (good.len() - 1, Rejected::BadMac),
    ] {
        let mut bad = good.clone();
        bad[position] ^= 0x10;
        assert_eq!(decode(&bad, &keys()), Err(expected), "byte {position}");
    }
}

#[test]
fn every_single_bit_counts() {
    for message in [
        Message::Heartbeat(small()),
        Message::Heartbeat(large()),
        Message::Heartbeat(busy()),
        word(WordKind::Resigned),
        word(WordKind::Holding { at_most: Duration::from_millis(250) }),
        word(WordKind::LeaseEnds { within: Duration::from_secs(2) }),
        word(WordKind::Absent { at_most: Duration::from_secs(30) }),
        Message::Outline(part()),
    ] {
        let good = encode(&message, &keys());
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad, &keys()).is_err(), "bit {bit} of {message:?}");
        }
    }
}

/// Takes the kind and body out of a datagram.
fn unseal(datagram: &[u8]) -> (u8, Vec<u8>) {
    (datagram[9], datagram[10..datagram.len() - 16].to_vec())
}

#[test]
fn rightly_signed_and_malformed() {
    let (kind, body) = unseal(&encode(&Message::Heartbeat(large()), &keys()));
    assert_eq!(
        decode(&seal(kind, &body), &keys()),
        Ok(Message::Heartbeat(large())),
        "the test signs as the library does"
    );
    for (position, value, expected) in [
        (48, 3, Malformed::Health),
        // An errand where the states begin.
        (49, 0xbf, Malformed::Errand),
        // Without the flag of the echo, the states begin where the echo was.
        (49, 0x1e, Malformed::Trailing),
        (49, 0x1d, Malformed::Trailing),
        // index 1 of 1; 0 parts; group counts.
        (87, 1, Malformed::Part),
        (89, 0, Malformed::Part),
        (90, 1, Malformed::Groups),
        (91, 31, Malformed::Groups),
        (91, 30, Malformed::Truncated),
        (91, 1, Malformed::Trailing),
        (104, 4, Malformed::Role),
        (113, 0x3f, Malformed::Trailing),
    ] {
        let mut bad = body.clone();
        bad[position] = value;
        assert_eq!(
            decode(&seal(kind, &bad), &keys()),
            Err(Rejected::Malformed(expected)),
            "byte {position} = {value}"
        );
    }
    for length in 0..body.len() {
        let expected = Err(Rejected::Malformed(Malformed::Truncated));
        assert_eq!(decode(&seal(kind, &body[..length]), &keys()), expected, "{length} bytes");
    }
    let longer = [&body[..], &[0]].concat();
    assert_eq!(decode(&seal(kind, &longer), &keys()), Err(Rejected::Malformed(Malformed::Trailing)));
    for kind in [0, 4, 255] {
        assert_eq!(decode(&seal(kind, &body), &keys()), Err(Rejected::Malformed(Malformed::Kind)));
    }
}

#[test]
fn rightly_signed_and_malformed_words() {
    for message in [
        word(WordKind::Resigned),
        word(WordKind::LeaseEnds { within: Duration::from_secs(1) }),
        word(WordKind::Absent { at_most: Duration::from_secs(1) }),
    ] {
        let (kind, body) = unseal(&encode(&message, &keys()));
        assert_eq!(decode(&seal(kind, &body), &keys()), Ok(message));
        for length in 0..body.len() {
            let expected = Err(Rejected::Malformed(Malformed::Truncated));
            assert_eq!(decode(&seal(kind, &body[..length]), &keys()), expected, "{length} bytes");
        }
        let longer = [&body[..], &[0]].concat();
        assert_eq!(decode(&seal(kind, &longer), &keys()), Err(Rejected::Malformed(Malformed::Trailing)));
        for value in [0, 5, 255] {
            let mut bad = body.clone();
            bad[16] = value;
            assert_eq!(decode(&seal(kind, &bad), &keys()), Err(Rejected::Malformed(Malformed::Word)));
        }
    }
}

fn micros() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_micros)
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Active), Just(Role::Standby), Just(Role::Fault), Just(Role::Drained)]
}

fn any_mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac)
}

prop_compose! {
    fn group_state()(
        (group, version, role, term) in (any::<u64>(), any::<u32>(), role(), any::<u64>()),
        (mounted, claiming, proving, hitless, demoted) in any::<(bool, bool, bool, bool, bool)>(),
        heir in option::of(any::<u64>()),
        (mac, answered_by) in (option::of(any_mac()), option::of(any_mac())),
    ) -> GroupState {
        GroupState {
            group: GroupId(group), version, role, term, mounted, claiming, proving, hitless, demoted,
            heir: heir.map(NodeId), mac, answered_by,
        }
    }
}

prop_compose! {
    fn states()(
        base: u32,
        (index, count) in (1..=u16::MAX).prop_flat_map(|count| (0..count, Just(count))),
        groups in vec(group_state(), 0..=GROUPS_PER_DATAGRAM),
    ) -> States {
        States { base, index, count, groups }
    }
}

fn errand() -> impl Strategy<Value = Errand> {
    let order = prop_oneof![Just(Order::Drain), Just(Order::Undrain)];
    (any::<u32>(), order, option::of(any::<u64>())).prop_map(|(number, order, group)| Errand {
        number,
        order,
        group: group.map(GroupId),
    })
}

fn outcome() -> impl Strategy<Value = ErrandOutcome> {
    let progress = prop_oneof![Just(Progress::Working), Just(Progress::Done), Just(Progress::Refused)];
    (any::<u32>(), progress).prop_map(|(number, progress)| ErrandOutcome { number, progress })
}

prop_compose! {
    fn heartbeat()(
        (sender, receiver, incarnation, sequence) in any::<(u64, u64, u64, u64)>(),
        echo in option::of((any::<u64>(), any::<u64>(), micros())),
        (interval, config_digest) in (micros(), any::<u64>()),
        health in prop_oneof![Just(Health::Healthy), Just(Health::Fault), Just(Health::Drained)],
        (solicit, leaving, slow_side_alive, hears_slowly) in any::<(bool, bool, bool, bool)>(),
        (states_version, states_seen) in any::<(u32, u32)>(),
        states in option::of(states()),
        (errand, outcome) in (option::of(errand()), option::of(outcome())),
    ) -> Heartbeat {
        Heartbeat {
            sender: NodeId(sender), receiver: NodeId(receiver), incarnation, sequence,
            echo: echo.map(|(incarnation, sequence, age)| Echo { incarnation, sequence, age }),
            interval, config_digest, health, solicit, leaving, slow_side_alive, hears_slowly, states_version, states_seen, states,
            errand, outcome,
        }
    }
}

prop_compose! {
    fn outline()(
        (sender, receiver, incarnation, receiver_incarnation) in any::<(u64, u64, u64, u64)>(),
        config_digest: u64,
        (index, count) in (1..=OUTLINE_PARTS_MAX).prop_flat_map(|count| (0..count, Just(count))),
        settings in prop::collection::btree_map("[ -~]{1,40}", any::<u64>(), 0..20),
    ) -> OutlinePart {
        OutlinePart {
            sender: NodeId(sender), receiver: NodeId(receiver), incarnation, receiver_incarnation, config_digest,
            index, count, settings: settings.into_iter().map(|(path, hash)| Setting { path, hash }).collect(),
        }
    }
}

fn message() -> impl Strategy<Value = Message> {
    let kind = prop_oneof![
        micros().prop_map(|at_most| WordKind::Holding { at_most }),
        Just(WordKind::Resigned),
        micros().prop_map(|within| WordKind::LeaseEnds { within }),
        micros().prop_map(|at_most| WordKind::Absent { at_most }),
    ];
    prop_oneof![
        heartbeat().prop_map(Message::Heartbeat),
        outline().prop_map(Message::Outline),
        (any::<u64>(), any::<u64>(), kind).prop_map(|(sender, incarnation, kind)| {
            Message::Word(Word { sender: NodeId(sender), incarnation, kind })
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_said_is_heard(message in message()) {
        let bytes = encode(&message, &keys());
        prop_assert!(bytes.len() <= MAX_DATAGRAM);
        prop_assert_eq!(decode(&bytes, &keys()), Ok(message));
    }

    #[test]
    fn a_flipped_bit_is_rejected(message in message(), bit: prop::sample::Index) {
        let mut bytes = encode(&message, &keys());
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode(&bytes, &keys()).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..MAX_DATAGRAM + 2)) {
        prop_assert!(decode(&bytes, &keys()).is_err());
    }

    /// Whoever has the key may send anything: it is rejected, or it is the one encoding of what it says.
    #[test]
    fn decoding_is_injective(kind in 0u8..5, body in vec(any::<u8>(), 0..300)) {
        let datagram = seal(kind, &body);
        if let Ok(message) = decode(&datagram, &keys()) {
            prop_assert_eq!(encode(&message, &keys()), datagram);
        }
    }

    /// The same from close by: valid bodies with a few bytes changed, so that many still decode.
    #[test]
    fn decoding_is_injective_close_by(
        message in message(), spoils in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let (kind, mut body) = unseal(&encode(&message, &keys()));
        for (position, value) in spoils {
            let position = position.index(body.len());
            body[position] = value;
        }
        let datagram = seal(kind, &body);
        if let Ok(message) = decode(&datagram, &keys()) {
            prop_assert_eq!(encode(&message, &keys()), datagram);
        }
    }
}
