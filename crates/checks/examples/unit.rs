//! The `unit` check against a real systemd, by hand: see "By hand" in docs/testing.md. Panics if anything is not as it should.

use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use vipdrift_checks::{Check, Managed, Probe, Tools, run};

const SOON: Duration = Duration::from_secs(20);
const UNIT: &str = "thing.service";

fn systemctl(arguments: &str) {
    let done = Command::new("systemctl")
        .arg("--user")
        .args(arguments.split(' '))
        .arg(UNIT)
        .status()
        .expect("systemctl");
    assert!(done.success(), "{arguments}");
}

/// Answers with what the check finds next, and then next.
fn watch(unit: &str) -> impl FnMut(bool) -> String {
    // One look in an hour: all that comes sooner has been told by systemd.
    let check = Check {
        probe: Probe::Managed(Managed { unit: Some(unit.to_owned()), service: None }),
        interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(5),
        fall: 1,
        rise: 1,
        initially_passing: false,
    };
    let (reports, heard) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(run(&check, 0, &Tools::default(), |report| {
            let _ = reports.send(report);
        }));
    });
    move |passing| loop {
        let report = heard.recv_timeout(SOON).expect("a report in time");
        println!("{:?}: {}", report.passing, report.outcome.summary);
        if report.passing == Some(passing) {
            return report.outcome.summary;
        }
    }
}

fn main() {
    assert_eq!(watch("missing.service")(false), "there is no unit missing.service");
    systemctl("start");
    let mut next = watch(UNIT);
    assert_eq!(next(true), "thing.service is active (running)");
    for _ in 0..20 {
        systemctl("stop");
        next(false);
        systemctl("start");
        next(true);
        systemctl("kill --signal=KILL");
        next(false);
        systemctl("start");
        next(true);
    }
    systemctl("stop");
    assert_eq!(next(false), "thing.service is inactive (dead)");
    println!("as it should be");
}
