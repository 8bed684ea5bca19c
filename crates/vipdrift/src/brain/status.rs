//! The core's snapshot in the words of the control API.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp as WallTime};
use vipdrift_checks::Report;
use vipdrift_control as control;
use vipdrift_core::{
    CheckSnapshot, DRILL_PACE, Effect, HealthSnapshot, LateOften, Leg, NodeSnapshot, PeerSnapshot,
    PeerStateName, RoleName, Timestamp,
};
use vipdrift_wire::heartbeat::Health;

use super::heart::HeartReport;
use super::now;
use super::slow::SlowParts;
use crate::histogram::Histogram;

/// Turns moments since boot into wall-clock time. The wall clock may be set at any time, and is only ever shown.
#[derive(Debug)]
pub(super) struct WallClock {
    /// What the wall clock said at boot, as far as known.
    boot: Mutex<WallTime>,
}

impl WallClock {
    pub(super) fn new() -> Self {
        Self { boot: Mutex::new(boot()) }
    }

    /// Follows the wall clock. Answers by how much it was set, if by more than `least`.
    pub(super) fn follow(&self, least: Duration) -> Option<SignedDuration> {
        let mut known = self.boot.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = boot().duration_since(*known);
        if moved.unsigned_abs() <= least {
            return None;
        }
        *known = boot();
        Some(moved)
    }

    /// A moment as RFC 3339, to the millisecond.
    fn show(&self, at: Timestamp) -> String {
        let boot = *self.boot.lock().unwrap_or_else(PoisonError::into_inner);
        let since = SignedDuration::try_from(at.since(Timestamp::ZERO)).unwrap_or_default();
        let moment = boot.checked_add(since).unwrap_or(boot);
        moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }
}

fn boot() -> WallTime {
    let since = SignedDuration::try_from(now().since(Timestamp::ZERO)).unwrap_or_default();
    WallTime::now().checked_sub(since).unwrap_or(WallTime::UNIX_EPOCH)
}

/// The whole status.
pub(super) fn of(parts: &SlowParts, report: &HeartReport, clock: &WallClock) -> control::Status {
    let snapshot = &report.snapshot;
    control::Status {
        cluster: parts.cluster.clone(),
        node: parts.resolved.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        health: health(&snapshot.health),
        peers: snapshot.peers.iter().map(|p| peer(p, snapshot, report.at)).collect(),
        groups: groups(parts, report, clock),
        daemon: control::Daemon {
            keeper_pid: parts.keeper_pid,
            brain_pid: std::process::id(),
            brain_starts: parts.life_number,
            ordered: Some(parts.ordered.clone()),
            config_digest: parts.resolved.digest(),
            user: parts.grants.user.clone(),
            real_time: parts.grants.real_time.clone(),
            keeper_real_time: parts.keeper_real_time.clone(),
            memory_locked: parts.grants.memory_locked.clone(),
            system_call_filter: parts.grants.filter(),
            lease: report.lease.clone(),
            pace: pace(snapshot.late_often, parts),
            lateness: lateness(&report.late),
            page: parts.page.clone(),
        },
        counters: counters(parts, report),
    }
}

fn lateness(late: &Histogram) -> control::Lateness {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    control::Lateness {
        wakeups: late.count(),
        p50_us: micros(late.quantile(500)),
        p999_us: micros(late.quantile(999)),
        max_us: micros(late.max()),
    }
}

/// Whether this machine keeps the heartbeat, and what helps.
fn pace(late: Option<LateOften>, parts: &SlowParts) -> String {
    let Some(LateOften { times, worst }) = late else { return "kept".to_owned() };
    let heartbeat = parts.resolved.heartbeat;
    let helps = if parts.grants.real_time == "granted" {
        "set a longer one"
    } else {
        "grant real-time priority, or set a longer one"
    };
    format!(
        "late {times} times within a minute, by up to {} ms: the heartbeat of {} ms is not kept here; {helps}",
        worst.as_millis(),
        heartbeat.as_millis()
    )
}

fn health(health: &HealthSnapshot) -> control::Health {
    let (state, reasons) = match health {
        HealthSnapshot::Healthy => (control::HealthState::Healthy, Vec::new()),
        HealthSnapshot::Fault(reasons) => (control::HealthState::Fault, reasons.clone()),
        HealthSnapshot::Drained => (control::HealthState::Drained, vec!["drained by an operator".to_owned()]),
    };
    control::Health { state, reasons }
}

