//! Health checks and hooks: real programs, real processes, on every host its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vipdrift::trial::Cluster;
use vipdrift_control::{CheckState, GroupRole, HealthState};
use vipdrift_lab::Process;

use crate::support::{PATIENCE, WEB, holder, settle, wait, with};

/// A file on each host: as long as it is there, the service is well.
const WELL: &str = "/run/service-is-well";
/// A program on each host that looks at it.
const LOOK: &str = "/run/look";
/// Where hooks leave their mark.
const MARKS: &str = "/run/marks";
/// What hooks run.
const HOOK: &str = "/run/hook";

/// Three nodes whose `web` has these lines, with every service well.
fn cluster(lines: &str) -> Cluster {
    let mut cluster = with(|options| {
        options.start = false;
        options.web_lines = lines.to_owned();
    });
    for index in 0..cluster.nodes.len() {
        set_well(&cluster, index, true);
        on(&cluster, index, || {
            program(Path::new(LOOK), &format!("test -e {WELL} || {{ echo the service is ill; exit 1; }}"));
            program(Path::new(HOOK), &format!("echo $VIPDRIFT_FROM $VIPDRIFT_TO $VIPDRIFT_TERM >> {MARKS}"));
            // Hooks are run by a user who may write nowhere else.
            fs::write(MARKS, "").unwrap();
            fs::set_permissions(MARKS, fs::Permissions::from_mode(0o666)).unwrap();
        });
    }
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    cluster
}

pub(crate) fn on<T: Send>(cluster: &Cluster, index: usize, work: impl FnOnce() -> T + Send) -> T {
    cluster.nodes[index].host.run(work)
}

pub(crate) fn program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn set_well(cluster: &Cluster, index: usize, well: bool) {
    on(cluster, index, || if well { fs::write(WELL, "") } else { fs::remove_file(WELL) }.unwrap());
}

fn marks(cluster: &Cluster, index: usize) -> Vec<String> {
    let text = on(cluster, index, || fs::read_to_string(MARKS).unwrap());
    text.lines().map(str::to_owned).collect()
}

fn wait_moved(cluster: &Cluster, from: usize) -> usize {
    wait(cluster, "another holder", |c| c.holder(WEB[0]).is_some_and(|now| now != from));
    holder(cluster)
}

fn said(cluster: &Cluster, index: usize) -> String {
    cluster.nodes[index].process.as_ref().unwrap().output()
}

const FILE: &str =
    "[[group.check]]\nname = \"flag\"\nfile = \"/run/service-is-well\"\ninterval = \"10ms\"\nfall = 1\n";
const EXEC: &str =
    "[[group.check]]\nname = \"look\"\nexec = [\"/run/look\"]\ninterval = \"20ms\"\nfall = 2\n";

pub(crate) fn failing_check_moves_the_vip_and_names_its_reason() {
    let cluster = cluster(&format!("{EXEC}rise = 2\n"));
    let active = holder(&cluster);
    let since = Instant::now();
    set_well(&cluster, active, false);
    let heir = wait_moved(&cluster, active);
    assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero(), "{}", cluster.describe());
    let status = cluster.status(active).unwrap();
    assert_eq!(status.health.state, HealthState::Fault);
    let reason = "check look fails: exit status 1: the service is ill";
    assert_eq!(status.health.reasons, [reason]);
    let check = &status.groups[0].checks[0];
    assert_eq!((check.state, check.output.as_str()), (CheckState::Failing, "the service is ill"));
    wait(&cluster, "it is said", |c| {
        said(c, active).contains(&format!("web: active -> fault, term 1: {reason}"))
    });
    // Well again, it is standby again, and nothing goes back by itself.
    set_well(&cluster, active, true);
    wait(&cluster, "a standby", |c| c.status(active).is_ok_and(|s| s.groups[0].role == GroupRole::Standby));
    assert_eq!(cluster.holder(WEB[0]), Some(heir));
}

