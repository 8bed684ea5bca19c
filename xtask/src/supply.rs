//! What comes in with dependencies: judged by cargo-deny, listed by cargo-cyclonedx. Both are built here when they are missing.

use std::path::{Path, PathBuf};

use crate::metadata::Metadata;
use crate::suite;

/// Licences, bans and sources, by deny.toml. Advisories need a database from elsewhere and are for whoever releases.
pub(crate) fn judge(metadata: &Metadata) -> Result<(), String> {
    let program = tool(metadata, "cargo-deny", "0.20.2")?;
    let mut deny = suite::prepare(std::process::Command::new(program), metadata);
    // What is said of duplicates fills pages; what is refused is said anyway.
    deny.args([
        "--log-level",
        "error",
        "--all-features",
        "--offline",
        "check",
        "bans",
        "licenses",
        "sources",
    ]);
    suite::finish(&mut deny)
}

/// A list of everything in the program (CycloneDX), written to this file, and dated so (seconds since 1970).
pub(crate) fn list(metadata: &Metadata, to: &Path, time: Option<&str>) -> Result<(), String> {
    let program = tool(metadata, "cargo-cyclonedx", "0.5.9")?;
    let mut cyclone = suite::prepare(std::process::Command::new(program), metadata);
    let manifest = metadata.workspace_root.join("crates/vipdrift/Cargo.toml");
    cyclone
        .args(["cyclonedx", "--format", "json", "--describe", "binaries", "--manifest-path"])
        .arg(&manifest);
    // It leaves out its random number then, too.
    if let Some(time) = time {
        cyclone.env("SOURCE_DATE_EPOCH", time);
    }
    suite::finish(&mut cyclone)?;
    let made = metadata.workspace_root.join("crates/vipdrift/vipdrift_bin.cdx.json");
    // The folder that it was made in says nothing to anybody.
    let here = format!("path+file://{}", metadata.workspace_root.display());
    let copied = std::fs::read_to_string(&made)
        .and_then(|text| std::fs::write(to, text.replace(&here, "path+file:///vipdrift")))
        .map_err(|error| format!("{}: {error}", made.display()));
    // It writes one beside each program of the workspace.
    for package in &metadata.packages {
        let folder =
            package.manifest_path.parent().filter(|folder| folder.starts_with(&metadata.workspace_root));
        for entry in folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten()
        {
            if entry.file_name().to_string_lossy().ends_with("_bin.cdx.json") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
    copied
}

fn tool(metadata: &Metadata, name: &str, version: &str) -> Result<PathBuf, String> {
    let root = metadata.target_directory.join(format!("tools/{name}-{version}"));
    let program = root.join("bin").join(name);
    if !program.exists() {
        let mut install = suite::command(metadata);
        install.args(["install", "--locked", "--quiet", name, "--version", version, "--root"]).arg(&root);
        suite::finish(&mut install)?;
    }
    Ok(program)
}
