//! `vipdrift top` on a real terminal: what is seen, what the keys do, and how the terminal is left.

use std::process::Command;

use nix::sys::signal::Signal;
use vipdrift::trial::Cluster;
use vipdrift_control::{GroupRole, HealthState};

use crate::support::{BINARY, PATIENCE, cluster, holder, settle, wait, with};
use crate::terminal::Terminal;

/// Starts the program on a node, on a terminal of so many columns and lines.
fn start(cluster: &Cluster, node: usize, size: (u16, u16), arguments: &[&str]) -> Terminal {
    let node = &cluster.nodes[node];
    let mut command = Command::new(BINARY);
    command.arg("top").arg("--config").arg(&node.config).args(arguments);
    Terminal::start(&command, size, |command| node.host.run(|| command.spawn().unwrap()))
}

/// A line of the screen that has all these parts.
fn line_with<'a>(text: &'a str, parts: &[&str]) -> Option<&'a str> {
    text.lines().find(|line| parts.iter().all(|part| line.contains(part)))
}

pub(crate) fn top_shows_the_roles_and_moves_a_group() {
    let cluster = cluster();
    let active = holder(&cluster);
    let (heir, here) = ((active + 1) % 3, (active + 2) % 3);
    let names: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    let mut top = start(&cluster, here, (80, 24), &["--interval", "100ms"]);
    let text = top.wait_for("all is well: 2 groups held, 2 peers alive");
    println!("{text}");
    let title = format!("{} of cluster trial", names[here]);
    assert!(text.starts_with(&title) && text.contains("healthy"), "{text}");
    let web = line_with(&text, &["▸ web"]).unwrap();
    assert_eq!((web.matches("ACTIVE").count(), web.matches("standby").count()), (1, 2), "{text}");
    // The roles stand below the names.
    let heads = line_with(&text, &["GROUP", "FOR"]).unwrap();
    assert_eq!(web.find("ACTIVE").map(|at| at - "▸".len() + 1), heads.find(names[active]), "{text}");
    for peer in [active, heir] {
        assert!(line_with(&text, &[names[peer], "alive", "yes", "now", "same"]).is_some(), "{text}");
    }
    assert!(text.contains("timers late p50"), "{text}");
    top.wait_for("the daemon has started: ");

    // Nothing happens before it is confirmed, and not by anything but `y`.
    top.press("d");
    top.wait_for("any other key cancel");
    top.press("n");
    top.wait("the question is gone", |text| !text.contains("any other key cancel"));
    assert_eq!(cluster.status(here).unwrap().health.state, HealthState::Healthy);

    // s, the heir, y.
    top.press("s");
    let text = top.wait_for("Move web to");
    println!("{text}");
    let choice = line_with(&text, &[" next ", "healthy node"]).unwrap();
    assert!(choice.contains("▸ 0"), "{text}");
    let choice = text.lines().find_map(|line| {
        let digit = (1..=2).find(|digit| line.contains(&format!("  {digit}  {}", names[heir])))?;
        Some(digit.to_string())
    });
    top.press(&choice.unwrap());
    let question = format!("from {} to {}?", names[active], names[heir]);
    let text = top.wait("the question", |text| text.replace('\n', " ").contains(&question));
    println!("{text}");
    assert_eq!(holder(&cluster), active);
    top.press("y");
    let text = top.wait_for("done: ");
    println!("{text}");
    wait(&cluster, "web has moved", |c| {
        c.status(heir).is_ok_and(|status| status.groups[0].role == GroupRole::Active)
    });
    top.wait("the new holder", |text| {
        let heads = line_with(text, &["GROUP", "FOR"]).unwrap_or_default();
        let web = line_with(text, &["▸ web"]).unwrap_or_default();
        web.find("ACTIVE").map(|at| at - "▸".len() + 1) == heads.find(names[heir])
    });

    // This node is drained and undrained: `d` is about the node that is selected.
    top.press("dy");
    top.wait_for(&format!("- {} is drained", names[here]));
    wait(&cluster, "drained", |c| {
        c.status(here).is_ok_and(|status| status.health.state == HealthState::Drained)
    });
    top.press("uy");
    top.wait_for("all is well");

    // Other sizes.
    top.resize((104, 34));
    top.wait("all of it in a larger window", |text| text.lines().count() == 34 && text.contains("q quit"));
    top.picture("top");
    top.resize((60, 15));
    let text = top.wait("all of it in a smaller window", |text| {
        text.lines().count() == 15 && text.contains("q quit") && text.contains("▸ web")
    });
    println!("{text}");

    top.press("q");
    assert_eq!(top.end().code(), Some(0));
    top.assert_restored();
}

