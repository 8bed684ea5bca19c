//! Runs one program under wine for cargo, as `xtask under-wine PREFIX PROGRAM ARGUMENT...`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use super::bounded;
use super::prefix::Prefix;

/// How cargo calls this program.
pub(crate) const VERB: &str = "under-wine";
/// Longest that one test program may take, as in the lab.
const LIMIT: Duration = Duration::from_secs(300);
/// Wine passes on eight bits of `STATUS_DLL_NOT_FOUND` and says nothing.
const DLL_NOT_FOUND: u8 = 53;

/// The setting that makes cargo call this program.
pub(crate) fn setting(target: &str, prefix: &Path) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    Ok(format!(
        "target.{target}.runner=[{:?}, {VERB:?}, {:?}]",
        program.display().to_string(),
        prefix.display().to_string()
    ))
}

/// Runs it, and then ends everything that is left in the prefix: no test program meets what another has left behind.
/// The prefix belongs to the machine's own network, so it is used for nothing else.
pub(crate) fn run(prefix: &str, program: &str, arguments: &[&str]) -> ExitCode {
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let prefix = Prefix::at(PathBuf::from(prefix));
    let mut command = Command::new("wine");
    command.arg(program).args(arguments);
    let outcome = prefix.dress(&mut command).and_then(|command| bounded::finish(&name, command, LIMIT));
    let ended = prefix.end();
    let code = outcome.and_then(|status| ended.map(|()| status.code()));
    match code {
        Ok(Some(0)) => ExitCode::SUCCESS,
        Ok(code) => {
            let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
            if code == DLL_NOT_FOUND {
                eprintln!(
                    "{name} ended with status {code}: most likely a DLL, or a function of one, that wine lacks"
                );
            }
            ExitCode::from(code)
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
