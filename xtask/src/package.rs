//! What people install on Linux: a package with program, unit, manual, completions and examples.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::metadata::Metadata;
use crate::{suite, supply, tools};

mod rpm;

const PROGRAM: &str = "vipdrift";

/// Builds the program as it is released, and the package of it.
pub(crate) fn release(metadata: &Metadata) -> Result<(), String> {
    let mut cargo = suite::command(metadata);
    cargo.args(["build", "--release", "--locked", "--package", PROGRAM]);
    // The same program from whichever folder it is built in.
    cargo.env("RUSTFLAGS", flags(metadata, "--remap-path-prefix=", " "));
    cargo.env("CFLAGS", flags(metadata, "-ffile-prefix-map=", " "));
    cargo.env("CARGO_TARGET_DIR", metadata.target_directory.join("package"));
    suite::finish(&mut cargo)?;
    let program = metadata.target_directory.join("package/release").join(PROGRAM);
    let out = metadata.target_directory.join("debian");
    // What an earlier build has left is not to be taken for this one's.
    for old in if out.exists() { list(&out)? } else { Vec::new() } {
        if old.extension().is_some_and(|kind| kind == "deb" || kind == "rpm" || kind == "json") {
            fs::remove_file(&old).map_err(|error| format!("{}: {error}", old.display()))?;
        }
    }
    let package = make(metadata, &program, Aim::Small)?;
    let parts = package.with_extension("cdx.json");
    supply::list(metadata, &parts, time_of_commit(metadata).as_deref())?;
    let specification = metadata.workspace_root.join("packaging/rpm/vipdrift.spec");
    let version = metadata.version(PROGRAM).ok_or("vipdrift has no version")?;
    let time = time_of_commit(metadata);
    let other = rpm::make(&Stage(out.join("stage")), &specification, version, time.as_deref(), &out)?;
    if other.is_none() {
        println!("no .rpm: rpmbuild is not there (apt-get install rpm)");
    }
    // Who builds the same with the same gets the same.
    let mut git = Command::new("git");
    git.current_dir(&metadata.workspace_root).args(["describe", "--always", "--dirty", "--abbrev=40"]);
    let commit = said(&mut git);
    println!("commit: {}", commit.as_deref().unwrap_or("none, so the time is that of the build"));
    if commit.is_ok_and(|commit| commit.ends_with("-dirty")) {
        println!("WARNING: there are changes that are not committed; nobody else gets the same");
    }
    println!("built with:");
    for tool in ["rustc", "cargo", "cc", "ld", "ldd", "gzip", "xz", "dpkg-deb", "rpmbuild"] {
        if let Ok(version) = said(Command::new(tool).arg("--version")) {
            println!("  {}", version.lines().next().unwrap_or_default());
        }
    }
    println!("sha256, size, file:");
    for file in [Some(program), Some(package), other, Some(parts)].into_iter().flatten() {
        let size = fs::metadata(&file).map_or(0, |data| data.len());
        let sum = said(Command::new("sha256sum").arg(&file))?;
        let sum = sum.split(' ').next().unwrap_or_default();
        println!("{sum} {:.1} MB {}", size as f64 / 1e6, file.display());
    }
    Ok(())
}

/// What the test of the package needs, and how it is called there: a clean Debian, and the package of the program as it was just built.
/// Only root can start a machine of its own.
pub(crate) fn ready(metadata: &Metadata) -> Result<Vec<(&'static str, PathBuf)>, String> {
    if !tools::is_root() {
        return Err("a clean Debian can be started by root only: sudo cargo xtask test".to_owned());
    }
    let package = make(metadata, &metadata.target_directory.join("debug").join(PROGRAM), Aim::Soon)?;
    Ok(vec![("VIPDRIFT_PACKAGE", package), ("VIPDRIFT_ROOT", clean_root(metadata)?)])
}

