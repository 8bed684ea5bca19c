//! Giving up what the brain does not need (capabilities(7), seccomp(2)).

use std::io;

use caps::CapSet;
use nix::unistd::{Gid, Uid, User, getegid, geteuid, setgroups, setresgid, setresuid};

use super::system_calls;

/// Why privileges or system calls could not be given up. Go no further: the process may still have privileges.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None of the users exists; nothing was given up.
    #[error("no such user: {0}")]
    NoUser(String),
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

/// Becomes the first of the `candidates` that exists (if root, and not one in a user namespace that lacks that user),
/// with that user's group and no others, then drops all capabilities from every set, for good: `no_new_privs` keeps
/// later programs from getting any (prctl(2)). Open sockets, limits and the scheduling of threads stay. Call it with a
/// single thread: capabilities belong to threads.
///
/// # Errors
/// [`Error`].
pub fn drop_privileges(candidates: &[&str]) -> Result<Dropped, Error> {
    let step = |step: &'static str| move |source: io::Error| Error::Step { step, source };
    let threads = std::fs::read_dir("/proc/self/task").map_err(step("count threads"))?.count();
    if threads != 1 {
        return Err(Error::Threads(threads));
    }
    let user = if geteuid().is_root() { Some(find_user(candidates)?) } else { None };
    let user = match user {
        Some(user)
            if is_mapped("/proc/self/uid_map", user.uid.as_raw())?
                && is_mapped("/proc/self/gid_map", user.gid.as_raw())? =>
        {
            Some(user)
        }
        _ => None,
    };
    // While CAP_SETPCAP is still there. Without it the set stays, and is harmless: see `no_new_privs` below.
    if caps::has_cap(None, CapSet::Effective, caps::Capability::CAP_SETPCAP).unwrap_or(false) {
        caps::clear(None, CapSet::Bounding).map_err(capability_error("empty the bounding set"))?;
    }
    if let Some(user) = &user {
        let errno = |error: nix::errno::Errno| io::Error::from(error);
        setgroups(&[]).map_err(errno).map_err(step("leave all groups"))?;
        setresgid(user.gid, user.gid, user.gid).map_err(errno).map_err(step("change the group"))?;
        setresuid(user.uid, user.uid, user.uid).map_err(errno).map_err(step("change the user"))?;
    }
    caps::clear(None, CapSet::Ambient).map_err(capability_error("empty the ambient set"))?;
    caps::clear(None, CapSet::Effective).map_err(capability_error("drop effective capabilities"))?;
    caps::clear(None, CapSet::Permitted).map_err(capability_error("drop permitted capabilities"))?;
    caps::clear(None, CapSet::Inheritable).map_err(capability_error("drop inheritable capabilities"))?;
    nix::sys::prctl::set_no_new_privs()
        .map_err(|error| Error::Step { step: "set no_new_privs", source: error.into() })?;
    let (uid, gid): (Uid, Gid) = (geteuid(), getegid());
    Ok(Dropped { user: user.map(|user| user.name), uid: uid.as_raw(), gid: gid.as_raw() })
}

fn capability_error(step: &'static str) -> impl Fn(caps::errors::CapsError) -> Error {
    move |error| Error::Step { step, source: io::Error::other(error.to_string()) }
}

fn find_user(candidates: &[&str]) -> Result<User, Error> {
    for name in candidates {
        let found = User::from_name(name)
            .map_err(|error| Error::Step { step: "read the user database", source: error.into() })?;
        // A "user" that is root would drop nothing.
        if let Some(user) = found.filter(|user| !user.uid.is_root()) {
            return Ok(user);
        }
    }
    Err(Error::NoUser(candidates.join(", ")))
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
