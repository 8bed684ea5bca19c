//! Could this machine run the configuration as it is in its file now? A process of its own finds out, so that neither a file
//! system nor a name service that hangs keeps the keeper. Where a new binary is to come, it is that binary: what it does
//! not understand is found out before it is too late.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipdrift_core::{OccupiedPolicy, Timestamp};
use vipdrift_platform::addresses::Kernel;
use vipdrift_platform::descriptor::{AsDescriptor as _, Number};
use vipdrift_platform::process::{self, Child, Exit};
use vipdrift_platform::{file, privileges};

use super::child::{argument, how};
use super::names::Names;
use super::sockets::heartbeat;
use super::{NotStarted, is_possible, own_name};
use crate::config::{self, Resolved, Secrets};
use crate::message::encode;

/// What two versions leave each other ([`super::succession::Succession`] and this file): a new number whenever either changes.
const FORMAT: u32 = 3;
/// Longer takes no machine that works.
const LIMIT: Duration = Duration::from_secs(10);

/// What is to be found out.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    format: u32,
    /// The configuration file.
    file: PathBuf,
    /// The node's name, and whether that was said rather than found.
    node: String,
    named: bool,
    /// The configuration in force.
    text: String,
    /// Ids of the groups that this node holds.
    held: Vec<u64>,
}

impl Question {
    pub(super) fn new(file: &Path, node: &str, named: bool, text: &str, held: Vec<u64>) -> Self {
        Self {
            format: FORMAT,
            file: file.to_owned(),
            node: node.to_owned(),
            named,
            text: text.to_owned(),
            held,
        }
    }
}

/// A configuration that could be put in force now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Candidate {
    /// What is different, in a few words.
    pub(super) changes: String,
    /// VIPs that are new in groups which this node holds, with the positions that their interfaces have now: nobody may use
    /// them.
    pub(super) new_vips: Vec<(usize, IpAddr)>,
    /// Whom the old configuration and the new one name.
    pub(super) names: Names,
}

/// The process at work.
#[derive(Debug)]
pub(super) struct Examination {
    child: Child,
    answer: File,
    /// It is given up then.
    pub(super) until: Timestamp,
}

impl Examination {
    /// Begins. `program`: another binary than the one that runs.
    ///
    /// # Errors
    /// In a sentence: it cannot be started.
    pub(super) fn start(question: &Question, program: Option<&Path>, now: Timestamp) -> Result<Self, String> {
        let text = |error: process::Error| error.to_string();
        let asked = process::memory_file(c"vipdrift-question", &encode(question)).map_err(text)?;
        let answer = process::scratch_file(c"vipdrift-answer").map_err(text)?;
        let args = ["examine".into(), argument(&asked), argument(&answer)];
        let program = match program {
            Some(program) => program.to_owned(),
            None => process::this_program().map_err(|error| error.to_string())?,
        };
        let inherit = [asked.as_descriptor(), answer.as_descriptor()];
        let child = process::spawn(&program, &args, &inherit).map_err(text)?;
        Ok(Self { child, answer, until: now + LIMIT })
    }

    /// To be polled for [`Examination::ended`].
    pub(super) fn child(&self) -> &Child {
        &self.child
    }

    /// What it has found, once it has ended.
    pub(super) fn ended(&self) -> Option<Result<Candidate, String>> {
        let exit = match self.child.reap() {
            Ok(None) => return None,
            Ok(Some(exit)) => exit,
            Err(error) => return Some(Err(error.to_string())),
        };
        let length = self.answer.metadata().map_or(0, |data| data.len());
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = file::read_exact_at(&self.answer, &mut bytes, 0).ok();
        let answer = read.and_then(|()| serde_json::from_slice(&bytes).ok());
        Some(match (exit, answer) {
            (Exit::Code(0), Some(answer)) => answer,
            _ => Err(format!(
                "the program that looks at it does not take over from this version: it {}",
                how(exit)
            )),
        })
    }

