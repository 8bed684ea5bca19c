//! Every key of the file against the outline.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Config, parse};
use super::of;

/// Every key there is. Behind `#>` another value for it, and behind `|` what then differs from the file as it stands, as
/// seen from here; nothing, where it is a matter of the machine.
const EVERYTHING: &str = r#"
[cluster]
name = "edge" #> "core" | cluster.name
key = "000102030405060708090a0b0c0d0e0f" #> "ff0102030405060708090a0b0c0d0e0f" |
previous_key = "0f0102030405060708090a0b0c0d0e0f" #> "aa0102030405060708090a0b0c0d0e0f" |
heartbeat = "100ms" #> "50ms" | cluster.heartbeat
dead_after = 3 #> 4 | cluster.dead_after
lease = "2s" #> "off" | cluster.lease
start_wait = "3s" #> "4s" | cluster.start_wait
port = 5798 #> 5799 | cluster.port
user = "vipdrift" #> "nobody" |
journal = "/var/lib/vipdrift/journal" #> "off" |
journal_limit = "64MiB" #> "32MiB" |

[[node]]
name = "alpha" #> "aleph" | only here: node alpha; only there: node aleph
addresses = ["192.0.2.11"] #> ["192.0.2.21"] | node alpha addresses
interfaces = { lan = "eth0" } #> { lan = "eth1" } | node alpha interfaces lan
weight = 1 #> 2 | node alpha weight

[[node]]
name = "bravo" #> "beth" | only here: node bravo; only there: node beth
addresses = ["192.0.2.12"] #> ["192.0.2.12", "198.51.100.12"] | node bravo addresses
interfaces = { lan = "ens3" } #> { lan = "ens3", wan = "ens4" } | only there: node bravo interfaces wan

[[group]]
name = "web" #> "site" | only here: group web; only there: group site
interface = "lan" #> "eth7" | group web interface
vips = ["192.0.2.100/24"] #> ["192.0.2.101/24"] | group web vips
prefer = "spread" #> ["bravo"] | group web prefer
failback = "1m" #> "never" | group web failback
occupied = "wait" #> "claim" | group web occupied
switchover = "strict" #> "hitless" | group web switchover
references = ["auto"] #> ["gateway"] | group web references
isolated = "release" #> "keep" | group web isolated
as_source = false #> true | group web as_source
all_unhealthy = "keep" #> "release" | group web all_unhealthy
#together = ["db"] #> together = ["db"] | group web together
#apart = ["db"] #> apart = ["db"] | group web apart

[[group.check]]
tcp = "127.0.0.1:80" #> "127.0.0.1:81" | group web check tcp tcp
interval = "1s" #> "2s" | group web check tcp interval
timeout = "1s" #> "2s" | group web check tcp timeout
fall = 2 #> 3 | group web check tcp fall
rise = 2 #> 3 | group web check tcp rise
initial = "unhealthy" #> "healthy" | group web check tcp initial
effect = "fault" #> "demote" | group web check tcp effect

[[group.check]]
name = "page" #> "site" | only here: group web check page; only there: group web check site
http = "https://127.0.0.1/" #> "https://127.0.0.1/well" | group web check page http
host = "edge.example" #> "core.example" | group web check page host
status = ["200-399"] #> ["200"] | group web check page status
body = "well" #> "ill" | group web check page body
verify = true #> false | group web check page verify
#ca_file = "/etc/ca.pem" #> ca_file = "/etc/ca.pem" | group web check page ca_file

[[group.check]]
exec = ["/bin/check", "--password", "secret"] #> ["/bin/check", "--password", "other"] | group web check exec exec
user = "deploy" #> "nobody" | group web check exec user

[[group.check]]
process = "nginx" #> "/run/nginx" | group web check process process

[[group.check]]
unit = "nginx" #> "haproxy" | group web check unit unit

[[group.check]]
file = "/run/well" #> "/run/ill" | group web check file file

[[group.check]]
icmp = "192.0.2.1" #> "192.0.2.2" | group web check icmp icmp

