//! What the demo found, as a table and as JSON.

use std::time::Duration;

use serde::Serialize;

use crate::trial::{Cost, Fault, Outcome};

/// The object that `demo --json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    nodes: usize,
    heartbeat_ms: u64,
    idle: Idle,
    faults: Vec<Row>,
}

/// What the dearest node costs while nothing happens, keeper and brain together.
#[derive(Debug, Serialize)]
struct Idle {
    /// Share of one core.
    cpu_percent: f64,
    resident_mib: f64,
}

/// One fault. Medians where it was made more than once; `ok` only if every run was.
#[derive(Debug, Serialize)]
struct Row {
    fault: &'static str,
    runs: usize,
    outage_ms: f64,
    lost_probes: usize,
    two_holders_ms: f64,
    stale_vip_ms: Option<f64>,
    moved_to: Option<String>,
    ok: bool,
    /// The outage aimed at with heartbeats every 10 ms.
    goal_ms: Option<f64>,
    /// Least and greatest outage of the runs.
    outage_min_ms: f64,
    outage_max_ms: f64,
    /// Greatest of the runs, since the median would hide it.
    two_holders_max_ms: f64,
    /// Runs in which the client itself was late by more than 5 ms.
    client_late_runs: usize,
}

impl Report {
    pub(super) fn new(nodes: usize, heartbeat_ms: u64, costs: &[Cost]) -> Self {
        let most = |figure: fn(&Cost) -> f64| costs.iter().map(figure).fold(0.0, f64::max);
        let hundredths = |figure: f64| (figure * 100.0).round() / 100.0;
        let idle = Idle {
            cpu_percent: hundredths(most(|cost| cost.cpu_percent)),
            resident_mib: hundredths(most(|cost| cost.resident_mib)),
        };
        Self { nodes, heartbeat_ms, idle, faults: Vec::new() }
    }

    pub(super) fn idle_line(&self) -> String {
        format!(
            "idle: at most {:.2} % of a core and {:.1} MiB for a node's two processes together",
            self.idle.cpu_percent, self.idle.resident_mib
        )
    }

    pub(super) fn add(&mut self, fault: Fault, outcomes: &[Outcome]) {
        let outages: Vec<f64> = outcomes.iter().map(|outcome| ms(outcome.outage)).collect();
        let holders: Vec<f64> = outcomes.iter().map(|outcome| ms(outcome.two_holders)).collect();
        let stale: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.stale.map(ms)).collect();
        let mut lost: Vec<usize> = outcomes.iter().map(|outcome| outcome.lost_probes).collect();
        lost.sort_unstable();
        self.faults.push(Row {
            fault: fault.name(),
            runs: outcomes.len(),
            outage_ms: median(&outages).unwrap_or_default(),
            lost_probes: lost.get(lost.len() / 2).copied().unwrap_or_default(),
            two_holders_ms: median(&holders).unwrap_or_default(),
            stale_vip_ms: median(&stale),
            moved_to: outcomes.last().and_then(|outcome| outcome.moved_to.clone()),
            ok: outcomes.iter().all(|outcome| outcome.complaints.is_empty()),
            goal_ms: fault.goal().map(ms),
            outage_min_ms: outages.iter().copied().fold(f64::INFINITY, f64::min),
            outage_max_ms: outages.iter().copied().fold(0.0, f64::max),
            two_holders_max_ms: holders.iter().copied().fold(0.0, f64::max),
            client_late_runs: outcomes.iter().filter(|outcome| outcome.client_late).count(),
        });
    }

    pub(super) fn all_ok(&self) -> bool {
        self.faults.iter().all(|row| row.ok)
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The fault added last, in a line.
    pub(super) fn last_line(&self) -> String {
        let Some(row) = self.faults.last() else { return String::new() };
        let moved =
            row.moved_to.as_ref().map_or_else(|| "no move".to_owned(), |node| format!("now on {node}"));
        let probes = if row.lost_probes == 1 { "probe" } else { "probes" };
        format!("outage {:.1} ms, {} {probes} lost, {moved}", row.outage_ms, row.lost_probes)
    }

    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "{:<24} {:>4} {:>9} {:>7} {:>14} {:>4} {:>11} {:>10} {:>8}\n",
            "fault",
            "runs",
            "outage ms",
            "aim",
            "least..most",
            "lost",
            "two holders",
            "stale VIP",
            "moved to"
        );
        for row in &self.faults {
            let spread = if row.runs > 1 {
                format!("{:.1}..{:.1}", row.outage_min_ms, row.outage_max_ms)
            } else {
                String::new()
            };
            let aim = match row.goal_ms {
                None => "-".to_owned(),
                Some(0.0) => "0".to_owned(),
                Some(goal) => format!("< {goal:.0}"),
            };
            let stale = row.stale_vip_ms.map_or_else(|| "-".to_owned(), |stale| format!("{stale:.1} ms"));
            text += &format!(
                "{:<24} {:>4} {:>9.1} {:>7} {:>14} {:>4} {:>11} {:>10} {:>8}  {}\n",
                row.fault,
                row.runs,
                row.outage_ms,
                aim,
                spread,
                row.lost_probes,
                format!("{:.1} ms", row.two_holders_max_ms),
                stale,
                row.moved_to.as_deref().unwrap_or("-"),
                if row.ok { "ok" } else { "NOT OK" }
            );
        }
        text
    }

    pub(super) fn verdict(&self, took: Duration) -> String {
        let late: usize = self.faults.iter().map(|row| row.client_late_runs).sum();
        let late = if late > 0 {
            format!("\nThe client itself was late by more than 5 ms in {late} of the runs: a busy machine.")
        } else {
            String::new()
        };
        let good = self.faults.iter().filter(|row| row.ok).count();
        format!(
            "{good} of {} faults as they should be, in {} s.\n\
             Outage: from the last answer that the client got to the next.{late}",
            self.faults.len(),
            took.as_secs()
        )
    }
}

