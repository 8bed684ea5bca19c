//! The enclosure: namespaces around the whole program, so that nothing it makes can outlive it.
//!
//! Three processes of the same program stand in a row:
//!
//! 1. *outside*: the process that the user started. It makes the namespaces, waits, passes signals on, and ends
//!    with the status of the program inside.
//! 2. *init*: pid 1 of the new pid namespace. The kernel kills it when *outside* dies (`PR_SET_PDEATHSIG`), and kills
//!    everything in the namespace when it dies itself. It reaps orphans.
//! 3. *inside*: the program itself, for which [`enclose`] returns. It is not pid 1, since pid 1 ignores signals whose
//!    action is the default one.
//!
//! Network namespaces end with their last process and their last open file, so killing any of the three, in any way,
//! removes every host, link and process.
//!
//! Sources: namespaces(7), pid_namespaces(7), user_namespaces(7), `PR_SET_PDEATHSIG` in prctl(2).

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getegid, geteuid, getpid, getppid};

use crate::refusal::Refused;

/// Which of the three processes this is; unset in the first.
const STAGE: &str = "VIPDRIFT_LAB_STAGE";
/// Pid of the process outside, for init to see whether it still lives.
const OUTSIDE: &str = "VIPDRIFT_LAB_OUTSIDE";
/// Whether the enclosure has a user namespace of its own.
const MAPPED: &str = "VIPDRIFT_LAB_MAPPED";
/// Variables that commands run inside must not inherit.
pub(crate) const VARIABLES: [&str; 5] =
    [STAGE, OUTSIDE, MAPPED, crate::harness::TEST, crate::harness::HARNESS];

/// Where init leaves word that it could not mount a `/proc`, which containers forbid that hide parts of theirs.
const NO_PROC: &str = "/run/lab-no-proc";

/// Si_code of a signal that the kernel itself sent: the terminal sends to the whole foreground group.
const FROM_KERNEL: i32 = 0x80;

/// Proof that this process runs inside an enclosure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enclosed {
    /// True if the program was started by an ordinary user: it is root over its own namespaces, but no other user
    /// exists there, and real-time priority is not to be had.
    pub user_namespace: bool,
}

static ENCLOSED: OnceLock<Enclosed> = OnceLock::new();

/// The enclosure that this process is in, if any.
pub fn enclosed() -> Option<Enclosed> {
    ENCLOSED.get().copied()
}

/// Runs the rest of the program inside namespaces of its own.
///
/// Call it first thing in `main`: the program is started again (same arguments, same environment) inside new
/// network, pid, mount, IPC and host name namespaces, and only there does this function return. In the process that
/// the user started it never returns on success: that one waits, passes SIGINT, SIGTERM, SIGHUP and SIGQUIT on, and
/// exits with the status of the program inside (128 + number if a signal ended it). However any of the processes
/// dies, everything inside dies with it.
///
/// Inside, `/run` is an empty tmpfs, `/proc` shows the processes inside, and no mount is seen from outside.
///
/// # Errors
///
/// [`Refused`] when this machine or user may not make namespaces, with the command that permits it. Nothing is left
/// behind, but this process may already be in namespaces of its own: it should print the error and exit.
pub fn enclose() -> Result<Enclosed, Refused> {
    if let Some(enclosed) = enclosed() {
        return Ok(enclosed);
    }
    match std::env::var(STAGE).as_deref() {
        Ok("init") if getpid() == Pid::from_raw(1) => init(),
        Ok("inside") if getppid() == Pid::from_raw(1) => Ok(inside()),
        _ => outside(),
    }
}

/// True in a process that is not yet inside an enclosure, nor its init.
pub(crate) fn is_outermost() -> bool {
    std::env::var_os(STAGE).is_none()
}

fn passed_on() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT].into_iter().collect()
}

fn outside() -> Result<Enclosed, Refused> {
    let threads = fs::read_dir("/proc/self/task").map_err(|source| Refused::Start { source })?.count();
    if threads > 1 {
        return Err(Refused::Threads { threads });
    }
    let root = geteuid().is_root();
    let mapped = make_namespaces(root)?;
    let refused = |doing| move |errno| Refused::because(errno, doing, root);
    mount_private().map_err(refused("mount a tmpfs in a namespace of its own"))?;

    // Blocked before init exists and inherited by it, so that none gets lost on the way.
    let mut signals = passed_on();
    signals.add(Signal::SIGCHLD);
    signals.thread_block().map_err(|errno| Refused::Start { source: errno.into() })?;
    let watch = SignalFd::new(&signals).map_err(|errno| Refused::Start { source: errno.into() })?;
    let mut child = again("init")
        .env(OUTSIDE, getpid().to_string())
        .env(MAPPED, if mapped { "yes" } else { "no" })
        .spawn()
        .map_err(|source| Refused::Start { source })?;
    let status = wait_and_pass_on(&mut child, &watch).map_err(|source| Refused::Start { source })?;
    match fs::read_to_string(NO_PROC).ok().and_then(|errno| errno.parse().ok()) {
        Some(errno) => Err(refused("mount a /proc of its own")(Errno::from_raw(errno))),
        None => std::process::exit(exit_code(status)),
    }
}

