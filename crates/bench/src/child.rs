//! One measurement in a process of its own: what it leaves ends with it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::Result;

/// Longest that one may take.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs this program with `one` and these arguments, and returns what it says in its last line.
///
/// # Errors
/// What it says of why it could not, or it takes too long.
pub(crate) fn measure<T: DeserializeOwned>(vipdrift: &Path, arguments: &[&str]) -> Result<T> {
    measure_within(vipdrift, arguments, LIMIT)
}

/// The same where it may take longer.
///
/// # Errors
/// As there.
pub(crate) fn measure_within<T: DeserializeOwned>(
    vipdrift: &Path,
    arguments: &[&str],
    limit: Duration,
) -> Result<T> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--vipdrift").arg(vipdrift).arg("one").args(arguments);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
    let (tell, ended) = channel();
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    let output = match ended.recv_timeout(limit) {
        Ok(output) => output?,
        Err(RecvTimeoutError::Timeout) => {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
            return Err(format!("not done after {limit:?}").into());
        }
        Err(error) => return Err(error.into()),
    };
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match said.lines().last().map(serde_json::from_str) {
        Some(Ok(figures)) if output.status.success() => Ok(figures),
        _ => Err(format!("{} {}", output.status, errors.trim()).into()),
    }
}
