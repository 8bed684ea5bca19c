//! What a node has decided and noticed. Fields may be added, never renamed.

use serde::{Deserialize, Serialize};

/// Answer to `GET /v1/events`: the oldest first.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// The events.
    pub events: Vec<Event>,
}

/// One event.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Numbers the events of a node, over restarts too.
    pub seq: u64,
    /// When, RFC 3339, to the millisecond.
    pub at: String,
    /// What kind of event.
    pub kind: EventKind,
    /// The group that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<String>,
    /// Role before, if the role has changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    /// Role after.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    /// The term in which it happened.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub term: Option<u64>,
    /// In a sentence.
    pub reason: String,
    /// What it rests on, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub evidence: Vec<String>,
    /// How the group came to this node, if it has taken it over: `silent` (the holder fell silent), `released` (it let go),
    /// `handed_over` (without a gap), `unheld` (nobody was known to hold it), `occupied` (claimed though somebody answered).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// From the last sign of the holder before it until the kernel had confirmed the mount, in microseconds, as this node saw it: its last
    /// heartbeat if it fell silent, its word if it let go. Missing where none is known to have held it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outage_us: Option<u64>,
}

/// Kind of an event.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A role has changed, or was proved anew.
    Decision,
    /// Worth knowing.
    Note,
    /// Somebody should look at it.
    Warning,
}

/// What is wanted of the events: the query of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventsRequest {
    /// Only of this group.
    pub group: Option<String>,
    /// Only events with a greater number.
    pub after: Option<u64>,
    /// The last so many.
    pub limit: Option<usize>,
    /// Wait so long, in milliseconds, if there is none yet.
    pub wait_ms: Option<u64>,
}

impl EventsRequest {
    /// Reads a query.
    ///
    /// # Errors
    /// In a sentence: an unknown parameter, or a value that is none.
    pub fn from_query(query: &str) -> Result<Self, String> {
        let mut request = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = || value.parse().map_err(|_| format!("`{name}` is a whole number"));
            match name {
                "group" => request.group = Some(value.to_owned()),
                "after" => request.after = Some(number()?),
                "limit" => request.limit = Some(usize::try_from(number()?).unwrap_or(usize::MAX)),
                "wait_ms" => request.wait_ms = Some(number()?),
                _ => {
                    return Err(format!(
                        "there is no parameter `{name}`: known are group, after, limit, wait_ms"
                    ));
                }
            }
        }
        Ok(request)
    }

    /// As a query. Names of groups need no escapes.
    #[must_use]
    pub fn to_query(&self) -> String {
        let number = |name: &str, value: Option<u64>| value.map(|value| format!("{name}={value}"));
        let parts = [
            self.group.as_ref().map(|group| format!("group={group}")),
            number("after", self.after),
            number("limit", self.limit.and_then(|limit| u64::try_from(limit).ok())),
            number("wait_ms", self.wait_ms),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_there_and_back() {
        let all =
            EventsRequest { group: Some("web".into()), after: Some(7), limit: Some(20), wait_ms: Some(1000) };
        assert_eq!(all.to_query(), "group=web&after=7&limit=20&wait_ms=1000");
        assert_eq!(EventsRequest::from_query(&all.to_query()), Ok(all));
        assert_eq!(EventsRequest::from_query(""), Ok(EventsRequest::default()));
        let refused = EventsRequest::from_query("groop=web").expect_err("unknown");
        assert!(refused.contains("no parameter `groop`"), "{refused}");
        assert_eq!(EventsRequest::from_query("after=soon"), Err("`after` is a whole number".to_owned()));
    }
}
