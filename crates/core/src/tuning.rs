//! Times that the configuration does not name, derived from those that it does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::NodeConfig;

/// Unanswered rounds of questions after which silence is taken for an answer.
pub(crate) const ROUNDS: u32 = 3;
/// A kernel counts as known to answer if it has done so within this time.
pub(crate) const ANSWERED_LATELY: Duration = Duration::from_secs(60);
/// A peer that hears slowly and is cut off has let go after this, counted from the moment that it misses a heartbeat.
pub(crate) const SLOW_LOSS: Duration = Duration::from_millis(150);
/// Routine questions to peers' kernels and references go out this often.
pub(crate) const ROUTINE: Duration = Duration::from_secs(5);
/// And this often to the kernels of peers that are not heard.
pub(crate) const ROUTINE_SILENT: Duration = Duration::from_secs(1);
/// References kept per interface.
pub(crate) const REFERENCES_MAX: usize = 8;
/// Offsets of the announcements of a new reign, after the first.
pub(crate) const ANNOUNCE_AGAIN: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(5)];
/// Announcements for as long as the reign lasts.
pub(crate) const ANNOUNCE_SLOWLY: Duration = Duration::from_secs(60);
/// Where no more VIPs than this are configured, every node that may take them asks for all of a suspect's as soon as it is one.
pub(crate) const ASK_AT_ONCE: usize = 16;
/// Up to this many VIPs of a group are asked for in every round.
pub(crate) const ASK_ALL: usize = 32;
/// How long a holder keeps the VIPs after a hitless heir serves, for answers that are still on their way.
pub(crate) const HITLESS_GRACE: Duration = Duration::from_millis(20);
/// VIPs announced in one go; small switches and neighbour tables keep up with this.
pub(crate) const ANNOUNCE_BATCH: usize = 64;
/// Pause between two such batches.
pub(crate) const ANNOUNCE_PACE: Duration = Duration::from_millis(2);
/// The second correction of somebody else's claim follows the first after this, the others ever more slowly.
pub(crate) const DEFEND_FIRST: Duration = Duration::from_millis(5);
/// After this long without one, corrections begin anew.
pub(crate) const DEFEND_CALM: Duration = Duration::from_secs(5);
/// A correction of somebody else's claim that goes on is not repeated sooner.
pub(crate) const DEFEND_PACE: Duration = Duration::from_millis(200);
/// When a standby looks who answers for the VIPs of a new reign.
pub(crate) const VERIFY_AFTER: Duration = Duration::from_millis(20);
/// And looks again while the answer is wrong.
pub(crate) const VERIFY_AGAIN: Duration = Duration::from_millis(300);
/// A preferred node that claims a VIP and is not heard has this long to say a word before it is yielded to.
pub(crate) const YIELD_GRACE: Duration = Duration::from_millis(30);
/// Whoever was yielded to, unheard, has the VIPs for this long after it was last seen to claim one: it answers questions,
/// and announces them every [`ROUTINE`] while it does not hear this node either.
pub(crate) const YIELD: Duration = Duration::from_secs(6);
/// What was seen is told after this, with whatever else has been seen by then.
pub(crate) const REPORT: Duration = Duration::from_millis(5);
/// What is known of checks is handed to the keeper after this, with whatever else has changed by then: a next brain that does not
/// know the last of it hears it within milliseconds.
pub(crate) const REMEMBER: Duration = Duration::from_millis(100);
/// Looks at most this often per reign.
pub(crate) const VERIFY_MAX: u32 = 20;
/// An answer for a VIP is news for this long.
pub(crate) const OCCUPIED_NEWS: Duration = Duration::from_secs(2);
/// A planned switchover that has not come to its end by then has failed.
pub(crate) const SWITCHOVER_LIMIT: Duration = Duration::from_secs(3);
/// A node whose datagrams are signed with another key is named no more often.
pub(crate) const STRANGE_PACE: Duration = Duration::from_secs(600);
/// Another node has this long to do what it was asked to, before whoever asked is told that it has not.
pub(crate) const ERRAND_LIMIT: Duration = Duration::from_secs(10);
/// Group states not yet acknowledged are sent again after this, a few times, then with each heartbeat.
pub(crate) const RESEND: Duration = Duration::from_millis(3);
/// A holder's interface may be without an address in the VIPs' subnet for so long: programs that manage addresses take them
/// off and put them on again.
pub(crate) const SUBNET_GRACE: Duration = Duration::from_millis(200);
/// Times that they are sent again so soon.
pub(crate) const RESEND_MAX: u32 = 4;
/// First pause before a failed mount is tried again; doubled each time.
pub(crate) const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest such pause.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(30);
/// A node that could not mount what was handed back to it is not offered it again for this long; doubled each time.
pub(crate) const FAILBACK_AGAIN: Duration = Duration::from_secs(5);
/// Longest such pause.
pub(crate) const FAILBACK_AGAIN_MAX: Duration = Duration::from_secs(3600);
/// ICMP echoes in vain after which a machine is dead whose MAC still answers for a VIP.
pub(crate) const ECHOES: u32 = 10;
/// Pause between two of them.
pub(crate) const ECHO_PACE: Duration = Duration::from_millis(50);
/// A line that says who has a VIP is not followed by another sooner.
pub(crate) const NOTE_PACE: Duration = Duration::from_secs(1);
/// Rounds of questions about VIPs after the first three, which go on for as long as a silent holder's lease, are no closer together.
pub(crate) const LATER_ROUNDS: Duration = Duration::from_millis(2);
/// Later rounds of questions about VIPs, of all groups together, are this far apart.
pub(crate) const ASK_PACE: Duration = Duration::from_micros(50);
/// Where there are very many VIPs, changes that follow one another are told to keeper and peers together, this far apart: what is
/// told is about all of them each time.
pub(crate) const TOGETHER: Duration = Duration::from_millis(2);
/// A group counts as let go a moment ago for this long.
pub(crate) const RELEASE_NEWS: Duration = Duration::from_secs(1);
/// Parts of an outline follow each other like this.
pub(crate) const OUTLINE_PACE: Duration = Duration::from_millis(20);
/// And all of them are told again after this, while the configurations differ.
pub(crate) const OUTLINE_AGAIN: Duration = Duration::from_secs(5);
/// Gratis answers to solicited heartbeats per peer are this far apart.
pub(crate) const ANSWER_PACE: Duration = Duration::from_micros(300);

