//! Very many VIPs, or groups: what they cost while nothing happens, and how long it takes until all of them are served again
//! when a machine dies.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use vipdrift_lab::Change;

use crate::Result;
use crate::contender::Contender;
use crate::cost;
use crate::fault::millis;
use crate::figures::Cost;
use crate::prober::Prober;
use crate::rig::{CLIENT, Rig};
use crate::shape::Shape;

/// What nothing costs is watched for this long.
const IDLE: Duration = Duration::from_secs(10);

/// Watched for this much longer for every two VIPs.
const FOR_EACH_PAIR: Duration = Duration::from_micros(1);

/// What was measured in one run. Times are milliseconds from the death of the first node.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scaled {
    /// VIPs of the node that died.
    pub(crate) vips: f64,
    /// From the start of the daemons until every VIP has its holder, nothing having gone before.
    pub(crate) held_after: f64,
    /// The first VIP is on another node, and the last; `None`: some never was.
    pub(crate) first_moved: Option<f64>,
    pub(crate) all_moved: Option<f64>,
    /// All have been announced.
    pub(crate) all_announced: Option<f64>,
    /// The service answered at the first VIP, and at all of them.
    pub(crate) first_answered: Option<f64>,
    pub(crate) all_answered: Option<f64>,
    /// VIPs that another node announced before that: there were two holders though nothing was wrong.
    pub(crate) early: f64,
    /// VIPs that never answered from elsewhere.
    pub(crate) missing: f64,
    /// Nodes that took some of them.
    pub(crate) heirs: f64,
    pub(crate) cost: Cost,
}

/// Builds the rig, watches it idle, cuts the power of the first node, watches.
///
/// # Errors
/// The rig could not be brought to hold every VIP.
pub(crate) fn measure(vipdrift: &Path, contender: &'static dyn Contender, shape: Shape) -> Result<Scaled> {
    let (rig, held_after) = Rig::of_shape(vipdrift, contender, shape)?;
    let cost = cost::idle(&rig, IDLE).map_err(|error| format!("{error}\n{}", rig.said()))?;
    let name = Shape::name(0);
    let holders = rig.holders();
    let of_victim = |vip: &IpAddr| holders.get(vip).is_some_and(|nodes| nodes.contains(name));
    let vips: Vec<IpAddr> = rig.shape.vips().filter(of_victim).collect();
    let prober = Prober::start(&rig.client, CLIENT.1, vips.clone(), rig.nodes[0].mac("eth0")?)?;
    std::thread::sleep(Duration::from_millis(100));
    let since = Instant::now();
    rig.nodes[0].power_off()?;
    // The kernel needs more for each address, the more there are.
    let vips_of_all = u32::try_from(rig.shape.vips().count())?;
    std::thread::sleep(contender.watch() + FOR_EACH_PAIR.saturating_mul(vips_of_all.saturating_pow(2)));
    let seen = prober.stop()?;
    let after = |at: Instant| millis(at.saturating_duration_since(since));
    let least = |times: &[f64]| times.iter().copied().reduce(f64::min);
    let last = |times: &[f64]| {
        if times.len() == vips.len() { times.iter().copied().reduce(f64::max) } else { None }
    };
    let wanted: BTreeSet<IpAddr> = vips.iter().copied().collect();
    let (mut moved, mut heirs, mut done) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for happening in rig.lab.observer().timeline().happenings() {
        if let Change::Added(vip) = happening.change
            && happening.at >= since
            && wanted.contains(&vip)
            && done.insert(vip)
        {
            moved.push(after(happening.at));
            heirs.insert(happening.host.clone());
        }
    }
    // Where another node has announced a VIP while its holder was well, there have been two of them.
    let early = seen.values().filter(|seen| seen.announced.is_some_and(|at| at < since)).count();
    let announced: Vec<f64> = seen.values().filter_map(|seen| seen.announced).map(after).collect();
    let answered: Vec<f64> = seen.values().filter_map(|seen| seen.answered).map(after).collect();
    Ok(Scaled {
        vips: vips.len() as f64,
        held_after: millis(held_after),
        first_moved: least(&moved),
        all_moved: last(&moved),
        all_announced: last(&announced),
        first_answered: least(&answered),
        all_answered: last(&answered),
        early: early as f64,
        missing: (vips.len() - answered.len()) as f64,
        heirs: heirs.len() as f64,
        cost,
    })
}
