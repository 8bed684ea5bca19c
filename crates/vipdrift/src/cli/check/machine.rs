//! What this machine permits, and whether its time can be relied upon.

use std::path::Path;

use vipdrift_control::Status;
use vipdrift_platform::{privileges, realtime};

use super::finding::{Findings, Id};
use super::scene::Scene;
use crate::keeper::sockets;

pub(super) fn look(scene: &Scene, status: Option<&Status>, findings: &mut Findings) {
    permissions(scene, findings);
    match status {
        Some(status) => granted(scene, status, findings),
        None => grantable(scene, findings),
    }
    real_time_share(scene, findings);
    clock(scene, findings);
    suspend(scene, findings);
}

/// In what kind of container this is, by the files that its managers leave (container interface of systemd, Docker,
/// Podman).
fn container(scene: &Scene) -> Option<String> {
    let named = scene.read("/run/systemd/container").map(|name| name.trim().to_owned());
    let named = named.filter(|name| !name.is_empty());
    named
        .or_else(|| scene.file("/.dockerenv").exists().then(|| "docker".to_owned()))
        .or_else(|| scene.file("/run/.containerenv").exists().then(|| "podman".to_owned()))
}

fn permissions(scene: &Scene, findings: &mut Findings) {
    let missing = privileges::missing();
    let container = container(scene);
    if missing.is_empty() {
        findings.ok(Id::Privileges, "this user may mount addresses and open packet sockets");
        if let Some(kind) = container {
            findings.hint(
                Id::Privileges,
                format!("this is a container ({kind}): VIPs are mounted in its network, which need not be the machine's"),
                "run it in the machine's own network: --network host",
            );
        }
        return;
    }
    let remedy = match container {
        Some(kind) => format!(
            "this is a container ({kind}): start it with --network host --cap-add NET_ADMIN --cap-add NET_RAW"
        ),
        None => sockets::PRIVILEGES.to_owned(),
    };
    findings.error(Id::Privileges, format!("this user lacks {}", missing.join(" and ")), remedy);
}

const RIGHT: &str =
    "heartbeats may be late on a busy machine; permit it with CAP_SYS_NICE or LimitRTPRIO=50 in the unit";
const LOCK: &str = "the daemon may have to wait for the disk where memory is short; permit it with CAP_SYS_RESOURCE or \
                    LimitMEMLOCK=infinity in the unit";

/// What the daemon got.
fn granted(scene: &Scene, status: &Status, findings: &mut Findings) {
    let daemon = &status.daemon;
    let both = [&daemon.real_time, &daemon.keeper_real_time];
    match both.into_iter().find(|state| *state != "granted") {
        None => findings.ok(Id::RealTime, "the daemon has real-time priority"),
        Some(why) => findings.warning(Id::RealTime, format!("the daemon: {why}"), right(scene)),
    }
    match daemon.pace.as_str() {
        "" => {}
        "kept" => findings.ok(Id::Pace, "the daemon keeps its heartbeat interval"),
        late => findings.warning(
            Id::Pace,
            format!("the daemon was {late}"),
            "set a longer cluster.heartbeat, or find what keeps the processors from it",
        ),
    }
    if daemon.memory_locked != "granted" {
        findings.hint(Id::MemoryLock, format!("the daemon: {}", daemon.memory_locked), LOCK);
    }
}

/// What a daemon would get that is started like this command.
fn grantable(scene: &Scene, findings: &mut Findings) {
    // On a thread of its own, which ends with the question.
    let asked = std::thread::spawn(|| {
        let limits = realtime::raise_limits();
        (limits, realtime::real_time(1).map_err(|error| error.to_string()))
    });
    let Ok((limits, priority)) = asked.join() else { return };
    match priority {
        Ok(()) => findings.ok(Id::RealTime, "real-time priority is permitted"),
        Err(error) => findings.warning(Id::RealTime, error, right(scene)),
    }
    if let Err(realtime::Error::Limits(refused)) = limits
        && refused.iter().any(|(name, _)| *name == "RLIMIT_MEMLOCK")
    {
        findings.hint(
            Id::MemoryLock,
            "memory cannot be locked: the limit RLIMIT_MEMLOCK cannot be raised",
            LOCK,
        );
    }
}

