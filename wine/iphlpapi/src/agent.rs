//! The line to the agent.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use windows_sys::Win32::Foundation::ERROR_GEN_FAILURE;

/// Where the agent listens unless `VIPDRIFT_WINE_AGENT` names another port. A service gets no variables.
const PORT: u16 = 20_910;
/// Longer than anything that the agent does.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection. `ERROR_GEN_FAILURE` if there is no agent.
pub(crate) fn connect() -> Result<TcpStream, u32> {
    let named = std::env::var("VIPDRIFT_WINE_AGENT").ok().and_then(|port| port.parse().ok());
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, named.unwrap_or(PORT)));
    let stream = stream.map_err(|_| ERROR_GEN_FAILURE)?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Asks one line, and answers what follows the code of a success.
pub(crate) fn ask(line: &str) -> Result<String, u32> {
    let mut stream = connect()?;
    let _ = stream.set_read_timeout(Some(PATIENCE));
    stream.write_all(format!("{line}\n").as_bytes()).map_err(|_| ERROR_GEN_FAILURE)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(|_| ERROR_GEN_FAILURE)?;
    let (code, rest) = answer.trim_end_matches('\n').split_once(' ').ok_or(ERROR_GEN_FAILURE)?;
    match code.parse() {
        Ok(0) => Ok(rest.to_owned()),
        Ok(code) => Err(code),
        Err(_) => Err(ERROR_GEN_FAILURE),
    }
}

/// The result as a Windows function gives it.
pub(crate) fn code(result: Result<(), u32>) -> u32 {
    result.err().unwrap_or(0)
}
