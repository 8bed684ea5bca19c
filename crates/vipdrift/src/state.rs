//! What outlives the daemon: whether an operator has drained this node. One line in one file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Where the state is kept unless `--state-dir` says otherwise.
pub(crate) const DEFAULT_FOLDER: &str = "/var/lib/vipdrift";

const DRAINED: &str = "drained: yes\n";
/// As long as the other, so that one write replaces it whole.
const READY: &str = "drained: no \n";

/// What the file says.
pub(crate) fn says_drained(text: &str) -> bool {
    text == DRAINED
}

/// Writes the state and waits until it is on the disk.
///
/// # Errors
/// The file holds the old state, or the new.
pub(crate) fn write(file: &File, drained: bool) -> io::Result<()> {
    file.write_all_at(if drained { DRAINED } else { READY }.as_bytes(), 0)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("state");
        let file = File::create(&path).expect("makes a file");
        let read = || says_drained(&std::fs::read_to_string(&path).expect("reads"));
        assert!(!read(), "a new file");
        write(&file, true).expect("writes");
        assert!(read());
        write(&file, false).expect("writes");
        assert!(!read());
    }
}