/// A planned move of a group has come to its end by then, or has failed. `gate` is the group's.
#[must_use]
pub fn move_limit(gate: Option<Duration>) -> Duration {
    SWITCHOVER_LIMIT + gate.unwrap_or_default()
}

/// How often a brain with this heartbeat interval proves to its keeper that it is alive.
#[must_use]
pub fn beat_interval(heartbeat: Duration) -> Duration {
    heartbeat.clamp(Duration::from_millis(30), Duration::from_millis(50))
}

/// Derived times of a node.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Tuning {
    /// H.
    pub(crate) heartbeat: Duration,
    /// Dead time.
    pub(crate) dead: Duration,
    /// Pause between two rounds of questions while somebody is suspect.
    pub(crate) round: Duration,
    /// The shortest that this may be, on a network that is fast.
    #[serde(default)]
    shortest_round: Duration,
    /// Pause between two occupancy questions once a VIP has long been answered for.
    pub(crate) slow_round: Duration,
    /// Interval of the beats to the keeper.
    pub(crate) beat: Duration,
    /// Lateness above which a node declares nobody dead until it has caught up.
    pub(crate) late: Duration,
}

impl Tuning {
    pub(crate) fn new(config: &NodeConfig) -> Self {
        let heartbeat = config.heartbeat;
        let round = Duration::from_millis(if heartbeat <= Duration::from_millis(20) { 1 } else { 3 })
            .max(config.answers_within / ROUNDS);
        Self {
            heartbeat,
            dead: config.dead_time(),
            round,
            shortest_round: round,
            slow_round: heartbeat.clamp(Duration::from_millis(50), Duration::from_secs(1)),
            beat: beat_interval(heartbeat),
            late: heartbeat / 2,
        }
    }

    /// Leaves answers the time that they need: `round_trip` is the slowest seen lately. Not so much that what is asked of
    /// a suspect would not be known when the dead time is over.
    pub(crate) fn pace(&mut self, round_trip: Duration) {
        self.round = self.shortest_round.max(round_trip.min(self.heartbeat / 2));
    }

    /// How long unanswered questions must have been out before their silence counts.
    pub(crate) fn patience(&self) -> Duration {
        self.round * ROUNDS
    }
}
