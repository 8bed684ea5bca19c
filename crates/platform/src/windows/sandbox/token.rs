//! The token of this process: what it may.

use std::io;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_NOT_ALL_ASSIGNED, GetLastError, LUID};
use windows_sys::Win32::Security::{
    AdjustTokenGroups, AdjustTokenPrivileges, CreateWellKnownSid, EqualSid, GetSidSubAuthority,
    GetSidSubAuthorityCount, LUID_AND_ATTRIBUTES, LookupPrivilegeValueW, SE_PRIVILEGE_REMOVED,
    SECURITY_MAX_SID_SIZE, SID_AND_ATTRIBUTES, SetTokenInformation, TOKEN_ADJUST_DEFAULT,
    TOKEN_ADJUST_GROUPS, TOKEN_ADJUST_PRIVILEGES, TOKEN_GROUPS, TOKEN_MANDATORY_LABEL, TOKEN_PRIVILEGES,
    TOKEN_QUERY, TokenGroups, TokenIntegrityLevel, TokenPrivileges, WELL_KNOWN_SID_TYPE,
    WinBuiltinAdministratorsSid, WinMediumLabelSid,
};
use windows_sys::Win32::System::SystemServices::{
    SE_GROUP_ENABLED, SE_GROUP_INTEGRITY, SE_GROUP_MANDATORY, SECURITY_MANDATORY_MEDIUM_RID,
};

use super::super::security::{ask_token, own_token};
use super::super::text::wide;

pub(super) struct Token {
    token: OwnedHandle,
}

/// An identifier in words of eight bytes, since the system keeps structures there.
type Sid = [u64; SECURITY_MAX_SID_SIZE.div_ceil(8) as usize];

fn well_known(kind: WELL_KNOWN_SID_TYPE) -> io::Result<Sid> {
    let mut sid = Sid::default();
    let mut length = SECURITY_MAX_SID_SIZE;
    // SAFETY: address and length are those of `sid`; there is no domain.
    let made = unsafe { CreateWellKnownSid(kind, ptr::null_mut(), sid.as_mut_ptr().cast(), &raw mut length) };
    done(made)?;
    Ok(sid)
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Token {
    pub(super) fn own() -> io::Result<Self> {
        let access = TOKEN_QUERY | TOKEN_ADJUST_PRIVILEGES | TOKEN_ADJUST_DEFAULT | TOKEN_ADJUST_GROUPS;
        Ok(Self { token: own_token(access)? })
    }

    /// Privileges as they are now, removed ones left out.
    fn list(&self) -> io::Result<Vec<LUID_AND_ATTRIBUTES>> {
        let answer = ask_token(&self.token, TokenPrivileges)?;
        // SAFETY: for this question the answer is this structure, with so many entries as it says.
        let entries = unsafe {
            let head = answer.as_ptr().cast::<TOKEN_PRIVILEGES>();
            std::slice::from_raw_parts(
                (&raw const (*head).Privileges).cast(),
                (*head).PrivilegeCount as usize,
            )
        };
        let entries: &[LUID_AND_ATTRIBUTES] = entries;
        Ok(entries.iter().copied().filter(|entry| entry.Attributes & SE_PRIVILEGE_REMOVED == 0).collect())
    }

    /// How many there are besides the one that is kept.
    pub(super) fn privileges(&self) -> io::Result<usize> {
        let kept = passing_through()?;
        Ok(self.list()?.iter().filter(|entry| !same(entry.Luid, kept)).count())
    }

    /// Gives up all of them but passing through folders, without which paths could not be opened.
    pub(super) fn remove_privileges(&self) -> io::Result<()> {
        let kept = passing_through()?;
        for entry in self.list()? {
            if same(entry.Luid, kept) {
                continue;
            }
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

    /// Leaves the group of administrators, if it is one that may be left. Whether it is outside afterwards.
    pub(super) fn leave_administrators(&self) -> bool {
        let Ok(group) = well_known(WinBuiltinAdministratorsSid) else { return false };
        let Ok(answer) = ask_token(&self.token, TokenGroups) else { return false };
        // SAFETY: for this question the answer is this structure, with so many entries as it says, whose pointers are into
        // the answer.
        let entries: &[SID_AND_ATTRIBUTES] = unsafe {
            let head = answer.as_ptr().cast::<TOKEN_GROUPS>();
            std::slice::from_raw_parts((&raw const (*head).Groups).cast(), (*head).GroupCount as usize)
        };
        // SAFETY: both are valid identifiers.
        let is_group = |entry: &&SID_AND_ATTRIBUTES| unsafe {
            EqualSid(entry.Sid, group.as_ptr().cast_mut().cast()) != 0
        };
        let Some(entry) = entries.iter().find(is_group) else { return true };
        #[expect(clippy::cast_sign_loss, reason = "bits")]
        let (mandatory, enabled) = (SE_GROUP_MANDATORY as u32, SE_GROUP_ENABLED as u32);
        if entry.Attributes & enabled == 0 {
            return true;
        }
        if entry.Attributes & mandatory != 0 {
            return false;
        }
        let one =
            TOKEN_GROUPS { GroupCount: 1, Groups: [SID_AND_ATTRIBUTES { Sid: entry.Sid, Attributes: 0 }] };
        // SAFETY: the token is open; the system reads the structure and the identifier only.
        unsafe {
            AdjustTokenGroups(
                self.token.as_raw_handle(),
                0,
                &raw const one,
                0,
                ptr::null_mut(),
                ptr::null_mut(),
            ) != 0
        }
    }

    /// Medium, unless it is lower.
    pub(super) fn lower_integrity(&self) -> io::Result<()> {
        #[expect(clippy::cast_sign_loss, reason = "a constant that is not negative")]
        if self.level()? <= SECURITY_MANDATORY_MEDIUM_RID as u32 {
            return Ok(());
        }
        let mut medium = well_known(WinMediumLabelSid)?;
        #[expect(clippy::cast_sign_loss, reason = "bits")]
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

fn passing_through() -> io::Result<LUID> {
    let name = wide("SeChangeNotifyPrivilege");
    let mut luid = LUID { LowPart: 0, HighPart: 0 };
    // SAFETY: the name ends with zero; null means this machine; the system writes to `luid`.
    done(unsafe { LookupPrivilegeValueW(ptr::null(), name.as_ptr(), &raw mut luid) })?;
    Ok(luid)
}

fn same(first: LUID, second: LUID) -> bool {
    (first.LowPart, first.HighPart) == (second.LowPart, second.HighPart)
}