pub(crate) fn deleted_check_program_moves_the_vip() {
    let cluster = cluster(EXEC);
    let active = holder(&cluster);
    on(&cluster, active, || fs::remove_file(LOOK).unwrap());
    wait_moved(&cluster, active);
    let reasons = cluster.status(active).unwrap().health.reasons;
    assert_eq!(reasons, ["check look fails: cannot run /run/look: no such file or directory"]);
}

pub(crate) fn hanging_check_program_moves_the_vip_and_leaves_no_process() {
    let cluster = cluster(&format!("{EXEC}timeout = \"100ms\"\n"));
    let active = holder(&cluster);
    on(&cluster, active, || program(Path::new(LOOK), "sleep 4711 & sleep 4712"));
    wait_moved(&cluster, active);
    let reasons = cluster.status(active).unwrap().health.reasons;
    assert_eq!(reasons, ["check look fails: /run/look did not end within 100 ms and was killed"]);
    on(&cluster, active, || fs::remove_file(LOOK).unwrap());
    wait(&cluster, "nothing left", |c| {
        c.nodes[active].host.processes().iter().all(|pid| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            !line.contains("471")
        })
    });
}

/// A process on a host, and the file with its id.
fn service(cluster: &Cluster, index: usize) -> Process {
    let mut command = Command::new("/bin/sleep");
    command.arg("1000");
    let process = cluster.nodes[index].host.spawn(command).unwrap();
    let pid = process.pid();
    on(cluster, index, || fs::write("/run/service.pid", format!("{pid}\n")).unwrap());
    process
}

pub(crate) fn service_process_that_dies_moves_the_vip() {
    let mut cluster = with(|options| {
        options.start = false;
        options.web_lines = "[[group.check]]\nprocess = \"/run/service.pid\"\n".to_owned();
    });
    let services: Vec<Process> = (0..cluster.nodes.len()).map(|index| service(&cluster, index)).collect();
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    let active = holder(&cluster);
    let since = Instant::now();
    cluster.signal(services[active].pid(), Signal::SIGKILL);
    wait_moved(&cluster, active);
    assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero(), "{}", cluster.describe());
    assert_eq!(
        cluster.status(active).unwrap().health.reasons,
        ["check process fails: the process of /run/service.pid has ended"]
    );
    let _again = service(&cluster, active);
    wait(&cluster, "a standby", |c| c.status(active).is_ok_and(|s| s.groups[0].role == GroupRole::Standby));
}

pub(crate) fn when_all_are_ill_the_holder_keeps_the_vip() {
    let cluster = cluster(FILE);
    let active = holder(&cluster);
    let others: Vec<usize> = (0..cluster.nodes.len()).filter(|index| *index != active).collect();
    let since = Instant::now();
    for &other in &others {
        set_well(&cluster, other, false);
    }
    wait(&cluster, "faults", |c| {
        others.iter().all(|&other| c.status(other).is_ok_and(|s| s.groups[0].role == GroupRole::Fault))
    });
    wait(&cluster, "they are known", |c| {
        // What a peer says of itself is seen by what it is not offered.
        c.switchover(active, "web", Some(&c.nodes[others[0]].name)).is_err()
    });
    set_well(&cluster, active, false);
    wait(&cluster, "an ill holder", |c| c.status(active).is_ok_and(|s| s.health.state == HealthState::Fault));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(cluster.holder(WEB[0]), Some(active), "{}", cluster.describe());
    assert_eq!(cluster.status(active).unwrap().groups[0].role, GroupRole::Active);
    // The first that is well again gets it.
    set_well(&cluster, others[1], true);
    assert_eq!(wait_moved(&cluster, active), others[1]);
    assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero());
}

pub(crate) fn demoting_check_moves_the_vip_to_a_healthy_node_only() {
    let cluster = cluster(&format!("{FILE}effect = \"demote\"\n"));
    let active = holder(&cluster);
    set_well(&cluster, active, false);
    let heir = wait_moved(&cluster, active);
    assert_eq!(cluster.status(active).unwrap().groups[0].role, GroupRole::Standby);
    let refused =
        cluster.switchover(active, "web", Some(&cluster.nodes[active].name)).unwrap_err().to_string();
    assert!(refused.contains("a check fails on"), "{refused}");
    // Where all are demoted, it stays.
    for index in (0..cluster.nodes.len()).filter(|index| *index != active) {
        set_well(&cluster, index, false);
    }
    std::thread::sleep(Duration::from_millis(300));
    let now = holder(&cluster);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(holder(&cluster), now, "first moved to {heir}");
}

