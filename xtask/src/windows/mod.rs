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
use package::Aim;
use template::Template;
use toolchain::{GNU, MSVC};

/// The packages that are compiled for Windows. All others are Linux's alone.
const PACKAGES: [&str; 5] =
    ["vipdrift-wire", "vipdrift-core", "vipdrift-platform", "vipdrift-checks", "vipdrift-control"];
/// So is this one, but for its test programs, which are about a lab on Linux.
const PROGRAM: &str = "vipdrift";
/// The test programs that run Windows programs on hosts of the lab, whatever package they are in. `cargo test` leaves them out.
const LAB_TESTS: [&str; 2] = ["wine", "wine_addresses"];
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
    report.step(&name(&format!("lints, {MSVC}")), || {
        let mut cargo = toolchain::compile(metadata, "clippy", MSVC);
        select(&mut cargo).args(["--lib", "--bins", "--", "-D", "warnings"]);
        bounded::run("cargo clippy", &mut cargo, LIMIT)
    });
    let Some((template, programs)) = make_and_test(metadata, report, &folder) else { return };
    report.tests(name("the lab's"), || lab_tests(metadata, &template, &programs));
}

/// Builds all that can be run, and runs all tests but those of the lab: answers what those need.
fn make_and_test(metadata: &Metadata, report: &mut Report, folder: &Path) -> Option<(Template, PathBuf)> {
    let mut built_all = false;
    report.step(&name(&format!("build and lints, {GNU}")), || {
        let mut cargo = toolchain::compile(metadata, "build", GNU);
        // What is built for examples and tests is not built otherwise for the rest.
        select(toolchain::lint(&mut cargo)).args(["--lib", "--bins", "--examples"]);
        bounded::run("cargo build", &mut cargo, LIMIT)?;
        let mut cargo = tests(metadata, toolchain::compile);
        bounded::run("cargo test --no-run", cargo.arg("--no-run"), LIMIT)?;
        built_all = true;
        Ok(())
    });
    if !built_all {
        return None;
    }
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

/// Always all of them, or what they have in common would be built again with other features.
fn select(cargo: &mut Command) -> &mut Command {
    cargo.args(PACKAGES.iter().chain([&PROGRAM]).flat_map(|package| ["--package", package]))
}

/// The tests of the packages, and the unit tests of the program.
fn tests(metadata: &Metadata, cargo: fn(&Metadata, &str, &str) -> Command) -> Command {
    let mut cargo = cargo(metadata, "test", GNU);
    select(toolchain::lint(&mut cargo)).arg("--lib");
    let packages = metadata.members().filter(|package| PACKAGES.contains(&package.name.as_str()));
    cargo.args(packages.flat_map(|package| package.test_programs()).flat_map(|test| ["--test", test]));
    cargo
}

/// The packages' own tests, each test program under wine on a host of the lab.
fn packages_tests(metadata: &Metadata, template: &Template) -> (Counts, Result<(), String>) {
    // As all else on Linux, or what it needs would be built again with other features.
    let example = ["build", "--workspace", "--example", RUNNER];
    if let Err(why) = suite::cargo(metadata, &example) {
        return (Counts::default(), Err(why));
    }
    // As a setting and not a variable, which would be split where there are spaces.
    let runner = metadata.target_directory.join("debug/examples").join(RUNNER).display().to_string();
    let setting = format!("target.{GNU}.runner=[{runner:?}]");
    let mut cargo = tests(metadata, toolchain::cargo);
    cargo.args(["--no-fail-fast", "--config", &setting]);
    count(cargo.env("VIPDRIFT_WINE_PREFIX", template.folder()))
}

/// Tests of Linux's own Rust that run Windows programs on hosts of the lab.
fn lab_tests(metadata: &Metadata, template: &Template, programs: &Path) -> (Counts, Result<(), String>) {
    let mut cargo = suite::command(metadata);
    cargo
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(LAB_TESTS.iter().flat_map(|test| ["--test", test]));
    cargo.env("VIPDRIFT_WINE_PREFIX", template.folder()).env("VIPDRIFT_WINE_PROGRAMS", programs);
    let exe = built(metadata).join(format!("{PROGRAM}.exe"));
    match package::make(metadata, &exe, Aim::Soon) {
        Ok([setup, _]) => drop(cargo.env("VIPDRIFT_SETUP", setup)),
        Err(why) => return (Counts::default(), Err(why)),
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
