//! The log in systemd's journal: a real one, with what it is asked for later.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vipdrift::trial::Cluster;
use vipdrift_lab::{Host, Process};

use crate::support::{BINARY, PATIENCE, WEB, cluster, holder, settle, wait, with};

/// What marks changes of role; the README names it.
const ROLE_CHANGED: &str = "MESSAGE_ID=46bec946d6aa436aa6c9f6f8f2467f8c";
/// The journal's instance: one with a name reads neither the kernel's messages nor those of other programs.
const NAMESPACE: &str = "lab";

/// A program of the package systemd.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/lib/systemd".into()]);
    let file = folders.map(|folder| folder.join(name)).find(|file| file.exists());
    file.unwrap_or_else(|| panic!("{name} is missing: apt-get install -y systemd"))
}

/// A machine whose journal is where systemd shows it to a service (`LogNamespace=` of systemd.exec(5)). Nothing of it outlives
/// the machine.
fn prepare(host: &Host) {
    let etc = host.private_etc().unwrap();
    fs::write(etc.join("machine-id"), "00112233445566778899aabbccddeeff\n").unwrap();
    fs::create_dir_all(etc.join("systemd")).unwrap();
    let settings = "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n";
    fs::write(etc.join(format!("systemd/journald@{NAMESPACE}.conf")), settings).unwrap();
    host.run(|| {
        fs::create_dir_all("/run/systemd").unwrap();
        std::os::unix::fs::symlink(format!("journal.{NAMESPACE}"), "/run/systemd/journal").unwrap();
    });
}

fn start_journal(host: &Host) -> Process {
    let mut command = Command::new(program("systemd-journald"));
    command.arg(NAMESPACE).env("SYSTEMD_LOG_TARGET", "console");
    let journal = host.spawn(command).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let listens =
        || host.run(|| std::os::unix::net::UnixStream::connect("/run/systemd/journal/stdout").is_ok());
    while !listens() {
        assert!(Instant::now() < deadline && journal.ended().is_none(), "{}", journal.output());
        std::thread::sleep(Duration::from_millis(10));
    }
    journal
}

/// Starts the daemon of a node as a service manager does: standard error is the journal, and the environment says so.
fn start(cluster: &mut Cluster, index: usize) {
    let state = cluster.directory_of(index).join("state");
    let node = &mut cluster.nodes[index];
    let daemon = format!(
        "export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); exec {BINARY} run --config {} --node {} --state-dir {}",
        node.config.display(),
        node.name,
        state.display()
    );
    let mut command = Command::new(program("systemd-cat"));
    command.args(["-t", "as-a-stream", "/bin/sh", "-c", &daemon]);
    node.process = Some(node.host.spawn(command).unwrap());
}

/// What the journal has of this, as JSON, oldest first.
fn records(host: &Host, matches: &[&str]) -> Vec<serde_json::Value> {
    let mut command = Command::new(program("journalctl"));
    command.arg(format!("--namespace={NAMESPACE}")).args(["-o", "json", "--all"]).args(matches);
    let output = host.run(move || command.output().unwrap());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn field<'r>(record: &'r serde_json::Value, name: &str) -> &'r str {
    record[name].as_str().unwrap_or_default()
}

/// Messages of these, one a line.
fn messages(host: &Host, matches: &[&str]) -> String {
    records(host, matches).iter().map(|record| format!("{}\n", field(record, "MESSAGE"))).collect()
}

