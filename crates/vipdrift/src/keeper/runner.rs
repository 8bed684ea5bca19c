//! The runner as its keeper sees it: a process that is started again when it dies. The pipe between it and the brain
//! outlives both.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use vipdrift_checks::{Account, Check, Exec, Probe};
use vipdrift_core::Timestamp;
use vipdrift_platform::process::{self, Child};
use vipdrift_platform::{pipe, sandbox};

use super::child::PROGRAM;
use super::sockets::Sockets;
use crate::config::{Config, Hooks, Resolved};
use crate::log::Log;
use crate::message::encode;
use crate::runner::message::{GroupHooks, HookSet, NamedCheck, RunnerSetup};

/// A runner that dies is started again after this; the first time at once.
const PAUSE: Duration = Duration::from_secs(1);
/// One that has lived for so long died for a reason of its own.
const LIVED: Duration = Duration::from_secs(10);

/// The runner, and what every one of them gets.
#[derive(Debug)]
pub(super) struct Runner {
    setup: OwnedFd,
    child: Option<Child>,
    /// When the one that runs was started, or when the next one is.
    moment: Timestamp,
    /// How long hooks may take at the end.
    pub(super) longest: Duration,
}

impl Runner {
    /// Gets everything ready; `None` if there is nothing to run.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn prepare(
        config: &Config,
        resolved: &Resolved,
        told: &[String],
        sockets: &mut Sockets,
        log: &Log,
        now: Timestamp,
    ) -> Result<Option<Self>, String> {
        if resolved.checks.is_empty() && resolved.hooks.iter().all(Option::is_none) {
            return Ok(None);
        }
        let pair = pipe::pair().map_err(|error| format!("cannot make a pipe: {error}"))?;
        sockets.runner = Some(pair);
        let setup = setup(config, resolved, told, log);
        let longest = setup.groups.iter().filter_map(|group| Some(group.hooks.as_ref()?.timeout)).max();
        let setup = process::memory_file(c"vipdrift-runner", &encode(&setup)).map_err(|e| e.to_string())?;
        Ok(Some(Self { setup, child: None, moment: now, longest: longest.unwrap_or_default() }))
    }

    /// When a new one is to be started.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.child.is_none().then_some(self.moment)
    }

    /// Starts one. Answers what to wait for its end with.
    pub(super) fn start(&mut self, sockets: &Sockets, log: &Log, now: Timestamp) -> Option<&Child> {
        self.moment = now + PAUSE;
        let (_, theirs) = sockets.runner.as_ref()?;
        let number = |fd: &dyn AsFd| OsString::from(fd.as_fd().as_raw_fd().to_string());
        let args: [OsString; 3] = ["runner".into(), number(&self.setup), number(theirs)];
        match process::spawn(Path::new(PROGRAM), &args, &[self.setup.as_fd(), theirs.as_fd()]) {
            Ok(child) => {
                self.moment = now;
                self.child = Some(child);
            }
            Err(error) => log.warning(format_args!("keeper: cannot start a runner: {error}")),
        }
        self.child.as_ref()
    }

    /// It may have ended. Answers it then, to be waited for no longer.
    pub(super) fn on_end(&mut self, log: &Log, now: Timestamp) -> Option<Child> {
        let how = match self.child.as_ref()?.reap() {
            Ok(None) => return None,
            Ok(Some(exit)) => super::child::how(exit),
            Err(error) => format!("cannot be reaped: {error}"),
        };
        let pause = if now.since(self.moment) >= LIVED { Duration::ZERO } else { PAUSE };
        self.moment = now + pause;
        log.warning(format_args!("keeper: the runner of checks and hooks {how}; starting a new one"));
        self.child.take()
    }

    /// Its process id.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(|child| child.pid)
    }

    /// Tells it to come to its end. Answers it.
    pub(super) fn stop(&mut self) -> Option<Child> {
        let child = self.child.take()?;
        let _ = child.terminate();
        Some(child)
    }
}

