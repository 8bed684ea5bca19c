//! The token of this process: what it may.

use std::io;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_NO_SUCH_PRIVILEGE, ERROR_NOT_ALL_ASSIGNED, GetLastError, LUID};
use windows_sys::Win32::Security::{
    AdjustTokenPrivileges, EqualSid, GetSidSubAuthority, GetSidSubAuthorityCount, LUID_AND_ATTRIBUTES,
    LookupPrivilegeValueW, SE_PRIVILEGE_REMOVED, SID_AND_ATTRIBUTES, SetTokenInformation,
    TOKEN_ADJUST_DEFAULT, TOKEN_ADJUST_PRIVILEGES, TOKEN_GROUPS, TOKEN_MANDATORY_LABEL, TOKEN_PRIVILEGES,
    TOKEN_QUERY, TokenGroups, TokenIntegrityLevel, TokenPrivileges, WinBuiltinAdministratorsSid,
    WinMediumLabelSid,
};
use windows_sys::Win32::System::SystemServices::{
    SE_GROUP_ENABLED, SE_GROUP_INTEGRITY, SECURITY_MANDATORY_MEDIUM_RID,
};

use super::super::security::{ask_token, own_token, well_known};
use super::super::text::wide;

pub(super) struct Token {
    token: OwnedHandle,
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Token {
    pub(super) fn own() -> io::Result<Self> {
        let access = TOKEN_QUERY | TOKEN_ADJUST_PRIVILEGES | TOKEN_ADJUST_DEFAULT;
        Ok(Self { token: own_token(access)? })
    }

    /// How many privileges there are besides the one that is kept.
    pub(super) fn privileges(&self) -> io::Result<usize> {
        privileges_but(&self.token, &[PASSING_THROUGH]).map(|privileges| privileges.len())
    }

    /// Gives up all of them but passing through folders, without which paths could not be opened.
    pub(super) fn remove_privileges(&self) -> io::Result<()> {
        for entry in privileges_but(&self.token, &[PASSING_THROUGH])? {
            let one = TOKEN_PRIVILEGES {
                PrivilegeCount: 1,
                Privileges: [LUID_AND_ATTRIBUTES { Luid: entry.Luid, Attributes: SE_PRIVILEGE_REMOVED }],
            };
            // SAFETY: the token is open; the system reads the structure only.
            let adjusted = unsafe {
                AdjustTokenPrivileges(
                    self.token.as_raw_handle(),
                    0,
                    &raw const one,
                    0,
                    ptr::null_mut(),
                    ptr::null_mut(),
                )
            };
            done(adjusted)?;
            // SAFETY: takes no pointer.
            if unsafe { GetLastError() } == ERROR_NOT_ALL_ASSIGNED {
                return Err(io::Error::from_raw_os_error(ERROR_NOT_ALL_ASSIGNED.cast_signed()));
            }
        }
        Ok(())
    }

    /// Whether what administrators may this process may.
    pub(super) fn is_administrator(&self) -> io::Result<bool> {
        let mut administrators = well_known(WinBuiltinAdministratorsSid)?;
        let answer = ask_token(&self.token, TokenGroups)?;
        // SAFETY: for this question the answer is this structure, with so many entries as it says, whose pointers are to valid
        // identifiers in the answer.
        let entries = unsafe {
            let head = answer.as_ptr().cast::<TOKEN_GROUPS>();
            std::slice::from_raw_parts((&raw const (*head).Groups).cast(), (*head).GroupCount as usize)
        };
        let entries: &[SID_AND_ATTRIBUTES] = entries;
        Ok(entries.iter().any(|group| {
            // SAFETY: both are valid identifiers, as said above.
            let same = unsafe { EqualSid(group.Sid, administrators.as_mut_ptr().cast()) } != 0;
            same && group.Attributes & SE_GROUP_ENABLED as u32 != 0
        }))
    }

    /// Medium, unless it is lower.
    pub(super) fn lower_integrity(&self) -> io::Result<()> {
        if self.level()? <= SECURITY_MANDATORY_MEDIUM_RID as u32 {
            return Ok(());
        }
        let mut medium = well_known(WinMediumLabelSid)?;
        let label = TOKEN_MANDATORY_LABEL {
            Label: SID_AND_ATTRIBUTES {
                Sid: medium.as_mut_ptr().cast(),
                Attributes: SE_GROUP_INTEGRITY as u32,
            },
        };
        #[expect(clippy::cast_possible_truncation, reason = "some bytes")]
        let length = size_of_val(&label) as u32;
        // SAFETY: the token is open; the system reads the structure, whose length is its own, and the identifier that it points
        // to, which lives across the call.
        done(unsafe {
            SetTokenInformation(
                self.token.as_raw_handle(),
                TokenIntegrityLevel,
                (&raw const label).cast(),
                length,
            )
        })
    }

    fn level(&self) -> io::Result<u32> {
        let answer = ask_token(&self.token, TokenIntegrityLevel)?;
        // SAFETY: for this question the answer is this structure, whose pointer is to a valid identifier in the answer; the
        // last part of that is the level.
        Ok(unsafe {
            let sid = (*answer.as_ptr().cast::<TOKEN_MANDATORY_LABEL>()).Label.Sid;
            let count = *GetSidSubAuthorityCount(sid);
            *GetSidSubAuthority(sid, u32::from(count).saturating_sub(1))
        })
    }

    /// In words.
    pub(super) fn integrity(&self) -> io::Result<&'static str> {
        Ok(match self.level()? {
            0..0x1000 => "no",
            0x1000..0x2000 => "low",
            0x2000..0x3000 => "medium",
            0x3000..0x4000 => "high",
            _ => "system",
        })
    }
}

