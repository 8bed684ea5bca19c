//! Another configuration, or another program, while the VIPs stay where they are: the keeper's process is another one then,
//! and its host's the same.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Instant;

use vipdrift::trial::Cluster;

use crate::support::{PATIENCE, WEB, exe, holder, pair, wait, windows, with};

const NEW: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 102));

/// Changes the configuration file of a node.
fn change(cluster: &Cluster, index: usize, from: &str, to: &str) {
    let path = &cluster.nodes[index].config;
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// The one process of a kind.
fn one(cluster: &Cluster, index: usize, kind: &str) -> i32 {
    let pids = windows(cluster, index).pids(kind);
    assert_eq!(pids.len(), 1, "{kind}: {pids:?}");
    pids[0]
}

fn is_unbroken(cluster: &Cluster, index: usize, since: Instant) {
    for vip in WEB {
        let held = cluster.lab.observer().held_by(&cluster.nodes[index].name, vip, since);
        assert!(held.len() == 1 && held[0].to.is_none(), "{vip}: {held:?}\n{}", cluster.describe());
    }
}

fn output(cluster: &Cluster, index: usize) -> String {
    let process = cluster.nodes[index].process.as_ref().unwrap();
    process.lines().iter().map(|line| format!("{}\n", line.text)).collect()
}

pub(crate) fn a_reload_adds_a_vip_and_drops_none() {
    let mut cluster = pair(&[0, 1]);
    let at = holder(&cluster);
    let (host, keeper) = (one(&cluster, at, "host"), one(&cluster, at, "keeper"));
    let since = Instant::now();
    // What is refused changes nothing.
    change(&cluster, at, "heartbeat", "haertbeat");
    let said = windows(&cluster, at).run(&["reload"]).unwrap();
    assert!(!said.done && said.text.contains("haertbeat"), "{}", said.text);
    assert_eq!(one(&cluster, at, "keeper"), keeper);
    change(&cluster, at, "haertbeat", "heartbeat");
    for index in [at, 1 - at] {
        change(&cluster, index, "\"2001:db8::100/64\"", "\"2001:db8::100/64\", \"192.0.2.102/24\"");
        let said = windows(&cluster, index).run(&["reload"]).unwrap();
        assert!(said.done, "{}\n{}", said.text, output(&cluster, index));
        assert_eq!(said.text.trim(), "reloaded: VIPs added: 192.0.2.102/24");
    }
    wait(&cluster, "the new VIP", |cluster| cluster.holder(NEW) == Some(at));
    wait(&cluster, "all agree", |cluster| cluster.wait_settled().is_ok());
    is_unbroken(&cluster, at, since);
    assert_eq!(one(&cluster, at, "host"), host, "the service manager sees one process");
    assert_ne!(one(&cluster, at, "keeper"), keeper);
    // Whoever has taken its place is stopped as the first one would be.
    cluster.stop(at).unwrap();
    cluster.reap(at, PATIENCE).expect("the host ends with its last keeper");
    assert!(windows(&cluster, at).wine().pids("vipdrift.exe").is_empty());
    wait(&cluster, "the other one has taken over", |cluster| {
        [WEB[0], WEB[1], NEW].iter().all(|vip| cluster.holder(*vip) == Some(1 - at))
    });
    for vip in [WEB[0], WEB[1], NEW] {
        assert_eq!(cluster.lab.observer().timeline().two_holders(vip, since).as_millis(), 0, "{vip}");
    }
}

/// A host that answers too late is not obeyed: the keeper has gone on, and nobody begins next to it.
pub(crate) fn a_slow_host_begins_nobody_that_was_given_up() {
    let cluster = pair(&[0, 1]);
    let at = holder(&cluster);
    let (host, keeper) = (one(&cluster, at, "host"), one(&cluster, at, "keeper"));
    let since = Instant::now();
    let signal = |signal| windows(&cluster, at).wine().kill(host, signal).unwrap();
    signal(vipdrift_lab::Signal::SIGSTOP);
    let said = windows(&cluster, at).run(&["reload"]).unwrap();
    assert!(
        !said.done && said.text.contains("reload not carried out"),
        "{}\n{}",
        said.text,
        output(&cluster, at)
    );
    signal(vipdrift_lab::Signal::SIGCONT);
    // It heard of the wish and of its end, and then of another, which is refused while the node asks around.
    wait(&cluster, "another reload", |cluster| windows(cluster, at).run(&["reload"]).unwrap().done);
    assert_eq!(one(&cluster, at, "host"), host);
    assert_ne!(one(&cluster, at, "keeper"), keeper);
    wait(&cluster, "all agree", |cluster| cluster.wait_settled().is_ok());
    is_unbroken(&cluster, at, since);
    let said = output(&cluster, at);
    assert!(
        said.contains("reload not carried out, goes on as it was") && said.contains("timed out"),
        "{said}"
    );
    assert_eq!(said.matches("reload carried out").count(), 1, "{said}");
}

/// A hook that runs when the keeper makes way goes on to its end, and runs once.
pub(crate) fn a_hook_outlives_the_keeper_that_began_it() {
    // It writes what it was for when it is told to go on.
    let script = "@echo off\r\n:wait\r\nif not exist C:\\go-on goto wait\r\necho done>>C:\\hooks\r\n";
    let cluster = with(&[0], |options| {
        options.nodes = 1;
        options.start = false;
        options.web_lines =
            "[group.hooks]\ntimeout = \"60s\"\nactive = ['C:\\windows\\system32\\cmd.exe', '/c', 'C:\\hook.bat']\n"
                .to_owned();
    });
    let mut cluster = cluster;
    let drive = windows(&cluster, 0).wine().drive();
    fs::write(drive.join("hook.bat"), script).unwrap();
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    wait(&cluster, "the hook runs", |cluster| !windows(cluster, 0).wine().pids("cmd.exe").is_empty());
    let keeper = one(&cluster, 0, "keeper");
    let said = windows(&cluster, 0).run(&["reload"]).unwrap();
    assert!(said.done, "{}\n{}", said.text, output(&cluster, 0));
    assert_ne!(one(&cluster, 0, "keeper"), keeper);
    // One at a time: hooks from before still run.
    let said = windows(&cluster, 0).run(&["reload"]).unwrap();
    assert!(!said.done && said.text.contains("hooks from before the last change still run"), "{}", said.text);
    assert_eq!(windows(&cluster, 0).pids("runner").len(), 2);
    fs::write(drive.join("go-on"), "").unwrap();
    wait(&cluster, "the old runner ends", |cluster| windows(cluster, 0).pids("runner").len() == 1);
    assert_eq!(fs::read_to_string(drive.join("hooks")).unwrap(), "done\r\n");
    assert_eq!(holder(&cluster), 0);
}

/// A new file in the place of the old one, as an upgrade puts it there.
pub(crate) fn a_restart_takes_the_program_from_its_file_and_moves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("vipdrift.exe");
    fs::copy(exe(), &program).unwrap();
    let cluster = with(&[0, 1], |options| options.windows = Some((program.clone(), vec![0, 1])));
    let at = holder(&cluster);
    let node = windows(&cluster, at);
    let (host, keeper) = (one(&cluster, at, "host"), one(&cluster, at, "keeper"));
    let since = Instant::now();
    // Windows lets nobody write to a program that runs, but it may be renamed.
    let aside = |name: &str| fs::rename(&program, folder.path().join(name)).unwrap();
    aside("old.exe");
    fs::copy(another_program(), &program).unwrap();
    let command = |args: &[&str]| {
        let mut command = node.wine().command(&folder.path().join("old.exe"));
        command.args(args);
        let process = node.wine().host().spawn(command).unwrap();
        let status = process.wait_output(Instant::now() + PATIENCE).unwrap();
        (status.success(), process.output())
    };
    let (done, said) = command(&["restart", "--keep", "20s"]);
    assert!(!done && said.contains("does not take over from this version"), "{said}");
    assert_eq!(one(&cluster, at, "keeper"), keeper, "nothing has changed");
    aside("wrong.exe");
    fs::copy(exe(), &program).unwrap();
    let (done, said) = command(&["restart", "--keep", "20s"]);
    assert!(
        done && said.contains("vipdrift.exe; configuration: nothing"),
        "{said}\n{}",
        output(&cluster, at)
    );
    wait(&cluster, "all agree", |cluster| cluster.wait_settled().is_ok());
    is_unbroken(&cluster, at, since);
    assert_eq!(one(&cluster, at, "host"), host);
    assert_ne!(one(&cluster, at, "keeper"), keeper);
}

/// Something that runs and knows nothing of vipdrift.
fn another_program() -> PathBuf {
    vipdrift_lab::wine::program("address").unwrap()
}

/// Who is above them all takes them all along.
pub(crate) fn a_killed_host_takes_keeper_and_brain_along() {
    let mut cluster = pair(&[0, 1]);
    let at = holder(&cluster);
    let host = one(&cluster, at, "host");
    windows(&cluster, at).wine().kill(host, vipdrift_lab::Signal::SIGKILL).unwrap();
    wait(&cluster, "all of them end", |cluster| windows(cluster, at).wine().pids("vipdrift.exe").is_empty());
    cluster.reap(at, PATIENCE);
    let killed = Instant::now();
    wait(&cluster, "the other one takes over when the lifetime is over", |cluster| {
        cluster.holder(WEB[0]) == Some(1 - at)
    });
    for vip in WEB {
        assert_eq!(cluster.lab.observer().timeline().two_holders(vip, killed).as_millis(), 0, "{vip}");
    }
}
