//! Messages to bytes and back.

use std::time::Duration;

use super::keys::{CODE_LEN, TAG_LEN, Veil};
use super::{
    Echo, Errand, ErrandOutcome, GROUPS_PER_DATAGRAM, GroupId, GroupState, Health, Heartbeat, Keys,
    MAX_DATAGRAM, Malformed, Message, NodeId, OUTLINE_PARTS_MAX, Order, OutlinePart, PATH_MAX, Progress,
    Rejected, Role, Setting, States, Word, WordKind,
};
use crate::Mac;
use crate::read::Reader;

const MAGIC: [u8; 4] = *b"vipd";
const VERSION: u8 = 1;
const KIND_HEARTBEAT: u8 = 1;
const KIND_WORD: u8 = 2;
const KIND_OUTLINE: u8 = 3;
/// Magic, version and cluster tag.
const PREFIX_LEN: usize = MAGIC.len() + 1 + TAG_LEN;
const ECHO_LEN: usize = 24;
const STATES_HEAD_LEN: usize = 10;
const ERRAND_MAX: usize = 4 + 1 + 8;
const OUTCOME_LEN: usize = 4 + 1;
/// A heartbeat with everything but groups, with kind and authentication code.
pub(super) const HEARTBEAT_MAX: usize =
    PREFIX_LEN + 1 + 58 + ECHO_LEN + ERRAND_MAX + OUTCOME_LEN + STATES_HEAD_LEN + CODE_LEN;
/// A part of an outline up to its first setting, without kind.
const OUTLINE_HEAD_LEN: usize = 46;
/// What is left for settings in a part of an outline.
pub(super) const OUTLINE_ROOM: usize = MAX_DATAGRAM - PREFIX_LEN - 1 - OUTLINE_HEAD_LEN - CODE_LEN;
/// What a setting takes besides its path.
pub(super) const SETTING_LEN: usize = 9;
/// A group state with everything.
pub(super) const GROUP_MAX: usize = 22 + 8 + 6 + 6;

const ECHO: u8 = 0x01;
const STATES: u8 = 0x02;
const SOLICIT: u8 = 0x04;
const LEAVING: u8 = 0x08;
const SLOW_SIDE_ALIVE: u8 = 0x10;
const ERRAND: u8 = 0x20;
const OUTCOME: u8 = 0x40;
const HEARS_SLOWLY: u8 = 0x80;
const HEARTBEAT_FLAGS: u8 =
    ECHO | STATES | SOLICIT | LEAVING | SLOW_SIDE_ALIVE | ERRAND | OUTCOME | HEARS_SLOWLY;

const MOUNTED: u8 = 0x01;
const CLAIMING: u8 = 0x02;
const PROVING: u8 = 0x04;
const HITLESS: u8 = 0x08;
const HEIR: u8 = 0x10;
const OWN_MAC: u8 = 0x20;
const ANSWERED_BY: u8 = 0x40;
const DEMOTED: u8 = 0x80;
const GROUP_FLAGS: u8 = MOUNTED | CLAIMING | PROVING | HITLESS | HEIR | OWN_MAC | ANSWERED_BY | DEMOTED;

/// The signed datagram that says `message`, never longer than [`MAX_DATAGRAM`].
///
/// # Panics
///
/// When `message` breaks a limit of [`States`] or [`OutlinePart`] (too much in a part, an index that is not below the
/// count): no receiver would take it.
#[must_use]
pub fn encode(message: &Message, keys: &Keys) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEARTBEAT_MAX);
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    out.extend_from_slice(&keys.tag());
    match message {
        Message::Heartbeat(heartbeat) => {
            out.push(KIND_HEARTBEAT);
            put_heartbeat(&mut out, heartbeat);
        }
        Message::Word(word) => {
            out.push(KIND_WORD);
            put_word(&mut out, word);
        }
        Message::Outline(part) => {
            out.push(KIND_OUTLINE);
            put_outline(&mut out, part, keys.veil());
            assert!(out.len() + CODE_LEN <= MAX_DATAGRAM, "{} settings in one datagram", part.settings.len());
        }
    }
    let code = keys.sign(&out);
    out.extend_from_slice(&code);
    out
}

