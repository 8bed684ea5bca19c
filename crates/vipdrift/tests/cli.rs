//! The command line from outside: what it prints, and the exit statuses of the contract. Nothing here needs a
//! network, a daemon or a privilege.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

const CONFIG: &str = r#"
[cluster]
name = "edge"
key = "000102030405060708090a0b0c0d0e0f"

[[node]]
name = "alpha"
addresses = ["192.0.2.11"]

[[node]]
name = "bravo"
addresses = ["192.0.2.12"]

[[group]]
name = "web"
interface = "none0"
vips = ["192.0.2.100/24"]
"#;

fn vipdrift(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vipdrift")).current_dir(folder).args(args).output().expect("starts")
}

/// Exit status, standard output, standard error.
fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = vipdrift(folder, args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// A folder with a configuration in it.
fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    std::fs::write(folder.path().join("v.toml"), config).expect("writes");
    folder
}

#[test]
fn every_command_has_help_with_an_example() {
    let here = folder(CONFIG);
    let (status, out, _) = run(here.path(), &["--help"]);
    assert_eq!(status, 0);
    assert!(out.contains("4 daemon not reachable") && !out.contains("brain"), "{out}");
    for command in [
        "run",
        "status",
        "top",
        "check",
        "key",
        "switchover",
        "drain",
        "undrain",
        "reload",
        "restart",
        "why",
        "events",
        "replay",
        "demo",
        "completions",
        "man",
    ] {
        let (status, out, _) = run(here.path(), &[command, "--help"]);
        assert_eq!(status, 0, "{command}");
        assert!(
            out.contains("Example") && out.contains(&format!("  vipdrift {command}")),
            "{command}: {out}"
        );
    }
}

#[test]
fn wrong_usage_is_2() {
    let here = folder(CONFIG);
    for args in [&["statos"][..], &[], &["switchover"], &["status", "--jsn"], &["key", "extra"]] {
        let (status, out, err) = run(here.path(), args);
        assert_eq!((status, out.as_str()), (2, ""), "{args:?}: {err}");
        assert!(err.contains("Usage: vipdrift"), "{args:?}: {err}");
    }
    let (status, _, err) = run(here.path(), &["run", "--config", "v.toml", "--node", "brvao"]);
    assert_eq!(status, 2);
    assert_eq!(err, "vipdrift: there is no node `brvao` in the configuration; did you mean `bravo`?\n");
}

#[test]
fn a_time_to_keep_has_a_unit_and_bounds() {
    let here = folder(CONFIG);
    for (keep, expected) in [
        ("30", "the unit is missing, for example `30ms`"),
        ("999ms", "1s to 5m"),
        ("301s", "1s to 5m"),
        ("soon", "expected a number and a unit"),
    ] {
        let (status, out, err) = run(here.path(), &["restart", "--keep", keep]);
        assert_eq!((status, out.as_str()), (2, ""), "{keep}: {err}");
        assert!(err.contains(expected) && err.contains("--keep <TIME>"), "{keep}: {err}");
    }
    for keep in ["1s", "1500ms", "5m"] {
        let (status, _, err) = run(here.path(), &["restart", "--keep", keep, "--socket", "nobody.sock"]);
        assert_eq!(status, 4, "{keep}: {err}");
    }
}

#[test]
fn top_without_a_terminal_is_2_and_names_status() {
    let here = folder(CONFIG);
    let (status, out, err) = run(here.path(), &["top", "--socket", "nobody.sock"]);
    assert_eq!((status, out.as_str()), (2, ""), "{err}");
    assert_eq!(
        err,
        "vipdrift: `top` needs a terminal, and standard output is none\n  \
         `vipdrift status` says the same once, `vipdrift status --json` says it to programs\n"
    );
    for (interval, expected) in
        [("99ms", "from 100ms to 1h"), ("2h", "from 100ms to 1h"), ("5", "for example `5ms`")]
    {
        let (status, _, err) = run(here.path(), &["top", "--interval", interval]);
        assert_eq!(status, 2, "{err}");
        assert!(err.contains(expected) && err.contains("--interval <TIME>"), "{err}");
    }
}

