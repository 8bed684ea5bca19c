//! Scenarios that once broke an invariant, shrunk and kept; and that a scenario always goes the same way.

use std::path::Path;
use std::time::Duration;

use vipdrift_sim::{Options, Scenario, run};

#[test]
fn what_was_broken_once_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(&file).unwrap();
        let scenario = Scenario::from_text(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let outcome = run(&scenario, Options::default());
        assert_eq!(outcome.violation, None, "{name}");
    }
}

#[test]
fn the_same_seed_goes_the_same_way_and_another_does_not() {
    let hash = |seed| run(&Scenario::draw(seed, Duration::from_secs(300)), Options::default()).hash;
    for seed in 0..3 {
        assert_eq!(hash(seed), hash(seed));
        assert_ne!(hash(seed), hash(seed + 1));
    }
}

#[test]
fn a_scenario_as_text_is_the_same_scenario() {
    for seed in 0..50 {
        let scenario = Scenario::draw(seed, Duration::from_secs(600));
        assert_eq!(Scenario::from_text(&scenario.to_text()), Ok(scenario), "seed {seed}");
    }
}
