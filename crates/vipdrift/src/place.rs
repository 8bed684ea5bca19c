//! Where things are unless it is said otherwise.

use std::path::PathBuf;

/// The configuration file, for people.
#[cfg(unix)]
pub(crate) const CONFIG: &str = "/etc/vipdrift/vipdrift.toml";
#[cfg(windows)]
pub(crate) const CONFIG: &str = r"%ProgramData%\vipdrift\vipdrift.toml";

/// The folder that keeps what outlives the daemon, for people.
#[cfg(unix)]
pub(crate) const STATE: &str = "/var/lib/vipdrift";
#[cfg(windows)]
pub(crate) const STATE: &str = r"%ProgramData%\vipdrift\state";

/// The configuration file.
pub(crate) fn config() -> PathBuf {
    expand(CONFIG)
}

/// The folder that keeps what outlives the daemon.
pub(crate) fn state() -> PathBuf {
    expand(STATE)
}

#[cfg(unix)]
fn expand(path: &str) -> PathBuf {
    path.into()
}

#[cfg(windows)]
fn expand(path: &str) -> PathBuf {
    /// What it is on every Windows that nobody has changed.
    const USUAL: &str = r"C:\ProgramData";
    let root = std::env::var_os("ProgramData").map_or_else(|| USUAL.into(), PathBuf::from);
    root.join(path.trim_start_matches(r"%ProgramData%\"))
}
