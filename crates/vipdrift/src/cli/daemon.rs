//! Commands that talk to the running daemon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vipdrift_control::{
    Client, ClientError, DrillRequest, NodeRequest, RestartRequest, Status, SwitchoverRequest,
};

use super::{NOT_DONE, UNREACHABLE, Where, config_file, fail, harmless, refused, text};
use crate::config::{self, plain};

/// What was said, for a terminal.
pub(super) fn safe<T: Serialize + DeserializeOwned>(said: &T) -> Result<T, ClientError> {
    harmless::of(said).map_err(ClientError::Broken)
}

/// For answers that cost nothing.
pub(super) const QUICK: Duration = Duration::from_secs(5);
/// For what the daemon looks at first, for ten seconds at most.
const EXAMINED: Duration = Duration::from_secs(15);
/// A new daemon answers within this, or something is wrong.
const SUCCESSION: Duration = Duration::from_secs(10);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(20);
/// And what is not answered within this time is asked again.
const ANSWER: Duration = Duration::from_secs(1);
/// Moves have limits of their own in the daemon; one that gives no sign of life for this long hangs.
pub(super) const MOVE: Duration = Duration::from_secs(15);

pub(super) fn status(place: &Where, json: bool) -> u8 {
    with(place, QUICK, async |client| {
        let status = client.status().await?;
        let shown = if json {
            serde_json::to_string(&status).map_err(|error| ClientError::Broken(error.to_string()))? + "\n"
        } else {
            text::status(&safe(&status)?)
        };
        Ok(shown)
    })
}

pub(super) fn switchover(place: &Where, group: String, to: Option<String>) -> u8 {
    let request = SwitchoverRequest { group, to };
    with(place, MOVE, async |client| Ok(harmless::text(&client.switchover(&request).await?) + "\n"))
}

/// There and back, as this takes.
pub(super) fn drill(place: &Where, group: String, to: Option<String>, stay: Duration, json: bool) -> u8 {
    let stay_ms = u64::try_from(stay.as_millis()).unwrap_or(u64::MAX);
    let request = DrillRequest { group, to, stay_ms };
    with(place, MOVE, async |client| {
        let drill = client.drill(&request).await?;
        if json {
            return serde_json::to_string(&drill)
                .map(|text| text + "\n")
                .map_err(|error| ClientError::Broken(error.to_string()));
        }
        Ok(text::drill(&safe(&drill)?))
    })
}

pub(super) fn drain(place: &Where, node: Option<String>, group: Option<String>) -> u8 {
    let request = NodeRequest { node, group };
    with(place, MOVE, async |client| Ok(harmless::text(&client.drain(&request).await?) + "\n"))
}

pub(super) fn undrain(place: &Where, node: Option<String>, group: Option<String>) -> u8 {
    let request = NodeRequest { node, group };
    with(place, MOVE, async |client| Ok(harmless::text(&client.undrain(&request).await?) + "\n"))
}

pub(super) fn reload(place: &Where) -> u8 {
    with(place, EXAMINED, async |client| {
        let before = client.status().await?;
        let changes = client.reload().await?;
        let after = wait_for_successor(client, &before, SUCCESSION).await?;
        was_carried_out("reload", &after)?;
        Ok(format!("reloaded: {}\n", harmless::text(&changes)))
    })
}

pub(super) fn restart(place: &Where, keep: Option<Duration>) -> u8 {
    let keep_ms = keep.map(|keep| u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
    with(place, EXAMINED, async |client| {
        let before = client.status().await?;
        let changes = client.restart(&RestartRequest { keep_ms }).await?;
        let after = wait_for_successor(client, &before, SUCCESSION + keep.unwrap_or_default()).await?;
        was_carried_out("restart", &after)?;
        Ok(harmless::text(&format!("version {} runs: {changes}", after.version)) + "\n")
    })
}

/// Waits until another brain answers.
async fn wait_for_successor(
    client: &Client,
    before: &Status,
    limit: Duration,
) -> Result<Status, ClientError> {
    let begun = std::time::Instant::now();
    loop {
        // A brain that is about to end may take the question along.
        let asked = tokio::time::timeout(ANSWER, client.status()).await;
        match asked.unwrap_or(Err(ClientError::Timeout(ANSWER))) {
            Ok(status) if status.daemon.brain_pid != before.daemon.brain_pid => return Ok(status),
            Ok(_) | Err(_) if begun.elapsed() < limit => tokio::time::sleep(LOOK).await,
            Ok(_) => return Err(ClientError::Timeout(limit)),
            Err(error) => return Err(error),
        }
    }
}

/// Another brain began, perhaps because it could not be done and the daemon goes on as it was.
fn was_carried_out(what: &str, after: &Status) -> Result<(), ClientError> {
    match &after.daemon.ordered {
        // A version that does not say it.
        None => Ok(()),
        Some(ordered) if ordered == what => Ok(()),
        Some(_) => {
            let reason =
                format!("{what} not carried out: the daemon goes on as it was, and its log says why");
            Err(ClientError::NotDone(reason))
        }
    }
}

/// Says something to the daemon, prints what it answers, and answers the exit status.
pub(super) fn with(
    place: &Where,
    limit: Duration,
    say: impl AsyncFnOnce(&Client) -> Result<String, ClientError>,
) -> u8 {
    let socket = match socket(place) {
        Ok(socket) => socket,
        Err(status) => return status,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(NOT_DONE, &plain(&error)),
    };
    let client = Client::new(&socket, limit);
    match runtime.block_on(say(&client)) {
        Ok(answer) => super::events::finish(&answer),
        Err(error) => failed(&socket, &error),
    }
}

/// Says why a call failed and answers the exit status.
pub(super) fn failed(socket: &Path, error: &ClientError) -> u8 {
    match error {
        ClientError::Unreachable(error) => unreachable(socket, error),
        ClientError::Timeout(_) => {
            fail(UNREACHABLE, &format!("the daemon on {} gave {error}", socket.display()))
        }
        error => fail(NOT_DONE, &harmless::text(&error.to_string())),
    }
}

fn unreachable(socket: &Path, error: &std::io::Error) -> u8 {
    let remedy = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "run this command as root",
        _ => "start it with `systemctl start vipdrift`, or in the foreground with `vipdrift run`",
    };
    fail(
        UNREACHABLE,
        &format!("the daemon is not reachable on {}: {}\n  {remedy}", socket.display(), plain(error)),
    )
}

/// The control socket: as named, as in the configuration, or in the default place if there is no configuration.
pub(super) fn socket(place: &Where) -> Result<PathBuf, u8> {
    if let Some(socket) = &place.socket {
        return Ok(socket.clone());
    }
    let file = &config_file(place.config.clone());
    if place.config.is_none() && !file.exists() {
        return Ok(config::DEFAULT_SOCKET.into());
    }
    config::load(file).map(|loaded| loaded.config.control.socket).map_err(|why| refused(&why))
}
