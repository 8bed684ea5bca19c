//! Giving up what the brain does not need (capabilities(7), seccomp(2)).

use std::io;

use caps::CapSet;
use nix::unistd::{Gid, Uid, User, getegid, geteuid, setgroups, setresgid, setresuid};

use super::system_calls;

/// Whether part of it can only be taken by the parent, when it [starts](super::process::spawn_confined) the child.
pub const BY_PARENT: bool = false;

/// Why privileges or system calls could not be given up. Go no further: the process may still have privileges.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More than one thread runs, and the others would keep their privileges. Nothing was given up.
    #[error("{0} threads run; privileges must be dropped before threads are started")]
    Threads(usize),
    /// A step failed; those before it are done.
    #[error("cannot {step}: {source}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The filter could not be built or installed; no system call that is in use was forbidden.
    #[error("cannot filter system calls: {0}")]
    Filter(String),
}

/// What is left after [`drop_privileges`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The user that the process became. `None`: the user stayed (it was not root, or root of a user namespace that
    /// has no such user); only capabilities were dropped.
    pub user: Option<String>,
    /// The user id now.
    pub uid: u32,
    /// The group id now.
    pub gid: u32,
}

/// A user to become: numbers, so that whoever becomes it need not ask a name service, which may hang.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name, for messages.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The id of the user's own group.
    pub gid: u32,
}

/// The account of this name, root or not. Asks the system's name service, which may take its time.
///
/// # Errors
/// [`Error::Step`]: the name service failed.
pub fn account(name: &str) -> Result<Option<Account>, Error> {
    let found = User::from_name(name)
        .map_err(|error| Error::Step { step: "read the user database", source: error.into() })?;
    Ok(found.map(|user| Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
}

/// The id of the group of this name. Asks the system's name service, which may take its time.
#[must_use]
pub fn group(name: &str) -> Option<u32> {
    nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

/// This process may become another user, as far as that is a matter of who it is.
#[must_use]
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// The user that this process is, by number.
#[must_use]
pub fn user() -> u32 {
    geteuid().as_raw()
}

/// Becomes `account`, with its group and no others, then drops all capabilities from every set, for good:
/// `no_new_privs` keeps later programs from getting any (prctl(2)). The user stays where there is no account, where the
/// process is not root, and where root may not change it (a user namespace that lacks that user, a container without
/// `CAP_SETUID` and `CAP_SETGID`); the capabilities go in any case. Open sockets, limits and the scheduling of threads
/// stay. Call it with a single thread: capabilities belong to threads.
///
/// # Errors
/// [`Error`]: privileges may be left, do not go on.
pub fn drop_privileges(account: Option<&Account>) -> Result<Dropped, Error> {
    let step = |step: &'static str| move |source: io::Error| Error::Step { step, source };
    let threads = std::fs::read_dir("/proc/self/task").map_err(step("count threads"))?.count();
    if threads != 1 {
        return Err(Error::Threads(threads));
    }
    let account = account.filter(|account| account.uid != 0 && geteuid().is_root());
    let account = match account {
        Some(account) if may_become(account)? => Some(account),
        _ => None,
    };
    // While CAP_SETPCAP is still there. Without it the set stays, and is harmless: see `no_new_privs` below.
    if has(caps::Capability::CAP_SETPCAP) {
        caps::clear(None, CapSet::Bounding).map_err(capability_error("empty the bounding set"))?;
    }
    if let Some(account) = account {
        let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        let errno = |error: nix::errno::Errno| io::Error::from(error);
        setgroups(&[]).map_err(errno).map_err(step("leave all groups"))?;
        setresgid(gid, gid, gid).map_err(errno).map_err(step("change the group"))?;
        setresuid(uid, uid, uid).map_err(errno).map_err(step("change the user"))?;
    }
    caps::clear(None, CapSet::Ambient).map_err(capability_error("empty the ambient set"))?;
    caps::clear(None, CapSet::Effective).map_err(capability_error("drop effective capabilities"))?;
    caps::clear(None, CapSet::Permitted).map_err(capability_error("drop permitted capabilities"))?;
    caps::clear(None, CapSet::Inheritable).map_err(capability_error("drop inheritable capabilities"))?;
    nix::sys::prctl::set_no_new_privs()
        .map_err(|error| Error::Step { step: "set no_new_privs", source: error.into() })?;
    let (uid, gid): (Uid, Gid) = (geteuid(), getegid());
    Ok(Dropped { user: account.map(|account| account.name.clone()), uid: uid.as_raw(), gid: gid.as_raw() })
}

fn has(capability: caps::Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// Whether this process, as root, may become that account here: a user namespace may lack it. Where it may, not to succeed is
/// an error.
///
/// # Errors
/// [`Error::Step`]: the namespace's maps cannot be read.
pub fn may_become(account: &Account) -> Result<bool, Error> {
    let groups = std::fs::read_to_string("/proc/self/setgroups").unwrap_or_default();
    Ok(has(caps::Capability::CAP_SETUID)
        && has(caps::Capability::CAP_SETGID)
        && groups.trim() != "deny"
        && is_mapped("/proc/self/uid_map", account.uid)?
        && is_mapped("/proc/self/gid_map", account.gid)?)
}

fn capability_error(step: &'static str) -> impl Fn(caps::errors::CapsError) -> Error {
    move |error| Error::Step { step, source: io::Error::other(error.to_string()) }
}

/// Whether an id exists in this user namespace (user_namespaces(7): first id inside, first id outside, how many).
fn is_mapped(map: &str, id: u32) -> Result<bool, Error> {
    let text = std::fs::read_to_string(map)
        .map_err(|source| Error::Step { step: "read the user namespace's map", source })?;
    Ok(text.lines().any(|line| {
        let mut fields = line.split_whitespace().map(|field| field.parse::<u64>().unwrap_or(0));
        let (first, _, count) = (fields.next().unwrap_or(0), fields.next(), fields.next().unwrap_or(0));
        (first..first + count).contains(&u64::from(id))
    }))
}

/// Forbids all system calls but those that a brain with its sockets open needs, in all threads and for good; the others
/// fail with `EPERM`. What stays: waiting, sockets that exist, new Unix sockets, timers, memory that is not executable,
/// new threads (no new processes), files that are open, opening files for reading. Call it after
/// [`drop_privileges`]; it sets `no_new_privs` itself.
///
/// # Errors
/// [`Error::Filter`].
pub fn filter_system_calls() -> Result<(), Error> {
    system_calls::install().map_err(Error::Filter)
}
