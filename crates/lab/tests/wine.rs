//! Windows programs on hosts: each sees its own network, and nothing is left of them. `cargo xtask cross-check` runs this.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use vipdrift_lab::wine::{Habits, WineHost, program, template};
use vipdrift_lab::{Host, Lab, Process, Signal, tests};

tests![
    each_program_sees_the_network_of_its_host,
    programs_are_stopped_and_killed_one_by_one,
    nothing_is_left_of_a_prefix,
    wine_boots_again_after_a_loss_of_power,
    what_is_not_wines_is_not_touched,
    the_stand_in_really_mounts_and_wines_own_does_not,
];

/// `WSAEADDRNOTAVAIL`.
const NOT_HERE: &str = "error 10049";

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn wine(host: &Host) -> WineHost {
    host.wine(&template().unwrap_or_else(|error| panic!("{error}"))).unwrap()
}

fn named(name: &str) -> PathBuf {
    program(name).unwrap_or_else(|error| panic!("{error}"))
}

/// Starts it and waits until it has nothing more to say.
fn start(wine: &WineHost, words: &[&str]) -> Process {
    let mut command = wine.command(&named("hello"));
    command.args(words);
    let process = wine.host().spawn(command).unwrap();
    assert!(process.wait_line(soon(), |line| line.text == "waiting").is_some(), "{}", process.output());
    process
}

fn says(process: &Process, line: &str) {
    assert!(process.lines().iter().any(|found| found.text == line), "{line}\n{}", process.output());
}

fn each_program_sees_the_network_of_its_host() {
    let lab = Lab::new().unwrap();
    let addresses = ["192.0.2.11", "192.0.2.12"];
    let hosts = ["alpha", "bravo"].map(|name| lab.host_without_links(name).unwrap());
    for (host, address) in hosts.iter().zip(addresses) {
        host.connect(lab.lan(), &[&format!("{address}/24")]).unwrap();
    }
    let wines = [wine(&hosts[0]), wine(&hosts[1])];
    for (number, wine) in wines.iter().enumerate() {
        let process = start(wine, &addresses);
        says(&process, &format!("{}: bound", addresses[number]));
        says(&process, &format!("{}: {NOT_HERE}", addresses[1 - number]));
    }
    // What came after the boot is seen as well.
    hosts[0].add_address("192.0.2.100/24").unwrap();
    says(&start(&wines[0], &["192.0.2.100"]), "192.0.2.100: bound");
    says(&start(&wines[1], &["192.0.2.100"]), &format!("192.0.2.100: {NOT_HERE}"));
    // One prefix for one host.
    assert!(hosts[0].wine(&template().unwrap()).is_err());
}

