//! Rules that no compiler checks. None of them builds anything.

mod documents;
mod source;
mod walls;

use std::fs;
use std::path::{Path, PathBuf};

use crate::metadata::Metadata;

/// Checks every rule.
///
/// # Errors
///
/// Every breach, a line each.
pub(crate) fn check(metadata: &Metadata) -> Result<(), String> {
    let mut breaches = walls::check(metadata);
    breaches.extend(manifests(metadata)?);
    for package in metadata.members() {
        let room = source::Room::of(&package.name);
        for file in files(package.folder(), "rs")? {
            let shown = file.strip_prefix(&metadata.workspace_root).unwrap_or(&file);
            breaches.extend(source::check(shown, &room, &read(&file)?));
        }
    }
    breaches.extend(stand_ins(metadata)?);
    let dependencies = metadata.workspace_root.join("docs/dependencies.md");
    let mut texts = files(&metadata.workspace_root.join("docs"), "md")?;
    texts.extend(
        ["README.md", "LICENSE-MIT", "LICENSE-APACHE"].map(|name| metadata.workspace_root.join(name)),
    );
    if !texts.contains(&dependencies) {
        texts.push(dependencies.clone());
    }
    for file in texts {
        match read(&file) {
            Ok(text) => {
                breaches.extend(documents::links(&file, &text));
                if file == dependencies {
                    breaches.extend(documents::dependencies(&text, metadata));
                }
            }
            Err(error) => breaches.push(error),
        }
    }
    if breaches.is_empty() { Ok(()) } else { Err(breaches.join("\n")) }
}

/// Outside the workspace: what stands in for Windows in tests under wine. It may hold `unsafe` code, and so nothing that is
/// released may ask for it.
const STAND_INS: &str = "wine";

/// Its files are held to the rules of the text, each of its packages is a workspace of its own, and no package of this
/// one asks for them.
fn stand_ins(metadata: &Metadata) -> Result<Vec<String>, String> {
    let folder = metadata.workspace_root.join(STAND_INS);
    let mut breaches = Vec::new();
    for file in files(&folder, "rs")? {
        let shown = file.strip_prefix(&metadata.workspace_root).unwrap_or(&file);
        breaches.extend(source::check(shown, &source::Room::outside(), &read(&file)?));
    }
    for file in files(&folder, "toml")? {
        let shown = file.strip_prefix(&metadata.workspace_root).unwrap_or(&file);
        if !read(&file)?.lines().any(|line| line.trim() == "[workspace]") {
            breaches.push(format!("{}: `[workspace]` is missing: it is no part of ours", shown.display()));
        }
    }
    let asked_for = metadata.packages.iter().filter(|package| package.manifest_path.starts_with(&folder));
    breaches.extend(asked_for.map(|package| format!("no package may ask for {}", package.name)));
    Ok(breaches)
}

/// The packages that may know of faults that are put in on purpose. No daemon is built of them with these.
const KNOWS_FAULTS: [&str; 2] = ["vipdrift-core", "vipdrift-sim"];

/// Every package takes the workspace's lints, which forbid `unsafe`; but the platform, which has its own
/// list. And none but the simulator asks for known faults.
fn manifests(metadata: &Metadata) -> Result<Vec<String>, String> {
    let mut breaches = Vec::new();
    for package in metadata.members() {
        let manifest = read(&package.manifest_path)?;
        let shown = package.manifest_path.display();
        if package.name != source::UNSAFE && !takes_lints(&manifest) {
            breaches.push(format!("{shown}: `[lints] workspace = true` is missing"));
        }
        if !KNOWS_FAULTS.contains(&package.name.as_str()) && manifest.contains("sabotage") {
            breaches.push(format!("{shown}: the feature `sabotage` is the simulator's alone"));
        }
    }
    Ok(breaches)
}

fn takes_lints(manifest: &str) -> bool {
    let lines: Vec<&str> = manifest.lines().map(str::trim).collect();
    lines.windows(2).any(|pair| pair == ["[lints]", "workspace = true"])
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// All files with this extension in a folder and below.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                // Built by hand where no cargo has been told another place.
                if entry.file_name() != "target" {
                    folders.push(entry.path());
                }
            } else if entry.path().extension().is_some_and(|found| found == extension) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_are_taken_or_not() {
        assert!(takes_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(!takes_lints("[package]\nlints = 1\n[lints.rust]\nunsafe_code = \"deny\"\n"));
        assert!(!takes_lints("[lints]\n[dependencies]\nworkspace = true"));
    }

    #[test]
    fn files_below_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/b", "a/target"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        for name in ["a/b/one.rs", "two.rs", "three.md", "a/target/built.rs"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = files(folder.path(), "rs").unwrap();
        assert_eq!(found, [folder.path().join("a/b/one.rs"), folder.path().join("two.rs")]);
        assert!(files(&folder.path().join("none"), "rs").is_err());
    }
}
