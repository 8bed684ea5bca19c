//! Contents that are handed to a child: in memory, or in a file that goes with its last handle.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{DuplicateHandle, GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    CREATE_NEW, CreateFileW, DELETE, FILE_ATTRIBUTE_TEMPORARY, FILE_FLAG_DELETE_ON_CLOSE, FILE_SHARE_DELETE,
    FILE_SHARE_READ, FILE_SHARE_WRITE,
};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP, FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_BASIC_INFORMATION,
    MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, PAGE_READWRITE, UnmapViewOfFile, VirtualQuery,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::super::descriptor::{Number, Owned};
use super::super::security::Descriptor;
use super::super::text::wide;
use super::{Error, inherited};

/// Before the contents stands their length, so many bytes: a section knows its length in pages only.
const HEAD: usize = size_of::<u64>();

/// A section of memory with these contents (CreateFileMappingW): nobody can change it through the handle, it has no name, and it
/// is gone with its last handle. `name` is not used. The child reads it with [`inherited_bytes`].
///
/// # Errors
/// [`Error::MemoryFile`].
pub fn memory_file(_name: &CStr, bytes: &[u8]) -> Result<Owned, Error> {
    section(bytes).map(Owned::from).map_err(Error::MemoryFile)
}

fn section(bytes: &[u8]) -> io::Result<OwnedHandle> {
    let length = u64::try_from(HEAD + bytes.len()).map_err(io::Error::other)?;
    #[expect(clippy::cast_possible_truncation, reason = "split in two halves")]
    let (high, low) = ((length >> 32) as u32, length as u32);
    // SAFETY: no attributes and no name; no file means memory alone.
    let raw = unsafe {
        CreateFileMappingW(INVALID_HANDLE_VALUE, ptr::null(), PAGE_READWRITE, high, low, ptr::null())
    };
    if raw.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made for us.
    let writable = unsafe { OwnedHandle::from_raw_handle(raw) };
    let view = View::new(&writable, FILE_MAP_WRITE)?;
    let start = view.address.Value.cast::<u8>();
    // SAFETY: the view is as long as was asked for, and nobody else knows of it yet.
    unsafe {
        ptr::copy_nonoverlapping((bytes.len() as u64).to_ne_bytes().as_ptr(), start, HEAD);
        ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(HEAD), bytes.len());
    }
    drop(view);
    let mut sealed = ptr::null_mut();
    // SAFETY: the handle is open; the pseudo handles of this process need no closing; the system writes to `sealed`. The copy
    // may be read only, and the original is closed.
    let copied = unsafe {
        let own = GetCurrentProcess();
        DuplicateHandle(own, writable.as_raw_handle(), own, &raw mut sealed, FILE_MAP_READ, 0, 0)
    };
    if copied == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made for us.
    Ok(unsafe { OwnedHandle::from_raw_handle(sealed) })
}

/// Takes handle `number` as [`inherited`] does, reads that [`memory_file`] whole, and closes it.
///
/// # Errors
/// [`Error::NotInherited`], [`Error::MemoryFile`].
pub fn inherited_bytes(number: Number) -> Result<Vec<u8>, Error> {
    contents(&OwnedHandle::from(inherited(number)?)).map_err(Error::MemoryFile)
}

fn contents(section: &OwnedHandle) -> io::Result<Vec<u8>> {
    let view = View::new(section, FILE_MAP_READ)?;
    let there = view.length()?;
    let start = view.address.Value.cast::<u8>();
    let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it says");
    if there < HEAD {
        return Err(short());
    }
    let mut head = [0; HEAD];
    // SAFETY: so much is there. Whoever else has the section may only read it, as long as it was made by `memory_file`.
    unsafe { ptr::copy_nonoverlapping(start, head.as_mut_ptr(), HEAD) };
    let length = usize::try_from(u64::from_ne_bytes(head)).map_err(io::Error::other)?;
    if length > there - HEAD {
        return Err(short());
    }
    let mut bytes = vec![0; length];
    // SAFETY: as above.
    unsafe { ptr::copy_nonoverlapping(start.add(HEAD), bytes.as_mut_ptr(), length) };
    Ok(bytes)
}

/// A section as memory of this process.
struct View {
    address: MEMORY_MAPPED_VIEW_ADDRESS,
}

impl View {
    fn new(section: &OwnedHandle, access: FILE_MAP) -> io::Result<Self> {
        // SAFETY: the handle is open; all of it is mapped, wherever there is room.
        let address = unsafe { MapViewOfFile(section.as_raw_handle(), access, 0, 0, 0) };
        if address.Value.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self { address }) }
    }

    /// In whole pages.
    fn length(&self) -> io::Result<usize> {
        // SAFETY: all-zero bytes are a valid structure of integers and pointers.
        let mut about: MEMORY_BASIC_INFORMATION = unsafe { std::mem::zeroed() };
        // SAFETY: the system writes to the structure, whose length is its own.
        let known = unsafe {
            VirtualQuery(self.address.Value, &raw mut about, size_of::<MEMORY_BASIC_INFORMATION>())
        };
        if known == 0 { Err(io::Error::last_os_error()) } else { Ok(about.RegionSize) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and not used after this.
        unsafe { UnmapViewOfFile(self.address) };
    }
}

/// An empty file that can be written, by whoever has it, and is gone with its last handle. It is in the folder for
/// temporary files, where nobody else may open it. `name` is a part of its own.
///
/// # Errors
/// [`Error::MemoryFile`].
pub fn scratch_file(name: &CStr) -> Result<File, Error> {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let random = RandomState::new().build_hasher().finish();
    let file = format!("{}-{}-{random:016x}.tmp", name.to_string_lossy(), std::process::id());
    let path = wide(std::env::temp_dir().join(file));
    let make = || {
        let descriptor = Descriptor::owner_only(false)?;
        let attributes = descriptor.attributes();
        // SAFETY: the path ends with zero; it, the attributes and what they point to live across the call.
        let raw = unsafe {
            CreateFileW(
                path.as_ptr(),
                GENERIC_READ | GENERIC_WRITE | DELETE,
                FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                &raw const attributes,
                CREATE_NEW,
                FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE,
                ptr::null_mut(),
            )
        };
        if raw == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was just made for us.
        Ok(File::from(unsafe { OwnedHandle::from_raw_handle(raw) }))
    };
    make().map_err(Error::MemoryFile)
}

#[cfg(test)]
mod tests {
    use super::super::super::file::{read_exact_at, write_all_at};
    use super::*;

    #[test]
    fn contents_are_read_as_they_were_and_cannot_be_changed() {
        for bytes in [&b""[..], b"as it is", &vec![0xA5; 300 * 1024]] {
            let section = section(bytes).unwrap();
            assert!(contents(&section).unwrap() == bytes);
            assert!(View::new(&section, FILE_MAP_WRITE).is_err());
        }
    }

    #[test]
    fn a_scratch_file_is_written_grows_and_shrinks() {
        let file = scratch_file(c"vipdrift-test").unwrap();
        write_all_at(&file, b"long words", 0).unwrap();
        file.set_len(4).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 4);
        let mut bytes = [0; 4];
        read_exact_at(&file, &mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"long");
    }
}
