//! Outlines: what a configuration consists of, without saying what is in it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::NodeId;
use super::codec::{OUTLINE_ROOM, SETTING_LEN};

/// Parts that an outline may have: with [`super::MAX_DATAGRAM`] a bound on what a receiver has to keep of it.
pub const OUTLINE_PARTS_MAX: u16 = 64;
/// Longest path of a setting, in bytes.
pub const PATH_MAX: usize = 192;

/// A part of the outline of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlinePart {
    /// From whom.
    pub sender: NodeId,
    /// To whom.
    pub receiver: NodeId,
    /// Which life of the sender this is. In one life it has one configuration.
    pub incarnation: u64,
    /// Which life of the receiver it is meant for: a recording is of no use in the next one.
    pub receiver_incarnation: u64,
    /// What the sender's heartbeats say of its configuration.
    pub config_digest: u64,
    /// Which part this is, below `count`.
    pub index: u16,
    /// How many parts there are, at most [`OUTLINE_PARTS_MAX`].
    pub count: u16,
    /// Settings in the order of their paths, as [`in_parts`] makes them fit.
    pub settings: Vec<Setting>,
}

/// A setting of a configuration, or several as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Setting {
    /// What it is called, for people: words with a blank between them, 1 to [`PATH_MAX`] bytes of printable ASCII.
    pub path: String,
    /// A hash of its value.
    pub hash: u64,
}

impl Setting {
    /// The setting of this path with this value.
    #[must_use]
    pub fn new(path: impl Into<String>, value: &str) -> Self {
        let path = path.into();
        let text = Sha256::new().chain_update("vipdrift setting 1\n").chain_update(&path);
        let hash = first_eight(&text.chain_update("\n").chain_update(value).finalize());
        Self { path, hash }
    }

    /// The first words of its path, `count` at most.
    #[must_use]
    pub fn prefix(&self, count: usize) -> &str {
        let Some(last) = count.checked_sub(1) else { return "" };
        self.path.match_indices(' ').nth(last).map_or(&self.path, |(end, _)| &self.path[..end])
    }
}

/// Settings that agree in their first `words` words as one: where there are longer paths, a hash of all of them. What is
/// folded twice is what it would be folded once. With 0 words there is one left, whose path is empty: its hash is the
/// digest of a configuration. `settings` have to be in the order of their paths.
#[must_use]
pub fn fold(settings: &[Setting], words: usize) -> Vec<Setting> {
    // By steps, so that it does not matter from how far it comes.
    let deepest = settings.iter().map(|setting| setting.path.split(' ').count()).max().unwrap_or(0);
    if deepest > words + 1 {
        return fold(&fold(settings, deepest - 1), words);
    }
    let mut groups: Vec<(&str, Vec<&Setting>)> = Vec::new();
    for setting in settings {
        let prefix = setting.prefix(words);
        match groups.last_mut() {
            Some((last, group)) if *last == prefix => group.push(setting),
            _ => groups.push((prefix, vec![setting])),
        }
    }
    let folded = groups.into_iter().map(|(prefix, group)| match group[..] {
        [one] if one.path == prefix => one.clone(),
        _ => {
            let mut text = Sha256::new().chain_update("vipdrift settings 1\n");
            for Setting { path, hash } in group {
                text.update(path);
                text.update("\n");
                text.update(hash.to_be_bytes());
            }
            Setting { path: prefix.to_owned(), hash: first_eight(&text.finalize()) }
        }
    });
    folded.collect()
}

/// Settings in as many parts as they need for a datagram each.
#[must_use]
pub fn in_parts(settings: Vec<Setting>) -> Vec<Vec<Setting>> {
    let mut parts: Vec<Vec<Setting>> = Vec::new();
    let mut room = 0;
    for setting in settings {
        let size = SETTING_LEN + setting.path.len();
        match parts.last_mut() {
            Some(part) if size <= room => part.push(setting),
            _ => {
                room = OUTLINE_ROOM;
                parts.push(vec![setting]);
            }
        }
        room = room.saturating_sub(size);
    }
    parts
}

pub(super) fn first_eight(hash: &[u8]) -> u64 {
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