/// A minimal Debian, fetched once, from where this machine fetches its packages.
fn clean_root(metadata: &Metadata) -> Result<PathBuf, String> {
    let root = metadata.target_directory.join("debian/root");
    // The last that is made of it.
    let whole = metadata.target_directory.join("debian/root.is-whole");
    if whole.exists() {
        return Ok(root);
    }
    let format = "$(ORIGIN) $(REPO_URI) $(CODENAME)";
    let sources =
        said(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    let usual = "http://deb.debian.org/debian bookworm";
    // Debian's own, and of those neither updates nor backports.
    let main = sources
        .lines()
        .filter_map(|line| line.strip_prefix("Debian "))
        .find(|line| line.rsplit(' ').next().is_some_and(|release| !release.contains('-')));
    let (mirror, release) = main.unwrap_or(usual).split_once(' ').ok_or("no source of packages")?;
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    let mut command = Command::new("debootstrap");
    command
        .args(["--variant=minbase", "--include=systemd,systemd-sysv,iproute2", release])
        .arg(&root)
        .arg(mirror);
    said(&mut command)?;
    fs::write(&whole, "").map_err(|error| format!("{}: {error}", whole.display()))?;
    Ok(root)
}

/// What counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// A package as small as it can be.
    Small,
    /// Having it soon.
    Soon,
}

/// Folders that a compiler would write into what it makes.
fn flags(metadata: &Metadata, option: &str, between: &str) -> String {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let folders = [(Some(metadata.workspace_root.clone()), "/vipdrift"), (home, "/cargo")];
    let flag = |(from, to): (Option<PathBuf>, &str)| Some(format!("{option}{}={to}", from?.display()));
    folders.into_iter().filter_map(flag).collect::<Vec<_>>().join(between)
}

/// Makes the package of a program. Answers where it is.
pub(crate) fn make(metadata: &Metadata, program: &Path, aim: Aim) -> Result<PathBuf, String> {
    let root = &metadata.workspace_root;
    let version = metadata.version(PROGRAM).ok_or("vipdrift has no version")?;
    let architecture = said(Command::new("dpkg").arg("--print-architecture"))?;
    let out = metadata.target_directory.join("debian");
    let stage = Stage(out.join("stage"));
    let _ = fs::remove_dir_all(&stage.0);
    let own = root.join("packaging/debian");

    stage.copy(program, "usr/bin/vipdrift", 0o755)?;
    if aim == Aim::Soon {
        said(Command::new("strip").arg("--strip-debug").arg(stage.0.join("usr/bin/vipdrift")))?;
    }
    stage.copy(&own.join("vipdrift.service"), "lib/systemd/system/vipdrift.service", 0o644)?;
    stage.copy(&own.join("vipdrift.sysusers"), "usr/lib/sysusers.d/vipdrift.conf", 0o644)?;
    for (shell, place) in [
        ("bash", "usr/share/bash-completion/completions/vipdrift"),
        ("zsh", "usr/share/zsh/vendor-completions/_vipdrift"),
        ("fish", "usr/share/fish/vendor_completions.d/vipdrift.fish"),
    ] {
        stage.write(place, &said(Command::new(program).args(["completions", shell]))?, 0o644)?;
    }
    let manual = out.join("manual");
    let _ = fs::remove_dir_all(&manual);
    said(Command::new(program).args(["man", "--out"]).arg(&manual))?;
    for page in list(&manual)? {
        let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let section = name.rsplit('.').next().unwrap_or("1");
        let place = format!("usr/share/man/man{section}/{name}");
        stage.copy(&page, &place, 0o644)?;
        let page = stage.0.join(place);
        said(Command::new("gzip").args(["-9", "-n"]).arg(&page))?;
    }
    let doc = "usr/share/doc/vipdrift";
    for (from, to) in [
        ("packaging/debian/copyright", "copyright"),
        ("LICENSE-MIT", "LICENSE-MIT"),
        ("LICENSE-APACHE", "LICENSE-APACHE"),
        ("README.md", "README.md"),
        ("CHANGELOG.md", "changelog"),
    ] {
        stage.copy(&root.join(from), &format!("{doc}/{to}"), 0o644)?;
    }
    said(Command::new("gzip").args(["-9", "-n"]).arg(stage.0.join(doc).join("changelog")))?;
    for folder in ["docs/examples", "monitoring"] {
        let name = if folder == "monitoring" { "monitoring" } else { "examples" };
        for file in list(&root.join(folder))? {
            let last = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            stage.copy(&file, &format!("{doc}/{name}/{last}"), 0o644)?;
        }
    }

    let size: u64 = files(&stage.0)?.iter().map(|file| fs::metadata(file).map_or(0, |data| data.len())).sum();
    let sums: String = files(&stage.0)?
        .iter()
        .map(|file| {
            let name = file.strip_prefix(&stage.0).unwrap_or(file);
            Ok(said(Command::new("md5sum").current_dir(&stage.0).arg(name))? + "\n")
        })
        .collect::<Result<_, String>>()?;
    // What it was linked with is what it needs.
    let libc = said(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "libc6"]))?;
    let libc = libc.split('-').next().unwrap_or_default();
    let control = format!(
        "Package: vipdrift\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: The vipdrift authors <vipdrift@localhost>\n\
         Installed-Size: {}\nDepends: libc6 (>= {libc}), libgcc-s1, systemd\nSection: net\nPriority: optional\n\
         Description: virtual IP failover without a database\n \
         A virtual IP address that drifts to a healthy machine when the one that holds it\n \
         fails: fast, and never to two. One program and one file on each node; no database,\n \
         no lock service, no cluster stack.\n",
        size.div_ceil(1024)
    );
    stage.write("DEBIAN/control", &control, 0o644)?;
    stage.write("DEBIAN/md5sums", &sums, 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        stage.copy(&own.join(script), &format!("DEBIAN/{script}"), 0o755)?;
    }
    let package = out.join(format!("vipdrift_{version}_{architecture}.deb"));
    let mut build = Command::new("dpkg-deb");
    let compression = if aim == Aim::Small { "-Zxz" } else { "-Znone" };
    build.args(["--root-owner-group", compression, "--build"]).arg(&stage.0).arg(&package);
    // What several threads make depends on how many they are.
    build.env("DPKG_DEB_THREADS_MAX", "1");
    if let Some(time) = time_of_commit(metadata) {
        build.env("SOURCE_DATE_EPOCH", time);
    }
    said(&mut build)?;
    Ok(package)
}

