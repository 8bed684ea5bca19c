//! A host that runs Windows programs, in a prefix of its own.
//!
//! Wine has a server for each prefix, and that is what makes the sockets: a program whose server runs elsewhere uses the
//! network from there, and nothing warns. So one prefix is for one host, and everything in it is started and ended there.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Error, Result, While};
use crate::host::Host;

/// How long wine may take to boot or to end; a second, on a machine that does nothing else.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the template has DLLs that stand before wine's own if a host wants them.
const STAND_INS: &str = "drive_c/stand-ins";
const SYSTEM: &str = "drive_c/windows/system32";
/// Without its .NET, browser and menus, which ask to be installed.
const OVERRIDES: &str = "mscoree,mshtml=;winemenubuilder.exe,winedbg.exe=";
/// Wine has a driver for frames always, Windows only where somebody has installed one.
const DRIVER: &str = "wpcap";

/// The template that prefixes are made of, as `cargo xtask cross-check` names it to its tests.
///
/// # Errors
///
/// Nothing has named one.
pub fn template() -> Result<PathBuf> {
    named("VIPDRIFT_WINE_PREFIX").map(PathBuf::from)
}

/// A Windows program built from the folder of this name in `wine/`, as `cargo xtask cross-check` builds it.
///
/// # Errors
///
/// Nothing has named the place where it is.
pub fn program(name: &str) -> Result<PathBuf> {
    named("VIPDRIFT_WINE_PROGRAMS").map(|folder| PathBuf::from(folder).join(format!("{name}.exe")))
}

fn named(variable: &'static str) -> Result<std::ffi::OsString> {
    std::env::var_os(variable).ok_or(Error::Wine { variable })
}

/// A [`Host`] with wine. Dropping it ends every Windows program on the host and deletes the prefix.
#[derive(Debug)]
pub struct WineHost {
    host: Host,
    /// Below the host's own directory, and so gone with the enclosure, whatever ends that.
    folder: PathBuf,
}

impl Host {
    /// Makes a prefix of its own for this host, from a [`template`], and boots it.
    ///
    /// # Errors
    ///
    /// The host has one already or is not running, the template is not whole, or wine does not boot.
    pub fn wine(&self, template: &Path) -> Result<WineHost> {
        let folder = self.directory().join("wine");
        fs::create_dir(&folder).doing(|| format!("make {}", folder.display()))?;
        let wine = WineHost { host: self.clone(), folder };
        wine.fill(template).doing(|| format!("make a prefix of {}", template.display()))?;
        wine.boot()?;
        Ok(wine)
    }
}

impl WineHost {
    /// The host that it is on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The folder that Windows programs on the host see as `C:\`.
    pub fn drive(&self) -> PathBuf {
        self.prefix().join("drive_c")
    }

    fn prefix(&self) -> PathBuf {
        self.folder.join("prefix")
    }

    fn fill(&self, template: &Path) -> io::Result<()> {
        for name in ["prefix/dosdevices", "tmp", "home"] {
            fs::create_dir_all(self.folder.join(name))?;
        }
        let prefix = self.prefix();
        symlink("../drive_c", prefix.join("dosdevices/c:"))?;
        symlink("/", prefix.join("dosdevices/z:"))?;
        for name in ["system.reg", "user.reg", "userdef.reg", ".update-timestamp"] {
            fs::copy(template.join(name), prefix.join(name))?;
        }
        link_tree(&template.join("drive_c"), &prefix.join("drive_c"), false)?;
        self.stand_before_wines_own(template)
    }

    /// Puts the template's stand-ins before wine's own DLLs, which stay beside them with a `w` before their names. By the
    /// registry, since services do not get the environment of whoever starts them.
    fn stand_before_wines_own(&self, template: &Path) -> io::Result<()> {
        let stand_ins = template.join(STAND_INS);
        if !stand_ins.exists() {
            return Ok(());
        }
        let prefix = self.prefix();
        let mut registry = File::options().append(true).open(prefix.join("user.reg"))?;
        write!(registry, "\n[Software\\\\Wine\\\\DllOverrides]\n\"{DRIVER}\"=\"\"\n")?;
        for entry in fs::read_dir(stand_ins)? {
            let dll = entry?.path();
            let (Some(file), Some(name)) = (dll.file_name(), dll.file_stem()) else { continue };
            let mut own = OsStr::new("w").to_owned();
            own.push(file);
            let place = prefix.join(SYSTEM).join(file);
            symlink(template.join(SYSTEM).join(file), prefix.join(SYSTEM).join(own))?;
            fs::remove_file(&place)?;
            symlink(&dll, &place)?;
            writeln!(registry, "\"{}\"=\"native,builtin\"", name.display())?;
        }
        Ok(())
    }

