//! What happened to a real cluster, replayed at a desk.

use std::path::PathBuf;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use vipdrift::trial::Cluster;

use crate::support::{BINARY, PATIENCE, WEB, holder, settle, wait, with};

/// Three nodes that keep journals in one folder. They know nothing of each other's files.
fn journalling(folder: &tempfile::TempDir, more: &str) -> Cluster {
    let lines = format!("journal = \"{}\"\n{more}", folder.path().join("journal").display());
    with(|options| options.cluster_lines = lines)
}

fn replay(args: &[&str], folder: &tempfile::TempDir) -> Output {
    let path = folder.path().join("journal");
    Command::new(BINARY).arg("replay").arg(path).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn replayed_journals_give_the_same_decisions() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = journalling(&folder, "");
    let names: Vec<String> = cluster.nodes.iter().map(|node| node.name.clone()).collect();
    // A brain dies: its next life resumes what it held.
    let first = holder(&cluster);
    let (starts, brain) =
        (cluster.status(first).unwrap().daemon.brain_starts, cluster.pids(first).unwrap().1);
    cluster.signal(brain, Signal::SIGKILL);
    wait(&cluster, "a new brain", |c| c.status(first).is_ok_and(|s| s.daemon.brain_starts > starts));
    settle(&cluster);
    // Planned moves, both ways, and somebody who is not listened to.
    let second = (first + 1) % 3;
    for group in ["web", "calm"] {
        cluster.switchover(first, group, Some(&names[second])).unwrap();
    }
    settle(&cluster);
    // The holder dies.
    cluster.nodes[second].host.unplug().unwrap();
    wait(&cluster, "another holder", |c| c.holder(WEB[0]).is_some_and(|now| now != second));
    cluster.nodes[second].host.plug().unwrap();
    settle(&cluster);
    let third = holder(&cluster);
    // Everything that is kept of the last moments is there once the daemons have ended in good order.
    for node in 0..3 {
        let (keeper, _) = cluster.pids(node).unwrap();
        cluster.signal(keeper, Signal::SIGTERM);
        assert!(cluster.reap(node, PATIENCE).is_some_and(|status| status.success()));
    }
    let output = replay(&[], &folder);
    let (said, why) = (text(&output.stdout), text(&output.stderr));
    println!("{said}{why}");
    assert!(output.status.success(), "{said}\n{why}");
    for name in &names {
        let of_node = said.split("node ").find(|part| part.starts_with(name.as_str())).unwrap();
        let (same, all) = of_node
            .split_once("same decisions: ")
            .and_then(|(_, rest)| rest.lines().next()?.split_once(" of "))
            .unwrap();
        assert_eq!(same, all, "{name}");
        assert!(all.parse::<u32>().unwrap() > 0 || *name != names[third], "{name} decided");
    }
    let why = format!("web: standby -> active, term 3: {} silent, 192.0.2.100 not answered", names[second]);
    assert!(said.contains(&why), "the takeover and its reason: {why}\n{said}");
    assert!(said.contains(": still the holder"), "the brain that resumed\n{said}");
    // Not a secret in it, and nothing for everybody's eyes.
    let key = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];
    let files: Vec<PathBuf> =
        folder.path().join("journal").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 12, "{files:?}");
    for file in &files {
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o640, "{}", file.display());
        let bytes = std::fs::read(file).unwrap();
        assert!(!bytes.windows(key.len()).any(|window| window == key), "{}", file.display());
    }
    let events = replay(&["--node", &names[third], "--events"], &folder);
    let events = text(&events.stdout);
    for part in ["heartbeat from", "timer heartbeat", "ARP", "keeper: plan", "eth0: running"] {
        assert!(events.contains(part), "{part}\n{}", events.chars().take(4000).collect::<String>());
    }
}