/// Reads a datagram.
///
/// # Errors
///
/// Why it is not to be believed or understood.
pub fn decode(bytes: &[u8], keys: &Keys) -> Result<Message, Rejected> {
    let (signed, veil) = authentic(bytes, keys)?;
    let mut reader = Reader(signed.get(PREFIX_LEN..).unwrap_or_default());
    body(&mut reader, veil).map_err(Rejected::Malformed)
}

/// Gives a datagram that is authentic by the keys `from` the code that it would have by `to`, in place: those who have
/// `to` alone then accept it, or find the same wrong with it. Every other datagram stays as it is. Answers whether it was
/// authentic.
///
/// Keys of the same cluster name are meant; a datagram says in the clear which cluster it is for.
pub fn resign(bytes: &mut [u8], from: &Keys, to: &Keys) -> bool {
    if authentic(bytes, from).is_err() {
        return false;
    }
    if let Ok(message @ Message::Outline(_)) = decode(bytes, from) {
        // What is hidden in it has to be hidden anew.
        bytes.copy_from_slice(&encode(&message, to));
        return true;
    }
    if let Some((signed, code)) = bytes.split_last_chunk_mut::<CODE_LEN>() {
        *code = to.sign(signed);
    }
    true
}

/// What does not depend on the key, for comparing what two keys have signed: the datagram without its authentication code,
/// a part of an outline without its settings too. Nothing is verified.
#[must_use]
pub fn without_code(bytes: &[u8]) -> &[u8] {
    let signed = bytes.split_last_chunk::<CODE_LEN>().map_or(bytes, |(signed, _)| signed);
    if signed.get(PREFIX_LEN) == Some(&KIND_OUTLINE) {
        return signed.get(..PREFIX_LEN + 1 + OUTLINE_HEAD_LEN).unwrap_or(signed);
    }
    signed
}

/// What is signed, and the key that it is signed with, if it is.
fn authentic<'b, 'k>(bytes: &'b [u8], keys: &'k Keys) -> Result<(&'b [u8], Veil<'k>), Rejected> {
    if bytes.len() > MAX_DATAGRAM {
        return Err(Rejected::TooLong);
    }
    let (signed, code) = bytes.split_last_chunk::<CODE_LEN>().ok_or(Rejected::TooShort)?;
    // Every message has a kind, so that one byte more than the prefix is the least.
    if signed.len() <= PREFIX_LEN {
        return Err(Rejected::TooShort);
    }
    let mut reader = Reader(signed);
    if reader.array() != Some(MAGIC) {
        return Err(Rejected::BadMagic);
    }
    if reader.u8() != Some(VERSION) {
        return Err(Rejected::UnknownVersion);
    }
    if reader.array() != Some(keys.tag()) {
        return Err(Rejected::ForeignCluster);
    }
    let veil = keys.verify(signed, code).ok_or(Rejected::BadMac)?;
    Ok((signed, veil))
}

fn body(reader: &mut Reader<'_>, veil: Veil<'_>) -> Result<Message, Malformed> {
    let message = match need(reader.u8())? {
        KIND_HEARTBEAT => Message::Heartbeat(take_heartbeat(reader)?),
        KIND_WORD => Message::Word(take_word(reader)?),
        KIND_OUTLINE => Message::Outline(take_outline(reader, veil)?),
        _ => return Err(Malformed::Kind),
    };
    if reader.0.is_empty() { Ok(message) } else { Err(Malformed::Trailing) }
}