/// A counter that stays on its line.
pub(super) fn progress(fault: Fault, number: u32, of: u32, outcomes: &[Outcome]) {
    let outages: Vec<f64> = outcomes.iter().map(|outcome| ms(outcome.outage)).collect();
    eprint!(
        "\r  {} {number}/{of}, median outage {:.1} ms ",
        fault.name(),
        median(&outages).unwrap_or_default()
    );
    if number == of {
        eprintln!();
    }
}

/// A line of a daemon's log that tells of a change of role.
pub(super) fn is_decision(line: &str) -> bool {
    // What becomes of a node that does not hold the group is in its log.
    line.contains("active -> ") || line.contains(" -> active")
}

/// A log line without its date: the demo has a clock of its own.
pub(super) fn shorten(line: &str) -> &str {
    line.split_once("Z ").map_or(line, |(_, rest)| rest)
}

fn ms(span: Duration) -> f64 {
    // Tenths of a millisecond are as fine as a probe a millisecond can tell.
    (span.as_secs_f64() * 10_000.0).round() / 10.0
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(outage_ms: u64, complaints: &[&str]) -> Outcome {
        Outcome {
            outage: Duration::from_millis(outage_ms),
            lost_probes: usize::try_from(outage_ms).unwrap(),
            two_holders: Duration::ZERO,
            stale: None,
            moved_to: Some("bravo".into()),
            complaints: complaints.iter().map(|&text| text.to_owned()).collect(),
            client_late: false,
        }
    }

    #[test]
    fn json_has_the_fields_of_the_contract() {
        let mut report = Report::new(3, 10, &[]);
        report.add(Fault::HostDead, &[outcome(30, &[]), outcome(10, &[]), outcome(20, &[])]);
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["nodes"], 3);
        assert_eq!(json["heartbeat_ms"], 10);
        let fault = &json["faults"][0];
        assert_eq!(fault["fault"], "host_dead");
        assert_eq!(fault["runs"], 3);
        assert_eq!(fault["outage_ms"], 20.0);
        assert_eq!(fault["lost_probes"], 20);
        assert_eq!(fault["two_holders_ms"], 0.0);
        assert!(fault["stale_vip_ms"].is_null());
        assert_eq!(fault["moved_to"], "bravo");
        assert_eq!(fault["ok"], true);
    }

    #[test]
    fn one_bad_run_is_not_hidden_by_good_ones() {
        let mut report = Report::new(3, 10, &[]);
        report.add(Fault::HostDead, &[outcome(1, &[]), outcome(1, &["two holders"]), outcome(1, &[])]);
        assert!(!report.all_ok());
        assert!(report.table().contains("NOT OK"));
    }

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
