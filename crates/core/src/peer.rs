//! Another node as heard: is it alive, does it hear this node, what does it say of its groups.
//!
//! A datagram proves its sender alive when it belongs to the sender's present incarnation and is newer than all
//! before it. An incarnation becomes the present one by echoing this node's own incarnation and a sequence number
//! that was sent a moment ago; a recording cannot do that, and no clocks need to agree.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipdrift_wire::Mac;
use vipdrift_wire::heartbeat::{ErrandOutcome, GroupId, GroupState, Health, Heartbeat, NodeId, Role};

use crate::config::PathIndex;
use crate::differ::Differences;
use crate::round_trips::RoundTrips;
use crate::time::Timestamp;
use crate::tuning::{ANSWERED_LATELY, ECHO_PACE, ECHOES, ROUNDS, Tuning};

/// Own sequence numbers whose send times are remembered; the echo of an older one proves nothing.
const SENT_MAX: usize = 128;
/// What a peer may say that its interval is. The most is what a configuration may: one that has the key must not keep
/// its peers waiting for ever.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);
/// Incarnations remembered as over.
const RETIRED_MAX: usize = 8;

/// How a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Liveness {
    /// Never heard since start.
    Unknown,
    Alive,
    /// Silent for longer than jitter explains; asked every few milliseconds.
    Suspect {
        since: Timestamp,
        rounds: u32,
    },
    Silent {
        since: Timestamp,
        host_dead: bool,
    },
    /// It said that it leaves.
    Left,
}

/// Whether a machine's kernel answers, asked by ARP, Neighbor Solicitation or ICMP echo for its own address.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kernel {
    pub(crate) last_answer: Option<Timestamp>,
    pub(crate) mac: Option<Mac>,
    /// It has answered an ICMP echo.
    echo_answered: bool,
    /// ICMP echoes in vain, and when the last went out.
    echoes: u32,
    echo_asked: Option<Timestamp>,
    unanswered: u32,
    first_unanswered: Timestamp,
}

