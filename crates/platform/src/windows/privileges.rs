//! What the keeper must be permitted to do, and whether it is.

use windows_sys::Win32::Security::{
    AllocateAndInitializeSid, CheckTokenMembership, FreeSid, PSID, SECURITY_NT_AUTHORITY,
};
use windows_sys::Win32::System::SystemServices::{DOMAIN_ALIAS_RID_ADMINS, SECURITY_BUILTIN_DOMAIN_RID};

/// What to do where it is missing.
pub const REMEDY: &str = "run it as the service (vipdrift service install), or from a command prompt that was opened with \"Run as administrator\"";

/// Needed rights that this process lacks: addresses are changed by administrators only (CreateUnicastIpAddressEntry,
/// ERROR_ACCESS_DENIED). A member of the group whose prompt was not elevated does not count.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    if is_administrator() { Vec::new() } else { vec!["administrator rights"] }
}

fn is_administrator() -> bool {
    let mut group: PSID = std::ptr::null_mut();
    let (domain, administrators) = (SECURITY_BUILTIN_DOMAIN_RID as u32, DOMAIN_ALIAS_RID_ADMINS as u32);
    // SAFETY: the authority is a constant, the pointer to write to lives across the call.
    let made = unsafe {
        AllocateAndInitializeSid(
            &SECURITY_NT_AUTHORITY,
            2,
            domain,
            administrators,
            0,
            0,
            0,
            0,
            0,
            0,
            &raw mut group,
        )
    };
    if made == 0 {
        return false;
    }
    let mut member = 0;
    // SAFETY: a null token means that of this thread; the group was just made, the flag lives across the call.
    let known = unsafe { CheckTokenMembership(std::ptr::null_mut(), group, &raw mut member) };
    // SAFETY: made above, and not used after this.
    unsafe { FreeSid(group) };
    known != 0 && member != 0
}
