//! `vipdrift top`: who holds what, whether anything is wrong, and why it moved last, live on a terminal.
//!
//! The model knows what the daemon said and what the user is about; drawing and keys are functions of it. Requests run
//! beside, so nothing on the screen ever waits for the daemon.

mod draw;
#[cfg(test)]
pub(super) mod examples;
mod keys;
mod link;
mod model;
mod screen;
mod signals;
mod verdict;
mod view;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use vipdrift_control::Client;

use super::daemon::{self, QUICK};
use super::{DONE, NOT_DONE, USAGE, Where, fail, harmless};
use crate::config::{duration, plain};
use draw::Look;
use model::Model;

/// Shortest pause between two looks: each makes the daemon's heartbeat thread tell everything.
const SHORTEST: Duration = Duration::from_millis(100);
/// Longest.
const LONGEST: Duration = Duration::from_secs(3600);

#[derive(Debug, Args)]
pub(super) struct Top {
    #[command(flatten)]
    place: Where,
    /// How often to look, at least 100ms
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = interval)]
    interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    if !(SHORTEST..=LONGEST).contains(&interval) {
        return Err(format!("from {} to {}", duration::show(SHORTEST), duration::show(LONGEST)));
    }
    Ok(interval)
}

/// Shows the view until the user has seen enough.
pub(super) fn run(args: &Top) -> u8 {
    if !std::io::stdout().is_terminal() {
        return fail(
            USAGE,
            "`top` needs a terminal, and standard output is none\n  \
             `vipdrift status` says the same once, `vipdrift status --json` says it to programs",
        );
    }
    if std::env::var("TERM").is_ok_and(|kind| kind == "dumb") {
        return fail(
            USAGE,
            "`top` needs a terminal that can move its cursor, and TERM is `dumb`\n  \
             `vipdrift status` says the same once",
        );
    }
    let socket = match daemon::socket(&args.place) {
        Ok(socket) => socket,
        Err(status) => return status,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(NOT_DONE, &plain(&error)),
    };
    // A wrong socket is told here, as by every other command. Later the view waits for a daemon that is away.
    let first = match runtime.block_on(Client::new(&socket, QUICK).status()) {
        Ok(status) => status,
        Err(error) => return daemon::failed(&socket, &error),
    };
    let mut model = Model::new(args.interval);
    match harmless::of(&first) {
        Ok(first) => model.take_status(first, std::time::Instant::now()),
        Err(error) => return fail(NOT_DONE, &error),
    }
    match runtime.block_on(view::run(model, Look::of_environment(), &socket)) {
        Ok(()) => DONE,
        Err(why) => fail(NOT_DONE, &why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(interval("100ms"), Ok(SHORTEST));
        assert_eq!(interval("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(interval("99ms"), Err("from 100ms to 1h".to_owned()));
        assert!(interval("61m").is_err() && interval("500").is_err());
    }
}
