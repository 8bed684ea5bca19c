//! Giving up what the brain does not need: privileges, the highest level of integrity, new processes.
//!
//! A process cannot become another user on Windows, and its token cannot be replaced. What it can give up by itself, for good:
//! all privileges (AdjustTokenPrivileges, SE_PRIVILEGE_REMOVED) but the one to pass through folders, and its level of integrity,
//! so that it may neither write to nor look into processes of the system and of administrators. It stays the same user, in the same
//! groups, so files that are open to those stay so. The group of administrators is taken from it by whoever starts it
//! ([`spawn_confined`](super::process::spawn_confined)).

mod limits;
pub(super) mod token;

use std::io;

/// Whether part of it can only be taken by the parent, when it [starts](super::process::spawn_confined) the child.
pub const BY_PARENT: bool = true;

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
/// in all threads, for good. The user and the groups stay: to leave the group of administrators for good takes another process.
/// Handles that are open, priorities and the working set stay. [`Dropped::user`] says what was really given up, as the system
/// then tells it.
///
/// # Errors
/// [`Error::Step`]: privileges may be left, do not go on.
pub fn drop_privileges(_account: Option<&Account>) -> Result<Dropped, Error> {
    let step = |step: &'static str| move |source: io::Error| Error::Step { step, source };
    let token = token::Token::own().map_err(step("open the token of this process"))?;
    token.remove_privileges().map_err(step("give up privileges"))?;
    token.lower_integrity().map_err(step("lower the level of integrity"))?;
    let privileges = token.privileges().map_err(step("read the privileges that are left"))?;
    let integrity = token.integrity().map_err(step("read the level of integrity"))?;
    let administrator = token.is_administrator().map_err(step("read the groups"))?;
    let which = if administrator { "this user" } else { "this user, no administrator," };
    let user = format!("{which} at {integrity} integrity, with {privileges} privileges");
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
