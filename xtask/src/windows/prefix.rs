//! Wine prefixes: the folders that wine takes for a machine, each with a server of its own while something runs in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{bounded, toolchain};

/// Changes with what is put into the template, so that an older one is made anew.
const VERSION: u32 = 1;
/// Written last: without it the template is not whole.
const MARK: &str = "complete";
/// How long wine may take to make a prefix: seconds, on a machine that does nothing else.
const MAKING: Duration = Duration::from_secs(300);
/// How long a server may take to end everything in its prefix.
const ENDING: Duration = Duration::from_secs(60);
/// Without its .NET, browser and menus, which nobody needs here and which ask to be installed.
const OVERRIDES: &str = "mscoree,mshtml=;winemenubuilder.exe=";
/// What belongs to one prefix alone and is never in a copy: sockets, and the word where they are.
const OWN: [&str; 3] = ["tmp", "wineserver", MARK];

/// A prefix.
pub(crate) struct Prefix {
    folder: PathBuf,
}

impl Prefix {
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The template below `folder`, made if it is not there, not whole, or of another wine.
    pub(crate) fn template(folder: &Path) -> Result<Self, String> {
        let prefix = Self::at(folder.join("prefix"));
        let mark = prefix.folder.join(MARK);
        let wanted = format!("{VERSION}, {}\n", wine_version()?);
        if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
            return Ok(prefix);
        }
        prefix.remove()?;
        make_folder(&prefix.folder)?;
        println!("making {}", prefix.folder.display());
        let made = prefix.make();
        let ended = prefix.end();
        made.and(ended)?;
        fs::write(&mark, wanted).map_err(|error| format!("{}: {error}", mark.display()))?;
        Ok(prefix)
    }

    fn make(&self) -> Result<(), String> {
        let mut boot = Command::new("wine");
        bounded::run(
            "wineboot",
            self.dress(toolchain::environment(&mut boot))?.args(["wineboot", "-i"]),
            MAKING,
        )?;
        // The registry is written when the last of its processes ends.
        bounded::run("wineserver -w", &mut self.server("-w")?, MAKING)
    }

    /// A copy in `folder`: what only wine itself writes are links, so it takes little room and time.
    pub(crate) fn copy(&self, folder: PathBuf) -> Result<Self, String> {
        let copy = Self::at(folder);
        copy.remove()?;
        let failed = |error| format!("{}: {error}", copy.folder.display());
        fs::create_dir_all(&copy.folder).map_err(failed)?;
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !OWN.iter().any(|own| entry.file_name() == *own) {
                copy_tree(&entry.path(), &copy.folder.join(entry.file_name()), false).map_err(failed)?;
            }
        }
        Ok(copy)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `C:\windows\system32`.
    pub(crate) fn system(&self) -> PathBuf {
        self.folder.join("drive_c/windows/system32")
    }

    /// Has a command run wine in this prefix.
    pub(crate) fn dress<'a>(&self, command: &'a mut Command) -> Result<&'a mut Command, String> {
        let (home, sockets) = (self.folder.join("home"), self.folder.join("tmp"));
        make_folder(&home)?;
        make_folder(&sockets)?;
        Ok(command
            .env("WINEPREFIX", &self.folder)
            .env("WINEARCH", "win64")
            .env("WINEDEBUG", "-all")
            .env("WINEDLLOVERRIDES", OVERRIDES)
            // The user's own documents would be in the prefix otherwise, as links.
            .env("HOME", home)
            .env("TMPDIR", sockets)
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY"))
    }

    fn server(&self, what: &str) -> Result<Command, String> {
        let mut server = Command::new("wineserver");
        self.dress(toolchain::environment(&mut server))?.arg(what).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(server)
    }

    /// Ends everything that runs in this prefix, and in no other.
    pub(crate) fn end(&self) -> Result<(), String> {
        let name = |what: &str| format!("wineserver {what} of {}", self.folder.display());
        // It fails if there is no server.
        bounded::finish(&name("-k"), &mut self.server("-k")?, ENDING)?;
        bounded::run(&name("-w"), &mut self.server("-w")?, ENDING)
    }

    /// Ends everything in it and deletes it.
    pub(crate) fn remove(&self) -> Result<(), String> {
        if !self.folder.exists() {
            return Ok(());
        }
        self.end()?;
        fs::remove_dir_all(&self.folder).map_err(|error| format!("{}: {error}", self.folder.display()))
    }
}

/// Links instead of the files in `drive_c/windows`, real copies of all others: the registry is written in place.
fn copy_tree(from: &Path, to: &Path, in_windows: bool) -> std::io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)
    } else if kind.is_dir() {
        let in_windows = in_windows || from.ends_with("drive_c/windows");
        fs::create_dir(to)?;
        fs::read_dir(from)?.try_for_each(|entry| {
            let entry = entry?;
            copy_tree(&entry.path(), &to.join(entry.file_name()), in_windows)
        })
    } else if in_windows {
        fs::hard_link(from, to)
    } else {
        fs::copy(from, to).map(|_| ())
    }
}

fn wine_version() -> Result<String, String> {
    let output = toolchain::environment(&mut Command::new("wine"))
        .env("WINEDEBUG", "-all")
        .arg("--version")
        .output()
        .map_err(|error| format!("wine --version: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn make_folder(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_copy_shares_what_only_wine_writes() {
        let folder = tempfile::tempdir().unwrap();
        // The name of a folder above must not matter.
        let template = Prefix::at(folder.path().join("drive_c/windows/prefix"));
        for name in ["tmp", "dosdevices", "drive_c/users", "drive_c/windows/system32"] {
            fs::create_dir_all(template.folder().join(name)).unwrap();
        }
        for name in ["system.reg", "wineserver", MARK, "drive_c/users/a", "drive_c/windows/system32/a.dll"] {
            fs::write(template.folder().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("../drive_c", template.folder().join("dosdevices/c:")).unwrap();
        let copy = template.copy(folder.path().join("copy")).unwrap();
        let links = |name: &str| fs::metadata(copy.folder().join(name)).map(|file| file.nlink()).ok();
        assert_eq!(links("system.reg"), Some(1));
        assert_eq!(links("drive_c/users/a"), Some(1));
        assert_eq!(links("dosdevices/c:/windows/system32/a.dll"), Some(2));
        assert_eq!([links("tmp"), links("wineserver"), links(MARK)], [None; 3]);
        assert_eq!(copy.system(), copy.folder().join("drive_c/windows/system32"));
    }
}