fn put_heartbeat(out: &mut Vec<u8>, heartbeat: &Heartbeat) {
    put_u64(out, heartbeat.sender.0);
    put_u64(out, heartbeat.receiver.0);
    put_u64(out, heartbeat.incarnation);
    put_u64(out, heartbeat.sequence);
    put_duration(out, heartbeat.interval);
    put_u64(out, heartbeat.config_digest);
    out.push(match heartbeat.health {
        Health::Healthy => 0,
        Health::Fault => 1,
        Health::Drained => 2,
    });
    out.push(
        flag(ECHO, heartbeat.echo.is_some())
            | flag(STATES, heartbeat.states.is_some())
            | flag(SOLICIT, heartbeat.solicit)
            | flag(LEAVING, heartbeat.leaving)
            | flag(SLOW_SIDE_ALIVE, heartbeat.slow_side_alive)
            | flag(HEARS_SLOWLY, heartbeat.hears_slowly)
            | flag(ERRAND, heartbeat.errand.is_some())
            | flag(OUTCOME, heartbeat.outcome.is_some()),
    );
    put_u32(out, heartbeat.states_version);
    put_u32(out, heartbeat.states_seen);
    if let Some(echo) = &heartbeat.echo {
        put_u64(out, echo.incarnation);
        put_u64(out, echo.sequence);
        put_duration(out, echo.age);
    }
    if let Some(errand) = &heartbeat.errand {
        put_u32(out, errand.number);
        out.push(match (errand.order, errand.group) {
            (Order::Drain, None) => 1,
            (Order::Undrain, None) => 2,
            (Order::Drain, Some(_)) => 3,
            (Order::Undrain, Some(_)) => 4,
        });
        if let Some(group) = errand.group {
            put_u64(out, group.0);
        }
    }
    if let Some(outcome) = &heartbeat.outcome {
        put_u32(out, outcome.number);
        out.push(match outcome.progress {
            Progress::Working => 0,
            Progress::Done => 1,
            Progress::Refused => 2,
        });
    }
    if let Some(states) = &heartbeat.states {
        put_states(out, states);
    }
}

fn take_errand(reader: &mut Reader<'_>) -> Result<Errand, Malformed> {
    let number = need(reader.u32())?;
    let (order, of_group) = match need(reader.u8())? {
        1 => (Order::Drain, false),
        2 => (Order::Undrain, false),
        3 => (Order::Drain, true),
        4 => (Order::Undrain, true),
        _ => return Err(Malformed::Errand),
    };
    let group = when(of_group, || need(reader.u64()).map(GroupId))?;
    Ok(Errand { number, order, group })
}

fn take_outcome(reader: &mut Reader<'_>) -> Result<ErrandOutcome, Malformed> {
    let number = need(reader.u32())?;
    let progress = match need(reader.u8())? {
        0 => Progress::Working,
        1 => Progress::Done,
        2 => Progress::Refused,
        _ => return Err(Malformed::Errand),
    };
    Ok(ErrandOutcome { number, progress })
}

fn take_heartbeat(reader: &mut Reader<'_>) -> Result<Heartbeat, Malformed> {
    let sender = NodeId(need(reader.u64())?);
    let receiver = NodeId(need(reader.u64())?);
    let incarnation = need(reader.u64())?;
    let sequence = need(reader.u64())?;
    let interval = take_duration(reader)?;
    let config_digest = need(reader.u64())?;
    let health = match need(reader.u8())? {
        0 => Health::Healthy,
        1 => Health::Fault,
        2 => Health::Drained,
        _ => return Err(Malformed::Health),
    };
    let flags = take_flags(reader, HEARTBEAT_FLAGS)?;
    let states_version = need(reader.u32())?;
    let states_seen = need(reader.u32())?;
    let echo = when(flags & ECHO != 0, || {
        Ok(Echo {
            incarnation: need(reader.u64())?,
            sequence: need(reader.u64())?,
            age: take_duration(reader)?,
        })
    })?;
    let errand = when(flags & ERRAND != 0, || take_errand(reader))?;
    let outcome = when(flags & OUTCOME != 0, || take_outcome(reader))?;
    let states = when(flags & STATES != 0, || take_states(reader))?;
    Ok(Heartbeat {
        sender,
        receiver,
        incarnation,
        sequence,
        echo,
        interval,
        config_digest,
        health,
        solicit: flags & SOLICIT != 0,
        leaving: flags & LEAVING != 0,
        slow_side_alive: flags & SLOW_SIDE_ALIVE != 0,
        hears_slowly: flags & HEARS_SLOWLY != 0,
        states_version,
        states_seen,
        states,
        errand,
        outcome,
    })
}

