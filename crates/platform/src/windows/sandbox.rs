//! Giving up what the brain does not need: privileges, the highest level of integrity, new processes.
//!
//! A process cannot become another user on Windows, and its token cannot be replaced. What it can give up by itself, for good:
//! all privileges (AdjustTokenPrivileges, SE_PRIVILEGE_REMOVED) but the one to pass through folders, and its level of integrity,
//! so that it may neither write to nor look into processes of the system and of administrators. It stays the same user, so files
//! that are open to that user stay so.

mod limits;
mod token;

use std::io;

/// Why privileges or the right to start processes could not be given up. Go no further: the process may still have
/// privileges.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step failed; those before it are done.
    #[error("cannot {step}: {source}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// Not everything was forbidden; what, by name.
    #[error("not forbidden: {0}")]
    Filter(String),
}

/// What is left after [`drop_privileges`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// What the process is now, in words. Always there.
    pub user: Option<String>,
    /// Has no meaning here.
    pub uid: u32,
    /// Has no meaning here.
    pub gid: u32,
}

/// A user to become. There is none on Windows: [`account`] finds nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name, for messages.
    pub name: String,
    /// Has no meaning here.
    pub uid: u32,
    /// Has no meaning here.
    pub gid: u32,
}

/// Nobody: processes cannot become another user.
///
/// # Errors
/// None here.
pub fn account(_name: &str) -> Result<Option<Account>, Error> {
    Ok(None)
}

/// None: who may use what is said otherwise here.
#[must_use]
pub fn group(_name: &str) -> Option<u32> {
    None
}

/// False: this process cannot become another user, whoever it is.
#[must_use]
pub fn is_root() -> bool {
    false
}

/// Has no meaning here.
#[must_use]
pub fn user() -> u32 {
    0
}

/// False: this process cannot become another user.
///
/// # Errors
/// None here.
pub fn may_become(_account: &Account) -> Result<bool, Error> {
    Ok(false)
}

/// Gives up all privileges of this process but SeChangeNotifyPrivilege, and lowers its integrity to medium unless it is lower;
/// in all threads, for good. Where administrators are a group that may be left (in a service that is LocalSystem they are), it
/// leaves that group; that is not for good, since a process may take part in its groups again. The user stays. Handles that are open, priorities and
/// the working set stay. [`Dropped::user`] says what was really given up, as the system then tells it.
///
/// # Errors
/// [`Error::Step`]: privileges may be left, do not go on.
pub fn drop_privileges(_account: Option<&Account>) -> Result<Dropped, Error> {
    let step = |step: &'static str| move |source: io::Error| Error::Step { step, source };
    let token = token::Token::own().map_err(step("open the token of this process"))?;
    token.remove_privileges().map_err(step("give up privileges"))?;
    let left = token.leave_administrators();
    token.lower_integrity().map_err(step("lower the level of integrity"))?;
    let privileges = token.privileges().map_err(step("read the privileges that are left"))?;
    let integrity = token.integrity().map_err(step("read the level of integrity"))?;
    let groups = if left { ", outside the group of administrators" } else { "" };
    let user = format!("this user at {integrity} integrity, with {privileges} privileges{groups}");
    Ok(Dropped { user: Some(user), uid: 0, gid: 0 })
}

/// Forbids what a brain with its sockets open does not need, for good: to start processes (a job with room for one), memory
/// that is made executable later, and libraries that others have it load (SetProcessMitigationPolicy: dynamic code, extension
/// points, libraries from other machines or of low integrity). There is no filter of system calls on Windows.
///
/// # Errors
/// [`Error::Filter`] names what was refused; the rest is forbidden.
pub fn filter_system_calls() -> Result<(), Error> {
    let refused = limits::forbid();
    if refused.is_empty() { Ok(()) } else { Err(Error::Filter(refused.join(", "))) }
}
