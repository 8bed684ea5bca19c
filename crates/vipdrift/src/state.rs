//! What outlives the daemon: what an operator has drained on this node. A few lines in one file.

use std::fs::File;
use std::io;

use vipdrift_core::Drained;
use vipdrift_platform::file::write_all_at;
use vipdrift_wire::heartbeat::GroupId;

/// More of the file than this is not looked at, in bytes: the names of a thousand groups.
pub(crate) const LONGEST: u64 = 128 * 1024;

const DRAINED: &str = "drained: yes\n";
/// As long as the other, so that the group's lines stand where they stood.
const READY: &str = "drained: no \n";
const GROUP: &str = "drained group: ";
const END: &str = "end\n";

/// What the file says. What cannot be read counts as not drained. Groups count only if the list is whole.
pub(crate) fn read(content: &[u8]) -> Drained {
    let node = content.starts_with(DRAINED.as_bytes());
    let groups = content.get(DRAINED.len()..).and_then(groups).unwrap_or_default();
    let groups = if node || content.starts_with(READY.as_bytes()) { groups } else { Vec::new() };
    Drained { node, groups: groups.into_iter().map(|name| GroupId::of(&name).0).collect() }
}

fn groups(lines: &[u8]) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(lines);
    let end = if text.starts_with(END) { 0 } else { text.find(&format!("\n{END}"))? + 1 };
    text[..end].lines().map(|line| line.strip_prefix(GROUP).map(str::to_owned)).collect()
}

/// What is written to the beginning of the file; `names` are those of the drained groups.
pub(crate) fn text<'n>(node: bool, names: impl Iterator<Item = &'n str>) -> String {
    let groups = names.map(|name| format!("{GROUP}{name}\n"));
    std::iter::once((if node { DRAINED } else { READY }).to_owned())
        .chain(groups)
        .chain([END.to_owned()])
        .collect()
}

/// Writes the state and waits until it is on the disk.
///
/// # Errors
/// The file holds the old state or the new; after a loss of power in the midst of it, perhaps only whether the node as a whole
/// is drained.
pub(crate) fn write(file: &File, text: &str) -> io::Result<()> {
    write_all_at(file, text.as_bytes(), 0)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes states into a file with this content and reads them back.
    fn write_and_read(content: &[u8]) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("state");
        std::fs::write(&path, content).expect("makes a file");
        let file = File::options().write(true).open(&path).expect("opens it");
        for names in [&["web", "mail"][..], &["web"], &[]] {
            for node in [true, false] {
                write(&file, &text(node, names.iter().copied())).expect("writes");
                let groups = names.iter().map(|name| GroupId::of(name).0).collect();
                let wanted = Drained { node, groups };
                assert_eq!(read(&std::fs::read(&path).expect("reads")), wanted, "{content:?}");
            }
        }
    }

    #[test]
    fn the_last_word_counts() {
        assert_eq!(read(b""), Drained::default(), "a new file");
        write_and_read(b"");
    }

    #[test]
    fn it_counts_whatever_was_there_before() {
        for content in [
            &b"drained: yes\n\n"[..],
            b"drained: perhaps, who knows\n",
            b"drained: no \ndrained group: old\ndrained group: older\nend\n",
            &[0xff; 100],
        ] {
            write_and_read(content);
        }
    }

    #[test]
    fn a_list_that_is_not_whole_does_not_count() {
        let whole = text(true, ["web", "mail"].into_iter());
        for length in 0..whole.len() {
            let read = read(&whole.as_bytes()[..length]);
            assert_eq!(read.node, length >= DRAINED.len());
            assert!(read.groups.is_empty(), "{length} bytes");
        }
        assert!(read(b"drained: no \ndrained group: web\nsomething\nend\n").groups.is_empty());
        assert!(!read(b"drained: yes").node, "an old file, cut");
        assert!(read(b"drained: yes\n").node, "a file of an older version");
    }
}
