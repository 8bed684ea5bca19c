//! Programs that the tests run and that Rust does not bring: found, or brought here.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program, and the Debian package that has it.
struct Tool {
    program: &'static str,
    package: &'static str,
    /// Where the package has it, below the root; `*` is a version.
    folder: &'static str,
    /// Installing the package starts a service, then and at every boot. Nobody asked for that: it is unpacked.
    starts: bool,
}

impl Tool {
    const fn quiet(program: &'static str, package: &'static str, folder: &'static str) -> Self {
        Self { program, package, folder, starts: false }
    }

    const fn service(program: &'static str, package: &'static str, folder: &'static str) -> Self {
        Self { program, package, folder, starts: true }
    }

    /// Where it may lie below a root.
    fn places(&self, root: &Path) -> Vec<PathBuf> {
        let folders = match self.folder.split_once("/*/") {
            None => vec![root.join(self.folder)],
            Some((above, below)) => {
                let versions = fs::read_dir(root.join(above)).into_iter().flatten().flatten();
                versions.map(|version| version.path().join(below)).collect()
            }
        };
        folders.into_iter().map(|folder| folder.join(self.program)).collect()
    }
}

/// Of one version only: PostgreSQL's programs find each other.
const POSTGRESQL: &str = "usr/lib/postgresql/*/bin";

/// All programs that some test needs.
const TOOLS: [Tool; 17] = [
    // The independent dissector of crates/wire/tests/dissector.rs.
    Tool::quiet("tshark", "tshark", "usr/bin"),
    // Takes VIPs off when it starts: crates/vipdrift/tests/lab/held.rs.
    Tool::quiet("systemd-networkd", "systemd", "lib/systemd"),
    // The journal that a daemon under systemd logs to: crates/vipdrift/tests/lab/logs.rs.
    Tool::quiet("systemd-journald", "systemd", "lib/systemd"),
    Tool::quiet("systemd-cat", "systemd", "usr/bin"),
    Tool::quiet("journalctl", "systemd", "usr/bin"),
    // Rules for the doctor to find: crates/vipdrift/tests/lab/doctor.rs.
    Tool::quiet("nft", "nftables", "usr/sbin"),
    // What VIPs are for: crates/vipdrift/tests/lab/real_services.rs.
    Tool::service("haproxy", "haproxy", "usr/sbin"),
    Tool::service("nginx", "nginx", "usr/sbin"),
    Tool::service("initdb", "postgresql", POSTGRESQL),
    Tool::service("postgres", "postgresql", POSTGRESQL),
    Tool::service("pg_basebackup", "postgresql", POSTGRESQL),
    Tool::service("psql", "postgresql", POSTGRESQL),
    Tool::quiet("curl", "curl", "usr/bin"),
    // Makes a clean Debian to install the package in: crates/vipdrift/tests/lab/package.rs.
    Tool::quiet("debootstrap", "debootstrap", "usr/sbin"),
    // Reads what monitoring would: crates/vipdrift/tests/lab/page.rs.
    Tool::service("promtool", "prometheus", "usr/bin"),
    // Looks at the page: crates/vipdrift/tests/lab/browser.rs.
    Tool::quiet("chromium", "chromium", "usr/lib/chromium"),
    Tool::quiet("chromedriver", "chromium-driver", "usr/bin"),
];

/// What vipdrift is measured beside. None of it is to run on this machine but where it is measured.
const PEERS: [Tool; 10] = [
    Tool::service("keepalived", "keepalived", "usr/sbin"),
    Tool::service("ucarp", "ucarp", "usr/sbin"),
    Tool::service("vrrpd", "frr", "usr/lib/frr"),
    Tool::service("zebra", "frr", "usr/lib/frr"),
    Tool::service("vtysh", "frr", "usr/bin"),
    Tool::service("corosync", "corosync", "usr/sbin"),
    Tool::service("corosync-quorumtool", "corosync", "usr/sbin"),
    Tool::service("pacemakerd", "pacemaker", "usr/sbin"),
    Tool::service("crm_attribute", "pacemaker-cli-utils", "usr/sbin"),
    Tool::service("IPaddr2", "resource-agents", "usr/lib/ocf/resource.d/heartbeat"),
];

/// Makes sure that every tool of the tests can be run; see [`bring`].
///
/// # Errors
///
/// As there.
pub(crate) fn ensure(target: &Path) -> Result<Option<OsString>, String> {
    bring(&TOOLS, target)
}

/// The same of the peers.
///
/// # Errors
///
/// As there.
pub(crate) fn peers(target: &Path) -> Result<Option<OsString>, String> {
    bring(&PEERS, target)
}

/// Makes sure that each of these can be run. Root gets missing ones installed, but for services; those, and all of
/// them for anybody else, are unpacked below `target`, and the search path to be used is returned.
///
/// # Errors
///
/// Why they are not there, and the command that would bring them.
fn bring(tools: &'static [Tool], target: &Path) -> Result<Option<OsString>, String> {
    let unpacked = target.join("tools");
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    let first = missing(tools, &path);
    if first.is_empty() {
        return Ok(None);
    }
    let by_hand = format!("to install what is missing: apt-get install -y {}", packages(&first).join(" "));
    let quiet: Vec<&Tool> = first.into_iter().filter(|tool| !tool.starts).collect();
    if is_root() && !quiet.is_empty() {
        install(&packages(&quiet)).map_err(|error| format!("{error}\n{by_hand}"))?;
    }
    path = prepend(&unpacked.join("bin"), &path);
    let rest = missing(tools, &path);
    if !rest.is_empty() {
        unpack(&rest, &unpacked).map_err(|error| format!("{error}\n{by_hand}"))?;
    }
    match missing(tools, &path)[..] {
        [] => Ok(Some(path)),
        [Tool { program, .. }, ..] => Err(format!("{program} is still missing\n{by_hand}")),
    }
}

