//! Starting and ending the child process, and what is handed to it.

use std::ffi::{CStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

/// Why a process could not be started or its inheritance not made; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Its path.
        program: String,
        /// The system's error.
        source: io::Error,
    },
    /// The program was started but cannot be watched (pidfd_open(2)); it was killed.
    #[error("cannot watch the new process: {0}")]
    Watch(#[source] io::Error),
    /// The file in memory could not be made.
    #[error("cannot make a file in memory: {0}")]
    MemoryFile(#[source] io::Error),
    /// The descriptor was not inherited: closed, or opened by this process itself, or taken before.
    #[error("file descriptor {0} was not inherited")]
    NotInherited(RawFd),
}

/// The program that runs, whatever has happened to its file since it was started.
///
/// # Errors
/// None here.
pub fn this_program() -> io::Result<PathBuf> {
    Ok(PathBuf::from("/proc/self/exe"))
}

/// What takes the place of a program is there as soon as a new child.
pub const SUCCESSOR_NEEDS: Option<Duration> = None;

/// Gives this process another name for ps(1) than that of its program, 15 bytes at most.
pub fn rename(name: &str) {
    let _ = std::fs::write("/proc/self/comm", name);
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A child process. Its descriptor (pidfd) is readable once it has ended. Dropping it neither kills nor reaps it.
#[derive(Debug)]
pub struct Child {
    /// Its process id; meaningful until reaped.
    pub pid: u32,
    /// A descriptor that means exactly this process, however ids are reused (pidfd_open(2)).
    pub pidfd: OwnedFd,
}

/// Starts `program` with `args`. The child has standard output and error of this process, no standard input, and of all
/// other descriptors exactly the `inherit`ed ones, under the same numbers. No signal is blocked in it.
///
/// # Errors
/// [`Error::Start`], [`Error::Watch`].
pub fn spawn(program: &Path, args: &[OsString], inherit: &[BorrowedFd<'_>]) -> Result<Child, Error> {
    let numbers: Vec<RawFd> = inherit.iter().map(AsRawFd::as_raw_fd).collect();
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe calls are allowed: it
    // makes bare system calls and reads a vector made beforehand. It touches flags of the child's own descriptors only.
    unsafe { command.pre_exec(move || keep_only(&numbers)) };
    let mut child =
        command.spawn().map_err(|source| Error::Start { program: program.display().to_string(), source })?;
    let pid = child.id();
    match open_pidfd(pid) {
        // `std` neither kills nor reaps a child that is dropped.
        Ok(pidfd) => Ok(Child { pid, pidfd }),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(Error::Watch(error))
        }
    }
}

/// As [`spawn`]: here a child takes from itself what it is not to have.
///
/// # Errors
/// As there.
pub fn spawn_confined(program: &Path, args: &[OsString], inherit: &[BorrowedFd<'_>]) -> Result<Child, Error> {
    spawn(program, args, inherit)
}

/// What is left to the program that comes in the place of this one.
#[derive(Debug, Default)]
pub struct Handover<'d> {
    inherit: Vec<BorrowedFd<'d>>,
}

impl<'d> Handover<'d> {
    /// Nothing so far.
    ///
    /// # Errors
    /// None here.
    pub fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    /// Adds something; under which number it will be found with [`inherited`].
    ///
    /// # Errors
    /// None here.
    pub fn add(&mut self, what: &'d (impl AsFd + ?Sized)) -> io::Result<RawFd> {
        let fd = what.as_fd();
        self.inherit.push(fd);
        Ok(fd.as_raw_fd())
    }

    /// Puts another program in the place of this one (execve(2)): same process, same children, same standard output and
    /// error; of all other descriptors exactly those that were added, under the same numbers. Signals that are blocked stay
    /// so, and those that wait are there for what comes: one that is to end the process must not end it half-way. This
    /// thread is scheduled like any other. Answers only if that fails.
    pub fn replace(self, program: &Path, args: &[OsString]) -> Error {
        let numbers: Vec<RawFd> = self.inherit.iter().map(AsRawFd::as_raw_fd).collect();
        let failed = |source| Error::Start { program: program.display().to_string(), source };
        // What comes asks for its own.
        super::realtime::ordinary();
        if let Err(error) = keep_open(&numbers) {
            return failed(error);
        }
        let error = Command::new(program).args(args).exec();
        // Trying has made a closed pipe deadly.
        // SAFETY: sets how this process takes one signal; no handler is involved.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        for fd in self.inherit {
            let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        }
        failed(error)
    }
}

/// A child of this process that an earlier program in its place has started: to be reaped.
///
/// # Errors
/// There is no such process.
pub fn adopt(pid: u32) -> io::Result<Child> {
    Ok(Child { pid, pidfd: open_pidfd(pid)? })
}

/// Between fork and exec: of the descriptors from 3 on, only `numbers` survive the exec; nothing is blocked.
fn keep_only(numbers: &[RawFd]) -> io::Result<()> {
    keep_open(numbers)?;
    unblock();
    Ok(())
}

/// Blocks no signal in this process.
fn unblock() {
    // SAFETY: all-zero bytes are a valid sigset_t, and sigemptyset and sigprocmask write to or read from this one only.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Before an exec: of the descriptors from 3 on, only `numbers` survive it.
fn keep_open(numbers: &[RawFd]) -> io::Result<()> {
    let set_flags = |number: RawFd, flags: libc::c_int| {
        // SAFETY: F_SETFD takes no pointer.
        if unsafe { libc::fcntl(number, libc::F_SETFD, flags) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // Others may have been left open without close-on-exec by whoever started this process.
    // SAFETY: close_range(2) takes no pointer; with this flag it closes nothing now.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if closed != 0 {
        return Err(io::Error::last_os_error());
    }
    for &number in numbers {
        set_flags(number, 0)?;
    }
    Ok(())
}

/// A descriptor that means exactly this process and is readable once it has ended (pidfd_open(2)); it need not be a child.
///
/// # Errors
/// There is no such process, or no descriptors are left.
pub fn watch(pid: u32) -> io::Result<OwnedFd> {
    open_pidfd(pid)
}

/// Has a command end when the thread that starts it does: it is killed (`SIGKILL`) if it is still there
/// (prctl(2), `PR_SET_PDEATHSIG`). Start it on a thread that lives as long as it may. No signal is blocked in it.
pub fn end_with_parent(command: &mut Command) {
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe calls are allowed: it
    // makes bare system calls, and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            unblock();
            Ok(())
        });
    }
}

