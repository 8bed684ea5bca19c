//! The status for people.

use std::fmt::Write as _;

use vipdrift_control::{
    Check, CheckEffect, CheckState, Drill, Group, GroupRole, Health, HealthState, Peer, PeerConfiguration,
    PeerState, Status,
};

use super::table::{columns, row};

/// VIPs of a group that are shown one by one.
const SHOWN: usize = 4;

/// The status in a few lines.
pub(crate) fn status(status: &Status) -> String {
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
    let checks: Vec<_> =
        status.groups.iter().flat_map(|group| group.checks.iter().map(move |c| check(group, c))).collect();
    if !checks.is_empty() {
        let mut rows = vec![row(["GROUP", "CHECK", "STATE", "SINCE", "LAST LOOK"])];
        rows.extend(checks);
        let _ = write!(out, "\n{}", columns(&rows));
    }
    if !status.peers.is_empty() {
        let mut rows = vec![row(["PEER", "STATE", "HEALTH", "HEARS US", "ROUND TRIP", "CONFIGURATION"])];
        rows.extend(status.peers.iter().map(peer));
        let _ = write!(out, "\n{}", columns(&rows));
        for peer in &status.peers {
            if let Some(ms) = peer.absent_ms {
                let secs = ms.div_ceil(1000);
                let _ = writeln!(out, "  {}: restarting, holds at most {secs} s more", peer.node);
            }
        }
        for peer in status.peers.iter().filter(|peer| !peer.differs.is_empty()) {
            let _ = writeln!(out, "  {} differs: {}", peer.node, peer.differs.join(", "));
        }
    }
    for (reason, what) in [
        ("bad_mac", "were signed with another key: compare the key files of the nodes"),
        ("foreign_cluster", "were for another cluster: compare `name` in [cluster]"),
    ] {
        if let Some(count) = status.counters.datagrams_rejected.get(reason).filter(|count| **count > 0) {
            let _ = writeln!(out, "  {count} datagrams {what}");
        }
    }
    let degraded = status.daemon.not_granted();
    if !degraded.is_empty() {
        out.push('\n');
        for why in degraded {
            let _ = writeln!(out, "degraded: {why}");
        }
    }
    out
}

/// What a drill has measured, in a few lines.
pub(super) fn drill(drill: &Drill) -> String {
    let ms = |us: u64| format!("{}.{} ms", us / 1000, us % 1000 / 100);
    let mut out = String::new();
    for leg in &drill.legs {
        let vips = leg.vips.iter().map(|vip| format!("{} {}", vip.address, ms(vip.longest_us)));
        let (from, to) = (&leg.from, &leg.to);
        let vips = vips.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "{}: {from} -> {to}: {} without an answer at most ({vips})",
            drill.group,
            ms(leg.longest_us)
        );
    }
    let _ =
        writeln!(out, "asked on the segment every {}, from {}", ms(drill.asked_every_us), drill.asked_from);
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
    let mark = |mounted| if mounted { " (mounted)" } else { "" };
    let mut vips: Vec<_> =
        group.vips.iter().take(SHOWN).map(|vip| format!("{}{}", vip.address, mark(vip.mounted))).collect();
    let rest = group.vips.get(SHOWN..).unwrap_or_default();
    if !rest.is_empty() {
        let mounted = rest.iter().filter(|vip| vip.mounted).count();
        vips.push(format!("and {} more ({mounted} mounted)", rest.len()));
    }
    vec![
        group.name.clone(),
        role.to_owned(),
        group.active_node.clone().unwrap_or_else(|| "-".to_owned()),
        group.term.to_string(),
        group.since.get(..19).unwrap_or(&group.since).replace('T', " "),
        vips.join(", "),
    ]
}

fn check(group: &Group, check: &Check) -> Vec<String> {
    let state = match (check.state, check.effect) {
        (CheckState::Passing, _) => "passing",
        (CheckState::Failing, CheckEffect::Fault) => "FAILING",
        (CheckState::Failing, CheckEffect::Demote) => "FAILING (demotes)",
    };
    vec![
        group.name.clone(),
        check.name.clone(),
        state.to_owned(),
        check
            .since
            .as_ref()
            .map_or_else(|| "-".to_owned(), |at| at.get(..19).unwrap_or(at).replace('T', " ")),
        check.reason.clone(),
    ]
}

