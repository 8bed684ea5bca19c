//! Groups with a program that has to succeed before a mount, under drawn faults.

use std::time::Duration;

use vipdrift_sim::{GroupSetup, Options, Scenario, Setup, run};

const LASTS: Duration = Duration::from_secs(120);

/// Three nodes and one group, unless `change` says more.
fn setup(program: u64, change: impl Fn(&mut Setup)) -> Setup {
    let mut setup = Setup::ordinary();
    setup.groups[0].gate = Duration::from_millis(program);
    change(&mut setup);
    setup
}

fn holds(setup: &Setup, seeds: std::ops::Range<u64>) {
    let mut faults = 0;
    let mut broken = Vec::new();
    for seed in seeds {
        let scenario = Scenario::draw_for(setup.clone(), seed, LASTS);
        faults += scenario.faults.len();
        if let Some(violation) = run(&scenario, Options::default()).violation {
            broken.push(format!("seed {seed}: {violation:?}\n{}", scenario.to_text()));
        }
    }
    assert!(faults > 50, "{faults} faults");
    assert!(broken.is_empty(), "{} broken\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn a_short_program_under_drawn_faults() {
    holds(&setup(40, |_| ()), 0..40);
}

/// Longer than an heir's reservation, and than a resignation is news.
#[test]
fn a_long_program_under_drawn_faults() {
    holds(&setup(1500, |_| ()), 100..140);
}

#[test]
fn a_program_where_foreign_holders_are_overruled_and_groups_are_apart() {
    let change = |setup: &mut Setup| {
        let first = &mut setup.groups[0];
        first.claim = true;
        first.apart = vec![1];
        let second = GroupSetup { apart: vec![0], order: vec![1, 2, 0], ..first.clone() };
        setup.groups.push(second);
    };
    holds(&setup(300, change), 200..240);
}
