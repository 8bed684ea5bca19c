//! What every test begins with.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use vipdrift::trial::windows::Windows;
use vipdrift::trial::{Cluster, Fault, Options, run};

pub(crate) const WEB: [IpAddr; 2] = Cluster::WEB;
/// Programs under wine take their time to start, and each question starts one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program for Windows.
pub(crate) fn exe() -> PathBuf {
    let path = std::env::var_os("VIPDRIFT_EXE").map(PathBuf::from);
    path.filter(|path| path.exists()).expect("VIPDRIFT_EXE names no program: run `cargo xtask cross-check`")
}

/// Two nodes, those at `windows` with the program for Windows, settled.
pub(crate) fn pair(windows: &[usize]) -> Cluster {
    with(windows, |_| {})
}

/// The same, changed by `change` first.
pub(crate) fn with(windows: &[usize], change: impl FnOnce(&mut Options)) -> Cluster {
    let mut options = Options::new(env!("CARGO_BIN_EXE_vipdrift"));
    options.nodes = 2;
    options.heartbeat = Duration::from_millis(50);
    options.windows = Some((exe(), windows.to_vec()));
    change(&mut options);
    Cluster::start(options, None).unwrap_or_else(|error| panic!("{error}"))
}

/// What a node at this position runs the program with.
pub(crate) fn windows(cluster: &Cluster, index: usize) -> &Windows {
    cluster.nodes[index].windows.as_ref().expect("a node with the program for Windows")
}

/// Makes a fault of the contract; everything must be as it should be. A line for the table.
pub(crate) fn fault(cluster: &mut Cluster, what: &str, fault: Fault) {
    let vips = fault.vips();
    let client = cluster.client.client(&vips).unwrap();
    let victim = cluster.holder(vips[0]).map(|at| cluster.nodes[at].windows.is_some());
    let outcome = run(cluster, &client, fault).unwrap_or_else(|error| panic!("{error}"));
    let kind = match victim {
        Some(true) => "exe",
        Some(false) => "linux",
        None => "?",
    };
    let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    let stale = outcome.stale.map_or_else(|| "-".to_owned(), millis);
    let (outage, two) = (millis(outcome.outage), millis(outcome.two_holders));
    let line = format!("| {what}, holder {kind} | {} | {outage} | {two} | {stale} |", fault.name());
    println!("{line}");
    // What a test prints is shown only if it fails.
    if let Some(table) = std::env::var_os("VIPDRIFT_TABLE") {
        let mut table = std::fs::File::options().create(true).append(true).open(table).unwrap();
        writeln!(table, "{line}").unwrap();
    }
    assert!(outcome.complaints.is_empty(), "{:?}\n{}", outcome.complaints, cluster.describe());
}

/// The node that has the VIPs of `web`.
pub(crate) fn holder(cluster: &Cluster) -> usize {
    cluster.holder(WEB[0]).unwrap_or_else(|| panic!("one holder\n{}", cluster.describe()))
}

/// Waits, or fails with what the nodes say.
pub(crate) fn wait(cluster: &Cluster, what: &str, ready: impl FnMut(&Cluster) -> bool) -> Duration {
    cluster.wait(what, PATIENCE, ready).unwrap_or_else(|error| panic!("{error}"))
}
