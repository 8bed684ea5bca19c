//! Is anything wrong? From the status alone, the worst first.

use std::time::Duration;

use vipdrift_control::{
    CheckEffect, CheckState, Group, GroupRole, HealthState, Peer, PeerConfiguration, PeerState, Status,
};

use super::draw::span;
use super::model::{is_heard, nodes, seat};

/// Something to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) weight: Weight,
    pub(super) text: String,
}

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// Somebody should do something.
    Wrong,
    /// As somebody wanted it, or not for long.
    Note,
}

/// Everything to know, the worst first; empty if all is well.
pub(super) fn findings(status: &Status) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |weight, text: String| found.push(Finding { weight, text });
    let unheld: Vec<&str> = status
        .groups
        .iter()
        .filter(|group| group.active_node.is_none())
        .map(|group| group.name.as_str())
        .collect();
    if !unheld.is_empty() {
        let many = if unheld.len() > 1 { format!(" ({} groups)", unheld.len()) } else { String::new() };
        say(Weight::Wrong, format!("held by no node that is known{many}: {}", unheld.join(", ")));
    }
    for group in &status.groups {
        about_group(status, group, &mut say);
    }
    match status.health.state {
        HealthState::Healthy => {}
        HealthState::Fault => {
            say(Weight::Wrong, format!("{} is in fault: {}", status.node, status.health.reasons.join("; ")));
        }
        HealthState::Drained => say(Weight::Note, format!("{} is drained", status.node)),
    }
    for peer in &status.peers {
        about_peer(peer, &mut say);
    }
    found.sort_by_key(|finding| finding.weight);
    found
}

fn about_group(status: &Status, group: &Group, say: &mut impl FnMut(Weight, String)) {
    let name = &group.name;
    let holders: Vec<&str> = nodes(status)
        .filter(|node| {
            seat(status, group, node).is_some_and(|seat| seat.role == GroupRole::Active && !seat.old)
        })
        .collect();
    if holders.len() > 1 {
        say(Weight::Wrong, format!("{name}: held by {}", holders.join(" and ")));
    }
    if let Some(mac) = &group.occupied_by {
        say(Weight::Wrong, format!("{name}: {mac} answers for a VIP"));
    }
    let missing = group.vips.iter().filter(|vip| !vip.mounted).map(|vip| vip.address.as_str());
    let missing: Vec<&str> = missing.collect();
    if group.role == GroupRole::Active && !missing.is_empty() {
        say(Weight::Wrong, format!("{name}: not mounted: {}", missing.join(", ")));
    }
    for check in group.checks.iter().filter(|check| check.state == CheckState::Failing) {
        let weight = match check.effect {
            CheckEffect::Fault => Weight::Wrong,
            CheckEffect::Demote => Weight::Note,
        };
        say(weight, format!("{name}: check {} fails here: {}", check.name, check.reason));
    }
}

fn about_peer(peer: &Peer, say: &mut impl FnMut(Weight, String)) {
    let node = &peer.node;
    match peer.state {
        PeerState::Alive if !peer.hears_us => say(Weight::Wrong, format!("{node} does not hear this node")),
        PeerState::Alive => {}
        PeerState::Suspect => say(Weight::Note, format!("{node} has missed a heartbeat and is being asked")),
        PeerState::Silent if peer.absent_ms.is_some() => {
            let left = Duration::from_millis(peer.absent_ms.unwrap_or_default());
            say(
                Weight::Note,
                format!("{node} restarts its daemon, and holds for at most {} more", span(left)),
            );
        }
        PeerState::Silent => {
            let heard = peer.heard_ms_ago.map_or_else(
                || "never heard yet".to_owned(),
                |ms| format!("last heard {} ago", span(Duration::from_millis(ms))),
            );
            say(Weight::Wrong, format!("{node} is silent, {heard}"));
        }
        PeerState::Left => say(Weight::Note, format!("{node} has left")),
    }
    if peer.config == PeerConfiguration::Different {
        say(Weight::Wrong, format!("{node} has a different configuration"));
    }
    match peer.health.filter(|_| is_heard(peer)) {
        Some(HealthState::Fault) => say(Weight::Wrong, format!("{node} is in fault")),
        Some(HealthState::Drained) => say(Weight::Note, format!("{node} is drained")),
        Some(HealthState::Healthy) | None => {}
    }
}

/// What is well, in a line.
pub(super) fn all_well(status: &Status) -> String {
    let groups = match status.groups.len() {
        1 => "1 group held".to_owned(),
        count => format!("{count} groups held"),
    };
    match status.peers.len() {
        0 => format!("all is well: {groups}"),
        1 => format!("all is well: {groups}, 1 peer alive"),
        count => format!("all is well: {groups}, {count} peers alive"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples;
    use super::*;

    fn texts(status: &Status) -> Vec<String> {
        let mark = |finding: &Finding| if finding.weight == Weight::Wrong { '!' } else { '-' };
        findings(status).iter().map(|finding| format!("{} {}", mark(finding), finding.text)).collect()
    }

    #[test]
    fn a_healthy_cluster_has_none() {
        let well = examples::well();
        assert_eq!(texts(&well), Vec::<String>::new());
        assert_eq!(all_well(&well), "all is well: 2 groups held, 2 peers alive");
    }

    #[test]
    fn the_worst_first() {
        assert_eq!(
            texts(&examples::status()),
            [
                "! held by no node that is known: mail",
                "! mail: 00:00:5e:00:53:01 answers for a VIP",
                "! alpha is in fault: eth1 has no carrier",
                "! bravo has a different configuration",
                "! charlie is silent, last heard 12 s ago",
                "- web: check load fails here: exit status 1: load 90",
            ]
        );
    }

    #[test]
    fn each_thing_that_can_be_wrong() {
        type Case = (fn(&mut Status), &'static str);
        let cases: [Case; 10] = [
            (|s| s.peers[0].groups[0].role = GroupRole::Active, "! web: held by alpha and bravo"),
            (|s| s.groups[0].vips[0].mounted = false, "! web: not mounted: 192.0.2.100/24"),
            (|s| s.health.state = HealthState::Drained, "- alpha is drained"),
            (|s| s.peers[0].hears_us = false, "! bravo does not hear this node"),
            (
                |s| {
                    s.peers[0].state = PeerState::Silent;
                    s.peers[0].absent_ms = Some(27_000);
                },
                "- bravo restarts its daemon, and holds for at most 27 s more",
            ),
            (|s| s.peers[0].state = PeerState::Left, "- bravo has left"),
            (|s| s.peers[0].state = PeerState::Suspect, "- bravo has missed a heartbeat and is being asked"),
            (|s| s.peers[0].health = Some(HealthState::Fault), "! bravo is in fault"),
            (|s| s.peers[0].health = Some(HealthState::Drained), "- bravo is drained"),
            (
                |s| {
                    s.peers[0].state = PeerState::Silent;
                    s.peers[0].heard_ms_ago = None;
                },
                "! bravo is silent, never heard yet",
            ),
        ];
        for (change, expected) in cases {
            let mut status = examples::well();
            change(&mut status);
            assert_eq!(texts(&status), [expected]);
        }
    }
}