impl Kernel {
    pub(crate) fn asked(&mut self, now: Timestamp) {
        if self.unanswered == 0 {
            self.first_unanswered = now;
        }
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// The last question did not go out.
    pub(crate) fn unasked(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// It answers; true if it had left more than one question unanswered.
    pub(crate) fn answered(&mut self, now: Timestamp) -> bool {
        self.last_answer = Some(now);
        std::mem::take(&mut self.unanswered) > 1
    }

    /// It used to answer lately and has now been asked in vain often and long enough.
    pub(crate) fn dead(&self, now: Timestamp, patience: Duration) -> bool {
        self.silent(now, patience) && self.last_answer.is_some_and(|at| now.since(at) <= ANSWERED_LATELY)
    }

    /// Asked in vain often and long enough.
    pub(crate) fn silent(&self, now: Timestamp, patience: Duration) -> bool {
        self.unanswered >= ROUNDS && now.since(self.first_unanswered) >= patience
    }

    pub(crate) fn silence(&self) -> u32 {
        self.unanswered
    }

    /// It has answered the last question, or the one before: an answer may be under way.
    pub(crate) fn lives(&self) -> bool {
        self.last_answer.is_some() && self.unanswered <= 1
    }

    /// Whether an ICMP echo is to go out now; if so it counts as sent.
    pub(crate) fn ask_echo(&mut self, now: Timestamp) -> bool {
        let pause = self.echo_asked.map(|at| now.since(at));
        if pause.is_some_and(|pause| pause < ECHO_PACE) {
            return false;
        }
        // Questions of long ago say nothing of today.
        if pause.is_none_or(|pause| pause > Duration::from_secs(3)) {
            self.echoes = 0;
        }
        self.echo_asked = Some(now);
        self.echoes += 1;
        true
    }

    pub(crate) fn echo_answered(&mut self, now: Timestamp) {
        self.echoes = 0;
        self.echo_answered = true;
        self.answered(now);
    }

    /// It used to answer echoes; enough of them were in vain, and the last has been given its time. Where a firewall
    /// drops them, or always has, nothing is concluded.
    pub(crate) fn echo_dead(&self, now: Timestamp) -> bool {
        self.echo_answered
            && self.echoes >= ECHOES
            && self.echo_asked.is_some_and(|at| now.since(at) >= ECHO_PACE)
    }
}

/// A group as a peer last described it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Remote {
    pub(crate) state: GroupState,
    /// Since when it has been standby, not demoted, and sure of itself, without a break.
    pub(crate) standby_since: Option<Timestamp>,
}

/// Parts of a change of group states that came in several datagrams.
#[derive(Debug, Serialize, Deserialize)]
struct Collecting {
    version: u32,
    base: u32,
    parts: BTreeSet<u16>,
    groups: BTreeSet<GroupId>,
}

/// What became of a heartbeat.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It proves the sender alive. Group states that changed: before and after.
    Alive { returned: bool, restarted: bool, changes: Vec<(Option<GroupState>, GroupState)> },
    /// A copy over another path.
    Duplicate,
    /// Older than what was heard, or of an incarnation that is over.
    Stale,
    /// Authentic, of an unknown incarnation that has not yet proved itself fresh: answer it.
    Unproven,
}

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) id: NodeId,
    pub(crate) paths: Vec<PathIndex>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) liveness: Liveness,
    pub(crate) incarnation: Option<u64>,
    /// When that was first believed.
    incarnation_since: Timestamp,
    retired: VecDeque<u64>,
    last_sequence: u64,
    /// Datagrams before the last one were lost.
    pub(crate) missed: bool,
    pub(crate) last_heard: Option<Timestamp>,
    interval: Duration,
    jitter: Duration,
    pub(crate) rtt: Option<Duration>,
    #[serde(default)]
    pub(crate) round_trips: RoundTrips,
    /// The slowest lately: grows at once and shrinks slowly.
    #[serde(default)]
    pub(crate) slowest_rtt: Duration,
    pub(crate) hears_us: bool,
    /// Since when it is heard and does not hear this node.
    pub(crate) deaf_since: Option<Timestamp>,
    /// Incarnation and sequence to echo, and when they came.
    pub(crate) echo: Option<(u64, u64, Timestamp)>,
    next_sequence: u64,
    sent: VecDeque<(u64, Timestamp)>,
    pub(crate) unheard_solicits: u32,
    /// It is suspect, and its VIPs were to be asked for when this was last looked at.
    #[serde(default)]
    pub(crate) asked_for: bool,
    /// When the first of them went out.
    pub(crate) solicited: Option<Timestamp>,
    pub(crate) last_answer_sent: Option<Timestamp>,
    /// Its keeper holds its VIPs until then over the death of its brain.
    pub(crate) holding_until: Option<Timestamp>,
    /// Its daemon has made way for another one, which is to be there by then.
    pub(crate) absent_until: Option<Timestamp>,
    /// Incarnation whose "holding" or "absent" has been used up.
    pub(crate) held: Option<u64>,
    pub(crate) health: Option<Health>,
    pub(crate) config_digest: Option<u64>,
    /// How its configuration differs.
    pub(crate) differ: Differences,
    states_version: u32,
    /// Its version that this node has whole.
    pub(crate) states_seen: u32,
    collecting: Option<Collecting>,
    /// This node's version that the peer has whole.
    pub(crate) acknowledged: u32,
    /// Which part of what it lacks is sent next.
    pub(crate) next_part: usize,
    pub(crate) groups: BTreeMap<GroupId, Remote>,
    /// MAC addresses that it has on the interfaces of its groups.
    pub(crate) macs: BTreeSet<Mac>,
    pub(crate) kernel: Kernel,
    /// It needs longer to notice that it is cut off.
    #[serde(default)]
    pub(crate) hears_slowly: bool,
    /// When it was last said that its datagrams are signed with another key, or for another cluster.
    pub(crate) strange_noted: Option<Timestamp>,
    /// Its errand for this node that was last taken, until it knows what became of it.
    pub(crate) errand: Option<ErrandOutcome>,
}

