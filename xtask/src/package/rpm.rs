//! The same files as a package for Fedora and its kin.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Stage, files, said};

/// Makes it of what is to be installed, with `rpmbuild`. Answers where it is, or none where there is no such program.
pub(super) fn make(
    stage: &Stage,
    specification: &Path,
    version: &str,
    time: Option<&str>,
    out: &Path,
) -> Result<Option<PathBuf>, String> {
    if Command::new("rpmbuild").arg("--version").output().is_err() {
        return Ok(None);
    }
    let work = out.join("rpm");
    let _ = fs::remove_dir_all(&work);
    let own = Stage(work.join("stage"));
    let mut listed = String::new();
    for file in files(&stage.0)? {
        let place = file.strip_prefix(&stage.0).unwrap_or(&file);
        if place.starts_with("DEBIAN") {
            continue;
        }
        // There, /lib is a link to /usr/lib, which packages are not to go through.
        let place = if place.starts_with("lib") { Path::new("usr").join(place) } else { place.to_owned() };
        // Debian keeps what others bring for zsh apart.
        let place = place.display().to_string().replace("/zsh/vendor-completions/", "/zsh/site-functions/");
        let mode = fs::metadata(&file).map_err(|error| format!("{}: {error}", file.display()))?.permissions();
        own.copy(&file, &place, mode.mode() & 0o777)?;
        let kind = if place.contains("/LICENSE-") { "%license " } else { "" };
        listed += &format!("%attr(-, root, root) {kind}/{place}\n");
    }
    listed += "%dir /usr/share/doc/vipdrift\n%dir /usr/share/doc/vipdrift/examples\n%dir /usr/share/doc/vipdrift/monitoring\n";
    let list = work.join("files");
    fs::write(&list, listed).map_err(|error| format!("{}: {error}", list.display()))?;

    let mut build = Command::new("rpmbuild");
    build.arg("-bb").arg("--quiet");
    for (name, value) in [
        ("_topdir", work.as_path()),
        ("_rpmdir", &work.join("made")),
        ("version", Path::new(version)),
        ("stage", &own.0),
        ("listed", &list),
    ] {
        build.arg("--define").arg(format!("{name} {}", value.display()));
    }
    build.arg(specification);
    // Without the macros of whoever builds.
    build.env("HOME", &work);
    if let Some(time) = time {
        build.env("SOURCE_DATE_EPOCH", time);
    }
    said(&mut build)?;
    let made = files(&work.join("made"))?.pop().ok_or("rpmbuild made nothing")?;
    let package = out.join(made.file_name().unwrap_or_default());
    fs::copy(&made, &package).map_err(|error| format!("{}: {error}", made.display()))?;
    let _ = fs::remove_dir_all(&work);
    Ok(Some(package))
}
