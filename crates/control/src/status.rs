//! What `vipdrift status --json` prints. Fields may be added, never renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A node as it sees itself and its cluster.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of this node.
    pub node: String,
    /// Version of the daemon.
    pub version: String,
    /// This node's health.
    pub health: Health,
    /// The other nodes, in the order of the configuration.
    pub peers: Vec<Peer>,
    /// The groups, in the order of the configuration.
    pub groups: Vec<Group>,
    /// The daemon's two processes.
    pub daemon: Daemon,
    /// What has been counted since the brain started.
    pub counters: Counters,
}

/// Health of a node.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// In a word.
    pub state: HealthState,
    /// Why it is not healthy, a sentence each.
    pub reasons: Vec<String>,
}

/// Health in a word.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// May hold VIPs.
    Healthy,
    /// May not, for the reasons given.
    Fault,
    /// May not, because an operator said so.
    Drained,
}

/// Another node.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub node: String,
    /// How it is.
    pub state: PeerState,
    /// It says that it hears this node.
    pub hears_us: bool,
    /// Round-trip time of the last echoed heartbeat, in microseconds; `null` before the first.
    pub rtt_us: Option<u64>,
    /// Whether it has the same configuration.
    pub config: PeerConfiguration,
    /// Where the configurations differ, as far as known: paths of settings such as `group web vips`; those of one node
    /// alone begin with `only here: ` or `only there: `. The first twenty, and how many more there are.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub differs: Vec<String>,
    /// How long ago it was last heard, in milliseconds; `null` if never.
    pub heard_ms_ago: Option<u64>,
    /// Its daemon restarts, and has said that its kernel holds its VIPs for at most so many milliseconds more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub absent_ms: Option<u64>,
    /// Heartbeats in a row that it has missed; 0 if it was never heard.
    #[serde(default)]
    pub missed: u64,
    /// What it last said of its own health; `null` before it has said anything.
    #[serde(default)]
    pub health: Option<HealthState>,
    /// What it last said of each group, in the order of the configuration, groups left out of which it has said
    /// nothing. Old if it is not alive.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub groups: Vec<PeerGroup>,
}

/// A group as a peer last described it.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerGroup {
    /// Its name.
    pub name: String,
    /// The peer's role.
    pub role: GroupRole,
    /// The highest term that the peer knows.
    pub term: u64,
    /// The peer's kernel has the VIPs.
    pub mounted: bool,
    /// The peer is taking the group over.
    pub claiming: bool,
    /// The peer comes only behind nodes that are not demoted.
    pub demoted: bool,
}

/// State of a peer.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// Heard.
    Alive,
    /// A heartbeat is missing; it is being asked.
    Suspect,
    /// Not heard.
    Silent,
    /// It said that it leaves.
    Left,
}

/// A peer's configuration compared with this node's.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerConfiguration {
    /// The same.
    Same,
    /// Another one.
    Different,
    /// It has not been heard yet.
    Unknown,
}

/// A group of VIPs.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// This node's role.
    pub role: GroupRole,
    /// The node that holds it, if one is known to.
    pub active_node: Option<String>,
    /// Number of the present reign.
    pub term: u64,
    /// When the role last changed, RFC 3339.
    pub since: String,
    /// Why, in a sentence.
    pub reason: String,
    /// MAC address of somebody else who answers for a VIP.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub occupied_by: Option<String>,
    /// Its VIPs.
    pub vips: Vec<Vip>,
    /// Its health checks, in the order of the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub checks: Vec<Check>,
}

/// A health check.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: CheckState,
    /// What follows when it fails.
    pub effect: CheckEffect,
    /// What the last look has found, or why there was none, in a sentence.
    pub reason: String,
    /// Since when it passes or fails, RFC 3339; `null` before the first result.
    pub since: Option<String>,
    /// What the program or the server said at the last look, cut.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub output: String,
    /// How long the last look took, in microseconds; `null` before the first.
    pub took_us: Option<u64>,
    /// Looks since the process that runs them was started.
    pub looks: u64,
}

/// State of a check.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// All is well.
    Passing,
    /// It is not.
    Failing,
}

/// What follows when a check fails.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckEffect {
    /// The node must not hold the group.
    Fault,
    /// The node comes behind healthy ones.
    Demote,
}

/// Role of a node in a group.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupRole {
    /// Holds the VIPs.
    Active,
    /// Ready to.
    Standby,
    /// Not eligible.
    Fault,
    /// Not eligible because an operator said so.
    Drained,
}

/// A VIP.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// Address and prefix length.
    pub address: String,
    /// The interface on this node.
    pub interface: String,
    /// This node's kernel has it.
    pub mounted: bool,
}

