//! Functions that not every Windows has: looked up instead of imported, so that their lack is no reason not to start.

use std::ffi::{CStr, c_void};

use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW,
};

use super::text::wide;

/// The address of a function, if this system has it. The library is one of the system's own, and stays loaded.
pub(super) fn find(library: &str, function: &CStr) -> Option<*const c_void> {
    let name = wide(library);
    // SAFETY: the name ends with zero and lives across the call; only the system's own folder is looked into.
    let library =
        unsafe { LoadLibraryExW(name.as_ptr(), std::ptr::null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32) };
    if library.is_null() {
        return None;
    }
    // SAFETY: the library was just loaded and is never freed; the name ends with zero.
    let found = unsafe { GetProcAddress(library, function.as_ptr().cast()) };
    found.map(|found| found as *const c_void)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_found() {
        assert!(find("kernel32.dll", c"GetTickCount64").is_some());
        assert!(find("kernel32.dll", c"NoSuchFunction").is_none());
        assert!(find("no-such-library.dll", c"GetTickCount64").is_none());
    }
}
