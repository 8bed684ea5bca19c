//! Which package may import which.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::{Edge, Metadata};

/// What a package may import of this project, in its tests too.
const WALLS: [(&str, Imports); 11] = [
    ("vipdrift-wire", Imports::Only(&[])),
    ("vipdrift-core", Imports::Only(&["vipdrift-wire"])),
    ("vipdrift-platform", Imports::Only(&[])),
    ("vipdrift-checks", Imports::Only(&["vipdrift-platform", "vipdrift-wire"])),
    ("vipdrift-control", Imports::Only(&[])),
    ("vipdrift-lab", Imports::Only(&[])),
    ("vipdrift-sim", Imports::Only(&["vipdrift-core", "vipdrift-wire"])),
    ("vipdrift", Imports::Anything),
    // It runs vipdrift as it runs its peers; core and wire are for the micro-benchmarks, and for reading frames.
    ("vipdrift-bench", Imports::Only(&["vipdrift-core", "vipdrift-lab", "vipdrift-wire"])),
    (
        "vipdrift-fuzz",
        Imports::Only(&["vipdrift", "vipdrift-control", "vipdrift-core", "vipdrift-sim", "vipdrift-wire"]),
    ),
    ("xtask", Imports::Only(&[])),
];

enum Imports {
    Anything,
    Only(&'static [&'static str]),
}

/// Packages that do no input or output of any kind.
pub(crate) const PURE: [&str; 2] = ["vipdrift-wire", "vipdrift-core"];

/// Libraries that do input or output, read clocks, or draw randomness: never below a pure package.
const IMPURE: [&str; 26] = [
    "async-std",
    "chrono",
    "fastrand",
    "getrandom",
    "hyper",
    "jiff",
    "libc",
    "linux-raw-sys",
    "log",
    "mio",
    "nix",
    "polling",
    "quanta",
    "rand",
    "rand_core",
    "rustix",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tracing",
    "web-time",
    "winapi",
    "windows",
    "windows-sys",
];

/// Imports that are let through, and why.
const HARMLESS: [(&str, &str); 1] = [
    // On ARM it asks libc which instructions the processor has (getauxval), once.
    ("cpufeatures", "libc"),
];

/// All breaches of the walls.
pub(crate) fn check(metadata: &Metadata) -> Vec<String> {
    let names = metadata.names();
    let name = |id: &str| names.get(id).copied().unwrap_or_default().to_owned();
    let ours: BTreeSet<&str> = metadata.workspace_members.iter().map(String::as_str).collect();
    let mut imports = Vec::new();
    let mut tree: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in &metadata.resolve.nodes {
        for edge in &node.deps {
            if ours.contains(node.id.as_str()) && ours.contains(edge.pkg.as_str()) {
                imports.push((name(&node.id), name(&edge.pkg)));
            }
            if is_normal(edge) {
                tree.entry(name(&node.id)).or_default().insert(name(&edge.pkg));
            }
        }
    }
    let members = metadata.members().map(|package| package.name.as_str());
    let mut breaches = between_rooms(members, &imports);
    breaches.extend(PURE.iter().flat_map(|package| below(package, &tree)));
    breaches
}

fn is_normal(edge: &Edge) -> bool {
    edge.dep_kinds.iter().any(|kind| kind.kind.is_none())
}

fn between_rooms<'a>(members: impl Iterator<Item = &'a str>, imports: &[(String, String)]) -> Vec<String> {
    let mut breaches = Vec::new();
    for member in members {
        let Some((_, allowed)) = WALLS.iter().find(|(name, _)| *name == member) else {
            breaches.push(format!("{member}: no row in WALLS says what it may import"));
            continue;
        };
        let Imports::Only(allowed) = allowed else { continue };
        for (_, import) in imports.iter().filter(|(package, _)| package == member) {
            if !allowed.contains(&import.as_str()) {
                breaches.push(format!("{member} may not import {import}"));
            }
        }
    }
    breaches
}

/// Impure libraries below a package, each with the way to it.
fn below(package: &str, tree: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![package]];
    while let Some(way) = ways.pop() {
        let last = way.last().copied().unwrap_or_default();
        for next in tree.get(last).into_iter().flatten() {
            if HARMLESS.contains(&(last, next)) || !seen.insert(next) {
                continue;
            }
            let way = [&way[..], &[next.as_str()]].concat();
            if IMPURE.contains(&next.as_str()) {
                breaches.push(format!("{package} must do no input or output: {}", way.join(" -> ")));
            } else {
                ways.push(way);
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(edges: &[(&str, &str)]) -> BTreeMap<String, BTreeSet<String>> {
        let mut tree: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in edges {
            tree.entry((*from).into()).or_default().insert((*to).into());
        }
        tree
    }

    #[test]
    fn rooms() {
        let imports = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect()
        };
        let members = || ["vipdrift-wire", "vipdrift-core", "vipdrift"].into_iter();
        let good = imports(&[("vipdrift-core", "vipdrift-wire"), ("vipdrift", "vipdrift-core")]);
        assert_eq!(between_rooms(members(), &good), Vec::<String>::new());
        let bad = imports(&[("vipdrift-wire", "vipdrift-core"), ("vipdrift-core", "vipdrift")]);
        assert_eq!(
            between_rooms(members(), &bad),
            ["vipdrift-wire may not import vipdrift-core", "vipdrift-core may not import vipdrift"]
        );
        assert_eq!(
            between_rooms(["vipdrift-new"].into_iter(), &[]),
            ["vipdrift-new: no row in WALLS says what it may import"]
        );
    }

    #[test]
    fn impure_libraries_are_found_however_deep() {
        let good = tree(&[("vipdrift-core", "sha2"), ("sha2", "cpufeatures"), ("cpufeatures", "libc")]);
        assert_eq!(below("vipdrift-core", &good), Vec::<String>::new());
        let bad = tree(&[("vipdrift-core", "vipdrift-wire"), ("vipdrift-wire", "fast"), ("fast", "libc")]);
        assert_eq!(
            below("vipdrift-core", &bad),
            ["vipdrift-core must do no input or output: vipdrift-core -> vipdrift-wire -> fast -> libc"]
        );
        // Harmless on one way does not make it harmless on another.
        let both = tree(&[("a", "cpufeatures"), ("cpufeatures", "libc"), ("a", "b"), ("b", "libc")]);
        assert_eq!(below("a", &both), ["a must do no input or output: a -> b -> libc"]);
    }
}