/// Without it paths could not be opened.
pub(in super::super) const PASSING_THROUGH: &str = "SeChangeNotifyPrivilege";

/// The privileges of a token but those of these names, which the system need not know. Removed ones are none.
pub(in super::super) fn privileges_but(
    token: &OwnedHandle,
    kept: &[&str],
) -> io::Result<Vec<LUID_AND_ATTRIBUTES>> {
    let kept = kept.iter().filter_map(|name| privilege(name).transpose()).collect::<io::Result<Vec<_>>>()?;
    let answer = ask_token(token, TokenPrivileges)?;
    // SAFETY: for this question the answer is this structure, with so many entries as it says.
    let entries = unsafe {
        let head = answer.as_ptr().cast::<TOKEN_PRIVILEGES>();
        std::slice::from_raw_parts((&raw const (*head).Privileges).cast(), (*head).PrivilegeCount as usize)
    };
    let entries: &[LUID_AND_ATTRIBUTES] = entries;
    let goes = |entry: &LUID_AND_ATTRIBUTES| {
        entry.Attributes & SE_PRIVILEGE_REMOVED == 0 && !kept.iter().any(|kept| same(entry.Luid, *kept))
    };
    Ok(entries.iter().copied().filter(goes).collect())
}

/// What the system calls a privilege, if it knows it.
fn privilege(name: &str) -> io::Result<Option<LUID>> {
    let name = wide(name);
    let mut luid = LUID { LowPart: 0, HighPart: 0 };
    // SAFETY: the name ends with zero; null means this machine; the system writes to `luid`.
    match done(unsafe { LookupPrivilegeValueW(ptr::null(), name.as_ptr(), &raw mut luid) }) {
        Err(error) if error.raw_os_error() == Some(ERROR_NO_SUCH_PRIVILEGE.cast_signed()) => Ok(None),
        known => known.map(|()| Some(luid)),
    }
}

fn same(first: LUID, second: LUID) -> bool {
    (first.LowPart, first.HighPart) == (second.LowPart, second.HighPart)
}