    /// Starts the server and Windows' services. Done once when it is made, and needed again after the host's power was off.
    ///
    /// # Errors
    ///
    /// The host is not running, or wine does not boot in time.
    pub fn boot(&self) -> Result<()> {
        // It would otherwise be started by the first program, keep that one's output open, and end with the last.
        self.finish("wineserver", "-p")?;
        self.finish("wine", "wineboot")
    }

    /// A command that runs this Windows program on the host: to be completed with arguments and environment, and then
    /// handed to [`Host::spawn`]. The process that this gives is the Windows program itself, not something around it: its
    /// pid, signals and output. But of its exit status only eight bits are left, and a program that calls what wine lacks
    /// ends with 0: judge it by what it has done.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = self.tool("wine");
        command.arg(program);
        command
    }

    /// The same, on a Windows that has Npcap.
    pub fn command_with_driver(&self, program: &Path) -> Command {
        let mut command = self.command(program);
        command.env("WINEDLLOVERRIDES", format!("{OVERRIDES};{DRIVER}=b"));
        command
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("WINEPREFIX", self.prefix())
            .env("WINEARCH", "win64")
            .env("WINEDEBUG", "-all")
            .env("WINEDLLOVERRIDES", OVERRIDES)
            // Its sockets are there, and what it takes for the user's own folders.
            .env("TMPDIR", self.folder.join("tmp"))
            .env("HOME", self.folder.join("home"))
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY");
        command
    }

    fn finish(&self, program: &str, argument: &str) -> Result<()> {
        let doing = || format!("{program} {argument} on {}", self.host.name());
        let mut command = self.tool(program);
        command.arg(argument);
        let process = self.host.spawn(command)?;
        match process.wait(Instant::now() + PATIENCE) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(io::Error::other(format!("{status}\n{}", process.output()))).doing(doing),
            None => Err(io::Error::from(io::ErrorKind::TimedOut)).doing(doing),
        }
    }

    /// Pids of the Windows programs with this file name (`vipdrift.exe`) on the host, whoever has started them. Linux
    /// knows nothing of their family: wine makes every one of them an orphan.
    pub fn pids(&self, name: &str) -> Vec<i32> {
        let called = |pid: &i32| {
            let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&bytes);
            let program = line.split('\0').next().unwrap_or_default();
            program.rsplit(['\\', '/']).next().is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        self.residents().into_iter().filter(called).collect()
    }

    /// Sends a signal to exactly this process of the host.
    ///
    /// # Errors
    ///
    /// `ESRCH` if no Windows program on the host has this pid.
    pub fn kill(&self, pid: i32, signal: Signal) -> Result<()> {
        let known = self.residents().contains(&pid);
        let sent = if known { kill(Pid::from_raw(pid), signal) } else { Err(nix::errno::Errno::ESRCH) };
        sent.doing(|| format!("send {signal} to process {pid} on {}", self.host.name()))
    }

    /// Everything of wine on the host, its server included: there is no other prefix here.
    fn residents(&self) -> Vec<i32> {
        let by_wine = |pid: &i32| {
            let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wine"))
        };
        self.host.processes().into_iter().filter(by_wine).collect()
    }

    fn end(&self) -> Result<()> {
        // Not on a host that is off or frozen; then, or if it hangs, the rest does it.
        if let Err(error) = self.finish("wineserver", "-k")
            && !self.residents().is_empty()
        {
            eprintln!("lab: {error}");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.residents();
            if left.is_empty() {
                break;
            }
            for &pid in &left {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            if Instant::now() > deadline {
                return Err(io::Error::from(io::ErrorKind::TimedOut))
                    .doing(|| format!("kill {left:?} of wine on {}", self.host.name()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        fs::remove_dir_all(&self.folder).doing(|| format!("delete {}", self.folder.display()))
    }
}

impl Drop for WineHost {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("lab: {error}");
        }
    }
}

/// Links to the files of Windows, copies of all others. Links of the template lead to somebody's own folders: left out.
fn link_tree(from: &Path, to: &Path, in_windows: bool) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            link_tree(&from, &to, in_windows || from.ends_with("drive_c/windows"))?;
        } else if kind.is_file() && in_windows {
            symlink(&from, &to)?;
        } else if kind.is_file() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
