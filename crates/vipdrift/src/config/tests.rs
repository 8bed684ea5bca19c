//! Files as people write them, and what they are told.

use std::net::IpAddr;
#[cfg(unix)]
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use vipdrift_core::{Failback, Reference, VipIndex};
use vipdrift_wire::heartbeat::NodeId;

use super::file::Journal;
use super::*;

const GOOD: &str = r#"
[cluster]
name = "edge"
key = "000102030405060708090a0b0c0d0e0f"

[[node]]
name = "alpha"
addresses = ["192.0.2.11"]
interfaces = { lan = "eth0" }

[[node]]
name = "bravo"
addresses = ["192.0.2.12"]
interfaces = { lan = "ens3" }

[[group]]
name = "web"
interface = "lan"
vips = ["192.0.2.100/24", "2001:db8::100/64"]
"#;

/// The good file with one change.
fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

fn refusal(text: &str) -> String {
    match parse("vipdrift.toml", text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(why) => why.to_string(),
    }
}

fn accepted(text: &str) -> Config {
    parse("vipdrift.toml", text).unwrap_or_else(|why| panic!("{why}"))
}

/// Whole texts, for the looks of them.
#[test]
fn an_error_shows_file_line_column_text_reason_and_remedy() {
    let unknown = changed("name = \"edge\"", "name = \"edge\" # the rest follows\nhartbeat = \"100ms\"");
    assert_eq!(
        refusal(&unknown),
        r#"
error: unknown key `hartbeat`
 --> vipdrift.toml:4:1
  |
4 | hartbeat = "100ms"
  | ^^^^^^^^ not a key of [cluster]
  |
  = help: did you mean `heartbeat`?"#
            .trim_start()
    );
    let contradictory =
        changed("name = \"edge\"", "name = \"edge\"\nkey_file = \"/etc/vipdrift/cluster.key\"");
    assert_eq!(
        refusal(&contradictory),
        r#"
error: `key` and `key_file` contradict each other
 --> vipdrift.toml:4:1
  |
4 | key_file = "/etc/vipdrift/cluster.key"
  | ^^^^^^^^ one too many
5 | key = "********************************"
  | --- the other
  |
  = help: keep one; `key_file` keeps the key out of this file"#
            .trim_start()
    );
    let truncated =
        changed("vips = [\"192.0.2.100/24\", \"2001:db8::100/64\"]\n", "vips = [\"192.0.2.100/24\", \"2001");
    assert_eq!(
        refusal(&truncated),
        r#"
error: not valid TOML: unclosed array, expected `]`
  --> vipdrift.toml:19:32
   |
19 | vips = ["192.0.2.100/24", "2001
   |                                ^"#
            .trim_start()
    );
    let same = changed("192.0.2.100/24", "192.0.2.12/24");
    assert_eq!(
        refusal(&same),
        r#"
error: 192.0.2.12 cannot be a VIP here
  --> vipdrift.toml:19:9
   |
13 | addresses = ["192.0.2.12"]
   |              ------------ there
...
19 | vips = ["192.0.2.12/24", "2001:db8::100/64"]
   |         ^^^^^^^^^^^^^^^ it is an address of node `bravo`"#
            .trim_start()
    );
    assert_eq!(
        refusal("# nothing yet\n"),
        r#"
error: there is no [cluster] section
 --> vipdrift.toml
  = help: begin with [cluster], name = "edge" and key_file = "/etc/vipdrift/cluster.key"

error: there is no [[node]] section
 --> vipdrift.toml
  = help: add a [[node]] with `name` and `addresses` for every machine

error: there is no [[group]] section, so there is no VIP to hold
 --> vipdrift.toml
  = help: add a [[group]] with `name`, `interface` and `vips`"#
            .trim_start()
    );
}

/// What is changed, into what, and where and how that is refused: `line:column`, title, label, help.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const EDGE: &str = "name = \"edge\"";
/// The end of the group.
const END: &str = "2001:db8::100/64\"]\n";
const LAN: &str = "interface = \"lan\"";
const FIRST: &str = "192.0.2.100/24";
const KEY: &str = "key = \"000102030405060708090a0b0c0d0e0f\"";

#[rustfmt::skip]
const CASES: &[Case] = &[
    // [cluster]
    (EDGE, "name = \"edge\"\nheartbeat = \"100\"", "4:13", "`heartbeat` of [cluster] is not valid", "the unit is missing, for example `100ms`", ""),
    (EDGE, "name = \"edge\"\nheartbeat = 100", "4:13", "`heartbeat` has the wrong type", "expected a string, found a whole number", ""),
    (EDGE, "name = \"edge\"\nheartbeat = \"4ms\"", "4:13", "`heartbeat` of [cluster] is not valid", "expected 5ms to 10s", ""),
    (EDGE, "name = \"edge\"\nheartbeat = \"11s\"", "4:13", "`heartbeat` of [cluster] is not valid", "expected 5ms to 10s", ""),
    (EDGE, "name = \"edge\"\ndead_after = 1", "4:14", "`dead_after` of [cluster] is out of range", "expected 2 to 20", ""),
    (EDGE, "name = \"edge\"\ndead_after = 21", "4:14", "`dead_after` of [cluster] is out of range", "expected 2 to 20", ""),
    (EDGE, "name = \"edge\"\nlease = \"1500ms\"", "4:9", "`lease` of [cluster] is not valid", "the kernel counts lifetimes in whole seconds", ""),
    (EDGE, "name = \"edge\"\nlease = \"0s\"", "4:9", "`lease` of [cluster] is not valid", "expected 1s to 1h, or \"off\"", ""),
    (EDGE, "name = \"edge\"\nheartbeat = \"1s\"\nlease = \"3s\"", "5:9", "the lease must be longer than the dead time, which is 3s", "3s here", "raise `lease`, or lower `heartbeat` or `dead_after`"),
    (EDGE, "name = \"edge\"\nheartbeat = \"1s\"", "2:1", "the lease must be longer than the dead time, which is 3s", "2s here", "raise `lease`"),
    (EDGE, "name = \"edge\"\njournal = \"journal\"", "4:11", "`journal` of [cluster] is not valid", "expected the absolute path of a folder, or \"off\"", ""),
    (EDGE, "name = \"edge\"\njournal = \"/j\"\njournal_limit = \"64\"", "5:17", "`journal_limit` of [cluster] is not valid", "the unit is missing, for example `64MiB`", ""),
    (EDGE, "name = \"edge\"\njournal = \"/j\"\njournal_limit = \"64MB\"", "5:17", "`journal_limit` of [cluster] is not valid", "did you mean `64MiB`?", ""),
    (EDGE, "name = \"edge\"\njournal = \"/j\"\njournal_limit = \"1MiB\"", "5:17", "`journal_limit` of [cluster] is not valid", "expected 4MiB to 16GiB", ""),
    (EDGE, "name = \"edge\"\njournal = \"/j\"\njournal_limti = \"8MiB\"", "5:1", "unknown key `journal_limti`", "not a key of [cluster]", "did you mean `journal_limit`?"),
    (EDGE, "name = \"edge\"\njournal_limit = \"64MiB\"", "4:1", "`journal_limit` without `journal` limits nothing", "there is no journal", "journal = \"/var/lib/vipdrift/journal\""),
    (EDGE, "name = \"edge\"\nport = 70000", "4:8", "`port` of [cluster] is out of range", "expected 1 to 65535", ""),
    (EDGE, "name = \"\"", "3:8", "`name` of [cluster] is not valid", "a name must not be empty", ""),
    (EDGE, "name = \"my edge\"", "3:8", "`name` of [cluster] is not valid", "a name is made of letters, digits", ""),
    ("name = \"edge\"\n", "", "2:1", "[cluster] lacks `name`", "`name` is missing here", "name = \"edge\""),
    (KEY, "", "2:1", "[cluster] lacks `key_file`", "`key_file` is missing here", "made by `vipdrift key --out FILE`"),
    (KEY, "key = \"00010203\"", "4:7", "`key` of [cluster] is not valid", "a key has at least 32 hexadecimal digits, this one has 8", ""),
    (KEY, "key = \"zz0102030405060708090a0b0c0d0e0f\"", "4:7", "`key` of [cluster] is not valid", "an even number of hexadecimal digits", ""),
    (KEY, "key_file = \"k\"\nprevious_key = \"00\"", "5:16", "`previous_key` of [cluster] is not valid", "a key has at least 32", ""),
    ("[cluster]", "[cluster", "2:9", "not valid TOML: unclosed table, expected `]`", "", ""),
    ("[cluster]", "cluster = 1\n[other]", "2:11", "`cluster` has the wrong type", "expected a table: [cluster], found a whole number", ""),
    // [[node]]
    ("name = \"bravo\"", "name = \"alpha\"", "12:8", "two nodes are called `alpha`", "again here", ""),
    ("192.0.2.12", "192.0.2.11", "13:14", "the address 192.0.2.11 is there twice", "again here", ""),
    ("192.0.2.12", "192.0.2.12/24", "13:14", "`addresses` of [[node]] is not valid", "write the address without its prefix: `192.0.2.12`", ""),
    ("192.0.2.12", "2001:db8::12", "13:13", "`bravo` and `alpha` have no way to hear each other", "no address of the same family", "give both an IPv4 address"),
    ("192.0.2.12", "127.0.0.1", "13:14", "`addresses` of [[node]] is not valid", "a loopback address is never seen outside its own machine", ""),
    ("192.0.2.12", "bravo.example", "13:14", "`addresses` of [[node]] is not valid", "not an IP address", ""),
    ("addresses = [\"192.0.2.12\"]", "addresses = []", "13:13", "a node needs at least one address", "empty", ""),
    ("addresses = [\"192.0.2.12\"]", "adresses = [\"192.0.2.12\"]", "13:1", "unknown key `adresses`", "not a key of [[node]]", "did you mean `addresses`?"),
    ("interfaces = { lan = \"ens3\" }", "interfaces = { lna = \"ens3\" }", "12:8", "node `bravo` does not say which interface is `lan`", "needed by group `web`", "it has `lna`: did you mean `lan`?"),
    ("interfaces = { lan = \"ens3\" }", "", "12:8", "node `bravo` does not say which interface is `lan`", "a logical name, since node `alpha` defines it", "add interfaces = { lan = \"eth0\" } to it"),
    ("interfaces = { lan = \"ens3\" }", "interfaces = { lan = \" \" }", "14:22", "` ` is not the name of an interface", "1 to 256 characters", ""),
    ("name = \"bravo\"", "name = \"bravo\"\nweight = 0", "13:10", "`weight` of [[node]] is out of range", "expected 1 to 100", ""),
    ("name = \"bravo\"", "name = \"bravo\"\nweight = \"2\"", "13:10", "`weight` has the wrong type", "expected a whole number, found a string", ""),
    // [[group]]
    ("[[group]]", "[[grop]]", "16:3", "unknown key `grop`", "not a key of the file", "did you mean `group`?"),
    (FIRST, "192.0.2.100", "19:9", "`vips` of [[group]] is not valid", "the prefix length is missing, for example `192.0.2.100/24`", ""),
    (FIRST, "192.0.2.100/33", "19:9", "`vips` of [[group]] is not valid", "not an address with a prefix length", ""),
    (FIRST, "224.0.0.18/24", "19:9", "`vips` of [[group]] is not valid", "a multicast address belongs to no single host", ""),
    (FIRST, "0.0.0.0/24", "19:9", "`vips` of [[group]] is not valid", "the unspecified address belongs to no host", ""),
    (FIRST, "127.0.0.2/8", "19:9", "`vips` of [[group]] is not valid", "a loopback address is never seen outside its own machine", ""),
    (FIRST, "169.254.1.1/16", "19:9", "`vips` of [[group]] is not valid", "a link-local address (169.254.0.0/16) is not for services", ""),
    (FIRST, "fe80::1/64", "19:9", "`vips` of [[group]] is not valid", "a link-local address (fe80::/10) means another host on every link", ""),
    (FIRST, "::ffff:192.0.2.1/120", "19:9", "`vips` of [[group]] is not valid", "an IPv4-mapped address is never on the wire", ""),
    (FIRST, "192.0.2.0/24", "19:9", "`vips` of [[group]] is not valid", "this is the address of the network 192.0.2.0/24 itself", ""),
    (FIRST, "192.0.2.255/24", "19:9", "`vips` of [[group]] is not valid", "this is the broadcast address of 192.0.2.0/24", ""),
    ("2001:db8::100/64", "192.0.2.100/25", "19:27", "192.0.2.100 cannot be a VIP here", "it is a VIP of group `web`", ""),
    ("vips = [\"192.0.2.100/24\", \"2001:db8::100/64\"]", "vips = []", "19:8", "a group needs at least one VIP", "empty", ""),
    (LAN, "interface = \"lam\"", "18:13", "no node has an interface called `lam`", "", "did you mean `lan`?"),
    (LAN, "interface = \"..\"", "18:13", "`interface` of [[group]] is not valid", "`..` is no interface name", ""),
    (LAN, "interface = \"lan\"\nprefer = [\"brvao\"]", "19:11", "there is no node `brvao`", "not the name of a [[node]]", "did you mean `bravo`?"),
    (LAN, "interface = \"lan\"\nprefer = [\"bravo\", \"bravo\"]", "19:20", "`bravo` is preferred twice", "again here", ""),
    (LAN, "interface = \"lan\"\nprefer = \"spred\"", "19:10", "`prefer` of [[group]] is not valid", "expected a list of node names or \"spread\"", "prefer = ["),
    (LAN, "interface = \"lan\"\noccupied = \"waits\"", "19:12", "`occupied` of [[group]] is not valid", "expected `wait` or `claim`", "did you mean `wait`?"),
    (LAN, "interface = \"lan\"\nfailback = \"always\"", "19:12", "`failback` of [[group]] is not valid", "or \"never\"", ""),
    (LAN, "interface = \"lan\"\nreferences = [\"192.0.2.12\"]", "19:15", "192.0.2.12 cannot be a reference", "it is an address of node `bravo`", "a machine outside the cluster"),
    (LAN, "interface = \"lan\"\nas_source = \"yes\"", "19:13", "`as_source` has the wrong type", "expected true or false, found a string", ""),
    // together, apart
    (LAN, "interface = \"lan\"\napart = \"db\"", "19:9", "`apart` has the wrong type", "expected a list of strings", ""),
    (LAN, "interface = \"lan\"\napart = [\"web\"]", "19:10", "`apart` of `web` names the group itself", "itself", "name other groups"),
    (LAN, "interface = \"lan\"\ntogether = [\"dp\"]", "19:13", "there is no group `dp`", "not the name of a [[group]]", ""),
    (END, "2001:db8::100/64\"]\napart = [\"dp\"]\n[[group]]\nname = \"db\"\ninterface = \"lan\"\nvips = [\"192.0.2.101/24\"]\n", "20:10", "there is no group `dp`", "not the name of a [[group]]", "did you mean `db`?"),
    (END, "2001:db8::100/64\"]\napart = [\"db\", \"db\"]\n[[group]]\nname = \"db\"\ninterface = \"lan\"\nvips = [\"192.0.2.101/24\"]\n", "20:16", "`db` is named twice", "again here", ""),
    (END, "2001:db8::100/64\"]\ntogether = [\"db\"]\n[[group]]\nname = \"db\"\ninterface = \"lan\"\nvips = [\"192.0.2.101/24\"]\napart = [\"web\"]\n", "25:10", "`db` and `web` cannot be both together and apart", "apart here", ""),
    (END, "2001:db8::100/64\"]\ntogether = [\"db\"]\n[[group]]\nname = \"db\"\ninterface = \"lan\"\nvips = [\"192.0.2.101/24\"]\nfailback = \"1m\"\n", "20:13", "`web` and `db` are together and differ in `failback`", "together by this", "give both the same `failback`"),
    (END, "2001:db8::100/64\"]\ntogether = [\"db\"]\n[[group]]\nname = \"db\"\ninterface = \"lan\"\nvips = [\"192.0.2.101/24\"]\nswitchover = \"hitless\"\n", "20:13", "`web` and `db` are together and differ in `switchover`", "together by this", ""),
    (END, "2001:db8::100/64\"]\ntogether = [\"db\"]\n[[group]]\nname = \"db\"\ninterface = \"lan\"\nvips = [\"192.0.2.101/24\"]\nprefer = [\"bravo\"]\n", "20:13", "`web` and `db` are together and differ in `prefer`", "together by this", ""),
    // [[group.check]], [group.hooks]
    (END, "2001:db8::100/64\"]\n[[group.check]]\nname = \"http\"\n", "20:1", "a check has nothing to look at", "no kind of check here", "add one of tcp"),
    (END, "2001:db8::100/64\"]\n[[group.check]]\ntcp = \"127.0.0.1:80\"\nicmp = \"192.0.2.1\"\n", "22:1", "a check looks at one thing", "`icmp` beside `tcp`", "make it two checks"),
    (END, "2001:db8::100/64\"]\n[[group.check]]\ntcp = \"localhost\"\n", "21:7", "`tcp` of [[group.check]] is not valid", "expected address:port", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\nhttp = \"127.0.0.1:80/\"\n", "21:8", "`http` of [[group.check]] is not valid", "expected a URL", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\nhttp = \"http://127.0.0.1/\"\nstatus = [\"2xx\"]\n", "22:11", "`status` of [[group.check]] is not valid", "expected a status code or a range", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\nhttp = \"http://127.0.0.1/\"\nbody = \"(\"\n", "22:8", "`body` of [[group.check]] is not valid", "not a regular expression: error: unclosed group", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\nhttp = \"http://127.0.0.1/\"\nverify = false\n", "22:1", "`verify` is for https", "there is no certificate", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\nexec = [\"pgrep\", \"nginx\"]\n", "21:9", "`exec` of [[group.check]] is not valid", "expected the absolute path of a program", "without a shell"),
    (END, "2001:db8::100/64\"]\n[[group.check]]\nexec = []\n", "21:8", "`exec` of [[group.check]] is empty", "no program here", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\nexec = \"/bin/true\"\n", "21:8", "`exec` has the wrong type", "expected a list of strings in square brackets, found a string", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\nprocess = \"run/nginx.pid\"\n", "21:11", "`process` of [[group.check]] is not valid", "a path is absolute", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\nunit = \"ng inx\"\n", "21:8", "`unit` of [[group.check]] is not valid", "expected the name of a unit", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\nfile = \"flag\"\n", "21:8", "`file` of [[group.check]] is not valid", "expected an absolute path", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\nservice = \"W3/SVC\"\n", "21:11", "`service` of [[group.check]] is not valid", "expected the name of a Windows service", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\nservice = \"W3SVC\"\nfile = \"/run/well\"\n", "22:1", "a check looks at one thing", "`file` beside `service`", "two checks"),
    (END, "2001:db8::100/64\"]\n[[group.check]]\ntcp = \"127.0.0.1:80\"\ninterval = \"1ms\"\n", "22:12", "`interval` of [[group.check]] is not valid", "expected 10ms to 1h", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\ntcp = \"127.0.0.1:80\"\nfall = 0\n", "22:8", "`fall` of [[group.check]] is out of range", "expected 1 to 100", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\ntcp = \"127.0.0.1:80\"\neffect = \"demot\"\n", "22:10", "`effect` of [[group.check]] is not valid", "expected `fault` or `demote`", "did you mean `demote`?"),
    (END, "2001:db8::100/64\"]\n[[group.check]]\ntcp = \"127.0.0.1:80\"\nuser = \"nobody\"\n", "22:1", "`user` is for `exec`", "nothing is run here", ""),
    (END, "2001:db8::100/64\"]\n[[group.check]]\ntcp = \"127.0.0.1:80\"\nfal = 2\n", "22:1", "unknown key `fal`", "not a key of [[group.check]]", "did you mean `fall`?"),
    (END, "2001:db8::100/64\"]\n[[group.check]]\ntcp = \"127.0.0.1:80\"\n[[group.check]]\ntcp = \"127.0.0.1:81\"\n", "22:1", "two checks of group `web` are called `tcp`", "again here", "give each a `name`"),
    (END, "2001:db8::100/64\"]\n[group.hooks]\nactive = [\"on-active\"]\n", "21:11", "`active` of [group.hooks] is not valid", "expected the absolute path of a program", ""),
    (END, "2001:db8::100/64\"]\nswitchover = \"hitless\"\n[group.hooks]\nbefore_active = [\"/bin/promote\"]\n", "17:8", "group `web` cannot be hitless and have a `before_active` hook", "both in this group", "a hitless heir mounts at once"),
    (END, "2001:db8::100/64\"]\n[group.hooks]\nbackup = [\"/bin/true\"]\n", "21:1", "unknown key `backup`", "not a key of [group.hooks]", "known here: "),
    // [control]
    ("[cluster]", "[control]\nsocket = \"run/s\"\n[cluster]", "3:10", "`socket` of [control] is not valid", "expected the absolute path of a socket", ""),
    ("[cluster]", "[control]\nhttp = \"5799\"\n[cluster]", "3:8", "`http` of [control] is not valid", "expected address:port", ""),
];

#[test]
fn every_mistake_is_refused_at_its_place_with_its_reason() {
    for (from, to, place, title, label, help) in CASES {
        let text = changed(from, to);
        let said = refusal(&text);
        let line = said.lines().find(|line| line.trim_start().starts_with("--> vipdrift.toml:"));
        let all = format!("{to}:\n{said}");
        assert!(said.contains(&format!("error: {title}")), "title {title:?} of {all}");
        assert!(
            said.contains(&format!("--> vipdrift.toml:{place}\n")),
            "place {place:?}, not {line:?}, of {all}"
        );
        assert!(said.contains(label), "label {label:?} of {all}");
        assert!(said.contains(help), "help {help:?} of {all}");
    }
}

#[test]
fn several_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = changed(EDGE, "name = \"edge\"\nlease = \"2\"\nhaertbeat = \"10ms\"").replace("/64", "");
    let said = refusal(&text);
    let titles: Vec<_> = said.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(
        titles,
        [
            "error: `lease` of [cluster] is not valid",
            "error: unknown key `haertbeat`",
            "error: `vips` of [[group]] is not valid"
        ]
    );
}

#[test]
fn a_key_is_never_repeated() {
    for text in
        [changed(KEY, "key = \"5ec2e7\""), changed(KEY, "key = \"5ec2e7"), changed(KEY, "key = 5ec2e7")]
    {
        assert!(!refusal(&text).contains("5ec2e7"), "{}", refusal(&text));
    }
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = accepted(GOOD);
    assert_eq!(config.cluster.heartbeat, Duration::from_millis(100));
    assert_eq!(config.cluster.dead_after, 3);
    assert_eq!(*config.cluster.lease.get_ref(), file::Lease::Lasts(Duration::from_secs(2)));
    assert_eq!(config.cluster.port, 5798);
    let socket = if cfg!(windows) { r"\\.\pipe\vipdrift" } else { "/run/vipdrift/control.sock" };
    assert_eq!(config.control.socket, Path::new(socket));
    let resolved = Resolved::new(&config, "bravo").expect("a node");
    assert_eq!(resolved.interfaces, ["ens3"]);
    assert_eq!(resolved.groups[0].order, [NodeId::of("alpha"), NodeId::of("bravo")]);
    assert_eq!(resolved.groups[0].failback, Failback::Never);
    assert_eq!(resolved.groups[0].references, [Reference::Auto]);
    assert_eq!(resolved.groups[0].vips, [VipIndex(0), VipIndex(1)]);
    assert_eq!(resolved.as_source, [false, false]);
}

#[test]
fn there_is_no_journal_unless_it_is_asked_for() {
    let journal =
        |lines: &str| accepted(&changed(EDGE, &format!("name = \"edge\"\n{lines}"))).cluster.journal;
    assert_eq!(journal(""), None);
    assert_eq!(journal("journal = \"off\"\njournal_limit = \"8MiB\""), None);
    let there = |limit| Some(Journal { folder: "/j".into(), limit });
    assert_eq!(journal("journal = \"/j\""), there(64 << 20));
    assert_eq!(journal("journal = \"/j\"\njournal_limit = \"4 MiB\""), there(4 << 20));
}

#[test]
fn prefer_puts_first_and_leaves_nobody_out() {
    let order = |prefer: &str| {
        let config = accepted(&changed(LAN, &format!("interface = \"lan\"\nprefer = {prefer}")));
        Resolved::new(&config, "alpha").expect("a node").groups[0].order.clone()
    };
    assert_eq!(order("[\"bravo\"]"), [NodeId::of("bravo"), NodeId::of("alpha")]);
    assert_eq!(order("[\"alpha\", \"bravo\"]"), [NodeId::of("alpha"), NodeId::of("bravo")]);
}

#[test]
fn spread_is_even_and_the_same_on_every_node() {
    let mut text = GOOD.split("[[group]]").next().unwrap_or_default().to_owned();
    for number in 0..100 {
        text += &format!(
            "[[group]]\nname = \"g{number}\"\ninterface = \"lan\"\nvips = [\"198.51.100.{}/24\"]\nprefer = \"spread\"\n",
            number + 1
        );
    }
    let config = accepted(&text);
    let firsts = |node: &str| {
        let resolved = Resolved::new(&config, node).expect("a node");
        resolved.groups.iter().map(|group| group.order[0]).collect::<Vec<_>>()
    };
    assert_eq!(firsts("alpha"), firsts("bravo"));
    let alphas = firsts("alpha").iter().filter(|id| **id == NodeId::of("alpha")).count();
    assert!((30..=70).contains(&alphas), "{alphas} of 100 on alpha");
}

/// Three groups beside the good one, and what is said of each.
fn placed(web: &str, [a, b, c]: [&str; 3]) -> Resolved {
    let mut text = changed(END, &format!("{END}{web}\n"));
    for (number, (name, keys)) in [("a", a), ("b", b), ("c", c)].into_iter().enumerate() {
        text += &format!(
            "[[group]]\nname = \"{name}\"\ninterface = \"lan\"\nvips = [\"198.51.100.{}/24\"]\n{keys}\n",
            number + 1
        );
    }
    Resolved::new(&accepted(&text), "alpha").expect("a node")
}

/// Web, a, b and c are 0 to 3.
fn indices(groups: &[vipdrift_core::GroupIndex]) -> Vec<usize> {
    groups.iter().map(|group| group.0).collect()
}

#[test]
fn together_and_apart_count_for_both_sides_and_for_the_whole_set() {
    let resolved = placed("together = [\"a\"]", ["", "together = [\"a\"]", "apart = [\"b\"]"]);
    let together: Vec<_> = resolved.groups.iter().map(|group| indices(&group.together)).collect();
    assert_eq!(together, [vec![1, 2], vec![0, 2], vec![0, 1], vec![]]);
    let apart: Vec<_> = resolved.groups.iter().map(|group| indices(&group.apart)).collect();
    assert_eq!(apart, [vec![3], vec![3], vec![3], vec![0, 1, 2]]);
}

#[test]
fn a_set_that_is_spread_has_the_order_of_its_first_by_name() {
    let spread = "prefer = \"spread\"";
    let with = format!("{spread}\ntogether = [\"c\"]");
    // Groups whose own orders differ.
    let alone = placed(spread, [spread, spread, spread]);
    let orders: std::collections::BTreeSet<_> = alone.groups.iter().map(|group| group.order[0]).collect();
    assert_eq!(orders.len(), 2, "some begin with one node, some with the other");
    for leader in 1..3 {
        let mut keys = [spread; 3];
        keys[leader - 1] = &with;
        let set = placed(spread, keys);
        assert_eq!(set.groups[leader].order, alone.groups[leader].order);
        assert_eq!(set.groups[3].order, alone.groups[leader].order);
    }
    let set = placed(&with, [spread; 3]);
    assert_eq!(set.groups[0].order, alone.groups[3].order, "c comes before web");
}

#[test]
fn the_digest_means_the_meaning() {
    let digest = |text: &str| outline::of(&accepted(text)).digest();
    let good = digest(GOOD);
    assert_eq!(digest(&changed("[cluster]", "# a comment\n[cluster]")), good, "comments");
    assert_eq!(digest(&changed(KEY, "key = \"ff0102030405060708090a0b0c0d0e0f\"")), good, "the key");
    assert_eq!(
        digest(&changed(EDGE, "name = \"edge\"\nheartbeat = \"100ms\"")),
        good,
        "a default written out"
    );
    assert_eq!(
        digest(&changed("[cluster]", "[control]\nsocket = \"/run/s\"\n[cluster]")),
        good,
        "the socket"
    );
    assert_eq!(
        digest(&changed(EDGE, "name = \"edge\"\njournal = \"/var/lib/vipdrift/journal\"")),
        good,
        "the journal: a node may keep one to look into it"
    );
    for (from, to) in [
        (EDGE, "name = \"edge\"\nheartbeat = \"50ms\""),
        (EDGE, "name = \"edge\"\nlease = \"off\""),
        (FIRST, "192.0.2.101/24"),
        (LAN, "interface = \"lan\"\nprefer = [\"bravo\"]"),
        (LAN, "interface = \"lan\"\noccupied = \"claim\""),
        (LAN, "interface = \"lan\"\nisolated = \"keep\""),
        ("lan = \"ens3\"", "lan = \"ens4\""),
    ] {
        assert_ne!(digest(&changed(from, to)), good, "{to}");
    }
}

#[test]
fn paths_pair_what_belongs_together() {
    let paths = |own: &str, theirs: &str| {
        let text = changed("\"192.0.2.11\"", own).replacen("\"192.0.2.12\"", theirs, 1);
        let resolved = Resolved::new(&accepted(&text), "alpha").expect("a node");
        resolved.paths.iter().map(|path| format!("{} {}", path.local, path.remote)).collect::<Vec<_>>()
    };
    assert_eq!(
        paths("\"192.0.2.11\", \"198.51.100.11\"", "\"192.0.2.12\", \"198.51.100.12\""),
        ["192.0.2.11 192.0.2.12", "198.51.100.11 198.51.100.12"]
    );
    assert_eq!(
        paths("\"192.0.2.11\", \"2001:db8::11\"", "\"2001:db8::12\", \"192.0.2.12\""),
        ["192.0.2.11 192.0.2.12", "2001:db8::11 2001:db8::12"],
        "by family where the order differs"
    );
    assert_eq!(
        paths("\"192.0.2.11\", \"198.51.100.11\"", "\"192.0.2.12\""),
        ["192.0.2.11 192.0.2.12", "198.51.100.11 192.0.2.12"],
        "everything with everything where the counts differ"
    );
}

#[test]
fn a_node_is_known_by_its_addresses() {
    let config = accepted(GOOD);
    let names = |addresses: &[&str]| {
        let set = addresses.iter().map(|a| a.parse::<IpAddr>().expect("address")).collect();
        names_of_own_addresses(&config, &set)
    };
    assert_eq!(names(&["127.0.0.1", "192.0.2.12"]), ["bravo"]);
    assert_eq!(names(&["192.0.2.13"]), Vec::<String>::new());
    assert_eq!(names(&["192.0.2.11", "192.0.2.12"]), ["alpha", "bravo"]);
}

#[cfg(unix)]
/// A configuration beside a key file with these contents and this mode; what reading the keys says.
fn with_key_file(contents: Option<&str>, mode: u32) -> Result<Secrets, String> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (file, key) = (folder.path().join("vipdrift.toml"), folder.path().join("cluster.key"));
    std::fs::write(&file, changed(KEY, "key_file = \"cluster.key\"")).expect("writes");
    if let Some(contents) = contents {
        std::fs::write(&key, contents).expect("writes");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("sets the mode");
    }
    let loaded = load(&file).expect("a good configuration");
    Secrets::read(&file, &loaded)
        .map_err(|why| why.to_string().replace(&folder.path().display().to_string(), "DIR"))
}