fn put_states(out: &mut Vec<u8>, states: &States) {
    assert!(states.groups.len() <= GROUPS_PER_DATAGRAM, "{} groups in one datagram", states.groups.len());
    assert!(states.index < states.count, "part {} of {}", states.index, states.count);
    put_u32(out, states.base);
    put_u16(out, states.index);
    put_u16(out, states.count);
    put_u16(out, u16::try_from(states.groups.len()).expect("checked above"));
    for group in &states.groups {
        put_u64(out, group.group.0);
        put_u32(out, group.version);
        out.push(match group.role {
            Role::Active => 0,
            Role::Standby => 1,
            Role::Fault => 2,
            Role::Drained => 3,
        });
        put_u64(out, group.term);
        out.push(
            flag(MOUNTED, group.mounted)
                | flag(CLAIMING, group.claiming)
                | flag(PROVING, group.proving)
                | flag(HITLESS, group.hitless)
                | flag(DEMOTED, group.demoted)
                | flag(HEIR, group.heir.is_some())
                | flag(OWN_MAC, group.mac.is_some())
                | flag(ANSWERED_BY, group.answered_by.is_some()),
        );
        if let Some(heir) = group.heir {
            put_u64(out, heir.0);
        }
        for mac in [group.mac, group.answered_by].into_iter().flatten() {
            out.extend_from_slice(&mac.0);
        }
    }
}

fn take_states(reader: &mut Reader<'_>) -> Result<States, Malformed> {
    let base = need(reader.u32())?;
    let index = need(reader.u16())?;
    let count = need(reader.u16())?;
    if index >= count {
        return Err(Malformed::Part);
    }
    let length = usize::from(need(reader.u16())?);
    if length > GROUPS_PER_DATAGRAM {
        return Err(Malformed::Groups);
    }
    let groups = (0..length).map(|_| take_group(reader)).collect::<Result<_, _>>()?;
    Ok(States { base, index, count, groups })
}

fn take_group(reader: &mut Reader<'_>) -> Result<GroupState, Malformed> {
    let group = GroupId(need(reader.u64())?);
    let version = need(reader.u32())?;
    let role = match need(reader.u8())? {
        0 => Role::Active,
        1 => Role::Standby,
        2 => Role::Fault,
        3 => Role::Drained,
        _ => return Err(Malformed::Role),
    };
    let term = need(reader.u64())?;
    let flags = take_flags(reader, GROUP_FLAGS)?;
    Ok(GroupState {
        group,
        version,
        role,
        term,
        mounted: flags & MOUNTED != 0,
        claiming: flags & CLAIMING != 0,
        proving: flags & PROVING != 0,
        hitless: flags & HITLESS != 0,
        demoted: flags & DEMOTED != 0,
        heir: when(flags & HEIR != 0, || need(reader.u64()).map(NodeId))?,
        mac: when(flags & OWN_MAC != 0, || need(reader.array()).map(Mac))?,
        answered_by: when(flags & ANSWERED_BY != 0, || need(reader.array()).map(Mac))?,
    })
}

fn put_word(out: &mut Vec<u8>, word: &Word) {
    put_u64(out, word.sender.0);
    put_u64(out, word.incarnation);
    match word.kind {
        WordKind::Holding { at_most } => {
            out.push(1);
            put_duration(out, at_most);
        }
        WordKind::Resigned => out.push(2),
        WordKind::LeaseEnds { within } => {
            out.push(3);
            put_duration(out, within);
        }
        WordKind::Absent { at_most } => {
            out.push(4);
            put_duration(out, at_most);
        }
    }
}

