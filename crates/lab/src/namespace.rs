//! A network namespace and a mount namespace, and threads that live in them.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Result, While};

/// The namespaces of one host, or of the switch. They live as long as this value and the processes in them.
#[derive(Debug)]
pub(crate) struct Namespace {
    net: File,
    mounts: File,
    inode: u64,
}

impl Namespace {
    /// Makes new namespaces. `prepare` runs inside, before anything else can.
    pub(crate) fn make(prepare: impl FnOnce() -> Result<()> + Send) -> Result<Self> {
        let made = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
                        .doing(|| "make the namespaces of a host".into())?;
                    let open = |name: &str| {
                        File::open(format!("/proc/thread-self/ns/{name}"))
                            .doing(|| format!("open the {name} namespace of a host"))
                    };
                    let (net, mounts) = (open("net")?, open("mnt")?);
                    prepare()?;
                    let inode = inode(&net)?;
                    Ok(Self { net, mounts, inode })
                })
                .join()
        });
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The network namespace as a descriptor.
    pub(crate) fn net(&self) -> &File {
        &self.net
    }

    /// Moves the calling thread, and whatever it starts, into these namespaces for good.
    ///
    /// The thread's working directory is kept if it exists by the same path inside.
    pub(crate) fn enter(&self) -> Result<()> {
        let directory = std::env::current_dir().ok();
        setns(&self.net, CloneFlags::CLONE_NEWNET).doing(|| "enter a network namespace".into())?;
        // A thread must not share its root and working directory when it changes its mounts (setns(2)).
        unshare(CloneFlags::CLONE_FS).doing(|| "enter a mount namespace".into())?;
        setns(&self.mounts, CloneFlags::CLONE_NEWNS).doing(|| "enter a mount namespace".into())?;
        if let Some(directory) = directory {
            let _ = std::env::set_current_dir(directory);
        }
        Ok(())
    }

    /// Runs `work` on a new thread inside and waits for it. A panic in there goes on in the caller.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let ran = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter()?;
                    Ok(work())
                })
                .join()
        });
        ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The processes inside, this program aside. Dead ones that nobody has reaped yet do not count.
    pub(crate) fn residents(&self) -> Vec<Resident> {
        let own = std::process::id().cast_signed();
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|&pid| pid != own)
            .filter(|pid| {
                fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|found| found.ino() == self.inode)
            })
            .map(|pid| Resident { pid, state: state(pid) })
            .collect()
    }
}

/// A process in a namespace.
pub(crate) struct Resident {
    pub(crate) pid: i32,
    /// As in proc_pid_stat(5).
    state: char,
}

impl Resident {
    /// It was stopped, or is dead by now.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 'Z' | 'X')
    }

    /// It runs no code of its own any more once it was sent SIGSTOP. One that waits inside the kernel stops when it
    /// comes out: for example one that waits for a child between vfork(2) and execve(2), when the child was stopped.
    pub(crate) fn stands_still(&self) -> bool {
        self.is_stopped() || self.state == 'D'
    }
}

/// Dead if it is gone.
fn state(pid: i32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name in brackets, which may itself hold brackets.
    stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next()).unwrap_or('X')
}

fn inode(namespace: &File) -> Result<u64> {
    Ok(namespace.metadata().doing(|| "look at a namespace".into())?.ino())
}

/// Gives the calling thread's mount namespace a `/run` of its own in which only `shared` (below `/run`) is common.
pub(crate) fn private_run(shared: &Path, stage: &Path) -> Result<()> {
    let none = None::<&str>;
    let doing = || "give a host its own /run".to_owned();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    fs::create_dir_all(stage).doing(doing)?;
    mount(Some("lab"), stage, Some("tmpfs"), flags, Some("mode=755")).doing(doing)?;
    let inner = stage.join(shared.strip_prefix("/run").unwrap_or(shared));
    fs::create_dir_all(&inner).doing(doing)?;
    mount(Some(shared), &inner, none, MsFlags::MS_BIND, none).doing(doing)?;
    mount(Some(stage), "/run", none, MsFlags::MS_MOVE, none).doing(doing)
}

/// Writes a kernel setting of the calling thread's network namespace, such as `net/ipv4/ip_forward`.
pub(crate) fn set_kernel(name: &str, value: &str) -> Result<()> {
    fs::write(format!("/proc/sys/{name}"), value).doing(|| format!("set {name} to {value}"))
}
