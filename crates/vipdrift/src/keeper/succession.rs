//! A keeper that makes way for another in the same process (execve(2)): the process id stays, and with it whatever the
//! service manager knows; the VIPs stay in the kernel; everything else begins anew, with another configuration or another
//! binary. What cannot begin so goes back to what was.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vipdrift_core::{Carry, Timestamp};
use vipdrift_platform::addresses::Kernel;
use vipdrift_platform::descriptor::Number;
use vipdrift_platform::process;

use super::Options;
use super::names::Names;
use crate::config::{self, Loaded, Resolved, Secrets};
use crate::message::encode;

/// Everything that is left to the next.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Succession {
    /// The node's name.
    pub(super) node: String,
    /// The configuration that was in force, and its keys.
    pub(super) text: String,
    pub(super) secrets: Secrets,
    /// What the last brain had the keeper remember, and the words that it signed.
    pub(super) carry: Option<Carry>,
    pub(super) words: Option<(Vec<u8>, Vec<u8>)>,
    /// The how manieth brain that was.
    pub(super) number: u32,
    /// Where the kernel has which VIPs.
    pub(super) spots: Vec<(u32, IpNet)>,
    /// Peers wait until then.
    pub(super) until: Timestamp,
    /// The VIPs have another lifetime than the configured one.
    pub(super) extended: bool,
    /// The runner, which comes to its end by itself.
    pub(super) runner: Option<u32>,
    /// Descriptor of the file that knows which hooks have run.
    pub(super) roles: Option<Number>,
    /// Whom either configuration names.
    pub(super) names: Names,
    /// Brains are started with less than their keeper has.
    pub(super) confined: bool,
    /// Where the first keeper's program was: what an upgrade puts there is what a restart begins.
    #[serde(default)]
    pub(super) file: Option<PathBuf>,
}

impl Succession {
    /// Reads what was left in an inherited file.
    ///
    /// # Errors
    /// It was not inherited, or is of a version that left it otherwise.
    pub(crate) fn read(number: Number) -> Result<Self, String> {
        let bytes = process::inherited_bytes(number).map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }

    /// Makes way: does not return unless that fails. `program`: another binary than the one that runs.
    pub(super) fn make_way(&self, options: &Options, program: Option<&Path>, roles: Option<&File>) -> String {
        self.hand_over(options, program, roles).unwrap_or_else(|error| error)
    }

    fn hand_over(
        &self,
        options: &Options,
        program: Option<&Path>,
        roles: Option<&File>,
    ) -> Result<String, String> {
        let text = |error: std::io::Error| error.to_string();
        let mut handover = process::Handover::new().map_err(text)?;
        let roles = roles.map(|roles| handover.add(roles)).transpose().map_err(text)?;
        let left = encode(&Self { roles, ..self.clone() });
        let file = process::memory_file(c"vipdrift-succession", &left).map_err(|error| error.to_string())?;
        let number = handover.add(&file).map_err(text)?;
        let mut args = options.arguments();
        args.extend(["--succession".into(), number.to_string().into()]);
        let program = program.map_or_else(process::this_program, |program| Ok(program.to_owned()));
        Ok(handover.replace(&program.map_err(text)?, &args).to_string())
    }

    /// Nothing can be put in force here: takes off what is mounted, so that others can take it. Answers whether all is off.
    pub(super) fn abandon(&self) -> bool {
        let Ok(mut kernel) = Kernel::open() else { return false };
        self.spots.is_empty() || kernel.unmount(&self.spots).iter().all(Result::is_ok)
    }

    /// The configuration that was in force.
    ///
    /// # Errors
    /// This version does not take it.
    pub(super) fn old(&self, file: &Path) -> Result<(Loaded, Secrets), config::Refused> {
        let loaded = config::read(&file.display().to_string(), self.text.clone().into_bytes())?;
        Ok((loaded, self.secrets.clone()))
    }

    /// VIPs that are to stay mounted, as the configuration counts them: those of groups in which this node was active.
    pub(super) fn kept(&self, resolved: &Resolved, held: &BTreeSet<usize>) -> BTreeSet<usize> {
        let active = |id: u64| {
            let groups = self.carry.iter().flat_map(|carry| &carry.groups);
            groups.into_iter().any(|group| group.active && group.group == id)
        };
        let groups = resolved.groups.iter().filter(|group| active(group.id.0));
        groups.flat_map(|group| &group.vips).map(|vip| vip.0).filter(|vip| held.contains(vip)).collect()
    }

    /// Where VIPs are that the configuration does not know any more.
    pub(super) fn dropped(&self, resolved: &Resolved) -> Vec<(u32, IpNet)> {
        let known: BTreeSet<IpAddr> = resolved.vips.iter().map(|vip| vip.address.addr()).collect();
        self.spots.iter().copied().filter(|(_, network)| !known.contains(&network.addr())).collect()
    }
}

/// The file that this program was started from, for whoever replaces it by another version meanwhile.
pub(super) fn own_file() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?;
    // A file that was replaced is shown with this at its end (proc(5)).
    let text = path.to_str()?;
    Some(text.strip_suffix(" (deleted)").unwrap_or(text).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(more: &str) -> Resolved {
        let text = format!(
            "[cluster]\nname = \"edge\"\nkey = \"00112233445566778899aabbccddeeff\"\n\
             [[node]]\nname = \"alpha\"\naddresses = [\"192.0.2.11\"]\n\
             [[node]]\nname = \"bravo\"\naddresses = [\"192.0.2.12\"]\n\
             [[group]]\nname = \"web\"\ninterface = \"eth0\"\nvips = [\"192.0.2.100/24\"{more}]\n"
        );
        let config = config::parse("test", &text).expect("a configuration");
        Resolved::new(&config, "alpha").expect("alpha")
    }

    fn left(resolved: &Resolved, active: bool) -> Succession {
        let group = vipdrift_core::CarryGroup { group: resolved.groups[0].id.0, term: 3, active };
        Succession {
            node: "alpha".into(),
            text: String::new(),
            secrets: serde_json::from_str(r#"{"current":[1],"previous":null}"#).expect("keys"),
            carry: Some(Carry { groups: vec![group], ..Carry::default() }),
            words: None,
            number: 1,
            spots: vec![
                (2, "192.0.2.100/24".parse().expect("network")),
                (2, "192.0.2.101/32".parse().expect("network")),
            ],
            until: Timestamp::ZERO,
            extended: false,
            runner: None,
            roles: None,
            names: Names::default(),
            confined: false,
            file: None,
        }
    }

    #[test]
    fn what_stays_and_what_goes() {
        let (small, large) = (resolved(""), resolved(", \"192.0.2.101/24\""));
        let both = BTreeSet::from([0, 1]);
        assert_eq!(left(&large, true).kept(&large, &both), both);
        assert_eq!(left(&large, true).kept(&large, &BTreeSet::from([1])), BTreeSet::from([1]));
        assert_eq!(
            left(&large, false).kept(&large, &both),
            BTreeSet::new(),
            "not active, so nothing is kept"
        );
        assert_eq!(left(&large, true).dropped(&large), vec![]);
        assert_eq!(left(&large, true).dropped(&small), [(2, "192.0.2.101/32".parse().expect("network"))]);
    }

    #[test]
    fn what_an_older_version_had_its_keeper_remember_is_read() {
        let text = r#"{"drained":{"node":false,"groups":[]},"plan":5,"groups":[],"failing":[]}"#;
        let carry: Carry = serde_json::from_str(text).expect("read");
        assert_eq!(carry, Carry { plan: 5, ..Carry::default() });
    }
}