/// Each once.
fn packages(tools: &[&'static Tool]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = tools.iter().map(|tool| tool.package).collect();
    packages.dedup();
    packages
}

fn missing(tools: &'static [Tool], path: &OsStr) -> Vec<&'static Tool> {
    let runnable = |file: PathBuf| {
        fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    tools
        .iter()
        .filter(|tool| {
            let paths = std::env::split_paths(path).map(|folder| folder.join(tool.program));
            !paths.chain(tool.places(Path::new("/"))).any(runnable)
        })
        .collect()
}

fn prepend(folder: &Path, path: &OsStr) -> OsString {
    let mut joined = folder.as_os_str().to_owned();
    joined.push(":");
    joined.push(path);
    joined
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

/// Installs packages for the whole machine, fetching the lists of packages only if that is needed.
pub(crate) fn install(packages: &[&str]) -> Result<(), String> {
    apt_install(packages).or_else(|_| install_newest(packages))
}

/// Installs the newest versions of packages for the whole machine, by lists that are fetched now.
pub(crate) fn install_newest(packages: &[&str]) -> Result<(), String> {
    apt(&["update"]).and_then(|()| apt_install(packages))
}

fn apt_install(packages: &[&str]) -> Result<(), String> {
    apt(&[&["install", "-y", "--no-install-recommends"], packages].concat())
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Fetches packages, and those that they depend on and the machine lacks, without changing the machine, and
/// unpacks them into `folder`, with a starter for each of these tools in `folder/bin`.
fn unpack(tools: &[&'static Tool], folder: &Path) -> Result<(), String> {
    let apt_folder = folder.join("apt");
    let archives = apt_folder.join("cache/archives");
    for needed in ["state/lists/partial", "cache/archives/partial"] {
        make_folder(&apt_folder.join(needed))?;
    }
    let option = |name: &str, value: PathBuf| format!("-o{name}={}", value.display());
    let options = [
        option("Dir::State", apt_folder.join("state")),
        option("Dir::State::status", PathBuf::from("/var/lib/dpkg/status")),
        option("Dir::Cache", apt_folder.join("cache")),
        option("Dir::Log", apt_folder.clone()),
        "-oDebug::NoLocking=1".into(),
        // The folder may be one that root alone can enter.
        "-oAPT::Sandbox::User=root".into(),
    ];
    let apt = |arguments: &[&str]| run(Command::new("apt-get").args(&options).args(arguments));
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends", "--download-only"], &packages(tools)[..]].concat())?;
    for entry in fs::read_dir(&archives).map_err(|error| format!("{}: {error}", archives.display()))? {
        let archive = entry.map_err(|error| format!("{}: {error}", archives.display()))?.path();
        if archive.extension() == Some(OsStr::new("deb")) {
            run(Command::new("dpkg").arg("-x").arg(&archive).arg(folder))?;
        }
    }
    make_folder(&folder.join("bin"))?;
    tools.iter().try_for_each(|tool| starter(tool, folder))
}

/// Writes a script that starts an unpacked tool with the libraries unpacked beside it.
fn starter(tool: &Tool, folder: &Path) -> Result<(), String> {
    // Newer releases have everything below /usr.
    let places = [tool.places(folder), tool.places(&folder.join("usr"))].concat();
    let real = places.into_iter().find(|file| file.exists());
    let real = real.ok_or_else(|| format!("{} has no {}", tool.package, tool.program))?;
    let script = format!(
        "#!/bin/sh\nfor folder in '{0}'/usr/lib/*-linux-gnu* '{0}'/usr/lib/*-linux-gnu*/systemd '{0}'/lib/systemd; do\n  \
         LD_LIBRARY_PATH=\"$folder:$LD_LIBRARY_PATH\"\ndone\nexport LD_LIBRARY_PATH\nexec '{1}' \"$@\"\n",
        folder.display(),
        real.display()
    );
    let file = folder.join("bin").join(tool.program);
    fs::write(&file, script)
        .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)))
        .map_err(|error| format!("{}: {error}", file.display()))
}

fn make_folder(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// Runs a command; what it says on its standard output is left out unless it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{name} does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}{name}: {}", String::from_utf8_lossy(&output.stdout), output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_missing_until_it_can_be_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().as_os_str();
        let elsewhere = || missing(&TOOLS, path).len();
        let installed =
            TOOLS.iter().filter(|tool| tool.places(Path::new("/")).iter().any(|file| file.exists())).count();
        assert_eq!(elsewhere(), TOOLS.len() - installed);
        for tool in &TOOLS {
            fs::write(folder.path().join(tool.program), "").unwrap();
        }
        assert_eq!(elsewhere(), TOOLS.len() - installed);
        for tool in &TOOLS {
            let program = folder.path().join(tool.program);
            fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert!(missing(&TOOLS, path).is_empty());
        assert!(missing(&TOOLS, &prepend(folder.path(), OsStr::new("/nowhere"))).is_empty());
    }
}