fn programs_are_stopped_and_killed_one_by_one() {
    let lab = Lab::new().unwrap();
    let alpha = lab.host("alpha", &["192.0.2.11/24"]).unwrap();
    let wine = wine(&alpha);
    let parent = start(&wine, &["child", "192.0.2.11"]);
    let deadline = soon();
    let child = loop {
        let pids = wine.pids("hello.exe");
        assert!(pids.contains(&parent.pid()), "the process is the program itself: {pids:?}");
        if let Some(&child) = pids.iter().find(|&&pid| pid != parent.pid()) {
            break child;
        }
        assert!(Instant::now() < deadline, "{pids:?}");
        std::thread::sleep(Duration::from_millis(1));
    };
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next())
    };
    let wait = |wanted: &dyn Fn(Option<char>) -> bool| {
        while !wanted(state()) {
            assert!(Instant::now() < deadline, "{:?}", state());
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wine.kill(child, Signal::SIGSTOP).unwrap();
    wait(&|state| state == Some('T'));
    wine.kill(child, Signal::SIGCONT).unwrap();
    wait(&|state| matches!(state, Some('S' | 'R')));

    parent.kill(Signal::SIGKILL).unwrap();
    let status = parent.wait(soon()).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert_eq!(wine.pids("HELLO.EXE"), [child], "the other goes on");
    wine.kill(child, Signal::SIGKILL).unwrap();
    wait(&|state| matches!(state, None | Some('X' | 'Z')));
    assert!(wine.kill(child, Signal::SIGKILL).is_err());
    // Others can be started as before.
    start(&wine, &["192.0.2.11"]);
}

fn nothing_is_left_of_a_prefix() {
    let lab = Lab::new().unwrap();
    let alpha = lab.host("alpha", &["192.0.2.11/24"]).unwrap();
    let found = |host: &Host| (host.processes().len(), host.directory().join("wine").exists());
    for stopped in [false, true] {
        let wine = wine(&alpha);
        let process = start(&wine, &["child", "192.0.2.11"]);
        if stopped {
            process.kill(Signal::SIGSTOP).unwrap();
        }
        assert!(found(&alpha).0 > 2 && found(&alpha).1);
        drop(wine);
        assert_eq!(found(&alpha), (0, false));
        assert!(process.wait(soon()).is_some());
    }
    // On a machine that stands still its server cannot be asked.
    let wine = wine(&alpha);
    start(&wine, &["192.0.2.11"]);
    alpha.freeze().unwrap();
    drop(wine);
    assert_eq!(found(&alpha), (0, false));
}

fn wine_boots_again_after_a_loss_of_power() {
    let lab = Lab::new().unwrap();
    let alpha = lab.host("alpha", &["192.0.2.11/24"]).unwrap();
    let wine = wine(&alpha);
    let process = start(&wine, &["192.0.2.11"]);
    alpha.power_off().unwrap();
    assert!(process.wait(soon()).is_some());
    assert!(alpha.processes().is_empty());
    alpha.power_on().unwrap();
    wine.boot().unwrap();
    says(&start(&wine, &["192.0.2.11"]), "192.0.2.11: bound");
}

fn what_is_not_wines_is_not_touched() {
    let lab = Lab::new().unwrap();
    let alpha = lab.host("alpha", &["192.0.2.11/24"]).unwrap();
    let bravo = lab.host("bravo", &["192.0.2.12/24"]).unwrap();
    let (one, other) = (wine(&alpha), wine(&bravo));
    let goes_on = start(&other, &["192.0.2.12"]);
    let mut command = std::process::Command::new("sleep");
    command.arg("1000");
    let sleep = alpha.spawn(command).unwrap();
    assert!(one.kill(sleep.pid(), Signal::SIGKILL).is_err());
    drop(one);
    assert_eq!(alpha.processes(), [sleep.pid()]);
    assert!(goes_on.wait(Instant::now()).is_none());
    assert_eq!(other.pids("hello.exe"), [goes_on.pid()]);
}

fn the_stand_in_really_mounts_and_wines_own_does_not() {
    let lab = Lab::new().unwrap();
    let alpha = lab.host("alpha", &["192.0.2.11/24"]).unwrap();
    let vip: IpAddr = "192.0.2.100".parse().unwrap();
    let _agent = alpha.wine_agent(Habits::default()).unwrap();
    let wine = wine(&alpha);
    let mount = |overrides: Option<&str>| {
        let mut command = wine.command(&named("address"));
        command.args(["mount", "eth0", "192.0.2.100/24", "0", "3"]);
        if let Some(overrides) = overrides {
            command.env("WINEDLLOVERRIDES", overrides);
        }
        alpha.spawn(command).unwrap()
    };
    let process = mount(None);
    assert!(lab.observer().wait_holders(vip, &["alpha"], soon()), "{}", process.output());
    assert_eq!(process.wait(soon()).unwrap().code(), Some(0), "{}", process.output());
    assert!(lab.observer().wait_holders(vip, &[], soon()), "{}", process.output());
    // The same program, told to take wine's own: it is the stand-in that did it.
    let process = mount(Some("iphlpapi=b"));
    assert!(process.wait(soon()).is_some());
    assert!(!process.output().contains("mounted"), "{}", process.output());
    assert!(lab.observer().holders(vip).is_empty());
}
