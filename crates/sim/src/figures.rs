//! What many runs amount to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::invariants::Sample;

/// Numbers of one run or of many.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Runs.
    pub runs: u64,
    /// Time simulated.
    pub simulated: Duration,
    /// Events of any kind.
    pub events: u64,
    /// Datagrams delivered.
    pub datagrams: u64,
    /// Faults that came.
    pub faults: u64,
    /// Times that a VIP was held twice.
    pub contests: u64,
    /// The longest of these.
    pub longest_contest: Duration,
    /// Most changes of role of one group between two rests.
    pub most_transitions: u64,
    pub(crate) outages: Vec<Sample>,
}

impl Figures {
    /// Adds those of another run.
    pub fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.simulated += other.simulated;
        self.events += other.events;
        self.datagrams += other.datagrams;
        self.faults += other.faults;
        self.contests += other.contests;
        self.longest_contest = self.longest_contest.max(other.longest_contest);
        self.most_transitions = self.most_transitions.max(other.most_transitions);
        self.outages.extend(other.outages);
    }

    /// The table of outages: per kind of fault, and at the two usual intervals.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows: BTreeMap<(&str, u8), Vec<&Sample>> = BTreeMap::new();
        for sample in &self.outages {
            rows.entry((&sample.fault, 0)).or_default().push(sample);
            for (place, millis) in [(1, 10), (2, 100)] {
                if sample.heartbeat == Duration::from_millis(millis) {
                    rows.entry((&sample.fault, place)).or_default().push(sample);
                }
            }
        }
        let mut text = String::from(
            "| fault, alone, on the holder | H | groups | p50 ms | p99 ms | max ms | bound ms | most of the bound |\n\
             |---|---|---:|---:|---:|---:|---:|---:|\n",
        );
        for ((fault, place), samples) in rows {
            let interval = ["any", "10 ms", "100 ms"][usize::from(place)];
            text.push_str(&Row { fault, interval, samples }.to_string());
        }
        text
    }
}

struct Row<'a> {
    fault: &'a str,
    interval: &'a str,
    samples: Vec<&'a Sample>,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |span: Duration| format!("{:.1}", span.as_secs_f64() * 1000.0);
        let mut outages: Vec<Duration> = self.samples.iter().map(|sample| sample.outage).collect();
        outages.sort_unstable();
        let at = |share: usize| outages[(outages.len() - 1) * share / 100];
        let bounds: Vec<Duration> = self.samples.iter().filter_map(|sample| sample.bound).collect();
        let bound = match (bounds.iter().min(), bounds.iter().max()) {
            (Some(min), Some(max)) if min == max => ms(*min),
            (Some(min), Some(max)) => format!("{} to {}", ms(*min), ms(*max)),
            _ => "-".to_owned(),
        };
        let shares = self.samples.iter().filter_map(|sample| {
            let bound = sample.bound.filter(|bound| !bound.is_zero())?;
            Some(sample.outage.as_secs_f64() / bound.as_secs_f64())
        });
        let share =
            shares.reduce(f64::max).map_or_else(|| "-".to_owned(), |most| format!("{:.0} %", most * 100.0));
        let (p50, p99, max) = (ms(at(50)), ms(at(99)), ms(at(100)));
        let (fault, interval, runs) = (self.fault, self.interval, outages.len());
        writeln!(f, "| {fault} | {interval} | {runs} | {p50} | {p99} | {max} | {bound} | {share} |")
    }
}
