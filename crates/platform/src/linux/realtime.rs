//! Running on time although the machine is busy (sched(7), mlock(2), setrlimit(2)). Everything here may be refused;
//! the daemon then runs in a degraded mode and says so.

use std::io;
use std::time::Duration;

/// What was refused. Everything not named in it was done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Limits that could not be raised, by name.
    #[error("limits not raised: {}", .0.iter().map(|(name, error)| format!("{name} ({error})")).collect::<Vec<_>>().join(", "))]
    Limits(Vec<(&'static str, io::Error)>),
    /// Real-time scheduling: needs `CAP_SYS_NICE` or `RLIMIT_RTPRIO`, and a control group with a real-time budget where
    /// the kernel was built with `RT_GROUP_SCHED`.
    #[error("real-time scheduling refused: {0}")]
    RealTime(#[source] io::Error),
    /// Memory was not locked, because `RLIMIT_MEMLOCK` is finite: memory asked for later would then be refused.
    #[error("memory not locked: RLIMIT_MEMLOCK is {0} bytes, not unlimited")]
    MemoryLimit(u64),
    /// Memory was not locked.
    #[error("memory not locked: {0}")]
    Memory(#[source] io::Error),
    /// Parts of the fallback that were refused, by name.
    #[error("fallback incomplete: {}", .0.iter().map(|(name, error)| format!("{name} ({error})")).collect::<Vec<_>>().join(", "))]
    Fallback(Vec<(&'static str, io::Error)>),
}

/// The highest real-time priority that an unprivileged process may then take.
const PRIORITY_LIMIT: u64 = 50;

/// CPU time that a real-time thread may use without ever sleeping; then the kernel ends the process (`SIGXCPU`).
///
/// Meant for a runaway loop only, which at real-time priority would lock an operator out of a small machine: dying is
/// the safe outcome, the keeper starts a new brain and the lease ends without a keeper. The longest honest stretch is a
/// keeper that mounts 1,000 IPv6 addresses (measured: up to 2.4 s spent spinning on the kernel's lock), and a stall of
/// the machine costs no CPU time, so twice that is far from both.
const RUNAWAY: Duration = Duration::from_secs(5);

/// Raises the limits that [`real_time`], [`lock_memory`] and [`fallback`] need, for this process and its children:
/// real-time priority, locked memory without limit, nice values down to -20; and sets the limit that ends a real-time
/// thread gone wild after 5 s of CPU time without sleep. Tries each; needs `CAP_SYS_RESOURCE` where the limits given by
/// the system are lower.
///
/// # Errors
/// [`Error::Limits`] names those that stayed lower; they are as high as the system allows.
pub fn raise_limits() -> Result<(), Error> {
    let micros = u64::try_from(RUNAWAY.as_micros()).unwrap_or(u64::MAX);
    let mut refused = Vec::new();
    let mut note = |name, result: io::Result<()>| {
        if let Err(error) = result {
            refused.push((name, error));
        }
    };
    note("RLIMIT_RTPRIO", raise(libc::RLIMIT_RTPRIO, PRIORITY_LIMIT));
    note("RLIMIT_MEMLOCK", raise(libc::RLIMIT_MEMLOCK, libc::RLIM_INFINITY));
    // A limit of n allows nice values down to 20 - n (getrlimit(2)).
    note("RLIMIT_NICE", raise(libc::RLIMIT_NICE, 40));
    note("RLIMIT_RTTIME", lower(libc::RLIMIT_RTTIME, micros));
    if refused.is_empty() { Ok(()) } else { Err(Error::Limits(refused)) }
}

/// The C libraries disagree on the type of resource names.
#[cfg(target_env = "gnu")]
type ResourceName = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type ResourceName = libc::c_int;

fn limits(resource: ResourceName) -> io::Result<libc::rlimit> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes to `limits` only.
    if unsafe { libc::getrlimit(resource, &raw mut limits) } == 0 {
        Ok(limits)
    } else {
        Err(io::Error::last_os_error())
    }
}

fn set_limits(resource: ResourceName, limits: libc::rlimit) -> io::Result<()> {
    // SAFETY: the kernel only reads `limits`.
    if unsafe { libc::setrlimit(resource, &raw const limits) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// At least `wanted`, and never less than before.
fn raise(resource: ResourceName, wanted: u64) -> io::Result<()> {
    let now = limits(resource)?;
    if now.rlim_cur >= wanted {
        return Ok(());
    }
    set_limits(resource, libc::rlimit { rlim_cur: wanted, rlim_max: now.rlim_max.max(wanted) }).inspect_err(
        |_| {
            // As far as it goes without privilege.
            let _ = set_limits(resource, libc::rlimit { rlim_cur: now.rlim_max, rlim_max: now.rlim_max });
        },
    )
}

/// At most `wanted`, which never needs a privilege. The hard limit stays, so that it can be undone.
fn lower(resource: ResourceName, wanted: u64) -> io::Result<()> {
    let now = limits(resource)?;
    if now.rlim_cur <= wanted {
        return Ok(());
    }
    set_limits(resource, libc::rlimit { rlim_cur: wanted.min(now.rlim_max), rlim_max: now.rlim_max })
}

/// Real-time scheduling (`SCHED_FIFO`) for the calling thread, with a priority from 1 to 99. Threads and processes it
/// starts later are ordinary again. It survives dropping privileges, which may end the permission for it: call it
/// before, in the thread that is to have it.
///
/// # Errors
/// [`Error::RealTime`]: the thread is scheduled as before.
pub fn real_time(priority: u8) -> Result<(), Error> {
    // SAFETY: all-zero bytes are a valid sched_param (musl has more fields than one).
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority.into();
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // The bare system call: for a thread, and because musl's function refuses by design.
    // SAFETY: the kernel only reads `parameters`; 0 means the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(Error::RealTime(io::Error::last_os_error())) }
}

/// Undoes [`real_time`] for the calling thread.
pub fn ordinary() {
    // SAFETY: all-zero bytes are a valid sched_param, with the only priority that ordinary scheduling has.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel only reads `parameters`; 0 means the calling thread. Less than one has needs no privilege.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_OTHER, &raw const parameters) };
}

/// Keeps the memory of this process from being swapped out, now and later. Pages are locked when first used
/// (`MCL_ONFAULT`), so memory that is reserved but never used, thread stacks above all, costs nothing. Children start
/// unlocked. Call [`raise_limits`] before.
///
/// # Errors
/// [`Error::MemoryLimit`], [`Error::Memory`]: no memory is locked.
pub fn lock_memory() -> Result<(), Error> {
    // With a finite limit this call may succeed and a later allocation then fail, perhaps after privileges were dropped.
    let limit = limits(libc::RLIMIT_MEMLOCK).map_err(Error::Memory)?.rlim_cur;
    if limit != libc::RLIM_INFINITY {
        return Err(Error::MemoryLimit(limit));
    }
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: mlockall(2) takes no pointer and does not change the contents of memory.
    if unsafe { libc::mlockall(flags) } == 0 {
        Ok(())
    } else {
        Err(Error::Memory(io::Error::last_os_error()))
    }
}

/// The next best thing where [`real_time`] was refused, for the calling thread: timers exact to the nanosecond instead
/// of 50 microseconds (`PR_SET_TIMERSLACK`), nice -20, and nice -20 for the session's autogroup. The last matters
/// most: with autogroups, the system's default, a thread's nice value counts inside its own session only (sched(7)). It
/// holds for all processes of the session. Tries each. Call it before dropping privileges.
///
/// # Errors
/// [`Error::Fallback`] names the parts that were refused. A system without autogroups is no error.
pub fn fallback() -> Result<(), Error> {
    let mut refused = Vec::new();
    if let Err(error) = nix::sys::prctl::set_timerslack(1) {
        refused.push(("timer slack", error.into()));
    }
    // SAFETY: setpriority(2) takes no pointer; 0 means the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) } != 0 {
        refused.push(("nice", io::Error::last_os_error()));
    }
    match std::fs::write("/proc/self/autogroup", "-20") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => refused.push(("autogroup", error)),
        _ => {}
    }
    if refused.is_empty() { Ok(()) } else { Err(Error::Fallback(refused)) }
}