fn setup(config: &Config, resolved: &Resolved, told: &[String], log: &Log) -> RunnerSetup {
    let mut users = Users { default: default_account(config), keeps_root: false };
    let checks: Vec<NamedCheck> = resolved
        .checks
        .iter()
        .map(|entry| NamedCheck {
            group: resolved.groups[entry.config.group.0].name.clone(),
            name: entry.config.name.clone(),
            check: users.check(&entry.check, entry.user.as_deref()),
        })
        .collect();
    let groups: Vec<GroupHooks> = resolved
        .groups
        .iter()
        .zip(&resolved.hooks)
        .map(|(group, hooks)| GroupHooks {
            group: group.name.clone(),
            interface: resolved.interfaces[group.interface.0].clone(),
            vips: group.vips.iter().map(|vip| resolved.vips[vip.0].address.to_string()).collect(),
            hooks: hooks.as_ref().map(|hooks| users.hooks(hooks)),
            told: told.contains(&group.name),
        })
        .collect();
    for named in &checks {
        if let Probe::Impossible(why) = &named.check.probe {
            log.warning(format_args!("{}: check {} cannot be run: {why}", named.group, named.name));
        }
    }
    for hooks in groups.iter().filter_map(|group| group.hooks.as_ref()) {
        if let Some(Err(why)) = &hooks.active {
            log.warning(format_args!("hooks cannot be run: {why}"));
        }
    }
    let mut setup = RunnerSetup {
        cluster: config.cluster.name.clone(),
        node: resolved.name.clone(),
        account: users.default.clone(),
        keeps_root: users.keeps_root,
        checks,
        groups,
    };
    if setup.keeps_root {
        // One that stays root runs nothing as root that does not ask for it.
        let default = &users.default;
        let checks = setup.checks.iter_mut().filter_map(|named| match &mut named.check.probe {
            Probe::Exec(exec) => Some(exec),
            _ => None,
        });
        let hooks =
            setup.groups.iter_mut().filter_map(|group| group.hooks.as_mut()).flat_map(|hooks| {
                [&mut hooks.active, &mut hooks.standby, &mut hooks.fault, &mut hooks.drained]
            });
        let hooks = hooks.filter_map(|hook| hook.as_mut()?.as_mut().ok());
        for exec in checks.chain(hooks).filter(|exec| exec.account.is_none()) {
            exec.account.clone_from(default);
        }
    }
    setup
}

/// Whom programs run as unless somebody is named; `None` where root may become nobody else, or is not root.
fn default_account(config: &Config) -> Option<Account> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let found = sandbox::find_account(&[config.cluster.user.as_str(), "nobody"]).ok().flatten()?;
    let may = sandbox::may_become(&found).unwrap_or(false);
    may.then_some(Account { name: found.name, uid: found.uid, gid: found.gid })
}

/// Looks users up, once, at the start: no name service is asked while checks run.
struct Users {
    default: Option<Account>,
    keeps_root: bool,
}

impl Users {
    /// The account of a user that is named, if it is another one than the default.
    fn find(&mut self, name: &str) -> Result<Option<Account>, String> {
        if self.default.as_ref().is_some_and(|account| account.name == name) {
            return Ok(None);
        }
        let found = sandbox::account(name).map_err(|error| error.to_string())?;
        let found = found.ok_or_else(|| format!("there is no user {name}"))?;
        if found.uid == nix::unistd::geteuid().as_raw() && self.default.is_none() {
            return Ok(None);
        }
        if !sandbox::may_become(&found).unwrap_or(false) && found.uid != 0 {
            return Err(format!("this process may not become user {name}"));
        }
        self.keeps_root = true;
        Ok(Some(Account { name: found.name, uid: found.uid, gid: found.gid }))
    }

    fn check(&mut self, check: &Check, user: Option<&str>) -> Check {
        let mut check = check.clone();
        if let (Probe::Exec(exec), Some(user)) = (&mut check.probe, user) {
            match self.find(user) {
                Ok(account) => exec.account = account,
                Err(why) => check.probe = Probe::Impossible(why),
            }
        }
        check
    }

    fn hooks(&mut self, hooks: &Hooks) -> HookSet {
        let account = hooks.user.as_deref().map_or(Ok(None), |user| self.find(user));
        let exec = |command: &Option<Vec<String>>| {
            let command = command.clone()?;
            let exec = |account| Exec { command, account, environment: Vec::new() };
            Some(account.clone().map(exec))
        };
        HookSet {
            active: exec(&hooks.active),
            standby: exec(&hooks.standby),
            fault: exec(&hooks.fault),
            drained: exec(&hooks.drained),
            timeout: hooks.timeout,
        }
    }
}