/// The process that runs checks is killed, and stopped.
pub(crate) fn checks_that_nobody_runs_do_not_pass() {
    let cluster = cluster(FILE);
    let active = holder(&cluster);
    let since = Instant::now();
    cluster.signal(runner(&cluster, active), Signal::SIGKILL);
    wait(&cluster, "it is said", |c| {
        said(c, active).contains("the runner of checks and hooks was killed by signal 9")
    });
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(
        cluster.lab.observer().held_by(&cluster.nodes[active].name, WEB[0], since).len(),
        1,
        "nothing moved"
    );
    let stopped = runner(&cluster, active);
    cluster.signal(stopped, Signal::SIGSTOP);
    wait_moved(&cluster, active);
    let reasons = cluster.status(active).unwrap().health.reasons.join("; ");
    assert!(reasons.contains("nobody looks"), "{reasons}");
    cluster.signal(stopped, Signal::SIGCONT);
    wait(&cluster, "a standby", |c| c.status(active).is_ok_and(|s| s.groups[0].role == GroupRole::Standby));
}

fn runner(cluster: &Cluster, index: usize) -> i32 {
    let mut found = 0;
    wait(cluster, "a runner", |c| {
        let is_runner = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "vipdrift-runner")
        };
        found = c.nodes[index].host.processes().into_iter().find(is_runner).unwrap_or_default();
        found != 0
    });
    found
}

/// A new brain does not move a VIP for results that it has not heard yet.
pub(crate) fn brain_killed_with_checks_nothing_moves() {
    let cluster = cluster(FILE);
    let active = holder(&cluster);
    let since = Instant::now();
    let (_, brain) = cluster.pids(active).unwrap();
    cluster.signal(brain, Signal::SIGKILL);
    wait(&cluster, "a new brain", |c| c.status(active).is_ok_and(|s| s.daemon.brain_starts == 2));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(cluster.lab.observer().held_by(&cluster.nodes[active].name, WEB[0], since).len(), 1);
    set_well(&cluster, active, false);
    wait_moved(&cluster, active);
}

const HOOKS: &str =
    "[group.hooks]\nactive = [\"/run/hook\"]\nstandby = [\"/run/hook\"]\nfault = [\"/run/hook\"]\n";

pub(crate) fn hooks_run_in_the_order_of_events() {
    let mut cluster = cluster(&format!("{FILE}{HOOKS}"));
    let active = holder(&cluster);
    wait(&cluster, "the first hooks", |c| {
        (0..c.nodes.len()).all(|index| {
            marks(c, index).last().is_some_and(|mark| {
                mark.split(' ').nth(1) == Some(if index == active { "active" } else { "standby" })
            })
        })
    });
    set_well(&cluster, active, false);
    let heir = wait_moved(&cluster, active);
    wait(&cluster, "hooks on both", |c| {
        marks(c, active).ends_with(&["active fault 1".to_owned()])
            && marks(c, heir).ends_with(&["standby active 2".to_owned()])
    });
    set_well(&cluster, active, true);
    wait(&cluster, "a standby", |c| marks(c, active).ends_with(&["fault standby 2".to_owned()]));
    // A brain that begins anew tells the roles again, and no hook runs twice.
    let (keeper, brain) = cluster.pids(heir).unwrap();
    let before = marks(&cluster, heir);
    cluster.signal(brain, Signal::SIGKILL);
    wait(&cluster, "a new brain", |c| c.status(heir).is_ok_and(|s| s.daemon.brain_starts == 2));
    settle(&cluster);
    assert_eq!(marks(&cluster, heir), before);
    // The end is told too.
    cluster.signal(keeper, Signal::SIGTERM);
    assert!(cluster.reap(heir, PATIENCE).is_some_and(|status| status.success()));
    assert!(marks(&cluster, heir).last().unwrap().starts_with("active fault"), "{:?}", marks(&cluster, heir));
}

