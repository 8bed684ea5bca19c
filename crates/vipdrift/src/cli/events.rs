//! What a node has decided, and why.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use vipdrift_control::{Client, ClientError, Event, EventKind, EventsRequest, Group, GroupRole};

use super::daemon::{self, QUICK};
use super::{DONE, NOT_DONE, Where, fail};
use crate::config::plain;

/// How long the daemon is asked to wait for the next event, in milliseconds.
const WAIT_MS: u64 = 20_000;
/// Longer than that.
const FOLLOW: Duration = Duration::from_secs(30);
/// Events of a group that `why` looks through for decisions.
const SEARCHED: usize = 500;

/// Prints events; with `follow`, for as long as somebody reads.
pub(super) fn events(place: &Where, group: Option<String>, last: usize, follow: bool, json: bool) -> u8 {
    let mut request = EventsRequest { group, limit: Some(last), ..EventsRequest::default() };
    daemon::with(place, FOLLOW, async |client| {
        let found = client.events(&request).await?.events;
        let mut seen = found.last().map_or(0, |event| event.seq);
        if !print(&found, json)? || !follow {
            return Ok(String::new());
        }
        if seen == 0 {
            // Numbers of all groups are one row.
            let all = EventsRequest { limit: Some(1), ..EventsRequest::default() };
            seen = client.events(&all).await?.events.last().map_or(0, |event| event.seq);
        }
        request = EventsRequest { limit: None, wait_ms: Some(WAIT_MS), ..request.clone() };
        loop {
            request.after = Some(seen);
            let found = match client.events(&request).await {
                Ok(events) => events.events,
                // A daemon that begins anew is there again in a moment.
                Err(ClientError::Unreachable(_) | ClientError::Broken(_) | ClientError::Timeout(_)) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    client.events(&request).await?.events
                }
                Err(error) => return Err(error),
            };
            seen = found.last().map_or(seen, |event| event.seq);
            if !print(&found, json)? {
                return Ok(String::new());
            }
        }
    })
}

/// Says why a group is where it is.
pub(super) fn why(place: &Where, group: &str, last: usize, json: bool) -> u8 {
    daemon::with(place, QUICK, async |client: &Client| {
        let request = EventsRequest {
            group: Some(group.to_owned()),
            limit: Some(SEARCHED),
            ..EventsRequest::default()
        };
        let events = client.events(&request).await?.events;
        let decisions: Vec<Event> =
            events.into_iter().filter(|event| event.kind == EventKind::Decision).collect();
        let decisions = &decisions[decisions.len().saturating_sub(last)..];
        if json {
            let text = serde_json::to_string(decisions);
            return text.map(|text| text + "\n").map_err(|error| ClientError::Broken(error.to_string()));
        }
        let status = client.status().await?;
        let now = status.groups.iter().find(|known| known.name == group);
        let now = now.map(daemon::safe).transpose()?;
        let decisions = decisions.iter().map(daemon::safe).collect::<Result<Vec<_>, _>>()?;
        Ok(explain(&super::harmless::text(&status.node), now.as_ref(), &decisions))
    })
}

fn explain(node: &str, now: Option<&Group>, decisions: &[Event]) -> String {
    let mut out = String::new();
    if let Some(now) = now {
        let role = match now.role {
            GroupRole::Active => "active",
            GroupRole::Standby => "standby",
            GroupRole::Fault => "in fault",
            GroupRole::Drained => "drained",
        };
        let _ = write!(out, "{} is {role} on {node}", now.name);
        match &now.active_node {
            Some(active) if active != node => {
                let _ = write!(out, ", active on {active}");
            }
            None => out.push_str(", active on no node that is known"),
            Some(_) => {}
        }
        let _ = writeln!(out, " (term {}): {}", now.term, now.reason);
        if let Some(mac) = &now.occupied_by {
            let _ = writeln!(out, "  {mac} answers for a VIP");
        }
    }
    if decisions.is_empty() {
        out.push_str("\nNothing has been decided about it here.\n");
        return out;
    }
    let _ = writeln!(out, "\nThe last decisions on {node}, the latest first:");
    for event in decisions.iter().rev() {
        let _ = writeln!(out, "\n{}", line(event));
        for evidence in &event.evidence {
            let _ = writeln!(out, "    {evidence}");
        }
        if let Some(outage) = event.outage_us {
            let _ = writeln!(out, "    without a holder for {} ms, as seen from here", millis(outage));
        }
    }
    out
}

