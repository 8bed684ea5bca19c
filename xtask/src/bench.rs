//! vipdrift beside its peers.

use crate::metadata::Metadata;
use crate::report::Report;
use crate::{suite, tools};

const PACKAGE: &str = "vipdrift-bench";

/// Brings the peers, builds vipdrift as it is released, and measures. `arguments` are passed on.
pub(crate) fn run(arguments: &[&str], metadata: &Metadata) -> Report {
    let mut report = Report::default();
    let mut path = None;
    report.step("peers", || {
        path = tools::peers(&metadata.target_directory)?;
        Ok(())
    });
    report.step("build", || {
        suite::cargo(metadata, &["build", "--release", "--package", "vipdrift", "--package", PACKAGE])
    });
    if report.has_failed() {
        return report;
    }
    report.step("bench", || {
        let built = metadata.target_directory.join("release");
        let mut command = std::process::Command::new(built.join(PACKAGE));
        let (what, arguments) = match arguments.split_first() {
            Some((what, rest)) if !what.starts_with('-') => (*what, rest),
            _ => ("faults", arguments),
        };
        command.arg("--vipdrift").arg(built.join("vipdrift")).arg(what);
        command.arg("--out").arg(metadata.target_directory.join("bench")).args(arguments);
        command.env("VIPDRIFT_BENCH_UNPACKED", metadata.target_directory.join("tools"));
        if let Some(path) = &path {
            command.env("PATH", path);
        }
        let status = command.status().map_err(|error| format!("{PACKAGE} does not start: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("{PACKAGE}: {status}")) }
    });
    report
}
