//! What runs beside the view and talks to the daemon. Each of these waits as long as it likes.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::time::sleep;
use vipdrift_control::{Client, ClientError, Event, EventsRequest, NodeRequest, Status, SwitchoverRequest};

use super::super::daemon::MOVE;
use super::super::harmless;
use super::model::Command;
use crate::config::plain;

/// A daemon that is away is looked for so often.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// It gives its status within 2 s, or says that it cannot.
const STATUS: Duration = Duration::from_secs(3);
/// How long the daemon is asked to wait for the next event, in milliseconds.
const WAIT_MS: u64 = 20_000;
/// Longer than that.
const FOLLOW: Duration = Duration::from_secs(30);
/// Events of the past that are asked for, and the most that are kept.
pub(super) const PAST: usize = 200;

/// What came back. Every text in it is harmless.
#[derive(Debug)]
pub(super) enum Update {
    /// The status.
    Status(Box<Status>),
    /// There was none, and why.
    Lost(String),
    /// All events that there are: those before are void.
    Past(Vec<Event>),
    /// More of them.
    More(Vec<Event>),
    /// What became of a command: done, or not, and the daemon's own words.
    Outcome(Result<String, String>),
}

/// Asks for the status again and again, until nobody wants it.
pub(super) async fn watch(socket: &Path, interval: Duration, updates: Sender<Update>) {
    let client = Client::new(socket, STATUS);
    loop {
        let (update, pause) = match client.status().await {
            Ok(status) => match harmless::of(&status) {
                Ok(status) => (Update::Status(Box::new(status)), interval),
                Err(why) => (Update::Lost(why), RETRY),
            },
            Err(error) => (Update::Lost(in_words(&error)), RETRY),
        };
        if updates.send(update).await.is_err() {
            return;
        }
        sleep(pause).await;
    }
}

/// Follows the events. A daemon that was away may have begun to count anew, so all are asked for again then.
pub(super) async fn follow(socket: &Path, updates: Sender<Update>) {
    let client = Client::new(socket, FOLLOW);
    let mut seen = None;
    loop {
        let request = match seen {
            None => EventsRequest { limit: Some(PAST), ..EventsRequest::default() },
            Some(seen) => {
                EventsRequest { after: Some(seen), wait_ms: Some(WAIT_MS), ..EventsRequest::default() }
            }
        };
        let found = client.events(&request).await.map(|found| harmless::of(&found));
        let Ok(Ok(found)) = found else {
            seen = None;
            sleep(RETRY).await;
            continue;
        };
        let events = found.events;
        let last = events.last().map_or(seen.unwrap_or(0), |event| event.seq);
        let update = if seen.is_none() { Update::Past(events) } else { Update::More(events) };
        seen = Some(last);
        if updates.send(update).await.is_err() {
            return;
        }
    }
}

/// Says a command and tells what became of it.
pub(super) async fn command(socket: &Path, command: Command, updates: Sender<Update>) {
    let client = Client::new(socket, MOVE);
    let outcome = match command {
        Command::Switchover { group, to } => client.switchover(&SwitchoverRequest { group, to }).await,
        Command::Drain { node } => client.drain(&NodeRequest { node: Some(node), group: None }).await,
        Command::Undrain { node } => client.undrain(&NodeRequest { node: Some(node), group: None }).await,
    };
    let outcome = outcome.map(|done| harmless::text(&done)).map_err(|error| in_words(&error));
    // Nobody listens any more: the view has ended, and the daemon does what it was told all the same.
    let _ = updates.send(Update::Outcome(outcome)).await;
}

fn in_words(error: &ClientError) -> String {
    let words = match error {
        ClientError::Unreachable(error) => plain(error),
        error => error.to_string(),
    };
    harmless::text(&words)
}