/// The daemon's two processes and what the machine grants them.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    /// Process id of the keeper.
    pub keeper_pid: u32,
    /// Process id of the brain.
    pub brain_pid: u32,
    /// Brains started since the keeper started, this one included.
    pub brain_starts: u32,
    /// `reload`, `restart`: this brain began because an operator had ordered that, and it was carried out. Empty: nothing
    /// was ordered, or it was not carried out. `None`: an older version does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<String>,
    /// Digest of the configuration, in hexadecimal; the same on nodes that agree.
    pub config_digest: String,
    /// User that the brain runs as.
    pub user: String,
    /// `granted`, or why the brain's heartbeat has no real-time priority.
    pub real_time: String,
    /// `granted`, or why the keeper has no real-time priority.
    pub keeper_real_time: String,
    /// `granted`, or why memory is not locked.
    pub memory_locked: String,
    /// `granted`, or why system calls are not filtered.
    pub system_call_filter: String,
    /// `granted`: the system takes a VIP off when its lifetime is over, should keeper and brain both be killed. `off`: it has
    /// none, since the configuration says so. Else what to reckon with. Empty: an older version does not say.
    #[serde(default)]
    pub lease: String,
    /// `kept`, or how often the heartbeat was late within the last minute or so, and what helps. Empty: an older version does
    /// not say.
    #[serde(default)]
    pub pace: String,
    /// How late the heartbeat thread woke up for its timers.
    pub lateness: Lateness,
    /// Where the page is served, `off`, or why it is not. Empty: an older version does not say.
    #[serde(default)]
    pub page: String,
}

impl Daemon {
    /// What the machine does not grant, each once, in words.
    #[must_use]
    pub fn not_granted(&self) -> Vec<&str> {
        let grants = [
            &self.real_time,
            &self.keeper_real_time,
            &self.memory_locked,
            &self.system_call_filter,
            &self.lease,
            &self.pace,
        ];
        let mut refused: Vec<&str> = grants
            .into_iter()
            .map(String::as_str)
            .filter(|state| !["granted", "off", "kept", ""].contains(state))
            .collect();
        refused.dedup();
        refused
    }
}

/// How late timers were, in microseconds.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Lateness {
    /// Wake-ups measured.
    pub wakeups: u64,
    /// Half of them were no later than this.
    pub p50_us: u64,
    /// All but one in a thousand.
    pub p999_us: u64,
    /// The latest of all.
    pub max_us: u64,
}

