//! Whatever happens to the program, nothing is left of its enclosure: as root and as an ordinary user.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getegid, geteuid};
use tempfile::TempDir;
use vipdrift_lab::{Lab, enclose};

/// What the victim is to do; unset in the test itself.
const DEED: &str = "ENCLOSURE_TEST_DEED";
/// Marks the victim and everything that it starts.
const TOKEN: &str = "ENCLOSURE_TEST_TOKEN";
/// Any user that is not root; nobody, on most systems.
const ORDINARY: u32 = 65_534;

fn main() -> ExitCode {
    if let Ok(deed) = std::env::var(DEED) {
        return victim(&deed);
    }
    type Case = (&'static str, fn(Option<u32>));
    let cases: [Case; 13] = [
        ("nothing_left_after_the_end", |user| assert_eq!(ends_by_itself("end", user), (Some(7), None))),
        ("nothing_left_after_a_panic", |user| assert_eq!(ends_by_itself("panic", user), (Some(101), None))),
        ("nothing_left_after_an_abort", |user| {
            assert_eq!(ends_by_itself("abort", user), (Some(128 + 6), None))
        }),
        ("nothing_left_after_sigkill_of_outside", |user| {
            assert_eq!(killed(Stage::Outside, Signal::SIGKILL, user), (None, Some(9)));
        }),
        ("nothing_left_after_sigkill_of_init", |user| {
            assert_eq!(killed(Stage::Init, Signal::SIGKILL, user), (Some(128 + 9), None));
        }),
        ("nothing_left_after_sigkill_of_inside", |user| {
            assert_eq!(killed(Stage::Inside, Signal::SIGKILL, user), (Some(128 + 9), None));
        }),
        ("sigterm_is_passed_on", |user| {
            assert_eq!(killed(Stage::Outside, Signal::SIGTERM, user), (Some(128 + 15), None));
        }),
        ("sigint_is_passed_on", |user| {
            assert_eq!(killed(Stage::Outside, Signal::SIGINT, user), (Some(128 + 2), None));
        }),
        ("sigint_is_passed_on_though_the_test_ignores_it", ignored),
        ("a_lab_outside_is_refused", |user| {
            let words = start("outside", user).words();
            assert!(words.contains("not inside an enclosure"), "{words}");
        }),
        ("a_limit_is_named_with_the_command", |user| {
            let words = start("limit", user).words();
            assert!(words.contains("sudo sysctl -w user.max_net_namespaces=10000"), "{words}");
        }),
        ("a_masked_proc_is_refused_with_words", |user| {
            let words = start("masked", user).words();
            assert!(words.contains("could not mount a /proc of its own"), "{words}");
            assert!(words.contains("container"), "{words}");
        }),
        ("threads_are_refused_with_words", |user| {
            let words = start("threads", user).words();
            assert!(words.contains("2 threads are running"), "{words}");
        }),
    ];
    let mut trials = Vec::new();
    for (name, run) in cases {
        trials.push(Trial::test(name, move || {
            run(None);
            Ok(())
        }));
        if geteuid().is_root() {
            trials.push(Trial::test(format!("{name}_as_an_ordinary_user"), move || {
                run(Some(ORDINARY));
                Ok(())
            }));
        }
    }
    let arguments = Arguments::from_args();
    let _copy = make_public_copy();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The program under test.
fn victim(deed: &str) -> ExitCode {
    match deed {
        "outside" => {
            println!("{}", Lab::new().err().unwrap());
            return ExitCode::SUCCESS;
        }
        "limit" => {
            own_user_namespace();
            fs::write("/proc/sys/user/max_net_namespaces", "0").unwrap();
            println!("{}", enclose().unwrap_err());
            return ExitCode::SUCCESS;
        }
        "masked" => {
            own_user_namespace();
            // As containers do.
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(Some("/dev/null"), "/proc/meminfo", none, MsFlags::MS_BIND, none).unwrap();
            println!("{}", enclose().unwrap_err());
            return ExitCode::SUCCESS;
        }
        "threads" => {
            let _thread = std::thread::spawn(std::thread::park);
            println!("{}", enclose().unwrap_err());
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let enclosed = enclose().unwrap_or_else(|refused| panic!("{refused}"));
    let lab = Lab::new().unwrap();
    let mut namespaces = vec![fs::metadata("/proc/self/ns/net").unwrap().ino()];
    let mut processes = Vec::new();
    for (name, address) in [("alpha", "192.0.2.11/24"), ("bravo", "192.0.2.12/24")] {
        let host = lab.host(name, &[address]).unwrap();
        let mut command = Command::new("sh");
        // One that ignores signals and one that has lost its parent.
        command.args(["-c", "trap '' INT TERM HUP; (sleep 1000 &); sleep 1000"]);
        processes.push(host.spawn(command).unwrap());
        namespaces.push(host.run(|| fs::metadata("/proc/thread-self/ns/net").unwrap().ino()));
    }
    assert!(enclosed.user_namespace || geteuid().is_root());
    println!("namespaces {}", namespaces.iter().map(u64::to_string).collect::<Vec<_>>().join(" "));
    match deed {
        "end" => {
            std::mem::forget((lab, processes));
            ExitCode::from(7)
        }
        "panic" => panic!("as planned"),
        "abort" => std::process::abort(),
        _ => loop {
            std::thread::park();
        },
    }
}

/// Root in user and mount namespaces of its own: what is changed there concerns nobody else.
fn own_user_namespace() {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).unwrap();
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).unwrap();
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).unwrap();
}

/// A running victim; killed with everything in its process group when dropped.
struct Victim {
    child: Child,
    /// In the environment of everything that it starts.
    token: String,
}

/// Starts the victim, as another user if wanted.
fn start(deed: &str, user: Option<u32>) -> Victim {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // Where the tests were built, others may not be allowed to look.
    let program =
        if user.is_some() { PUBLIC.get().unwrap().clone() } else { std::env::current_exe().unwrap() };
    let token = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut command = Command::new(program);
    if ignores(Signal::SIGINT) {
        // As a shell has it for what it runs in the background. Every program inherits that, and the victim would never end.
        let program = std::mem::replace(&mut command, Command::new("env"));
        command.arg("--default-signal=INT").arg(program.get_program());
    }
    command
        .env(DEED, deed)
        .env(TOKEN, &token)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    Victim { child: command.spawn().unwrap(), token }
}

impl Drop for Victim {
    fn drop(&mut self) {
        for (pid, _) in self.family() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// A copy of this program that everybody may run.
static PUBLIC: OnceLock<PathBuf> = OnceLock::new();

fn make_public_copy() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("enclosure");
    fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
    for path in [directory.path(), &path] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    PUBLIC.set(path).unwrap();
    directory
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Outside,
    Init,
    Inside,
}

impl Victim {
    /// Its processes, and which of them is which.
    fn family(&self) -> Vec<(i32, Option<Stage>)> {
        let marked = format!("{TOKEN}={}", self.token);
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(|pid: i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let variables: Vec<&[u8]> = environment.split(|&byte| byte == 0).collect();
            let has = |variable: &str| variables.contains(&variable.as_bytes());
            has(&marked).then_some(())?;
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            let stage = match name.trim() {
                "sh" | "sleep" => None,
                _ if has("VIPDRIFT_LAB_STAGE=init") => Some(Stage::Init),
                _ if has("VIPDRIFT_LAB_STAGE=inside") => Some(Stage::Inside),
                _ => Some(Stage::Outside),
            };
            Some((pid, stage))
        })
        .collect()
    }

    /// Waits until its hosts are there; returns their namespaces.
    fn wait_ready(&mut self) -> BTreeSet<u64> {
        let mut output = BufReader::new(self.child.stdout.as_mut().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let numbers = line.strip_prefix("namespaces ").unwrap_or_else(|| {
            let why = if ignores(Signal::SIGINT) {
                "; SIGINT is ignored here, and `env --default-signal=INT` (coreutils 8.31) has to undo that"
            } else {
                ""
            };
            panic!("the victim says {line:?}{why}")
        });
        numbers.split_whitespace().map(|number| number.parse().unwrap()).collect()
    }

    /// Waits for its end: exit status or signal.
    fn ended(&mut self) -> (Option<i32>, Option<i32>) {
        let status = self.child.wait().unwrap();
        (status.code(), status.signal())
    }

    /// Everything that it says.
    fn words(&mut self) -> String {
        let mut words = String::new();
        self.child.stdout.as_mut().unwrap().read_to_string(&mut words).unwrap();
        words
    }

    fn nothing_is_left(&self, made: &BTreeSet<u64>) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let (family, remaining) = (self.family(), namespaces().intersection(made).count());
            if family.is_empty() && remaining == 0 {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{} processes and {remaining} namespaces are left",
                family.len()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.lines().any(|line| line.contains(" - tmpfs lab ")), "{mounts}");
        assert!(!fs::exists("/run/lab").unwrap());
    }
}

/// This process was told to ignore a signal by whoever started it.
fn ignores(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal as i32 - 1) & 1 == 1
}

