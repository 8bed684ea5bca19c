//! A disk that does not answer.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation,
    INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyWrite, Request,
    SessionACL, TimeOrNow, WriteFlags,
};
use nix::sys::signal::Signal;
use vipdrift::trial::{Cluster, Options};

use crate::reload::{is_unbroken, served};
use crate::support::{BINARY, PATIENCE, WEB, holder, settle, wait};

/// The files of a state folder; more are not made.
const FILES: [&str; 3] = ["state", "events.1", "events.2"];

/// Who waits until something is on the disk, while it hangs.
#[derive(Clone, Default)]
struct Hang(Arc<Mutex<Option<Vec<ReplyEmpty>>>>);

impl Hang {
    /// From here on nothing that is asked to be on the disk ever is.
    fn begin(&self) {
        *self.0.lock().unwrap() = Some(Vec::new());
    }

    fn waiting(&self) -> usize {
        self.0.lock().unwrap().as_ref().map_or(0, Vec::len)
    }

    fn end(&self) {
        self.0.lock().unwrap().take().into_iter().flatten().for_each(ReplyEmpty::ok);
    }
}

/// A folder in memory, whose files can be slow.
struct Disk {
    files: Mutex<[Vec<u8>; FILES.len()]>,
    hang: Hang,
}

impl Disk {
    fn about(&self, inode: INodeNo) -> FileAttr {
        let size = file(inode).map(|at| self.files.lock().unwrap()[at].len() as u64);
        FileAttr {
            ino: inode,
            size: size.unwrap_or(0),
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if size.is_some() { FileType::RegularFile } else { FileType::Directory },
            perm: 0o755,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 512,
            flags: 0,
        }
    }
}

/// The place of a file among the files; the folder has none.
fn file(inode: INodeNo) -> Option<usize> {
    usize::try_from(inode.0).ok()?.checked_sub(2)
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match FILES.iter().zip(2..).find(|(known, _)| **known == name) {
            Some((_, inode)) => reply.entry(&Duration::ZERO, &self.about(INodeNo(inode)), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::ZERO, &self.about(inode));
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let (Some(size), Some(at)) = (size, file(inode)) {
            self.files.lock().unwrap()[at].resize(size.try_into().unwrap(), 0);
        }
        reply.attr(&Duration::ZERO, &self.about(inode));
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(at) = file(inode) else { return reply.error(Errno::EISDIR) };
        let files = self.files.lock().unwrap();
        let from = files[at].len().min(offset.try_into().unwrap());
        let to = files[at].len().min(from + size as usize);
        reply.data(&files[at][from..to]);
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let Some(at) = file(inode) else { return reply.error(Errno::EISDIR) };
        let from = usize::try_from(offset).unwrap();
        let mut files = self.files.lock().unwrap();
        let length = files[at].len().max(from + data.len());
        files[at].resize(length, 0);
        files[at][from..from + data.len()].copy_from_slice(data);
        reply.written(data.len().try_into().unwrap());
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match &mut *self.hang.0.lock().unwrap() {
            Some(waiting) => waiting.push(reply),
            None => reply.ok(),
        }
    }
}

/// Puts such a disk where a node has its state. It is gone when what is answered is.
fn mount(cluster: &Cluster, index: usize, hang: &Hang) -> BackgroundSession {
    let folder = cluster.directory_of(index).join("state");
    let disk = Disk { files: Mutex::default(), hang: hang.clone() };
    cluster.nodes[index].host.run(move || {
        let mut config = Config::default();
        config.acl = SessionACL::All;
        fuser::spawn_mount(disk, folder, &config).unwrap()
    })
}

fn reload(cluster: &Cluster, index: usize) -> Output {
    let node = &cluster.nodes[index];
    let mut command = Command::new(BINARY);
    command.arg("reload").arg("--config").arg(&node.config);
    node.host.run(move || command.output().unwrap())
}

/// Why it was not done, without the advice.
fn refused(output: Output) -> String {
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    let why = said.trim().strip_prefix("vipdrift: ").unwrap_or(&said);
    why.split([',', ';']).next().unwrap().to_owned()
}

