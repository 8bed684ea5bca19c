//! Whose view this is, how its daemon is, and whether anything is wrong.

use ratatui::style::Style;
use ratatui::text::Line;
use vipdrift_control::{Daemon, HealthState};

use super::super::model::Model;
use super::super::verdict::{self, Weight};
use super::Now;
use super::paper::{Row, width, wrap};
use super::words::{BAD, BOLD, FAINT, GOOD, ODD, PLAIN, health, micros, span};

/// Findings that are put into lines; the rest is counted.
const MOST: usize = 50;

/// Name and state.
pub(super) fn title(model: &Model, now: Now, columns: usize) -> Vec<Line<'static>> {
    let Some(status) = model.last() else { return vec![Row::new(columns).text("vipdrift", BOLD).line()] };
    let (state, style) = match (model.age(now.instant), &model.lost) {
        (Some(age), Some(_)) => (format!("NOT REACHABLE, {} old", span(age)), BAD),
        (Some(age), None) => (format!("{} old", span(age)), ODD),
        (None, _) => {
            let (word, style) = health(status.health.state);
            (word.to_owned(), if status.health.state == HealthState::Healthy { GOOD } else { style })
        }
    };
    let room = columns.saturating_sub(width(&state) + 2);
    let left = Row::new(room)
        .text(&status.node, BOLD)
        .text(" of cluster ", FAINT)
        .text(&status.cluster, BOLD)
        .text(&format!("   vipdrift {}", status.version), FAINT);
    let pad = left.left();
    let mut spans = left.pad(pad).line().spans;
    spans.extend(Row::new(columns.saturating_sub(room)).pad(2).text(&state, style).line().spans);
    vec![Line::from(spans)]
}

/// How the daemon itself is.
pub(super) fn daemon(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let Some(status) = model.last() else { return Vec::new() };
    let daemon = &status.daemon;
    let late = daemon.lateness;
    let starts = match daemon.brain_starts {
        1 => "1 brain start".to_owned(),
        starts => format!("{starts} brain starts"),
    };
    let timers = format!(
        "timers late p50 {}, p99.9 {}, max {}; {starts}",
        micros(late.p50_us),
        micros(late.p999_us),
        micros(late.max_us)
    );
    let row = Row::new(columns).text(&timers, FAINT);
    match degraded(daemon) {
        Some(why) => {
            vec![row.line(), Row::new(columns).text(&format!("degraded: {why}"), ODD).line()]
        }
        None => vec![row.text("; real time", FAINT).line()],
    }
}

/// What the machine does not grant the daemon.
fn degraded(daemon: &Daemon) -> Option<String> {
    let refused = daemon.not_granted();
    (!refused.is_empty()).then(|| refused.join("; "))
}

/// Is anything wrong? A line each, the worst first.
pub(super) fn verdict(model: &Model, now: Now, columns: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(why) = &model.lost {
        let age = model.age(now.instant).unwrap_or_default();
        let text = format!(
            "the daemon is not reachable: {why}; asked again every second, what is below is {} old",
            span(age)
        );
        let wrapped = wrap(&text, columns.saturating_sub(2), 2);
        let marks = ["! ", "  "];
        lines.extend(wrapped.iter().zip(marks).map(|(text, mark)| line(mark, text, BAD, columns)));
    }
    let Some(status) = model.last() else { return lines };
    let findings = verdict::findings(status);
    if findings.is_empty() && lines.is_empty() {
        lines.push(line("✓ ", &verdict::all_well(status), GOOD, columns));
    }
    for finding in findings.iter().take(MOST) {
        let (mark, style) = match finding.weight {
            Weight::Wrong => ("! ", BAD),
            Weight::Note => ("- ", ODD),
        };
        lines.push(line(mark, &finding.text, style, columns));
    }
    if findings.len() > MOST {
        lines.push(line("  ", &format!("and {} more", findings.len() - MOST), PLAIN, columns));
    }
    lines
}

/// As many lines as there is room for; the last one says how many are missing.
pub(super) fn cut(mut lines: Vec<Line<'static>>, height: usize, columns: usize) -> Vec<Line<'static>> {
    let missing = lines.len().saturating_sub(height);
    if missing > 0 && height > 1 {
        lines.truncate(height - 1);
        lines.push(line("  ", &format!("and {} more", missing + 1), PLAIN, columns));
    } else if missing > 0 && height == 1 {
        let more = format!(" (+{missing})");
        lines.truncate(1);
        let style = lines[0].spans.last().map_or(PLAIN, |span| span.style);
        let text: String = lines[0].to_string();
        let text = super::paper::fit(text.trim_end(), columns.saturating_sub(more.len()));
        lines = vec![Row::new(columns).text(&text, style).text(&more, style).line()];
    }
    lines
}

fn line(mark: &str, text: &str, style: Style, columns: usize) -> Line<'static> {
    Row::new(columns).text(mark, style).text(text, style).line()
}
