//! Users and groups by name, looked up in one go: a name service may take its time, and where time is short nobody asks it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vipdrift_platform::sandbox::{self, Account};

use crate::config::Config;

/// Who there is when the user of the configuration is not.
const NOBODY: &str = "nobody";

/// What the name service answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    /// User id and group id.
    users: BTreeMap<String, Option<(u32, u32)>>,
    groups: BTreeMap<String, Option<u32>>,
    /// Why it could not answer, if it could not.
    pub(super) failure: Option<String>,
}

impl Names {
    /// Asks for everybody whom these configurations name.
    pub(super) fn look_up<'c>(configs: impl IntoIterator<Item = &'c Config>) -> Self {
        let mut names = Self::default();
        for config in configs {
            let user = &config.cluster.user;
            names.add_user(user);
            names.add_user(NOBODY);
            names.groups.insert(user.clone(), sandbox::group(user));
            for group in &config.groups {
                let checks = group.checks.iter().filter_map(|check| check.user.as_deref());
                let hooks = group.hooks.as_ref().and_then(|hooks| hooks.user.as_deref());
                checks.chain(hooks).for_each(|user| names.add_user(user));
            }
        }
        names
    }

    fn add_user(&mut self, name: &str) {
        if self.users.contains_key(name) {
            return;
        }
        match sandbox::account(name) {
            Ok(account) => {
                self.users.insert(name.to_owned(), account.map(|account| (account.uid, account.gid)));
            }
            Err(error) => self.failure = Some(error.to_string()),
        }
    }

    /// The account of this name; an error if nobody could be asked.
    pub(super) fn user(&self, name: &str) -> Result<Option<Account>, String> {
        match self.users.get(name) {
            Some(found) => Ok(found.map(|(uid, gid)| Account { name: name.to_owned(), uid, gid })),
            None => Err(self.failure.clone().unwrap_or_else(|| format!("user {name} was not asked for"))),
        }
    }

    /// Whom an unprivileged process becomes: the user of the configuration, or nobody. Never root.
    pub(super) fn unprivileged(&self, config: &Config) -> Option<Account> {
        let candidates = [config.cluster.user.as_str(), NOBODY];
        candidates
            .into_iter()
            .find_map(|name| self.user(name).ok().flatten().filter(|account| account.uid != 0))
    }

    /// The id of the group that may use the control socket.
    pub(super) fn group(&self, config: &Config) -> Option<u32> {
        self.groups.get(&config.cluster.user).copied().flatten()
    }
}
