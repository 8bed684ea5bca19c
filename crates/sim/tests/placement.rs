//! Groups that must be together or apart, under drawn faults.

use std::time::Duration;

use vipdrift_sim::{GroupCheck, GroupSetup, Options, Scenario, Setup, run};

const LASTS: Duration = Duration::from_secs(120);

/// Three nodes; the first two groups are together, the third is apart from both.
fn setup(apart: bool, change: impl Fn(&mut GroupSetup)) -> Setup {
    let mut setup = Setup::ordinary();
    let mut group = setup.groups[0].clone();
    change(&mut group);
    let mut groups = vec![group.clone(), group.clone()];
    groups[0].together = vec![1];
    groups[1].together = vec![0];
    groups[1].check = GroupCheck::Fault;
    if apart {
        groups[0].apart = vec![2];
        groups[1].apart = vec![2];
        let order = vec![1, 2, 0];
        groups.push(GroupSetup { apart: vec![0, 1], order, check: GroupCheck::Demote, ..group });
    }
    setup.groups = groups;
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
fn together_and_apart_hold_under_drawn_faults() {
    holds(&setup(true, |_| ()), 0..60);
}

#[test]
fn together_and_apart_hold_with_hitless_switchovers() {
    holds(&setup(true, |group| group.hitless = true), 100..130);
}

#[test]
fn a_set_goes_back_as_one() {
    let failback = |group: &mut GroupSetup| group.failback = Duration::from_millis(700);
    holds(&setup(false, failback), 200..230);
}
