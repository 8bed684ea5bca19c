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
        packages::ensure()?;
        ready = true;
        Ok(())
    });
    if !ready {
        return;
    }
    let aside = folder.join("msvc");
    let made = std::thread::scope(|scope| {
        // What it makes nobody else needs, so it has a folder of its own and nobody waits for it.
        let msvc = scope.spawn(|| lints_aside(metadata, MSVC, &aside));
        let made = make_and_test(metadata, report, &folder);
        report.step(&name(&format!("lints, {MSVC}")), || {
            let (said, outcome) = msvc.join().map_err(|_| "the thread that runs it is gone".to_owned())?;
            print!("{said}");
            outcome
        });
        made
    });
    let Some((template, programs)) = made else { return };
    for (package, test) in LAB_TESTS {
        report.tests(name(&format!("{package}, {test}")), || {
            lab_tests(metadata, &template, &programs, package, test)
        });
    }
}

/// All for the target whose programs can be run, but for the tests of the lab: what those need.
fn make_and_test(metadata: &Metadata, report: &mut Report, folder: &Path) -> Option<(Template, PathBuf)> {
    report.step(&name(&format!("lints, {GNU}")), || {
        lints(metadata, GNU).iter_mut().try_for_each(|cargo| bounded::run("cargo clippy", cargo, LIMIT))
    });
    report.step(&name("build"), || {
        let mut cargo = toolchain::cargo(metadata, "build", GNU);
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

/// What lints a target: everything but the program, then the program.
fn lints(metadata: &Metadata, target: &str) -> [Command; 2] {
    let warnings = ["--", "-D", "warnings"];
    let mut packages = toolchain::cargo(metadata, "clippy", target);
    select(&mut packages).arg("--all-targets").args(warnings);
    let mut program = toolchain::cargo(metadata, "clippy", target);
    // The profile has the unit tests looked at as well.
    program.args(["--package", PROGRAM, "--lib", "--bins", "--profile", "test"]).args(warnings);
    [packages, program]
}

/// The same beside everything else, in a folder of its own: what was said, and how it ended.
fn lints_aside(metadata: &Metadata, target: &str, folder: &Path) -> (String, Result<(), String>) {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let place = folder.join("said");
    let run = || {
        fs::create_dir_all(folder).map_err(failed)?;
        let file = File::create(&place).map_err(failed)?;
        lints(metadata, target).iter_mut().try_for_each(|cargo| {
            let [out, errors] = [file.try_clone().map_err(failed)?, file.try_clone().map_err(failed)?];
            cargo.env("CARGO_TARGET_DIR", folder).stdout(out).stderr(errors);
            bounded::run("cargo clippy", cargo, LIMIT)
        })
    };
    let outcome = run();
    (fs::read_to_string(&place).unwrap_or_default(), outcome)
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
