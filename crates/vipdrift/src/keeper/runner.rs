//! The runner as its keeper sees it: a process that is started again when it dies. The pipe between it and the brain
//! outlives both.

use std::ffi::OsString;
use std::fs::File;
use std::time::Duration;

use vipdrift_checks::{Account, Check, Exec, Probe};
use vipdrift_core::Timestamp;
use vipdrift_platform::descriptor::{AsDescriptor as _, Number, Owned};
use vipdrift_platform::process::{self, Child};
use vipdrift_platform::{pipe, sandbox};

use super::child::argument;
use super::driver::now;
use super::names::Names;
use super::sockets::Sockets;
use crate::config::{Config, Hooks, Resolved};
use crate::log::Log;
use crate::message::encode;
use crate::runner::message::{GroupHooks, HookSet, NamedCheck, RunnerSetup, ToRunner};

/// A runner that dies is started again after this; the first time at once.
const PAUSE: Duration = Duration::from_secs(1);
/// Beyond what its hooks may take, a runner that comes to its end has this long.
const ENDING: Duration = Duration::from_secs(3);
/// One that has lived for so long died for a reason of its own.
const LIVED: Duration = Duration::from_secs(10);

/// The runner, and what every one of them gets.
#[derive(Debug)]
pub(super) struct Runner {
    setup: Owned,
    /// For which roles hooks have run.
    pub(super) roles: File,
    child: Option<Child>,
    /// When the one that runs was started, or when the next one is.
    moment: Timestamp,
    /// The longest time of a hook.
    longest: Duration,
}

impl Runner {
    /// Gets everything ready; `None` if there is nothing to run. `roles`: descriptor of what an earlier keeper has left.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn prepare(
        config: &Config,
        resolved: &Resolved,
        names: &Names,
        roles: Option<Number>,
        sockets: &mut Sockets,
        log: &Log,
    ) -> Result<Option<Self>, String> {
        if resolved.checks.is_empty() && resolved.hooks.iter().all(Option::is_none) {
            return Ok(None);
        }
        let pair = pipe::pair().map_err(|error| format!("cannot make a pipe: {error}"))?;
        sockets.runner = Some(pair);
        let roles = match roles {
            Some(number) => process::inherited(number).map(File::from),
            None => process::scratch_file(c"vipdrift-roles"),
        };
        let roles = roles.map_err(|error| error.to_string())?;
        let setup = setup(config, resolved, names, log);
        let longest = setup.groups.iter().filter_map(|group| Some(group.hooks.as_ref()?.timeout)).max();
        let setup = process::memory_file(c"vipdrift-runner", &encode(&setup)).map_err(|e| e.to_string())?;
        Ok(Some(Self { setup, roles, child: None, moment: now(), longest: longest.unwrap_or_default() }))
    }

    /// When a new one is to be started.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.child.is_none().then_some(self.moment)
    }

    /// Starts one. `waits`: hooks of an earlier one may still run. Answers what to wait for its end with.
    pub(super) fn start(
        &mut self,
        sockets: &Sockets,
        waits: bool,
        log: &Log,
        now: Timestamp,
    ) -> Option<&Child> {
        self.moment = now + PAUSE;
        let (_, theirs) = sockets.runner.as_ref()?;
        let waits = if waits { "true" } else { "false" };
        let args: [OsString; 5] =
            ["runner".into(), argument(&self.setup), argument(theirs), argument(&self.roles), waits.into()];
        let inherit = [self.setup.as_descriptor(), theirs.as_descriptor(), self.roles.as_descriptor()];
        let started = process::this_program().map_err(|error| error.to_string());
        match started.and_then(|program| process::spawn(&program, &args, &inherit).map_err(|e| e.to_string()))
        {
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

    /// How long it may take to come to its end: a hook that runs, the one after it, and a little.
    pub(super) fn limit(&self) -> Duration {
        self.longest * 2 + ENDING
    }

    /// Tells it that no other one has hooks any more.
    pub(super) fn begin(&self, sockets: &Sockets) {
        self.say(sockets, &ToRunner::Begin);
    }

    /// Tells it to come to its end, after all that the brain has said. Answers it.
    pub(super) fn finish(&mut self, sockets: &Sockets) -> Option<Child> {
        self.say(sockets, &ToRunner::Finish);
        self.child.take()
    }

    /// Through the brain's end of the pipe. A runner that does not read is ended when its time is over.
    fn say(&self, sockets: &Sockets, message: &ToRunner) {
        if let Some((ours, _)) = &sockets.runner {
            let _ = ours.send(&encode(message));
        }
    }
}

fn setup(config: &Config, resolved: &Resolved, names: &Names, log: &Log) -> RunnerSetup {
    let mut users = Users { names, default: default_account(config, names), keeps_root: false };
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
        })
        .collect();
    for named in &checks {
        if let Probe::Impossible(why) = &named.check.probe {
            let text = format_args!("{}: check {} cannot be run: {why}", named.group, named.name);
            log.about(&named.group, true, text);
        }
    }
    for group in &groups {
        // What keeps one from being run keeps all of the group's from it.
        let why = group.hooks.as_ref().and_then(HookSet::impossible);
        if let Some(why) = why {
            log.about(&group.group, true, format_args!("{}: hooks cannot be run: {why}", group.group));
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
        let hooks = setup.groups.iter_mut().filter_map(|group| group.hooks.as_mut()).flat_map(|hooks| {
            [
                &mut hooks.before_active,
                &mut hooks.active,
                &mut hooks.standby,
                &mut hooks.fault,
                &mut hooks.drained,
            ]
        });
        let hooks = hooks.filter_map(|hook| hook.as_mut()?.as_mut().ok());
        for exec in checks.chain(hooks).filter(|exec| exec.account.is_none()) {
            exec.account.clone_from(default);
        }
    }
    setup
}

/// Whom programs run as unless somebody is named; `None` where root may become nobody else, or is not root.
fn default_account(config: &Config, names: &Names) -> Option<Account> {
    if !sandbox::is_root() {
        return None;
    }
    let found = names.unprivileged(config)?;
    let may = sandbox::may_become(&found).unwrap_or(false);
    may.then_some(Account { name: found.name, uid: found.uid, gid: found.gid })
}

/// Who runs what.
struct Users<'n> {
    names: &'n Names,
    default: Option<Account>,
    keeps_root: bool,
}

impl Users<'_> {
    /// The account of a user that is named, if it is another one than the default.
    fn find(&mut self, name: &str) -> Result<Option<Account>, String> {
        if self.default.as_ref().is_some_and(|account| account.name == name) {
            return Ok(None);
        }
        let found = self.names.user(name)?.ok_or_else(|| format!("there is no user {name}"))?;
        if found.uid == sandbox::user() && self.default.is_none() {
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
            before_active: exec(&hooks.before_active),
            active: exec(&hooks.active),
            standby: exec(&hooks.standby),
            fault: exec(&hooks.fault),
            drained: exec(&hooks.drained),
            timeout: hooks.timeout,
        }
    }
}