pub(crate) fn altered_or_damaged_journal_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = journalling(&folder, "");
    let node = holder(&cluster);
    let name = cluster.nodes[node].name.clone();
    let file = folder.path().join(format!("journal/{name}-1.journal"));
    let reason = b"192.0.2.100 not answered";
    wait(&cluster, "the decision is on the disk, and more behind it", |_| {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let at = bytes.windows(reason.len()).position(|window| window == reason);
        at.is_some_and(|at| bytes.len() > at + 5000)
    });
    // As it would be found after a power cut: the daemon has not ended.
    let bytes = std::fs::read(&file).unwrap();
    drop(cluster);
    let copy = folder.path().join("copy.journal");
    let run = |bytes: &[u8], args: &[&str]| {
        std::fs::write(&copy, bytes).unwrap();
        let output = Command::new(BINARY).arg("replay").arg(&copy).args(args).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, said, why) = run(&bytes, &[]);
    assert_eq!(status, Some(0), "{said}{why}");
    let json: serde_json::Value = serde_json::from_str(&run(&bytes, &["--json"]).1).unwrap();
    assert_eq!(json["ok"], true);
    assert_eq!(json["journals"][0]["node"], name);
    assert_eq!(json["journals"][0]["shown"][0]["reason"], "nobody holds it, 192.0.2.100 not answered");
    assert_eq!(json["journals"][0]["same"], json["journals"][0]["decisions"]);
    assert_eq!(run(&bytes, &["--group", "web"]).1.matches("standby -> active").count(), 1);
    let (status, _, why) = run(&bytes, &["--group", "wbe"]);
    assert_eq!((status, why.trim()), (Some(2), "vipdrift: there is no group `wbe`; did you mean `web`?"));
    let (_, said, _) = run(&bytes, &["--until", "2020-01-01T00:00:00Z"]);
    assert!(!said.contains("->") && said.contains("same decisions: "), "{said}");

    // Somebody steps through it: two lines, then enough.
    let mut child = Command::new(BINARY)
        .arg("replay")
        .arg(&copy)
        .args(["--events", "--step"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\nq\n").unwrap();
    let stepped = child.wait_with_output().unwrap();
    assert!(stepped.status.success());
    let said = text(&stepped.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[1].ends_with("-- a brain starts afresh") && lines[4].starts_with("same decisions: "),
        "{said}"
    );

    // A bit has fallen over: that is damage, and not a difference.
    let at = bytes.windows(reason.len()).position(|window| window == reason).unwrap();
    let mut damaged = bytes.clone();
    damaged[at] ^= 1;
    let (status, _, why) = run(&damaged, &[]);
    assert_eq!(status, Some(1));
    assert!(why.contains("copy.journal: byte ") && why.contains("fails its check"), "{why}");

    // Somebody has rewritten the reason, and the check of its entry too.
    let start = entry_with(&bytes, at);
    let mut altered = bytes.clone();
    altered[at..at + 11].copy_from_slice(b"192.0.2.199");
    let length = usize::from(bytes[start]) | usize::from(bytes[start + 1]) << 8;
    let check = <sha2::Sha256 as sha2::Digest>::digest(&altered[start + 8..start + 8 + length]);
    altered[start + 4..start + 8].copy_from_slice(&check[..4]);
    let (status, said, why) = run(&altered, &[]);
    assert_eq!(status, Some(1), "{said}{why}");
    assert!(
        why.contains("record and replay differ first at ") && why.contains(&format!("byte {start}: ")),
        "{why}"
    );
    assert!(
        said.contains("recorded: web: standby -> active, term 1: nobody holds it, 192.0.2.199 not"),
        "{said}"
    );
    assert!(
        said.contains("replayed: web: standby -> active, term 1: nobody holds it, 192.0.2.100 not"),
        "{said}"
    );
}

/// Where the entry begins that the byte at `at` is in.
fn entry_with(bytes: &[u8], at: usize) -> usize {
    let mut start = 8;
    loop {
        let length = [0, 1, 2].map(|index| usize::from(bytes[start + index]) << (8 * index));
        let next = start + 8 + length.iter().sum::<usize>();
        if at < next {
            return start;
        }
        start = next;
    }
}

pub(crate) fn journal_that_cannot_be_kept_is_said_and_hinders_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // Something else is there.
    std::fs::write(folder.path().join("journal"), "").unwrap();
    let cluster = journalling(&folder, "");
    settle(&cluster);
    let said = cluster.nodes[0].process.as_ref().unwrap().output();
    assert!(said.contains("warning: cannot keep a journal in "), "{said}");
}
