//! Many seeds, on all processors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use vipdrift_sim::{Figures, Scenario, Violation};

use super::Many;
use super::one::report;

/// One that failed.
struct Failure {
    seed: u64,
    violation: Violation,
    log: Vec<String>,
}

/// True if nothing failed.
pub(super) fn run(many: &Many) -> Result<bool, String> {
    if many.seeds.is_none() && many.minutes.is_none() {
        return Err("say how many --seeds, or for how many --minutes".to_owned());
    }
    let begun = Instant::now();
    let limit = many.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let jobs =
        many.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let last = many.seeds.map_or(u64::MAX, |seeds| many.first.saturating_add(seeds));
    let next = AtomicU64::new(many.first);
    let stop = AtomicBool::new(false);
    let told = AtomicU64::new(0);
    let figures = Mutex::new(Figures::default());
    let failures = Mutex::new(Vec::new());
    let bar = bar(many.seeds, limit);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && limit.is_none_or(|limit| begun.elapsed() < limit) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        break;
                    }
                    let scenario = Scenario::draw(seed, many.common.lasts());
                    let outcome = vipdrift_sim::run(&scenario, many.common.options());
                    if let Some(violation) = outcome.violation {
                        say(&bar, format!("seed {seed}: {}: {}", violation.invariant, violation.text));
                        let failure = Failure { seed, violation, log: outcome.log };
                        lock(&failures).push(failure);
                        stop.fetch_or(!many.keep_going, Ordering::Relaxed);
                    }
                    let runs = {
                        let mut figures = lock(&figures);
                        figures.add(outcome.figures);
                        figures.runs
                    };
                    match many.seeds {
                        Some(_) => bar.inc(1),
                        None => bar.set_position(begun.elapsed().as_secs()),
                    }
                    // Where there is no bar, a line a minute.
                    let minute = begun.elapsed().as_secs() / 60;
                    if bar.is_hidden() && told.fetch_max(minute, Ordering::Relaxed) < minute {
                        say(&bar, format!("{minute} min, {runs} seeds"));
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    let figures = lock(&figures).clone();
    let mut failures = std::mem::take(&mut *lock(&failures));
    failures.sort_by_key(|failure| failure.seed);
    if figures.runs == 0 {
        return Err("no seed was run".to_owned());
    }
    summary(&figures, begun.elapsed(), many.first);
    if let Some(first) = failures.first() {
        report(&format!("seed {}", first.seed), &many.commit, &first.violation, &first.log, false);
        println!("repeat and shrink it: cargo xtask repro {} --hours {}", first.seed, many.common.hours);
    }
    if failures.len() > 1 {
        println!("failed:");
        for failure in &failures {
            println!("  {} {}: {}", failure.seed, failure.violation.invariant, failure.violation.text);
        }
    }
    Ok(failures.is_empty())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A line above the bar, or where there is none.
fn say(bar: &ProgressBar, line: String) {
    if bar.is_hidden() { println!("{line}") } else { bar.println(line) }
}

fn bar(seeds: Option<u64>, limit: Option<Duration>) -> ProgressBar {
    let (length, unit) = match (seeds, limit) {
        (Some(seeds), _) => (seeds, "seeds"),
        (None, Some(limit)) => (limit.as_secs(), "s"),
        (None, None) => (0, ""),
    };
    let bar = ProgressBar::new(length);
    let template = format!("{{bar:40}} {{pos}} of {{len}} {unit}, {{elapsed}} gone, {{eta}} to go");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

fn summary(figures: &Figures, took: Duration, first: u64) {
    println!("{}", figures.table());
    let hours = figures.simulated.as_secs_f64() / 3600.0;
    let secs = took.as_secs_f64();
    println!(
        "{} seeds from {first}, {hours:.0} simulated hours, {} faults, {} events, {} datagrams",
        figures.runs, figures.faults, figures.events, figures.datagrams
    );
    println!(
        "VIPs held twice {} times, the longest for {:.1} ms, each within its bound unless said below; at most {} changes of role from rest to rest",
        figures.contests,
        figures.longest_contest.as_secs_f64() * 1000.0,
        figures.most_transitions
    );
    println!(
        "took {secs:.1} s: {:.1} seeds and {:.0} simulated hours a second",
        figures.runs as f64 / secs,
        hours / secs
    );
}
