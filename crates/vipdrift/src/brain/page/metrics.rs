//! What monitoring reads, in the text format of Prometheus (version 0.0.4), named by its conventions: base units, `_total` for
//! what is counted, and a state as one series for each that it could be.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use vipdrift_control::{CheckState, GroupRole, HealthState, PeerConfiguration, PeerState};
use vipdrift_core::{Cause, RoundTrips};

use super::board::View;

/// Content type of the answer.
pub(super) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the lateness.
const LATE: [Duration; 11] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// All of them.
pub(super) fn text(view: &Arc<View>) -> String {
    let mut registry = Registry::with_prefix("vipdrift");
    registry.register_collector(Box::new(Metrics(Arc::clone(view))));
    let mut text = String::new();
    // A string takes everything.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

struct Metrics(Arc<View>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(..)")
    }
}

type Labels<'l> = Vec<(&'static str, &'l str)>;

/// Writes families of metrics.
struct Sheet<'e>(DescriptorEncoder<'e>);

impl Sheet<'_> {
    /// A family of metrics, each with its labels; none at all where there are no lines.
    fn family<'l, V>(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        lines: impl IntoIterator<Item = (Labels<'l>, V)>,
        write: impl Fn(MetricEncoder<'_>, &V) -> fmt::Result,
    ) -> fmt::Result {
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        lines.try_for_each(|(labels, value)| write(family.encode_family(&labels)?, &value))
    }

    /// What may go up and down.
    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        lines: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        self.family((name, help, MetricType::Gauge), lines, |mut line, value| line.encode_gauge(value))
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.gauges(name, help, [(Vec::new(), value)])
    }

    /// What only grows. `_total` is added to the name.
    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        lines: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        self.family((name, help, MetricType::Counter), lines, |mut line, value| {
            line.encode_counter::<Labels<'_>, u64, f64>(value, None)
        })
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help, [(Vec::new(), value)])
    }

    /// How many were no longer than each bound; last those beyond.
    fn histograms<'l>(
        &mut self,
        name: &str,
        help: &str,
        lines: impl IntoIterator<Item = (Labels<'l>, Counted<'l>)>,
    ) -> fmt::Result {
        self.family((name, help, MetricType::Histogram), lines, |mut line, counted| {
            let bounds = counted.bounds.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(counted.counts.iter().copied()).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            line.encode_histogram::<Labels<'_>>(counted.sum.as_secs_f64(), count, &buckets, None)
        })
    }
}

struct Counted<'c> {
    bounds: &'c [Duration],
    counts: Vec<u64>,
    sum: Duration,
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

/// One series for each state, of which one is 1.
fn states<'l, S: PartialEq>(
    labels: Labels<'l>,
    key: &'static str,
    all: &[(S, &'static str)],
    now: &S,
) -> Vec<(Labels<'l>, f64)> {
    let line = |(state, word): &(S, &'static str)| {
        let mut labels = labels.clone();
        labels.push((key, word));
        (labels, flag(state == now))
    };
    all.iter().map(line).collect()
}

/// Seconds since 1970 of a moment in the status.
fn seconds(moment: &str) -> f64 {
    moment.parse::<jiff::Timestamp>().map_or(f64::NAN, |at| at.as_duration().as_secs_f64())
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        self.node(&mut sheet)?;
        self.groups(&mut sheet)?;
        self.checks(&mut sheet)?;
        self.peers(&mut sheet)?;
        self.traffic(&mut sheet)?;
        self.pace(&mut sheet)
    }
}

