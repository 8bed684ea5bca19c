//! What every test begins with.

use std::net::IpAddr;
use std::time::Duration;

use vipdrift::trial::{Cluster, Fault, Options, run};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_vipdrift");
pub(crate) const WEB: [IpAddr; 2] = Cluster::WEB;
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Three nodes, settled.
pub(crate) fn cluster() -> Cluster {
    with(|_| {})
}

/// Three nodes, changed by `change` first.
pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Cluster {
    let mut options = Options::new(BINARY);
    change(&mut options);
    Cluster::start(options, None).unwrap_or_else(|error| panic!("{error}"))
}

/// Makes a fault of the contract on a fresh cluster; everything must be as it should be.
pub(crate) fn fault(fault: Fault) {
    let mut cluster = with(|options| options.service = fault == Fault::ServiceFailed);
    let vips = fault.vips();
    let client = cluster.client.client(&vips).unwrap();
    let outcome = run(&mut cluster, &client, fault).unwrap_or_else(|error| panic!("{error}"));
    println!(
        "{}: outage {:?}, lost {}, two holders {:?}, stale {:?}, moved to {:?}",
        fault.name(),
        outcome.outage,
        outcome.lost_probes,
        outcome.two_holders,
        outcome.stale,
        outcome.moved_to
    );
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

/// Waits until the cluster is settled, or fails with what the nodes say.
pub(crate) fn settle(cluster: &Cluster) {
    cluster.wait_settled().unwrap_or_else(|error| panic!("{error}"));
}

/// Counted rejections on a node, by reason.
pub(crate) fn rejected(cluster: &Cluster, node: usize, reason: &str) -> u64 {
    let status = cluster.status(node).unwrap_or_else(|error| panic!("{error}"));
    status.counters.datagrams_rejected.get(reason).copied().unwrap_or_default()
}