/// A kernel with real-time budgets for control groups gives none to a new group (sched-rt-group.rst).
fn right(scene: &Scene) -> String {
    let groups = scene.read("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|name| name == "cpu").then_some(path)
    });
    if let Some(group) = group {
        let file =
            Path::new("/sys/fs/cgroup/cpu").join(group.trim_start_matches('/')).join("cpu.rt_runtime_us");
        if scene.read(&file).is_some_and(|text| text.trim() == "0") {
            return format!("its control group has no real-time budget: echo 500000 > {}", file.display());
        }
    }
    RIGHT.to_owned()
}

/// How much of a CPU all real-time threads together may take (sched-rt-group.rst); -1 is no limit.
fn real_time_share(scene: &Scene, findings: &mut Findings) {
    let number =
        |name: &str| scene.read(Path::new("/proc/sys/kernel").join(name))?.trim().parse::<i64>().ok();
    if let (Some(runtime @ 0..), Some(period @ 1..)) =
        (number("sched_rt_runtime_us"), number("sched_rt_period_us"))
        && runtime * 10 < period
    {
        let share = runtime * 100 / period;
        findings.hint(
            Id::RealTimeShare,
            format!("real-time threads together get {share} % of a CPU (kernel.sched_rt_runtime_us = {runtime}): heartbeats may wait"),
            "sysctl -w kernel.sched_rt_runtime_us=950000, the kernel's default",
        );
    }
}

/// Heartbeats need no time of day and no agreement, only time that goes on evenly and is cheap to read.
fn clock(scene: &Scene, findings: &mut Findings) {
    let source = "/sys/devices/system/clocksource/clocksource0";
    let read = |name: &str| scene.read(Path::new(source).join(name)).unwrap_or_default();
    let (current, available) = (read("current_clocksource"), read("available_clocksource"));
    let current = current.trim();
    if matches!(current, "jiffies" | "refined-jiffies") {
        findings.warning(
            Id::Clock,
            format!("the kernel's clock source is {current}: time goes in steps of milliseconds"),
            format!("choose another one of: {}, by the kernel parameter clocksource=", available.trim()),
        );
    } else if matches!(current, "hpet" | "acpi_pm") {
        findings.hint(
            Id::Clock,
            format!(
                "the kernel's clock source is {current}, which is slow to read: it has found the CPU's own counter unstable, or \
                 was told not to use it"
            ),
            "see why: dmesg | grep -i tsc; on a virtual machine choose the hypervisor's clock",
        );
    }
}

/// A machine that sleeps lets go of its VIPs when it wakes up, too late for its clients.
fn suspend(scene: &Scene, findings: &mut Findings) {
    let states = scene.read("/sys/power/state").unwrap_or_default();
    let can = states.split_ascii_whitespace().any(|state| state == "mem" || state == "freeze");
    if !can || !scene.file("/run/systemd/system").exists() {
        return;
    }
    let masked = std::fs::read_link(scene.file("/etc/systemd/system/sleep.target"))
        .is_ok_and(|target| target == Path::new("/dev/null"));
    let idle = logind_sleeps_when_idle(scene);
    let why = if idle {
        "systemd-logind suspends it when nobody uses it (IdleAction)"
    } else if is_laptop(scene) {
        "it is a laptop, which sleeps when its lid is closed"
    } else {
        return;
    };
    if !masked {
        findings.hint(
            Id::Suspend,
            format!("this machine may suspend: {why}"),
            "systemctl mask sleep.target suspend.target hibernate.target hybrid-sleep.target",
        );
    }
}

/// Types of chassis of SMBIOS 7.4.1: portable, laptop, notebook, sub notebook, tablet, convertible, detachable.
fn is_laptop(scene: &Scene) -> bool {
    let kind = scene.read("/sys/class/dmi/id/chassis_type").unwrap_or_default();
    matches!(kind.trim(), "8" | "9" | "10" | "14" | "30" | "31" | "32")
}

