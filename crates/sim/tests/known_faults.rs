//! Who watches the watchers: known faults are put into the core, one at a time, and each must be caught.

#![cfg(feature = "sabotage")]

use std::time::Duration;

use vipdrift_core::Sabotage;
use vipdrift_sim::{Options, Scenario, run};

/// Worlds of this length.
const LASTS: Duration = Duration::from_secs(3600);

/// The number of seeds, from 0 on, within which a fault must be caught.
fn limit(fault: Sabotage) -> u64 {
    match fault {
        Sabotage::SkipProbe
        | Sabotage::IgnoreTerms
        | Sabotage::AnnounceFirst
        | Sabotage::HalfDeadTime
        | Sabotage::RenewUnasked => 10,
        Sabotage::ResignFirst | Sabotage::NoClockGap => 25,
        Sabotage::KeepIsolated | Sabotage::IgnoreStrangers | Sabotage::StaleEcho => 50,
    }
}

#[test]
fn each_is_caught() {
    let mut missed = Vec::new();
    for fault in Sabotage::ALL {
        let caught = (0..limit(fault)).find_map(|seed| {
            let scenario = Scenario::draw(seed, LASTS);
            let options = Options { sabotage: Some(fault), ..Options::default() };
            run(&scenario, options).violation.map(|violation| (seed, scenario, violation))
        });
        let Some((seed, scenario, violation)) = caught else {
            missed.push(fault.name());
            continue;
        };
        println!(
            "{} caught with the {}. seed: {}: {}",
            fault.name(),
            seed + 1,
            violation.invariant,
            violation.text
        );
        // It is the fault that was caught, and nothing else.
        assert_eq!(run(&scenario, Options::default()).violation, None, "seed {seed}");
    }
    assert!(missed.is_empty(), "not caught: {}", missed.join(", "));
}
