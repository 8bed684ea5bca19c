//! Two kernels that see each other hold the same VIP only after something that can explain it, and never for longer
//! than that explains.

use std::time::Duration;

use super::{Finding, Invariant, Sight, broken_everywhere};
use crate::bounds::{self, Contest};
use crate::figures::Figures;
use crate::scenario::NAMES;
use crate::world::World;

#[derive(Default)]
pub(super) struct TwoHolders {
    /// For each VIP, the contest that goes on.
    open: Vec<Option<Contest>>,
    longest: Duration,
    count: u64,
}

/// Who holds the VIP of those that see each other.
pub(super) fn contestants(world: &World, vip: usize) -> Vec<usize> {
    let holders: Vec<usize> = world.holders(vipdrift_core::VipIndex(vip)).collect();
    if holders.len() < 2 {
        return vec![];
    }
    let seen = |a: usize| holders.iter().any(|&b| b != a && world.see_each_other(a, b));
    holders.iter().copied().filter(|&a| seen(a)).collect()
}

impl TwoHolders {
    fn judge(&mut self, world: &World, contest: &Contest) -> Finding {
        let lasted = contest.until - contest.from;
        self.longest = self.longest.max(lasted);
        let Some(limit) = bounds::two_holders(&world.scenario, contest) else { return Ok(()) };
        if lasted <= limit {
            return Ok(());
        }
        let names: Vec<&str> = contest.holders.iter().map(|&host| NAMES[host]).collect();
        broken_everywhere(format!(
            "{} held by {} for {lasted:?}, at most {limit:?} (from {:?})",
            crate::scenario::group_name(contest.group),
            names.join(" and "),
            contest.from
        ))
    }
}

impl Invariant for TwoHolders {
    fn name(&self) -> &'static str {
        "two-holders"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        if !matches!(sight, Sight::Scene | Sight::Settled | Sight::Rested { .. }) {
            return Ok(());
        }
        self.open.resize(world.vips.len(), None);
        for vip in 0..world.vips.len() {
            let holders = contestants(world, vip);
            let (mut goes_on, mut begun) = (false, Duration::ZERO);
            let orphans: Vec<usize> =
                holders.iter().copied().filter(|&host| world.hosts[host].keeper.is_none()).collect();
            if let Some(mut contest) = self.open[vip].take() {
                contest.until = world.now;
                self.judge(world, &contest)?;
                if contest.holders == holders && contest.orphans == orphans {
                    self.open[vip] = Some(contest);
                    continue;
                }
                // Others take part: it is the same contest while two that held it still do.
                goes_on = contest.holders.iter().filter(|host| holders.contains(host)).count() > 1;
                begun = contest.from;
            }
            if !holders.is_empty() {
                let (from, until) = (if goes_on { begun } else { world.now }, world.now);
                let group = world.vips[vip].0;
                self.count += 1;
                self.open[vip] = Some(Contest { group, holders, orphans, from, until });
            }
        }
        Ok(())
    }

    fn figures(&self, figures: &mut Figures) {
        figures.contests += self.count;
        figures.longest_contest = figures.longest_contest.max(self.longest);
    }
}
