//! The tests of what Windows does.
#![allow(clippy::unwrap_used, reason = "this is a test")]

#[path = "windows/roles.rs"]
mod roles;

use std::ffi::OsString;
use std::net::UdpSocket;
use std::os::windows::io::AsRawHandle as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use vipdrift_platform::clock::boot_time;
use vipdrift_platform::datagrams;
use vipdrift_platform::descriptor::{AsDescriptor, Borrowed, number};
use vipdrift_platform::endpoint;
use vipdrift_platform::pipe::{self, MessagePipe, Received};
use vipdrift_platform::poll::{Poller, Waitable};
use vipdrift_platform::process::{self, Child, Exit, Group, memory_file, scratch_file, spawn};
use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};

use crate::harness::{self, Test};

/// Longer than anything here takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(15);
/// How a killed process ends.
const KILLED: Exit = Exit::Code(1067);

const TESTS: &[Test] = &[
    ("a_child_inherits_the_listed_handles_and_no_others", a_child_inherits_the_listed_handles_and_no_others),
    (
        "a_child_takes_each_handle_once_and_its_end_is_told",
        a_child_takes_each_handle_once_and_its_end_is_told,
    ),
    ("a_killed_child_is_told_by_its_code", a_killed_child_is_told_by_its_code),
    ("arguments_arrive_as_they_were", arguments_arrive_as_they_were),
    ("a_socket_outlives_the_children_that_wait_for_it", a_socket_outlives_the_children_that_wait_for_it),
    ("a_pipe_outlives_the_children_that_read_it", a_pipe_outlives_the_children_that_read_it),
    ("an_endpoint_outlives_the_children_that_serve_it", an_endpoint_outlives_the_children_that_serve_it),
    ("a_file_is_written_by_one_and_read_by_the_other", a_file_is_written_by_one_and_read_by_the_other),
    ("children_end_with_their_parent", children_end_with_their_parent),
    ("a_group_ends_as_a_whole_or_is_let_go", a_group_ends_as_a_whole_or_is_let_go),
    ("a_child_says_where_this_says", a_child_says_where_this_says),
    ("a_program_that_does_not_exist_is_an_error", a_program_that_does_not_exist_is_an_error),
    ("privileges_are_gone_and_the_rest_goes_on", privileges_are_gone_and_the_rest_goes_on),
];

pub(crate) fn main() {
    harness::main(TESTS, roles::run);
}

fn this_program() -> PathBuf {
    process::this_program().unwrap()
}

/// Starts this program in a role, with these handles, whose numbers follow in the arguments.
fn child(role: &str, inherit: &[&dyn AsDescriptor]) -> Child {
    let arguments = inherit.iter().map(|what| number(*what).to_string()).collect::<Vec<_>>();
    child_with(role, inherit, &arguments)
}

fn child_with(role: &str, inherit: &[&dyn AsDescriptor], arguments: &[String]) -> Child {
    let mut all: Vec<OsString> = vec!["child".into(), role.into()];
    all.extend(arguments.iter().map(OsString::from));
    let inherit: Vec<Borrowed<'_>> = inherit.iter().map(|what| what.as_descriptor()).collect();
    spawn(&this_program(), &all, &inherit).unwrap()
}

fn readable(what: &(impl Waitable + ?Sized), time: Duration) -> bool {
    let poller = Poller::new().unwrap();
    poller.add(what, 0).unwrap();
    let mut ready = Vec::new();
    poller.wait(&mut ready, Some(time)).unwrap();
    !ready.is_empty()
}

fn wait(child: &Child) -> Exit {
    assert!(readable(child, PATIENCE), "the child does not end");
    child.reap().unwrap().unwrap()
}

fn receive(pipe: &MessagePipe) -> String {
    let mut buffer = [0; 4096];
    let deadline = boot_time() + PATIENCE;
    loop {
        match pipe.receive(&mut buffer).unwrap() {
            Received::Message(length) => return String::from_utf8_lossy(&buffer[..length]).into_owned(),
            Received::Empty => assert!(readable(pipe, PATIENCE), "the child says nothing"),
            Received::Closed => panic!("the child is gone"),
        }
        assert!(boot_time() < deadline, "the child says nothing");
    }
}