#[test]
fn a_refused_configuration_is_3_for_every_command_that_reads_it() {
    let commands: &[&[&str]] =
        &[&["run"], &["check"], &["status"], &["switchover", "web"], &["drain"], &["undrain"]];
    let cases = [
        ("missing.toml", "", "cannot read the configuration missing.toml: no such file or directory"),
        ("v.toml", "[cluster\nname = ", "not valid TOML"),
        ("v.toml", "[cluster]\nname = \"edge\"\nclor = 1\n", "unknown key `clor`"),
        ("v.toml", &CONFIG.replace("192.0.2.100/24", "192.0.2.11/24"), "192.0.2.11 cannot be a VIP here"),
    ];
    for (file, text, expected) in cases {
        let here = folder(text);
        for command in commands {
            let args: Vec<_> = command.iter().copied().chain(["--config", file]).collect();
            let (status, out, err) = run(here.path(), &args);
            assert_eq!((status, out.as_str()), (3, ""), "{args:?}: {err}");
            assert!(err.contains(expected), "{args:?}: {err}");
        }
    }
}

#[test]
fn a_bad_key_file_is_3() {
    let here =
        folder(&CONFIG.replace("key = \"000102030405060708090a0b0c0d0e0f\"", "key_file = \"cluster.key\""));
    for command in ["run", "check"] {
        let (status, _, err) = run(here.path(), &[command, "--config", "v.toml", "--node", "alpha"]);
        assert_eq!(status, 3, "{err}");
        assert!(err.contains("cluster.key: cannot be read: no such file or directory"), "{err}");
        assert!(err.contains("v.toml:4:12"), "{err}");
    }
}

#[test]
fn a_missing_interface_is_1_and_leaves_nothing() {
    let here = folder(CONFIG);
    let args = ["run", "--config", "v.toml", "--node", "alpha", "--socket", "s", "--state-dir", "state"];
    let (status, out, err) = run(here.path(), &args);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(
        err.starts_with("vipdrift: there is no interface none0 (needed by group web) on this machine\n"),
        "{err}"
    );
    assert!(err.contains("there are: "), "{err}");
    let left: Vec<_> =
        std::fs::read_dir(here.path()).expect("lists").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(left, ["v.toml"]);
}

#[test]
fn a_machine_that_is_no_node_is_1() {
    let here = folder(CONFIG);
    let (status, _, err) = run(here.path(), &["run", "--config", "v.toml"]);
    assert_eq!(status, 1, "{err}");
    assert!(
        err.contains("this machine has no address of any [[node]]") && err.contains("--node NAME"),
        "{err}"
    );
}

#[test]
fn check_names_what_is_wrong_and_what_to_do() {
    let here = folder(CONFIG);
    let (status, out, err) = run(here.path(), &["check", "--config", "v.toml", "--node", "alpha"]);
    assert_eq!((status, err.as_str()), (1, ""), "{out}");
    assert!(out.contains("ERROR   there is no interface none0\n        there are: "), "{out}");
    assert!(out.contains("ERROR   heartbeat address 192.0.2.11 is not on this machine\n"), "{out}");
    let (status, out, _) = run(here.path(), &["check", "--config", "v.toml", "--node", "alpha", "--json"]);
    assert_eq!(status, 1);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json["ok"], false);
    let findings = json["findings"].as_array().expect("a list");
    assert!(
        findings.iter().any(|f| f["level"] == "error" && f["text"] == "there is no interface none0"),
        "{out}"
    );
    assert!(findings.iter().all(|f| f["level"] == "ok" || f["remedy"].is_string()), "{out}");
}

#[test]
fn no_daemon_is_4_with_the_words_how_to_start_it() {
    let here = folder(CONFIG);
    for command in [&["status"][..], &["status", "--json"], &["switchover", "web"], &["drain"], &["undrain"]]
    {
        let args: Vec<_> = command.iter().copied().chain(["--socket", "nobody.sock"]).collect();
        let (status, out, err) = run(here.path(), &args);
        assert_eq!((status, out.as_str()), (4, ""), "{args:?}: {err}");
        assert_eq!(
            err,
            "vipdrift: the daemon is not reachable on nobody.sock: no such file or directory\n  \
             start it with `systemctl start vipdrift`, or in the foreground with `vipdrift run`\n"
        );
    }
}

#[test]
fn the_configuration_says_where_the_socket_is() {
    let here = folder("");
    let socket = here.path().join("from-the-file.sock");
    let text = format!("{CONFIG}\n[control]\nsocket = \"{}\"\n", socket.display());
    std::fs::write(here.path().join("v.toml"), text).expect("writes");
    let (status, _, err) = run(here.path(), &["status", "--config", "v.toml"]);
    assert_eq!(status, 4);
    assert!(err.contains("from-the-file.sock"), "{err}");
}

