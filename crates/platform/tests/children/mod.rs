//! The tests and their runner.
#![allow(clippy::unwrap_used)]

mod roles;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use vipdrift_platform::clock::boot_time;
use vipdrift_platform::pipe::{self, MessagePipe, Received};
use vipdrift_platform::poll::{Poller, Signal, Signals};
use vipdrift_platform::process::{self, Child, Exit, memory_file, spawn};

use crate::harness::{self, Test};

/// Longer than anything here takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(15);

const TESTS: &[Test] = &[
    (
        "a_child_inherits_the_listed_descriptors_and_no_others",
        a_child_inherits_the_listed_descriptors_and_no_others,
    ),
    (
        "a_child_takes_each_descriptor_once_and_its_end_is_told",
        a_child_takes_each_descriptor_once_and_its_end_is_told,
    ),
    ("a_killed_child_is_told_by_its_signal", a_killed_child_is_told_by_its_signal),
    ("a_memory_file_cannot_be_changed", a_memory_file_cannot_be_changed),
    ("a_program_that_does_not_exist_is_an_error", a_program_that_does_not_exist_is_an_error),
    ("privileges_are_gone_and_the_filter_holds", privileges_are_gone_and_the_filter_holds),
    ("in_a_user_namespace_capabilities_are_gone_and_the_filter_holds", in_a_user_namespace_the_same),
    (
        "a_second_thread_is_refused_and_without_a_user_all_capabilities_go",
        a_second_thread_is_refused_and_without_a_user_all_capabilities_go,
    ),
    ("real_time_is_granted_or_refused_by_name", real_time_is_granted_or_refused_by_name),
];

pub(crate) fn main() {
    harness::main(TESTS, roles::run);
}

fn this_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// Starts this program in a role, with these descriptors, whose numbers follow in the arguments.
fn child(role: &str, inherit: &[&dyn AsFd]) -> Child {
    let mut arguments: Vec<OsString> = vec!["child".into(), role.into()];
    arguments.extend(inherit.iter().map(|fd| fd.as_fd().as_raw_fd().to_string().into()));
    let inherit: Vec<_> = inherit.iter().map(|fd| fd.as_fd()).collect();
    spawn(&this_program(), &arguments, &inherit).unwrap()
}

fn wait(child: &Child) -> Exit {
    let poller = Poller::new().unwrap();
    poller.add(child, 0).unwrap();
    let mut ready = Vec::new();
    let deadline = boot_time() + PATIENCE;
    loop {
        poller.wait(&mut ready, Some(PATIENCE)).unwrap();
        if let Some(exit) = child.reap().unwrap() {
            return exit;
        }
        assert!(boot_time() < deadline, "the child does not end");
    }
}

fn receive(pipe: &MessagePipe) -> String {
    let poller = Poller::new().unwrap();
    poller.add(pipe, 0).unwrap();
    let mut ready = Vec::new();
    let mut buffer = [0; 4096];
    let deadline = boot_time() + PATIENCE;
    loop {
        match pipe.receive(&mut buffer).unwrap() {
            Received::Message(length) => return String::from_utf8_lossy(&buffer[..length]).into_owned(),
            Received::Empty => poller.wait(&mut ready, Some(PATIENCE)).unwrap(),
            Received::Closed => panic!("the child is gone"),
        }
        assert!(boot_time() < deadline, "the child says nothing");
    }
}

/// The descriptors of a process, without the three standard ones.
fn descriptors(pid: u32) -> Vec<i32> {
    let mut numbers: Vec<i32> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().parse().unwrap())
        .filter(|&number| number > 2)
        .collect();
    numbers.sort_unstable();
    numbers
}

