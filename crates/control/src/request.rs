//! Requests and their answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What somebody asks of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// [`crate::Status`].
    Status,
    /// Move a group.
    Switchover(SwitchoverRequest),
    /// Make a node ineligible, for one group or for all.
    Drain(NodeRequest),
    /// Make it eligible again.
    Undrain(NodeRequest),
    /// Put the configuration in force that is in its file now.
    Reload,
    /// The same, with a new binary.
    Restart(RestartRequest),
}

/// Body of `POST /v1/restart`; none is the same as an empty one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartRequest {
    /// How long the new program may take until it is on duty, in milliseconds, within [`RestartRequest::KEEP`]; the kernel
    /// holds the VIPs meanwhile. No longer than a brain takes to start if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub keep_ms: Option<u64>,
}

impl RestartRequest {
    /// What can be asked for.
    pub const KEEP: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

    pub(crate) fn checked(self) -> Result<Self, String> {
        let keep = self.keep_ms.map(Duration::from_millis);
        if keep.is_some_and(|keep| !Self::KEEP.contains(&keep)) {
            let (least, most) = (Self::KEEP.start().as_millis(), Self::KEEP.end().as_millis());
            return Err(format!("keep_ms is {least} to {most}"));
        }
        Ok(self)
    }
}

/// Body of `POST /v1/switchover`.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchoverRequest {
    /// Name of the group.
    pub group: String,
    /// Name of the node that is to take it; the next healthy one if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
}

/// Body of `POST /v1/drill`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillRequest {
    /// Name of the group.
    pub group: String,
    /// Name of the node that is to take it for a while; the next healthy one if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    /// How long it is to stay there, in milliseconds, [`Drill::STAY`] at most.
    pub stay_ms: u64,
}

/// A planned move there and back, as the node saw it that was asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// Name of the group.
    pub group: String,
    /// The node that asked for the VIPs on the segment.
    pub asked_from: String,
    /// How often it did, in microseconds: no time is known more exactly than this.
    pub asked_every_us: u64,
    /// There, and back.
    pub legs: Vec<DrillLeg>,
}

impl Drill {
    /// The longest stay.
    pub const STAY: std::time::Duration = std::time::Duration::from_secs(30);
}

/// One way of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillLeg {
    /// The node that gave the group away.
    pub from: String,
    /// The node that took it.
    pub to: String,
    /// The longest time in which nobody answered for one of the VIPs, in microseconds.
    pub longest_us: u64,
    /// The same for each VIP that was asked for: the first of each family.
    pub vips: Vec<DrillVip>,
}

/// A VIP in a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillVip {
    /// Its address.
    pub address: String,
    /// The longest time in which nobody answered for it, in microseconds.
    pub longest_us: u64,
}

/// Body of `POST /v1/drain` and `POST /v1/undrain`.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRequest {
    /// Name of the node; the one that is asked if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub node: Option<String>,
    /// Name of the group; all of them if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<String>,
}

/// What was done.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// In a sentence.
    pub done: String,
}

/// Why it was not done.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// In a sentence.
    pub error: String,
}

/// Why a handler did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Status 404: there is no such group or node.
    Unknown(String),
    /// Status 409: understood, and not done.
    NotDone(String),
    /// Status 503: cannot answer now.
    Unavailable(String),
}
