//! Why a datagram was not accepted.

use std::fmt;

/// Why a datagram was not accepted. The checks are made in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejected {
    /// Shorter than any datagram.
    TooShort,
    /// Longer than [`super::MAX_DATAGRAM`].
    TooLong,
    /// Not a heartbeat datagram at all.
    BadMagic,
    /// A version of the format that this program does not know.
    UnknownVersion,
    /// From another cluster.
    ForeignCluster,
    /// The authentication code is wrong: another key, or altered on the way.
    BadMac,
    /// Rightly signed, and yet not a message: its sender is at fault.
    Malformed(Malformed),
}

/// What is wrong with the body of a rightly signed datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The kind of message is unknown.
    Kind,
    /// The body ends before its last field.
    Truncated,
    /// Bytes are left behind the last field.
    Trailing,
    /// An unknown flag is set.
    Flags,
    /// The health is unknown.
    Health,
    /// A group's role is unknown.
    Role,
    /// The kind of word is unknown.
    Word,
    /// A part's index is not below the number of parts.
    Part,
    /// More groups than a datagram may carry.
    Groups,
    /// An errand, or what has become of one, is unknown.
    Errand,
    /// The path of a setting is empty, too long, or not printable ASCII.
    Path,
    /// Settings do not stand in the order of their paths.
    Order,
}

impl Rejected {
    /// Every reason, in the order of [`Rejected::index`].
    pub const ALL: [Self; 18] = [
        Self::TooShort,
        Self::TooLong,
        Self::BadMagic,
        Self::UnknownVersion,
        Self::ForeignCluster,
        Self::BadMac,
        Self::Malformed(Malformed::Kind),
        Self::Malformed(Malformed::Truncated),
        Self::Malformed(Malformed::Trailing),
        Self::Malformed(Malformed::Flags),
        Self::Malformed(Malformed::Health),
        Self::Malformed(Malformed::Role),
        Self::Malformed(Malformed::Word),
        Self::Malformed(Malformed::Part),
        Self::Malformed(Malformed::Groups),
        Self::Malformed(Malformed::Errand),
        Self::Malformed(Malformed::Path),
        Self::Malformed(Malformed::Order),
    ];

    /// Position in [`Rejected::ALL`], for counting.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::TooShort => 0,
            Self::TooLong => 1,
            Self::BadMagic => 2,
            Self::UnknownVersion => 3,
            Self::ForeignCluster => 4,
            Self::BadMac => 5,
            Self::Malformed(what) => 6 + what as usize,
        }
    }

    /// A short name that never changes, for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::BadMagic => "bad_magic",
            Self::UnknownVersion => "unknown_version",
            Self::ForeignCluster => "foreign_cluster",
            Self::BadMac => "bad_mac",
            Self::Malformed(Malformed::Kind) => "malformed_kind",
            Self::Malformed(Malformed::Truncated) => "malformed_truncated",
            Self::Malformed(Malformed::Trailing) => "malformed_trailing",
            Self::Malformed(Malformed::Flags) => "malformed_flags",
            Self::Malformed(Malformed::Health) => "malformed_health",
            Self::Malformed(Malformed::Role) => "malformed_role",
            Self::Malformed(Malformed::Word) => "malformed_word",
            Self::Malformed(Malformed::Part) => "malformed_part",
            Self::Malformed(Malformed::Groups) => "malformed_groups",
            Self::Malformed(Malformed::Errand) => "malformed_errand",
            Self::Malformed(Malformed::Path) => "malformed_path",
            Self::Malformed(Malformed::Order) => "malformed_order",
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "datagram rejected: {}", self.name())
    }
}

impl std::error::Error for Rejected {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_place_and_its_name() {
        for (position, reason) in Rejected::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), position);
        }
        let names: BTreeSet<_> = Rejected::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Rejected::ALL.len());
    }
}
