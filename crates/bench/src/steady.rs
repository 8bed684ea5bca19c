//! Left alone on a busy machine: nothing is wrong, so nothing may move.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use vipdrift_lab::Change;

use crate::contender::{self, Contender};
use crate::fault::millis;
use crate::figures::Lateness;
use crate::rig::Rig;
use crate::shape::VIP;
use crate::{Result, child};

/// What was seen of one pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Steady {
    /// Seconds that it was watched.
    seconds: f64,
    /// Times that a node took the VIP, which nothing asked for.
    moves: f64,
    /// Milliseconds with the VIP on two nodes.
    two_holders: f64,
    /// Milliseconds with the VIP on none.
    nobody: f64,
    /// Of the holder and its standby.
    lateness: Vec<Lateness>,
}

/// Watches a pair.
///
/// # Errors
/// The rig could not be brought to hold the VIP.
pub(crate) fn measure(vipdrift: &Path, contender: &'static dyn Contender, span: Duration) -> Result<Steady> {
    let rig = Rig::pair(vipdrift, contender)?;
    let since = Instant::now();
    std::thread::sleep(span);
    let timeline = rig.lab.observer().timeline();
    let (mut moves, mut holders, mut nobody) = (0, 1, Duration::ZERO);
    let mut last = since;
    for happening in timeline.happenings().iter().filter(|happening| happening.at >= since) {
        let before = holders;
        match happening.change {
            Change::Added(address) if address == VIP => {
                (moves, holders) = (moves + 1, holders + 1);
            }
            Change::Removed(address) if address == VIP => holders -= 1,
            _ => continue,
        }
        if before == 0 {
            nobody += happening.at.saturating_duration_since(last);
        }
        last = happening.at;
    }
    let lateness = (0..2).map(|node| contender.lateness(&rig, node)).collect::<Result<Vec<_>>>()?;
    Ok(Steady {
        seconds: since.elapsed().as_secs_f64(),
        moves: f64::from(moves),
        two_holders: millis(timeline.two_holders(VIP, since)),
        nobody: millis(nobody),
        lateness: lateness.into_iter().flatten().collect(),
    })
}

/// What is to be watched.
#[derive(Args)]
pub(crate) struct Plan {
    /// How long, all of them at the same time
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Threads that do nothing but compute meanwhile, at ordinary priority [default: two for each core]
    #[arg(long, value_name = "N")]
    busy: Option<usize>,
    /// Only this contender (may be repeated)
    #[arg(long, value_name = "NAME")]
    contender: Vec<String>,
    /// Where the tables are written
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// Watches all of them at the same time, while the cores are busy, and writes the tables.
///
/// # Errors
/// A name that is none, a file that cannot be written, or a pair that does not come up.
pub(crate) fn run(vipdrift: &Path, plan: &Plan) -> Result<()> {
    let contenders: Vec<&dyn Contender> = if plan.contender.is_empty() {
        contender::of_steady()
    } else {
        plan.contender.iter().map(|name| contender::find(name)).collect::<Result<_>>()?
    };
    std::fs::create_dir_all(&plan.out)?;
    let busy = match plan.busy {
        Some(busy) => busy,
        None => std::thread::available_parallelism()?.get() * 2,
    };
    let seconds = (plan.minutes * 60).to_string();
    let limit = Duration::from_secs(plan.minutes * 60 + 300);
    println!("{} pairs for {} minutes, {busy} busy threads", contenders.len(), plan.minutes);
    let stop = AtomicBool::new(false);
    let all = std::thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let watched: Vec<_> = contenders
            .iter()
            .map(|contender| {
                let (name, seconds) = (contender.name(), seconds.as_str());
                let measured = move || {
                    let steady = child::measure_within(vipdrift, &["steady", name, seconds], limit);
                    steady.map_err(|error| error.to_string())
                };
                (name, scope.spawn(measured))
            })
            .collect();
        let ended = watched.into_iter().map(|(name, watch)| (name, watch.join()));
        let all: Vec<(&str, std::thread::Result<std::result::Result<Steady, String>>)> = ended.collect();
        stop.store(true, Ordering::Relaxed);
        all
    });
    let mut series = Vec::new();
    for (name, outcome) in all {
        match outcome {
            Ok(Ok(steady)) => series.push((name, steady)),
            Ok(Err(error)) => return Err(format!("{name}: {error}").into()),
            Err(_) => return Err(format!("{name}: broke off").into()),
        }
    }
    let text = markdown(&series, busy);
    std::fs::write(plan.out.join("steady.md"), &text)?;
    std::fs::write(plan.out.join("steady.json"), serde_json::to_string_pretty(&series)? + "\n")?;
    println!("\n{text}\nwritten: {}", plan.out.display());
    Ok(())
}

fn markdown(all: &[(&str, Steady)], busy: usize) -> String {
    let mut text = format!(
        "All at the same time, with {busy} threads that do nothing but compute. Lateness: how late the heartbeat thread woke up, \
         by its own account, holder and standby.\n\n\
         | Contender | watched, s | moves | two holders, ms | nobody, ms | lateness: half, µs | 999 of 1,000, µs | worst, µs | \
         late by half a heartbeat |\n|---|---:|---:|---:|---:|---|---|---|---|\n"
    );
    for (name, steady) in all {
        let of = |figure: fn(&Lateness) -> f64| {
            let values: Vec<String> = steady.lateness.iter().map(|l| format!("{:.0}", figure(l))).collect();
            if values.is_empty() { "-".to_owned() } else { values.join(", ") }
        };
        text += &format!(
            "| {name} | {:.0} | {:.0} | {:.1} | {:.1} | {} | {} | {} | {} |\n",
            steady.seconds,
            steady.moves,
            steady.two_holders,
            steady.nobody,
            of(|l| l.half),
            of(|l| l.most_of_all),
            of(|l| l.worst),
            of(|l| l.late),
        );
    }
    text
}
