//! The registry, by its own program.

use std::path::PathBuf;
use std::process::Command;

/// Why there is nothing to see.
pub(super) struct Unread(pub(super) String);

/// What the registry has, as `reg query` shows it.
pub(super) fn query(query: &[&str]) -> Result<String, Unread> {
    let root = std::env::var_os("SystemRoot").map_or_else(|| r"C:\Windows".into(), PathBuf::from);
    let program = root.join(r"System32\reg.exe");
    let output = Command::new(&program).arg("query").args(query).output();
    let output = output.map_err(|error| Unread(format!("{}: {error}", program.display())))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("no such key or value").trim();
    Err(Unread(format!("{}: {said}", query.first().unwrap_or(&"registry"))))
}
