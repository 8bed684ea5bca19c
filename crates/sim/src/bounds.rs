//! How long what may last: computed from the configuration and from what has been made to happen. Every figure here is
//! a claim about the design, and the reason stands beside it.

use std::time::Duration;

use crate::scenario::{Fault, GroupCheck, GroupSetup, HOLD, Planned, Scenario, Setup};
use crate::world::SLACK;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The holder of a hitless switchover goes on for 20 ms, for requests that have reached it; the two mount one after the
/// other: the kernel's answer, a datagram, the other kernel's answer.
const HITLESS: Duration = ms(20 + 5);
/// A brain needs this long to be there.
const BIRTH: Duration = ms(30);
/// A daemon may be down for so long that nobody sets right what was done by hand.
const HAND: Duration = ms(60_000);
/// A look at the kernel after news of it, and a step in it.
const KEEPER: Duration = ms(10);
/// A planned move that has not come to its end by then is given up.
const SWITCHOVER: Duration = ms(3000);
/// The longest pause before a mount is tried again that has failed, or a brain is started again that has died.
const LONGEST_PAUSE: Duration = ms(31_000);
/// A node that could not mount is not offered the group again before.
const FAILBACK_AGAIN: Duration = ms(5000);
/// An unmount that has failed is tried again after this.
const UNMOUNT_AGAIN: Duration = ms(1000);
/// A brain that was asked to end with grace has this long to release.
const SHUTDOWN: Duration = ms(2000);
/// Holders that do not hear each other meet by their announcements.
const UNHEARD: Duration = ms(5000);
/// Two that claim in the same instant see each other's announcements: the first, or the one 50 ms later.
const SAME_INSTANT: Duration = ms(50);
/// One that claims and is not heard has this long to say a word before it is yielded to.
const GRACE: Duration = ms(30);

/// Three rounds of questions on a fast network.
pub(crate) fn least_patience(setup: &Setup) -> Duration {
    if setup.heartbeat <= ms(20) { ms(3) } else { ms(9) }
}

/// Three rounds of questions; on a slow network they are further apart.
pub(crate) fn patience(setup: &Setup) -> Duration {
    least_patience(setup).max(round_trip(setup).min(setup.heartbeat / 2) * 3)
}

/// A packet there and back, and some processing.
fn round_trip(setup: &Setup) -> Duration {
    setup.wire * 2 + ms(1)
}

/// How long the heir named has the right to a group.
fn reservation(setup: &Setup) -> Duration {
    setup.dead() * 2 + ms(100)
}

fn longest_failback(setup: &Setup) -> Duration {
    setup.groups.iter().map(|group| group.failback).max().unwrap_or_default()
}

/// How long a program may take that runs before a mount.
fn longest_gate(setup: &Setup) -> Duration {
    setup.groups.iter().map(|group| group.gate).max().unwrap_or_default()
}

fn lease_end(setup: &Setup) -> Option<Duration> {
    setup.lease().map(|lease| lease + SLACK)
}

/// When a cluster whose daemons were started together is at rest.
pub(crate) fn start(setup: &Setup) -> Duration {
    recovery(setup, &[]) + quiet(setup)
}

/// The time after the last fault in which everything comes right.
pub(crate) fn recovery(setup: &Setup, episode: &[Planned]) -> Duration {
    let nodes = u32::try_from(setup.nodes).unwrap_or(u32::MAX);
    // Listening, proof that the link works, the right of an heir that does not come, a turn for each node.
    let mut span = setup.start_wait + reservation(setup) + setup.dead() * (nodes + 2) + SWITCHOVER;
    // Whoever waits for an old holder's kernel, and then asks its machine ten times.
    span += setup.lease().unwrap_or_default() + ms(1000 + 10 * 50 + 500);
    span += longest_failback(setup) + UNHEARD;
    // Each node in its turn may have a program to run first, and again what it has lost the right to meanwhile.
    span += longest_gate(setup) * (nodes + 1);
    if episode.iter().any(|planned| pauses(&planned.fault)) {
        span += LONGEST_PAUSE;
    }
    // What a node could not mount, for whatever reason, is handed back to it again after 5 s, and then after a pause of twice
    // the last: longer than all before it, and these have passed since mounts began to fail.
    if !longest_failback(setup).is_zero() {
        let failing = || episode.iter().filter(|planned| matches!(planned.fault, Fault::MountsFail { .. }));
        let from = failing().map(|planned| planned.at).min().unwrap_or_default();
        span += failing().map(Planned::over).max().unwrap_or_default() - from + FAILBACK_AGAIN;
    }
    span
}

