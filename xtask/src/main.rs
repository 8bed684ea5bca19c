//! The project's own chores: `cargo xtask test` and what it is made of.

mod bench;
mod fuzz;
mod metadata;
mod package;
mod report;
mod sim;
mod suite;
mod supply;
mod tidy;
mod tools;
mod windows;

use std::process::ExitCode;

use metadata::Metadata;
use report::Report;

const USAGE: &str = "\
usage: cargo xtask CHORE

test [--nightly]
       everything that must hold: tools, format, lints, documentation, tidiness, tests, simulator, cross-check;
       --nightly: and 8 hours of the simulator with seeds that no other commit has had
tidy   the walls between the packages and the rules of the text, without building anything
cross-check
       what is compiled for Windows too: lints, build, and tests under wine (Debian's packages of Rust, MinGW and wine;
       root gets them installed)
package [--debug]
       the release for Linux, as .deb, and as .rpm where rpmbuild is, with a list of its parts, in target/debian; --debug: of the program as `cargo build` has left it, with a clean
       Debian to install it in, and the environment in which the lab's test finds both
package-windows
       the release for Windows, as a zip and as an installer, in target/windows/packages
bench [faults] [--runs N] [--contender NAME]... [--fault NAME]...
       vipdrift beside its peers (Debian's packages, unpacked), in the same lab with the same faults, N times (5) each:
       tables and a plot in target/bench
bench scale [--runs N] [--contender NAME]... [--vips N]... [--groups N]... [--nodes N]...
       the same with up to 4,000 VIPs, and up to 1,000 groups on up to 8 nodes
bench steady [--minutes N] [--busy THREADS] [--contender NAME]...
       pairs that are left alone for N minutes (60) while the machine is busy: what moves though nothing is wrong
bench page [--runs N]
       what it costs to be looked at: open pages and scrapes
bench footprint [--runs N]
       how big the program is, and how long it takes to start and to stop
fuzz [TARGET] [--seconds N]
       a long run of one fuzz target, or of each, N seconds (60) each
sim [--seeds N] [--minutes M] [--hours H] [--first SEED] [--keep-going] [--jobs N]
       simulated clusters of H hours (1) each: N of them, or as many as fit M minutes (1.5), from SEED on
       (unless said, a seed that changes with every commit)
repro SEED|FILE [--hours H]
       one simulated cluster: what happened, and the shortest scenario that shows the same fault, kept with
       the tests";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let order;
    let rest_of_order: Vec<&str>;
    let chore: &dyn Fn(&Metadata) -> Report = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        ["test"] => &|metadata| test(metadata, false),
        ["test", "--nightly"] => &|metadata| test(metadata, true),
        ["sim", ref rest @ ..] => {
            rest_of_order = rest.to_vec();
            &|metadata| sim::many(&rest_of_order, metadata)
        }
        ["repro", ref rest @ ..] if !rest.is_empty() => {
            rest_of_order = rest.to_vec();
            &|metadata| sim::repro(&rest_of_order, metadata)
        }
        ["bench", ref rest @ ..] => {
            rest_of_order = rest.to_vec();
            &|metadata| bench::run(&rest_of_order, metadata)
        }
        ["tidy"] => &tidy_alone,
        ["cross-check"] => &cross_check_alone,
        ["package"] => &package,
        ["package", "--debug"] => &package_debug,
        ["package-windows"] => &package_windows,
        ["fuzz", ref rest @ ..] if let Some(parsed) = fuzz::Order::parse(rest) => {
            order = parsed;
            &|metadata| fuzz::run(&order, metadata)
        }
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let metadata = match Metadata::load() {
        Ok(metadata) => metadata,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    chore(&metadata).close()
}

/// Goes on after a failed step, so that one run shows all there is to repair; but without tools nothing is
/// begun.
fn test(metadata: &Metadata, nightly: bool) -> Report {
    let mut report = Report::default();
    let mut path = None;
    report.step("tools", || {
        path = tools::ensure(&metadata.target_directory)?;
        Ok(())
    });
    if report.has_failed() {
        return report;
    }
    report.step("tidy", || tidy::check(metadata));
    report.step("format", || {
        suite::cargo(metadata, &["fmt", "--all", "--check"])?;
        // A workspace of its own.
        suite::cargo(metadata, &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])?;
        windows::stand_ins::manifests(&metadata.workspace_root)?.iter().try_for_each(|manifest| {
            suite::cargo(metadata, &["fmt", "--manifest-path", &manifest.to_string_lossy(), "--check"])
        })
    });
    report.step("lints", || {
        suite::cargo(metadata, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    });
    report.step("documentation", || suite::documentation(metadata));
    report.step("dependencies", || supply::judge(metadata));
    report.step("build", || suite::cargo(metadata, &["build", "--workspace"]));
    let mut more = Vec::new();
    report.step("package", || {
        more = package::ready(metadata)?;
        Ok(())
    });
    report.tests("tests", || suite::tests(metadata, path.as_deref(), &more));
    report.tests("known faults", || sim::known_faults(metadata));
    report.tests("simulator", || sim::regression(metadata));
    if nightly {
        report.tests("simulator, new seeds", || sim::night(metadata));
    }
    windows::cross_check(metadata, &mut report);
    report
}

fn cross_check_alone(metadata: &Metadata) -> Report {
    let mut report = Report::default();
    windows::cross_check(metadata, &mut report);
    report
}

fn package(metadata: &Metadata) -> Report {
    let mut report = Report::default();
    report.step("package", || package::release(metadata));
    report
}

fn package_debug(metadata: &Metadata) -> Report {
    let mut report = Report::default();
    report.step("package", || {
        let ready = package::ready(metadata)?;
        ready.iter().for_each(|(name, place)| println!("export {name}={}", place.display()));
        Ok(())
    });
    report
}

fn package_windows(metadata: &Metadata) -> Report {
    let mut report = Report::default();
    report.step("package-windows", || windows::package::release(metadata));
    report
}

fn tidy_alone(metadata: &Metadata) -> Report {
    let mut report = Report::default();
    report.step("tidy", || tidy::check(metadata));
    report
}
