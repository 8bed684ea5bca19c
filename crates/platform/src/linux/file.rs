//! Files: reading and writing at a place, and who may open them.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Reads at most as much as the buffer takes, at `offset` bytes from the beginning, and answers how much that was; zero at
/// the end.
///
/// # Errors
/// Faults of the file.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

/// Fills the buffer from `offset` bytes on.
///
/// # Errors
/// The file is too short, or faults of the file. What is in the buffer then is not said.
pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)
}

/// Writes all of it, at `offset` bytes from the beginning.
///
/// # Errors
/// Faults of the file. A part may have been written.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Who may open a file or a folder, besides its owner and the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nobody.
    Owner,
    /// The owner's group may look.
    Group,
    /// Everybody may look.
    Everybody,
}

impl Access {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o640,
            Self::Everybody => 0o644,
        }
    }
}

/// Opens a file for reading and writing, and makes it if it is missing, open to these.
///
/// # Errors
/// Those of the system; nothing is left behind.
pub fn open_or_make(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(access.mode()).open(path)
}

/// Makes a file for reading and writing, open to these from its first moment.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], and those of the system; nothing is left behind.
pub fn make_new(path: &Path, access: Access) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(access.mode()).open(path)
}

/// Makes a folder, and those above it, unless they are there.
///
/// # Errors
/// Those of the system; folders above may have been made.
pub fn make_folder(path: &Path, access: Access) -> io::Result<()> {
    // Whoever may look may also go through.
    let mode = access.mode();
    DirBuilder::new().recursive(true).mode(mode | 0o100 | (mode & 0o044) >> 2).create(path)
}

/// What everybody may do with a secret: `read` or `written`, and the command that ends it. `None` if nobody may do anything.
#[must_use]
pub fn open_to_everybody(path: &Path, about: &Metadata) -> Option<(&'static str, String)> {
    let open = about.permissions().mode() & 0o006;
    let what = if open & 0o002 != 0 { "written" } else { "read" };
    (open != 0).then(|| (what, format!("chmod 0600 {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_look_may_go_through() {
        let above = tempfile::tempdir().unwrap();
        for (access, mode) in [(Access::Owner, 0o700), (Access::Group, 0o750), (Access::Everybody, 0o755)] {
            let path = above.path().join(format!("{mode:o}"));
            make_folder(&path, access).unwrap();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode);
        }
    }

    #[test]
    fn a_file_is_made_for_those_who_may_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        write_all_at(&make_new(&path, Access::Owner).unwrap(), b"secret", 0).unwrap();
        assert_eq!(mode(), 0o600);
        assert_eq!(make_new(&path, Access::Owner).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let mut buffer = [0; 6];
        read_exact_at(&open_or_make(&path, Access::Everybody).unwrap(), &mut buffer, 0).unwrap();
        assert_eq!((&buffer, mode()), (b"secret", 0o600), "as it was");
    }
}