fn a_child_inherits_the_listed_descriptors_and_no_others() {
    let (ours, theirs) = pipe::pair().unwrap();
    let listed = memory_file(c"listed", b"yes").unwrap();
    let unlisted = memory_file(c"unlisted", b"no").unwrap();
    // Open without close-on-exec, as a careless parent leaves descriptors behind: dup(2) clears the flag.
    let careless: OwnedFd = nix::unistd::dup(&unlisted).unwrap();
    let signals = Signals::block_and_open(&[Signal::Hangup]).unwrap();

    let child = child("idle", &[&theirs, &listed]);
    drop(theirs);
    // It says so from `main`, when the dynamic linker has closed what it had opened.
    assert_eq!(receive(&ours), "here");
    let mut expected = vec![listed.as_raw_fd()];
    let found = descriptors(child.pid);
    expected.extend(found.iter().find(|&&number| number != listed.as_raw_fd()));
    expected.sort_unstable();
    assert_eq!(found, expected, "the pipe and the listed file, and that is all");
    assert_eq!(std::fs::read_link(format!("/proc/{}/fd/0", child.pid)).unwrap().to_str(), Some("/dev/null"));
    assert!(!found.contains(&careless.as_raw_fd()) && !found.contains(&unlisted.as_raw_fd()));
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid)).unwrap();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    assert_eq!(blocked.trim().trim_start_matches('0'), "", "no signal is blocked");
    assert_eq!(child.reap().unwrap(), None, "it runs");

    drop(ours);
    assert_eq!(wait(&child), Exit::Code(7));
    assert!(child.reap().is_err(), "reaped before");
    child.kill().unwrap();
    drop((signals, careless));
}

fn a_child_takes_each_descriptor_once_and_its_end_is_told() {
    let (ours, theirs) = pipe::pair().unwrap();
    let setup = vec![0xA5; 300 * 1024];
    let file = memory_file(c"setup", &setup).unwrap();
    let child = child("take", &[&theirs, &file]);
    drop(theirs);
    assert_eq!(receive(&ours), "307200 bytes, all A5; taken twice: refused; own: refused; closed: refused");
    assert_eq!(wait(&child), Exit::Code(0));
    // What it said before the end is there, then the end.
    let mut buffer = [0; 64];
    assert_eq!(ours.receive(&mut buffer).unwrap(), Received::Message(10));
    assert_eq!(ours.receive(&mut buffer).unwrap(), Received::Closed);
}

fn a_killed_child_is_told_by_its_signal() {
    let (ours, theirs) = pipe::pair().unwrap();
    let killed = child("idle", &[&theirs]);
    killed.kill().unwrap();
    assert_eq!(wait(&killed), Exit::Signal(9));
    let asked = child("idle", &[&theirs]);
    assert_eq!(receive(&ours), "here");
    asked.terminate().unwrap();
    assert_eq!(wait(&asked), Exit::Signal(15));
}

fn a_memory_file_cannot_be_changed() {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::from(memory_file(c"sealed", b"as it is").unwrap());
    assert!(file.write_at(b"x", 0).is_err());
    assert!(file.write_at(b"x", 8).is_err());
    assert!(file.set_len(3).is_err());
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"as it is");
    memory_file(c"empty", b"").unwrap();
}

fn a_program_that_does_not_exist_is_an_error() {
    let error = spawn(&PathBuf::from("/nonexistent/program"), &[], &[]).unwrap_err();
    assert!(matches!(error, process::Error::Start { .. }), "{error}");
    assert!(error.to_string().contains("/nonexistent/program"));
}