/// Seconds since 1970, so that the same commit makes the same package (reproducible-builds.org, SOURCE_DATE_EPOCH).
fn time_of_commit(metadata: &Metadata) -> Option<String> {
    let mut commit = Command::new("git");
    commit.current_dir(&metadata.workspace_root).args(["log", "-1", "--format=%ct"]);
    said(&mut commit).ok()
}

/// What will be installed.
struct Stage(PathBuf);

impl Stage {
    fn place(&self, to: &str) -> Result<PathBuf, String> {
        let place = self.0.join(to);
        let folder = place.parent().ok_or("no folder")?;
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        // Whatever whoever builds is used to (umask).
        let mut above = folder.ancestors().take_while(|folder| folder.starts_with(&self.0));
        above.try_for_each(|folder| set_mode(folder, 0o755))?;
        Ok(place)
    }

    fn copy(&self, from: &Path, to: &str, mode: u32) -> Result<(), String> {
        let place = self.place(to)?;
        fs::copy(from, &place).map_err(|error| format!("{}: {error}", from.display()))?;
        set_mode(&place, mode)
    }

    fn write(&self, to: &str, text: &str, mode: u32) -> Result<(), String> {
        let place = self.place(to)?;
        let ended = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
        fs::write(&place, ended).map_err(|error| format!("{}: {error}", place.display()))?;
        set_mode(&place, mode)
    }
}

fn set_mode(file: &Path, mode: u32) -> Result<(), String> {
    let mode = fs::Permissions::from_mode(mode);
    fs::set_permissions(file, mode).map_err(|error| format!("{}: {error}", file.display()))
}

/// Files of a folder, by name.
fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut files: Vec<PathBuf> =
        entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// Files below a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() { all.extend(files(&path)?) } else { all.push(path) }
    }
    all.sort();
    Ok(all)
}

/// What a command prints.
fn said(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
