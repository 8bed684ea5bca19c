//! The cross-check: what is meant for Windows is linted, built, and tested under wine. None of this is Windows; what it can
//! show and what not is in docs/testing.md.

mod bounded;
mod forwarders;
pub(crate) mod package;
mod packages;
pub(crate) mod stand_ins;
mod template;
mod toolchain;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::metadata::Metadata;
use crate::report::{Counts, Report};
use crate::suite;
use template::Template;
use toolchain::{GNU, MSVC};

/// The packages that are compiled for Windows. All others are Linux's alone.
const PACKAGES: [&str; 5] =
    ["vipdrift-wire", "vipdrift-core", "vipdrift-platform", "vipdrift-checks", "vipdrift-control"];
/// So is this one, but for its test programs, which are about a lab on Linux.
const PROGRAM: &str = "vipdrift";
/// The test programs that run Windows programs on hosts of the lab: package and name. `cargo test` leaves them out.
const LAB_TESTS: [(&str, &str); 3] =
    [("vipdrift-lab", "wine"), ("vipdrift-lab", "wine_addresses"), ("vipdrift", "wine")];
/// The example of the lab that runs a Windows program on a host of its own.
const RUNNER: &str = "under_wine";
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
        let leftovers = toolchain::leftovers(metadata);
        let _ = fs::remove_dir_all(&leftovers);
        fs::create_dir_all(&leftovers).map_err(|error| format!("{}: {error}", leftovers.display()))?;
        packages::ensure()?;
        ready = true;
        Ok(())
    });
    if !ready {
        return;
    }
    for target in [MSVC, GNU] {
        report.step(&name(&format!("lints, {target}")), || {
            let mut lints = lints(metadata, target);
            lints.iter_mut().try_for_each(|cargo| bounded::run("cargo clippy", cargo, LIMIT))
        });
    }
    let Some((template, programs)) = make_and_test(metadata, report, &folder) else { return };
    for (package, test) in LAB_TESTS {
        report.tests(name(&format!("{package}, {test}")), || {
            lab_tests(metadata, &template, &programs, package, test)
        });
    }
}

/// Builds all that can be run, and runs all tests but those of the lab: answers what those need.
fn make_and_test(metadata: &Metadata, report: &mut Report, folder: &Path) -> Option<(Template, PathBuf)> {
    report.step(&name("build"), || {
        let mut cargo = toolchain::compile(metadata, "build", GNU);
        select(&mut cargo).args(["--package", PROGRAM, "--lib", "--bins", "--examples"]);
        bounded::run("cargo build", &mut cargo, LIMIT)
    });
    let mut template = None;
    report.step(&name("prefix"), || {
        template = Some(Template::ensure(folder)?);
        Ok(())
    });
    let template = template?;
    let mut programs = None;
    report.step(&name("stand-ins"), || {
        let folder = stand_ins::build(metadata, &template)?;
        for example in EXAMPLES {
            stand_ins::install(&built(metadata).join(format!("examples/{example}.exe")), &folder)?;
        }
        programs = Some(folder);
        Ok(())
    });
    let programs = programs?;
    report.tests(name("tests"), || packages_tests(metadata, &template));
    Some((template, programs))
}

/// What lints a target. Tests and examples are the same on both, so those are looked at on one of them.
fn lints(metadata: &Metadata, target: &str) -> Vec<Command> {
    let warnings = ["--", "-D", "warnings"];
    let mut program = toolchain::compile(metadata, "clippy", target);
    if target == MSVC {
        select(&mut program).args(["--package", PROGRAM, "--lib", "--bins"]).args(warnings);
        return vec![program];
    }
    // The profile has the unit tests looked at as well.
    program.args(["--package", PROGRAM, "--lib", "--bins", "--profile", "test"]).args(warnings);
    let mut packages = toolchain::compile(metadata, "clippy", target);
    select(&mut packages).arg("--all-targets").args(warnings);
    vec![packages, program]
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

/// The packages' own tests, each test program under wine on a host of the lab.
fn packages_tests(metadata: &Metadata, template: &Template) -> (Counts, Result<(), String>) {
    let example = ["build", "--package", "vipdrift-lab", "--example", RUNNER];
    if let Err(why) = suite::cargo(metadata, &example) {
        return (Counts::default(), Err(why));
    }
    // As a setting and not a variable, which would be split where there are spaces.
    let runner = metadata.target_directory.join("debug/examples").join(RUNNER).display().to_string();
    let setting = format!("target.{GNU}.runner=[{runner:?}]");
    let under_wine = |cargo: &mut Command| {
        cargo.args(["--no-fail-fast", "--config", &setting]);
        count(cargo.env("VIPDRIFT_WINE_PREFIX", template.folder()))
    };
    let compiled = [false, true].into_iter().try_for_each(|program| {
        let mut cargo = toolchain::compile(metadata, "test", GNU);
        if program {
            cargo.args(["--package", PROGRAM, "--lib"])
        } else {
            select(&mut cargo)
        };
        bounded::run("cargo test --no-run", cargo.arg("--no-run"), LIMIT)
    });
    if let Err(why) = compiled {
        return (Counts::default(), Err(why));
    }
    let (mut counts, outcome) = under_wine(select(&mut toolchain::cargo(metadata, "test", GNU)));
    let mut cargo = toolchain::cargo(metadata, "test", GNU);
    let (program, and_program) = under_wine(cargo.args(["--package", PROGRAM, "--lib"]));
    counts.passed += program.passed;
    counts.failed += program.failed;
    (counts, outcome.and(and_program))
}

/// Tests of Linux's own Rust that run Windows programs on hosts of the lab.
fn lab_tests(
    metadata: &Metadata,
    template: &Template,
    programs: &Path,
    package: &str,
    test: &str,
) -> (Counts, Result<(), String>) {
    let mut cargo = suite::command(metadata);
    cargo.args(["test", "--package", package, "--test", test]);
    cargo.env("VIPDRIFT_WINE_PREFIX", template.folder()).env("VIPDRIFT_WINE_PROGRAMS", programs);
    let exe = built(metadata).join(format!("{PROGRAM}.exe"));
    if package == PROGRAM {
        match package::make(metadata, &exe) {
            Ok([setup, _]) => drop(cargo.env("VIPDRIFT_SETUP", setup)),
            Err(why) => return (Counts::default(), Err(why)),
        }
    }
    let table = toolchain::folder(metadata).join("table.md");
    let _ = fs::remove_file(&table);
    let counted = count(cargo.env("VIPDRIFT_EXE", exe).env("VIPDRIFT_TABLE", &table));
    if let Ok(lines) = fs::read_to_string(&table) {
        println!("\n| cluster | fault | outage | two holders | stale VIP |\n|---|---|---|---|---|\n{lines}");
    }
    counted
}

/// Where cargo puts what it builds for Windows.
fn built(metadata: &Metadata) -> PathBuf {
    toolchain::folder(metadata).join(GNU).join("debug")
}

/// What runs in a prefix is in an enclosure of the lab, and ends with what has made that.
fn count(cargo: &mut Command) -> (Counts, Result<(), String>) {
    let mut watch = None;
    let (counts, outcome) = suite::count_while(cargo, |child| {
        watch = Some(bounded::Watch::over("cargo test", child.id(), LIMIT));
    });
    let hung = watch.and_then(bounded::Watch::end);
    (counts, hung.map_or(outcome, Err))
}
