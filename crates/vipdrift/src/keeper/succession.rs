//! A keeper that makes way for another in the same process (execve(2)): the process id stays, and with it whatever the
//! service manager knows; the VIPs stay in the kernel; everything else begins anew, with another configuration or another
//! binary. What cannot begin so goes back to what was.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vipdrift_core::{Carry, OccupiedPolicy, Timestamp};
use vipdrift_platform::addresses::Kernel;
use vipdrift_platform::process;

use super::child::PROGRAM;
use super::sockets::heartbeat;
use super::{NotStarted, Options, interfaces_present, own_name};
use crate::config::{self, Loaded, Resolved, Secrets};
use crate::message::encode;

/// Everything that is left to the next.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Succession {
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
    /// The runner, which comes to its end by itself.
    pub(super) runner: Option<u32>,
    /// Groups whose hooks have been told the role of this node.
    pub(super) told: Vec<String>,
}

/// A configuration that could be put in force now.
#[derive(Debug)]
pub(super) struct Candidate {
    /// What is different, in a few words.
    pub(super) changes: String,
    /// VIPs that are new in groups which this node holds, with the positions that their interfaces have now: nobody may use
    /// them.
    pub(super) new_vips: Vec<(usize, IpAddr)>,
}

/// Reads the configuration file anew and looks whether this machine could run it, without touching anything.
///
/// # Errors
/// In full sentences: why it stays with the one in force.
pub(super) fn examine(
    options: &Options,
    resolved: &Resolved,
    old: &config::Config,
    carry: Option<&Carry>,
) -> Result<Candidate, String> {
    let text = |error: NotStarted| error.to_string();
    let loaded = config::load(&options.config).map_err(|error| error.to_string())?;
    Secrets::read(&options.config, &loaded).map_err(|error| error.to_string())?;
    let new = &loaded.config;
    if new.cluster.name != old.cluster.name {
        return Err(format!(
            "the name of the cluster cannot change while it runs: it is {}, and {} in the file",
            old.cluster.name, new.cluster.name
        ));
    }
    let mut kernel = Kernel::open().map_err(|error| error.to_string())?;
    // A node that renumbers itself is found by its old addresses no more, and by its new ones perhaps not yet.
    let name = own_name(new, options.node.as_deref(), &mut kernel).map_err(text)?;
    if name != resolved.name {
        return Err(format!("by the file this machine would be node {name}, and it is {}", resolved.name));
    }
    let next = Resolved::new(new, &name).ok_or_else(|| format!("there is no node `{name}`"))?;
    interfaces_present(&next, &mut kernel).map_err(text)?;
    for local in next.own.iter().filter(|local| !resolved.own.contains(local)) {
        // Closed again at once: to be had is enough.
        heartbeat(SocketAddr::new(local.ip(), local.port())).map_err(|error| error.to_string())?;
    }
    Ok(Candidate { changes: changes(resolved, &next), new_vips: new_vips(resolved, &next, carry) })
}

/// VIPs that would be mounted as soon as the new configuration is in force. Those of a group for which the configuration says
/// that whoever has them is overruled need no question.
fn new_vips(old: &Resolved, new: &Resolved, carry: Option<&Carry>) -> Vec<(usize, IpAddr)> {
    let known: BTreeSet<IpAddr> = old.vips.iter().map(|vip| vip.address.addr()).collect();
    let holds = |id: u64| carry.is_some_and(|carry| carry.groups.iter().any(|g| g.group == id && g.active));
    let groups =
        new.groups.iter().filter(|group| holds(group.id.0) && group.occupied == OccupiedPolicy::Wait);
    let vips = groups.flat_map(|group| &group.vips).map(|vip| new.vips[vip.0]);
    let new_ones = vips.filter(|vip| !known.contains(&vip.address.addr()));
    new_ones
        .filter_map(|vip| {
            let name = &new.interfaces[vip.interface.0];
            let position = old.interfaces.iter().position(|known| known == name)?;
            Some((position, vip.address.addr()))
        })
        .collect()
}

