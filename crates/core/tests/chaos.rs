//! Seeded disorder on a simulated LAN: faults drawn before the run, come and go, overlap; then all is well again.
//!
//! First safety: two hosts that see each other hold the same VIP only for a moment, and only when something has
//! happened that can explain it. Then liveness: a while after the last fault each VIP is held once, everybody knows
//! by whom, and nothing moves any more.
//!
//! To repeat a run: `VIPDRIFT_CHAOS=storm:4711 cargo test -p vipdrift-core --test chaos by_hand -- --nocapture`; a
//! range is `storm:0-9999` (with `VIPDRIFT_CHAOS_QUIET=1` only the seeds that failed are named).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use vipdrift_core::{RoleName, Start, Switchover, Timestamp};
use world::faults::{Fault, Scenario, Weather};
use world::{Contest, LEASE, World, name};

/// Time in which everything comes right after the last fault: a lease and a second for whoever waits for an old
/// holder's kernel, a planned move that has to be given up (3 s), mounts that are tried again (1 s, 2 s).
const RECOVERY: Duration = Duration::from_secs(5);
/// And then nothing moves.
const QUIET: Duration = Duration::from_secs(5);
/// Brains that a keeper has held back for a second are born by then.
const REBIRTH: Duration = Duration::from_millis(1100);

/// The two mount one after the other (the kernel's answer, a datagram, the other kernel's answer), and the holder goes
/// on for 20 ms more, for requests that have reached it.
const HITLESS: Duration = Duration::from_millis(20 + 5);

/// Two nodes that do not hear each other, or one just back that is still named as heir, may take a free VIP in the same
/// instant; each sees the other's announcement as soon as it has mounted, asks, and lets go at the next one.
const SAME_INSTANT: Duration = Duration::from_millis(50 + 1);
/// Holders that do not hear each other meet by their announcements, which go out every 5 s as long as they do not.
const UNHEARD: Duration = Duration::from_millis(5000 + 250);
/// A brain that stands still is killed by its keeper after this, and the next one needs a moment.
const HUNG: Duration = Duration::from_millis(250 + 50);
/// A keeper may be held up by the kernel, with the next plan behind the last.
const SLOWEST: Duration = Duration::from_millis(2 * 200);

#[derive(Debug, Default)]
struct Figures {
    runs: u64,
    simulated: Duration,
    timeouts: u64,
    most_timeouts: u64,
    most_actions: u64,
    longest_contest: Duration,
}

struct Run {
    scenario: Scenario,
    world: World,
    begun: Timestamp,
}

impl Run {
    fn new(scenario: Scenario) -> Self {
        let mut world = World::new(scenario.setup.clone());
        world.seed(scenario.seed);
        let begun = world.now;
        Self { scenario, world, begun }
    }

    fn until(&mut self, at: Duration) {
        let end = self.begun + at;
        let span = end.since(self.world.now);
        self.world.run(span);
    }

    fn faults(&mut self) {
        for host in 0..self.world.hosts.len() {
            self.world.start(host, Start::Fresh { drained: false });
        }
        let calm = Duration::from_secs(1);
        let planned = self.scenario.faults.clone();
        let mut steps: Vec<(Duration, usize, bool)> = Vec::new();
        for (index, planned) in planned.iter().enumerate() {
            steps.push((calm + planned.at, index, true));
            steps.push((calm + planned.at + planned.lasts, index, false));
        }
        steps.sort();
        for (at, index, comes) in steps {
            self.until(at);
            if comes {
                self.world.strike(&planned[index].fault);
            } else {
                self.world.repair(&planned[index].fault);
            }
        }
    }

    fn all_well(&mut self) {
        for host in 0..self.world.hosts.len() {
            self.world.thaw(host);
            self.world.start_again(host);
        }
        self.world.run(REBIRTH);
        for host in 0..self.world.hosts.len() {
            self.world.start_again(host);
            assert!(self.world.hosts[host].node.is_some(), "{} runs", name(host));
            self.world.repair(&Fault::Drained(host));
        }
    }