/// A program that takes a while has to succeed before the VIP is mounted; where it does not, the next node has its turn.
pub(crate) fn before_active_is_waited_for_and_may_refuse() {
    let hooks = format!("{FILE}{HOOKS}before_active = [\"/run/before\"]\ntimeout = \"5s\"\n");
    let mut cluster = with(|options| {
        options.start = false;
        options.web_lines = hooks;
    });
    for index in 0..cluster.nodes.len() {
        set_well(&cluster, index, true);
        on(&cluster, index, || {
            fs::write(MARKS, "").unwrap();
            fs::set_permissions(MARKS, fs::Permissions::from_mode(0o666)).unwrap();
            program(Path::new(HOOK), &format!("echo $VIPDRIFT_TO >> {MARKS}"));
            let script = format!("sleep 0.3; echo before $VIPDRIFT_TERM >> {MARKS}; test ! -e /run/refuse");
            program(Path::new("/run/before"), &script);
        });
    }
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    let active = holder(&cluster);
    wait(&cluster, "the hook of the first holder", |c| marks(c, active).ends_with(&["active".to_owned()]));
    assert!(marks(&cluster, active).contains(&"before 1".to_owned()), "{:?}", marks(&cluster, active));
    let refuses = (0..3).find(|index| *index != active).unwrap();
    on(&cluster, refuses, || fs::write("/run/refuse", "").unwrap());
    let since = Instant::now();
    set_well(&cluster, active, false);
    let heir = wait_moved(&cluster, active);
    assert_ne!(heir, refuses);
    assert!(since.elapsed() >= Duration::from_millis(600), "two programs of 300 ms: {:?}", since.elapsed());
    assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero(), "{}", cluster.describe());
    let name = cluster.nodes[refuses].name.clone();
    assert!(cluster.lab.observer().held_by(&name, WEB[0], since).is_empty(), "it was not ready");
    why(&cluster, heir, "before_active succeeded after ");
    wait(&cluster, "the last hooks", |c| {
        marks(c, heir).ends_with(&["active".to_owned()])
            && marks(c, refuses).iter().any(|mark| mark.starts_with("before"))
            && marks(c, refuses).last().is_some_and(|mark| !mark.starts_with("before"))
    });
    assert!(said(&cluster, refuses).contains("before_active failed: "), "{}", said(&cluster, refuses));
    // What has recovered may be asked again.
    on(&cluster, refuses, || fs::remove_file("/run/refuse").unwrap());
    wait(&cluster, "a planned move", |c| c.switchover(heir, "web", Some(&name)).is_ok());
    assert_eq!(holder(&cluster), refuses);
}

/// Flips come faster than hooks run: they neither pile up nor change places, and the last hook is the last role's.
pub(crate) fn fifty_flips_neither_reorder_hooks_nor_pile_them_up() {
    let slow = "echo begin $VIPDRIFT_TO >> /run/marks; sleep 0.1; echo end $VIPDRIFT_TO >> /run/marks";
    let cluster = cluster(&format!("{FILE}rise = 1\n{HOOKS}"));
    for index in 0..cluster.nodes.len() {
        on(&cluster, index, || program(Path::new(HOOK), slow));
    }
    let victim = (holder(&cluster) + 1) % cluster.nodes.len();
    for flip in 0..50 {
        set_well(&cluster, victim, flip % 2 == 1);
        std::thread::sleep(Duration::from_millis(20));
    }
    set_well(&cluster, victim, false);
    wait(&cluster, "the last hook", |c| {
        let role = c.status(victim).map(|s| s.groups[0].role);
        role.is_ok_and(|role| role == GroupRole::Fault)
            && marks(c, victim).ends_with(&["end fault".to_owned()])
    });
    std::thread::sleep(Duration::from_millis(300));
    let marks = marks(&cluster, victim);
    assert_eq!(marks.last().unwrap(), "end fault");
    let of_hooks: Vec<&String> =
        marks.iter().filter(|mark| mark.starts_with("begin") || mark.starts_with("end")).collect();
    assert!(of_hooks.len() < 60, "they did not pile up: {}", of_hooks.len());
    for pair in of_hooks.chunks(2) {
        let role = pair[0].strip_prefix("begin ").expect("one after the other");
        assert_eq!(*pair[1], format!("end {role}"));
    }
    let roles: Vec<&String> = of_hooks.iter().step_by(2).copied().collect();
    assert!(roles.windows(2).all(|pair| pair[0] != pair[1]), "no role twice in a row: {roles:?}");
}

