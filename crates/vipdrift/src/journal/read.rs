//! Journals on a desk: which files belong together, and in which order.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::EXTENSION;
use super::entry::{Entry, decode};
use super::frame::{Damage, Frames, Next};
use crate::config::plain;

/// Why there is nothing to replay, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("cannot read {}: {}", .0.display(), plain(.1))]
    File(PathBuf, io::Error),
    #[error("{}: {}", .0.display(), .1)]
    Damaged(PathBuf, Damage),
    #[error("there is no journal in {}: no file whose name ends in .{EXTENSION} has anything in it", .0.display())]
    Nothing(PathBuf),
}

/// A file, not empty.
#[derive(Debug)]
pub(crate) struct JournalFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// What one node has written, oldest file first.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) node: String,
    pub(crate) files: Vec<JournalFile>,
}

/// The journals of all nodes that have one at `path`, a file or a folder, in the order of their names.
///
/// # Errors
/// The first file that cannot be read or is no journal; nothing at all.
pub(crate) fn journals(path: &Path) -> Result<Vec<Journal>, Unread> {
    let mut nodes: BTreeMap<String, BTreeMap<u64, JournalFile>> = BTreeMap::new();
    for file in paths(path)? {
        let bytes = std::fs::read(&file).map_err(|error| Unread::File(file.clone(), error))?;
        // Made by the keeper, and its turn has not yet come.
        if bytes.is_empty() {
            continue;
        }
        if let Some((node, serial)) = head(&bytes).map_err(|damage| Unread::Damaged(file.clone(), damage))? {
            nodes.entry(node).or_default().insert(serial, JournalFile { path: file, bytes });
        }
    }
    if nodes.is_empty() {
        return Err(Unread::Nothing(path.to_owned()));
    }
    let journal = |(node, files): (String, BTreeMap<u64, JournalFile>)| Journal {
        node,
        files: files.into_values().collect(),
    };
    Ok(nodes.into_iter().map(journal).collect())
}

fn paths(path: &Path) -> Result<Vec<PathBuf>, Unread> {
    let failed = |error| Unread::File(path.to_owned(), error);
    if !path.metadata().map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in path.read_dir().map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == EXTENSION) {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

/// Node and serial of the segment that a file begins with; nothing if not even that was written whole.
fn head(bytes: &[u8]) -> Result<Option<(String, u64)>, Damage> {
    let mut frames = Frames::new(bytes)?;
    match frames.next()? {
        Next::Payload(offset, payload) => match decode(payload) {
            Ok(Entry::Segment(segment)) => Ok(Some((segment.node.clone(), segment.serial))),
            Ok(_) => Err(Damage { offset, what: "the file does not begin with a segment".into() }),
            Err(why) => Err(Damage { offset, what: foreign(&why) }),
        },
        Next::Torn(_) | Next::End => Ok(None),
    }
}

/// An entry that is whole and says nothing to this program.
pub(super) fn foreign(why: &str) -> String {
    format!("an entry that this version cannot read, perhaps of another version of vipdrift: {why}")
}
