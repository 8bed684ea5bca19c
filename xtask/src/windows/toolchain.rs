//! Debian's Rust for Windows, undisturbed by the Rust that runs this program.

use std::path::PathBuf;
use std::process::Command;

use crate::metadata::Metadata;

/// Where the packages put their programs.
pub(crate) const BIN: &str = "/usr/bin";
/// The search path: rustup's programs have the same names.
const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";
/// What has to be built of the library, from its source: Debian has it built for itself only.
const STD: &str = "-Zbuild-std=std,panic_abort,panic_unwind,test,proc_macro";

/// As Microsoft's compiler sees it: no linker here, so it is checked only.
pub(crate) const MSVC: &str = "x86_64-pc-windows-msvc";
/// As MinGW sees it: this is what is linked and run.
pub(crate) const GNU: &str = "x86_64-pc-windows-gnu";

/// What is passed on of the environment. All else could change what is built: this program is run by cargo, which
/// names its own compiler and libraries to it.
const PASSED_ON: [&str; 10] = [
    "HOME",
    "USER",
    "LANG",
    "TERM",
    "TMPDIR",
    "CARGO_HOME",
    "CARGO_BUILD_JOBS",
    "RUST_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// The same, by how it begins: what cargo needs to fetch libraries.
const PASSED_ON_LIKE: [&str; 3] = ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_"];
/// The same, by how it ends.
const PROXIES: &str = "_proxy";

/// Gives a command Debian's programs, and of the environment only what is harmless.
pub(crate) fn environment(command: &mut Command) -> &mut Command {
    command.env_clear();
    command.envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_passed_on)));
    command.env("PATH", PATH)
}

fn is_passed_on(name: &str) -> bool {
    PASSED_ON.contains(&name)
        || PASSED_ON_LIKE.iter().any(|beginning| name.starts_with(beginning))
        || name.to_lowercase().ends_with(PROXIES)
}

/// Where all of this is built.
pub(crate) fn folder(metadata: &Metadata) -> PathBuf {
    metadata.target_directory.join("windows")
}

/// Where the linker's tools leave their temporary files; they do leave some.
pub(crate) fn leftovers(metadata: &Metadata) -> PathBuf {
    folder(metadata).join("tmp")
}

/// Cargo for one of the two targets, to compile: `build`, `clippy`, or `test` with `--no-run`.
pub(crate) fn compile(metadata: &Metadata, verb: &str, target: &str) -> Command {
    let mut command = cargo(metadata, verb, target);
    command.env("TMPDIR", leftovers(metadata));
    command
}

/// Cargo for one of the two targets. Paths of what is run should be short, and there should be nothing left to compile.
pub(crate) fn cargo(metadata: &Metadata, verb: &str, target: &str) -> Command {
    // Cargo looks for programs such as cargo-clippy where rustup has its own first, so this one is called by name.
    let program = if verb == "clippy" { "cargo-clippy" } else { "cargo" };
    let [program, cargo, rustc, rustdoc] =
        [program, "cargo", "rustc", "rustdoc"].map(|program| PathBuf::from(BIN).join(program));
    let mut command = Command::new(program);
    environment(&mut command)
        .current_dir(&metadata.workspace_root)
        .env("CARGO", cargo)
        .env("RUSTC", rustc)
        .env("RUSTDOC", rustdoc)
        // Building the library is not promised to work yet, and so asks for this.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", folder(metadata))
        // A quarter of the time and half of the room; a panic still says where it was.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_INCREMENTAL", "0")
        .args([verb, "--locked", STD, "--target", target]);
    command
}

/// Has cargo lint what it builds of this workspace, as `cargo clippy` has it lint what it only checks (RUSTC_WORKSPACE_WRAPPER):
/// compiled once, not twice. Warnings are errors. Says nothing of what was built before without warnings.
pub(crate) fn lint(command: &mut Command) -> &mut Command {
    let driver = PathBuf::from(BIN).join("clippy-driver");
    // As cargo-clippy hands arguments over, each with this after it.
    let arguments = ["-D", "warnings"].map(|argument| format!("{argument}__CLIPPY_HACKERY__"));
    command.env("RUSTC_WORKSPACE_WRAPPER", driver).env("CLIPPY_ARGS", arguments.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_another_rust_is_passed_on() {
        for name in [
            "RUSTC",
            "RUSTUP_TOOLCHAIN",
            "RUSTFLAGS",
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "CARGO_PROFILE_DEV_DEBUG",
            "LD_LIBRARY_PATH",
        ] {
            assert!(!is_passed_on(name), "{name}");
        }
        for name in ["HOME", "CARGO_HOME", "HTTPS_PROXY", "https_proxy", "CARGO_NET_OFFLINE"] {
            assert!(is_passed_on(name), "{name}");
        }
        let mut command = Command::new("env");
        let output = environment(&mut command).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.lines().any(|line| line == format!("PATH={PATH}")), "{text}");
        assert!(!text.contains("CARGO_MANIFEST_DIR="), "{text}");
    }
}
