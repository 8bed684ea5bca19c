//! The status for people.

use std::fmt::Write as _;

use vipdrift_control::{Group, GroupRole, Health, HealthState, Peer, PeerConfiguration, PeerState, Status};

use super::table::{columns, row};

/// The status in a few lines.
pub(super) fn status(status: &Status) -> String {
    let mut out = format!("node {} of cluster {}: {}\n", status.node, status.cluster, health(&status.health));
    let mut rows = vec![row(["GROUP", "ROLE", "ACTIVE", "TERM", "SINCE", "VIPS"])];
    rows.extend(status.groups.iter().map(group));
    let _ = write!(out, "\n{}", columns(&rows));
    for group in &status.groups {
        let _ = writeln!(out, "  {}: {}", group.name, group.reason);
        if let Some(mac) = &group.occupied_by {
            let _ = writeln!(out, "  {}: {mac} answers for a VIP", group.name);
        }
    }
    if !status.peers.is_empty() {
        let mut rows = vec![row(["PEER", "STATE", "HEARS US", "ROUND TRIP", "CONFIGURATION"])];
        rows.extend(status.peers.iter().map(peer));
        let _ = write!(out, "\n{}", columns(&rows));
    }
    let daemon = &status.daemon;
    let grants =
        [&daemon.real_time, &daemon.keeper_real_time, &daemon.memory_locked, &daemon.system_call_filter];
    let mut degraded: Vec<_> = grants.into_iter().filter(|state| *state != "granted").collect();
    degraded.dedup();
    if !degraded.is_empty() {
        out.push('\n');
        for why in degraded {
            let _ = writeln!(out, "degraded: {why}");
        }
    }
    out
}

fn health(health: &Health) -> String {
    match health.state {
        HealthState::Healthy => "healthy".to_owned(),
        HealthState::Fault => format!("fault: {}", health.reasons.join("; ")),
        HealthState::Drained => "drained".to_owned(),
    }
}

fn group(group: &Group) -> Vec<String> {
    let role = match group.role {
        GroupRole::Active => "active",
        GroupRole::Standby => "standby",
        GroupRole::Fault => "fault",
        GroupRole::Drained => "drained",
    };
    let vips: Vec<_> = group
        .vips
        .iter()
        .map(|vip| format!("{}{}", vip.address, if vip.mounted { " (mounted)" } else { "" }))
        .collect();
    vec![
        group.name.clone(),
        role.to_owned(),
        group.active_node.clone().unwrap_or_else(|| "-".to_owned()),
        group.term.to_string(),
        group.since.get(..19).unwrap_or(&group.since).replace('T', " "),
        vips.join(", "),
    ]
}

fn peer(peer: &Peer) -> Vec<String> {
    let state = match peer.state {
        PeerState::Alive => "alive",
        PeerState::Suspect => "suspect",
        PeerState::Silent => "silent",
        PeerState::Left => "left",
    };
    let config = match peer.config {
        PeerConfiguration::Same => "same",
        PeerConfiguration::Different => "DIFFERENT",
        PeerConfiguration::Unknown => "unknown",
    };
    vec![
        peer.node.clone(),
        state.to_owned(),
        if peer.hears_us { "yes" } else { "NO" }.to_owned(),
        peer.rtt_us.map_or_else(|| "-".to_owned(), |us| format!("{us} us")),
        config.to_owned(),
    ]
}