fn peer(peer: &Peer) -> Vec<String> {
    let state = match peer.state {
        PeerState::Silent if peer.absent_ms.is_some() => "restarting",
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
        // What a peer says counts while it is heard.
        match (peer.state, peer.health) {
            (PeerState::Silent | PeerState::Left, _) | (_, None) => "-",
            (_, Some(HealthState::Healthy)) => "healthy",
            (_, Some(HealthState::Fault)) => "FAULT",
            (_, Some(HealthState::Drained)) => "DRAINED",
        }
        .to_owned(),
        // What a peer hears is known only while it is heard itself.
        match (peer.state, peer.hears_us) {
            (PeerState::Silent | PeerState::Left, _) => "-",
            (_, true) => "yes",
            (_, false) => "NO",
        }
        .to_owned(),
        peer.rtt_us.map_or_else(|| "-".to_owned(), |us| format!("{us} us")),
        config.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use vipdrift_control::{Counters, Daemon, Lateness, Vip};

    use super::*;

    fn example() -> Status {
        let peer = |node: &str, state, hears_us| Peer {
            node: node.into(),
            state,
            hears_us,
            rtt_us: hears_us.then_some(180),
            config: if hears_us { PeerConfiguration::Different } else { PeerConfiguration::Unknown },
            differs: if hears_us {
                vec!["cluster.lease".into(), "only here: group mail".into()]
            } else {
                vec![]
            },
            heard_ms_ago: None,
            absent_ms: None,
            missed: 0,
            health: hears_us.then_some(HealthState::Drained),
            groups: vec![],
        };
        let check = |name: &str, failing: Option<&str>| Check {
            name: name.into(),
            state: if failing.is_some() { CheckState::Failing } else { CheckState::Passing },
            effect: if name == "load" { CheckEffect::Demote } else { CheckEffect::Fault },
            reason: failing.unwrap_or("status 200").into(),
            since: Some("2026-01-01T00:00:01.000Z".into()),
            output: String::new(),
            took_us: Some(900),
            looks: 7,
        };
        let granted = || "granted".to_owned();
        Status {
            cluster: "edge".into(),
            node: "alpha".into(),
            version: "0.1.0".into(),
            health: Health { state: HealthState::Fault, reasons: vec!["eth1 has no carrier".into()] },
            peers: vec![
                peer("bravo", PeerState::Alive, true),
                peer("charlie", PeerState::Silent, false),
                Peer { absent_ms: Some(26_001), ..peer("delta", PeerState::Silent, false) },
            ],
            groups: vec![
                Group {
                    name: "web".into(),
                    role: GroupRole::Active,
                    active_node: Some("alpha".into()),
                    term: 3,
                    since: "2026-01-01T00:00:00.123Z".into(),
                    reason: "bravo silent, 192.0.2.100 not answered".into(),
                    occupied_by: None,
                    vips: (0..6)
                        .map(|n| Vip {
                            address: format!("192.0.2.10{n}/24"),
                            interface: "eth0".into(),
                            mounted: n != 5,
                        })
                        .collect(),
                    checks: vec![check("http", None), check("load", Some("exit status 1: load 90"))],
                },
                Group {
                    name: "mail".into(),
                    role: GroupRole::Fault,
                    active_node: None,
                    term: 0,
                    since: "2026-01-01T00:00:00.000Z".into(),
                    reason: "eth1 has no carrier".into(),
                    occupied_by: Some("00:00:5e:00:53:01".into()),
                    vips: vec![Vip {
                        address: "192.0.2.7/24".into(),
                        interface: "eth1".into(),
                        mounted: false,
                    }],
                    checks: vec![],
                },
            ],
            daemon: Daemon {
                keeper_pid: 100,
                brain_pid: 101,
                brain_starts: 1,
                ordered: None,
                config_digest: "ff".into(),
                user: "vipdrift".into(),
                real_time: "real-time scheduling refused: no".into(),
                keeper_real_time: "real-time scheduling refused: no".into(),
                memory_locked: granted(),
                system_call_filter: granted(),
                lease: granted(),
                pace: "kept".into(),
                lateness: Lateness::default(),
                page: "off".into(),
            },
            counters: Counters {
                datagrams_rejected: [("bad_mac".to_owned(), 7)].into(),
                ..Counters::default()
            },
        }
    }

    #[test]
    fn people_can_read_it() {
        let expected = "\
node alpha of cluster edge: fault: eth1 has no carrier

GROUP  ROLE    ACTIVE  TERM  SINCE                VIPS
web    active  alpha   3     2026-01-01 00:00:00  192.0.2.100/24 (mounted), 192.0.2.101/24 (mounted), 192.0.2.102/24 (mounted), 192.0.2.103/24 (mounted), and 2 more (1 mounted)
mail   fault   -       0     2026-01-01 00:00:00  192.0.2.7/24
  web: bravo silent, 192.0.2.100 not answered
  mail: eth1 has no carrier
  mail: 00:00:5e:00:53:01 answers for a VIP

GROUP  CHECK  STATE              SINCE                LAST LOOK
web    http   passing            2026-01-01 00:00:01  status 200
web    load   FAILING (demotes)  2026-01-01 00:00:01  exit status 1: load 90

PEER     STATE       HEALTH   HEARS US  ROUND TRIP  CONFIGURATION
bravo    alive       DRAINED  yes       180 us      DIFFERENT
charlie  silent      -        -         -           unknown
delta    restarting  -        -         -           unknown
  delta: restarting, holds at most 27 s more
  bravo differs: cluster.lease, only here: group mail
  7 datagrams were signed with another key: compare the key files of the nodes

degraded: real-time scheduling refused: no
";
        assert_eq!(status(&example()), expected);
    }
}