    fn check_settled(&self) {
        let world = &self.world;
        for group in 0..world.setup.groups {
            let holders = world.holders_of(group);
            let roles: Vec<RoleName> =
                world.hosts.iter().map(|h| h.node.as_ref().unwrap().snapshot().groups[group].role).collect();
            assert_eq!(holders.len(), 1, "holders of group {group}: {holders:?}, roles {roles:?}");
            let holder = holders[0];
            for (index, host) in world.hosts.iter().enumerate() {
                let snapshot = host.node.as_ref().unwrap().snapshot();
                let seen = &snapshot.groups[group];
                assert_eq!(seen.active_node, Some(name(holder)), "as {} sees it", name(index));
                let role = if index == holder { RoleName::Active } else { RoleName::Standby };
                assert_eq!(seen.role, role, "{}: {}", name(index), seen.reason);
                assert!(
                    snapshot.peers.iter().all(|peer| peer.hears_us && peer.last_heard.is_some()),
                    "{}: {:?}",
                    name(index),
                    snapshot.peers
                );
            }
        }
        for (index, host) in world.hosts.iter().enumerate() {
            assert!(host.open.is_empty(), "{} has not answered {:?}", name(index), host.open);
        }
    }

    fn check_quiet(&mut self) {
        let decisions = |world: &World| world.hosts.iter().map(|h| h.decisions.len()).collect::<Vec<_>>();
        let before = decisions(&self.world);
        self.world.run(QUIET);
        assert_eq!(decisions(&self.world), before, "nobody moves any more");
        self.check_settled();
    }

    /// When a fault of this kind was there, or had gone not longer than `after` ago.
    fn near(&self, contest: &Contest, after: Duration, kind: impl Fn(&Fault) -> bool) -> bool {
        let calm = Duration::from_secs(1);
        self.scenario.faults.iter().filter(|planned| kind(&planned.fault)).any(|planned| {
            let from = self.begun + calm + planned.at;
            contest.until >= from && contest.from <= from + planned.lasts + after
        })
    }

    fn check_contests(&self) {
        for contest in &self.world.contests {
            let lasted = contest.until.since(contest.from);
            let limit = self.longest(contest);
            assert!(lasted <= limit, "shared for {lasted:?}, at most {limit:?}: {contest:?}");
        }
    }

    /// How long a contest may last, for what has happened near it.
    fn longest(&self, contest: &Contest) -> Duration {
        let heartbeat = self.scenario.setup.heartbeat;
        let near = |after, kind: fn(&Fault) -> bool| self.near(contest, after, kind);
        let is_storm =
            |fault: &Fault| matches!(fault, Fault::Loss { .. } | Fault::Delay(_) | Fault::Twice { .. });
        let is_torn = |fault: &Fault| {
            matches!(
                fault,
                Fault::MachineFrozen(_)
                    | Fault::SilentCut(_)
                    | Fault::Partition { .. }
                    | Fault::OneWayCut(..)
            )
        };
        let is_unplugged = |fault: &Fault| matches!(fault, Fault::CablePulled(_));
        let is_blocked =
            |fault: &Fault| matches!(fault, Fault::HeartbeatsBlocked | Fault::HeartbeatsBlockedOneWay(..));

        let hitless = self.scenario.setup.switchover == Switchover::Hitless;
        let lost = near(LEASE, is_storm) || near(LEASE, is_torn) || near(LEASE, is_unplugged);
        if contest.orphan && (hitless || lost) {
            return LEASE;
        }
        let slow = near(SLOWEST, |fault| matches!(fault, Fault::SlowKeeper(_)));
        let soon = heartbeat * 3 + if slow { SLOWEST } else { Duration::ZERO };
        let mut limit = Duration::ZERO;
        if hitless {
            limit = limit.max(HITLESS);
        }
        if near(soon, is_storm) {
            limit = limit.max(heartbeat * 6 + Duration::from_millis(500));
        }
        if near(soon, is_torn) {
            limit = limit.max(heartbeat * 2 + Duration::from_millis(50));
        }
        let blocked = near(soon, is_blocked);
        if blocked && limit > HITLESS {
            limit += UNHEARD + heartbeat * 3;
        }
        let unplugged = near(HUNG, is_unplugged);
        if blocked || unplugged {
            limit = limit.max(SAME_INSTANT);
        }
        let is_hung = |fault: &Fault| matches!(fault, Fault::BrainFrozen(_) | Fault::BrainDies(_));
        if (unplugged || !limit.is_zero()) && near(HUNG, is_hung) {
            limit += HUNG;
        }
        if slow && !limit.is_zero() {
            limit += SLOWEST;
        }
        // Whoever should let go and cannot is helped by the end of the lease.
        if !limit.is_zero() && near(LEASE, |fault| matches!(fault, Fault::UnmountsFail(_))) {
            limit += LEASE;
        }
        limit
    }

