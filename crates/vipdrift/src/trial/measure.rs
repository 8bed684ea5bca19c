//! What a client and the kernels saw of one fault.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipdrift_lab::Client;

use super::Cluster;

/// What came of one fault. Times are what the client or the kernels saw, not what a daemon says.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Longest time without an answer, from the last answer before to the first after; zero if no probe was lost.
    pub outage: Duration,
    /// Probes (one a millisecond) that nobody answered, for the VIP that lost most.
    pub lost_probes: usize,
    /// Time during which two nodes had a VIP, by the kernels' own address events.
    pub two_holders: Duration,
    /// How long after the fault the old holder still had a VIP that it lost; `None` if it kept them.
    pub stale: Option<Duration>,
    /// The new holder.
    pub moved_to: Option<String>,
    /// What was not as it should be, a line each; empty if all was.
    pub complaints: Vec<String>,
    /// The client itself was late: its figures may be this machine's.
    pub client_late: bool,
}

/// A stretch of time around a fault.
pub struct Window<'a> {
    cluster: &'a Cluster,
    client: &'a Client,
    vips: Vec<IpAddr>,
    victim: usize,
    since: Instant,
}

impl<'a> Window<'a> {
    /// Begins now, with `victim` as the holder of `vips`.
    #[must_use]
    pub fn open(cluster: &'a Cluster, client: &'a Client, vips: &[IpAddr], victim: usize) -> Self {
        Self { cluster, client, vips: vips.to_vec(), victim, since: Instant::now() }
    }

    /// When it began.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Waits until the client is answered by `node` for every VIP; false if not within `limit`.
    #[must_use]
    pub fn served_by(&self, node: &str, since: Instant, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        self.vips.iter().all(|&vip| self.client.wait_answer_by(vip, node, since, deadline))
    }

    /// Waits until one node other than the victim has all VIPs, and tells which.
    #[must_use]
    pub fn moved(&self, limit: Duration) -> Option<String> {
        let deadline = Instant::now() + limit;
        let observer = self.cluster.lab.observer();
        let victim = &self.cluster.nodes[self.victim].name;
        let mut holder = None;
        observer.wait_until(deadline, |timeline| {
            let mut found: Vec<Vec<String>> = self.vips.iter().map(|&vip| timeline.holders(vip)).collect();
            found.dedup();
            holder = match found.as_slice() {
                [one] if one.len() == 1 && one[0] != *victim => Some(one[0].clone()),
                _ => None,
            };
            holder.is_some()
        });
        holder
    }

    /// Sums up. Waits for answers still under way.
    #[must_use]
    pub fn close(self) -> Outcome {
        // A probe is judged only when it has had time to be answered.
        let until = Instant::now();
        std::thread::sleep(vipdrift_lab::GRACE + Duration::from_millis(1));
        let records: Vec<_> = self.vips.iter().filter_map(|&vip| self.client.record(vip).ok()).collect();
        let lost_probes =
            records.iter().map(|record| record.lost(self.since, until)).max().unwrap_or_default();
        let longest = records.iter().map(|record| record.longest_outage(self.since).duration).max();
        let outage = if lost_probes == 0 { Duration::ZERO } else { longest.unwrap_or_default() };
        let timeline = self.cluster.lab.observer().timeline();
        let two_holders =
            self.vips.iter().map(|&vip| timeline.two_holders(vip, self.since)).max().unwrap_or_default();
        let victim = &self.cluster.nodes[self.victim].name;
        let holders: Vec<String> = self.vips.first().map(|&vip| timeline.holders(vip)).unwrap_or_default();
        let moved_to = holders.iter().find(|holder| *holder != victim).cloned();
        let ends = self.vips.iter().filter_map(|&vip| {
            if timeline.holders(vip).contains(victim) {
                return None;
            }
            timeline.held_by(victim, vip, self.since).last().and_then(|interval| interval.to)
        });
        let stale = ends.max().map(|end| end.saturating_duration_since(self.since));
        Outcome {
            outage,
            lost_probes,
            two_holders,
            stale,
            moved_to,
            complaints: Vec::new(),
            client_late: self.client.was_late(self.since),
        }
    }
}