/// Has this process woken up, should it be stopped, when its parent dies (prctl(2), `PR_SET_PDEATHSIG`). Forgotten by the
/// kernel when privileges change.
pub fn wake_when_orphaned() {
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGCONT);
}

#[expect(clippy::cast_possible_truncation, reason = "a descriptor")]
fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes no pointer.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.cast_signed(), 0) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor (close-on-exec by itself); nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number as RawFd) })
}

impl Child {
    /// Kills it (`SIGKILL`): it gets no chance to do anything. One that has ended already is `Ok`.
    ///
    /// # Errors
    /// Not permitted.
    pub fn kill(&self) -> io::Result<()> {
        self.send(libc::SIGKILL)
    }

    /// Asks it to stop (`SIGTERM`). One that has ended already is `Ok`.
    ///
    /// # Errors
    /// Not permitted.
    pub fn terminate(&self) -> io::Result<()> {
        self.send(libc::SIGTERM)
    }

    fn send(&self, signal: libc::c_int) -> io::Result<()> {
        let pidfd = self.pidfd.as_raw_fd();
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo is allowed: the kernel fills in the usual one (pidfd_send_signal(2)).
        if unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, no_info, 0) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
    }

    /// Whether it is dead but for threads that wait in the kernel, for a disk say: after [`Child::kill`] they do nothing any more but
    /// end when that answers, which may be never. Until then there is nothing to reap, and its descriptors stay open. One
    /// of which nothing can be found out is not stuck.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return false };
        let mut waits = false;
        for task in tasks.flatten() {
            // One that has no file any more has ended.
            let Ok(stat) = fs::read(task.path().join("stat")) else { continue };
            // The name before it may have any character (proc_pid_stat(5)).
            let end = stat.iter().rposition(|byte| *byte == b')');
            match end.and_then(|end| stat.get(end + 2)) {
                Some(b'D') => waits = true,
                Some(b'Z' | b'X') => {}
                _ => return false,
            }
        }
        waits
    }

    /// How it ended, if it has; never blocks. Call it once after the end, or a zombie stays.
    ///
    /// # Errors
    /// `ECHILD`: reaped before, or not a child of this process.
    pub fn reap(&self) -> io::Result<Option<Exit>> {
        let status = waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG)?;
        Ok(match status {
            WaitStatus::Exited(_, code) => Some(Exit::Code(code)),
            WaitStatus::Signaled(_, signal, _) => Some(Exit::Signal(signal as i32)),
            _ => None,
        })
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// A sealed file in memory with these contents (memfd_create(2)): nobody can change it, it has no path, and it is gone
/// with its last descriptor. `name` shows in /proc only. The child reads it with [`inherited_bytes`].
///
/// # Errors
/// [`Error::MemoryFile`].
pub fn memory_file(name: &CStr, bytes: &[u8]) -> Result<OwnedFd, Error> {
    let sealable = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let never_runs = sealable | MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let fd = memfd_create(name, never_runs)
        // Kernels before 6.3 do not know the flag.
        .or_else(|_| memfd_create(name, sealable))
        .map_err(|error| Error::MemoryFile(error.into()))?;
    let file = File::from(fd);
    file.write_all_at(bytes, 0).map_err(Error::MemoryFile)?;
    let seals =
        SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(|error| Error::MemoryFile(error.into()))?;
    Ok(file.into())
}