pub(crate) fn changes_of_role_are_in_the_journal_with_their_fields() {
    let mut cluster = with(|options| {
        options.start = false;
        options.web_lines = "[group.hooks]\nactive = [\"/bin/true\"]\n".to_owned();
    });
    let host = cluster.nodes[0].host.clone();
    prepare(&host);
    let journal = start_journal(&host);
    start(&mut cluster, 0);
    cluster.start_all().unwrap();
    assert_eq!(holder(&cluster), 0);
    wait(&cluster, "a hook", |_| messages(&host, &["VIPDRIFT_GROUP=web"]).contains("web: hook active"));

    // The first takeover, with everything that is to be found of it.
    let moves = records(&host, &[ROLE_CHANGED, "VIPDRIFT_GROUP=web"]);
    let reason = "nobody holds it, 192.0.2.100 not answered";
    let expected = [
        ("MESSAGE", format!("web: standby -> active, term 1: {reason}")),
        ("PRIORITY", "5".to_owned()),
        ("SYSLOG_IDENTIFIER", "vipdrift".to_owned()),
        ("VIPDRIFT_CLUSTER", "trial".to_owned()),
        ("VIPDRIFT_NODE", "alpha".to_owned()),
        ("VIPDRIFT_GROUP", "web".to_owned()),
        ("VIPDRIFT_FROM", "standby".to_owned()),
        ("VIPDRIFT_TO", "active".to_owned()),
        ("VIPDRIFT_TERM", "1".to_owned()),
        ("VIPDRIFT_REASON", reason.to_owned()),
        ("_TRANSPORT", "journal".to_owned()),
    ];
    assert_eq!(moves.len(), 1, "{moves:?}");
    for (name, value) in &expected {
        assert_eq!(field(&moves[0], name), value, "{name} of {}", moves[0]);
    }
    // All three processes speak so, in the words that standard error would get, without its stamps.
    let of = |process: &str, what: &str| {
        let found = records(&host, &[&format!("_COMM={process}")]);
        found.iter().any(|record| {
            field(record, "_TRANSPORT") == "journal" && field(record, "MESSAGE").starts_with(what)
        })
    };
    assert!(of("vipdrift", "vipdrift 0.1.0: node alpha of cluster trial"), "{}", messages(&host, &[]));
    assert!(of("vipdrift-brain", "bravo heard"), "{}", messages(&host, &[]));
    assert!(of("vipdrift-runner", "web: hook active: exit status 0"), "{}", messages(&host, &[]));
    assert_eq!(messages(&host, &["_TRANSPORT=stdout"]), "", "nothing takes the other way");

    // Over a change of image.
    let mut reload = Command::new(BINARY);
    reload.arg("reload").arg("--config").arg(&cluster.nodes[0].config);
    assert!(host.run(move || reload.output().unwrap()).status.success());
    settle(&cluster);
    cluster.switchover(0, "web", Some("bravo")).unwrap();
    let let_go = "web: active -> standby, term 1: switchover to bravo";
    wait(&cluster, "a move", |_| messages(&host, &[ROLE_CHANGED]).contains(let_go));
    // A journal that hangs holds up nothing, and gets it all later.
    journal.kill(Signal::SIGSTOP).unwrap();
    for to in ["alpha", "bravo", "alpha"] {
        let active = holder(&cluster);
        // One that has just let go may not be ready yet.
        let took = wait(&cluster, "a move", |c| c.switchover(active, "web", Some(to)).is_ok());
        println!("moved to {to} after {took:?}");
        settle(&cluster);
    }
    journal.kill(Signal::SIGCONT).unwrap();
    wait(&cluster, "what it has missed", |_| {
        records(&host, &[ROLE_CHANGED, "VIPDRIFT_TO=active", "VIPDRIFT_GROUP=web"]).len() >= 4
    });
    // One that is started anew is found again.
    journal.kill(Signal::SIGKILL).unwrap();
    journal.wait(Instant::now() + PATIENCE);
    let _journal = start_journal(&host);
    cluster.switchover(0, "web", Some("charlie")).unwrap();
    wait(&cluster, "a move", |_| messages(&host, &[ROLE_CHANGED]).contains("switchover to charlie"));
    settle(&cluster);
    assert_eq!(cluster.status(0).unwrap().counters.log_lines_dropped, 0);
    assert!(cluster.lab.observer().holders(WEB[0]).len() == 1);
}

/// A stream that has been redirected since is not the journal, whatever the environment says.
pub(crate) fn a_log_that_is_not_the_journal_goes_to_standard_error() {
    let cluster = cluster();
    let log = |c: &Cluster| c.nodes[0].process.as_ref().unwrap().output();
    wait(&cluster, "the log", |c| log(c).contains("web: standby -> active, term 1: nobody holds it"));
    let stamped = |line: &&str| line.starts_with("20") && line.as_bytes().get(23) == Some(&b'Z');
    let text = log(&cluster);
    assert_eq!(text.lines().filter(|line| !stamped(line)).collect::<Vec<_>>(), Vec::<&str>::new(), "{text}");
}
