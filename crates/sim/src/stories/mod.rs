//! Small stories: what a cluster does when one thing or another happens, told in the world and watched by all
//! invariants.

mod absence;
mod checkpoint;
mod drift;
mod files;
mod placement;
mod trouble;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use vipdrift_core::{Command, Decision, GroupIndex, NodeSnapshot, RoleName, Ticket, VipIndex};

use crate::figures::Figures;
use crate::invariants::{Finding, Invariant, Invariants, Sight};
use crate::scenario::{Fault, GroupSetup, NAMES, NodeNumber, Planned, Scenario, Setup};
use crate::world::{Thing, World};

pub(super) const ALPHA: NodeNumber = NodeNumber(0);
pub(super) const BRAVO: NodeNumber = NodeNumber(1);
pub(super) const CHARLIE: NodeNumber = NodeNumber(2);
pub(super) const DELTA: NodeNumber = NodeNumber(3);

pub(super) const LEASE: Duration = Duration::from_secs(2);
/// Longer than any story.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) const fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

/// An ordinary cluster of so many nodes.
pub(super) fn of(nodes: usize) -> Setup {
    let mut setup = Setup { nodes, ..Setup::ordinary() };
    setup.groups[0].order = (0..nodes).collect();
    setup
}

/// Its group with another policy.
pub(super) fn with(mut setup: Setup, change: impl FnOnce(&mut GroupSetup)) -> Setup {
    change(&mut setup.groups[0]);
    setup
}

pub(super) fn hitless(setup: Setup) -> Setup {
    with(setup, |group| group.hitless = true)
}

/// What the nodes did.
#[derive(Default)]
struct Record {
    /// Of each node.
    decisions: Vec<Vec<Decision>>,
    /// When each node announced a VIP.
    announced: Vec<Vec<Duration>>,
    /// Commands that each node had not answered when it ended, if it did.
    exited: Vec<Option<usize>>,
    /// How many kernels had the first VIP, from when on.
    held: Vec<(Duration, usize)>,
}

/// Writes it down.
struct Recorder(Rc<RefCell<Record>>);

impl Invariant for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        let mut record = self.0.borrow_mut();
        match *sight {
            Sight::Scene => record.held.push((world.now, world.holders(VipIndex(0)).count())),
            Sight::Decided { host, decision } => record.decisions[host].push(decision.clone()),
            Sight::Announced { host, .. } => record.announced[host].push(world.now),
            Sight::Exited { host, open } => record.exited[host] = Some(open),
            _ => {}
        }
        Ok(())
    }
}

/// A world with an end that is not known beforehand: faults come and go when the story says so.
pub(super) struct Story {
    pub(super) world: World,
    record: Rc<RefCell<Record>>,
    /// Since when holders are counted.
    since: Duration,
}

impl Story {
    /// Everything off, all invariants watching.
    pub(super) fn new(setup: Setup) -> Self {
        let mut story = Self::unwatched(setup);
        let invariants = Invariants::all(&story.world.scenario);
        story.world.invariants.as_mut().unwrap().0.extend(invariants.0);
        story
    }

    /// Where the invariants promise nothing.
    pub(super) fn unwatched(setup: Setup) -> Self {
        let nodes = setup.nodes;
        let scenario = Rc::new(Scenario { seed: 1, lasts: FOR_EVER, setup, faults: vec![] });
        let record = Rc::new(RefCell::new(Record {
            decisions: vec![vec![]; nodes],
            announced: vec![vec![]; nodes],
            exited: vec![None; nodes],
            held: vec![],
        }));
        let recorder = Invariants(vec![Box::new(Recorder(Rc::clone(&record)))]);
        let mut world = World::new(&scenario, Some(recorder));
        world.verbose = true;
        Self { world, record, since: Duration::ZERO }
    }

    /// A running cluster, alpha active, a second old.
    pub(super) fn running(setup: Setup) -> Self {
        let mut story = Self::new(setup);
        story.start();
        story.run(Duration::from_secs(1));
        assert_eq!(story.holders(), [0], "alpha is active at first");
        story.since = story.world.now;
        story
    }

    /// Every daemon is started at the same moment; their brains need 8 to 25 ms to be there.
    pub(super) fn start(&mut self) {
        self.world.start_all(Duration::ZERO);
    }