/// An empty file in memory that can be written, by whoever has it; otherwise as [`memory_file`].
///
/// # Errors
/// [`Error::MemoryFile`].
pub fn scratch_file(name: &CStr) -> Result<File, Error> {
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC).map_err(|error| Error::MemoryFile(error.into()))?;
    Ok(File::from(fd))
}

/// Takes ownership of descriptor `number`, which the parent process handed over with [`spawn`]. Each can be taken once;
/// descriptors that this process opened itself are refused.
///
/// # Errors
/// [`Error::NotInherited`].
pub fn inherited(number: RawFd) -> Result<OwnedFd, Error> {
    // Whatever a Rust program opens is close-on-exec, and so is what was taken here before. What is open without that
    // flag came from the parent and has no owner yet. The lock makes looking and taking one step.
    static TAKING: Mutex<()> = Mutex::new(());
    let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if number < 3 {
        return Err(Error::NotInherited(number));
    }
    // SAFETY: F_GETFD takes no pointer and changes nothing; a number that is not open gives EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 || flags & libc::FD_CLOEXEC != 0 {
        return Err(Error::NotInherited(number));
    }
    // SAFETY: by the reasoning above, the descriptor is open and nobody owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|_| Error::NotInherited(number))?;
    Ok(fd)
}

/// Takes descriptor `number` as [`inherited`] does, reads that [`memory_file`] whole, and closes it.
///
/// # Errors
/// [`Error::NotInherited`], [`Error::MemoryFile`].
pub fn inherited_bytes(number: RawFd) -> Result<Vec<u8>, Error> {
    let file = File::from(inherited(number)?);
    let length = file.metadata().map_err(Error::MemoryFile)?.len();
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0).map_err(Error::MemoryFile)?;
    Ok(bytes)
}