    /// Nobody is busier than asking all day long would make it.
    fn check_busy(&self) {
        let seconds = self.world.now.since(self.begun).as_secs().max(1);
        for (index, host) in self.world.hosts.iter().enumerate() {
            let (timeouts, actions) = (host.timeouts / seconds, host.actions / seconds);
            assert!(timeouts < 1500 && actions < 3000, "{}: {timeouts}, {actions} each second", name(index));
        }
    }

    fn figures(&self, figures: &mut Figures) {
        let simulated = self.world.now.since(self.begun);
        figures.runs += 1;
        figures.simulated += simulated;
        for host in &self.world.hosts {
            figures.timeouts += host.timeouts;
            let seconds = simulated.as_secs().max(1);
            figures.most_timeouts = figures.most_timeouts.max(host.timeouts / seconds);
            figures.most_actions = figures.most_actions.max(host.actions / seconds);
        }
        for contest in &self.world.contests {
            figures.longest_contest = figures.longest_contest.max(contest.until.since(contest.from));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if std::env::var_os("VIPDRIFT_CHAOS_QUIET").is_some() {
                return;
            }
            eprintln!("{:?}:{} {:?}", self.scenario.weather, self.scenario.seed, self.scenario.setup);
            for planned in &self.scenario.faults {
                eprintln!("  {:?} for {:?}: {:?}", planned.at, planned.lasts, planned.fault);
            }
            for line in &self.world.log {
                eprintln!("    {line}");
            }
        }
    }
}

fn run(seed: u64, weather: Weather, figures: &mut Figures) {
    let mut run = Run::new(Scenario::draw(seed, weather));
    run.faults();
    run.all_well();
    run.world.run(RECOVERY);
    run.check_contests();
    run.check_settled();
    run.check_quiet();
    run.check_contests();
    run.check_busy();
    run.figures(figures);
}

fn run_all(weather: Weather, seeds: std::ops::Range<u64>) -> Figures {
    let mut figures = Figures::default();
    for seed in seeds {
        run(seed, weather, &mut figures);
    }
    figures
}

#[test]
fn a_node_that_is_brought_back_from_a_checkpoint_does_the_same() {
    for (weather, seeds) in [(Weather::Fair, 0..20), (Weather::Rough, 100..120), (Weather::Storm, 200..220)] {
        for seed in seeds {
            let mut run = Run::new(Scenario::draw(seed, weather));
            run.world.twins = Some(world::random::Random::new(seed));
            run.faults();
            run.all_well();
            run.world.run(RECOVERY);
        }
    }
}

#[test]
fn in_fair_weather_nobody_ever_shares_a_vip() {
    run_all(Weather::Fair, 0..105);
}

#[test]
fn in_rough_weather_vips_are_shared_for_moments_only() {
    run_all(Weather::Rough, 0..100);
}

#[test]
fn after_a_storm_everything_comes_right() {
    run_all(Weather::Storm, 0..100);
}

/// Runs what `VIPDRIFT_CHAOS` asks for; nothing without it.
#[test]
fn by_hand() {
    let Ok(wanted) = std::env::var("VIPDRIFT_CHAOS") else { return };
    let (weather, seeds) = wanted.split_once(':').expect("weather:seeds");
    let weather = match weather.to_lowercase().as_str() {
        "fair" => Weather::Fair,
        "rough" => Weather::Rough,
        "storm" => Weather::Storm,
        other => panic!("no weather called {other}"),
    };
    let (first, last) = seeds.split_once('-').unwrap_or((seeds, seeds));
    let (first, last): (u64, u64) = (first.parse().expect("seed"), last.parse().expect("seed"));
    let mut figures = Figures::default();
    let mut failed = Vec::new();
    for seed in first..=last {
        if let Err(error) = catch_unwind(AssertUnwindSafe(|| run(seed, weather, &mut figures))) {
            let text = error
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| error.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            failed.push((seed, text.unwrap_or_default()));
        }
    }
    println!("{figures:?}");
    for (seed, text) in &failed {
        println!("failed {seed}: {}", text.lines().collect::<Vec<_>>().join(" "));
    }
    assert!(failed.is_empty(), "{} of {} failed", failed.len(), last - first + 1);
}
