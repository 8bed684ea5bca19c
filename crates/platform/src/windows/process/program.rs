//! The file of the program that runs. Nobody can write to it meanwhile, but it may be renamed, and another put in its place, as
//! an upgrade does.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_NAME_NORMALIZED, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
    GetFileInformationByHandle, GetFinalPathNameByHandleW,
};

/// Where the file of the program that runs is now, under whatever name: a child, or a successor that is to be the same, is
/// started from there. To be called at the start once, which notes the file.
///
/// # Errors
/// It is not found any more.
pub fn this_program() -> io::Result<PathBuf> {
    static FILE: OnceLock<File> = OnceLock::new();
    let file = match FILE.get() {
        Some(file) => file,
        None => {
            let file = open(&std::env::current_exe()?)?;
            FILE.get_or_init(|| file)
        }
    };
    place(file)
}

/// Where an open file is now.
fn place(file: &File) -> io::Result<PathBuf> {
    let path = final_path(file)?;
    if identity(&open(&path)?)? != identity(file)? {
        let why = format!("{} is another file than the one that runs", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    Ok(path)
}

/// To know which it is: it may be renamed or deleted all the same.
fn open(path: &Path) -> io::Result<File> {
    let shared = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    OpenOptions::new().read(true).share_mode(shared).open(path)
}

/// What is the same as long as it is the same file.
fn identity(file: &File) -> io::Result<(u32, u32, u32)> {
    // SAFETY: all-zero bytes are a valid structure of integers.
    let mut about: BY_HANDLE_FILE_INFORMATION = unsafe { std::mem::zeroed() };
    // SAFETY: the handle is open; the system writes to the structure.
    if unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut about) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((about.dwVolumeSerialNumber, about.nFileIndexHigh, about.nFileIndexLow))
}

fn final_path(file: &File) -> io::Result<PathBuf> {
    let mut text = vec![0; 1024];
    loop {
        let room = u32::try_from(text.len()).map_err(io::Error::other)?;
        // SAFETY: the handle is open; address and room are those of `text`.
        let length = unsafe {
            GetFinalPathNameByHandleW(file.as_raw_handle(), text.as_mut_ptr(), room, FILE_NAME_NORMALIZED)
        };
        match length as usize {
            0 => return Err(io::Error::last_os_error()),
            length if length < text.len() => {
                return Ok(plain(&String::from_utf16_lossy(&text[..length])).into());
            }
            length => text = vec![0; length + 1],
        }
    }
}

/// Without the prefix that paths may be longer with, where it means the same.
fn plain(path: &str) -> &str {
    match path.strip_prefix(r"\\?\") {
        Some(rest) if rest.as_bytes().get(1) == Some(&b':') && rest.len() < 260 => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_and_another_file_is_not_taken_for_it() {
        let program = this_program().unwrap();
        assert_eq!(
            identity(&open(&program).unwrap()).unwrap(),
            identity(&open(&std::env::current_exe().unwrap()).unwrap()).unwrap()
        );
        let folder = std::env::temp_dir().join(format!("vipdrift-program-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("program.exe");
        std::fs::write(&path, "old").unwrap();
        let file = open(&path).unwrap();
        assert_eq!(place(&file).unwrap().file_name(), path.file_name());
        std::fs::rename(&path, folder.join("old.exe")).unwrap();
        // The system knows its new name. Where it does not, as wine, that is said.
        std::fs::write(&path, "new").unwrap();
        match place(&file) {
            Ok(found) => assert_eq!(found.file_name().unwrap(), "old.exe"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
        }
        drop(file);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn paths_look_as_people_write_them() {
        assert_eq!(plain(r"\\?\C:\Program Files\vipdrift.exe"), r"C:\Program Files\vipdrift.exe");
        assert_eq!(plain(r"\\?\UNC\host\share\vipdrift.exe"), r"\\?\UNC\host\share\vipdrift.exe");
        assert_eq!(plain(r"C:\vipdrift.exe"), r"C:\vipdrift.exe");
    }
}
