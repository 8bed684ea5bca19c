//! Tables for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Result;
use crate::contender::Contender;
use crate::fault::Fault;
use crate::figures::{Figures, Spread};
use crate::many::Series;

/// One run, in a line.
pub(crate) fn line(figures: &Figures) -> String {
    if let Some(cost) = figures.cost {
        return format!(
            "cpu {:.2} and {:.2} %, memory {:.1} and {:.1} MiB, {:.1} frames and {:.0} bytes a second",
            cost.cpu[0], cost.cpu[1], cost.memory[0], cost.memory[1], cost.frames, cost.bytes
        );
    }
    let or_never =
        |time: Option<f64>| time.map_or_else(|| "never".to_owned(), |time| format!("{time:.1} ms"));
    format!(
        "lost {:.0}, outage {:.1} ms, moved {}, two holders {}, stale {}, later lost {:.0}{}",
        figures.lost,
        figures.outage,
        or_never(figures.moved),
        figures.two_holders.map_or_else(|| "always".to_owned(), |time| format!("{time:.1} ms")),
        or_never(figures.stale),
        figures.lost_later,
        if figures.late { ", client late" } else { "" }
    )
}

/// Tables of all faults.
pub(crate) fn markdown(all: &[Series], contenders: &[&dyn Contender], faults: &[Fault]) -> String {
    let mut text =
        String::from("Median (least to most); times in milliseconds, one probe a millisecond.\n\n");
    text += "| Contender | Configuration |\n|---|---|\n";
    for contender in contenders {
        let _ = writeln!(text, "| {} | {} |", contender.name(), contender.configuration());
    }
    for &fault in faults {
        let series: Vec<&Series> = all.iter().filter(|series| series.fault == fault).collect();
        let _ = write!(text, "\n**{}**: {}\n\n", fault.name().replace('_', " "), fault.story());
        text += &if fault == Fault::Idle { idle_table(&series) } else { fault_table(&series) };
    }
    text += "\n**Ratios** of the medians of lost probes, ours to those of the best peer. A peer that answers on both nodes all the \
             time is none: who is reached is chance then.\n\n";
    text += &ratios(all, faults);
    text
}

/// Ours, by name.
fn is_ours(series: &Series) -> bool {
    series.contender.name().starts_with("vipdrift")
}

fn ratios(all: &[Series], faults: &[Fault]) -> String {
    let mut text = String::from(
        "| Fault | ours | probes lost | best peer | probes lost | ratio | two holders with that peer, ms |\n\
         |---|---|---:|---|---:|---:|---:|\n",
    );
    let lost = |series: &Series| Some(Spread::of(series.runs.iter().map(|run| run.lost))?.median);
    for &fault in faults.iter().filter(|&&fault| fault != Fault::Idle) {
        let of_fault = || all.iter().filter(|series| series.fault == fault);
        let peers = of_fault().filter(|series| !is_ours(series) && !series.contender.is_on_all());
        let best = peers
            .filter_map(|series| Some((series, lost(series)?)))
            .min_by(|(_, one), (_, other)| one.total_cmp(other));
        let Some((best, by_best)) = best else { continue };
        let both = Spread::of(best.runs.iter().filter_map(|run| run.two_holders));
        for ours in of_fault().filter(|series| is_ours(series)) {
            let Some(by_ours) = lost(ours) else { continue };
            let ratio = match (by_ours == 0.0, by_best == 0.0) {
                (true, _) => "0".to_owned(),
                (false, true) => "-".to_owned(),
                (false, false) => format!("{:.3}", by_ours / by_best),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {ratio} | {} |",
                fault.name().replace('_', " "),
                ours.contender.name(),
                plain(by_ours),
                best.contender.name(),
                plain(by_best),
                both.map_or_else(|| "-".to_owned(), show),
            );
        }
    }
    text
}

fn fault_table(all: &[&Series]) -> String {
    let mut text = String::from(
        "| Contender | runs | probes lost | outage | VIP on the other node after | two holders | stale VIP gone after | lost when undone |\n\
         |---|---:|---|---|---|---|---|---|\n",
    );
    for series in all {
        let of = |figure: fn(&Figures) -> Option<f64>| {
            let values: Vec<f64> = series.runs.iter().filter_map(figure).collect();
            let missing = series.runs.len() - values.len();
            match Spread::of(values) {
                None if missing > 0 => "never".to_owned(),
                None => "-".to_owned(),
                Some(spread) if missing > 0 => format!("{} (never: {missing})", show(spread)),
                Some(spread) => show(spread),
            }
        };
        let _ = writeln!(
            text,
            "| {} | {}{} | {} | {} | {} | {} | {} | {} |",
            series.contender.name(),
            series.runs.len(),
            if series.failed > 0 { format!(" ({} failed)", series.failed) } else { String::new() },
            of(|run| Some(run.lost)),
            of(|run| Some(run.outage)),
            of(|run| run.moved),
            if series.contender.is_on_all() { "always".to_owned() } else { of(|run| run.two_holders) },
            if series.contender.is_on_all() { "never".to_owned() } else { of(|run| run.stale) },
            of(|run| Some(run.lost_later)),
        );
    }
    text
}

fn idle_table(all: &[&Series]) -> String {
    let mut text = String::from(
        "| Contender | runs | CPU of the holder, % of a core | of the standby | memory of the holder, MiB | of the standby | frames a second, both | bytes a second, both |\n\
         |---|---:|---|---|---|---|---|---|\n",
    );
    for series in all {
        let of = |figure: fn(&crate::figures::Cost) -> f64| {
            let values = series.runs.iter().filter_map(|run| run.cost.as_ref()).map(figure);
            Spread::of(values).map_or_else(|| "-".to_owned(), show)
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            series.contender.name(),
            series.runs.len(),
            of(|cost| cost.cpu[0]),
            of(|cost| cost.cpu[1]),
            of(|cost| cost.memory[0]),
            of(|cost| cost.memory[1]),
            of(|cost| cost.frames),
            of(|cost| cost.bytes),
        );
    }
    text
}

fn plain(value: f64) -> String {
    let number = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    number.trim_end_matches(".0").to_owned()
}

pub(crate) fn show(spread: Spread) -> String {
    if spread.least == spread.most {
        return plain(spread.median);
    }
    format!("{} ({} to {})", plain(spread.median), plain(spread.least), plain(spread.most))
}

#[derive(Serialize)]
struct Entry<'s> {
    contender: &'s str,
    configuration: &'s str,
    fault: &'s str,
    failed: u32,
    runs: &'s [Figures],
}

/// Every run.
///
/// # Errors
/// A figure that is no number.
pub(crate) fn json(all: &[Series]) -> Result<String> {
    let entries: Vec<Entry<'_>> = all
        .iter()
        .map(|series| Entry {
            contender: series.contender.name(),
            configuration: series.contender.configuration(),
            fault: series.fault.name(),
            failed: series.failed,
            runs: &series.runs,
        })
        .collect();
    Ok(serde_json::to_string_pretty(&entries)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_short() {
        let spread = |least, median, most| show(Spread { least, median, most });
        assert_eq!(spread(0.0, 0.0, 0.0), "0");
        assert_eq!(spread(28.0, 31.25, 36.0), "31.2 (28 to 36)");
        assert_eq!(spread(610.1, 612.0, 1614.9), "612 (610 to 1615)");
    }
}