fn a_child_inherits_the_listed_handles_and_no_others() {
    let (ours, theirs) = pipe::pair().unwrap();
    let listed = memory_file(c"listed", b"yes").unwrap();
    let unlisted = memory_file(c"unlisted", b"no").unwrap();
    let careless = tempfile::tempfile().unwrap();
    // Marked for children, as a careless library leaves handles behind.
    // SAFETY: the handle is open; only the mark changes.
    let marked =
        unsafe { SetHandleInformation(careless.as_raw_handle(), HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) };
    assert_ne!(marked, 0);
    let numbers =
        [number(&theirs), number(&listed), number(&unlisted), number(&careless)].map(|n| n.to_string());
    let child = child_with("look", &[&theirs, &listed], &numbers);
    drop(theirs);
    assert_eq!(receive(&ours), "listed: yes; unlisted: refused; careless: refused");
    assert_eq!(child.reap().unwrap(), None, "it runs");
    drop(ours);
    assert_eq!(wait(&child), Exit::Code(7));
    child.kill().unwrap();
    assert!(process::watch(u32::MAX - 3).is_err());
}

fn a_child_takes_each_handle_once_and_its_end_is_told() {
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

fn a_killed_child_is_told_by_its_code() {
    let (ours, theirs) = pipe::pair().unwrap();
    let killed = child("idle", &[&theirs]);
    killed.kill().unwrap();
    assert_eq!(wait(&killed), KILLED);
    killed.kill().unwrap();
    let asked = child("idle", &[&theirs]);
    assert_eq!(receive(&ours), "here");
    let adopted = process::adopt(asked.pid).unwrap();
    asked.terminate().unwrap();
    assert_eq!((wait(&asked), wait(&adopted)), (KILLED, KILLED));
}

fn arguments_arrive_as_they_were() {
    let (ours, theirs) = pipe::pair().unwrap();
    let said = [r"a b\", "", r#"say "hi""#, r#"\\"\"#, "ümläut\t", "%PATH%", "*"].map(str::to_owned);
    let mut arguments = vec![number(&theirs).to_string()];
    arguments.extend(said.clone());
    let child = child_with("repeat", &[&theirs], &arguments);
    for expected in said {
        assert_eq!(receive(&ours), format!("<{expected}>"));
    }
    assert_eq!(wait(&child), Exit::Code(0));
}

fn a_socket_outlives_the_children_that_wait_for_it() {
    let socket = datagrams::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = socket.local_addr().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..3 {
        let (ours, theirs) = pipe::pair().unwrap();
        let child = child("echo", &[&theirs, &socket]);
        assert_eq!(receive(&ours), "here");
        for _ in 0..5 {
            client.send_to(b"hello", at).unwrap();
            let mut buffer = [0; 16];
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&b"hello"[..], at));
        }
        // While it waits, and not while it looks whether there is more: in wine the socket would be deaf for ever (docs/testing.md).
        std::thread::sleep(Duration::from_millis(300));
        child.kill().unwrap();
        wait(&child);
    }
    // This process has it still, and sends.
    socket.send_to(b"bye", client.local_addr().unwrap()).unwrap();
    assert_eq!(client.recv_from(&mut [0; 16]).unwrap().0, 3);
}

fn a_pipe_outlives_the_children_that_read_it() {
    let (near, far) = pipe::pair().unwrap();
    for round in 0..3 {
        let (ours, theirs) = pipe::pair().unwrap();
        // What is said while nobody is there is heard by the next.
        if round > 0 {
            near.send(b"early").unwrap();
        }
        let child = child("hear", &[&theirs, &far]);
        assert_eq!(receive(&ours), "here");
        if round > 0 {
            assert_eq!(receive(&ours), "heard early");
        }
        near.send(b"one").unwrap();
        near.send(b"two").unwrap();
        assert_eq!(receive(&ours), "heard one");
        assert_eq!(receive(&ours), "heard two");
        assert_eq!(receive(&near), "told");
        assert_eq!(receive(&near), "told");
        if round > 0 {
            assert_eq!(receive(&near), "told");
        }
        // While it reads.
        child.kill().unwrap();
        wait(&child);
    }
    drop(far);
    assert_eq!(near.receive(&mut [0; 4]).unwrap(), Received::Closed);
}

