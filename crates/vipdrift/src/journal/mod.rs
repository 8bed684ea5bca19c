//! The journal: everything that the core of a node was told, with the time, and what it did with it. Replaying it
//! through the core at a desk gives the same decisions.
//!
//! ```text
//!  heartbeat thread            bounded queue         journal thread
//!  Scribe: event, time,  ───────────────────────►   Writer: signs datagrams anew, frames, writes
//!  hash of the actions                               ◄─── wants a checkpoint: the next file begins with it
//! ```
//!
//! A node has [`FILES`] files, written round and round. A file begins with [`frame::PREAMBLE`]; the rest are frames,
//! each an [`entry::Entry`]. A *segment* reaches from one [`entry::Segment`] to the next and can be replayed alone: it
//! begins with all that the core knew, or with the birth of the brain. Each file begins with a segment; more of them
//! are in a file where a brain was born, or where entries had to be dropped.
//!
//! There is no secret in it: datagrams that were authentic are signed anew with a key made for the segment, which
//! stands at its head. The others stay as they came, and are rejected by a replay for the same reason.

mod entry;
mod frame;
mod read;
pub(crate) mod replay;
mod scribe;
#[cfg(test)]
mod tests;
mod words;
mod writer;

use std::path::{Path, PathBuf};

pub(crate) use scribe::{Birth, Scribe};
pub(crate) use writer::{Parts, start};

/// Files of a node. When the last is full, the first is written anew: more than half of the limit is always kept.
pub(crate) const FILES: usize = 4;
/// How the name of a journal file ends.
const EXTENSION: &str = "journal";

/// The files of a node in `folder`. Nodes that share a folder, or files that were collected in one, do not clash.
pub(crate) fn files(folder: &Path, node: &str) -> Vec<PathBuf> {
    (1..=FILES).map(|number| folder.join(format!("{node}-{number}.{EXTENSION}"))).collect()
}
