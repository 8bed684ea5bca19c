//! Files: reading and writing at a place, and who may open them.

mod list;

use std::fs::{File, Metadata};
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::fs::FileExt as _;
use std::os::windows::io::{FromRawHandle as _, OwnedHandle};
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    CREATE_NEW, CreateDirectoryW, CreateFileW, FILE_ATTRIBUTE_NORMAL, FILE_CREATION_DISPOSITION,
    FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, OPEN_ALWAYS,
};

use super::security::Descriptor;
use super::text::wide;

/// Reads at most as much as the buffer takes, at `offset` bytes from the beginning, and answers how much that was; zero at
/// the end. Moves the place at which the file is read and written otherwise.
///
/// # Errors
/// Faults of the file.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

/// Fills the buffer from `offset` bytes on.
///
/// # Errors
/// The file is too short, or faults of the file. What is in the buffer then is not said.
pub fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.seek_read(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = &mut buffer[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of it, at `offset` bytes from the beginning.
///
/// # Errors
/// Faults of the file. A part may have been written.
pub fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Who may open a file or a folder, besides its owner, the system and administrators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nobody.
    Owner,
    /// Nobody: an owner has no group here that would be meant.
    Group,
    /// Whoever may open what else is in the same folder.
    Everybody,
}

impl Access {
    /// What is to be said when something is made; `None`: nothing, so that it has what its folder has.
    fn descriptor(self, inherited: bool) -> io::Result<Option<Descriptor>> {
        match self {
            Self::Owner | Self::Group => Descriptor::owner_only(inherited).map(Some),
            Self::Everybody => Ok(None),
        }
    }
}

/// Opens a file for reading and writing, and makes it if it is missing, open to these.
///
/// # Errors
/// Those of the system; nothing is left behind.
pub fn open_or_make(path: &Path, access: Access) -> io::Result<File> {
    make(path, access, OPEN_ALWAYS)
}

/// Makes a file for reading and writing, open to these from its first moment.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], and those of the system; nothing is left behind.
pub fn make_new(path: &Path, access: Access) -> io::Result<File> {
    make(path, access, CREATE_NEW)
}

fn make(path: &Path, access: Access, how: FILE_CREATION_DISPOSITION) -> io::Result<File> {
    let path = checked(path)?;
    let descriptor = access.descriptor(false)?;
    let attributes = descriptor.as_ref().map(Descriptor::attributes);
    // SAFETY: the path ends with zero; it, the attributes and what they point to live across the call.
    let raw = unsafe {
        CreateFileW(
            path.as_ptr(),
            GENERIC_READ | GENERIC_WRITE,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            attributes.as_ref().map_or(ptr::null(), ptr::from_ref),
            how,
            FILE_ATTRIBUTE_NORMAL,
            ptr::null_mut(),
        )
    };
    if raw == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made for us.
    Ok(File::from(unsafe { OwnedHandle::from_raw_handle(raw) }))
}

/// As the system takes it, or an error if it would take another one.
fn checked(path: &Path) -> io::Result<Vec<u16>> {
    if path.as_os_str().encode_wide().any(|unit| unit == 0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a zero byte in a path"));
    }
    Ok(wide(path))
}

/// Makes a folder, and those above it, unless they are there. What is made in them later is open to the same.
///
/// # Errors
/// Those of the system; folders above may have been made.
pub fn make_folder(path: &Path, access: Access) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_folder(above, access)?;
    }
    let name = checked(path)?;
    let descriptor = access.descriptor(true)?;
    let attributes = descriptor.as_ref().map(Descriptor::attributes);
    // SAFETY: the path ends with zero; it, the attributes and what they point to live across the call.
    let made =
        unsafe { CreateDirectoryW(name.as_ptr(), attributes.as_ref().map_or(ptr::null(), ptr::from_ref)) };
    if made != 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if path.is_dir() { Ok(()) } else { Err(error) }
}

/// What everybody may do with a secret: `read` or `written`, and the command that ends it. `None` if nobody may do anything.
/// Everybody are those groups that any user of the machine is in. Whose list cannot be read counts as closed: who may not read
/// that can hardly read the file.
#[must_use]
pub fn open_to_everybody(path: &Path, _about: &Metadata) -> Option<(&'static str, String)> {
    let open = list::open_to_everybody(path).unwrap_or_default();
    let what = if open.written { "written" } else { "read" };
    // The system (LocalSystem) and administrators, by numbers: their names are different in every language.
    let remedy =
        || format!("icacls \"{}\" /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F", path.display());
    (open.written || open.read).then(|| (what, remedy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_and_writing_at_a_place() {
        let file = tempfile::tempfile().unwrap();
        write_all_at(&file, b"0123456789", 0).unwrap();
        write_all_at(&file, b"xx", 4).unwrap();
        let mut buffer = [0; 6];
        read_exact_at(&file, &mut buffer, 2).unwrap();
        assert_eq!(&buffer, b"23xx67");
        assert_eq!(read_exact_at(&file, &mut buffer, 5).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read_at(&file, &mut buffer, 8).unwrap(), 2);
        assert_eq!(read_at(&file, &mut buffer, 10).unwrap(), 0);
    }

    // wine makes the bits of a Unix file of the list, and a list of those bits, so this much can be seen under it. That nobody
    // else gets in cannot: there everything runs as one user.
    #[test]
    fn a_secret_is_closed_from_its_first_moment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let file = make_new(&path, Access::Owner).unwrap();
        write_all_at(&file, b"secret", 0).unwrap();
        assert_eq!(make_new(&path, Access::Owner).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let mut buffer = [0; 6];
        read_exact_at(&open_or_make(&path, Access::Owner).unwrap(), &mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"secret");
        let about = path.metadata().unwrap();
        assert_eq!(open_to_everybody(&path, &about), None);
        // Whoever may is not to be read from what cannot be looked at.
        assert_eq!(open_to_everybody(&folder.path().join("missing"), &about), None);
    }

    #[test]
    fn folders_are_made_with_those_above() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a").join("b");
        make_folder(&path, Access::Group).unwrap();
        make_folder(&path, Access::Owner).unwrap();
        open_or_make(&path.join("state"), Access::Everybody).unwrap();
        assert!(make_folder(&path.join("state"), Access::Owner).is_err());
        assert!(make_folder(&path.join("state").join("c"), Access::Owner).is_err());
    }
}
