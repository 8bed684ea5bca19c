//! Commands that talk to the running daemon.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vipdrift_control::{Client, ClientError, NodeRequest, SwitchoverRequest};

use super::{DONE, NOT_DONE, UNREACHABLE, Where, fail, refused, text};
use crate::config::{self, plain};

/// For answers that cost nothing.
const QUICK: Duration = Duration::from_secs(5);
/// For moves, which have limits of their own in the daemon.
const MOVE: Duration = Duration::from_secs(65);

pub(super) fn status(place: &Where, json: bool) -> u8 {
    talk(place, QUICK, async |client| {
        let status = client.status().await?;
        let shown = if json {
            serde_json::to_string(&status).map_err(|error| ClientError::Broken(error.to_string()))? + "\n"
        } else {
            text::status(&status)
        };
        Ok(shown)
    })
}

pub(super) fn switchover(place: &Where, group: String, to: Option<String>) -> u8 {
    let request = SwitchoverRequest { group, to };
    talk(place, MOVE, async |client| Ok(client.switchover(&request).await? + "\n"))
}

pub(super) fn drain(place: &Where, node: Option<String>) -> u8 {
    let request = NodeRequest { node };
    talk(place, MOVE, async |client| Ok(client.drain(&request).await? + "\n"))
}

pub(super) fn undrain(place: &Where, node: Option<String>) -> u8 {
    let request = NodeRequest { node };
    talk(place, MOVE, async |client| Ok(client.undrain(&request).await? + "\n"))
}

/// Says something to the daemon, prints what it answers, and answers the exit status.
fn talk(place: &Where, limit: Duration, say: impl AsyncFnOnce(&Client) -> Result<String, ClientError>) -> u8 {
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
        Ok(answer) => match std::io::stdout().write_all(answer.as_bytes()) {
            Ok(()) => DONE,
            Err(error) => fail(NOT_DONE, &plain(&error)),
        },
        Err(ClientError::Unreachable(error)) => unreachable(&socket, &error),
        Err(error @ ClientError::Timeout(_)) => {
            fail(UNREACHABLE, &format!("the daemon on {} gave {error}", socket.display()))
        }
        Err(error) => fail(NOT_DONE, &error.to_string()),
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
fn socket(place: &Where) -> Result<PathBuf, u8> {
    if let Some(socket) = &place.socket {
        return Ok(socket.clone());
    }
    let file = place.config.as_deref().unwrap_or(Path::new(config::DEFAULT_PATH));
    if place.config.is_none() && !file.exists() {
        return Ok(config::DEFAULT_SOCKET.into());
    }
    config::load(file).map(|loaded| loaded.config.control.socket).map_err(|why| refused(&why))
}