/// A check that fails everywhere, and says what a terminal would obey: clear the screen, write backwards.
const RUDE: &str = r#"
[[group.check]]
name = "rude"
exec = ["/bin/sh", "-c", "printf 'ill \\033[2J\\033[31m\\342\\200\\256gnp'; exit 1"]
interval = "100ms"
effect = "demote"
"#;

pub(crate) fn top_names_what_is_wrong() {
    let cluster = with(|options| options.web_lines = RUDE.to_owned());
    // Whoever knows it first hands the group to one who does not yet.
    wait(&cluster, "the check fails everywhere", |c| {
        (0..3).all(|index| c.status(index).is_ok_and(|s| s.groups[0].checks[0].since.is_some()))
    });
    settle(&cluster);
    let active = holder(&cluster);
    let here = (active + 1) % 3;
    let mut top = start(&cluster, here, (100, 40), &["--interval", "100ms"]);
    top.wait_for("- web: check rude fails here: ");
    let text = top.wait_for("ill ?[2J?[31m?gnp");
    println!("{text}");
    assert!(text.contains("rude FAILING (demotes)"), "{text}");
    assert!(!text.contains('\u{202e}') && text.contains("of cluster trial"), "{text}");
    assert!(line_with(&text, &["▸ web", "ACTIVE", "demoted"]).is_some(), "{text}");

    cluster.nodes[active].host.power_off().unwrap();
    let name = &cluster.nodes[active].name;
    let text = top.wait("the silent node", |text| {
        let silent = line_with(text, &[name, "SILENT", " ago"]);
        let missed = silent.and_then(|line| line.split_whitespace().rev().nth(2)?.parse().ok());
        missed.is_some_and(|missed: u64| missed >= 3)
    });
    println!("{text}");
    assert!(text.contains(&format!("! {name} is silent, last heard ")), "{text}");
    // Somebody else holds it; what the silent node said last is in brackets.
    let text = top.wait("the new holder", |text| line_with(text, &["▸ web", "ACTIVE", "(active)"]).is_some());
    println!("{text}");
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
    top.assert_restored();
}

pub(crate) fn top_gives_the_terminal_back_whatever_ends_it() {
    let cluster = cluster();
    for end in [Some(Signal::SIGTERM), Some(Signal::SIGHUP), Some(Signal::SIGINT), None] {
        let mut top = start(&cluster, 0, (80, 24), &[]);
        top.wait_for("all is well");
        assert!(top.is_taken());
        match end {
            Some(signal) => top.signal(signal),
            None => top.press("\x03"),
        }
        assert_eq!(top.end().code(), Some(0), "{end:?}");
        top.assert_restored();
    }
    // A command that was confirmed is done although `q` follows at once, and its outcome is told.
    let mut top = start(&cluster, 0, (80, 24), &[]);
    top.wait_for("all is well");
    top.press("dyq");
    assert_eq!(top.end().code(), Some(0));
    assert!(top.assert_restored().contains("draining alpha"));
    wait(&cluster, "drained", |c| c.status(0).is_ok_and(|s| s.health.state == HealthState::Drained));

    // One without a daemon never takes the terminal.
    let mut lonely = with(|options| options.start = false);
    let mut top = start(&lonely, 0, (80, 24), &[]);
    assert_eq!(top.end().code(), Some(4));
    assert!(top.assert_restored().contains("the daemon is not reachable"));
    lonely.nodes.clear();
}

pub(crate) fn top_outlives_the_daemon_and_finds_it_again() {
    let mut cluster = cluster();
    let active = holder(&cluster);
    let here = (active + 1) % 3;
    let mut top = start(&cluster, here, (80, 24), &["--interval", "100ms"]);
    top.wait_for("all is well");
    let process = cluster.nodes[here].process.as_ref().unwrap();
    process.kill(Signal::SIGTERM).unwrap();
    assert!(cluster.reap(here, PATIENCE).is_some());
    let text = top.wait_for("NOT REACHABLE");
    println!("{text}");
    assert!(text.contains("! the daemon is not reachable: "), "{text}");
    assert!(!text.contains("all is well") && text.contains("▸ web"), "{text}");
    // The age grows, and keys are obeyed all the while.
    let age = |text: &str| -> Option<u32> {
        text.split_once("NOT REACHABLE, ")?.1.split_once(" s old")?.0.parse().ok()
    };
    top.wait("it grows old", |text| age(text).is_some_and(|age| age >= 2));
    top.press("?");
    top.wait_for("Help");
    top.press("?");
    top.wait("no help", |text| !text.contains("Help"));
    top.press("dy");
    top.wait_for("not done: ");

    cluster.spawn(here).unwrap();
    settle(&cluster);
    let text = top.wait_for("all is well");
    assert!(!text.contains("NOT REACHABLE"), "{text}");
    top.press("\x1b");
    assert_eq!(top.end().code(), Some(0));
    top.assert_restored();
}