fn an_endpoint_outlives_the_children_that_serve_it() {
    let path = format!(r"\\.\pipe\vipdrift-children-{}", std::process::id());
    let listener = endpoint::listen(Path::new(&path), None).unwrap();
    for _ in 0..3 {
        let (ours, theirs) = pipe::pair().unwrap();
        let child = child("serve", &[&theirs, &listener]);
        assert_eq!(receive(&ours), "here");
        for _ in 0..3 {
            assert_eq!(ask(&path), "served");
        }
        // With a client on it.
        let _client = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        child.kill().unwrap();
        wait(&child);
        assert!(endpoint::answers(Path::new(&path)), "the name is kept");
    }
    drop(listener);
    assert!(!endpoint::answers(Path::new(&path)));
}

fn ask(path: &str) -> String {
    use std::io::Read as _;
    let mut said = String::new();
    // A client that finds all instances busy tries again (ERROR_PIPE_BUSY).
    let deadline = boot_time() + PATIENCE;
    loop {
        match std::fs::OpenOptions::new().read(true).write(true).open(path) {
            Ok(mut client) => {
                // The other side ends it when all is said.
                let _ = client.read_to_string(&mut said);
                return said;
            }
            Err(error) => {
                assert!(error.raw_os_error() == Some(231) && boot_time() < deadline, "{error}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn a_file_is_written_by_one_and_read_by_the_other() {
    let file = scratch_file(c"vipdrift-answer").unwrap();
    let (ours, theirs) = pipe::pair().unwrap();
    let child = child("answer", &[&theirs, &file]);
    drop(theirs);
    assert_eq!(wait(&child), Exit::Code(0));
    drop(ours);
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    vipdrift_platform::file::read_exact_at(&file, &mut bytes, 0).unwrap();
    assert_eq!(bytes, b"forty-two");
}

fn children_end_with_their_parent() {
    let (ours, theirs) = pipe::pair().unwrap();
    let keeper = child("keeper", &[&theirs]);
    let brain: u32 = receive(&ours).parse().unwrap();
    assert_eq!(receive(&ours), "here");
    let brain = process::adopt(brain).unwrap();
    assert_eq!(brain.reap().unwrap(), None);
    keeper.kill().unwrap();
    wait(&brain);
    wait(&keeper);
}

fn a_group_ends_as_a_whole_or_is_let_go() {
    let start = |theirs: &MessagePipe| {
        // Inherited by whoever is started meanwhile: nobody here.
        let mut command = Command::new(this_program());
        command.args(["child", "nothing"]);
        let _ = theirs;
        Group::spawn(&mut command).unwrap()
    };
    let (_ours, theirs) = pipe::pair().unwrap();
    let (group, mut first) = start(&theirs);
    assert_eq!(first.try_wait().unwrap(), None);
    group.kill().unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(1067));
    group.kill().unwrap();
    let (group, mut second) = start(&theirs);
    drop(group);
    second.wait().unwrap();
    let (group, mut third) = start(&theirs);
    group.release().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(third.try_wait().unwrap(), None);
    third.kill().unwrap();
    third.wait().unwrap();
    assert!(Group::spawn(&mut Command::new("no-such-program")).is_err());
}

fn a_child_says_where_this_says() {
    let output = Command::new(this_program()).args(["child", "parent-of-speaker"]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("said aloud") && err.contains("complained"), "{out}\n{err}");
}

fn a_program_that_does_not_exist_is_an_error() {
    let error = spawn(Path::new(r"C:\nonexistent\program.exe"), &[], &[]).unwrap_err();
    assert!(matches!(error, process::Error::Start { .. }), "{error}");
    assert!(error.to_string().contains(r"C:\nonexistent\program.exe"));
    assert!(matches!(process::inherited(0), Err(process::Error::NotInherited(0))));
    assert!(matches!(process::inherited(u64::MAX), Err(process::Error::NotInherited(u64::MAX))));
}

// wine takes the privileges away, as its token then says. It pretends to do the rest, and does nothing: the level of integrity
// stays high, a job has no limit of processes, and the policies of SetProcessMitigationPolicy are not known.
fn privileges_are_gone_and_the_rest_goes_on() {
    let output = Command::new(this_program()).args(["child", "sandbox"]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    println!("{out}");
    for expected in [
        "dropped twice: the same",
        "filter: ok",
        "poller, timer, wake: ok",
        "udp: ok",
        "threads: ok",
        "endpoint: ok",
    ] {
        assert!(out.contains(expected), "{expected} in {out}\n{err}");
    }
    assert!(out.contains(" 0 privileges"), "{out}");
}
