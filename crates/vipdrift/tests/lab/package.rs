//! The Debian package on two clean machines: a minimal Debian each, with its own systemd as process 1, on a LAN of the lab.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use vipdrift_lab::{Host, Lab, Process};

/// A machine takes so long to start on a busy one.
const BOOT: Duration = Duration::from_secs(60);
const VIP: &str = "192.0.2.100";
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Makes a root from the clean one, without changing that, and starts its systemd there. `$1` is the clean root, `$2` a folder of this
/// machine, `$3` the package.
const START: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs none "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay none -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
cd "$2/root"
cp "$3" root/vipdrift.deb
mount -t proc none proc
mount -t sysfs -o ro none sys
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs -o mode=755 none run
mount -t tmpfs -o mode=755 none dev
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
    set -- $node
    mknod -m 666 "dev/$1" c "$2" "$3"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 none dev/pts
ln -s pts/ptmx dev/ptmx
mkdir -p old
pivot_root . old
umount -l old
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal
"#;

/// A machine of its own.
struct Machine {
    host: Host,
    _shell: Process,
    /// Process 1 of it, as the lab numbers it.
    init: i32,
}

fn from_environment(name: &str) -> PathBuf {
    let value = std::env::var_os(name)
        .unwrap_or_else(|| panic!("{name} is not set: `cargo xtask test` makes what it names"));
    PathBuf::from(value)
}

