//! What is measured: programs, and how each is set up at its fastest or as it comes.

mod keepalived;
mod ucarp;
mod vipdrift;

use std::process::Command;
use std::time::Duration;

use vipdrift_lab::Traffic;

use crate::Result;
use crate::fault::Fault;
use crate::rig::Rig;

/// A program with a configuration.
pub(crate) trait Contender: Sync {
    /// As it is called in tables.
    fn name(&self) -> &'static str;

    /// What was changed in its configuration, in words.
    fn configuration(&self) -> &'static str;

    /// The program on a node. Writes the files that it needs.
    fn command(&self, rig: &Rig, node: usize) -> Result<Command>;

    /// How the nodes hear of each other.
    fn traffic(&self) -> Vec<Traffic>;

    /// How often they do.
    fn period(&self) -> Duration;

    /// After this nothing that it does at its start goes on any more.
    fn settles(&self) -> Duration;

    /// How long a fault is watched: by then it has done what it will.
    fn watch(&self) -> Duration;

    /// It has an answer to this fault.
    fn answers(&self, _fault: Fault) -> bool {
        true
    }

    /// Moves the VIP away from a node, as its manual has it.
    fn switch_over(&self, rig: &Rig, from: usize) -> Result<()>;

    /// Undoes what [`Contender::switch_over`] left.
    fn switch_back(&self, _rig: &Rig, _from: usize) -> Result<()> {
        Ok(())
    }
}

/// Ours come first, at the same pace as the peers' fastest and as they come.
pub(crate) const ALL: [&dyn Contender; 5] = [
    &vipdrift::Vipdrift::FAST,
    &vipdrift::Vipdrift::DEFAULT,
    &keepalived::Keepalived::FAST,
    &keepalived::Keepalived::DEFAULT,
    &ucarp::Ucarp,
];

pub(crate) fn find(name: &str) -> Result<&'static dyn Contender> {
    let found = ALL.into_iter().find(|contender| contender.name() == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|contender| contender.name()).collect();
        format!("there is no `{name}`, but {}", names.join(", ")).into()
    })
}