#[test]
fn a_key_is_new_each_time_and_never_overwritten() {
    let here = folder(CONFIG);
    let (status, first, err) = run(here.path(), &["key"]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(first.len() == 65 && first.trim_end().bytes().all(|b| b.is_ascii_hexdigit()), "{first}");
    let (_, second, _) = run(here.path(), &["key"]);
    assert_ne!(first, second);

    let (status, out, _) = run(here.path(), &["key", "--out", "cluster.key"]);
    assert_eq!((status, out.as_str()), (0, ""));
    let file = here.path().join("cluster.key");
    let mode = file.metadata().expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = std::fs::read_to_string(&file).expect("reads");
    let (status, _, err) = run(here.path(), &["key", "--out", "cluster.key"]);
    assert_eq!(status, 1);
    assert!(err.contains("cluster.key exists; a key is never overwritten"), "{err}");
    assert_eq!(std::fs::read_to_string(&file).expect("reads"), written);

    // What it writes is what the configuration takes.
    let config = CONFIG.replace("key = \"000102030405060708090a0b0c0d0e0f\"", "key_file = \"cluster.key\"");
    std::fs::write(here.path().join("v.toml"), config).expect("writes");
    let (status, out, _) = run(here.path(), &["check", "--config", "v.toml", "--node", "alpha"]);
    assert_eq!(status, 1, "refused for the interface, not for the key");
    assert!(out.contains("ok      v.toml: cluster edge, 2 nodes, 1 groups"), "{out}");
}

#[test]
fn what_is_no_journal_is_one_clear_error() {
    let here = folder(CONFIG);
    let said = |args: &[&str]| {
        let (status, out, why) = run(here.path(), args);
        assert_eq!(out, "");
        (status, why)
    };
    assert_eq!(
        said(&["replay", "none"]),
        (1, "vipdrift: cannot read none: no such file or directory\n".to_owned())
    );
    assert_eq!(
        said(&["replay", "v.toml"]),
        (1, "vipdrift: v.toml: byte 0: this is not a journal of vipdrift\n".to_owned())
    );
    let empty =
        "vipdrift: there is no journal in .: no file whose name ends in .journal has anything in it\n";
    assert_eq!(said(&["replay", "."]), (1, empty.to_owned()));
    std::fs::write(here.path().join("a-1.journal"), b"vdjrnl\x00\x09").expect("writes");
    let newer = "vipdrift: ./a-1.journal: byte 6: journal format 9, and this program reads format 1\n";
    assert_eq!(said(&["replay", "."]), (1, newer.to_owned()));
    let (status, why) = said(&["replay", ".", "--from", "yesterday"]);
    assert_eq!(status, 2);
    assert!(why.contains("yesterday") && why.contains("--from <TIME>"), "{why}");
}

#[test]
fn completions_and_manual_come_from_the_same_source_as_the_help() {
    let here = folder(CONFIG);
    for shell in ["bash", "zsh", "fish"] {
        let (status, out, error) = run(here.path(), &["completions", shell]);
        assert_eq!((status, error.as_str()), (0, ""), "{shell}");
        assert!(out.contains("switchover") && out.contains("drain"), "{shell}: {out}");
    }
    let (status, out, _) = run(here.path(), &["man"]);
    assert_eq!(status, 0);
    assert!(out.contains(".TH vipdrift 1") && out.contains("virtual IP"), "{out}");
    let (status, out, error) = run(here.path(), &["man", "--out", "pages"]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    let pages = std::fs::read_dir(here.path().join("pages")).expect("a folder").count();
    assert_eq!(out, format!("{pages} pages in pages\n"));
    let page = std::fs::read_to_string(here.path().join("pages/vipdrift-reload.1")).expect("a page");
    assert!(page.contains("SIGHUP"), "{page}");
    let page = std::fs::read_to_string(here.path().join("pages/vipdrift.toml.5")).expect("a page");
    assert!(page.contains(".TH vipdrift.toml 5") && page.contains("dead_after"), "{page}");
    assert!(!here.path().join("pages/vipdrift-runner.1").exists(), "no page for what is no command");
}