/// Waits until a thread of that process waits for another one that waits for the disk, with the same file.
fn stuck(cluster: &Cluster, pid: i32) {
    let waits = |task: &Path| fs::read_to_string(task.join("stat")).is_ok_and(|stat| stat.contains(") D "));
    wait(cluster, "a thread that waits for the file", |_| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.flatten().any(|task| waits(&task.path()))
    });
}

/// A brain that ends while its disk hangs has a thread that cannot end. The next one comes all the same and the VIP stays. Another
/// configuration has to wait, since the sockets are not free; nothing is left of all that when the disk answers.
pub(crate) fn a_disk_that_hangs_keeps_nobody_but_itself() {
    let mut options = Options::new(BINARY);
    options.start = false;
    let mut cluster = Cluster::start(options, None).unwrap_or_else(|error| panic!("{error}"));
    let hangs: Vec<Hang> = cluster.nodes.iter().map(|_| Hang::default()).collect();
    let disks: Vec<_> = hangs.iter().enumerate().map(|(index, hang)| mount(&cluster, index, hang)).collect();
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    let active = holder(&cluster);
    let hang = &hangs[active];
    let client = served(&cluster, active);
    let since = Instant::now();
    let goes_on = |cluster: &Cluster, before: (i32, i32)| {
        settle(cluster);
        let (keeper, brain) = cluster.pids(active).unwrap();
        assert!(keeper == before.0 && brain != before.1, "{}", cluster.describe());
        for vip in WEB {
            assert!(is_unbroken(cluster, active, vip, since), "{vip}\n{}", cluster.describe());
        }
        assert_eq!(client.lost_probes(since, Instant::now()), 0, "{}", cluster.describe());
        (keeper, brain)
    };
    let there = |pid: i32| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok();
    let first = cluster.pids(active).unwrap();

    // The brain that comes has something to put down.
    hang.begin();
    let done = reload(&cluster, active);
    assert!(done.status.success(), "{done:?}\n{}", cluster.describe());
    let second = goes_on(&cluster, first);
    wait(&cluster, "a thread that waits for the disk", |_| hang.waiting() == 1);
    // It waits for that, in vain.
    let why = refused(reload(&cluster, active));
    assert_eq!(why, "reload not carried out: the daemon goes on as it was", "{}", cluster.describe());
    let third = goes_on(&cluster, second);
    stuck(&cluster, third.1);
    assert!(!there(first.1) && there(second.1), "it cannot end yet");
    let again = "a thread of an earlier brain waits for a disk and has its sockets";
    assert_eq!(refused(reload(&cluster, active)), again);
    cluster.signal(third.1, Signal::SIGKILL);
    let fourth = goes_on(&cluster, third);
    let said = cluster.nodes[active].process.as_ref().unwrap().output();
    assert!(said.contains("what is left of the brain waits for a disk"), "{said}");

    hang.end();
    wait(&cluster, "the end of those", |_| !there(second.1) && !there(third.1));
    let done = reload(&cluster, active);
    assert!(done.status.success(), "{done:?}\n{}", cluster.describe());
    let fifth = goes_on(&cluster, fourth);

    // Nor is a stop kept waiting.
    hang.begin();
    assert!(reload(&cluster, active).status.success());
    wait(&cluster, "a thread that waits for the disk", |_| hang.waiting() == 1);
    let (keeper, last) = goes_on(&cluster, fifth);
    // Not even if the brain is waiting for the disk just then, since another configuration was to come.
    let ordered =
        |c: &Cluster| c.nodes[active].process.as_ref().unwrap().output().matches("reload ordered").count();
    let before = ordered(&cluster);
    cluster.signal(keeper, Signal::SIGHUP);
    wait(&cluster, "the reload", |c| ordered(c) > before);
    cluster.signal(keeper, Signal::SIGTERM);
    assert!(cluster.reap(active, PATIENCE).is_some_and(|status| status.success()));
    assert!(there(last), "it cannot end yet");
    wait(&cluster, "another holder", |c| {
        WEB.iter().all(|&vip| c.holder(vip).is_some_and(|now| now != active))
    });
    hang.end();
    drop(disks);
}
