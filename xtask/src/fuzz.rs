//! Long runs of the fuzz targets in `fuzz/`, by libFuzzer.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::metadata::Metadata;
use crate::report::{Counts, Report};
use crate::suite;

/// How long a target runs unless it is told otherwise, in seconds.
const SECONDS: u64 = 60;
/// One input may take this long, in seconds; far more than any needs.
const ONE_INPUT: u64 = 5;

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// All targets if absent.
    target: Option<String>,
    seconds: u64,
}

impl Order {
    /// Reads the arguments behind `fuzz`. `None` if they are wrong.
    pub(crate) fn parse(mut arguments: &[&str]) -> Option<Self> {
        let mut order = Self { target: None, seconds: SECONDS };
        loop {
            match arguments {
                [] => return Some(order),
                ["--seconds", seconds, rest @ ..] => {
                    order.seconds = seconds.parse().ok().filter(|seconds| *seconds > 0)?;
                    arguments = rest;
                }
                [target, rest @ ..] if order.target.is_none() && !target.starts_with('-') => {
                    order.target = Some((*target).to_owned());
                    arguments = rest;
                }
                _ => return None,
            }
        }
    }
}

/// Runs each target for its time. A target that finds nothing counts as a test that passed.
pub(crate) fn run(order: &Order, metadata: &Metadata) -> Report {
    let mut report = Report::default();
    let mut targets = Vec::new();
    report.step("targets", || {
        targets = select(order, programs(&metadata.workspace_root)?)?;
        Ok(())
    });
    if report.has_failed() {
        return report;
    }
    let mut cargo_fuzz = PathBuf::new();
    report.step("cargo-fuzz", || {
        cargo_fuzz = ensure(metadata)?;
        Ok(())
    });
    if report.has_failed() {
        return report;
    }
    for target in targets {
        report.tests(format!("fuzz {target}"), || {
            match fuzz(&cargo_fuzz, &target, order.seconds, metadata) {
                Ok(()) => (Counts { passed: 1, failed: 0 }, Ok(())),
                Err(why) => (Counts { passed: 0, failed: 1 }, Err(why)),
            }
        });
    }
    report
}

/// The name of every program in `fuzz/fuzz_targets`.
fn programs(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("fuzz/fuzz_targets");
    let failed = |error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn select(order: &Order, known: Vec<String>) -> Result<Vec<String>, String> {
    match &order.target {
        None => Ok(known),
        Some(target) if known.contains(target) => Ok(vec![target.clone()]),
        Some(target) => Err(format!("there is no target {target}; there are: {}", known.join(", "))),
    }
}

/// Finds cargo-fuzz on the search path or below `target`, or installs it there.
fn ensure(metadata: &Metadata) -> Result<PathBuf, String> {
    let works = |program: &Path| {
        Command::new(program).args(["fuzz", "--version"]).output().is_ok_and(|out| out.status.success())
    };
    let own = metadata.target_directory.join("tools/bin/cargo-fuzz");
    for program in [PathBuf::from("cargo-fuzz"), own.clone()] {
        if works(&program) {
            return Ok(program);
        }
    }
    let root = metadata.target_directory.join("tools");
    suite::cargo(metadata, &["install", "--locked", "cargo-fuzz", "--root", &root.to_string_lossy()])
        .map_err(|error| format!("{error}\nto install what is missing: cargo install cargo-fuzz"))?;
    Ok(own)
}

/// New input goes below `target`; the corpus in the repository is only read. No sanitizer: the code has no `unsafe`
/// that these targets reach, and without one the stable toolchain will do.
fn fuzz(cargo_fuzz: &Path, target: &str, seconds: u64, metadata: &Metadata) -> Result<(), String> {
    let build = metadata.target_directory.join("fuzz");
    let found = build.join("corpus").join(target);
    fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    let mut child = suite::prepare(Command::new(cargo_fuzz), metadata)
        .args(["fuzz", "run", "--sanitizer", "none", "--target-dir"])
        .arg(&build)
        .arg(target)
        .arg(&found)
        .arg(metadata.workspace_root.join("fuzz/corpus").join(target))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={ONE_INPUT}"))
        .arg("-print_final_stats=1")
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cargo-fuzz does not start: {error}"))?;
    let mut output = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if is_news(&String::from_utf8_lossy(&line)) {
            let _ = std::io::stderr().write_all(&line);
        }
        line.clear();
    }
    let status = child.wait().map_err(|error| format!("cargo-fuzz: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{target}: {status}; the input is shown above")) }
}

/// Not one of the thousands of lines about single inputs that led further.
fn is_news(line: &str) -> bool {
    let about_one_input = line.starts_with('#') && ["NEW", "REDUCE"].iter().any(|word| line.contains(word));
    let dictionary = line.starts_with('"') && line.contains("# Uses: ");
    !about_one_input && !dictionary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        let order =
            |target: Option<&str>, seconds| Some(Order { target: target.map(str::to_owned), seconds });
        assert_eq!(Order::parse(&[]), order(None, SECONDS));
        assert_eq!(Order::parse(&["frame"]), order(Some("frame"), SECONDS));
        assert_eq!(Order::parse(&["--seconds", "5"]), order(None, 5));
        assert_eq!(Order::parse(&["frame", "--seconds", "5"]), order(Some("frame"), 5));
        for wrong in [&["a", "b"][..], &["--seconds"], &["--seconds", "0"], &["--seconds", "x"], &["--fast"]]
        {
            assert_eq!(Order::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn targets_are_the_programs() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("fuzz/fuzz_targets")).unwrap();
        for name in ["two.rs", "one.rs"] {
            fs::write(folder.path().join("fuzz/fuzz_targets").join(name), "").unwrap();
        }
        let known = programs(folder.path()).unwrap();
        assert_eq!(known, ["one", "two"]);
        let of = |target: &str| select(&Order::parse(&[target]).unwrap(), known.clone());
        assert_eq!(of("two"), Ok(vec!["two".to_owned()]));
        assert_eq!(of("three"), Err("there is no target three; there are: one, two".to_owned()));
    }

    #[test]
    fn news() {
        for line in [
            "#2097152\tpulse  cov: 169 ft: 352",
            "#15246523\tDONE   cov: 169",
            "thread 'a' panicked at b:1:2:",
        ] {
            assert!(is_news(line), "{line}");
        }
        for line in ["#920300\tREDUCE cov: 5048", "#1205421\tNEW    cov: 2979", "\"n==\" # Uses: 392"] {
            assert!(!is_news(line), "{line}");
        }
    }
}
