//! A busy machine with checks that hang and a log that nobody reads: nothing moves, and how late heartbeats are.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use vipdrift::trial::Cluster;
use vipdrift_control::Lateness;
use vipdrift_lab::Process;

use crate::support::{BINARY, WEB, holder, wait, with};

/// Checks that hang, on each node.
const HANGING: usize = 100;
/// How long is looked.
const SPAN: Duration = Duration::from_secs(10);

fn lateness(cluster: &Cluster) -> Vec<Lateness> {
    (0..cluster.nodes.len()).map(|index| cluster.status(index).unwrap().daemon.lateness).collect()
}

/// Watches for a while; nothing may move.
fn watch(cluster: &Cluster, what: &str) -> String {
    let active = holder(cluster);
    let since = Instant::now();
    std::thread::sleep(SPAN);
    let held = cluster.lab.observer().held_by(&cluster.nodes[active].name, WEB[0], since);
    assert!(held.len() == 1 && held[0].to.is_none(), "{what}: moved\n{}", cluster.describe());
    assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero());
    let mut text = format!("{what}:");
    for (node, late) in cluster.nodes.iter().zip(lateness(cluster)) {
        let Lateness { wakeups, p50_us, p999_us, max_us } = late;
        let _ =
            write!(text, " {} p50 {p50_us} us, p99.9 {p999_us} us, max {max_us} us of {wakeups};", node.name);
    }
    text
}

/// Two processes that do nothing but that.
fn busy(cluster: &Cluster) -> Vec<Process> {
    let spin = || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "while :; do :; done"]);
        cluster.client.spawn(command).unwrap()
    };
    (0..2).map(|_| spin()).collect()
}

/// Starts the daemon of a node with its log in a pipe that is full and that nobody reads.
fn start_unheard(cluster: &mut Cluster, index: usize) {
    let state = cluster.directory_of(index).join("state");
    let node = &mut cluster.nodes[index];
    let daemon = format!(
        "exec {BINARY} run --config {} --node {} --state-dir {}",
        node.config.display(),
        node.name,
        state.display()
    );
    let fill = "head -c 65536 /dev/zero >&2";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{{ {fill}; {daemon}; }} 2>&1 >/dev/null | sleep 1000")]);
    node.process = Some(node.host.spawn(command).unwrap());
}

pub(crate) fn hanging_checks_a_full_log_and_busy_cores_move_nothing() {
    let quiet = with(|_| {});
    println!("{}", watch(&quiet, "at rest"));
    drop(quiet);
    let checks: String = (0..HANGING)
        .map(|number| {
            format!(
                "[[group.check]]\nname = \"hangs-{number}\"\nexec = [\"/bin/sleep\", \"1000\"]\n\
                 interval = \"1s\"\ntimeout = \"3s\"\nfall = 100\ninitial = \"healthy\"\n"
            )
        })
        .collect();
    let mut loaded = with(|options| {
        options.start = false;
        options.web_lines = checks;
    });
    for index in 0..loaded.nodes.len() {
        start_unheard(&mut loaded, index);
    }
    wait(&loaded, "a holder", |c| c.holder(WEB[0]).is_some());
    let spinning = busy(&loaded);
    wait(&loaded, "checks that were killed once", |c| {
        (0..c.nodes.len()).all(|index| {
            c.status(index).is_ok_and(|s| s.groups[0].checks.iter().all(|check| check.looks > 0))
        })
    });
    println!("{}", watch(&loaded, "100 hanging checks on each node, full log, both cores busy"));
    drop(spinning);
}