fn peer(peer: &PeerSnapshot, snapshot: &NodeSnapshot, now: Timestamp) -> control::Peer {
    let named = snapshot.groups.iter().zip(&peer.groups);
    control::Peer {
        node: peer.name.clone(),
        state: match peer.state {
            PeerStateName::Alive => control::PeerState::Alive,
            PeerStateName::Suspect => control::PeerState::Suspect,
            PeerStateName::Silent => control::PeerState::Silent,
            PeerStateName::Left => control::PeerState::Left,
        },
        hears_us: peer.hears_us,
        rtt_us: peer.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        config: match peer.same_config {
            Some(true) => control::PeerConfiguration::Same,
            Some(false) => control::PeerConfiguration::Different,
            None => control::PeerConfiguration::Unknown,
        },
        differs: peer.differs.clone(),
        heard_ms_ago: peer.last_heard.map(|at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)),
        absent_ms: peer.absent_until.map(|at| u64::try_from(at.since(now).as_millis()).unwrap_or(u64::MAX)),
        missed: missed(peer, now),
        health: peer.health.map(|said| match said {
            Health::Healthy => control::HealthState::Healthy,
            Health::Fault => control::HealthState::Fault,
            Health::Drained => control::HealthState::Drained,
        }),
        groups: named
            .filter_map(|(group, said)| {
                said.map(|said| control::PeerGroup {
                    name: group.name.clone(),
                    role: role(said.role),
                    term: said.term,
                    mounted: said.mounted,
                    claiming: said.claiming,
                    demoted: said.demoted,
                })
            })
            .collect(),
    }
}

/// Heartbeats that are overdue. One that is only a little late is not missed yet: the peer is alive then.
fn missed(peer: &PeerSnapshot, now: Timestamp) -> u64 {
    let Some(heard) = peer.last_heard.filter(|_| peer.state != PeerStateName::Alive) else { return 0 };
    u64::try_from(now.since(heard).as_nanos() / peer.interval.as_nanos().max(1)).unwrap_or(u64::MAX)
}

fn role(role: RoleName) -> control::GroupRole {
    match role {
        RoleName::Active => control::GroupRole::Active,
        RoleName::Standby => control::GroupRole::Standby,
        RoleName::Fault => control::GroupRole::Fault,
        RoleName::Drained => control::GroupRole::Drained,
    }
}

fn groups(parts: &SlowParts, report: &HeartReport, clock: &WallClock) -> Vec<control::Group> {
    let snapshot: &NodeSnapshot = &report.snapshot;
    // Checks of all groups stand in the order of the groups.
    let mut reports = report.checks.iter();
    let interfaces = &parts.resolved.interfaces;
    let vip = |vip: &vipdrift_core::VipSnapshot| control::Vip {
        address: vip.address.to_string(),
        interface: interfaces.get(vip.interface.0).cloned().unwrap_or_default(),
        mounted: vip.mounted,
    };
    let mut group = |group: &vipdrift_core::GroupSnapshot| control::Group {
        name: group.name.clone(),
        role: role(group.role),
        active_node: group.active_node.clone(),
        term: group.term,
        since: clock.show(group.since),
        reason: group.reason.clone(),
        occupied_by: group.occupied_by.map(|mac| mac.to_string()),
        vips: group.vips.iter().map(vip).collect(),
        checks: group
            .checks
            .iter()
            .map(|c| check(c, reports.next().and_then(Option::as_ref), clock))
            .collect(),
    };
    snapshot.groups.iter().map(&mut group).collect()
}

fn check(check: &CheckSnapshot, report: Option<&Report>, clock: &WallClock) -> control::Check {
    let seen = report.map(|report| report.outcome.summary.clone());
    control::Check {
        name: check.name.clone(),
        state: if check.failing.is_some() {
            control::CheckState::Failing
        } else {
            control::CheckState::Passing
        },
        effect: match check.effect {
            Effect::Fault => control::CheckEffect::Fault,
            Effect::Demote => control::CheckEffect::Demote,
        },
        reason: check.failing.clone().or(seen).unwrap_or_else(|| "no result yet".to_owned()),
        since: check.since.map(|at| clock.show(at)),
        output: report.map(|report| report.outcome.output.clone()).unwrap_or_default(),
        took_us: report.map(|report| u64::try_from(report.took.as_micros()).unwrap_or(u64::MAX)),
        looks: report.map_or(0, |report| report.looks),
    }
}

/// What a drill has measured.
pub(super) fn drill(group: String, asked_from: String, legs: &[Leg]) -> control::Drill {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let leg = |leg: &Leg| control::DrillLeg {
        from: leg.from.clone(),
        to: leg.to.clone(),
        longest_us: micros(leg.longest()),
        vips: leg
            .vips
            .iter()
            .map(|(address, longest)| control::DrillVip {
                address: address.to_string(),
                longest_us: micros(*longest),
            })
            .collect(),
    };
    control::Drill {
        group,
        asked_from,
        asked_every_us: micros(DRILL_PACE),
        legs: legs.iter().map(leg).collect(),
    }
}

fn counters(parts: &SlowParts, report: &HeartReport) -> control::Counters {
    let counted = &report.snapshot.counters;
    let rejected = counted.datagrams_rejected.iter();
    control::Counters {
        heartbeats_sent: counted.heartbeats_sent,
        heartbeats_heard: counted.heartbeats_heard,
        datagrams_rejected: rejected.map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        frames_rejected: counted.frames_rejected,
        probes_sent: counted.probes_sent,
        probe_answers: counted.probe_answers,
        announcements_sent: counted.announcements_sent,
        conflicts: counted.conflicts,
        late: counted.late,
        send_errors: report.send_errors,
        log_lines_dropped: parts.log.dropped(),
    }
}