#[test]
#[cfg(unix)]
fn key_files_are_read_and_bad_ones_refused_at_their_place() {
    let key = "000102030405060708090a0b0c0d0e0f\n";
    let secrets = with_key_file(Some(key), 0o600).expect("a good key");
    assert_eq!(format!("{secrets:?}"), "Secrets(..)");
    let missing = with_key_file(None, 0).expect_err("no file");
    assert_eq!(
        missing,
        r#"
error: the key file DIR/cluster.key: cannot be read: no such file or directory
 --> DIR/vipdrift.toml:4:12
  |
4 | key_file = "cluster.key"
  |            ^^^^^^^^^^^^^ named here
  |
  = help: copy it from a node that has it; on the first node, `vipdrift key --out DIR/cluster.key` makes one"#
            .trim_start()
    );
    let open = with_key_file(Some(key), 0o644).expect_err("open to everybody");
    assert!(
        open.contains("can be read by everybody") && open.contains("chmod 0600 DIR/cluster.key"),
        "{open}"
    );
    let short = with_key_file(Some("0001\n"), 0o600).expect_err("too short");
    assert!(short.contains("a key has at least 32 hexadecimal digits, this one has 4"), "{short}");
    let other = with_key_file(Some("-----BEGIN PRIVATE KEY-----\n"), 0o600).expect_err("something else");
    assert!(other.contains("an even number of hexadecimal digits") && !other.contains("BEGIN"), "{other}");
}