/// Counted since the brain started.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Counters {
    /// Heartbeat datagrams sent.
    pub heartbeats_sent: u64,
    /// Heartbeat datagrams accepted.
    pub heartbeats_heard: u64,
    /// Heartbeat datagrams rejected, by reason.
    pub datagrams_rejected: BTreeMap<String, u64>,
    /// Frames that could not be parsed.
    pub frames_rejected: u64,
    /// Occupancy probes sent.
    pub probes_sent: u64,
    /// Answers to occupancy probes.
    pub probe_answers: u64,
    /// Announcements sent.
    pub announcements_sent: u64,
    /// Other claimants seen while active.
    pub conflicts: u64,
    /// Deadlines missed by more than half a heartbeat.
    pub late: u64,
    /// Datagrams, frames and echo requests that the kernel did not take.
    pub send_errors: u64,
    /// Log lines dropped because nobody read them.
    pub log_lines_dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Status {
        Status {
            cluster: "edge".into(),
            node: "alpha".into(),
            version: "0.1.0".into(),
            health: Health { state: HealthState::Healthy, reasons: vec![] },
            peers: vec![Peer {
                node: "bravo".into(),
                state: PeerState::Alive,
                hears_us: true,
                rtt_us: Some(180),
                config: PeerConfiguration::Same,
                differs: vec![],
                heard_ms_ago: Some(42),
                absent_ms: None,
                missed: 0,
                health: Some(HealthState::Healthy),
                groups: vec![PeerGroup {
                    name: "web".into(),
                    role: GroupRole::Standby,
                    term: 3,
                    mounted: false,
                    claiming: false,
                    demoted: false,
                }],
            }],
            groups: vec![Group {
                name: "web".into(),
                role: GroupRole::Active,
                active_node: Some("alpha".into()),
                term: 3,
                since: "2026-01-01T00:00:00Z".into(),
                reason: "bravo silent, 192.0.2.100 not answered".into(),
                occupied_by: None,
                vips: vec![Vip { address: "192.0.2.100/24".into(), interface: "eth0".into(), mounted: true }],
                checks: vec![],
            }],
            daemon: Daemon {
                keeper_pid: 100,
                brain_pid: 101,
                brain_starts: 1,
                ordered: Some(String::new()),
                config_digest: "00000000000000ff".into(),
                user: "vipdrift".into(),
                real_time: "granted".into(),
                keeper_real_time: "granted".into(),
                memory_locked: "granted".into(),
                system_call_filter: "granted".into(),
                lease: "granted".into(),
                pace: "kept".into(),
                lateness: Lateness { wakeups: 10, p50_us: 50, p999_us: 120, max_us: 130 },
                page: "http://127.0.0.1:5799/".into(),
            },
            counters: Counters {
                datagrams_rejected: BTreeMap::from([("bad_mac".to_owned(), 2)]),
                ..Counters::default()
            },
        }
    }

    /// Names and order of the contract's example, with what has been added.
    #[test]
    fn the_contract_in_its_own_words() {
        let json = serde_json::to_string(&example()).expect("serializes");
        let contract = concat!(
            r#"{"cluster":"edge","node":"alpha","version":"0.1.0","health":{"state":"healthy","reasons":[]},"#,
            r#""peers":[{"node":"bravo","state":"alive","hears_us":true,"rtt_us":180,"config":"same","heard_ms_ago":42,"#,
            r#""missed":0,"health":"healthy","groups":[{"name":"web","role":"standby","term":3,"mounted":false,"claiming":false,"demoted":false}]}],"#,
            r#""groups":[{"name":"web","role":"active","active_node":"alpha","term":3,"since":"2026-01-01T00:00:00Z","#,
            r#""reason":"bravo silent, 192.0.2.100 not answered","vips":[{"address":"192.0.2.100/24","interface":"eth0","mounted":true}]}],"#,
            r#""daemon":{"keeper_pid":100,"brain_pid":101,"brain_starts":1,"ordered":"","config_digest":"00000000000000ff","user":"vipdrift","#,
            r#""real_time":"granted","keeper_real_time":"granted","memory_locked":"granted","system_call_filter":"granted","lease":"granted","#,
            r#""pace":"kept","lateness":{"wakeups":10,"p50_us":50,"p999_us":120,"max_us":130},"page":"http://127.0.0.1:5799/"},"#,
            r#""counters":{"heartbeats_sent":0,"heartbeats_heard":0,"datagrams_rejected":{"bad_mac":2},"frames_rejected":0,"#,
            r#""probes_sent":0,"probe_answers":0,"announcements_sent":0,"conflicts":0,"late":0,"send_errors":0,"#,
            r#""log_lines_dropped":0}}"#,
        );
        assert_eq!(json, contract);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut status = example();
        status.groups[0].occupied_by = Some("00:00:5e:00:53:01".into());
        status.groups[0].active_node = None;
        status.peers[0].rtt_us = None;
        status.peers[0].config = PeerConfiguration::Different;
        status.peers[0].differs = vec!["cluster.heartbeat".into(), "only here: group mail".into()];
        status.groups[0].checks = vec![Check {
            name: "http".into(),
            state: CheckState::Failing,
            effect: CheckEffect::Demote,
            reason: "status 503".into(),
            since: None,
            output: "no master".into(),
            took_us: Some(900),
            looks: 3,
        }];
        let json = serde_json::to_string(&status).expect("serializes");
        assert!(json.contains(r#""occupied_by":"00:00:5e:00:53:01""#), "{json}");
        assert!(json.contains(r#""active_node":null"#), "{json}");
        let differs = r#""config":"different","differs":["cluster.heartbeat","only here: group mail"]"#;
        assert!(json.contains(differs), "{json}");
        assert_eq!(serde_json::from_str::<Status>(&json).expect("parses"), status);
    }

    #[test]
    fn every_word_of_the_contract() {
        let words = |values: &[serde_json::Value]| {
            values.iter().map(|v| v.as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>().join(" ")
        };
        let health = [HealthState::Healthy, HealthState::Fault, HealthState::Drained];
        let peer = [PeerState::Alive, PeerState::Suspect, PeerState::Silent, PeerState::Left];
        let role = [GroupRole::Active, GroupRole::Standby, GroupRole::Fault, GroupRole::Drained];
        let config = [PeerConfiguration::Same, PeerConfiguration::Different, PeerConfiguration::Unknown];
        let to = |v: serde_json::Result<serde_json::Value>| v.expect("serializes");
        assert_eq!(words(&health.map(|v| to(serde_json::to_value(v)))), "healthy fault drained");
        assert_eq!(words(&peer.map(|v| to(serde_json::to_value(v)))), "alive suspect silent left");
        assert_eq!(words(&role.map(|v| to(serde_json::to_value(v)))), "active standby fault drained");
        assert_eq!(words(&config.map(|v| to(serde_json::to_value(v)))), "same different unknown");
    }
}
