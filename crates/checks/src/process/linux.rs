//! Processes as proc(5) shows them.

use std::fs;
use std::io;

/// The kernel keeps so much of a name.
const COMM: usize = 15;

/// Those of this name that live.
pub(super) fn named(name: &str) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    let short: String = name.bytes().take(COMM).map(char::from).collect();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let comm = comm.trim_end_matches('\n');
        // Longer names are cut in one file and whole in the other.
        let is_it = comm == short && name.len() <= COMM || program(pid).as_deref() == Some(name);
        if !is_it {
            continue;
        }
        if lives(pid) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The last part of what it was started as.
pub(super) fn program(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = line.split(|byte| *byte == 0).next()?;
    let name = first.rsplit(|byte| *byte == b'/').next()?;
    String::from_utf8(name.to_vec()).ok().filter(|name| !name.is_empty())
}

/// It is there and no zombie (proc(5): the state follows the name in brackets).
pub(super) fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X' | 'x'))
}
