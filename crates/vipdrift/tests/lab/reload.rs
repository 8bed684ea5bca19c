//! Another configuration, or another binary, while the VIPs stay where they are.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vipdrift::trial::Cluster;
use vipdrift_control::{PeerConfiguration, PeerState};
use vipdrift_lab::Client;

use crate::support::{BINARY, PATIENCE, WEB, cluster, holder, settle, wait, with};

const NEW: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 102));

/// `vipdrift reload` on a node.
fn reload(cluster: &Cluster, index: usize) -> Output {
    run(cluster, index, "reload")
}

fn run(cluster: &Cluster, index: usize, what: &str) -> Output {
    let node = &cluster.nodes[index];
    let mut command = Command::new(BINARY);
    command.arg(what).arg("--config").arg(&node.config);
    node.host.run(move || command.output().unwrap())
}

fn done(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {error}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Changes the configuration file of a node.
fn change(cluster: &Cluster, index: usize, from: &str, to: &str) {
    let path = &cluster.nodes[index].config;
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Held by this node without a break since then.
pub(crate) fn is_unbroken(cluster: &Cluster, index: usize, vip: IpAddr, since: Instant) -> bool {
    let held = cluster.lab.observer().held_by(&cluster.nodes[index].name, vip, since);
    held.len() == 1 && held[0].to.is_none()
}

/// A client that is answered by the holder.
pub(crate) fn served(cluster: &Cluster, active: usize) -> Client {
    let client = cluster.client.client(&WEB).unwrap();
    let name = &cluster.nodes[active].name;
    assert!(client.wait_answer_by(WEB[0], name, Instant::now(), Instant::now() + PATIENCE));
    client
}

fn rolling(active_first: bool) {
    let cluster = cluster();
    let active = holder(&cluster);
    let client = served(&cluster, active);
    let since = Instant::now();
    let mut order: Vec<usize> = (0..cluster.nodes.len()).filter(|index| *index != active).collect();
    order.insert(if active_first { 0 } else { order.len() }, active);
    for (position, &index) in order.iter().enumerate() {
        change(&cluster, index, "\"2001:db8::100/64\"", "\"2001:db8::100/64\", \"192.0.2.102/24\"");
        assert_eq!(done(&reload(&cluster, index)), "reloaded: VIPs added: 192.0.2.102/24\n");
        if position == 0 {
            let seen = cluster.status(index).unwrap();
            wait(&cluster, "the difference is seen", |c| {
                c.status(index)
                    .is_ok_and(|s| s.peers.iter().all(|peer| peer.config == PeerConfiguration::Different))
            });
            assert_eq!(seen.groups.len(), 2);
        }
    }
    settle(&cluster);
    wait(&cluster, "the new VIP", |c| c.holder(NEW) == Some(active));
    let until = Instant::now();
    for vip in WEB {
        assert!(is_unbroken(&cluster, active, vip, since), "{vip} was dropped\n{}", cluster.describe());
        assert!(cluster.lab.observer().two_holders(vip, since).is_zero(), "{}", cluster.describe());
    }
    assert!(cluster.lab.observer().two_holders(NEW, since).is_zero());
    assert_eq!(client.lost_probes(since, until), 0, "{}", cluster.describe());
    wait(&cluster, "no difference any more", |c| {
        (0..c.nodes.len()).all(|index| {
            c.status(index).is_ok_and(|s| s.peers.iter().all(|peer| peer.config == PeerConfiguration::Same))
        })
    });
}

pub(crate) fn rolling_reload_adds_a_vip_the_holder_first() {
    rolling(true);
}

pub(crate) fn rolling_reload_adds_a_vip_the_holder_last() {
    rolling(false);
}

/// The same file but for three settings, until a reload; and a replay knows the same.
pub(crate) fn files_that_differ_are_told_in_what_on_both_nodes_until_they_agree() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let mut cluster = with(|options| {
        (options.nodes, options.start) = (2, false);
        options.cluster_lines = format!("journal = \"{}\"\nstart_wait = \"3s\"\n", journal.display());
        options.web_lines = "[group.hooks]\nactive = [\"/bin/true\", \"a secret\"]\n".to_owned();
    });
    change(&cluster, 1, "start_wait = \"3s\"", "start_wait = \"4s\"");
    change(&cluster, 1, "a secret", "another secret");
    let mail = "[[group]]\nname = \"mail\"\ninterface = \"lan\"\nvips = [\"192.0.2.102/24\"]\n\n[control]";
    change(&cluster, 1, "[control]", mail);
    cluster.start_all().unwrap();
    let expected = |whose: &str| {
        ["cluster.start_wait", "group web hooks active", &format!("only {whose}: group mail")]
            .map(str::to_owned)
    };
    let differs = |c: &Cluster, index: usize| c.status(index).map(|status| status.peers[0].differs.clone());
    for (index, whose) in ["there", "here"].into_iter().enumerate() {
        wait(&cluster, "what differs", |c| differs(c, index).is_ok_and(|differs| !differs.is_empty()));
        assert_eq!(differs(&cluster, index).unwrap(), expected(whose));
        let peer = &cluster.nodes[1 - index].name;
        let line = format!("{peer} differs: {}\n", expected(whose).join(", "));
        let text = done(&run(&cluster, index, "status"));
        assert!(text.contains(&line), "{line}{text}");
        let line = format!("warning: {peer} has a different configuration: {}\n", expected(whose).join(", "));
        let log = |c: &Cluster| c.nodes[index].process.as_ref().unwrap().output();
        wait(&cluster, "it is in the log", |c| log(c).contains(&line));
        let log = log(&cluster);
        assert_eq!(log.matches(&line).count(), 1, "{line}{log}");
        assert!(!log.contains("secret") && !text.contains("secret"));
    }
    fs::write(&cluster.nodes[1].config, cluster.config_text(1)).unwrap();
    assert_eq!(done(&reload(&cluster, 1)), "reloaded: groups removed: mail; VIPs removed: 192.0.2.102/24\n");
    wait(&cluster, "no difference any more", |c| {
        (0..2).all(|index| {
            c.status(index).is_ok_and(|status| {
                let peer = &status.peers[0];
                peer.config == PeerConfiguration::Same && peer.differs.is_empty()
            })
        })
    });
    for index in 0..2 {
        let (keeper, _) = cluster.pids(index).unwrap();
        cluster.signal(keeper, Signal::SIGTERM);
        assert!(cluster.reap(index, PATIENCE).is_some_and(|status| status.success()));
    }
    let output = Command::new(BINARY).arg("replay").arg(&journal).arg("--events").output().unwrap();
    let said = done(&output);
    assert!(said.contains("outline of the configuration from bravo, part 1 of "), "{said}");
    assert!(said.contains("bravo has a different configuration: cluster.start_wait"), "{said}");
    assert_eq!(said.matches("same decisions: ").count(), 2, "{said}");
}

pub(crate) fn reload_with_a_mistake_changes_nothing() {
    let cluster = cluster();
    let active = holder(&cluster);
    let since = Instant::now();
    let (keeper, brain) = cluster.pids(active).unwrap();
    let good = fs::read_to_string(&cluster.nodes[active].config).unwrap();
    for (from, to, said) in [
        ("heartbeat = \"10ms\"", "heartbeat = \"10 parsecs\"", "`heartbeat` of [cluster] is not valid"),
        ("name = \"trial\"", "name = \"another\"", "the name of the cluster cannot change while it runs"),
        ("lan = \"eth0\"", "lan = \"eth7\"", "there is no interface eth7"),
        ("lan = \"eth0\"", "lan = \"eth0", "not valid TOML"),
    ] {
        let broken = good.replace(from, to);
        fs::write(&cluster.nodes[active].config, &broken).unwrap();
        // The socket is named, since the file does not say where it is.
        let socket =
            good.split("socket = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
        let output = cluster.nodes[active]
            .host
            .run(|| Command::new(BINARY).args(["reload", "--socket", &socket]).output().unwrap());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(said), "{said}: {error}");
    }
    fs::write(&cluster.nodes[active].config, good).unwrap();
    cluster.signal(keeper, Signal::SIGHUP);
    wait(&cluster, "a new brain", |c| c.pids(active).is_ok_and(|pids| pids.1 != brain));
    assert_eq!(cluster.pids(active).unwrap().0, keeper, "the same process");
    settle(&cluster);
    assert!(is_unbroken(&cluster, active, WEB[0], since), "{}", cluster.describe());
}

pub(crate) fn reload_removes_vips_groups_and_nodes() {
    let cluster = cluster();
    let active = holder(&cluster);
    let since = Instant::now();
    for index in 0..cluster.nodes.len() {
        change(&cluster, index, ", \"2001:db8::100/64\"", "");
        let path = &cluster.nodes[index].config;
        let text = fs::read_to_string(path).unwrap();
        let (head, rest) = text.split_once("[[group]]\nname = \"calm\"").unwrap();
        let control = rest.split_once("[control]").unwrap().1;
        fs::write(path, format!("{head}[control]{control}")).unwrap();
        let said = done(&reload(&cluster, index));
        assert_eq!(said, "reloaded: groups removed: calm; VIPs removed: 192.0.2.101/24, 2001:db8::100/64\n");
    }
    wait(&cluster, "nobody has what is no longer there", |c| {
        [WEB[1], Cluster::CALM].iter().all(|&vip| c.lab.observer().holders(vip).is_empty())
    });
    assert!(is_unbroken(&cluster, active, WEB[0], since), "{}", cluster.describe());
    // A node goes as well: first from the files of those that stay.
    let last = cluster.nodes.len() - 1;
    assert_ne!(last, active, "the first node holds it");
    let name = &cluster.nodes[last].name;
    for index in 0..last {
        let path = &cluster.nodes[index].config;
        let text = fs::read_to_string(path).unwrap();
        let at = text.find(&format!("[[node]]\nname = \"{name}\"")).unwrap();
        let end = at + text[at..].find("[[group]]").unwrap();
        fs::write(path, format!("{}{}", &text[..at], &text[end..])).unwrap();
        assert_eq!(done(&reload(&cluster, index)), format!("reloaded: nodes removed: {name}\n"));
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(cluster.holder(WEB[0]), Some(active), "{}", cluster.describe());
    assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero());
    assert_eq!(cluster.status(active).unwrap().peers.len(), 1);
}

/// A VIP that somebody else uses does not come in by a reload, and costs the others nothing.
pub(crate) fn reload_asks_the_network_for_new_vips() {
    let cluster = cluster();
    let active = holder(&cluster);
    let since = Instant::now();
    let stranger = cluster.lab.host("stranger", &["192.0.2.66/24"]).unwrap();
    stranger.add_address("192.0.2.102/24").unwrap();
    let mac = stranger.mac("eth0").unwrap();
    change(&cluster, active, "\"2001:db8::100/64\"", "\"2001:db8::100/64\", \"192.0.2.102/24\"");
    let output = reload(&cluster, active);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(error, format!("vipdrift: 192.0.2.102 is in use: {mac} answers for it\n"));
    stranger.delete_address("192.0.2.102/24").unwrap();
    done(&reload(&cluster, active));
    wait(&cluster, "the new VIP", |c| c.holder(NEW) == Some(active));
    assert!(is_unbroken(&cluster, active, WEB[0], since), "{}", cluster.describe());
}

/// A new key, on one node after the other, without a moment in which they do not hear each other.
pub(crate) fn keys_are_changed_live() {
    const OLD: &str = "key = \"00112233445566778899aabbccddeeff\"";
    const NEXT: &str = "key = \"ffeeddccbbaa99887766554433221100\"";
    let cluster = cluster();
    let active = holder(&cluster);
    let since = Instant::now();
    let steps = [
        // Everybody learns the new one, then speaks it, then forgets the old one.
        (OLD.to_owned(), format!("{OLD}\nprevious_{NEXT}")),
        (format!("{OLD}\nprevious_{NEXT}"), format!("{NEXT}\nprevious_{OLD}")),
        (format!("{NEXT}\nprevious_{OLD}"), NEXT.to_owned()),
    ];
    for (from, to) in steps {
        for index in 0..cluster.nodes.len() {
            change(&cluster, index, &from, &to);
            assert_eq!(
                done(&reload(&cluster, index)),
                "reloaded: nothing that the nodes agree on has changed\n"
            );
        }
        wait(&cluster, "all are heard", |c| {
            (0..c.nodes.len()).all(|index| {
                c.status(index)
                    .is_ok_and(|s| s.peers.iter().all(|peer| peer.state == PeerState::Alive && peer.hears_us))
            })
        });
    }
    assert!(is_unbroken(&cluster, active, WEB[0], since), "{}", cluster.describe());
    assert!(cluster.lab.observer().two_holders(WEB[0], since).is_zero());
}

/// Twice in a row, as for two upgrades.
pub(crate) fn a_new_binary_takes_over_without_moving_the_vip() {
    let cluster = cluster();
    let active = holder(&cluster);
    let client = served(&cluster, active);
    let since = Instant::now();
    let (keeper, brain) = cluster.pids(active).unwrap();
    for _ in 0..2 {
        let said = done(&run(&cluster, active, "restart"));
        assert!(
            said.starts_with("version ") && said.contains("nothing that the nodes agree on has changed"),
            "{said}"
        );
        settle(&cluster);
    }
    let now = cluster.pids(active).unwrap();
    assert_eq!(now.0, keeper);
    assert_ne!(now.1, brain);
    assert!(is_unbroken(&cluster, active, WEB[0], since), "{}", cluster.describe());
    assert_eq!(client.lost_probes(since, Instant::now()), 0);
    // It is a keeper like any other: stopped, it leaves nothing.
    drop(client);
}

/// Checks come with a reload, and hooks do not run again for a role that has not changed.
pub(crate) fn checks_and_hooks_over_a_reload() {
    let cluster = with(|options| {
        options.web_lines =
            "[group.hooks]\nactive = [\"/bin/sh\", \"-c\", \"cat > /dev/null\"]\nstandby = [\"/bin/true\"]\n"
                .to_owned();
    });
    let active = holder(&cluster);
    let output = |c: &Cluster| c.nodes[active].process.as_ref().unwrap().output();
    wait(&cluster, "the first hook", |c| output(c).contains("web: hook active: exit status"));
    let check =
        "[[group.check]]\nfile = \"/run/service-is-well\"\ninterval = \"10ms\"\nfall = 1\n[group.hooks]";
    cluster.nodes[active].host.run(|| fs::write("/run/service-is-well", "").unwrap());
    change(&cluster, active, "[group.hooks]", check);
    assert_eq!(done(&reload(&cluster, active)), "reloaded: checks added: web/file\n");
    wait(&cluster, "a result", |c| {
        c.status(active).is_ok_and(|s| s.groups[0].checks.iter().any(|check| check.looks > 0))
    });
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(output(&cluster).matches("web: hook active: ").count(), 1, "{}", output(&cluster));
    assert_eq!(holder(&cluster), active);
    cluster.nodes[active].host.run(|| fs::remove_file("/run/service-is-well").unwrap());
    wait(&cluster, "another holder", |c| c.holder(WEB[0]).is_some_and(|now| now != active));
    wait(&cluster, "its hook", |c| output(c).contains("web: hook standby: exit status 0"));
}

/// Signals that come while one image makes way for the next are neither lost for good nor the end of it.
pub(crate) fn many_hangups_in_a_row_do_no_harm() {
    let mut cluster = cluster();
    let active = holder(&cluster);
    let since = Instant::now();
    let (keeper, _) = cluster.pids(active).unwrap();
    for _ in 0..100 {
        cluster.signal(keeper, Signal::SIGHUP);
        std::thread::sleep(Duration::from_millis(7));
    }
    settle(&cluster);
    // The last of them may be at work still.
    wait(&cluster, "an answer", |c| c.pids(active).is_ok_and(|pids| pids.0 == keeper));
    assert!(is_unbroken(&cluster, active, WEB[0], since), "{}", cluster.describe());
    // And one that ends it ends it with grace.
    cluster.signal(keeper, Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(30));
    cluster.signal(keeper, Signal::SIGTERM);
    assert!(cluster.reap(active, PATIENCE).is_some_and(|status| status.success()));
    let host = &cluster.nodes[active].host;
    assert!(!host.addresses().unwrap().iter().any(|net| WEB.contains(&net.addr())), "nothing is left");
}

/// Nobody has died: the log and the past say what was ordered, and that it was carried out.
pub(crate) fn a_reload_reads_as_one_in_the_log() {
    let cluster = cluster();
    let active = holder(&cluster);
    settle(&cluster);
    change(&cluster, active, "\"2001:db8::100/64\"", "\"2001:db8::100/64\", \"192.0.2.102/24\"");
    let log = |c: &Cluster| c.nodes[active].process.as_ref().unwrap().output();
    let before = log(&cluster).len();
    done(&reload(&cluster, active));
    let proved = "web: active -> active, term 1: reload: still the holder after ";
    let duty = " keeper: the brain of the reload is on duty after ";
    wait(&cluster, "it goes on", |c| log(c).contains(proved) && log(c).contains(duty));
    let said = log(&cluster)[before..].to_owned();
    let name = &cluster.nodes[active].name;
    for line in [
        " reload ordered: VIPs added: 192.0.2.102/24\n".to_owned(),
        format!(" reload: vipdrift {}: node {name} of ", env!("CARGO_PKG_VERSION")),
        " reload carried out: VIPs added: 192.0.2.102/24\n".to_owned(),
        duty.to_owned(),
    ] {
        assert_eq!(said.matches(&line).count(), 1, "{line}\n{said}");
    }
    assert!(!said.contains("a new brain") && !said.contains(": back after "), "{said}");
    // A slow thread puts it down, a moment later.
    wait(&cluster, "what was noticed", |c| {
        let past = done(&run(c, active, "events"));
        past.contains("reload carried out: VIPs added") && past.contains(proved)
    });
    // A brain that dies afterwards is not taken for another reload.
    let before = log(&cluster).len();
    let (_, brain) = cluster.pids(active).unwrap();
    cluster.signal(brain, Signal::SIGKILL);
    let lines = ["web: active -> active, term 1: back after ", "keeper: a new brain is on duty after "];
    wait(&cluster, "a new brain", |c| lines.iter().all(|line| log(c)[before..].contains(line)));
    let said = log(&cluster)[before..].to_owned();
    assert!(!said.contains("reload"), "{said}");
}
