//! What people install on Windows: a zip, and an installer that takes everything away again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::toolchain::{self, GNU};
use super::{PROGRAM, bounded, packages};
use crate::metadata::Metadata;

/// A release takes minutes to be built.
const LIMIT: Duration = Duration::from_secs(1800);
/// Making a file of another takes seconds.
const SOON: Duration = Duration::from_secs(120);

/// Builds the program as it is released, and both packages of it.
pub(crate) fn release(metadata: &Metadata) -> Result<(), String> {
    packages::ensure()?;
    let mut cargo = toolchain::compile(metadata, "build", GNU);
    cargo.args(["--release", "--package", PROGRAM, "--bin", PROGRAM]);
    bounded::run("cargo build", &mut cargo, LIMIT)?;
    let program = toolchain::folder(metadata).join(GNU).join("release").join(format!("{PROGRAM}.exe"));
    for file in make(metadata, &program, Aim::Small)? {
        let size = fs::metadata(&file).map_or(0, |data| data.len());
        println!("{} ({:.1} MB)", file.display(), size as f64 / 1e6);
    }
    Ok(())
}

/// What counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Packages as small as they can be.
    Small,
    /// Having them soon.
    Soon,
}

/// Makes both packages of a program. Returns the installer and the zip.
pub(crate) fn make(metadata: &Metadata, program: &Path, aim: Aim) -> Result<[PathBuf; 2], String> {
    let out = toolchain::folder(metadata).join("packages");
    let version = metadata.version(PROGRAM).ok_or("vipdrift has no version")?;
    let name = format!("{PROGRAM}-{version}");
    let failed = |error: std::io::Error| format!("{}: {error}", out.display());
    let content = out.join(&name);
    let _ = fs::remove_dir_all(&content);
    fs::create_dir_all(&content).map_err(failed)?;
    let root = &metadata.workspace_root;
    let own = root.join("packaging/windows");
    let files = [
        (program.to_owned(), format!("{PROGRAM}.exe")),
        (own.join("vipdrift.toml"), "vipdrift.example.toml".to_owned()),
        (root.join("docs/windows.md"), "README.md".to_owned()),
        (root.join("LICENSE-MIT"), "LICENSE-MIT.txt".to_owned()),
        (root.join("LICENSE-APACHE"), "LICENSE-APACHE.txt".to_owned()),
    ];
    for (from, to) in &files {
        fs::copy(from, content.join(to)).map_err(|error| format!("{}: {error}", from.display()))?;
    }
    let setup = out.join(format!("{name}-setup.exe"));
    let mut makensis = Command::new("makensis");
    makensis.args(["-V2", &format!("-DVERSION={version}")]);
    if aim == Aim::Soon {
        makensis.arg("-DQUICK");
    }
    makensis.arg(format!("-DCONTENT={}", content.display())).arg(format!("-DOUT={}", setup.display()));
    bounded::run("makensis", makensis.arg(own.join("installer.nsi")), SOON)?;
    let zip = out.join(format!("{name}-windows-x86_64.zip"));
    let _ = fs::remove_file(&zip);
    let mut zipper = Command::new("zip");
    zipper.current_dir(&out).args(["-q", "-r", "-X"]).arg(&zip).arg(&name);
    bounded::run("zip", &mut zipper, SOON)?;
    Ok([setup, zip])
}