impl Peer {
    pub(crate) fn new(name: String, id: NodeId, interval: Duration) -> Self {
        Self {
            name,
            id,
            paths: Vec::new(),
            addresses: Vec::new(),
            liveness: Liveness::Unknown,
            incarnation: None,
            incarnation_since: Timestamp::ZERO,
            retired: VecDeque::new(),
            last_sequence: 0,
            missed: false,
            last_heard: None,
            interval,
            jitter: Duration::ZERO,
            rtt: None,
            round_trips: RoundTrips::default(),
            slowest_rtt: Duration::ZERO,
            hears_us: false,
            deaf_since: None,
            echo: None,
            next_sequence: 1,
            sent: VecDeque::new(),
            unheard_solicits: 0,
            asked_for: false,
            solicited: None,
            last_answer_sent: None,
            holding_until: None,
            absent_until: None,
            held: None,
            health: None,
            config_digest: None,
            differ: Differences::default(),
            states_version: 0,
            states_seen: 0,
            collecting: None,
            acknowledged: 0,
            next_part: 0,
            groups: BTreeMap::new(),
            macs: BTreeSet::new(),
            kernel: Kernel::default(),
            hears_slowly: false,
            strange_noted: None,
            errand: None,
        }
    }

    /// Heard lately, or held up by its keeper.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.liveness, Liveness::Alive | Liveness::Suspect { .. })
    }

    pub(crate) fn is_suspect(&self) -> bool {
        matches!(self.liveness, Liveness::Suspect { .. })
    }

    pub(crate) fn heard_since(&self, since: Timestamp) -> bool {
        self.last_heard.is_some_and(|at| at >= since)
    }

    /// Everything it has said of its groups is known.
    pub(crate) fn states_known(&self) -> bool {
        self.states_seen != 0 && self.states_seen == self.states_version
    }

    pub(crate) fn remote(&self, group: GroupId) -> Option<&GroupState> {
        self.groups.get(&group).map(|remote| &remote.state)
    }

    /// How often it sends a heartbeat.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Silence after which it is suspect: 1.1 to 1.5 intervals, as jitter seen lately demands.
    pub(crate) fn suspect_after(&self) -> Duration {
        self.interval + (self.jitter * 4).clamp(self.interval / 10, self.interval / 2)
    }

    /// Silence after which it is dead whatever its kernel says.
    pub(crate) fn dead_after(&self, misses: u32) -> Duration {
        self.interval * misses
    }

    /// Takes the sequence number of a datagram about to be sent.
    pub(crate) fn take_sequence(&mut self, now: Timestamp) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((sequence, now));
        sequence
    }

    fn sent_at(&self, sequence: u64) -> Option<Timestamp> {
        let (first, _) = self.sent.front()?;
        let offset = usize::try_from(sequence.checked_sub(*first)?).ok()?;
        self.sent.get(offset).map(|&(_, at)| at)
    }

    /// Takes in an authentic heartbeat from this peer to this node.
    pub(crate) fn hear(
        &mut self,
        heartbeat: &Heartbeat,
        own_incarnation: u64,
        now: Timestamp,
        tuning: &Tuning,
    ) -> Heard {
        let echoed = heartbeat
            .echo
            .filter(|echo| echo.incarnation == own_incarnation)
            .and_then(|echo| self.sent_at(echo.sequence).map(|at| (at, echo.age)));
        let fresh = echoed.is_some_and(|(at, _)| now.since(at) <= tuning.dead * 2);

        let known = self.incarnation == Some(heartbeat.incarnation);
        if known {
            if heartbeat.sequence == self.last_sequence {
                return Heard::Duplicate;
            }
            if heartbeat.sequence < self.last_sequence {
                return Heard::Stale;
            }
        } else {
            if self.retired.contains(&heartbeat.incarnation) {
                return Heard::Stale;
            }
            // A datagram of an earlier life that was held up may echo what was sent a moment ago, but nothing that was sent
            // since the present life is known.
            let later = echoed.is_some_and(|(at, _)| at >= self.incarnation_since);
            if !fresh || !later {
                return Heard::Unproven;
            }
            self.begin_incarnation(heartbeat.incarnation, now);
        }

        let returned = !matches!(self.liveness, Liveness::Alive);
        if known && !returned {
            self.note_gap(now);
        }
        self.missed = heartbeat.sequence != self.last_sequence + 1;
        self.last_sequence = heartbeat.sequence;
        self.last_heard = Some(now);
        self.interval = heartbeat.interval.clamp(*INTERVALS.start(), *INTERVALS.end());
        self.hears_slowly = heartbeat.hears_slowly;
        self.liveness = if heartbeat.leaving { Liveness::Left } else { Liveness::Alive };
        self.hears_us = fresh;
        self.deaf_since = if fresh { None } else { self.deaf_since.filter(|_| !returned).or(Some(now)) };
        if let Some((at, age)) = echoed {
            let rtt = now.since(at).saturating_sub(age);
            self.rtt = Some(rtt);
            self.round_trips.add(rtt);
            self.slowest_rtt = rtt.max(self.slowest_rtt - self.slowest_rtt / 16);
        }
        self.echo = Some((heartbeat.incarnation, heartbeat.sequence, now));
        self.unheard_solicits = 0;
        self.solicited = None;
        self.holding_until = None;
        self.health = Some(heartbeat.health);
        self.config_digest = Some(heartbeat.config_digest);
        if fresh {
            self.acknowledged = heartbeat.states_seen;
        }
        let changes = self.take_states(heartbeat, now);
        Heard::Alive { returned, restarted: !known, changes }
    }

    fn begin_incarnation(&mut self, incarnation: u64, now: Timestamp) {
        self.incarnation_since = now;
        if let Some(old) = self.incarnation.replace(incarnation) {
            if self.retired.len() == RETIRED_MAX {
                self.retired.pop_front();
            }
            self.retired.push_back(old);
        }
        self.last_sequence = 0;
        self.jitter = Duration::ZERO;
        self.slowest_rtt = Duration::ZERO;
        self.states_version = 0;
        self.states_seen = 0;
        self.acknowledged = 0;
        self.collecting = None;
        self.errand = None;
    }

    /// Keeps a running estimate of how much later than its interval it is heard.
    fn note_gap(&mut self, now: Timestamp) {
        if let Some(last) = self.last_heard {
            let late = now.since(last).saturating_sub(self.interval);
            self.jitter = (self.jitter * 7 + late) / 8;
        }
    }

    fn take_states(
        &mut self,
        heartbeat: &Heartbeat,
        now: Timestamp,
    ) -> Vec<(Option<GroupState>, GroupState)> {
        self.states_version = heartbeat.states_version;
        let Some(states) = &heartbeat.states else { return Vec::new() };
        if states.base > self.states_seen {
            return Vec::new();
        }
        let version = heartbeat.states_version;
        if self.collecting.as_ref().is_none_or(|c| c.version != version || c.base != states.base) {
            self.collecting = Some(Collecting {
                version,
                base: states.base,
                parts: BTreeSet::new(),
                groups: BTreeSet::new(),
            });
        }
        let mut changes = Vec::new();
        if let Some(mut collecting) = self.collecting.take() {
            collecting.parts.insert(states.index);
            collecting.groups.extend(states.groups.iter().map(|state| state.group));
            if collecting.parts.len() == usize::from(states.count) {
                self.states_seen = version;
                if collecting.base == 0 {
                    // These are all there are. Groups of an earlier life that it no longer has are held no more.
                    self.groups.retain(|id, remote| {
                        let kept = collecting.groups.contains(id);
                        if !kept {
                            changes.push((Some(remote.state), let_go(remote.state)));
                        }
                        kept
                    });
                }
            } else {
                self.collecting = Some(collecting);
            }
        }
        for state in &states.groups {
            let old = self.groups.get(&state.group);
            let healthy = state.role == Role::Standby && !state.demoted && !state.proving;
            let standby_since = healthy.then(|| old.and_then(|old| old.standby_since).unwrap_or(now));
            // Within an incarnation versions only grow; after a restart they begin anew with everything unseen.
            if old.is_some_and(|old| old.state == *state && old.standby_since == standby_since) {
                continue;
            }
            let before = old.map(|old| old.state);
            self.groups.insert(state.group, Remote { state: *state, standby_since });
            changes.push((before, *state));
        }
        changes
    }
}

/// Holds the VIPs, or is mounting them. An operator's wish passed on is marked as claiming too, but names an heir.
pub(crate) fn is_holding(state: &GroupState) -> bool {
    state.mounted || (state.claiming && state.heir.is_none())
}

/// The state of a group on a node that has nothing to do with it any more.
pub(crate) fn let_go(state: GroupState) -> GroupState {
    GroupState {
        role: Role::Standby,
        mounted: false,
        claiming: false,
        proving: false,
        hitless: false,
        heir: None,
        ..state
    }
}
