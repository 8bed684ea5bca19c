//! What was found, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;
use vipdrift_platform::links::Link;

/// The whole of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    system: String,
    interface: String,
    address: String,
    parts: Vec<Part>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Part {
    part: &'static str,
    /// As vipdrift needs it.
    ok: bool,
    found: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    micros: Vec<u128>,
}

impl Report {
    pub(super) fn new(link: &Link, address: IpNet) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            system: system(),
            interface: link.name.clone(),
            address: address.to_string(),
            parts: Vec::new(),
        }
    }

    /// Adds what was found, with the times that were measured.
    pub(super) fn add(&mut self, part: &'static str, ok: bool, found: impl Into<String>, times: &[Duration]) {
        let found = found.into();
        eprintln!("{} {part}: {found}", if ok { "ok " } else { "NOT" });
        self.parts.push(Part { part, ok, found, micros: times.iter().map(Duration::as_micros).collect() });
    }

    /// All is as vipdrift needs it.
    pub(super) fn is_good(&self) -> bool {
        self.parts.iter().all(|part| part.ok)
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "vipdrift {} selftest\n  system     {}\n  interface  {}\n  address    {}\n",
            self.version, self.system, self.interface, self.address
        );
        for part in &self.parts {
            let _ =
                writeln!(text, "  {} {:<10} {}", if part.ok { "ok " } else { "NOT" }, part.part, part.found);
        }
        text.push_str(
            "\nPlease send this in, with --json if you can: it tells what this system really does.\n",
        );
        text
    }
}

/// Median, and the longest.
pub(super) fn spread(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    match (sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(median), Some(longest)) => {
            format!("median {:.2} ms, longest {:.2} ms", millis(*median), millis(*longest))
        }
        _ => "not measured".to_owned(),
    }
}

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(unix)]
fn system() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim())
}

#[cfg(windows)]
fn system() -> String {
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    let program = std::path::Path::new(&root).join(r"System32\cmd.exe");
    let said = std::process::Command::new(program).args(["/c", "ver"]).output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.ok().filter(|said| !said.is_empty()).unwrap_or_else(|| "Windows".to_owned())
}