/// A hook that hangs is ended, and holds up neither the daemon nor the next hook.
pub(crate) fn hanging_hook_holds_nothing_up() {
    let cluster = cluster(&format!("{FILE}{HOOKS}timeout = \"2s\"\n"));
    let active = holder(&cluster);
    on(&cluster, active, || {
        program(Path::new(HOOK), "test $VIPDRIFT_TO = fault && sleep 4713; echo $VIPDRIFT_TO >> /run/marks")
    });
    let since = Instant::now();
    set_well(&cluster, active, false);
    wait_moved(&cluster, active);
    assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero());
    wait(&cluster, "it is said", |c| {
        said(c, active)
            .contains("warning: web: hook fault: /run/hook did not end within 2000 ms and was killed")
    });
    set_well(&cluster, active, true);
    wait(&cluster, "the next hook", |c| marks(c, active).last().is_some_and(|mark| mark == "standby"));
}

/// `vipdrift` on a host.
pub(crate) fn command(cluster: &Cluster, index: usize, args: &[&str]) -> String {
    let node = &cluster.nodes[index];
    let mut command = Command::new(crate::support::BINARY);
    command.args(args).arg("--config").arg(&node.config);
    let output = node.host.run(move || command.output().unwrap());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What `vipdrift why web` says on a host. A slow thread puts it down: it can be seen a moment after the move.
fn why(cluster: &Cluster, index: usize, wanted: &str) -> String {
    let mut said = String::new();
    let seen = cluster.wait("the reason", PATIENCE, |c| {
        said = command(c, index, &["why", "web"]);
        said.contains(wanted)
    });
    assert!(seen.is_ok(), "{wanted}: {said}");
    said
}

/// What was decided is told with what it rests on, after the daemon was started anew too.
pub(crate) fn decisions_are_kept_with_their_evidence_over_a_restart() {
    let mut cluster = cluster(EXEC);
    let active = holder(&cluster);
    set_well(&cluster, active, false);
    let heir = wait_moved(&cluster, active);
    let fault = "active -> fault, term 1: check look fails: exit status 1: the service is ill";
    let said = why(&cluster, active, fault);
    assert!(said.starts_with("web is in fault on "), "{said}");
    assert!(said.contains("    check look said: the service is ill"), "{said}");
    let let_go = format!("standby -> active, term 2: {} let go: it is in fault", cluster.nodes[active].name);
    assert!(why(&cluster, heir, &let_go).contains("unmounted and said so"));
    let (keeper, _) = cluster.pids(active).unwrap();
    let before = command(&cluster, active, &["events", "--json"]);
    let last = before.lines().last().unwrap();
    let kept = cluster.directory_of(active).join("state/events.1");
    wait(&cluster, "the last of it on the disk", |_| fs::read_to_string(&kept).unwrap().contains(last));
    cluster.signal(keeper, Signal::SIGTERM);
    assert!(cluster.reap(active, PATIENCE).is_some_and(|status| status.success()));
    cluster.spawn(active).unwrap();
    wait(&cluster, "the past", |c| {
        c.status(active).is_ok() && command(c, active, &["events", "--json"]).starts_with(&before)
    });
    let numbers: Vec<u64> = command(&cluster, active, &["events", "--last", "1000", "--json"])
        .lines()
        .map(|line| serde_json::from_str::<vipdrift_control::Event>(line).unwrap().seq)
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    // Followed, one that comes is told at once.
    let node = &cluster.nodes[active];
    let mut follow = Command::new(crate::support::BINARY);
    follow.args(["events", "--group", "web", "--follow", "--last", "0", "--config"]).arg(&node.config);
    let follow = node.host.spawn(follow).unwrap();
    // It may not have begun to listen yet: more than one comes.
    let mut well = false;
    wait(&cluster, "it is told", |c| {
        well = !well;
        set_well(c, active, well);
        std::thread::sleep(Duration::from_millis(150));
        follow.output().contains("web: fault -> standby, term")
    });
    follow.kill(Signal::SIGKILL).unwrap();
}

/// A service manager may tell every process of the daemon to end, and the runner hears it first.
pub(crate) fn the_last_hook_runs_when_every_process_is_told_to_end() {
    let mut cluster = cluster(&format!("{FILE}{HOOKS}"));
    let active = holder(&cluster);
    wait(&cluster, "the first hook", |c| {
        marks(c, active).iter().any(|mark| mark.split(' ').nth(1) == Some("active"))
    });
    let (keeper, brain) = cluster.pids(active).unwrap();
    for pid in [runner(&cluster, active), brain, keeper] {
        cluster.signal(pid, Signal::SIGTERM);
    }
    assert!(cluster.reap(active, PATIENCE).is_some_and(|status| status.success()));
    let marks = marks(&cluster, active);
    assert!(marks.last().unwrap().starts_with("active fault"), "{marks:?}");
}

/// Hooks that run when the configuration changes come to their end, and those after them wait for that.
pub(crate) fn a_hook_outlives_a_reload_and_the_next_one_waits_for_it() {
    let cluster = cluster(&format!("{FILE}{HOOKS}"));
    let active = holder(&cluster);
    let heir = (active + 1) % cluster.nodes.len();
    let slow = "echo begin $VIPDRIFT_TO >> /run/marks; until test -e /run/go-on; do sleep 0.05; done; echo end $VIPDRIFT_TO >> /run/marks";
    on(&cluster, heir, || program(Path::new(HOOK), slow));
    let to = Some(cluster.nodes[heir].name.as_str());
    wait(&cluster, "an heir that is ready", |c| c.switchover(active, "web", to).is_ok());
    wait(&cluster, "its hook", |c| marks(c, heir).last().is_some_and(|mark| mark == "begin active"));
    command(&cluster, heir, &["reload"]);
    set_well(&cluster, heir, false);
    // Another change has to wait for that.
    let node = &cluster.nodes[heir];
    let mut again = Command::new(crate::support::BINARY);
    again.arg("reload").arg("--config").arg(&node.config);
    let again = node.host.run(move || again.output().unwrap());
    let error = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(error.contains("hooks from before the last change still run"), "{error}");
    on(&cluster, heir, || fs::write("/run/go-on", "").unwrap());
    wait(&cluster, "both hooks", |c| marks(c, heir).last().is_some_and(|mark| mark == "end fault"));
    let marks = marks(&cluster, heir);
    assert!(
        marks.ends_with(&["begin active", "end active", "begin fault", "end fault"].map(str::to_owned)),
        "{marks:?}"
    );
    command(&cluster, heir, &["reload"]);
}

/// A runner that dies is followed by one that knows what has run.
pub(crate) fn no_hook_runs_again_because_its_runner_died() {
    let cluster = cluster(&format!("{FILE}{HOOKS}"));
    let active = holder(&cluster);
    wait(&cluster, "the first hook", |c| {
        marks(c, active).iter().any(|mark| mark.split(' ').nth(1) == Some("active"))
    });
    let before = marks(&cluster, active);
    let old = runner(&cluster, active);
    cluster.signal(old, Signal::SIGKILL);
    // It has looked, so it has heard the roles too: they are told when it begins.
    wait(&cluster, "a new runner that has looked often", |c| {
        c.status(active).is_ok_and(|s| s.groups[0].checks[0].looks > 100) && runner(c, active) != old
    });
    assert_eq!(marks(&cluster, active), before);
    set_well(&cluster, active, false);
    wait(&cluster, "the next hook", |c| marks(c, active).ends_with(&["active fault 1".to_owned()]));
}