impl Metrics {
    fn node(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let status = &self.0.status;
        let version = vec![("version", status.version.as_str())];
        sheet.gauges("build_info", "The running program; always 1.", [(version, 1.0)])?;
        let labels = vec![
            ("cluster", status.cluster.as_str()),
            ("node", status.node.as_str()),
            ("config_digest", status.daemon.config_digest.as_str()),
        ];
        let help = "This node, and the digest of the configuration that it runs with: the same on nodes that agree; always 1.";
        sheet.gauges("node_info", help, [(labels, 1.0)])?;
        let all = [
            (HealthState::Healthy, "healthy"),
            (HealthState::Fault, "fault"),
            (HealthState::Drained, "drained"),
        ];
        let lines = states(vec![], "state", &all, &status.health.state);
        sheet.gauges("health", "Health of this node: 1 for the state that it is in.", lines)?;
        let help = "Brains started since the daemon was: each but the first replaces one that died or hung, or follows a reload.";
        sheet.counter("brain_starts", help, u64::from(status.daemon.brain_starts))?;
        let renewals = self.0.report.renewals;
        sheet.counter(
            "lease_renewals",
            "Lifetimes of mounted VIPs that the keeper has renewed.",
            renewals,
        )?;
        let lifetime = self.0.report.renewed.and_then(|(_, lifetime)| lifetime);
        let help = "Lifetime that mounted VIPs are given when they are renewed, three times in it: the kernel takes off what is not; \
                    missing before the first.";
        let lifetime = lifetime.map(|span| (vec![], span.as_secs_f64()));
        sheet.gauges("lease_lifetime_seconds", help, lifetime)?;
        let age = self.0.report.renewed.map(|(at, _)| self.0.report.at.since(at).as_secs_f64());
        let help = "Time since lifetimes of mounted VIPs were last renewed; missing before the first.";
        sheet.gauges("lease_renewal_age_seconds", help, age.map(|age| (vec![], age)))
    }

    fn groups(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let groups = &self.0.status.groups;
        let all = [
            (GroupRole::Active, "active"),
            (GroupRole::Standby, "standby"),
            (GroupRole::Fault, "fault"),
            (GroupRole::Drained, "drained"),
        ];
        let roles = groups.iter().flat_map(|group| states(label(&group.name), "role", &all, &group.role));
        sheet.gauges("group_role", "Role of this node in the group: 1 for the one that it has.", roles)?;
        let held = groups.iter().map(|group| (label(&group.name), flag(group.active_node.is_some())));
        sheet.gauges("group_held", "1 if this node knows of one that is active for the group.", held)?;
        #[expect(clippy::cast_precision_loss, reason = "a term is far below 2^52")]
        let terms = groups.iter().map(|group| (label(&group.name), group.term as f64));
        sheet.gauges("group_term", "Number of the present reign.", terms)?;
        let since = groups.iter().map(|group| (label(&group.name), seconds(&group.since)));
        let help = "When the role of this node in the group last changed.";
        sheet.gauges("group_role_since_timestamp_seconds", help, since)?;
        let occupied = groups.iter().map(|group| (label(&group.name), flag(group.occupied_by.is_some())));
        let help = "1 if somebody who is not the active node answers for a VIP of the group.";
        sheet.gauges("group_occupied", help, occupied)?;
        let vips = groups.iter().flat_map(|group| {
            group.vips.iter().map(|vip| {
                let mut labels = label(&group.name);
                labels.push(("vip", &vip.address));
                (labels, flag(vip.mounted))
            })
        });
        sheet.gauges("vip_mounted", "1 if the kernel of this node has the VIP.", vips)?;
        let reported = &self.0.report.snapshot.groups;
        let takeovers = reported.iter().flat_map(|group| {
            Cause::ALL.into_iter().map(|cause| {
                let mut labels = label(&group.name);
                labels.push(("cause", cause.word()));
                (labels, group.takeovers.get(&cause).copied().unwrap_or(0))
            })
        });
        let help = "Times that this node has taken the group over, by how it came to it: the holder fell silent, let go, handed over \
                    without a gap, nobody was known to hold it, or somebody answered and it was claimed all the same.";
        sheet.counters("takeovers", help, takeovers)?;
        let outages =
            reported.iter().filter_map(|group| Some((label(&group.name), group.outage?.as_secs_f64())));
        let help = "From the last sign of the holder before it until this node had mounted the VIPs, at its last takeover; missing \
                    if nobody is known to have held them.";
        sheet.gauges("takeover_outage_seconds", help, outages)
    }

    fn checks(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let all = || {
            self.0.status.groups.iter().flat_map(|group| {
                group.checks.iter().map(|check| {
                    let mut labels = label(&group.name);
                    labels.push(("check", &check.name));
                    (labels, check)
                })
            })
        };
        let passing = all().map(|(labels, check)| (labels, flag(check.state == CheckState::Passing)));
        sheet.gauges("check_passing", "1 if the health check passes.", passing)?;
        let looks = all().map(|(labels, check)| (labels, check.looks));
        sheet.counters("check_looks", "Times that it has looked.", looks)?;
        let took = all().filter_map(|(labels, check)| {
            Some((labels, Duration::from_micros(check.took_us?).as_secs_f64()))
        });
        sheet.gauges("check_duration_seconds", "How long the last look took.", took)
    }