[group.hooks]
#before_active #> before_active = ["/bin/promote"] | only there: group web hooks before_active
active = ["/bin/on-active"] #> ["/bin/on-active", "secret"] | group web hooks active
standby = ["/bin/on-standby"] #> ["/bin/true"] | group web hooks standby
fault = ["/bin/on-fault"] #> ["/bin/true"] | group web hooks fault
drained = ["/bin/on-drained"] #> ["/bin/true"] | group web hooks drained
timeout = "30s" #> "20s" | group web hooks timeout
user = "deploy" #> "nobody" | group web hooks user

[[group]]
name = "db" #> "store" | only here: group db; only there: group store
interface = "eth0" #> "eth1" | group db interface
vips = ["192.0.2.110/24"] #> ["192.0.2.111/24"] | group db vips
prefer = "spread" #> ["alpha"] | group db prefer
failback = "1m" #> "2m" | group db failback

[control]
socket = "/run/vipdrift/control.sock" #> "/run/other.sock" |
http = "off" #> "127.0.0.1:5799" |
token_file = "/etc/vipdrift/page.token" #> "/etc/other.token" |
"#;

/// Instead of `key`; instead of `previous_key`; not on this system; and tables that have lines of their own.
const ELSEWHERE: [&str; 5] = ["key_file", "previous_key_file", "service", "check", "hooks"];

