//! Who held which address when.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A stretch of time; `to` is `None` while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// When it began.
    pub from: Instant,
    /// When it ended.
    pub to: Option<Instant>,
}

/// What happened to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its kernel has the address from now on.
    Added(IpAddr),
    /// Its kernel has it no longer.
    Removed(IpAddr),
    /// Somebody cut it off from the LAN: cable pulled, frames dropped, power off, frozen.
    CutOff,
    /// It is back on the LAN.
    Back,
}

/// One entry of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When the observer read it, on `CLOCK_MONOTONIC`.
    pub at: Instant,
    /// Name of the host.
    pub host: String,
    /// What happened.
    pub change: Change,
}

/// Everything that the observer has seen, in the order in which the kernel did it.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    happenings: Vec<Happening>,
    /// Host, interface, address.
    held: BTreeSet<(String, u32, IpAddr)>,
}

impl Timeline {
    /// The hosts whose kernels hold `vip` now, by name.
    pub fn holders(&self, vip: IpAddr) -> Vec<String> {
        let names: BTreeSet<&String> =
            self.held.iter().filter(|(_, _, address)| *address == vip).map(|(host, _, _)| host).collect();
        names.into_iter().cloned().collect()
    }

    /// Everything seen so far.
    pub fn happenings(&self) -> &[Happening] {
        &self.happenings
    }

    /// When `host` held `vip`, not earlier than `since`.
    pub fn held_by(&self, host: &str, vip: IpAddr, since: Instant) -> Vec<Interval> {
        let mine = self.happenings.iter().filter(|happening| happening.host == host);
        intervals(mine.filter_map(|happening| match happening.change {
            Change::Added(address) if address == vip => Some((happening.at, true)),
            Change::Removed(address) if address == vip => Some((happening.at, false)),
            _ => None,
        }))
        .into_iter()
        .filter_map(|interval| clip(interval, since))
        .collect()
    }

    /// How long, since then, two or more kernels held `vip` at once, whether clients could reach them or not.
    pub fn two_holders(&self, vip: IpAddr, since: Instant) -> Duration {
        self.overlap(vip, since, false)
    }

    /// The same, counting only hosts that were not cut off from the LAN: two that clients could have reached.
    pub fn two_reachable_holders(&self, vip: IpAddr, since: Instant) -> Duration {
        self.overlap(vip, since, true)
    }

    fn overlap(&self, vip: IpAddr, since: Instant, reachable: bool) -> Duration {
        let (mut holding, mut off) = (BTreeSet::new(), BTreeSet::new());
        let mut counts = Vec::new();
        for happening in &self.happenings {
            let host = happening.host.as_str();
            match happening.change {
                Change::Added(address) if address == vip => holding.insert(host),
                Change::Removed(address) if address == vip => holding.remove(host),
                Change::CutOff => off.insert(host),
                Change::Back => off.remove(host),
                _ => continue,
            };
            let count = if reachable { holding.difference(&off).count() } else { holding.len() };
            counts.push((happening.at, count >= 2));
        }
        let now = Instant::now();
        intervals(counts.into_iter())
            .into_iter()
            .filter_map(|interval| clip(interval, since))
            .map(|interval| interval.to.unwrap_or(now).saturating_duration_since(interval.from))
            .sum()
    }

    /// An address is there; false if that was known (renewals repeat themselves).
    pub(crate) fn add(&mut self, at: Instant, host: &str, interface: u32, address: IpAddr) -> bool {
        let first = !self.holds(host, address);
        let news = self.held.insert((host.into(), interface, address)) && first;
        if news {
            self.push(at, host, Change::Added(address));
        }
        news
    }

    pub(crate) fn remove(&mut self, at: Instant, host: &str, interface: u32, address: IpAddr) -> bool {
        let news = self.held.remove(&(host.into(), interface, address)) && !self.holds(host, address);
        if news {
            self.push(at, host, Change::Removed(address));
        }
        news
    }

    /// Makes what is known of `host` equal to what its kernel says; for when events were lost.
    pub(crate) fn settle(&mut self, at: Instant, host: &str, present: &BTreeSet<(u32, IpAddr)>) {
        let known: Vec<(u32, IpAddr)> = self
            .held
            .iter()
            .filter(|(name, _, _)| name == host)
            .map(|&(_, i, address)| (i, address))
            .collect();
        for (interface, address) in known {
            if !present.contains(&(interface, address)) {
                self.remove(at, host, interface, address);
            }
        }
        for &(interface, address) in present {
            self.add(at, host, interface, address);
        }
    }

    pub(crate) fn push(&mut self, at: Instant, host: &str, change: Change) {
        self.happenings.push(Happening { at, host: host.into(), change });
    }

    fn holds(&self, host: &str, address: IpAddr) -> bool {
        self.held.iter().any(|(name, _, held)| name == host && *held == address)
    }
}

/// Intervals during which a yes-or-no question was answered with yes.
fn intervals(answers: impl Iterator<Item = (Instant, bool)>) -> Vec<Interval> {
    let mut found: Vec<Interval> = Vec::new();
    for (at, yes) in answers {
        match found.last_mut().filter(|interval| interval.to.is_none()) {
            Some(open) if !yes => open.to = Some(at),
            None if yes => found.push(Interval { from: at, to: None }),
            _ => {}
        }
    }
    found
}

fn clip(interval: Interval, since: Instant) -> Option<Interval> {
    let over = interval.to.is_some_and(|to| to <= since);
    (!over).then(|| Interval { from: interval.from.max(since), to: interval.to })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 100));

    #[test]
    fn overlap_is_counted_once_and_renewals_not_at_all() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut line = Timeline::default();
        assert!(line.add(at(0), "alpha", 1, VIP));
        assert!(!line.add(at(5), "alpha", 1, VIP));
        line.add(at(10), "bravo", 2, VIP);
        line.add(at(12), "charlie", 3, VIP);
        assert_eq!(line.holders(VIP), ["alpha", "bravo", "charlie"]);
        line.remove(at(14), "charlie", 3, VIP);
        line.remove(at(17), "alpha", 1, VIP);
        assert!(!line.remove(at(18), "alpha", 1, VIP));
        assert_eq!(line.two_holders(VIP, start), Duration::from_millis(7));
        assert_eq!(line.two_holders(VIP, at(15)), Duration::from_millis(2));
        assert_eq!(line.two_holders(VIP, at(17)), Duration::ZERO);
        assert_eq!(line.held_by("alpha", VIP, start), [Interval { from: at(0), to: Some(at(17)) }]);
        assert_eq!(line.held_by("bravo", VIP, at(20)), [Interval { from: at(20), to: None }]);
        assert_eq!(line.holders(VIP), ["bravo"]);
    }

    #[test]
    fn a_host_cut_off_counts_only_where_asked() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut line = Timeline::default();
        line.add(at(0), "alpha", 1, VIP);
        line.push(at(5), "alpha", Change::CutOff);
        line.add(at(10), "bravo", 2, VIP);
        line.push(at(20), "alpha", Change::Back);
        line.remove(at(23), "alpha", 1, VIP);
        assert_eq!(line.two_holders(VIP, start), Duration::from_millis(13));
        assert_eq!(line.two_reachable_holders(VIP, start), Duration::from_millis(3));
    }

    #[test]
    fn lost_events_are_made_up_for() {
        let now = Instant::now();
        let mut line = Timeline::default();
        line.add(now, "alpha", 1, VIP);
        line.settle(now, "alpha", &BTreeSet::new());
        line.settle(now, "bravo", &BTreeSet::from([(2, VIP)]));
        assert_eq!(line.holders(VIP), ["bravo"]);
    }
}
