//! The daemon as a service of wine's service manager, from its installation to the last trace of it.

use std::time::{Duration, Instant};

use crate::support::{PATIENCE, WEB, wait, windows, with};

pub(crate) fn the_service_runs_and_is_taken_away() {
    let cluster = with(&[0], |options| {
        options.nodes = 1;
        options.start = false;
    });
    let node = windows(&cluster, 0);
    let config = vipdrift::trial::windows::Windows::path(&cluster.directory_of(0).join("vipdrift.toml"));
    let done = |args: &[&str]| {
        let said = node.run(args).unwrap();
        assert!(said.done, "{args:?}: {}", said.text);
        said.text
    };
    let said = node.run(&["service", "start"]).unwrap();
    assert!(!said.done && said.text.contains("the service is not installed"), "{}", said.text);
    done(&["service", "install", "--config", &config, "--node", "alpha"]);
    let said = node.run(&["service", "install", "--config", &config]).unwrap();
    assert!(!said.done && said.text.contains("installed already"), "{}", said.text);
    assert!(done(&["service", "start"]).contains("started"));
    wait(&cluster, "the service holds the VIPs", |cluster| {
        WEB.iter().all(|vip| cluster.holder(*vip) == Some(0))
    });
    assert!(done(&["service", "start"]).contains("runs already"));
    // The manager is told that it has stopped when the VIP is off, and not before.
    assert!(done(&["service", "stop"]).contains("every VIP is off"));
    assert_eq!(cluster.lab.observer().holders(WEB[0]), Vec::<String>::new());
    assert!(done(&["service", "stop"]).contains("does not run"));
    done(&["service", "start"]);
    wait(&cluster, "it holds them again", |cluster| cluster.holder(WEB[0]) == Some(0));
    assert!(done(&["service", "uninstall"]).contains("uninstalled"));
    assert_eq!(cluster.lab.observer().holders(WEB[0]), Vec::<String>::new());
    let until = Instant::now() + PATIENCE;
    while !node.wine().pids("vipdrift.exe").is_empty() {
        assert!(Instant::now() < until, "processes are left");
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = node.run(&["service", "stop"]).unwrap();
    assert!(!said.done && said.text.contains("not installed"), "{}", said.text);
}
