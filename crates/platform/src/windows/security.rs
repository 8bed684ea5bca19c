//! Who may use what this process makes: security descriptors, in the language that documents them (SDDL).

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{HLOCAL, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    ACL, CreateWellKnownSid, GetSecurityDescriptorDacl, GetTokenInformation, PSECURITY_DESCRIPTOR,
    SECURITY_ATTRIBUTES, SECURITY_MAX_SID_SIZE, TOKEN_ACCESS_MASK, TOKEN_INFORMATION_CLASS, TOKEN_QUERY,
    TOKEN_USER, TokenUser, WELL_KNOWN_SID_TYPE,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::text::wide;

/// A security descriptor, in memory of the system's.
#[derive(Debug)]
pub(super) struct Descriptor {
    raw: PSECURITY_DESCRIPTOR,
}

// SAFETY: nothing changes the memory behind the pointer after it was made, and any thread may free it.
unsafe impl Send for Descriptor {}
// SAFETY: as above.
unsafe impl Sync for Descriptor {}

impl Descriptor {
    /// The system, administrators and the user of this process may do everything, nobody else anything. `inherited`: so for
    /// what is made in a folder, too.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn owner_only(inherited: bool) -> io::Result<Self> {
        let flags = if inherited { "OICI" } else { "" };
        let user = own_user()?;
        Self::parse(&format!("D:P(A;{flags};GA;;;SY)(A;{flags};GA;;;BA)(A;{flags};GA;;;{user})"))
    }

    pub(super) fn parse(sddl: &str) -> io::Result<Self> {
        let sddl = wide(sddl);
        let mut raw = ptr::null_mut();
        // SAFETY: the text ends with zero; the system writes the address of what it makes to `raw`.
        let made = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                sddl.as_ptr(),
                SDDL_REVISION_1,
                &raw mut raw,
                ptr::null_mut(),
            )
        };
        if made == 0 { Err(io::Error::last_os_error()) } else { Ok(Self { raw }) }
    }

    /// As the system takes it with what is made; nothing made so is inherited. Valid for as long as this is.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        #[expect(clippy::cast_possible_truncation, reason = "some bytes")]
        let length = size_of::<SECURITY_ATTRIBUTES>() as u32;
        SECURITY_ATTRIBUTES { nLength: length, lpSecurityDescriptor: self.raw, bInheritHandle: 0 }
    }

    /// Valid for as long as this is.
    pub(super) fn raw(&self) -> PSECURITY_DESCRIPTOR {
        self.raw
    }

    /// Its list of who may do what. Valid for as long as this is.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn list(&self) -> io::Result<*const ACL> {
        let (mut present, mut list, mut defaulted) = (0, ptr::null_mut(), 0);
        // SAFETY: the descriptor is valid; the system writes to the three variables only.
        let known = unsafe {
            GetSecurityDescriptorDacl(self.raw, &raw mut present, &raw mut list, &raw mut defaulted)
        };
        if known == 0 { Err(io::Error::last_os_error()) } else { Ok(list) }
    }
}

/// An identifier in words of eight bytes, since the system keeps structures there.
pub(super) type Sid = [u64; SECURITY_MAX_SID_SIZE.div_ceil(8) as usize];

/// The identifier of a group that every Windows knows.
///
/// # Errors
/// Those of the system.
pub(super) fn well_known(kind: WELL_KNOWN_SID_TYPE) -> io::Result<Sid> {
    let mut sid = Sid::default();
    let mut length = SECURITY_MAX_SID_SIZE;
    // SAFETY: address and length are those of `sid`; there is no domain.
    let made = unsafe { CreateWellKnownSid(kind, ptr::null_mut(), sid.as_mut_ptr().cast(), &raw mut length) };
    if made == 0 { Err(io::Error::last_os_error()) } else { Ok(sid) }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        free(self.raw);
    }
}

/// Gives back what the system made in its own heap.
pub(super) fn free(memory: *mut c_void) {
    // SAFETY: the callers own the memory, which the system has made for LocalFree, and do not use it after this.
    unsafe { LocalFree(memory as HLOCAL) };
}

/// The token of this process.
///
/// # Errors
/// Not permitted.
pub(super) fn own_token(access: TOKEN_ACCESS_MASK) -> io::Result<OwnedHandle> {
    let mut token = ptr::null_mut();
    // SAFETY: the system writes the handle to `token`; the pseudo handle of this process needs no closing.
    let opened = unsafe { OpenProcessToken(GetCurrentProcess(), access, &raw mut token) };
    if opened == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made for us.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

/// What a token says of itself, in words of eight bytes, since structures are read from it.
///
/// # Errors
/// Not permitted, or not known.
pub(super) fn ask_token(token: &OwnedHandle, what: TOKEN_INFORMATION_CLASS) -> io::Result<Vec<u64>> {
    let mut answer = vec![0u64; 64];
    loop {
        let room = u32::try_from(answer.len() * 8).unwrap_or(u32::MAX);
        let mut length = 0;
        // SAFETY: the address and the room are those of `answer`.
        let known = unsafe {
            GetTokenInformation(
                token.as_raw_handle(),
                what,
                answer.as_mut_ptr().cast(),
                room,
                &raw mut length,
            )
        };
        if known != 0 {
            return Ok(answer);
        }
        if length <= room {
            return Err(io::Error::last_os_error());
        }
        answer = vec![0; (length as usize).div_ceil(8)];
    }
}

/// The user of this process, as in SDDL.
///
/// # Errors
/// Those of the system.
pub(super) fn own_user() -> io::Result<String> {
    let answer = ask_token(&own_token(TOKEN_QUERY)?, TokenUser)?;
    // SAFETY: for this question the answer begins with this structure, whose pointer is into the answer.
    let user = unsafe { answer.as_ptr().cast::<TOKEN_USER>().read() };
    let mut text = ptr::null_mut();
    // SAFETY: the identifier is in `answer`, which lives; the system writes the address of a new text.
    if unsafe { ConvertSidToStringSidW(user.User.Sid, &raw mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the text ends with zero, so all before it can be read.
    let words = unsafe {
        let length = (0..).take_while(|at| *text.add(*at) != 0).count();
        String::from_utf16_lossy(std::slice::from_raw_parts(text, length))
    };
    free(text.cast());
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_with_its_list() {
        assert!(own_user().unwrap().starts_with("S-1-"));
        let descriptor = Descriptor::owner_only(true).unwrap();
        assert!(!descriptor.list().unwrap().is_null());
        assert!(Descriptor::parse("nonsense").is_err());
    }
}
