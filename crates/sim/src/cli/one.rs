//! One scenario: told, and shrunk if it fails.

use std::path::Path;

use vipdrift_sim::{Scenario, Violation, shrink};

use super::One;

/// State changes told without `--whole-log`.
const TOLD: usize = 30;

/// True if nothing failed.
pub(super) fn run(one: &One) -> Result<bool, String> {
    let scenario = match one.scenario.parse::<u64>() {
        Ok(seed) => Scenario::draw(seed, one.common.lasts()),
        Err(_) => {
            let text = std::fs::read_to_string(&one.scenario)
                .map_err(|error| format!("{}: {error}; a seed or a file is wanted", one.scenario))?;
            Scenario::from_text(&text).map_err(|error| format!("{}: {error}", one.scenario))?
        }
    };
    if one.print {
        print!("{}", scenario.to_text());
        return Ok(true);
    }
    let mut options = one.common.options();
    options.verbose = true;
    let outcome = vipdrift_sim::run(&scenario, options);
    let Some(violation) = outcome.violation else {
        if one.whole_log {
            outcome.log.iter().for_each(|line| println!("{line}"));
        }
        println!("{}", outcome.figures.table());
        println!("no violation; {} events, hash {:016x}", outcome.figures.events, outcome.hash);
        return Ok(true);
    };
    report(&one.scenario, &one.commit, &violation, &outcome.log, one.whole_log);
    if one.no_shrink {
        return Ok(false);
    }
    let small = shrink(&scenario, &violation, one.common.options());
    let outcome = vipdrift_sim::run(&small.scenario, options);
    println!(
        "shrunk from {} faults to {} in {} runs:\n",
        scenario.faults.len(),
        small.scenario.faults.len(),
        small.runs
    );
    let text = small.scenario.to_text();
    println!("{text}");
    if let Some(violation) = outcome.violation {
        report("shrunk", &one.commit, &violation, &outcome.log, one.whole_log);
    }
    if let Some(folder) = &one.keep_in {
        keep(folder, &format!("{}-{}", violation.invariant, scenario.seed), &text)?;
    }
    Ok(false)
}

fn keep(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = folder.join(format!("{name}.toml"));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    println!("written to {}: it is run with the tests from now on", path.display());
    Ok(())
}

/// Tells what was broken, and what came before.
pub(super) fn report(what: &str, commit: &str, violation: &Violation, log: &[String], whole: bool) {
    let from = if whole { 0 } else { log.len().saturating_sub(TOLD) };
    for line in &log[from..] {
        println!("  {line}");
    }
    let at = violation.at.as_secs_f64();
    let node =
        violation.node.map_or_else(String::new, |node| format!(", node {}", vipdrift_sim::NodeNumber(node)));
    println!(
        "{what}, commit {commit}: {} broken at {at:.6} s{node}: {}",
        violation.invariant, violation.text
    );
}
