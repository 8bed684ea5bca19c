//! The workspace as cargo sees it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

/// The parts of `cargo metadata` that are looked at here.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    pub(crate) resolve: Resolve,
    pub(crate) target_directory: PathBuf,
    pub(crate) workspace_root: PathBuf,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) id: String,
    pub(crate) manifest_path: PathBuf,
    /// What its manifest asks for, on any platform, of any kind.
    pub(crate) dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

/// What cargo makes of a package.
#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    /// `cargo test` runs it.
    test: bool,
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
}

#[derive(Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

/// What a package got.
#[derive(Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<Edge>,
}

#[derive(Deserialize)]
pub(crate) struct Edge {
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
pub(crate) struct Kind {
    /// `None` for an ordinary dependency, else "dev" or "build".
    pub(crate) kind: Option<String>,
}

impl Metadata {
    /// The version of a package of the workspace.
    pub(crate) fn version(&self, package: &str) -> Option<&str> {
        let ours = self.packages.iter().filter(|known| self.workspace_members.contains(&known.id));
        ours.filter(|known| known.name == package).map(|known| known.version.as_str()).next()
    }

    pub(crate) fn load() -> Result<Self, String> {
        let output = Command::new(cargo())
            .args(["metadata", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cargo metadata does not start: {error}"))?;
        if !output.status.success() {
            return Err(format!("cargo metadata: {}", output.status));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
    }

    /// The packages of this workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    pub(crate) fn names(&self) -> BTreeMap<&str, &str> {
        self.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect()
    }
}

impl Package {
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().expect("a manifest is in a folder")
    }

    /// The names of the test programs in its `tests` that `cargo test` runs.
    pub(crate) fn test_programs(&self) -> impl Iterator<Item = &str> {
        let runs = |target: &&Target| target.test && target.kind.iter().any(|kind| kind == "test");
        self.targets.iter().filter(runs).map(|target| target.name.as_str())
    }
}

/// The cargo that started this program.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}
