//! What is wrong is said, and nothing is touched.

use std::time::Instant;

use vipdrift::trial::Cluster;
use vipdrift::trial::windows::Windows;

use crate::support::{PATIENCE, WEB, exe, holder, pair, wait, windows, with};

/// One node that has not been started.
fn node() -> Cluster {
    with(&[0], |options| {
        options.nodes = 1;
        options.start = false;
    })
}

/// Runs the daemon with this configuration; it has to refuse. What it said.
fn refused(cluster: &Cluster, text: &str) -> String {
    let file = cluster.directory_of(0).join("wrong.toml");
    std::fs::write(&file, text).unwrap();
    let [config, state] = [file, cluster.directory_of(0).join("state")].map(|path| Windows::path(&path));
    let said = windows(cluster, 0).run(&["run", "--config", &config, "--state-dir", &state]).unwrap();
    assert!(!said.done, "{}", said.text);
    assert!(!said.text.contains("panicked"), "{}", said.text);
    said.text
}

pub(crate) fn mistakes_are_one_clear_error() {
    let cluster = node();
    let good = cluster.config_text(0);
    let said = refused(&cluster, &good.replace("lan = \"eth0\"", "lan = \"Ethernet 7\""));
    assert!(said.contains("there is no interface Ethernet 7 (needed by group web, calm)"), "{said}");
    assert!(said.contains("there are: ") && said.contains("eth0"), "{said}");
    let said = refused(&cluster, &good.replace("192.0.2.11", "192.0.2.77"));
    assert!(said.contains("this machine has no address of any [[node]]"), "{said}");
    let said = refused(&cluster, &good.replace("heartbeat", "haertbeat"));
    assert!(said.contains("haertbeat") && said.contains("heartbeat"), "{said}");
    // In words, and before anything is touched: what Windows would undo again.
    let said = refused(&cluster, &good.replace("switchover = \"strict\"", "switchover = \"hitless\""));
    assert!(said.contains("group calm cannot be hitless"), "{said}");
    assert!(said.contains("set switchover = \"strict\""), "{said}");
    assert_eq!(cluster.lab.observer().holders(WEB[0]), Vec::<String>::new());
}

/// Two cards of one make, and a configuration that means one of them by its make.
pub(crate) fn a_description_that_means_two_cards_is_refused() {
    let cluster = with(&[0], |options| {
        options.nodes = 1;
        options.start = false;
        options.habits.alike = true;
    });
    let good = cluster.config_text(0);
    let by_make = good.replace("lan = \"eth0\"", "lan = \"Lab Ethernet Card\"");
    // One card is meant as long as there is one.
    let file = cluster.directory_of(0).join("by-make.toml");
    std::fs::write(&file, &by_make).unwrap();
    let said = windows(&cluster, 0).run(&["check", "--config", &Windows::path(&file)]).unwrap();
    assert!(!said.text.contains("means 2 network cards"), "{}", said.text);
    let lan = cluster.lab.add_lan().unwrap();
    cluster.nodes[0].host.connect(lan, &["198.51.100.11/24"]).unwrap();
    let said = refused(&cluster, &by_make);
    assert!(said.contains("`Lab Ethernet Card` means 2 network cards: `eth0`, `eth1`"), "{said}");
    let said = windows(&cluster, 0).run(&["check", "--config", &Windows::path(&file)]).unwrap();
    assert!(!said.done && said.text.contains("means 2 network cards"), "{}", said.text);
    assert_eq!(cluster.lab.observer().holders(WEB[0]), Vec::<String>::new());
}

