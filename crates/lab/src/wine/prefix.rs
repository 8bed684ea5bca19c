//! A wine prefix for each host: the Windows that a program sees.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result, While};

/// A copy of a prefix; removed when dropped. Wine makes its sockets in a server of each prefix, so two hosts must never
/// share one: the second would be in the network of the first, and nothing would tell.
#[derive(Debug)]
pub struct Prefix {
    folder: PathBuf,
}

/// Which `iphlpapi.dll` a program gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// The stand-in that talks to an [`Agent`](super::Agent).
    StandIn,
    /// Wine's own, which cannot change addresses: what a program does that relies on the stand-in must fail with it.
    Wine,
}

impl Prefix {
    /// Copies `base`, which `wineboot` has made and into which the DLLs of `wine/build.sh` were put, beside it: by links, so it
    /// costs nothing. The files that wine writes are copied.
    ///
    /// # Errors
    ///
    /// No such prefix, or no `cp`.
    pub fn copy(base: &Path) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = base.file_name().unwrap_or_else(|| OsStr::new("prefix")).to_string_lossy();
        // Inside the enclosure every program has a low pid: the time tells them apart.
        let moment = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let folder = base.with_file_name(format!("{name}-{moment:x}-{number}"));
        let doing = || format!("copy the wine prefix {}", base.display());
        let prefix = Self { folder };
        let copied = Command::new("cp").arg("-al").arg(base).arg(&prefix.folder).status().doing(doing)?;
        if !copied.success() {
            return Err(Error::Name(format!("cannot {}", doing())));
        }
        for entry in fs::read_dir(&prefix.folder).doing(doing)?.flatten() {
            let path = entry.path();
            if path.is_file() {
                let content = fs::read(&path).doing(doing)?;
                fs::remove_file(&path).doing(doing)?;
                fs::write(&path, content).doing(doing)?;
            }
        }
        Ok(prefix)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a Windows program in it, for [`Host::spawn`](crate::Host::spawn).
    pub fn command(&self, program: &Path, tables: Tables) -> Command {
        let tables = match tables {
            Tables::StandIn => "n,b",
            Tables::Wine => "b",
        };
        let mut command = Command::new("wine");
        command
            .arg(program)
            .env("WINEPREFIX", &self.folder)
            .env("WINEDEBUG", "-all")
            // No debugger that holds a program which has crashed.
            .env("WINEDLLOVERRIDES", format!("mscoree,mshtml,winedbg.exe=;iphlpapi={tables}"));
        command
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        // Its server would go on for some seconds and write what it knows.
        let _ = Command::new("wineserver").arg("-k").env("WINEPREFIX", &self.folder).status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
