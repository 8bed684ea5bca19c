//! What is said of the keys against what the parser does with them, and the document that is made of it.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::{Config, outline, parse};
use super::{TABLES, Without, markdown};

/// A file that has each table once, with nothing in it that could be left out, and a place for more.
const LEAST: &str = "\
[cluster]
name = \"edge\"
key = \"000102030405060708090a0b0c0d0e0f\"
# [cluster]
[[node]]
name = \"alpha\"
addresses = [\"192.0.2.11\"]
# [[node]]
[[node]]
name = \"bravo\"
addresses = [\"192.0.2.12\"]
[[group]]
name = \"web\"
interface = \"eth0\"
vips = [\"192.0.2.100/24\"]
# [[group]]
[[group.check]]
http = \"https://127.0.0.1/\"
# [[group.check]]
[group.hooks]
active = [\"/bin/true\"]
# [group.hooks]
[control]
# [control]
";

fn with(title: &str, line: &str) -> Result<Config, String> {
    let text = LEAST.replacen(&format!("# {title}\n"), &format!("{line}\n"), 1);
    assert_ne!(text, LEAST, "{title}");
    parse("vipdrift.toml", &text).map_err(|why| why.to_string())
}

#[test]
fn every_key_that_the_parser_knows_is_told_of_and_no_other() {
    for table in &TABLES {
        let said = with(table.title, "qqqqqqqqqqqq = 1").expect_err("no such key");
        let list = said.split("known here: ").nth(1).unwrap_or_else(|| panic!("{said}"));
        let known: BTreeSet<_> = list
            .lines()
            .next()
            .unwrap_or_default()
            .split(", ")
            .map(|key| key.trim_matches('`').to_owned())
            .collect();
        let mut told: BTreeSet<_> =
            table.keys.iter().flat_map(|key| key.names).map(|name| (*name).to_owned()).collect();
        // Tables within this one, which have rows of their own; keys of the other kinds of checks; Windows alone.
        told.extend(known.iter().filter(|name| ["check", "hooks"].contains(&name.as_str())).cloned());
        let missing: Vec<_> = known.difference(&told).collect();
        assert!(missing.is_empty(), "{} does not tell of {missing:?}", table.title);
        let of_checks = table.title == "[[group.check]]";
        let more: Vec<_> = told
            .difference(&known)
            .filter(|name| !of_checks || *name != "user" && *name != "service")
            .collect();
        assert!(more.is_empty(), "{} knows no {more:?}", table.title);
    }
}

#[test]
fn a_default_is_what_holds_without_the_key() {
    let without = with("[control]", "").unwrap_or_else(|why| panic!("{why}"));
    for table in &TABLES {
        for key in table.keys {
            let Without::Is(value) = key.default else { continue };
            for name in key.names {
                let with =
                    with(table.title, &format!("{name} = {value}")).unwrap_or_else(|why| panic!("{why}"));
                let same = outline::of(&with).digest() == outline::of(&without).digest();
                assert!(same, "{} {name} = {value} is not the default", table.title);
                // What the nodes need not agree on.
                assert_eq!(with.control.http, without.control.http, "{name}");
                assert_eq!(with.cluster.user, without.cluster.user, "{name}");
                assert_eq!(with.cluster.journal.is_none(), without.cluster.journal.is_none(), "{name}");
            }
        }
    }
}

/// With `VIPDRIFT_WRITE` set, the document is written anew.
#[test]
fn the_document_is_made_of_it() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let before = std::fs::read_to_string(&file).expect("docs/configuration.md");
    let mut after = before.clone();
    for table in &TABLES {
        let (begin, end) = (format!("<!-- {} -->\n", table.title), "<!-- end -->\n");
        let start =
            after.find(&begin).unwrap_or_else(|| panic!("no place for {}", table.title)) + begin.len();
        let stop = start + after[start..].find(end).expect("an end");
        after.replace_range(start..stop, &markdown(table));
    }
    if std::env::var_os("VIPDRIFT_WRITE").is_some() {
        std::fs::write(&file, &after).expect("writes");
    } else {
        assert!(
            before == after,
            "docs/configuration.md is old: VIPDRIFT_WRITE=1 cargo test -p vipdrift --lib reference"
        );
    }
}
