//! Functions that not every Windows has: looked up instead of imported, so that their lack is no reason not to start.

use std::ffi::{CStr, c_void};
use std::path::Path;

use windows_sys::Win32::Foundation::HMODULE;
use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_FLAGS, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR, LOAD_LIBRARY_SEARCH_SYSTEM32,
    LoadLibraryExW,
};

use super::text::wide;

/// A library that stays loaded.
pub(super) struct Library {
    module: HMODULE,
}

impl Library {
    /// One of the system's own.
    fn of_system(name: &str) -> Option<Self> {
        Self::open(&wide(name), LOAD_LIBRARY_SEARCH_SYSTEM32)
    }

    /// The one in this file, whose whole path this is; what it needs may lie beside it.
    pub(super) fn load(file: &Path) -> Option<Self> {
        Self::open(&wide(file), LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32)
    }

    fn open(name: &[u16], folders: LOAD_LIBRARY_FLAGS) -> Option<Self> {
        // SAFETY: the name ends with zero and lives across the call; only those folders are looked into.
        let module = unsafe { LoadLibraryExW(name.as_ptr(), std::ptr::null_mut(), folders) };
        (!module.is_null()).then_some(Self { module })
    }

    /// The address of a function, if the library has it.
    pub(super) fn find(&self, function: &CStr) -> Option<*const c_void> {
        // SAFETY: the library is loaded and is never freed; the name ends with zero.
        let found = unsafe { GetProcAddress(self.module, function.as_ptr().cast()) };
        found.map(|found| found as *const c_void)
    }
}

/// The address of a function of one of the system's own libraries, if this system has it.
pub(super) fn find(library: &str, function: &CStr) -> Option<*const c_void> {
    Library::of_system(library)?.find(function)
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