/// Makes the namespaces; true if a user namespace was needed.
fn make_namespaces(root: bool) -> Result<bool, Refused> {
    let flags = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    // Read before: inside the new namespace both read as "nobody" until the maps are written.
    let (user, group) = (geteuid(), getegid());
    match unshare(flags) {
        Ok(()) => return Ok(false),
        Err(Errno::EPERM) => {}
        Err(errno) => return Err(Refused::because(errno, "make namespaces", root)),
    }
    unshare(flags | CloneFlags::CLONE_NEWUSER)
        .map_err(|errno| Refused::because(errno, "make namespaces", root))?;
    // Without "deny" an ordinary user may not write the map of groups (user_namespaces(7)).
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ];
    for (file, text) in maps {
        fs::write(format!("/proc/self/{file}"), text).map_err(|source| {
            Refused::because(
                source.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
                "become root in a user namespace of its own",
                root,
            )
        })?;
    }
    Ok(true)
}

fn mount_private() -> nix::Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("lab"), "/run", Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=755"))
}

/// This same program with the same arguments.
fn again(stage: &str) -> Command {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("lab"));
    let mut command = Command::new("/proc/self/exe");
    command.arg0(name).args(arguments).env(STAGE, stage);
    command
}

fn wait_and_pass_on(child: &mut Child, watch: &SignalFd) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let Some(signal) = read_signal(watch)? else { continue };
        if let (Ok(pid), true) = (i32::try_from(child.id()), signal != Signal::SIGCHLD) {
            // The child has not been waited for, so its pid is still its own.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// Waits for a signal that has to be acted upon.
fn read_signal(watch: &SignalFd) -> io::Result<Option<Signal>> {
    let Some(info) = watch.read_signal()? else { return Ok(None) };
    let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
    // The terminal has sent it to the program inside as well: once is enough.
    Ok(signal.filter(|&signal| signal == Signal::SIGCHLD || info.ssi_code != FROM_KERNEL))
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

fn init() -> ! {
    let status = match run_init() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("lab: init: {error}");
            125
        }
    };
    std::process::exit(status)
}

fn run_init() -> io::Result<i32> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // This is still the /proc of outside, which numbers processes as outside does. If outside had died before the
    // line above, the parent shown would be another.
    let parent = fs::read_to_string("/proc/self/status")?
        .lines()
        .find_map(|line| line.strip_prefix("PPid:").map(|pid| pid.trim().to_owned()));
    if parent != std::env::var(OUTSIDE).ok() {
        return Ok(125);
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(errno) = mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>) {
        // Outside has the same /run and tells the caller.
        fs::write(NO_PROC, (errno as i32).to_string())?;
        return Ok(125);
    }

    let _ = prctl::set_name(c"lab-init");
    let mut signals = passed_on();
    signals.add(Signal::SIGCHLD);
    signals.thread_block()?;
    let watch = SignalFd::new(&signals)?;
    let child = again("inside").spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(who, code)) if who == pid => return Ok(code),
                Ok(WaitStatus::Signaled(who, signal, _)) if who == pid => return Ok(128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if let Some(signal) = read_signal(&watch)?.filter(|&signal| signal != Signal::SIGCHLD) {
            let _ = kill(pid, signal);
        }
    }
}

fn inside() -> Enclosed {
    let mut signals = passed_on();
    signals.add(Signal::SIGCHLD);
    let _ = signals.thread_unblock();
    // Lists of processes would show "exe", after /proc/self/exe.
    let name = std::env::args_os().next().map(PathBuf::from);
    if let Some(name) =
        name.as_deref().and_then(Path::file_name).and_then(|name| CString::new(name.as_bytes()).ok())
    {
        let _ = prctl::set_name(&name);
    }
    let enclosed = Enclosed { user_namespace: std::env::var(MAPPED).as_deref() == Ok("yes") };
    *ENCLOSED.get_or_init(|| enclosed)
}
