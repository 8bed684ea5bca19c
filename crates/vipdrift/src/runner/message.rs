//! What brain and runner say to each other, and what a runner begins with. One JSON object per packet of a
//! sequenced-packet socket. Either may be started anew at any time, and says so; the other then says everything anew.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipdrift_checks::{Account, Check, Exec, Report};
use vipdrift_core::RoleName;

/// What a runner is given at its start, in a sealed memory file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunnerSetup {
    pub(crate) cluster: String,
    pub(crate) node: String,
    /// Whom it becomes, if it can.
    pub(crate) account: Option<Account>,
    /// Some program is to run as somebody else, so root has to stay root.
    pub(crate) keeps_root: bool,
    /// In the order of the configuration.
    pub(crate) checks: Vec<NamedCheck>,
    /// In the order of the groups.
    pub(crate) groups: Vec<GroupHooks>,
}

/// A check with what it is called.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NamedCheck {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) check: Check,
}

/// What a group's hooks are told, and the hooks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GroupHooks {
    pub(crate) group: String,
    pub(crate) interface: String,
    pub(crate) vips: Vec<String>,
    pub(crate) hooks: Option<HookSet>,
}

/// The hooks of a group. What cannot be run says why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HookSet {
    pub(crate) before_active: Option<Result<Exec, String>>,
    pub(crate) active: Option<Result<Exec, String>>,
    pub(crate) standby: Option<Result<Exec, String>>,
    pub(crate) fault: Option<Result<Exec, String>>,
    pub(crate) drained: Option<Result<Exec, String>>,
    pub(crate) timeout: Duration,
}

impl HookSet {
    /// Why one of them cannot be run, where that is so.
    pub(crate) fn impossible(&self) -> Option<&str> {
        [&self.before_active, &self.active, &self.standby, &self.fault, &self.drained]
            .into_iter()
            .flatten()
            .find_map(|hook| hook.as_ref().err().map(String::as_str))
    }
}

/// From the brain, and through the same pipe from the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToRunner {
    /// A brain has begun: tell everything.
    Hello,
    /// The role of this node in a group, when it has changed and to a runner that has begun.
    Role(Turn),
    /// From the keeper: the runner before this one has ended, and with it the last of its hooks.
    Begin,
    /// From the keeper: come to the end. All that was said before it is still to be done.
    Finish,
}

/// This node's role in a group has changed, or is told anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// Position of the group.
    pub(crate) group: usize,
    pub(crate) from: RoleName,
    pub(crate) to: RoleName,
    pub(crate) term: u64,
    pub(crate) reason: String,
    /// It is about to be active, if the hook for that succeeds: number of the question.
    pub(crate) before: Option<u64>,
}

/// For what a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Told {
    /// The node is about to be active.
    Before,
    /// It has this role.
    Role(RoleName),
}

impl Turn {
    pub(crate) fn told(&self) -> Told {
        if self.before.is_some() { Told::Before } else { Told::Role(self.to) }
    }
}

/// From the runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FromRunner {
    /// A runner has begun: tell everything.
    Hello,
    /// It is at work.
    Pulse,
    /// The hook that runs before this node is active is over.
    Prepared {
        /// Position of the group.
        group: usize,
        /// Number of the question.
        number: u64,
        /// Why the node is not to be active.
        outcome: Result<(), String>,
    },
    /// What a check has found.
    Report {
        /// Position of the check.
        check: usize,
        /// What.
        report: Report,
    },
}