    pub(super) fn run(&mut self, span: Duration) {
        self.world.run(span);
        self.check();
    }

    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&World) -> bool) -> Option<Duration> {
        let took = self.world.run_until(limit, done);
        self.check();
        took
    }

    /// Runs until these nodes alone hold the first VIP.
    pub(super) fn until_held_by(&mut self, limit: Duration, holders: &[usize]) -> Option<Duration> {
        self.run_until(limit, |world| world.holders(VipIndex(0)).eq(holders.iter().copied()))
    }

    fn check(&self) {
        assert_eq!(self.world.violation, None);
    }

    // ---- What happens -----------------------------------------------------------------------------------------

    /// A fault comes, now; the answer is its number.
    pub(super) fn comes(&mut self, fault: Fault) -> usize {
        let world = &mut self.world;
        let index = world.active.len();
        let planned = Planned { at: world.now, lasts: FOR_EVER, fault };
        Rc::make_mut(&mut world.scenario).faults.push(planned);
        world.active.push(false);
        world.push(Duration::ZERO, Thing::Strike(index));
        self.run(Duration::ZERO);
        index
    }

    /// And goes.
    pub(super) fn goes(&mut self, index: usize) {
        let world = &mut self.world;
        let planned = &mut Rc::make_mut(&mut world.scenario).faults[index];
        planned.lasts = world.now - planned.at;
        world.push(Duration::ZERO, Thing::Repair(index));
        self.run(Duration::ZERO);
    }

    /// An operator wants something from a node that has a brain.
    pub(super) fn command(&mut self, on: NodeNumber, command: impl FnOnce(Ticket) -> Command) -> Ticket {
        // What may last how long depends on what was asked for.
        let world = &mut self.world;
        let fault = Fault::Switchover { on, group: 0, to: None };
        Rc::make_mut(&mut world.scenario).faults.push(Planned {
            at: world.now,
            lasts: Duration::ZERO,
            fault,
        });
        world.active.push(false);
        let ticket = self.world.command(on.0, command).unwrap();
        self.check();
        ticket
    }

    pub(super) fn switchover(&mut self, on: NodeNumber, to: Option<&str>) -> Ticket {
        let to = to.map(str::to_owned);
        self.command(on, |ticket| Command::Switchover { ticket, group: GroupIndex(0), to })
    }

    // ---- What can be seen of it -------------------------------------------------------------------------------

    /// Those whose kernels have the first VIP.
    pub(super) fn holders(&self) -> Vec<usize> {
        self.world.holders(VipIndex(0)).collect()
    }

    pub(super) fn snapshot(&self, node: NodeNumber) -> NodeSnapshot {
        self.world.node(node.0).unwrap().snapshot()
    }

    pub(super) fn role(&self, node: NodeNumber) -> RoleName {
        self.snapshot(node).groups[0].role
    }

    pub(super) fn reason(&self, node: NodeNumber) -> String {
        self.snapshot(node).groups[0].reason.clone()
    }

    pub(super) fn term(&self, node: NodeNumber) -> u64 {
        self.snapshot(node).groups[0].term
    }

    /// Oldest first.
    pub(super) fn decisions(&self, node: NodeNumber) -> Vec<Decision> {
        self.record.borrow().decisions[node.0].clone()
    }

    pub(super) fn last_decision(&self, node: NodeNumber) -> Decision {
        self.decisions(node).pop().unwrap()
    }

    /// What a node, or its keeper, has said aloud.
    pub(super) fn notes(&self, node: NodeNumber) -> Vec<&str> {
        let own = format!(" {}: ", NAMES[node.0]);
        self.world.log.iter().map(String::as_str).filter(|line| line.contains(&own)).collect()
    }

    /// It has announced a VIP since then.
    pub(super) fn has_announced(&self, node: NodeNumber, since: Duration) -> bool {
        self.record.borrow().announced[node.0].iter().any(|&at| at >= since)
    }

    /// It has ended by itself, and had answered every command.
    pub(super) fn has_exited(&self, node: NodeNumber) -> bool {
        self.record.borrow().exited[node.0] == Some(0)
    }

    pub(super) fn reply(&self, ticket: Ticket) -> Result<&str, &str> {
        self.world.replies[&ticket].as_deref().map_err(String::as_str)
    }

    /// How long several kernels have had the first VIP, whether they saw each other or not.
    pub(super) fn two_holders(&self) -> Duration {
        self.lasted(|holders| holders > 1)
    }

    /// How long none has had it.
    pub(super) fn nobody(&self) -> Duration {
        self.lasted(|holders| holders == 0)
    }

    fn lasted(&self, counts: impl Fn(usize) -> bool) -> Duration {
        let record = self.record.borrow();
        let ends = record.held.iter().skip(1).map(|(at, _)| *at).chain([self.world.now]);
        let spans = record.held.iter().zip(ends).filter(|((_, holders), _)| counts(*holders));
        spans.map(|((from, _), until)| until.saturating_sub(self.since.max(*from))).sum()
    }

    /// How often a VIP was held by two that saw each other.
    pub(super) fn contests(&self) -> u64 {
        let mut figures = Figures::default();
        self.world.invariants.as_ref().unwrap().figures(&mut figures);
        figures.contests
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.world.log {
                eprintln!("{line}");
            }
        }
    }
}