/// A prompt that was not opened "as administrator".
pub(crate) fn without_administrators_rights_nothing_is_touched() {
    let cluster = node();
    let [config, state] =
        ["vipdrift.toml", "state"].map(|name| Windows::path(&cluster.directory_of(0).join(name)));
    let wine = windows(&cluster, 0).wine();
    let mut command = wine.command(&vipdrift_lab::wine::program("address").unwrap());
    command.args(["confined", &Windows::path(&exe()), "run", "--config", &config, "--state-dir", &state]);
    let process = wine.host().spawn(command).unwrap();
    let status = process.wait_output(Instant::now() + PATIENCE).expect("it ends");
    let said = process.output();
    assert!(!status.success(), "{said}");
    assert!(said.contains("not permitted: this process lacks administrator rights"), "{said}");
    assert!(said.contains("Run as administrator"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(cluster.lab.observer().holders(WEB[0]), Vec::<String>::new());
}

pub(crate) fn the_brain_is_no_administrator() {
    let mut cluster = node();
    let text = cluster.config_text(0).replace(", \"2001:db8::100/64\"", "");
    std::fs::write(&cluster.nodes[0].config, text).unwrap();
    cluster.spawn(0).unwrap();
    wait(&cluster, "the VIP", |cluster| cluster.holder(WEB[0]) == Some(0));
    let user = cluster.status(0).unwrap().daemon.user;
    assert!(
        user.starts_with("this user, no administrator,") && user.ends_with("with 0 privileges"),
        "{user}\n{}",
        cluster.describe()
    );
}

/// What somebody with a Windows machine is asked to run.
pub(crate) fn the_selftest_measures_and_leaves_nothing() {
    let cluster = node();
    let node = windows(&cluster, 0);
    let address = "192.0.2.200/24";
    let args = [
        "selftest",
        "--interface",
        "eth0",
        "--address",
        address,
        "--known",
        "192.0.2.1",
        "--runs",
        "1",
        "--json",
    ];
    let process = node.start(&args).unwrap();
    process.wait_output(Instant::now() + PATIENCE * 3).expect("it ends");
    let said = process.output();
    // How late timers are is this machine's affair: it may be busy.
    let bad: Vec<&str> = said.lines().filter(|line| line.starts_with("NOT ")).collect();
    assert!(bad.iter().all(|line| line.starts_with("NOT timer: woken late")), "{said}");
    for found in [
        "192.0.2.1 answered as ",
        "nobody answered for 192.0.2.200 within 1 s",
        "a lifetime of 2 s ended after ",
        "an address that is renewed stays",
        "the address outlives a process that is killed",
    ] {
        assert!(said.contains(found), "{found}: {said}");
    }
    let left = cluster.nodes[0].host.addresses().unwrap();
    assert!(!left.iter().any(|network| network.to_string() == address), "{left:?}");
}

pub(crate) fn a_second_daemon_leaves_the_first_alone() {
    let cluster = pair(&[0, 1]);
    let at = holder(&cluster);
    let begun = Instant::now();
    let [config, state] =
        ["vipdrift.toml", "state"].map(|name| Windows::path(&cluster.directory_of(at).join(name)));
    let name = &cluster.nodes[at].name;
    let said = windows(&cluster, at)
        .run(&["run", "--config", &config, "--node", name, "--state-dir", &state])
        .unwrap();
    assert!(!said.done, "{}", said.text);
    assert!(
        said.text.contains("is in use by another program")
            || said.text.contains("another vipdrift is running"),
        "{}",
        said.text
    );
    wait(&cluster, "nothing has moved", |cluster| cluster.wait_settled().is_ok());
    assert_eq!(holder(&cluster), at);
    let held = cluster.lab.observer().held_by(name, WEB[0], begun);
    assert!(held.len() == 1 && held[0].to.is_none(), "never off: {held:?}");
}

pub(crate) fn commands_for_people_work() {
    let cluster = pair(&[0, 1]);
    let at = holder(&cluster);
    let node = windows(&cluster, at);
    let done = |args: &[&str]| {
        let said = node.run(args).unwrap();
        assert!(said.done, "{args:?}: {}", said.text);
        said.text
    };
    assert!(done(&["status"]).contains("web"));
    wait(&cluster, "lifetimes were tried, and end", |cluster| {
        cluster.status(at).is_ok_and(|status| status.daemon.lease == "granted")
    });
    // It announces an IPv6 VIP, which only administrators may.
    let user = cluster.status(at).unwrap().daemon.user;
    assert!(user.starts_with("this user at ") && user.ends_with("with 0 privileges"), "{user}");
    // A slow thread puts it down: on a busy machine a moment later than it can be seen in the status.
    for asked in [&["why", "web"][..], &["events"]] {
        let mut said = String::new();
        let seen = cluster.wait("the decision", PATIENCE, |_| {
            said = done(asked);
            said.contains("standby -> active")
        });
        assert!(seen.is_ok(), "{asked:?}: {said}");
    }
    let last = done(&["events", "--last", "3"]);
    assert!((1..=3).contains(&last.lines().count()), "{last}");
    // A node that was kept waiting has to ask around first.
    let sure = |args: &[&str]| {
        let mut said = None;
        let done = cluster.wait("a node that is sure of itself", PATIENCE, |_| {
            let answer = said.insert(node.run(args).unwrap());
            answer.done || !answer.text.contains("try again in a moment")
        });
        let said = said.unwrap();
        assert!(done.is_ok() && said.done, "{args:?}: {}", said.text);
        said.text
    };
    assert!(sure(&["switchover", "web"]).contains("web"));
    wait(&cluster, "it has moved", |cluster| cluster.holder(WEB[0]).is_some_and(|now| now != at));
    let drill = sure(&["drill", "web"]);
    assert!(drill.contains("ms"), "{drill}");
    done(&["drain"]);
    assert!(done(&["status"]).contains("drained"));
    done(&["undrain"]);
    let config = Windows::path(&cluster.directory_of(at).join("vipdrift.toml"));
    let name = &cluster.nodes[at].name;
    let check = || node.run(&["check", "--config", &config, "--node", name]).unwrap().text;
    let said = check();
    assert!(said.contains("this user may mount addresses"), "{said}");
    assert!(said.contains("whether a VIP is an address of a card could not be looked at"), "{said}");
    assert!(said.contains("Windows' firewall could not be looked at"), "{said}");
    // What Windows would do by itself, as its registry has it.
    let key = r"HKLM\SYSTEM\CurrentControlSet\Services";
    let cards = format!(r"{key}\Tcpip\Parameters\Interfaces");
    let gone = format!(r"{cards}\{{00000000-0000-0000-0000-000000000001}}");
    let card = format!(r"{cards}\{}", guid(node, "eth0"));
    let firewall = format!(r"{key}\SharedAccess\Parameters\FirewallPolicy\StandardProfile");
    for set in [
        [card.as_str(), "/v", "IPAddress", "/t", "REG_MULTI_SZ", "/d", "192.0.2.100"],
        [gone.as_str(), "/v", "IPAddress", "/t", "REG_MULTI_SZ", "/d", "192.0.2.101"],
        [firewall.as_str(), "/v", "EnableFirewall", "/t", "REG_DWORD", "/d", "1"],
    ] {
        let mut command = node.wine().command(std::path::Path::new("reg.exe"));
        command.arg("add").args(set).arg("/f");
        let process = node.wine().host().spawn(command).unwrap();
        assert!(process.wait(Instant::now() + PATIENCE).is_some_and(|status| status.success()));
    }
    let said = check();
    assert!(said.contains("VIP 192.0.2.100 is an address of a card"), "{said}");
    assert!(!said.contains("VIP 192.0.2.101 is an address of a card"), "{said}");
    assert!(said.contains("no rule lets UDP port 5798 in"), "{said}");
}

/// What Windows calls a card for good.
fn guid(node: &Windows, name: &str) -> String {
    let mut command = node.wine().command(&vipdrift_lab::wine::program("address").unwrap());
    command.arg("links");
    let process = node.wine().host().spawn(command).unwrap();
    process.wait_output(Instant::now() + PATIENCE).expect("it ends");
    let said = process.output();
    let link = said.lines().find(|line| line.contains(&format!("name: {name:?}")));
    let (_, rest) = link.and_then(|link| link.split_once("guid: ")).unwrap_or_else(|| panic!("{said}"));
    rest.split_once(',').unwrap().0.to_owned()
}
