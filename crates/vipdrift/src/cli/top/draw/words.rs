//! How states are called and coloured. A colour never says anything that a word does not.

use std::time::Duration;

use jiff::Timestamp;
use ratatui::style::{Color, Modifier, Style};
use vipdrift_control::{GroupRole, HealthState, Peer, PeerState};

use super::super::model::{Command, Seat, is_heard};

pub(super) const PLAIN: Style = Style::new();
pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
/// Labels, and what is not of now.
pub(super) const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
pub(super) const GOOD: Style = Style::new().fg(Color::Green);
pub(super) const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
pub(super) const ODD: Style = Style::new().fg(Color::Yellow);
const HOLDS: Style = GOOD.add_modifier(Modifier::BOLD);
const MOVES: Style = Style::new().fg(Color::Cyan);

/// A span of time, roughly: `42 s`, `3 m`, `5 h`, `9 d`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} m", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago a moment in RFC 3339 was; a moment to come, by a clock that was set, was just now.
pub(super) fn since(moment: &str, now: Timestamp) -> Option<String> {
    let moment: Timestamp = moment.parse().ok()?;
    Some(span(now.duration_since(moment).try_into().unwrap_or_default()))
}

/// Microseconds, in the unit that people would use.
pub(super) fn micros(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..10_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1000),
        _ => format!("{} s", us / 1_000_000),
    }
}

/// A node's role in a group. `None`: it has said nothing of it.
pub(super) fn seat(seat: Option<Seat>) -> (String, Style) {
    let Some(seat) = seat else { return ("-".into(), FAINT) };
    let (word, style) = match seat.role {
        GroupRole::Active => ("ACTIVE", HOLDS),
        _ if seat.claiming => ("claiming", MOVES),
        GroupRole::Standby if seat.demoted => ("demoted", ODD),
        GroupRole::Standby => ("standby", PLAIN),
        GroupRole::Fault => ("FAULT", BAD),
        GroupRole::Drained => ("drained", ODD),
    };
    if seat.old { (format!("({})", word.to_lowercase()), FAINT) } else { (word.to_owned(), style) }
}

/// A role in a sentence.
pub(super) fn role(role: GroupRole) -> &'static str {
    match role {
        GroupRole::Active => "active",
        GroupRole::Standby => "standby",
        GroupRole::Fault => "in fault",
        GroupRole::Drained => "drained",
    }
}

/// A node's health.
pub(super) fn health(state: HealthState) -> (&'static str, Style) {
    match state {
        HealthState::Healthy => ("healthy", GOOD),
        HealthState::Fault => ("IN FAULT", BAD),
        HealthState::Drained => ("drained", ODD),
    }
}

/// How a peer is, and what it says of itself if that is not that all is well.
pub(super) fn peer(peer: &Peer) -> (String, Style) {
    let (word, style) = match peer.state {
        PeerState::Alive => ("alive", GOOD),
        PeerState::Suspect => ("suspect", ODD),
        PeerState::Silent => ("SILENT", BAD),
        PeerState::Left => ("left", ODD),
    };
    match peer.health.filter(|state| is_heard(peer) && *state != HealthState::Healthy) {
        Some(state) => {
            let (said, style) = health(state);
            (format!("{word}, {said}"), style)
        }
        None => (word.to_owned(), style),
    }
}

/// A command that is under way.
pub(crate) fn under_way(command: &Command) -> String {
    match command {
        Command::Switchover { group, to: Some(to) } => format!("moving {group} to {to}"),
        Command::Switchover { group, to: None } => format!("moving {group} to the next healthy node"),
        Command::Drain { node } => format!("draining {node}"),
        Command::Undrain { node } => format!("undraining {node}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let of = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([of(0), of(59), of(60), of(3599)], ["0 s", "59 s", "1 m", "59 m"]);
        assert_eq!([of(3600), of(172_799), of(172_800)], ["1 h", "47 h", "2 d"]);
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("a moment");
        assert_eq!(since("2026-01-01T00:00:00.500Z", now).as_deref(), Some("59 s"));
        assert_eq!(since("2026-01-01T00:02:00Z", now).as_deref(), Some("0 s"));
        assert_eq!(since("yesterday", now), None);
    }

    #[test]
    fn small_times() {
        assert_eq!([micros(0), micros(999), micros(1300)], ["0 µs", "999 µs", "1.3 ms"]);
        assert_eq!([micros(10_999), micros(2_500_000)], ["10 ms", "2 s"]);
    }

    #[test]
    fn a_colour_never_says_more_than_a_word() {
        let at = |role, old| seat(Some(Seat { role, claiming: false, demoted: false, old })).0;
        let roles = [GroupRole::Active, GroupRole::Standby, GroupRole::Fault, GroupRole::Drained];
        assert_eq!(roles.map(|role| at(role, false)), ["ACTIVE", "standby", "FAULT", "drained"]);
        assert_eq!(roles.map(|role| at(role, true)), ["(active)", "(standby)", "(fault)", "(drained)"]);
    }
}