fn config(text: &str) -> Config {
    parse("vipdrift.toml", text).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

/// From here, and from there.
fn differences(here: &str, there: &str) -> [Vec<String>; 2] {
    let (here, there) = (of(&config(here)), of(&config(there)));
    assert_eq!(here.digest() == there.digest(), here == there);
    [here.differences(there.settings()), there.differences(here.settings())]
}

/// Lines with a key: the line, the key, the same with another value, and what then differs.
fn cases() -> impl Iterator<Item = (&'static str, &'static str, String, Vec<String>)> {
    EVERYTHING.lines().filter(|line| line.contains('=')).map(|line| {
        let (setting, rest) = line.split_once(" #> ").unwrap_or_else(|| panic!("no other value: {line}"));
        let (other, paths) = rest.split_once('|').unwrap_or_else(|| panic!("no path: {line}"));
        let key = setting.trim_start_matches('#').split(' ').next().unwrap_or_default();
        // One that cannot be changed without its absence.
        let other = if setting.starts_with('#') { other.to_owned() } else { format!("{key} = {other}") };
        let paths = paths.split(';').map(|path| path.trim().to_owned()).filter(|path| !path.is_empty());
        (line, key, other, paths.collect())
    })
}

#[test]
fn each_key_changes_its_own_path() {
    assert_eq!(differences(EVERYTHING, EVERYTHING), [const { Vec::<String>::new() }; 2]);
    let mut keys = 0;
    for (line, _, other, expected) in cases() {
        assert_eq!(EVERYTHING.matches(line).count(), 1, "{line}");
        let [here, there] = differences(EVERYTHING, &EVERYTHING.replacen(line, &other, 1));
        assert_eq!(here, expected, "{line}");
        // From there it looks the other way round.
        let turned = expected.iter().map(|path| match path.split_once(": ") {
            Some(("only here", path)) => format!("only there: {path}"),
            Some((_, path)) => format!("only here: {path}"),
            None => path.clone(),
        });
        assert_eq!(
            there.iter().collect::<BTreeSet<_>>(),
            turned.collect::<Vec<_>>().iter().collect(),
            "{line}"
        );
        keys += 1;
    }
    assert!(keys > 50, "{keys}");
}

/// A key that is added to the file, but not to the text above, fails here.
#[test]
fn every_known_key_is_among_them() {
    let mut written: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut section = "";
    for line in EVERYTHING.lines() {
        if line.starts_with('[') {
            section = line;
        } else if line.contains('=') {
            let key = line.trim_start_matches('#').split(' ').next().unwrap_or_default();
            written.entry(section).or_default().insert(key);
        }
    }
    assert_eq!(written.len(), 6);
    for (section, keys) in written {
        let mut known = BTreeSet::new();
        for (at, _) in EVERYTHING.match_indices(section) {
            let (before, after) = EVERYTHING.split_at(at + section.len());
            let Err(refused) = parse("vipdrift.toml", &format!("{before}\nqqqqqqqqqqqq = 1{after}")) else {
                panic!("a key of {section}")
            };
            let said = refused.to_string();
            let list = said.split("known here: ").nth(1).unwrap_or_else(|| panic!("{said}"));
            let list = list.lines().next().unwrap_or_default().split(", ");
            known.extend(list.map(|key| key.trim_matches('`').to_owned()));
        }
        known.retain(|key| !ELSEWHERE.contains(&key.as_str()));
        assert!(known.iter().eq(keys.iter()), "{section}: {known:?}, {keys:?}");
    }
}

#[test]
fn what_is_there_in_one_file_only_is_named_once() {
    let without = |from: &str, to: &str| {
        let (start, end) = (EVERYTHING.find(from), EVERYTHING.find(to));
        let (start, end) = (start.unwrap_or_default(), end.unwrap_or_default());
        assert!(start < end, "{from}");
        format!("{}{}", &EVERYTHING[..start], &EVERYTHING[end..])
    };
    let hooks = without("[group.hooks]", "[[group]]\nname = \"db\"");
    assert_eq!(differences(EVERYTHING, &hooks)[0], ["only here: group web hooks"]);
    let check = without("[[group.check]]\nunit", "[[group.check]]\nfile");
    assert_eq!(differences(EVERYTHING, &check)[0], ["only here: group web check unit"]);
    let group = EVERYTHING.replace(
        "[control]",
        "[[group]]\nname = \"mail\"\ninterface = \"lan\"\nvips = [\"192.0.2.7/24\"]\n[control]",
    );
    assert_eq!(differences(EVERYTHING, &group)[0], ["only there: group mail"]);
    let other = "icmp = \"192.0.2.1\" #> \"192.0.2.2\" | group web check icmp icmp";
    let named = EVERYTHING.replace(other, "name = \"icmp\"\ntcp = \"192.0.2.1:80\"");
    assert_eq!(
        differences(EVERYTHING, &named)[0],
        ["only here: group web check icmp icmp", "only there: group web check icmp tcp"]
    );
}

#[test]
fn the_order_of_nodes_counts_and_that_of_groups_does_not() {
    let node =
        |name: &str, last: u8| format!("[[node]]\nname = \"{name}\"\naddresses = [\"192.0.2.{last}\"]\n");
    let group = |name: &str, last: u8| {
        format!("[[group]]\nname = \"{name}\"\ninterface = \"eth0\"\nvips = [\"192.0.2.{last}/24\"]\n")
    };
    let head = "[cluster]\nname = \"edge\"\nkey = \"000102030405060708090a0b0c0d0e0f\"\n";
    let (nodes, groups) = ([node("alpha", 11), node("bravo", 12)], [group("web", 100), group("mail", 101)]);
    let file = |parts: [&String; 4]| format!("{head}{}", parts.map(String::as_str).concat());
    let good = file([&nodes[0], &nodes[1], &groups[0], &groups[1]]);
    let other = file([&nodes[1], &nodes[0], &groups[0], &groups[1]]);
    assert_eq!(differences(&good, &other)[0], ["nodes.order"]);
    let other = file([&nodes[0], &nodes[1], &groups[1], &groups[0]]);
    assert_eq!(differences(&good, &other)[0], Vec::<String>::new());
}

/// What a setting says can be neither read nor looked up in what is told to peers.
#[test]
fn no_value_is_in_an_outline() {
    let outline = of(&config(EVERYTHING));
    let text = format!("{outline:?}");
    for secret in ["secret", "--password", "0f0102", "127.0.0.1", "on-active", "deploy"] {
        assert!(EVERYTHING.contains(secret) && !text.contains(secret), "{secret}");
    }
    assert!(outline.settings().iter().all(|setting| !setting.path.contains("key")));
}