/// Runs a role to its end; what it found, one `name: value` a line.
fn report(wrapper: &[&str], role: &str) -> BTreeMap<String, String> {
    let program = this_program();
    let mut command = match wrapper {
        [] => Command::new(&program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(&program);
            command
        }
    };
    let output = command.args(["child", role]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{role}: {}\n{out}\n{err}", output.status);
    out.lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

#[track_caller]
fn check(found: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(found.get(*name).map(String::as_str), Some(*value), "{name} in {found:#?}");
    }
}

/// What holds after dropping and filtering, whoever started it.
const SANDBOXED: &[(&str, &str)] = &[
    ("CapInh", "0000000000000000"),
    ("CapPrm", "0000000000000000"),
    ("CapEff", "0000000000000000"),
    ("CapAmb", "0000000000000000"),
    ("NoNewPrivs", "1"),
    ("Seccomp", "2"),
    // Forbidden.
    ("execve", "EPERM"),
    ("open for writing", "EPERM"),
    ("create a file", "EPERM"),
    ("append to a file", "EPERM"),
    ("socket AF_INET", "EPERM"),
    ("socket AF_INET6", "EPERM"),
    ("socket AF_PACKET", "EPERM"),
    ("socket AF_NETLINK", "EPERM"),
    ("fork", "EPERM"),
    ("ptrace", "EPERM"),
    ("mount", "EPERM"),
    ("unshare", "EPERM"),
    ("executable memory", "EPERM"),
    ("kill", "EPERM"),
    ("bind", "EPERM"),
    ("setuid", "EPERM"),
    ("memory of another process", "EPERM"),
    ("unlink", "EPERM"),
    ("clone3", "ENOSYS"),
    ("set a limit", "EPERM"),
    ("from another thread", "EPERM"),
    // Still there.
    ("udp over an existing socket", "ok"),
    ("accept over an existing socket", "ok"),
    ("unix socket", "ok"),
    ("open for reading", "ok"),
    ("write to an open file", "ok"),
    ("threads", "ok"),
    ("poller, timer, wake", "ok"),
    ("memory", "ok"),
    ("scheduling", "ok"),
    ("tokio", "ok"),
    ("random", "ok"),
];

fn privileges_are_gone_and_the_filter_holds() {
    let found = report(&[], "sandbox");
    check(&found, SANDBOXED);
    if nix::unistd::geteuid().is_root() {
        check(&found, &[("CapBnd", "0000000000000000"), ("dropped to", "Some(\"nobody\")"), ("Groups", "")]);
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
        let four_times = |id: u32| [id.to_string().as_str()].repeat(4).join("\t");
        check(
            &found,
            &[("Uid", &four_times(nobody.uid.as_raw())), ("Gid", &four_times(nobody.gid.as_raw()))],
        );
    } else {
        check(&found, &[("dropped to", "None")]);
    }
}

fn in_a_user_namespace_the_same() {
    let found = report(&["unshare", "-Urn"], "sandbox");
    check(&found, SANDBOXED);
    check(&found, &[("CapBnd", "0000000000000000"), ("dropped to", "None"), ("Uid", "0\t0\t0\t0")]);
}

fn a_second_thread_is_refused_and_without_a_user_all_capabilities_go() {
    let found = report(&["unshare", "-Urn"], "refusals");
    check(&found, &[("unknown user", "None"), ("CapEff after", "unchanged")]);
    check(&found, &[("two threads", "2 threads run; privileges must be dropped before threads are started")]);
    check(&found, &[("dropped without a user", "None"), ("NoNewPrivs", "1")]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        check(&found, &[(set, "0000000000000000")]);
    }
}

fn real_time_is_granted_or_refused_by_name() {
    let found = report(&[], "realtime");
    println!("{found:#?}");
    let granted = |name: &str| found[name] == "ok";
    if granted("real_time") {
        check(
            &found,
            &[
                ("policy", "SCHED_FIFO | SCHED_RESET_ON_FORK, priority 10"),
                ("policy of a later thread", "SCHED_OTHER"),
            ],
        );
    } else {
        assert!(found["real_time"].starts_with("real-time scheduling refused: "), "{found:#?}");
        check(&found, &[("policy", "SCHED_OTHER")]);
    }
    if granted("lock_memory") {
        // 64 MiB were mapped and one page of them used.
        let locked: u64 = found["resident KiB"].parse().unwrap();
        assert!(locked < 32 * 1024, "{found:#?}");
        assert_ne!(found["locked KiB"], "0");
    } else {
        assert!(found["lock_memory"].starts_with("memory not locked: "), "{found:#?}");
    }
    if found["may raise limits"] == "true" {
        check(&found, &[("raise_limits", "ok"), ("lock_memory", "ok")]);
    } else {
        assert!(
            found["raise_limits"] == "ok" || found["raise_limits"].starts_with("limits not raised: RLIMIT_")
        );
    }
    assert!(
        found["fallback"] == "ok" || found["fallback"].starts_with("fallback incomplete: "),
        "{found:#?}"
    );
    check(&found, &[("timer slack", "1"), ("runaway limit", "5000000")]);
    check(&found, &[("absurd priority", "real-time scheduling refused: Invalid argument (os error 22)")]);
}