/// What differs between two configurations, in a few words.
fn changes(old: &Resolved, new: &Resolved) -> String {
    let mut parts = Vec::new();
    let mut differ = |what: &str, before: BTreeSet<String>, after: BTreeSet<String>| {
        for (verb, names) in [("added", after.difference(&before)), ("removed", before.difference(&after))] {
            let names: Vec<&str> = names.map(String::as_str).collect();
            match names.len() {
                0 => {}
                1..=4 => parts.push(format!("{what} {verb}: {}", names.join(", "))),
                count => parts.push(format!("{count} {what} {verb}")),
            }
        }
    };
    let nodes = |r: &Resolved| r.peers.iter().map(|peer| peer.name.clone()).collect();
    let groups = |r: &Resolved| r.groups.iter().map(|group| group.name.clone()).collect();
    let vips = |r: &Resolved| r.vips.iter().map(|vip| vip.address.to_string()).collect();
    let checks = |r: &Resolved| {
        let name = |check: &crate::config::ServiceCheck| {
            format!("{}/{}", r.groups[check.config.group.0].name, check.config.name)
        };
        r.checks.iter().map(name).collect()
    };
    differ("nodes", nodes(old), nodes(new));
    differ("groups", groups(old), groups(new));
    differ("VIPs", vips(old), vips(new));
    differ("checks", checks(old), checks(new));
    if parts.is_empty() {
        let same = old.digest == new.digest;
        return if same { "nothing that the nodes agree on has changed" } else { "settings have changed" }
            .to_owned();
    }
    parts.join("; ")
}

impl Succession {
    /// Reads what was left in an inherited file.
    ///
    /// # Errors
    /// It was not inherited, or is of a version that left it otherwise.
    pub(crate) fn read(number: i32) -> Result<Self, String> {
        let bytes = process::inherited_bytes(number).map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }

    /// Makes way: does not return unless that fails. `program`: another binary than the one that runs.
    pub(super) fn make_way(&self, options: &Options, program: Option<&Path>) -> String {
        let file = match process::memory_file(c"vipdrift-succession", &encode(self)) {
            Ok(file) => file,
            Err(error) => return error.to_string(),
        };
        let mut args: Vec<OsString> = vec!["run".into(), "--config".into(), options.config.clone().into()];
        if let Some(node) = &options.node {
            args.extend(["--node".into(), node.into()]);
        }
        if let Some(socket) = &options.socket {
            args.extend(["--socket".into(), socket.into()]);
        }
        args.extend(["--state-dir".into(), options.state_folder.clone().into()]);
        args.extend(["--succession".into(), file.as_raw_fd().to_string().into()]);
        let program = program.unwrap_or(Path::new(PROGRAM));
        process::replace(program, &args, &[file.as_fd()]).to_string()
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

/// Whether the program in this file understands what this one leaves: asked of itself, so that one that does not even run
/// is found out before it is too late.
///
/// # Errors
/// In a sentence.
pub(super) fn accepts(program: &Path) -> Result<(), String> {
    let limit = Duration::from_secs(1);
    let shown = program.display();
    let child = process::spawn(program, &["accepts-succession".into(), FORMAT.into()], &[])
        .map_err(|error| error.to_string())?;
    let begun = std::time::Instant::now();
    loop {
        match child.reap() {
            Ok(Some(process::Exit::Code(0))) => return Ok(()),
            Ok(Some(exit)) => {
                return Err(format!(
                    "{shown} does not take over from this version: it {}",
                    super::child::how(exit)
                ));
            }
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.reap();
                return Err(format!("{shown} does not answer"));
            }
        }
    }
}

/// What [`Succession`] looks like: changes with it.
pub(crate) const FORMAT: &str = "1";

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
            runner: None,
            told: vec![],
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
    fn what_has_changed_is_said() {
        let (small, large) = (resolved(""), resolved(", \"192.0.2.101/24\""));
        assert_eq!(changes(&small, &large), "VIPs added: 192.0.2.101/24");
        assert_eq!(changes(&large, &small), "VIPs removed: 192.0.2.101/24");
        let carry = left(&small, true).carry;
        let new: IpAddr = [192, 0, 2, 101].into();
        assert_eq!(new_vips(&small, &large, carry.as_ref()), [(0, new)]);
        assert_eq!(new_vips(&large, &small, carry.as_ref()), []);
        assert_eq!(new_vips(&small, &large, left(&small, false).carry.as_ref()), [], "not held here");
        assert_eq!(changes(&small, &small), "nothing that the nodes agree on has changed");
    }
}