    fn peers(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let peers = &self.0.status.peers;
        let all = [
            (PeerState::Alive, "alive"),
            (PeerState::Suspect, "suspect"),
            (PeerState::Silent, "silent"),
            (PeerState::Left, "left"),
        ];
        let lines = peers.iter().flat_map(|peer| states(peer_label(&peer.node), "state", &all, &peer.state));
        sheet.gauges(
            "peer_state",
            "State of a peer as this node sees it: 1 for the one that it is in.",
            lines,
        )?;
        let hears = peers.iter().map(|peer| (peer_label(&peer.node), flag(peer.hears_us)));
        sheet.gauges("peer_hears_this_node", "1 if the peer says that it hears this node.", hears)?;
        let same = peers.iter().filter(|peer| peer.config != PeerConfiguration::Unknown);
        let same = same.map(|peer| (peer_label(&peer.node), flag(peer.config == PeerConfiguration::Same)));
        let help = "1 if the peer runs with the same configuration; missing until it has said so.";
        sheet.gauges("peer_config_same", help, same)?;
        let heard = peers.iter().filter_map(|peer| {
            Some((peer_label(&peer.node), Duration::from_millis(peer.heard_ms_ago?).as_secs_f64()))
        });
        let help = "Time since the peer was last heard; missing if it never was.";
        sheet.gauges("peer_heard_age_seconds", help, heard)?;
        let trips = self.0.report.snapshot.peers.iter().map(|peer| {
            let trips = &peer.round_trips;
            let counted =
                Counted { bounds: &RoundTrips::BOUNDS, counts: trips.counts.to_vec(), sum: trips.sum };
            (peer_label(&peer.name), counted)
        });
        sheet.histograms("peer_round_trip_seconds", "Round-trip times of heartbeats.", trips)
    }

    fn traffic(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let counted = &self.0.status.counters;
        sheet.counter("heartbeats_sent", "Heartbeats sent.", counted.heartbeats_sent)?;
        sheet.counter("heartbeats_heard", "Heartbeats of peers accepted.", counted.heartbeats_heard)?;
        let rejected = counted.datagrams_rejected.iter();
        let rejected = rejected.map(|(reason, count)| (vec![("reason", reason.as_str())], *count));
        sheet.counters(
            "datagrams_rejected",
            "Datagrams on the heartbeat port that were not accepted.",
            rejected,
        )?;
        sheet.counter(
            "frames_rejected",
            "ARP and Neighbor Discovery frames that could not be parsed.",
            counted.frames_rejected,
        )?;
        sheet.counter("occupancy_probes", "Questions who answers for a VIP.", counted.probes_sent)?;
        sheet.counter("occupancy_answers", "Answers to them.", counted.probe_answers)?;
        sheet.counter("announcements", "Announcements of mounted VIPs.", counted.announcements_sent)?;
        sheet.counter(
            "conflicts",
            "Claims of somebody else for a VIP that this node holds.",
            counted.conflicts,
        )?;
        sheet.counter("send_errors", "What the kernel did not take to send.", counted.send_errors)?;
        sheet.counter(
            "log_lines_dropped",
            "Lines that the log did not take in time.",
            counted.log_lines_dropped,
        )
    }

    fn pace(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let kept = flag(self.0.status.daemon.pace == "kept");
        sheet.gauge("pace_kept", "1 if this machine keeps the heartbeat interval.", kept)?;
        let late = self.0.status.counters.late;
        sheet.counter("late", "Times that the heartbeat was late by more than half an interval.", late)?;
        let late = &self.0.report.late;
        let (counts, beyond) = late.counts(&LATE);
        let counts = counts.into_iter().chain([beyond]).collect();
        let counted = Counted { bounds: &LATE, counts, sum: late.sum() };
        let help = "How late the thread that sends and judges heartbeats woke up for its timers.";
        sheet.histograms("lateness_seconds", help, [(vec![], counted)])
    }
}

fn label(group: &str) -> Labels<'_> {
    vec![("group", group)]
}

fn peer_label(peer: &str) -> Labels<'_> {
    vec![("peer", peer)]
}
