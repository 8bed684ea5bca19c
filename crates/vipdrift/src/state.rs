//! What outlives the daemon: whether an operator has drained this node. One line in one file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Where the state is kept unless `--state-dir` says otherwise.
pub(crate) const DEFAULT_FOLDER: &str = "/var/lib/vipdrift";

/// More of the file than this is not looked at, in bytes.
pub(crate) const LONGEST: u64 = 64;

const DRAINED: &str = "drained: yes\n";
/// As long as the other, so that one write replaces it whole.
const READY: &str = "drained: no \n";

/// What the file says. Whatever follows the first line is left from before this program wrote to it.
pub(crate) fn says_drained(content: &[u8]) -> bool {
    content.starts_with(line(true))
}

/// What is written to the beginning of the file.
pub(crate) fn line(drained: bool) -> &'static [u8] {
    if drained { DRAINED } else { READY }.as_bytes()
}

/// Writes the state and waits until it is on the disk.
///
/// # Errors
/// The file holds the old state, or the new.
pub(crate) fn write(file: &File, drained: bool) -> io::Result<()> {
    file.write_all_at(line(drained), 0)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes both states into a file with this content and reads them back.
    fn write_and_read(content: &[u8]) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("state");
        std::fs::write(&path, content).expect("makes a file");
        let file = File::options().write(true).open(&path).expect("opens it");
        for drained in [true, false] {
            write(&file, drained).expect("writes");
            assert_eq!(says_drained(&std::fs::read(&path).expect("reads")), drained, "{content:?}");
        }
    }

    #[test]
    fn the_last_word_counts() {
        assert!(!says_drained(b""), "a new file");
        write_and_read(b"");
    }

    #[test]
    fn it_counts_whatever_was_there_before() {
        for content in [&b"drained: yes\n\n"[..], b"drained: perhaps, who knows\n", &[0xff; 100]] {
            write_and_read(content);
        }
    }
}
