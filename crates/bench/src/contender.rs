//! What is measured: programs, and how each is set up at its fastest or as it comes.

mod frr;
mod keepalived;
mod pacemaker;
mod ucarp;
mod vipdrift;

use std::process::Command;
use std::time::Duration;

use vipdrift_lab::Traffic;

use crate::Result;
use crate::fault::Fault;
use crate::figures::Lateness;
use crate::rig::Rig;
use crate::shape::Shape;

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

    /// It can be set up for so many nodes, groups and VIPs.
    fn fits(&self, _shape: &Shape) -> bool {
        true
    }

    /// The address is on every node, always: who has it is whose answers arrive.
    fn is_on_all(&self) -> bool {
        false
    }

    /// The process that decides, if it is not the one that was started.
    fn decider(&self, rig: &Rig, node: usize) -> Result<i32> {
        Ok(rig.daemon(node)?.pid())
    }

    /// How late a node's daemon says that it has been, if it says so.
    fn lateness(&self, _rig: &Rig, _node: usize) -> Result<Option<Lateness>> {
        Ok(None)
    }

    /// Moves the VIP away from a node, as its manual has it.
    fn switch_over(&self, rig: &Rig, from: usize) -> Result<()>;

    /// Undoes what [`Contender::switch_over`] left.
    fn switch_back(&self, _rig: &Rig, _from: usize) -> Result<()> {
        Ok(())
    }
}

/// Ours come first, at the same pace as the peers' fastest and as they come.
pub(crate) const ALL: [&dyn Contender; 15] = [
    &vipdrift::Vipdrift::FAST,
    &vipdrift::Vipdrift::DEFAULT,
    &keepalived::Keepalived::FAST,
    &keepalived::Keepalived::FASTEST,
    &keepalived::Keepalived::TENTH,
    &keepalived::Keepalived::DEFAULT,
    &ucarp::Ucarp,
    &frr::Frr,
    &pacemaker::Pacemaker,
    &vipdrift::Vipdrift::FASTEST,
    &vipdrift::Vipdrift::CALM,
    &vipdrift::Vipdrift::FASTEST_ORDINARY,
    &vipdrift::Vipdrift::FAST_ORDINARY,
    &vipdrift::Vipdrift::CALM_ORDINARY,
    &keepalived::Keepalived::FAST_ORDINARY,
];

/// Those that every fault is made with.
pub(crate) fn of_faults() -> Vec<&'static dyn Contender> {
    vec![
        &vipdrift::Vipdrift::FAST,
        &vipdrift::Vipdrift::DEFAULT,
        &keepalived::Keepalived::FAST,
        &keepalived::Keepalived::FASTEST,
        &keepalived::Keepalived::DEFAULT,
        &ucarp::Ucarp,
        &frr::Frr,
        &pacemaker::Pacemaker,
    ]
}

/// Those that are left alone on a machine that is busy, with real-time priority and without.
pub(crate) fn of_steady() -> Vec<&'static dyn Contender> {
    vec![
        &vipdrift::Vipdrift::FASTEST,
        &vipdrift::Vipdrift::FAST,
        &vipdrift::Vipdrift::CALM,
        &keepalived::Keepalived::FAST,
        &vipdrift::Vipdrift::FASTEST_ORDINARY,
        &vipdrift::Vipdrift::FAST_ORDINARY,
        &vipdrift::Vipdrift::CALM_ORDINARY,
        &keepalived::Keepalived::FAST_ORDINARY,
    ]
}

/// Those that are set up for very many VIPs, at the fastest pace and at one that is common.
pub(crate) fn of_scale() -> Vec<&'static dyn Contender> {
    vec![
        &vipdrift::Vipdrift::FAST,
        &vipdrift::Vipdrift::DEFAULT,
        &keepalived::Keepalived::FAST,
        &keepalived::Keepalived::TENTH,
    ]
}

pub(crate) fn find(name: &str) -> Result<&'static dyn Contender> {
    let found = ALL.into_iter().find(|contender| contender.name() == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|contender| contender.name()).collect();
        format!("there is no `{name}`, but {}", names.join(", ")).into()
    })
}
