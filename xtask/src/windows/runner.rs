//! Runs one program under wine for cargo, as `xtask under-wine PREFIX PROGRAM ARGUMENT...`.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use super::bounded;
use super::prefix::Prefix;

/// How cargo calls this program.
pub(crate) const VERB: &str = "under-wine";
/// Longest that one test program may take, as in the lab.
const LIMIT: Duration = Duration::from_secs(300);
/// What wine says of a program that calls a function that it lacks.
const LACKS: &str = "unimplemented function";
/// Wine passes on eight bits of a program's status: these are left of `STATUS_DLL_NOT_FOUND`, of which it says nothing.
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
    command.arg(program).args(arguments).stderr(Stdio::piped());
    let outcome = prefix.dress(&mut command).and_then(|command| {
        let mut child = command.spawn().map_err(|error| format!("wine does not start: {error}"))?;
        let errors = child.stderr.take().map(|errors| std::thread::spawn(move || pass_on(errors)));
        let status = bounded::wait(&name, child, LIMIT);
        // Wine's server has the other end as well: there is no end of it before.
        prefix.end()?;
        let lacking = errors.is_some_and(|errors| errors.join().unwrap_or_default());
        Ok((status?, lacking))
    });
    let why = match outcome {
        // The eight bits that are left of its status are zeros.
        Ok((_, true)) => format!("{name} calls a function that wine lacks"),
        Ok((status, false)) => match status.code().map(u8::try_from) {
            Some(Ok(0)) => return ExitCode::SUCCESS,
            Some(Ok(DLL_NOT_FOUND)) => {
                format!("{name} most likely needs a DLL that wine lacks, or a function of one")
            }
            Some(Ok(code)) => return ExitCode::from(code),
            _ => format!("{name}: {status}"),
        },
        Err(why) => why,
    };
    eprintln!("{why}");
    ExitCode::FAILURE
}

/// Copies a program's errors to our own, and tells whether wine complains of a function that it lacks.
fn pass_on(errors: impl Read) -> bool {
    let mut errors = BufReader::new(errors);
    let (mut line, mut lacking) = (Vec::new(), false);
    while errors.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let _ = std::io::stderr().write_all(&line);
        lacking |= line.starts_with(b"wine: ") && String::from_utf8_lossy(&line).contains(LACKS);
        line.clear();
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wine_lacks_is_noticed() {
        assert!(pass_on(&b"wine: Call from 1 to unimplemented function a.dll.B, aborting\n"[..]));
        assert!(!pass_on(&b"it says: unimplemented function\nno more"[..]));
    }
}
