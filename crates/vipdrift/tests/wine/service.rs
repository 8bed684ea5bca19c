//! The daemon as a service of wine's service manager, from its installation to the last trace of it.

use std::path::Path;
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

/// Everything below a folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).map(|all| all.flatten().collect::<Vec<_>>()).unwrap_or_default();
    entries.into_iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

pub(crate) fn the_installer_leaves_nothing_when_it_is_undone() {
    let cluster = with(&[0], |options| {
        options.nodes = 1;
        options.start = false;
    });
    let node = windows(&cluster, 0);
    let setup = std::env::var_os("VIPDRIFT_SETUP").expect("VIPDRIFT_SETUP: run `cargo xtask cross-check`");
    let run = |program: &Path, args: &[&str]| {
        let mut command = node.wine().command(program);
        command.args(args);
        let process = node.wine().host().spawn(command).unwrap();
        let status = process.wait_output(Instant::now() + PATIENCE);
        assert!(status.is_some_and(|status| status.success()), "{}: {}", program.display(), process.output());
    };
    let (programs, data) = (
        node.wine().drive().join("Program Files/vipdrift"),
        node.wine().drive().join("ProgramData/vipdrift"),
    );
    run(Path::new(&setup), &["/S"]);
    assert!(files(&programs).contains(&"vipdrift.exe".to_owned()), "{:?}", files(&programs));
    assert_eq!(files(&data), ["vipdrift.example.toml"]);
    // The example is one: only its cards and addresses are others.
    let example = std::fs::read_to_string(data.join("vipdrift.example.toml")).unwrap();
    let config = example
        .replace("\"Ethernet\"", "\"eth0\"")
        .replace("[[group.check]]\nname = \"iis\"\nservice = \"W3SVC\"\n", "");
    std::fs::write(data.join("vipdrift.toml"), config).unwrap();
    let installed = programs.join("vipdrift.exe");
    run(&installed, &["key", "--out", r"C:\ProgramData\vipdrift\cluster.key"]);
    run(&installed, &["service", "install", "--node", "alpha"]);
    run(&installed, &["service", "start"]);
    wait(&cluster, "the service holds the VIP", |cluster| cluster.holder(WEB[0]) == Some(0));
    // An uninstaller goes on in a copy of itself; told where it is, it does not.
    run(&programs.join("uninstall.exe"), &["/S", r"_?=C:\Program Files\vipdrift"]);
    assert_eq!(cluster.lab.observer().holders(WEB[0]), Vec::<String>::new());
    // Windows does not let it delete itself then; wine does.
    assert!(files(&programs).iter().all(|file| file == "uninstall.exe"), "{:?}", files(&programs));
    assert!(!data.exists(), "{:?}", files(&data));
    let registry = std::fs::read_to_string(node.wine().drive().join("../system.reg")).unwrap_or_default();
    assert!(!registry.to_lowercase().contains("vipdrift"), "the registry knows it still");
}