/// The network namespaces that some process is in.
fn namespaces() -> BTreeSet<u64> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| fs::metadata(entry.path().join("ns/net")).ok())
        .map(|found| found.ino())
        .collect()
}

fn ends_by_itself(deed: &str, user: Option<u32>) -> (Option<i32>, Option<i32>) {
    let mut victim = start(deed, user);
    let made = victim.wait_ready();
    assert_eq!(made.len(), 3, "a namespace for each host and one around them");
    let how = victim.ended();
    victim.nothing_is_left(&made);
    how
}

fn killed(stage: Stage, signal: Signal, user: Option<u32>) -> (Option<i32>, Option<i32>) {
    let mut victim = start("wait", user);
    let made = victim.wait_ready();
    let deadline = Instant::now() + Duration::from_secs(20);
    let family = loop {
        let family = victim.family();
        // Outside, init, inside, and two sleepers and a shell on each of two hosts.
        if family.len() >= 9 {
            break family;
        }
        assert!(Instant::now() < deadline, "only {} processes", family.len());
        std::thread::sleep(Duration::from_millis(1));
    };
    let (pid, _) = family.into_iter().find(|(_, found)| *found == Some(stage)).unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
    let how = victim.ended();
    victim.nothing_is_left(&made);
    how
}

/// Runs `sigint_is_passed_on` as from a script that ignores SIGINT.
fn ignored(user: Option<u32>) {
    let name = match user {
        None => "sigint_is_passed_on".to_owned(),
        Some(_) => "sigint_is_passed_on_as_an_ordinary_user".to_owned(),
    };
    let child = Command::new("env")
        .arg("--ignore-signal=INT")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its first victim, should it hang.
    let token = format!("{}-0", child.id());
    let mut test = Victim { child, token };
    let deadline = Instant::now() + Duration::from_secs(30);
    let status = loop {
        if let Some(status) = test.child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= deadline {
            test.child.kill().unwrap();
            panic!("it hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let words = test.words();
    assert!(status.success() && words.contains("1 passed"), "{words}");
}
