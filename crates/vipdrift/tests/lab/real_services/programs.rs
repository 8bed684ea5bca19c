//! Finding and starting the services' programs.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::BINARY;

/// A program, with what `cargo xtask test` has unpacked for it, or as its Debian package has it.
pub(crate) fn find(program: &str) -> PathBuf {
    let unpacked = Path::new(BINARY).ancestors().nth(2).map(|target| target.join("tools/bin"));
    let postgresql = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    // Before the search path: there Debian has a script that looks for clusters of its own first.
    let postgresql = postgresql.map(|version| version.path().join("bin"));
    let postgresql = postgresql.filter(|folder| folder.join("postgres").is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = postgresql.max().into_iter().chain(unpacked).chain(std::env::split_paths(&path));
    folders
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{program} is missing: `cargo xtask test` brings it"))
}

/// The program as somebody other than root, which PostgreSQL insists on. A user namespace does that for root and for
/// ordinary users alike, and whoever it is still has the files of whoever runs the tests.
pub(crate) fn as_nobody(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user=65534", "--map-group=65534", "--"]).arg(find(program));
    command.env("HOME", "/run").env("LC_ALL", "C");
    command
}

/// The same with arguments.
pub(crate) fn as_nobody_with<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Command {
    let mut command = as_nobody(program);
    command.args(arguments);
    command
}
