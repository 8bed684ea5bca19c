//! The cross-check: what is meant for Windows is linted, built, and tested under wine. None of this is Windows; what it can
//! show and what not is in docs/testing.md.

mod bounded;
mod forwarders;
mod packages;
mod prefix;
pub(crate) mod runner;
pub(crate) mod stand_ins;
mod toolchain;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::metadata::Metadata;
use crate::report::{Counts, Report};
use crate::suite;
use prefix::Prefix;
use toolchain::{GNU, MSVC};

/// The packages that are compiled for Windows. All others are Linux's alone.
const PACKAGES: [&str; 3] = ["vipdrift-wire", "vipdrift-core", "vipdrift-platform"];
/// The test programs that run Windows programs on hosts of the lab: package and name. `cargo test` leaves them out.
const LAB_TESTS: [(&str, &str); 2] = [("vipdrift-lab", "wine"), ("vipdrift-lab", "wine_addresses")];
/// Examples of those packages that these tests run.
const EXAMPLES: [&str; 1] = ["address"];
/// Longest that one step of cargo may take; minutes would do, but not on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(1800);

/// Goes on after a failed step as `cargo xtask test` does; but what needs another step's outcome is not begun.
pub(crate) fn cross_check(metadata: &Metadata, report: &mut Report) {
    let folder = toolchain::folder(metadata);
    let mut lock = None;
    let mut ready = false;
    report.step(&name("packages"), || {
        lock = Some(alone(&folder)?);
        packages::ensure()?;
        ready = true;
        Ok(())
    });
    if !ready {
        return;
    }
    for target in [MSVC, GNU] {
        report.step(&name(&format!("lints, {target}")), || {
            let mut cargo = toolchain::cargo(metadata, "clippy", target);
            select(&mut cargo).args(["--all-targets", "--", "-D", "warnings"]);
            bounded::run("cargo clippy", &mut cargo, LIMIT)
        });
    }
    report.step(&name("build"), || {
        let mut cargo = toolchain::cargo(metadata, "build", GNU);
        bounded::run("cargo build", select(&mut cargo).args(["--lib", "--bins", "--examples"]), LIMIT)
    });
    let mut template = None;
    report.step(&name("prefix"), || {
        template = Some(Prefix::template(&folder)?);
        Ok(())
    });
    let Some(template) = template else { return };
    let mut programs = None;
    report.step(&name("stand-ins"), || {
        let folder = stand_ins::build(metadata, &template)?;
        for example in EXAMPLES {
            stand_ins::install(&built(metadata).join(format!("examples/{example}.exe")), &folder)?;
        }
        programs = Some(folder);
        Ok(())
    });
    let Some(programs) = programs else { return };
    report.tests(name("tests"), || packages_tests(metadata, &template));
    for (package, test) in LAB_TESTS {
        report.tests(name(&format!("{package}, {test}")), || {
            lab_tests(metadata, &template, &programs, package, test)
        });
    }
}

fn name(step: &str) -> String {
    format!("cross-check (wine): {step}")
}

/// Two at once would take the prefix from each other.
fn alone(folder: &Path) -> Result<File, String> {
    let path = folder.join("lock");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let file = File::create(&path).map_err(failed)?;
    file.try_lock().map_err(|_| format!("another cross-check holds {}", path.display()))?;
    Ok(file)
}

fn select(cargo: &mut Command) -> &mut Command {
    cargo.args(PACKAGES.iter().flat_map(|package| ["--package", package]))
}

/// The packages' own tests, each test program under wine, in a copy of the template that is gone afterwards.
fn packages_tests(metadata: &Metadata, template: &Prefix) -> (Counts, Result<(), String>) {
    let failed = |why| (Counts::default(), Err(why));
    let folder = toolchain::folder(metadata).join("prefix-of-the-tests");
    let copy = match template.copy(folder.clone()) {
        Ok(copy) => copy,
        Err(why) => return failed(why),
    };
    let mut cargo = toolchain::cargo(metadata, "test", GNU);
    match runner::setting(GNU, copy.folder()) {
        Ok(setting) => select(&mut cargo).args(["--no-fail-fast", "--config", &setting]),
        Err(why) => return failed(why),
    };
    let counted = count(&mut cargo, move || {
        let _ = Prefix::at(folder).end();
    });
    let removed = copy.remove();
    (counted.0, counted.1.and(removed))
}

/// Tests of Linux's own Rust that run Windows programs on hosts of the lab.
fn lab_tests(
    metadata: &Metadata,
    template: &Prefix,
    programs: &Path,
    package: &str,
    test: &str,
) -> (Counts, Result<(), String>) {
    let mut cargo = suite::command(metadata);
    cargo.args(["test", "--package", package, "--test", test]);
    cargo.env("VIPDRIFT_WINE_PREFIX", template.folder()).env("VIPDRIFT_WINE_PROGRAMS", programs);
    cargo.env("VIPDRIFT_EXE", built(metadata).join("vipdrift.exe"));
    // The enclosure takes everything with it that runs in a prefix there.
    count(&mut cargo, || ())
}

/// Where cargo puts what it builds for Windows.
fn built(metadata: &Metadata) -> PathBuf {
    toolchain::folder(metadata).join(GNU).join("debug")
}

fn count(cargo: &mut Command, also: impl FnOnce() + Send + 'static) -> (Counts, Result<(), String>) {
    let mut watch = None;
    let (counts, outcome) = suite::count_while(cargo, |child| {
        watch = Some(bounded::Watch::over("cargo test", child.id(), LIMIT, also));
    });
    let hung = watch.and_then(bounded::Watch::end);
    (counts, hung.map_or(outcome, Err))
}
