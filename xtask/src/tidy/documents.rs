//! Rules of the documents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::metadata::Metadata;

/// The table of dependencies (a row each: name, why, where) has every dependency of every manifest, and no
/// other.
pub(crate) fn dependencies(text: &str, metadata: &Metadata) -> Vec<String> {
    let ours: BTreeSet<&str> = metadata.members().map(|package| package.name.as_str()).collect();
    let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata.members() {
        let short = package.name.strip_prefix("vipdrift-").unwrap_or(&package.name);
        for dependency in package.dependencies.iter().filter(|found| !ours.contains(found.name.as_str())) {
            wanted.entry(&dependency.name).or_default().insert(short);
        }
    }
    compare(text, &wanted)
}

fn compare(text: &str, wanted: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    const FILE: &str = "docs/dependencies.md";
    let mut breaches = Vec::new();
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, why, places, _] = cells[..] else {
            breaches.push(format!("{FILE}: a row has three cells: {line}"));
            continue;
        };
        let name = name.trim_matches('`');
        if why.is_empty() {
            breaches.push(format!("{FILE}: nothing says why `{name}` is needed"));
        }
        found.insert(name, places.split(", ").collect::<BTreeSet<_>>());
    }
    for (name, places) in wanted {
        let row: Vec<&str> = places.iter().copied().collect();
        if found.get(name) != Some(places) {
            breaches.push(format!("{FILE}: a row is needed: | `{name}` | why | {} |", row.join(", ")));
        }
    }
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        breaches.push(format!("{FILE}: no manifest asks for `{name}`"));
    }
    breaches
}

/// Every link to a local file leads to one.
pub(crate) fn links(file: &Path, text: &str) -> Vec<String> {
    let folder = file.parent().unwrap_or(Path::new(""));
    targets(text)
        .into_iter()
        .filter(|target| {
            !target.contains("://") && !target.starts_with(['#', '/']) && !target.starts_with("mailto:")
        })
        .filter(|target| !folder.join(target.split('#').next().unwrap_or(target)).exists())
        .map(|target| format!("{}: the link to {target} leads nowhere", file.display()))
        .collect()
}

/// Targets of all links and pictures, code left out.
fn targets(text: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let mut code = false;
        let mut rest = line;
        while let Some(position) = rest.find(['`', ']']) {
            let (_, tail) = rest.split_at(position);
            if tail.starts_with('`') {
                code = !code;
            } else if !code && let Some(link) = tail.strip_prefix("](") {
                let end = link.find([')', ' ']).unwrap_or(link.len());
                targets.push(&link[..end]);
            }
            rest = &tail[1..];
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let wanted = BTreeMap::from([
            ("nix", BTreeSet::from(["lab", "platform"])),
            ("toml", BTreeSet::from(["vipdrift"])),
        ]);
        let good = "| Crate | Why | Where |\n|---|---|---|\n| `nix` | system calls | lab, platform |\n\
                    | `toml` | configuration | vipdrift |\n";
        assert_eq!(compare(good, &wanted), Vec::<String>::new());
        let bad = "| `nix` | | lab |\n| `time` | clocks | lab |\n| `toml` | vipdrift |\n";
        assert_eq!(
            compare(bad, &wanted),
            [
                "docs/dependencies.md: nothing says why `nix` is needed",
                "docs/dependencies.md: a row has three cells: | `toml` | vipdrift |",
                "docs/dependencies.md: a row is needed: | `nix` | why | lab, platform |",
                "docs/dependencies.md: a row is needed: | `toml` | why | vipdrift |",
                "docs/dependencies.md: no manifest asks for `time`",
            ]
        );
    }

    #[test]
    fn links_lead_somewhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("README.md");
        std::fs::write(folder.path().join("a.md"), "").unwrap();
        let good = "[a](a.md) ![b](a.md#part \"title\") [c](https://example.org/x) [d](#here) `[e](none.md)`\n\
                    ```\n[f](none.md)\n```\n";
        assert_eq!(links(&file, good), Vec::<String>::new());
        let bad = links(&file, "[one](none.md) and `code` [![two](x.svg)](a.md)");
        assert_eq!(bad.len(), 2, "{bad:?}");
        assert!(bad[0].ends_with("the link to none.md leads nowhere"));
        assert!(bad[1].ends_with("the link to x.svg leads nowhere"));
    }
}