impl Machine {
    fn start(lab: &Lab, name: &str, address: &str, root: &Path, package: &Path) -> Self {
        let host = lab.host(name, &[address]).unwrap();
        // What answers probes in other tests is in this one's way.
        host.stop_service();
        let folder = host.directory().join("machine");
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--cgroup",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            START,
            "sh",
        ]);
        command.arg(root).arg(&folder).arg(package);
        let shell = host.spawn(command).unwrap();
        let until = Instant::now() + BOOT;
        let init = loop {
            let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.pid()))
                .unwrap_or_default();
            if let Some(pid) = children.split_whitespace().next().and_then(|pid| pid.parse().ok()) {
                break pid;
            }
            assert!(Instant::now() < until, "{name} does not start");
            std::thread::sleep(Duration::from_millis(20));
        };
        let machine = Self { host, _shell: shell, init };
        machine.wait("systemd", "systemctl is-system-running | grep -qE 'running|degraded'");
        machine
    }

    /// Runs a shell command on it.
    fn try_run(&self, command: &str) -> Output {
        let mut enter = Command::new("nsenter");
        enter.args([
            "--target",
            &self.init.to_string(),
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--cgroup",
            "--net",
            "--root",
            "--wd",
        ]);
        enter.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", command]);
        self.host.run(|| enter.output().unwrap())
    }

    /// The same, and fails if it does.
    fn run(&self, command: &str) -> String {
        let output = self.try_run(command);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        let failed =
            || format!("{}: {command}: {}\n{said}{error}\n{}", self.host.name(), output.status, self.log());
        assert!(output.status.success(), "{}", failed());
        said
    }

    /// What is known of the daemon there.
    fn log(&self) -> String {
        let log = self.try_run(
            "systemctl status vipdrift; journalctl --no-pager -n 80 | grep -i vipdrift; vipdrift status",
        );
        String::from_utf8_lossy(&log.stdout).into_owned() + &String::from_utf8_lossy(&log.stderr)
    }

    fn wait(&self, what: &str, command: &str) {
        let until = Instant::now() + BOOT;
        while !self.try_run(command).status.success() {
            assert!(Instant::now() < until, "{}: {what}: not seen\n{}", self.host.name(), self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn holds(&self) -> bool {
        self.try_run(&format!("ip -o addr show to {VIP} | grep -q .")).status.success()
    }
}

/// Installed, started, moved, upgraded without a move, killed, taken away.
pub(crate) fn the_package_on_two_clean_machines() {
    let (root, package) = (from_environment("VIPDRIFT_ROOT"), from_environment("VIPDRIFT_PACKAGE"));
    let lab = Lab::new().unwrap();
    let machines = [("alpha", "192.0.2.11/24"), ("bravo", "192.0.2.12/24")]
        .map(|(name, address)| Machine::start(&lab, name, address, &root, &package));
    let [alpha, bravo] = &machines;
    for machine in &machines {
        let said = machine.run("dpkg -i /root/vipdrift.deb 2>&1");
        assert!(said.contains("Setting up vipdrift"), "{said}");
        // There is nothing to do before there is a configuration, and that is no failure.
        assert_eq!(machine.run("systemctl is-enabled vipdrift").trim(), "enabled");
        machine.run("systemctl start vipdrift; ! systemctl is-failed vipdrift");
        machine.run("getent passwd vipdrift; test -e /usr/share/man/man5/vipdrift.toml.5.gz; test -e /usr/share/man/man1/vipdrift.1.gz");
        let config = format!(
            "[cluster]\nname = \"edge\"\nkey_file = \"cluster.key\"\nlease = \"30s\"\n[[node]]\nname = \"alpha\"\naddresses = [\"192.0.2.11\"]\n\
             [[node]]\nname = \"bravo\"\naddresses = [\"192.0.2.12\"]\n[[group]]\nname = \"web\"\ninterface = \"eth0\"\nvips = [\"{VIP}/24\"]\n"
        );
        machine.run(&format!("umask 077; echo {KEY} > /etc/vipdrift/cluster.key; cat > /etc/vipdrift/vipdrift.toml <<'END'\n{config}END"));
        machine.run("vipdrift check || test $? = 1");
        machine.run("systemctl start vipdrift");
        assert_eq!(
            machine.run("systemctl show -p ActiveState --value vipdrift").trim(),
            "active",
            "it has said that it is ready"
        );
        let status = machine.run("systemctl show -p StatusText --value vipdrift");
        assert!(status.starts_with("node ") && status.contains("1 groups"), "{status}");
    }
    alpha.wait("held by alpha", &format!("ip -o addr show to {VIP} | grep -q ."));
    bravo.wait("bravo knows", "vipdrift status --json | grep -q '\"active_node\":\"alpha\"'");
    let status = alpha.run("vipdrift status --json");
    // Locked memory is what the machine that tests may not have to give.
    for granted in
        ["\"real_time\":\"granted\"", "\"system_call_filter\":\"granted\"", "\"user\":\"vipdrift\""]
    {
        assert!(status.contains(granted), "{granted}: {status}");
    }
    // A node that has just begun is not ready to take a group.
    alpha.wait("a drill", "vipdrift drill web > /root/drill");
    let drill = alpha.run("cat /root/drill");
    assert!(drill.contains("web: alpha -> bravo") && drill.contains("web: bravo -> alpha"), "{drill}");
    assert!(alpha.holds() && !bravo.holds());

    // An upgrade: the new program takes over in place. No process of systemd's is started anew, and nothing moves.
    let pid = alpha.run("systemctl show -p MainPID --value vipdrift");
    let term = |machine: &Machine| {
        let status = machine.run("vipdrift status --json");
        status
            .split("\"term\":")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .map(str::to_owned)
            .unwrap_or_default()
    };
    let before = term(alpha);
    alpha.run("dpkg -i /root/vipdrift.deb");
    alpha.wait("on duty again", "vipdrift status --json | grep -q '\"ordered\":\"restart\"'");
    assert_eq!(alpha.run("systemctl show -p MainPID --value vipdrift"), pid);
    assert_eq!(term(alpha), before, "nothing has moved");
    assert!(alpha.holds() && !bravo.holds());
    alpha.run("systemctl reload vipdrift");
    assert!(alpha.holds());

    // The keeper is killed: what systemd runs after that takes the VIP off, long before the lease would, and bravo takes over.
    alpha.run("systemctl kill --kill-who=main --signal=KILL vipdrift");
    bravo.wait("taken over", &format!("ip -o addr show to {VIP} | grep -q ."));
    alpha.wait("restarted", "systemctl is-active vipdrift && vipdrift status >/dev/null");
    assert!(!alpha.holds());
    let log = alpha.run("journalctl -u vipdrift --no-pager || true");
    assert!(log.contains(&format!("released: {VIP}")), "{log}");

    bravo.run("systemctl stop vipdrift");
    alpha.wait("back", &format!("ip -o addr show to {VIP} | grep -q ."));
    let exposure = alpha.run("systemd-analyze security --no-pager vipdrift | tail -1");
    assert!(exposure.contains("OK"), "{exposure}");

    alpha.run("dpkg --purge vipdrift");
    assert!(!alpha.holds(), "nothing is left behind");
    alpha.run("test ! -e /lib/systemd/system/vipdrift.service && test ! -e /var/lib/vipdrift && test -e /etc/vipdrift/cluster.key");
}
