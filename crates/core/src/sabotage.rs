//! Known faults, put into a node on purpose: whoever claims to catch faults is to catch these. Only the simulator turns
//! them on, and only where the feature `sabotage` is; in a daemon none of this exists.

use crate::node::Node;

/// A fault that is put into a node.
#[cfg_attr(not(feature = "sabotage"), expect(unreachable_pub, reason = "only the simulator puts faults in"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Sabotage {
    /// VIPs are taken without asking whether somebody answers for them.
    SkipProbe,
    /// A silent peer is dead after half its time, whatever its machine and the VIPs answer.
    HalfDeadTime,
    /// A holder that finds itself cut off keeps its VIPs.
    KeepIsolated,
    /// A holder says that it has let go before it has.
    ResignFirst,
    /// Two holders that meet do not look at their terms.
    IgnoreTerms,
    /// An echo of an earlier life proves an unknown one.
    StaleEcho,
    /// Time that has gone missing is not noticed.
    NoClockGap,
    /// VIPs are announced as soon as they are ordered.
    AnnounceFirst,
    /// A foreign machine's answer is no answer.
    IgnoreStrangers,
    /// The lease is renewed without the brain's word. This one is in the keeper.
    RenewUnasked,
}

impl Sabotage {
    /// Every one.
    #[cfg(feature = "sabotage")]
    pub const ALL: [Self; 10] = [
        Self::SkipProbe,
        Self::HalfDeadTime,
        Self::KeepIsolated,
        Self::ResignFirst,
        Self::IgnoreTerms,
        Self::StaleEcho,
        Self::NoClockGap,
        Self::AnnounceFirst,
        Self::IgnoreStrangers,
        Self::RenewUnasked,
    ];

    /// Its name on a command line.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SkipProbe => "skip-probe",
            Self::HalfDeadTime => "half-dead-time",
            Self::KeepIsolated => "keep-isolated",
            Self::ResignFirst => "resign-first",
            Self::IgnoreTerms => "ignore-terms",
            Self::StaleEcho => "stale-echo",
            Self::NoClockGap => "no-clock-gap",
            Self::AnnounceFirst => "announce-first",
            Self::IgnoreStrangers => "ignore-strangers",
            Self::RenewUnasked => "renew-unasked",
        }
    }
}

impl Node {
    /// The node with a fault in it, or with none.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn sabotaged(mut self, sabotage: Option<Sabotage>) -> Self {
        self.sabotage = sabotage;
        self
    }

    #[cfg(feature = "sabotage")]
    pub(crate) fn is_sabotaged(&self, by: Sabotage) -> bool {
        self.sabotage == Some(by)
    }

    #[cfg(not(feature = "sabotage"))]
    #[expect(clippy::unused_self, reason = "as if it were there")]
    pub(crate) const fn is_sabotaged(&self, _by: Sabotage) -> bool {
        false
    }
}