/// Microseconds as milliseconds with a decimal, from 100 ms on without.
fn millis(micros: u64) -> String {
    if micros < 100_000 {
        format!("{}.{}", micros / 1000, micros % 1000 / 100)
    } else {
        (micros / 1000).to_string()
    }
}

/// An event in a line.
fn line(event: &Event) -> String {
    let mut out = event.at.clone();
    if event.kind == EventKind::Warning {
        out.push_str(" warning:");
    }
    if let Some(group) = &event.group {
        let _ = write!(out, " {group}:");
    }
    if let (Some(from), Some(to), Some(term)) = (&event.from, &event.to, event.term) {
        let _ = write!(out, " {from} -> {to}, term {term}:");
    }
    let _ = write!(out, " {}", event.reason);
    out
}

/// False when nobody reads any more.
fn print(events: &[Event], json: bool) -> Result<bool, ClientError> {
    let mut out = String::new();
    for event in events {
        let line = if json {
            serde_json::to_string(event).map_err(|error| ClientError::Broken(error.to_string()))?
        } else {
            line(&daemon::safe(event)?)
        };
        out += &line;
        out.push('\n');
    }
    let mut stdout = std::io::stdout().lock();
    Ok(stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush()).is_ok())
}

/// Prints what was answered.
pub(super) fn finish(answer: &str) -> u8 {
    match std::io::stdout().write_all(answer.as_bytes()) {
        Ok(()) => DONE,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => DONE,
        Err(error) => fail(NOT_DONE, &plain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64) -> Event {
        Event {
            seq,
            at: "2026-01-01T00:00:00.123Z".into(),
            kind: EventKind::Decision,
            group: Some("web".into()),
            from: Some("standby".into()),
            to: Some("active".into()),
            term: Some(3),
            reason: "bravo silent, 192.0.2.100 not answered".into(),
            evidence: vec!["192.0.2.100 asked for 3 times in 6.1 ms, no answer".into()],
            cause: Some("silent".into()),
            outage_us: Some(11_320),
        }
    }

    #[test]
    fn people_can_read_it() {
        let now = Group {
            name: "web".into(),
            role: GroupRole::Active,
            active_node: Some("alpha".into()),
            term: 3,
            since: String::new(),
            reason: "bravo silent, 192.0.2.100 not answered".into(),
            occupied_by: None,
            vips: vec![],
            checks: vec![],
        };
        let expected = "\
web is active on alpha (term 3): bravo silent, 192.0.2.100 not answered

The last decisions on alpha, the latest first:

2026-01-01T00:00:00.123Z web: standby -> active, term 3: bravo silent, 192.0.2.100 not answered
    192.0.2.100 asked for 3 times in 6.1 ms, no answer
    without a holder for 11.3 ms, as seen from here
";
        assert_eq!(explain("alpha", Some(&now), &[event(1)]), expected);
        let elsewhere = Group { active_node: None, role: GroupRole::Fault, ..now };
        assert!(
            explain("bravo", Some(&elsewhere), &[])
                .starts_with("web is in fault on bravo, active on no node")
        );
        let warning = Event {
            kind: EventKind::Warning,
            group: None,
            from: None,
            reason: "this node was away for 3 s".into(),
            ..event(2)
        };
        assert_eq!(line(&warning), "2026-01-01T00:00:00.123Z warning: this node was away for 3 s");
    }
}
