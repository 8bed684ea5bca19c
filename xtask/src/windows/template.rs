//! The wine prefix that others are made of. A prefix is a folder that wine takes for a machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{bounded, packages, toolchain};

/// Changes with what is put into the template, so that an older one is made anew.
const VERSION: u32 = 1;
/// Written last: without it the template is not whole.
const MARK: &str = "complete";
/// How long wine may take to make a prefix: seconds, on a machine that does nothing else.
const MAKING: Duration = Duration::from_secs(300);
/// How long its server may take to end everything in it.
const ENDING: Duration = Duration::from_secs(60);
/// Without its .NET, browser and menus, which nobody needs here and which ask to be installed.
const OVERRIDES: &str = "mscoree,mshtml=;winemenubuilder.exe,winedbg.exe=";

/// It is there and whole. No program is ever run in it: that would change it.
pub(crate) struct Template {
    folder: PathBuf,
}

impl Template {
    /// The template below `folder`, made if it is not there, not whole, or of another wine.
    pub(crate) fn ensure(folder: &Path) -> Result<Self, String> {
        let template = Self { folder: folder.join("prefix") };
        let mark = template.folder.join(MARK);
        let wanted = format!("{VERSION}, {}\n", packages::said_by("wine", "--version")?);
        if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
            return Ok(template);
        }
        if template.folder.exists() {
            // Of one that was killed on its way something may still run.
            template.end()?;
            fs::remove_dir_all(&template.folder).map_err(|error| template.failed(&error))?;
        }
        let made = template.make();
        let ended = template.end();
        made.and(ended)?;
        fs::write(mark, wanted).map_err(|error| template.failed(&error))?;
        Ok(template)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `C:\windows\system32`.
    pub(crate) fn system(&self) -> PathBuf {
        self.folder.join("drive_c/windows/system32")
    }

    fn make(&self) -> Result<(), String> {
        bounded::run("wineboot", self.command("wine")?.args(["wineboot", "-i"]), MAKING)?;
        // The registry is written when the last of its processes ends.
        bounded::run("wineserver -w", self.command("wineserver")?.arg("-w"), MAKING)
    }

    /// Ends everything that runs in it, and in no other.
    fn end(&self) -> Result<(), String> {
        // It fails if there is no server.
        bounded::finish("wineserver -k", self.command("wineserver")?.arg("-k"), ENDING)?;
        bounded::run("wineserver -w", self.command("wineserver")?.arg("-w"), ENDING)
    }

    /// One of wine's programs. Its complaints are not shown: it has some that mean nothing, and whether it has done its
    /// work is seen by its status.
    fn command(&self, program: &str) -> Result<Command, String> {
        let (home, sockets) = (self.folder.join("home"), self.folder.join("tmp"));
        for folder in [&home, &sockets] {
            fs::create_dir_all(folder).map_err(|error| self.failed(&error))?;
        }
        let mut command = Command::new(program);
        toolchain::environment(&mut command)
            .env("WINEPREFIX", &self.folder)
            .env("WINEARCH", "win64")
            .env("WINEDEBUG", "-all")
            .env("WINEDLLOVERRIDES", OVERRIDES)
            // Whoever runs this has folders of his own, which would be in the prefix otherwise, as links.
            .env("HOME", home)
            .env("TMPDIR", sockets)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(command)
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("{}: {error}", self.folder.display())
    }
}