    /// Ends it. It may be left as a zombie if the kernel cannot end it; answers it, to be reaped when it has ended.
    pub(super) fn give_up(self) -> Child {
        let _ = self.child.kill();
        self.child
    }
}

/// The life of that process. `false`: the question is not understood.
pub(crate) fn run(question: Number, answer: Number) -> bool {
    let Ok(bytes) = process::inherited_bytes(question) else { return false };
    let Ok(file) = process::inherited(answer).map(File::from) else { return false };
    let Ok(question) = serde_json::from_slice::<Question>(&bytes) else { return false };
    if question.format != FORMAT {
        return false;
    }
    file::write_all_at(&file, &encode(&examine(&question)), 0).is_ok()
}

fn examine(question: &Question) -> Result<Candidate, String> {
    let text = |error: NotStarted| error.to_string();
    // What is in force must be understood, or there would be no way back to it.
    let shown = question.file.display().to_string();
    let old = config::parse(&shown, &question.text)
        .map_err(|error| format!("the configuration that is in force would be refused: {error}"))?;
    let resolved = Resolved::new(&old, &question.node).ok_or("the configuration in force lacks this node")?;
    let loaded = config::load(&question.file).map_err(|error| error.to_string())?;
    Secrets::read(&question.file, &loaded).map_err(|error| error.to_string())?;
    let new = &loaded.config;
    if new.cluster.name != old.cluster.name {
        return Err(format!(
            "the name of the cluster cannot change while it runs: it is {}, and {} in the file",
            old.cluster.name, new.cluster.name
        ));
    }
    let missing = privileges::missing();
    if !missing.is_empty() {
        return Err(format!("the new program would lack {}", missing.join(" and ")));
    }
    let mut kernel = Kernel::open().map_err(|error| error.to_string())?;
    let named = question.named.then_some(question.node.as_str());
    let name = own_name(new, named, &mut kernel).map_err(text)?;
    if name != question.node {
        return Err(format!("by the file this machine would be node {name}, and it is {}", question.node));
    }
    let next = Resolved::new(new, &name).ok_or_else(|| format!("there is no node `{name}`"))?;
    is_possible(&next, &mut kernel).map_err(text)?;
    for local in next.own.iter().filter(|local| !resolved.own.contains(local)) {
        // Closed again at once: to be had is enough.
        heartbeat(SocketAddr::new(local.ip(), local.port())).map_err(|error| error.to_string())?;
    }
    Ok(Candidate {
        changes: changes(&resolved, &next),
        new_vips: new_vips(&resolved, &next, &question.held),
        names: Names::look_up([&old, new]),
    })
}

/// VIPs that would be mounted as soon as the new configuration is in force. Those of a group for which the configuration says
/// that whoever has them is overruled need no question.
fn new_vips(old: &Resolved, new: &Resolved, held: &[u64]) -> Vec<(usize, IpAddr)> {
    let known: BTreeSet<IpAddr> = old.vips.iter().map(|vip| vip.address.addr()).collect();
    let groups = new
        .groups
        .iter()
        .filter(|group| held.contains(&group.id.0) && group.occupied == OccupiedPolicy::Wait);
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
        let same = old.outline == new.outline;
        return if same { "nothing that the nodes agree on has changed" } else { "settings have changed" }
            .to_owned();
    }
    parts.join("; ")
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

    #[test]
    fn what_has_changed_is_said() {
        let (small, large) = (resolved(""), resolved(", \"192.0.2.101/24\""));
        assert_eq!(changes(&small, &large), "VIPs added: 192.0.2.101/24");
        assert_eq!(changes(&large, &small), "VIPs removed: 192.0.2.101/24");
        let held = [small.groups[0].id.0];
        let new: IpAddr = [192, 0, 2, 101].into();
        assert_eq!(new_vips(&small, &large, &held), [(0, new)]);
        assert_eq!(new_vips(&large, &small, &held), []);
        assert_eq!(new_vips(&small, &large, &[]), [], "not held here");
        assert_eq!(changes(&small, &small), "nothing that the nodes agree on has changed");
    }
}
