//! The token of a child that is to have less than its parent: no rights of administrators, and no privilege but those to
//! pass through folders and to [lock memory](super::super::realtime::lock_memory), which it gives up itself once it has done
//! so. A process cannot take the rights of administrators from itself.

use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Security::{
    CreateRestrictedToken, DACL_SECURITY_INFORMATION, SID_AND_ATTRIBUTES, SetKernelObjectSecurity,
    SetTokenInformation, TOKEN_ADJUST_DEFAULT, TOKEN_ASSIGN_PRIMARY, TOKEN_DEFAULT_DACL, TOKEN_DUPLICATE,
    TOKEN_QUERY, TokenDefaultDacl, WinBuiltinAdministratorsSid,
};
use windows_sys::Win32::Storage::FileSystem::WRITE_DAC;

use super::super::sandbox::token::{PASSING_THROUGH, privileges_but};
use super::super::security::{Descriptor, own_token, well_known};

/// The token of this process without all that.
///
/// # Errors
/// Those of the system.
pub(super) fn token() -> io::Result<OwnedHandle> {
    // The new one is had with the same rights as this one.
    let access = TOKEN_DUPLICATE | TOKEN_QUERY | TOKEN_ASSIGN_PRIMARY | TOKEN_ADJUST_DEFAULT | WRITE_DAC;
    let own = own_token(access)?;
    let mut administrators = well_known(WinBuiltinAdministratorsSid)?;
    let denied = SID_AND_ATTRIBUTES { Sid: administrators.as_mut_ptr().cast(), Attributes: 0 };
    let gone = privileges_but(&own, &[PASSING_THROUGH, "SeIncreaseWorkingSetPrivilege"])?;
    let count = u32::try_from(gone.len()).map_err(io::Error::other)?;
    let mut raw = ptr::null_mut();
    // SAFETY: the token is open; one identifier and the privileges are read, which live across the call; the system writes to
    // `raw`.
    let made = unsafe {
        CreateRestrictedToken(
            own.as_raw_handle(),
            0,
            1,
            &raw const denied,
            count,
            gone.as_ptr(),
            0,
            ptr::null(),
            &raw mut raw,
        )
    };
    if made == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made for us.
    let token = unsafe { OwnedHandle::from_raw_handle(raw) };
    reachable(&token)?;
    Ok(token)
}

/// What belongs to administrators only, as the token itself and what its process makes would, this process may not use any
/// more.
fn reachable(token: &OwnedHandle) -> io::Result<()> {
    let descriptor = Descriptor::owner_only(false)?;
    let default = TOKEN_DEFAULT_DACL { DefaultDacl: descriptor.list()?.cast_mut() };
    #[expect(clippy::cast_possible_truncation, reason = "some bytes")]
    let length = size_of_val(&default) as u32;
    // SAFETY: the token is open; the system reads the structure, whose length is its own, and the list that it points to, which
    // lives across the call.
    let set = unsafe {
        SetTokenInformation(token.as_raw_handle(), TokenDefaultDacl, (&raw const default).cast(), length)
    };
    if set == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the token is open; the system reads the descriptor, which lives across the call.
    let set = unsafe {
        SetKernelObjectSecurity(token.as_raw_handle(), DACL_SECURITY_INFORMATION, descriptor.raw())
    };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