#[test]
#[cfg(unix)]
fn what_cannot_be_read_is_said_plainly() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let said = |name: &str| {
        let why = load(&folder.path().join(name)).expect_err("unreadable").to_string();
        why.replace(&folder.path().display().to_string(), "DIR")
    };
    assert_eq!(
        said("none.toml"),
        "error: cannot read the configuration DIR/none.toml: no such file or directory\n  = help: name the file with --config FILE"
    );
    std::fs::write(folder.path().join("latin.toml"), b"[cluster]\nname = \"caf\xe9\"\n").expect("writes");
    assert_eq!(
        said("latin.toml"),
        "error: cannot read the configuration DIR/latin.toml: line 2 is not UTF-8 text"
    );
    assert!(said(".").contains("is a directory"), "{}", said("."));
}

#[test]
fn more_checks_than_anybody_can_look_at_are_refused() {
    let checks = |count: usize| -> String {
        (0..count).map(|n| format!("[[group.check]]\nname = \"c{n}\"\ntcp = \"127.0.0.1:80\"\n")).collect()
    };
    let with = |count| changed(END, &format!("{END}{}", checks(count)));
    assert!(super::parse("vipdrift.toml", &with(1000)).is_ok());
    let said = refusal(&with(1001));
    assert!(said.contains("1001 checks are too many") && said.contains("at most 1000"), "{said}");
}

/// What people copy: the examples, and each whole file that a document shows.
#[test]
fn what_the_documents_show_is_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = |name: &str| {
        let entries = std::fs::read_dir(root.join(name)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let files = [folder("docs"), folder("docs/examples"), vec![root.join("README.md")]].concat();
    let mut seen = 0;
    for file in files {
        let name = file.display().to_string();
        let Some(kind) = file.extension().filter(|_| file.is_file()) else { continue };
        let text = std::fs::read_to_string(&file).unwrap();
        let whole: Vec<&str> = if kind == "toml" {
            vec![&text]
        } else {
            let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
            blocks.filter(|block| block.contains("[[node]]") && block.contains("[[group]]")).collect()
        };
        for block in whole {
            seen += 1;
            parse(&name, block).unwrap_or_else(|why| panic!("{why}"));
        }
    }
    assert!(seen >= 6, "{seen}");
}
