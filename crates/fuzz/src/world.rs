//! The whole simulated world: a cluster and what goes wrong in it, made of bytes, and every invariant of the simulator.

use vipdrift_sim::{Options, Scenario};

use crate::Seed;

/// Runs the scenario that these bytes are; twice, where the first byte is 3 modulo 4.
///
/// # Panics
///
/// When an invariant is broken, or when the second run differs from the first.
pub fn run(bytes: &[u8]) {
    let scenario = Scenario::from_bytes(bytes);
    let outcome = vipdrift_sim::run(&scenario, Options::default());
    if let Some(violation) = outcome.violation {
        let node = violation.node.map_or_else(String::new, |node| format!(", node {node}"));
        panic!(
            "{} broken at {:?}{node}: {}\n{}",
            violation.invariant,
            violation.at,
            violation.text,
            scenario.to_text()
        );
    }
    if bytes.first().is_some_and(|first| first % 4 == 3) {
        let again = vipdrift_sim::run(&scenario, Options::default());
        assert_eq!(outcome.hash, again.hash, "two runs differ:\n{}", scenario.to_text());
    }
}

/// An ordinary cluster of three nodes: the seed of the wire, the cluster, one group.
const ORDINARY: [u8; 14] = [0; 14];
/// The holder with most rights, and the one after it.
const FIRST: u8 = 0;
const SECOND: u8 = 1;
/// Counted from the last rest.
const AT_REST: u8 = 0;
/// Some spans of time, as the scenario reads them.
const MS_10: u8 = 0x44;
const MS_100: u8 = 0x79;
const MS_300: u8 = 0x93;
const S_1: u8 = 0xb0;
const S_3: u8 = 0xc8;
const S_10: u8 = 0xe4;

/// Faults: which, when, for how long, where, and what else.
type Row = [u8; 5];

fn of(setup: [u8; 14], faults: &[Row]) -> Vec<u8> {
    setup.into_iter().chain(faults.concat()).collect()
}

/// Some byte of the ordinary cluster is another.
fn with(changes: &[(usize, u8)]) -> [u8; 14] {
    let mut setup = ORDINARY;
    changes.iter().for_each(|&(at, to)| setup[at] = to);
    setup
}

/// Scenarios that everybody knows.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let two_nodes = with(&[(1, 1), (2, 1), (4, 1), (5, 1)]);
    let hitless = with(&[(0, 3), (13, 1)]);
    let cross_link = with(&[(2, 3), (6, 1)]);
    let failback = with(&[(10, 1), (12, S_1 | 1)]);
    vec![
        ("nothing", vec![]),
        ("power_cut", of(two_nodes, &[[0, AT_REST, S_3, FIRST, 0]])),
        ("power_cut_twice", of(failback, &[[0, AT_REST, S_3, FIRST, 0], [0, S_1, S_1, SECOND, 0]])),
        ("cable", of(ORDINARY, &[[21, AT_REST, S_1, FIRST, 0]])),
        ("partition", of(ORDINARY, &[[26, AT_REST, S_3, FIRST, 0]])),
        ("suspended", of(ORDINARY, &[[13, AT_REST, S_10, FIRST, 0]])),
        ("switchover_with_loss", of(hitless, &[[29, AT_REST, S_3, 0, 100], [1, MS_100, MS_10, FIRST, 0]])),
        ("drained_and_stopped", of(hitless, &[[2, AT_REST, S_1, FIRST, 0], [3, MS_300, S_1, SECOND, 0]])),
        ("brain_frozen", of(cross_link, &[[6, AT_REST, MS_300, FIRST, 0]])),
        ("daemon_killed", of(ORDINARY, &[[8, AT_REST, S_3, FIRST, 0]])),
        ("heartbeats_blocked", of(cross_link, &[[23, AT_REST, S_3, 0, 0], [28, MS_100, S_1, 0, 0]])),
        ("stranger", of(ORDINARY, &[[32, AT_REST, S_3, 0, 0], [0, S_1, S_1, FIRST, 0]])),
        ("forgery_from_the_start", of(ORDINARY, &[[34, S_1, S_3, 0, 0]])),
    ]
}
