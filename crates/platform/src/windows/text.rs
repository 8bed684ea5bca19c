//! Text as the system takes it: UTF-16 that ends with zero.

use std::ffi::OsStr;
use std::os::windows::ffi::OsStrExt as _;

/// The text with a zero at its end. What comes after a zero in it is not seen by the system.
pub(super) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}
