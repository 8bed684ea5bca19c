//! The Debian packages of the cross-check: a Rust that brings its library's source, a linker, wine.

use std::path::Path;
use std::process::{Command, Stdio};

use super::toolchain::{BIN, environment};
use crate::tools;

/// Rust as Debian builds browsers with it: rustup's has no source of the library unless one adds it, and the two do
/// not mix.
const PACKAGES: [&str; 9] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-clippy",
    "gcc-mingw-w64-x86-64-win32",
    "wine",
    "wine64",
    // For what is made of it.
    "nsis",
    "zip",
];

/// Where the library's source has to be.
const SOURCE: &str = "/usr/lib/rustlib/src/rust";

/// The oldest Rust that takes this workspace, as `1.95`.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Makes sure that all of them are installed, fit each other, and are new enough: those that a distribution was first
/// released with are not. Root gets them installed.
///
/// # Errors
///
/// Why they are not there, and the command that would bring them.
pub(crate) fn ensure() -> Result<(), String> {
    let by_hand = |error: String| {
        format!(
            "{error}\nto install all of them: apt-get update && apt-get install -y --no-install-recommends {}",
            PACKAGES.join(" ")
        )
    };
    let mut found = fit();
    if found.is_err() && tools::is_root() {
        tools::install_newest(&PACKAGES).map_err(by_hand)?;
        found = fit();
    }
    let version = found.map_err(by_hand)?;
    println!("Rust {version} by Debian, {}", said_by("wine", "--version")?);
    Ok(())
}

/// Their release, if they are as they should be.
fn fit() -> Result<String, String> {
    let missing = missing()?;
    if !missing.is_empty() {
        return Err(format!("packages are missing: {}", missing.join(" ")));
    }
    let release = agreement(&releases()?)?;
    if is_older(&release, OLDEST) {
        return Err(format!("Debian's Rust is {release}, and {OLDEST} is needed"));
    }
    Ok(release)
}

/// Whether the first two numbers of a version are lower. What is no version is.
fn is_older(version: &str, than: &str) -> bool {
    let numbers = |text: &str| -> Option<(u32, u32)> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    numbers(version) < numbers(than)
}

fn missing() -> Result<Vec<&'static str>, String> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\\n"])
        .args(PACKAGES)
        // Packages that it has never heard of.
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("the packages are Debian's, and dpkg-query does not start: {error}"))?;
    Ok(absent(&String::from_utf8_lossy(&output.stdout)))
}

fn absent(listed: &str) -> Vec<&'static str> {
    let installed = |package: &str| listed.lines().any(|line| line == format!("{package} installed"));
    PACKAGES.into_iter().filter(|package| !installed(package)).collect()
}

/// Each part of the toolchain and its release, as `1.96`.
fn releases() -> Result<Vec<(&'static str, String)>, String> {
    let source = Path::new(SOURCE).canonicalize().map_err(|error| format!("{SOURCE}: {error}"))?;
    let said = [
        ("rustc", said_by("rustc", "--version")?),
        ("cargo", said_by("cargo", "--version")?),
        ("clippy", said_by("clippy-driver", "--version")?),
        // The folder is named after the version.
        ("the library's source", source.to_string_lossy().replace("rustc-", " ")),
    ];
    said.into_iter()
        .map(|(part, text)| match release(&text) {
            Some(release) => Ok((part, release)),
            None => Err(format!("{part} does not tell its version: {text}")),
        })
        .collect()
}

/// Of the second word, a version: its first two numbers. Clippy puts a zero before its own.
fn release(said: &str) -> Option<String> {
    let version = said.split_whitespace().nth(1)?;
    let mut numbers = version.strip_prefix("0.").unwrap_or(version).split('.');
    Some(format!("{}.{}", numbers.next()?, numbers.next()?))
}

/// The release, if all parts are of the same.
fn agreement(releases: &[(&'static str, String)]) -> Result<String, String> {
    match releases {
        [(_, first), rest @ ..] if rest.iter().all(|(_, release)| release == first) => Ok(first.clone()),
        _ => {
            let parts: Vec<String> =
                releases.iter().map(|(part, release)| format!("{part} is {release}")).collect();
            Err(format!("the parts of Debian's Rust do not fit each other: {}", parts.join(", ")))
        }
    }
}

/// What one of Debian's programs says.
pub(crate) fn said_by(program: &str, argument: &str) -> Result<String, String> {
    let program = Path::new(BIN).join(program);
    let output = environment(&mut Command::new(&program))
        .arg(argument)
        // Wine by Debian misses the 32 bits of its other half, aloud.
        .env("WINEDEBUG", "-all")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing() {
        let all = PACKAGES.map(|package| format!("{package} installed\n")).concat();
        assert!(absent(&all).is_empty());
        let removed = all.replace("wine64 installed", "wine64 config-files");
        assert_eq!(absent(&removed), ["wine64"]);
        assert_eq!(absent(""), PACKAGES);
    }

    #[test]
    fn what_is_too_old() {
        for (version, older) in
            [("1.85", true), ("1.94", true), ("1.95", false), ("1.100", false), ("2.0", false)]
        {
            assert_eq!(is_older(version, "1.95"), older, "{version}");
        }
        assert!(is_older("nonsense", OLDEST) && !is_older(OLDEST, OLDEST));
    }

    #[test]
    fn releases_are_read_and_compared() {
        assert_eq!(
            release("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)").unwrap(),
            "1.96"
        );
        assert_eq!(release("clippy 0.1.96").unwrap(), "1.96");
        assert_eq!(release("/usr/src/ 1.96.0").unwrap(), "1.96");
        assert_eq!(release("clippy"), None);
        let parts = |cargo: &str| [("rustc", "1.96".to_owned()), ("cargo", cargo.to_owned())];
        assert_eq!(agreement(&parts("1.96")), Ok("1.96".to_owned()));
        assert_eq!(
            agreement(&parts("1.85")).unwrap_err(),
            "the parts of Debian's Rust do not fit each other: rustc is 1.96, cargo is 1.85"
        );
    }
}
