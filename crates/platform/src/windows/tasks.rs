//! The processes of this machine.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_NO_MORE_FILES, INVALID_HANDLE_VALUE, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_SYNCHRONIZE, WaitForSingleObject};

/// Numbers of the processes whose program has this name, with or without `.exe`, in any case.
///
/// # Errors
/// The list cannot be had.
pub fn named(name: &str) -> io::Result<Vec<u32>> {
    // SAFETY: takes no pointer.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made, and nobody else owns it.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
    // SAFETY: all-zero bytes are a valid entry: integers and an array of them.
    let mut entry: PROCESSENTRY32W = unsafe { std::mem::zeroed() };
    #[expect(clippy::cast_possible_truncation, reason = "some hundred bytes")]
    let size = size_of::<PROCESSENTRY32W>() as u32;
    entry.dwSize = size;
    let mut found = Vec::new();
    // SAFETY: the snapshot is open, and the entry says how long it is.
    let mut more = unsafe { Process32FirstW(snapshot.as_raw_handle(), &raw mut entry) };
    while more != 0 {
        let length = entry.szExeFile.iter().position(|unit| *unit == 0).unwrap_or(entry.szExeFile.len());
        if is_called(&String::from_utf16_lossy(&entry.szExeFile[..length]), name) {
            found.push(entry.th32ProcessID);
        }
        // SAFETY: as above.
        more = unsafe { Process32NextW(snapshot.as_raw_handle(), &raw mut entry) };
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error().map(i32::cast_unsigned) {
        Some(ERROR_NO_MORE_FILES) => Ok(found),
        _ => Err(error),
    }
}

fn is_called(file: &str, name: &str) -> bool {
    let file = file.to_lowercase();
    let name = name.to_lowercase();
    file == name || file.strip_suffix(".exe") == Some(&name)
}

/// There is a process of this number, and it has not ended.
#[must_use]
pub fn lives(pid: u32) -> bool {
    // SAFETY: takes no pointer.
    let handle = unsafe { OpenProcess(PROCESS_SYNCHRONIZE, 0, pid) };
    if handle.is_null() {
        // One of another user that may not be looked at is there all the same.
        return io::Error::last_os_error().raw_os_error() == Some(ERROR_ACCESS_DENIED.cast_signed());
    }
    // SAFETY: the handle was just made, and nobody else owns it.
    let process = unsafe { OwnedHandle::from_raw_handle(handle) };
    // SAFETY: the handle is open.
    let waited = unsafe { WaitForSingleObject(process.as_raw_handle(), 0) };
    waited == WAIT_TIMEOUT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_lives() {
        let program = std::env::current_exe().unwrap();
        let file = program.file_name().unwrap().to_str().unwrap();
        let own = std::process::id();
        assert!(named(file).unwrap().contains(&own));
        assert!(named(&file.trim_end_matches(".exe").to_uppercase()).unwrap().contains(&own));
        assert_eq!(named("no-such-program").unwrap(), []);
        assert!(lives(own));
        assert!(!lives(u32::MAX - 3));
    }
}
