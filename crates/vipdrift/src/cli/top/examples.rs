//! What the tests show: a cluster where all is well, and one where much is not.

use vipdrift_control::{
    Check, CheckEffect, CheckState, Counters, Daemon, Event, EventKind, Group, GroupRole, Health,
    HealthState, Lateness, Peer, PeerConfiguration, PeerGroup, PeerState, Status, Vip,
};

/// When it is in the examples.
pub(super) const NOW: &str = "2026-01-01T00:02:10Z";

fn peer(node: &str, state: PeerState, roles: [(&str, GroupRole); 2]) -> Peer {
    let heard = state == PeerState::Alive;
    let said = |(name, role): (&str, GroupRole)| PeerGroup {
        name: name.to_owned(),
        role,
        term: 3,
        mounted: role == GroupRole::Active,
        claiming: false,
        demoted: false,
    };
    Peer {
        node: node.into(),
        state,
        hears_us: heard,
        rtt_us: heard.then_some(180),
        config: PeerConfiguration::Same,
        differs: Vec::new(),
        absent_ms: None,
        heard_ms_ago: Some(if heard { 42 } else { 12_340 }),
        missed: if heard { 0 } else { 123 },
        health: Some(HealthState::Healthy),
        groups: roles.into_iter().map(said).collect(),
    }
}

fn vip(address: &str, interface: &str, mounted: bool) -> Vip {
    Vip { address: address.into(), interface: interface.into(), mounted }
}

fn check(name: &str, failing: Option<&str>) -> Check {
    Check {
        name: name.into(),
        state: if failing.is_some() { CheckState::Failing } else { CheckState::Passing },
        effect: if name == "load" { CheckEffect::Demote } else { CheckEffect::Fault },
        reason: failing.unwrap_or("status 200").into(),
        since: Some("2026-01-01T00:00:01.000Z".into()),
        output: String::new(),
        took_us: Some(900),
        looks: 7,
    }
}

/// All is well.
pub(super) fn well() -> Status {
    let granted = || "granted".to_owned();
    let (active, standby) = (GroupRole::Active, GroupRole::Standby);
    Status {
        cluster: "edge".into(),
        node: "alpha".into(),
        version: "0.1.0".into(),
        health: Health { state: HealthState::Healthy, reasons: vec![] },
        peers: vec![
            peer("bravo", PeerState::Alive, [("web", standby), ("mail", active)]),
            peer("charlie", PeerState::Alive, [("web", standby), ("mail", standby)]),
        ],
        groups: vec![
            Group {
                name: "web".into(),
                role: active,
                active_node: Some("alpha".into()),
                term: 3,
                since: "2026-01-01T00:00:00.123Z".into(),
                reason: "charlie silent, 192.0.2.100 not answered".into(),
                occupied_by: None,
                vips: vec![vip("192.0.2.100/24", "eth0", true), vip("2001:db8::100/64", "eth0", true)],
                checks: vec![check("http", None)],
            },
            Group {
                name: "mail".into(),
                role: standby,
                active_node: Some("bravo".into()),
                term: 1,
                since: "2025-12-31T21:00:00.000Z".into(),
                reason: "bravo holds it".into(),
                occupied_by: None,
                vips: vec![vip("192.0.2.7/24", "eth1", false)],
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
            real_time: granted(),
            keeper_real_time: granted(),
            memory_locked: granted(),
            system_call_filter: granted(),
            lease: granted(),
            pace: "kept".into(),
            lateness: Lateness { wakeups: 1000, p50_us: 52, p999_us: 120, max_us: 1300 },
            page: "http://127.0.0.1:5799/".into(),
        },
        counters: Counters::default(),
    }
}

/// Much is not.
pub(crate) fn status() -> Status {
    let mut status = well();
    status.health = Health { state: HealthState::Fault, reasons: vec!["eth1 has no carrier".into()] };
    status.groups[0].checks.push(check("load", Some("exit status 1: load 90")));
    let mail = &mut status.groups[1];
    mail.role = GroupRole::Fault;
    mail.active_node = None;
    mail.reason = "eth1 has no carrier".into();
    mail.occupied_by = Some("00:00:5e:00:53:01".into());
    let (active, standby) = (GroupRole::Active, GroupRole::Standby);
    status.peers = vec![
        peer("bravo", PeerState::Alive, [("web", standby), ("mail", standby)]),
        peer("charlie", PeerState::Silent, [("web", active), ("mail", standby)]),
    ];
    status.peers[0].config = PeerConfiguration::Different;
    status
}

/// So many groups, held by the three nodes in turn.
pub(super) fn many(groups: usize) -> Status {
    let mut status = well();
    let names = ["alpha", "bravo", "charlie"];
    let first = status.groups[1].clone();
    let role = |held| if held { GroupRole::Active } else { GroupRole::Standby };
    status.groups.clear();
    for peer in &mut status.peers {
        peer.groups.clear();
    }
    for number in 0..groups {
        let name = format!("group-{number:03}");
        let holder = number % names.len();
        let mut group =
            Group { name: name.clone(), active_node: Some(names[holder].into()), ..first.clone() };
        group.role = role(holder == 0);
        group.vips[0].mounted = holder == 0;
        group.reason = format!("{} holds it", names[holder]);
        status.groups.push(group);
        for (peer, position) in status.peers.iter_mut().zip(1..) {
            let held = holder == position;
            let (name, role) = (name.clone(), role(held));
            peer.groups.push(PeerGroup {
                name,
                role,
                term: 1,
                mounted: held,
                claiming: false,
                demoted: false,
            });
        }
    }
    status
}

/// So many events, the last of them a takeover of `web` with what it rests on.
pub(super) fn events(count: usize) -> Vec<Event> {
    let note = |seq: usize| Event {
        seq: seq as u64,
        at: "2025-12-31T23:59:00.000Z".into(),
        kind: if seq.is_multiple_of(2) { EventKind::Note } else { EventKind::Warning },
        group: None,
        from: None,
        to: None,
        term: None,
        reason: format!("charlie is heard again ({seq})"),
        evidence: vec![],
        cause: None,
        outage_us: None,
    };
    let takeover = Event {
        seq: count as u64,
        at: "2026-01-01T00:00:00.123Z".into(),
        kind: EventKind::Decision,
        group: Some("web".into()),
        from: Some("standby".into()),
        to: Some("active".into()),
        term: Some(3),
        reason: "charlie silent, 192.0.2.100 not answered".into(),
        evidence: vec!["192.0.2.100 asked for 3 times in 6.1 ms, no answer".into()],
        cause: Some("silent".into()),
        outage_us: Some(11_300),
    };
    (1..count).map(note).chain([takeover]).collect()
}