/// logind.conf(5); drop-ins come after the file, and the last word counts.
fn logind_sleeps_when_idle(scene: &Scene) -> bool {
    let mut files = vec![scene.file("/etc/systemd/logind.conf")];
    if let Ok(more) = std::fs::read_dir(scene.file("/etc/systemd/logind.conf.d")) {
        let mut more: Vec<_> = more.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
    }
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    let words: Vec<String> = texts
        .flat_map(|text| {
            let of_line =
                |line: &str| line.trim().strip_prefix("IdleAction=").map(|word| word.trim().to_owned());
            text.lines().filter_map(of_line).collect::<Vec<_>>()
        })
        .collect();
    let asleep = ["suspend", "hibernate", "hybrid-sleep", "suspend-then-hibernate", "sleep"];
    words.last().is_some_and(|word| asleep.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::super::scene::tests::{scene, write};
    use super::*;

    fn found(files: &[(&str, &str)], of: fn(&Scene, &mut Findings)) -> Vec<(Level, Id, String)> {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            write(root.path(), path, text);
        }
        let mut findings = Findings::default();
        of(&scene(root.path()), &mut findings);
        findings.0.into_iter().map(|f| (f.level, f.id, f.text)).collect()
    }

    #[test]
    fn only_a_machine_that_is_likely_to_sleep_is_told_of() {
        let server = [
            ("/sys/power/state", "freeze mem disk\n"),
            ("/run/systemd/system/x", ""),
            ("/sys/class/dmi/id/chassis_type", "23\n"),
        ];
        assert_eq!(found(&server, suspend), []);
        let mut laptop = server;
        laptop[2].1 = "10\n";
        let said = found(&laptop, suspend);
        assert_eq!((said[0].0, said[0].1), (Level::Hint, Id::Suspend));
        let mut idle = server.to_vec();
        idle.push(("/etc/systemd/logind.conf", "[Login]\n#IdleAction=ignore\nIdleAction=suspend\n"));
        assert!(found(&idle, suspend)[0].2.contains("IdleAction"));
        idle.push(("/etc/systemd/logind.conf.d/50-no.conf", "[Login]\nIdleAction=ignore\n"));
        assert_eq!(found(&idle, suspend), []);
    }

    #[test]
    fn a_coarse_or_slow_clock_is_told() {
        let source = |name: &'static str| {
            found(&[("/sys/devices/system/clocksource/clocksource0/current_clocksource", name)], clock)
        };
        for good in ["tsc\n", "kvm-clock\n", "arch_sys_counter\n", "hyperv_clocksource_tsc_page\n"] {
            assert_eq!(source(good), []);
        }
        assert_eq!(source("jiffies\n")[0].0, Level::Warning);
        assert_eq!(source("hpet\n")[0].0, Level::Hint);
    }

    #[test]
    fn little_time_for_real_time_threads_is_told() {
        let share = |runtime: &'static str| {
            let files = [
                ("/proc/sys/kernel/sched_rt_runtime_us", runtime),
                ("/proc/sys/kernel/sched_rt_period_us", "1000000\n"),
            ];
            found(&files, real_time_share)
        };
        assert_eq!(share("950000\n"), []);
        assert_eq!(share("-1\n"), []);
        assert!(share("50000\n")[0].2.contains("5 %"));
    }

    /// The line is from a machine with version 1 of control groups, see cgroups(7).
    #[test]
    fn a_group_without_a_budget_is_named() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "/proc/self/cgroup", "4:cpu,cpuacct:/system.slice/vipdrift.service\n3:pids:/\n");
        assert_eq!(right(&scene(root.path())), RIGHT);
        let file = "/sys/fs/cgroup/cpu/system.slice/vipdrift.service/cpu.rt_runtime_us";
        write(root.path(), file, "0\n");
        assert!(right(&scene(root.path())).contains(file));
    }
}
