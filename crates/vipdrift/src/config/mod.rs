//! The configuration: one TOML file, the same on every node. Everything that can be known to be wrong from the
//! file alone is refused here, with its place; what depends on the machine is left to `vipdrift check` and the
//! keeper.
//!
//! Keys beyond those of the contract:
//!
//! | Key | Default | Meaning |
//! |---|---|---|
//! | `[cluster] start_wait` | `"3s"` | longest wait at start for proof that the link works; `"0s"` to `"10m"` |
//! | `[cluster] previous_key`, `previous_key_file` | none | a second key that is accepted, for changing keys without a gap |
//! | `[cluster] port` | `5798` | UDP port of the heartbeats |
//! | `[cluster] user` | `"vipdrift"` | user that the brain becomes when started as root; `nobody` if there is none of that name. Members of the group of that name may use the control socket |
//! | `[cluster] journal` | `"off"` | folder of the journal: everything that the core of each node hears and decides |
//! | `[cluster] journal_limit` | `"64MiB"` | what the journal of a node may take on the disk, 4 MiB or more |
//! | `[control] token_file` | none | file with a token, as `vipdrift key` makes one: whoever has it may drain nodes and move groups from the page |
//! | `[[group]] as_source` | `false` | the kernel may choose the VIP as source address of new connections |
//!
//! `prefer` names the first nodes of the order; nodes that it leaves out follow as they stand in the file, so every node
//! may hold every group. A relative `key_file` is looked for beside the configuration file.

mod address;
mod contradictions;
mod digest;
pub(crate) mod duration;
mod file;
mod keys;
mod outline;
mod placement;
mod problem;
pub(crate) mod reference;
mod resolve;
mod section;
mod service;
pub(crate) mod size;

#[cfg(test)]
mod tests;

use std::path::Path;

pub(crate) use file::Config;
pub(crate) use file::KeySource;
#[cfg(feature = "fuzzing")]
pub(crate) use file::hex_key;
pub(crate) use keys::Secrets;
pub(crate) use vipdrift_platform::error::plain;

pub(crate) use problem::{Refused, nearest};
pub(crate) use resolve::{HOLD, Resolved, ServiceCheck, names_of_own_addresses};
pub(crate) use service::Hooks;

/// Where the control socket is unless the configuration or `--socket` says otherwise.
pub(crate) const DEFAULT_SOCKET: &str = vipdrift_platform::endpoint::DEFAULT;

/// A configuration that has passed every check, and its text.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) text: String,
}

/// Reads and checks the file at `path`. Key files are not read.
///
/// # Errors
/// Every problem found, rendered with its place.
pub(crate) fn load(path: &Path) -> Result<Loaded, Refused> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => Some("name the file with --config FILE"),
            std::io::ErrorKind::PermissionDenied => Some("run as root, or as a user who may read the file"),
            _ => None,
        };
        Refused::unreadable(&file, &plain(&error), help)
    })?;
    read(&file, bytes)
}

/// Checks the content of a file, which is shown as being from `file`.
///
/// # Errors
/// Every problem found, rendered with its place.
pub(crate) fn read(file: &str, bytes: Vec<u8>) -> Result<Loaded, Refused> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|b| **b == b'\n').count() + 1;
        Refused::unreadable(file, &format!("line {line} is not UTF-8 text"), None)
    })?;
    let config = parse(file, &text)?;
    Ok(Loaded { config, text })
}

/// Checks `text`, which is shown as being from `file`.
///
/// # Errors
/// Every problem found, rendered with its place.
pub(crate) fn parse(file: &str, text: &str) -> Result<Config, Refused> {
    let problems = problem::Problems::default();
    let config = file::read(text, &problems);
    // Contradictions between values that are wrong by themselves would only be echoes.
    if let Some(config) = config.as_ref().filter(|_| problems.is_empty()) {
        contradictions::find(config, &problems);
    }
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.into_refused(file, text)),
    }
}
