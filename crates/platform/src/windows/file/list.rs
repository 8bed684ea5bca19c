//! Lists of who may do what with a file (DACL), read.

use std::ffi::c_void;
use std::io;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_SUCCESS, GENERIC_ALL, GENERIC_READ, GENERIC_WRITE};
use windows_sys::Win32::Security::Authorization::{GetNamedSecurityInfoW, SE_FILE_OBJECT};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, CreateWellKnownSid, DACL_SECURITY_INFORMATION, EqualSid, GetAce,
    INHERIT_ONLY_ACE, SECURITY_MAX_SID_SIZE, WELL_KNOWN_SID_TYPE, WinAnonymousSid, WinAuthenticatedUserSid,
    WinBuiltinGuestsSid, WinBuiltinUsersSid, WinInteractiveSid, WinNetworkSid, WinWorldSid,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_APPEND_DATA, FILE_READ_DATA, FILE_WRITE_DATA, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::SystemServices::{ACCESS_ALLOWED_ACE_TYPE, ACCESS_DENIED_ACE_TYPE};

use super::super::security;
use super::checked;

/// Groups that any user of the machine is in, or comes into by how he reaches it.
const EVERYBODY: [WELL_KNOWN_SID_TYPE; 7] = [
    WinWorldSid,
    WinAuthenticatedUserSid,
    WinBuiltinUsersSid,
    WinBuiltinGuestsSid,
    WinInteractiveSid,
    WinNetworkSid,
    WinAnonymousSid,
];
const READ: u32 = FILE_READ_DATA | GENERIC_READ | GENERIC_ALL;
/// Whoever may change who may write may write.
const WRITE: u32 = FILE_WRITE_DATA | FILE_APPEND_DATA | WRITE_DAC | WRITE_OWNER | GENERIC_WRITE | GENERIC_ALL;

/// What any user may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) read: bool,
    pub(super) written: bool,
}

/// What any user may do with this file.
///
/// # Errors
/// Its list cannot be read.
pub(super) fn open_to_everybody(path: &Path) -> io::Result<Open> {
    let path = checked(path)?;
    let (mut list, mut descriptor) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the path ends with zero; the system writes the addresses of what it makes to the two variables.
    let code = unsafe {
        GetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            DACL_SECURITY_INFORMATION,
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut list,
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    if code != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(code.cast_signed()));
    }
    let open = open(list);
    security::free(descriptor);
    open
}

/// What any user may do by this list: one of the groups is allowed it, and was not denied it before.
fn open(list: *const ACL) -> io::Result<Open> {
    if list.is_null() {
        // None at all, as on a file system that has no lists, allows everything.
        return Ok(Open { read: true, written: true });
    }
    let groups = EVERYBODY.iter().map(|group| Sid::new(*group)).collect::<io::Result<Vec<_>>>()?;
    let mut denied = vec![0; groups.len()];
    let mut allowed = 0;
    // SAFETY: the system's list begins with this structure.
    let count = unsafe { (*list).AceCount };
    for index in 0..count.into() {
        let mut entry: *mut c_void = ptr::null_mut();
        // SAFETY: the list is the system's; it writes the address of an entry in it.
        if unsafe { GetAce(list, index, &raw mut entry) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: each entry begins with this structure.
        let head = unsafe { entry.cast::<ACE_HEADER>().read() };
        if u32::from(head.AceFlags) & INHERIT_ONLY_ACE != 0 {
            continue;
        }
        let kind = u32::from(head.AceType);
        if !matches!(kind, ACCESS_ALLOWED_ACE_TYPE | ACCESS_DENIED_ACE_TYPE) {
            continue;
        }
        // SAFETY: both kinds have this structure, which ends with the beginning of an identifier.
        let (mask, sid) = unsafe {
            let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
            ((*entry).Mask, (&raw mut (*entry).SidStart).cast::<c_void>())
        };
        for (group, denied) in groups.iter().zip(&mut denied) {
            if !group.is(sid) {
                continue;
            }
            if kind == ACCESS_DENIED_ACE_TYPE {
                *denied |= mask;
            } else {
                allowed |= mask & !*denied;
            }
        }
    }
    Ok(Open { read: allowed & READ != 0, written: allowed & WRITE != 0 })
}

/// The identifier of a group that every system knows.
struct Sid {
    bytes: [u64; SECURITY_MAX_SID_SIZE.div_ceil(8) as usize],
}

impl Sid {
    fn new(kind: WELL_KNOWN_SID_TYPE) -> io::Result<Self> {
        let mut sid = Self { bytes: [0; _] };
        let mut length = SECURITY_MAX_SID_SIZE;
        // SAFETY: address and length are those of the bytes; there is no domain.
        let made = unsafe {
            CreateWellKnownSid(kind, ptr::null_mut(), sid.bytes.as_mut_ptr().cast(), &raw mut length)
        };
        if made == 0 { Err(io::Error::last_os_error()) } else { Ok(sid) }
    }

    fn is(&self, other: *mut c_void) -> bool {
        // SAFETY: both are valid identifiers: one made by the system here, one in a list of its own.
        unsafe { EqualSid(self.bytes.as_ptr().cast_mut().cast(), other) != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::security::Descriptor;
    use super::*;

    fn by(sddl: &str) -> (bool, bool) {
        let descriptor = Descriptor::parse(sddl).unwrap();
        let open = open(descriptor.list().unwrap()).unwrap();
        (open.read, open.written)
    }

    #[test]
    fn what_any_user_may_do() {
        assert_eq!(by("D:P(A;;FA;;;SY)(A;;FA;;;BA)"), (false, false));
        assert_eq!(by("D:P(A;;FA;;;SY)(A;;FR;;;BU)"), (true, false));
        assert_eq!(by("D:(A;;FR;;;WD)"), (true, false));
        assert_eq!(by("D:(A;;GA;;;AU)"), (true, true));
        assert_eq!(by("D:(A;;FW;;;IU)"), (false, true));
        assert_eq!(by("D:(A;;WD;;;WD)"), (false, true), "may change the list");
        assert_eq!(by("D:(A;OICIIO;FA;;;WD)"), (false, false), "for what is made in it");
        assert_eq!(by("D:(D;;FR;;;WD)(A;;FR;;;WD)"), (false, false));
        assert_eq!(by("D:(A;;FR;;;WD)(D;;FR;;;WD)"), (true, false), "the order counts");
        assert_eq!(open(ptr::null()).unwrap(), Open { read: true, written: true }, "no list");
        let descriptor = Descriptor::owner_only(false).unwrap();
        assert_eq!(open(descriptor.list().unwrap()).unwrap(), Open::default());
    }
}