/// Mounts, or brains, may be tried again only after a pause that has grown.
fn pauses(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::MountsFail { .. }
            | Fault::InterfaceGone { .. }
            | Fault::UnmountsFail { .. }
            | Fault::BrainKilled { .. }
            | Fault::BrainFrozen { .. }
            | Fault::BrainStalls { .. }
            | Fault::KeeperFrozen { .. }
            | Fault::KeeperSlow { .. }
            | Fault::Suspended { .. }
            | Fault::Paused { .. }
    )
}

/// And then nothing moves for this long.
pub(crate) fn quiet(setup: &Setup) -> Duration {
    ms(3000) + setup.heartbeat * 5
}

/// When the last of these faults is over.
pub(crate) fn over(episode: &[Planned]) -> Duration {
    episode.iter().map(Planned::over).max().unwrap_or_default()
}

/// When everything is at rest again after these faults.
pub(crate) fn rest_after(setup: &Setup, episode: &[Planned]) -> Duration {
    over(episode) + recovery(setup, episode) + quiet(setup)
}

/// Several kernels that see each other hold a VIP.
#[derive(Debug, Clone)]
pub(crate) struct Contest {
    pub(crate) group: usize,
    pub(crate) holders: Vec<usize>,
    /// Holders without a keeper: their kernels keep the VIP until its lease ends.
    pub(crate) orphans: Vec<usize>,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

/// One of the holders could not unmount: when that has been tried again with success.
fn stuck_until(contest: &Contest, scenario: &Scenario) -> Option<Duration> {
    let stuck = scenario.faults.iter().filter(|planned| {
        matches!(planned.fault, Fault::UnmountsFail { on } if contest.holders.contains(&on.0))
            && contest.until >= planned.at
    });
    stuck.map(|planned| planned.over() + UNMOUNT_AGAIN + KEEPER).filter(|&until| contest.from <= until).max()
}

/// How long it may last, for what has happened near it; `None` for as long as it likes.
pub(crate) fn two_holders(scenario: &Scenario, contest: &Contest) -> Option<Duration> {
    let setup = &scenario.setup;
    let near = |after: Duration, kind: &dyn Fn(&Fault) -> bool| {
        scenario.faults.iter().any(|planned| {
            kind(&planned.fault)
                && contest.until >= planned.at
                && contest.from <= planned.over().saturating_add(after)
        })
    };
    let dead = setup.dead();
    let group = &setup.groups[contest.group];
    let is_storm = |fault: &Fault| match fault {
        Fault::Loss { .. } => true,
        // An answer must be there before the third question.
        Fault::Delay { longest } => *longest > (setup.heartbeat / 20).min(ms(3)),
        _ => false,
    };
    let is_torn = |fault: &Fault| {
        matches!(
            fault,
            Fault::Suspended { .. }
                | Fault::Paused { .. }
                | Fault::SilentCut { .. }
                | Fault::Partition { .. }
                | Fault::OneWayCut { .. }
        )
    };
    let is_unplugged = |fault: &Fault| {
        matches!(fault, Fault::CablePulled { .. } | Fault::InterfaceGone { .. } | Fault::AddressLost { .. })
    };
    let is_blocked =
        |fault: &Fault| matches!(fault, Fault::HeartbeatsBlocked | Fault::HeartbeatsBlockedOneWay { .. });
    let is_hung = |fault: &Fault| {
        matches!(fault, Fault::BrainFrozen { .. } | Fault::BrainKilled { .. } | Fault::BrainStalls { .. })
    };
    let by_hand = |fault: &Fault| {
        matches!(fault, Fault::VipAdded { on, group }
            if *group == contest.group && contest.holders.contains(&on.0))
    };
    // Only a planned move asks for it, and a holder may be killed in the midst of one.
    let asked = scenario.faults.iter().filter(|planned| {
        let gives_way = matches!(planned.fault, Fault::ServiceFails { group, .. } if group == contest.group)
            && group.check == GroupCheck::Demote;
        (gives_way || matches!(planned.fault, Fault::Switchover { .. } | Fault::Drained { .. }))
            && contest.until >= planned.at
            && contest.from <= planned.over() + SWITCHOVER
    });
    // One after the other: the next may begin before the last is over.
    let moves = u32::try_from(asked.count()).unwrap_or(u32::MAX) + u32::from(!group.failback.is_zero());
    let moves = if group.hitless { moves } else { 0 };
    let end = lease_end(setup);
    let slowest = scenario
        .faults
        .iter()
        .filter_map(|planned| match planned.fault {
            Fault::KeeperSlow { longest, .. }
                if contest.until >= planned.at && contest.from <= planned.over() + longest * 3 =>
            {
                Some(longest * 2)
            }
            _ => None,
        })
        .max()
        .unwrap_or_default();

    // What somebody adds by hand where no daemon runs stays until one is started, or until the kernel lets it go.
    let stuck = near(
        Duration::ZERO,
        &|fault| matches!(fault, Fault::UnmountsFail { on } if contest.holders.contains(&on.0)),
    );
    if scenario.faults.iter().any(|planned| {
        matches!(planned.fault, Fault::VipAdded { on, group }
            if group == contest.group && (contest.orphans.contains(&on.0) || stuck))
            && planned.at <= contest.until
            && contest.from <= planned.at + HAND
    }) {
        return None;
    }
    // What nobody looks after stays until its lifetime ends.
    let lost = near(end.unwrap_or(HAND), &|fault| is_storm(fault) || is_torn(fault) || is_unplugged(fault));
    if !contest.orphans.is_empty() && (moves > 0 || lost || near(end?, &by_hand)) {
        return end;
    }
    let soon = dead + slowest;
    let mut limit = Duration::ZERO;
    let hitless = (HITLESS + round_trip(setup) * 2) * moves;
    limit = limit.max(hitless);
    if near(ms(20), &by_hand) {
        limit = limit.max(KEEPER);
    }
    // What a kernel did not give up is asked for again after a pause, or goes with its lease.
    if let Some(until) = stuck_until(contest, scenario) {
        limit = limit.max((until - contest.from).min(end.unwrap_or(Duration::MAX)));
    }
    // A keeper that stands still sees it when it goes on.
    let still = scenario.faults.iter().filter(|planned| {
        matches!(planned.fault, Fault::KeeperFrozen { on } if contest.holders.contains(&on.0))
            && contest.until >= planned.at
            && contest.from <= planned.over() + KEEPER
    });
    let stands = still.map(|planned| (planned.over(), planned.at)).max();
    if let Some((over, at)) = stands
        && near(contest.from.saturating_sub(at) + ms(20), &by_hand)
    {
        limit = limit.max((over + KEEPER).saturating_sub(contest.from));
    }
    // What somebody removes right after the last beat of a brain that hangs is put back, though a peer may take it then.
    let removed = |fault: &Fault| {
        matches!(fault, Fault::VipRemoved { on, group }
            if *group == contest.group && contest.holders.contains(&on.0))
    };
    let hangs = |fault: &Fault| is_hung(fault) && fault.on().is_some_and(|on| contest.holders.contains(&on));
    if near(KEEPER, &removed) && near(HOLD + ms(50), &hangs) {
        limit = limit.max(KEEPER);
    }
    if near(soon, &is_storm) {
        limit = limit.max(dead * 2 + ms(500));
    }
    if near(soon, &is_torn) {
        limit = limit.max(setup.heartbeat * 2 + SAME_INSTANT + GRACE + round_trip(setup));
    }
    let blocked = near(soon, &is_blocked);
    // A silent node that echoes do not reach either may be dead, and a switch answer for it.
    let is_mute = |fault: &Fault| matches!(fault, Fault::EchoesBlocked);
    if blocked && (limit > hitless || near(end.unwrap_or(HAND) + soon, &is_mute)) {
        // Two that do not hear each other have nothing but ARP to go by, which anybody can send: until one of the two
        // faults is over, and then, if it is the other one, until the next announcement.
        let over = |kind: &dyn Fn(&Fault) -> bool| {
            let last = scenario.faults.iter().filter(|planned| {
                kind(&planned.fault) && contest.until >= planned.at && contest.from <= planned.over() + soon
            });
            last.map(Planned::over).max()
        };
        let other = |fault: &Fault| is_storm(fault) || is_torn(fault) || by_hand(fault) || is_mute(fault);
        // One that was started anew meanwhile has never been told whose MAC that is, and yields to nobody.
        let anew = |fault: &Fault| {
            let kind = is_hung(fault)
                || matches!(
                    fault,
                    Fault::DaemonKilled { .. }
                        | Fault::KeeperKilled { .. }
                        | Fault::KeeperFrozen { .. }
                        | Fault::PowerCut { .. }
                        | Fault::Stopped { .. }
                        | Fault::OtherFile { .. }
                );
            kind && fault.on().is_some_and(|on| contest.holders.contains(&on))
        };
        let passes = over(&is_blocked);
        let until =
            if near(ms(60_000), &anew) { passes } else { passes.into_iter().chain(over(&other)).min() };
        let until = until.unwrap_or_default();
        limit += until.saturating_sub(contest.from) + UNHEARD + GRACE + dead + setup.heartbeat * 2;
    }
    let unplugged = near(HOLD + ms(50), &is_unplugged);
    // Nodes that differ about the order may each think that it is their turn.
    let differ = near(dead, &|fault| matches!(fault, Fault::OtherFile { .. }));
    if blocked || unplugged || differ {
        limit = limit.max(SAME_INSTANT + GRACE + round_trip(setup));
    }
    if (unplugged || !limit.is_zero()) && near(HOLD + ms(50), &is_hung) {
        limit += HOLD + ms(50);
        // A hung brain that is asked to end with grace is waited for, though not for longer than the lease.
        if near(SHUTDOWN, &|fault| matches!(fault, Fault::OtherFile { .. } | Fault::Stopped { .. })) {
            limit += end.unwrap_or(SHUTDOWN).min(SHUTDOWN);
        }
    }
    if !limit.is_zero() {
        limit += slowest;
        // Whoever should let go and cannot is helped by the end of the lease.
        if near(end.unwrap_or(Duration::MAX), &|fault| {
            matches!(fault, Fault::UnmountsFail { .. } | Fault::KeeperFrozen { .. })
        }) {
            limit += end?;
        }
    }
    Some(limit)
}

/// A killed daemon is started again before its kernel has let go of what it held.
pub(crate) fn is_back_in_time(setup: &Setup, planned: &Planned) -> bool {
    lease_end(setup).is_none_or(|end| planned.lasts < end)
}

/// How long the client may be without an answer when a single fault has come over a cluster at rest; `None` where the
/// design promises nothing.
pub(crate) fn outage(setup: &Setup, planned: &Planned, group: &GroupSetup) -> Option<Duration> {
    let moves = outage_without_gate(setup, planned, group)?;
    if group.gate.is_zero() || moves.is_zero() {
        return Some(moves);
    }
    // While the program runs, questions become few; after it the segment is asked anew.
    let slow = setup.heartbeat.clamp(ms(50), ms(1000));
    Some(moves + group.gate + slow + patience(setup) * 2)
}

fn outage_without_gate(setup: &Setup, planned: &Planned, group: &GroupSetup) -> Option<Duration> {
    let hitless = group.hitless;
    let mount = round_trip(setup) * 2 + ms(2);
    match &planned.fault {
        // Detection at worst in the dead time, then what is left of the questions.
        Fault::PowerCut { .. } | Fault::CablePulled { .. } => Some(setup.dead() + patience(setup) + mount),
        // Started again before the lease has ended, it releases first, and is heard again when it has a brain.
        Fault::DaemonKilled { .. } | Fault::KeeperKilled { .. } if is_back_in_time(setup, planned) => {
            // What has been answered for long is asked for less often, and the first silence is looked at once more.
            let long = planned.lasts > setup.lease().unwrap_or_default() + ms(1000);
            let slow = if long { setup.heartbeat.clamp(ms(50), ms(1000)) * 2 } else { Duration::ZERO };
            Some(setup.dead() + BIRTH + slow + patience(setup) * 2 + mount)
        }
        // A killed daemon's silence is no death of its machine: its peers wait for the dead time, if that is longer than
        // what was left of the lease, which is renewed every third.
        Fault::DaemonKilled { .. } | Fault::KeeperKilled { .. } => {
            let least = (setup.lease * 2 / 3).saturating_sub(ms(60));
            let wait = setup.dead().saturating_sub(least);
            Some(wait + patience(setup) * 2 + mount)
        }
        Fault::BrainKilled { slow: false, .. } | Fault::BrainFrozen { .. } => Some(Duration::ZERO),
        Fault::Stopped { .. } => Some(mount),
        Fault::Drained { .. } | Fault::Switchover { .. } => {
            Some(if hitless { Duration::ZERO } else { mount })
        }
        // As if it were stopped; but where nobody else may hold the group, it is kept.
        Fault::ServiceFails { .. } => match group.check {
            GroupCheck::Fault if group.order.len() > 1 => Some(mount),
            GroupCheck::Demote if group.order.len() > 1 && !hitless => Some(mount),
            GroupCheck::Fault if group.release_unhealthy => None,
            GroupCheck::None | GroupCheck::Fault | GroupCheck::Demote => Some(Duration::ZERO),
        },
        Fault::HeartbeatsBlocked
        | Fault::HeartbeatsBlockedOneWay { .. }
        | Fault::EchoesBlocked
        | Fault::CrossLinkCut
        | Fault::SlowSideHangs { .. }
        | Fault::Forgery
        | Fault::VipAdded { .. } => Some(Duration::ZERO),
        _ => None,
    }
}