fn take_word(reader: &mut Reader<'_>) -> Result<Word, Malformed> {
    let sender = NodeId(need(reader.u64())?);
    let incarnation = need(reader.u64())?;
    let kind = match need(reader.u8())? {
        1 => WordKind::Holding { at_most: take_duration(reader)? },
        2 => WordKind::Resigned,
        3 => WordKind::LeaseEnds { within: take_duration(reader)? },
        4 => WordKind::Absent { at_most: take_duration(reader)? },
        _ => return Err(Malformed::Word),
    };
    Ok(Word { sender, incarnation, kind })
}

fn put_outline(out: &mut Vec<u8>, part: &OutlinePart, veil: Veil<'_>) {
    let OutlinePart { index, count, settings, .. } = part;
    assert!(index < count && *count <= OUTLINE_PARTS_MAX, "part {index} of {count}");
    assert!(settings.is_sorted_by(|one, next| one.path < next.path), "settings in order, each once");
    put_u64(out, part.sender.0);
    put_u64(out, part.receiver.0);
    put_u64(out, part.incarnation);
    put_u64(out, part.receiver_incarnation);
    put_u64(out, part.config_digest);
    put_u16(out, *index);
    put_u16(out, *count);
    put_u16(out, u16::try_from(settings.len()).expect("as many as fit a datagram"));
    for Setting { path, hash } in settings {
        assert!(is_path(path.as_bytes()), "a path of printable ASCII: {path:?}");
        out.push(u8::try_from(path.len()).expect("checked above"));
        out.extend_from_slice(path.as_bytes());
        put_u64(out, veil.over(*hash, part.sender, part.incarnation, path));
    }
}

fn take_outline(reader: &mut Reader<'_>, veil: Veil<'_>) -> Result<OutlinePart, Malformed> {
    let sender = NodeId(need(reader.u64())?);
    let receiver = NodeId(need(reader.u64())?);
    let incarnation = need(reader.u64())?;
    let receiver_incarnation = need(reader.u64())?;
    let config_digest = need(reader.u64())?;
    let index = need(reader.u16())?;
    let count = need(reader.u16())?;
    if index >= count || count > OUTLINE_PARTS_MAX {
        return Err(Malformed::Part);
    }
    let mut settings: Vec<Setting> = Vec::new();
    for _ in 0..need(reader.u16())? {
        let length = usize::from(need(reader.u8())?);
        let path = need(reader.slice(length))?;
        if !is_path(path) {
            return Err(Malformed::Path);
        }
        let path = String::from_utf8_lossy(path).into_owned();
        if settings.last().is_some_and(|last| last.path >= path) {
            return Err(Malformed::Order);
        }
        let hash = veil.over(need(reader.u64())?, sender, incarnation, &path);
        settings.push(Setting { path, hash });
    }
    Ok(OutlinePart {
        sender,
        receiver,
        incarnation,
        receiver_incarnation,
        config_digest,
        index,
        count,
        settings,
    })
}

/// Paths are shown to people and written into logs.
fn is_path(bytes: &[u8]) -> bool {
    (1..=PATH_MAX).contains(&bytes.len()) && bytes.iter().all(|byte| (b' '..=b'~').contains(byte))
}

fn need<T>(field: Option<T>) -> Result<T, Malformed> {
    field.ok_or(Malformed::Truncated)
}

fn when<T>(present: bool, take: impl FnOnce() -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
    if present { take().map(Some) } else { Ok(None) }
}

fn take_flags(reader: &mut Reader<'_>, known: u8) -> Result<u8, Malformed> {
    let flags = need(reader.u8())?;
    if flags & !known == 0 { Ok(flags) } else { Err(Malformed::Flags) }
}

fn take_duration(reader: &mut Reader<'_>) -> Result<Duration, Malformed> {
    need(reader.u64()).map(Duration::from_micros)
}

fn flag(bit: u8, set: bool) -> u8 {
    if set { bit } else { 0 }
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_duration(out: &mut Vec<u8>, value: Duration) {
    put_u64(out, u64::try_from(value.as_micros()).unwrap_or(u64::MAX));
}
