//! What holds whatever happens, tried with random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use vipdrift_wire::Mac;
use vipdrift_wire::heartbeat::{Message, Role, WordKind, encode};

use crate::bench::{Bench, FOREIGN_MAC, facts, keys};
use crate::occupancy::{Answer, Occupancy, Verdict};
use crate::timer::{Timer, TimerTable};
use crate::tuning::ROUNDS;
use crate::{
    CheckIndex, Command, Drift, Event, GroupIndex, InterfaceIndex, LinkFacts, OccupiedPolicy, PathIndex,
    Scope, Switchover, Ticket, Timestamp, VipIndex,
};

/// Something that happens to the node on the bench. Peers are 0 and 1.
#[derive(Debug, Clone)]
enum Op {
    Pass(u64),
    /// Time in which the node does not run.
    Late(u64),
    Timeout,
    Speak(usize),
    Silence(usize),
    Say {
        peer: usize,
        role: u8,
        term: u64,
        mounted: bool,
        claiming: bool,
        hitless: bool,
        demoted: bool,
        heir: Option<u8>,
    },
    Rebirth(usize),
    Farewell(usize),
    Holding(usize),
    Resigned(usize),
    LeaseEnds(usize),
    Absent(usize, u64),
    Claim {
        by: u8,
        v4: bool,
    },
    Link {
        running: bool,
        present: bool,
        subnet: bool,
    },
    Keeper(u8),
    Obedient(bool),
    Lost,
    Drifted(bool),
    Switchover(u8),
    Drain,
    Undrain,
    Check(usize, bool),
    ClockGap,
    Datagram(Vec<u8>),
    Frame(Vec<u8>),
    Echo(u8),
    Shutdown,
    KeeperGone,
}

fn op() -> impl Strategy<Value = Op> {
    let peer = 0usize..2;
    prop_oneof![
        8 => (0u64..250).prop_map(Op::Pass),
        1 => (0u64..600).prop_map(Op::Late),
        1 => Just(Op::Timeout),
        2 => peer.clone().prop_map(Op::Speak),
        2 => peer.clone().prop_map(Op::Silence),
        6 => (peer.clone(), 0u8..4, 0u64..6, any::<bool>(), any::<bool>(), any::<(bool, bool)>(), prop::option::of(0u8..4))
            .prop_map(|(peer, role, term, mounted, claiming, (hitless, demoted), heir)| Op::Say {
                peer, role, term, mounted, claiming, hitless, demoted, heir
            }),
        1 => peer.clone().prop_map(Op::Rebirth),
        1 => peer.clone().prop_map(Op::Farewell),
        1 => peer.clone().prop_map(Op::Holding),
        1 => peer.clone().prop_map(Op::Resigned),
        1 => peer.clone().prop_map(Op::LeaseEnds),
        1 => (peer, 0u64..4000).prop_map(|(peer, ms)| Op::Absent(peer, ms)),
        3 => (0u8..3, any::<bool>()).prop_map(|(by, v4)| Op::Claim { by, v4 }),
        2 => (prop::bool::weighted(0.8), prop::bool::weighted(0.9), prop::bool::weighted(0.9))
            .prop_map(|(running, present, subnet)| Op::Link { running, present, subnet }),
        3 => (0u8..4).prop_map(Op::Keeper),
        2 => any::<bool>().prop_map(Op::Obedient),
        1 => Just(Op::Lost),
        1 => any::<bool>().prop_map(Op::Drifted),
        2 => (0u8..5).prop_map(Op::Switchover),
        1 => Just(Op::Drain),
        2 => Just(Op::Undrain),
        3 => (0usize..3, any::<bool>()).prop_map(|(check, fails)| Op::Check(check, fails)),
        1 => Just(Op::ClockGap),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Op::Datagram),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(Op::Frame),
        1 => any::<u8>().prop_map(Op::Echo),
    ]
}

/// A history that may end with the end of the daemon.
fn history() -> impl Strategy<Value = Vec<Op>> {
    let end = prop_oneof![8 => Just(None), 1 => Just(Some(Op::Shutdown)), 1 => Just(Some(Op::KeeperGone))];
    (prop::collection::vec(op(), 1..60), end, prop::collection::vec(op(), 0..5)).prop_map(
        |(mut ops, end, after)| {
            ops.extend(end);
            ops.extend(after);
            ops
        },
    )
}

struct Trial {
    bench: Bench,
    tickets: u64,
    answers: BTreeMap<Ticket, usize>,
}

impl Trial {
    fn command(&mut self, command: impl FnOnce(Ticket) -> Command) {
        self.tickets += 1;
        self.bench.give(Event::Command(command(Ticket(self.tickets))));
    }

    fn apply(&mut self, op: Op) {
        let bench = &mut self.bench;
        match op {
            Op::Pass(ms) => bench.pass(Duration::from_millis(ms)),
            Op::Late(ms) => bench.now = bench.now + Duration::from_millis(ms),
            Op::Timeout => bench.timeout(),
            Op::Speak(peer) => bench.speak(peer),
            Op::Silence(peer) => bench.puppets[peer].speaks = !bench.puppets[peer].speaks,
            Op::Say { peer, role, term, mounted, claiming, hitless, demoted, heir } => {
                let ids = [bench.puppets[0].id, bench.node.config.id, bench.puppets[1].id];
                bench.say(peer, |state| {
                    state.role = [Role::Active, Role::Standby, Role::Fault, Role::Drained][usize::from(role)];
                    (state.term, state.mounted, state.claiming) = (term, mounted, claiming);
                    (state.hitless, state.demoted) = (hitless, demoted);
                    state.heir = heir.and_then(|heir| ids.get(usize::from(heir)).copied());
                });
            }
            Op::Rebirth(peer) => {
                let puppet = &mut bench.puppets[peer];
                (puppet.incarnation, puppet.sequence) = (puppet.incarnation + 2, 0);
                bench.speak(peer);
            }
            Op::Farewell(peer) => {
                let mut farewell = bench.puppets[peer].heartbeat(bench.node.config.id);
                farewell.leaving = true;
                let bytes = encode(&Message::Heartbeat(farewell), &keys());
                bench.give(Event::Datagram { path: Some(PathIndex(peer)), bytes: &bytes });
            }
            Op::Holding(peer) => bench.word(peer, WordKind::Holding { at_most: Duration::from_millis(250) }),
            Op::Resigned(peer) => bench.word(peer, WordKind::Resigned),
            Op::LeaseEnds(peer) => bench.word(peer, WordKind::LeaseEnds { within: Duration::from_secs(2) }),
            Op::Absent(peer, ms) => {
                bench.word(peer, WordKind::Absent { at_most: Duration::from_millis(ms) });
            }
            Op::Claim { by, v4 } => {
                let mac = [bench.puppets[0].mac, bench.puppets[1].mac, FOREIGN_MAC][usize::from(by)];
                bench.claim(mac, v4);
            }
            Op::Link { running, present, subnet } => {
                let mut facts = if present { facts() } else { LinkFacts::default() };
                facts.running &= running;
                if !subnet {
                    facts.addresses.clear();
                }
                bench.give(Event::Link { interface: InterfaceIndex(0), facts });
            }
            Op::Keeper(how) => bench.keeper_answers(how),
            Op::Obedient(yes) => bench.obedient = yes,
            Op::Lost => {
                let plan = bench.plan.0;
                bench.applied(plan, BTreeSet::new());
            }
            Op::Drifted(removed) => {
                let drift = if removed { Drift::Removed } else { Drift::Added };
                bench.give(Event::Drifted { vip: VipIndex(1), drift });
            }
            Op::Switchover(to) => {
                let to = [None, Some("alpha"), Some("bravo"), Some("charlie"), Some("zulu")][usize::from(to)];
                let (group, to) = (GroupIndex(usize::from(to == Some("zulu"))), to.map(str::to_owned));
                self.command(|ticket| Command::Switchover { ticket, group, to });
            }
            Op::Drain => self.command(|ticket| Command::Drain { ticket, scope: Scope::default() }),
            Op::Undrain => self.command(|ticket| Command::Undrain { ticket, scope: Scope::default() }),
            Op::Check(check, fails) => {
                let failing = fails.then(|| "refused".to_owned());
                bench.give(Event::Check { check: CheckIndex(check), failing });
            }
            Op::ClockGap => bench.give(Event::ClockGap { missing: Duration::from_secs(3) }),
            Op::Datagram(bytes) => bench.give(Event::Datagram { path: Some(PathIndex(0)), bytes: &bytes }),
            Op::Frame(bytes) => bench.give(Event::Frame { interface: InterfaceIndex(0), bytes: &bytes }),
            Op::Echo(last) => bench.give(Event::EchoReply { from: [192, 0, 2, last].into() }),
            Op::Shutdown => bench.give(Event::Command(Command::Shutdown)),
            Op::KeeperGone => bench.give(Event::KeeperGone),
        }
        self.look();
    }

    fn look(&mut self) {
        assert_eq!(self.bench.node.snapshot().groups.len(), 1);
        for (ticket, outcome) in std::mem::take(&mut self.bench.done.replies) {
            assert!(
                outcome.as_ref().is_ok_and(|text| !text.is_empty()) || outcome.is_err_and(|t| !t.is_empty())
            );
            *self.answers.entry(ticket).or_default() += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// The bench itself checks every action; see there.
    #[test]
    fn any_history_is_survived_and_every_command_answered_once(
        ops in history(),
        hitless in any::<bool>(),
        claims in any::<bool>(),
    ) {
        let switchover = if hitless { Switchover::Hitless } else { Switchover::Strict };
        let occupied = if claims { OccupiedPolicy::Claim } else { OccupiedPolicy::Wait };
        let bench = Bench::new(switchover, occupied);
        let mut trial = Trial { bench, tickets: 0, answers: BTreeMap::new() };
        for op in ops {
            trial.apply(op);
        }
        trial.bench.obedient = true;
        trial.bench.keeper_answers(0);
        let active = trial.bench.done.actions;
        trial.bench.pass(Duration::from_secs(5));
        let actions = trial.bench.done.actions - active;
        prop_assert!(actions < 20_000, "{actions} actions in 5 s");
        trial.look();
        for ticket in 1..=trial.tickets {
            prop_assert_eq!(trial.answers.get(&Ticket(ticket)), Some(&1), "answers to {}", ticket);
        }
    }

    #[test]
    fn a_node_that_is_brought_back_does_the_same(
        ops in history(),
        hitless in any::<bool>(),
        at in prop::collection::btree_set(0usize..60, 1..6),
    ) {
        let switchover = if hitless { Switchover::Hitless } else { Switchover::Strict };
        let bench = Bench::new(switchover, OccupiedPolicy::Wait);
        let mut trial = Trial { bench, tickets: 0, answers: BTreeMap::new() };
        for (number, op) in ops.into_iter().enumerate() {
            if at.contains(&number) {
                trial.bench.bring_back();
            }
            trial.apply(op);
        }
        trial.bench.pass(Duration::from_secs(5));
    }

    #[test]
    fn the_timer_table_is_a_sorted_list(
        steps in prop::collection::vec((0u8..4, 0usize..4, 0u64..50), 0..80),
    ) {
        let mut table = TimerTable::default();
        let mut model: BTreeMap<Timer, u64> = BTreeMap::new();
        for (kind, index, at) in steps {
            let timer = if index == 0 { Timer::Beat } else { Timer::Ask(index) };
            match kind {
                0 => {
                    table.set(timer, Timestamp::from_nanos(at));
                    model.insert(timer, at);
                }
                1 => {
                    table.set_sooner(timer, Timestamp::from_nanos(at));
                    let due = model.get(&timer).map_or(at, |old| at.min(*old));
                    model.insert(timer, due);
                }
                2 => {
                    table.cancel(timer);
                    model.remove(&timer);
                }
                _ => {
                    let due = model.iter().map(|(&timer, &due)| (due, timer)).min().filter(|due| due.0 <= at);
                    prop_assert_eq!(table.pop_due(Timestamp::from_nanos(at)), due.map(|(_, timer)| timer));
                    if let Some((_, timer)) = due {
                        model.remove(&timer);
                    }
                }
            }
            let next = model.values().min().copied();
            prop_assert_eq!(table.next().map(|deadline| deadline.at.as_nanos()), next);
        }
    }

    #[test]
    fn a_vip_is_free_only_after_enough_unanswered_questions(
        steps in prop::collection::vec((0u8..4, 0u64..5), 0..60),
    ) {
        let patience = Duration::from_millis(6);
        let (mut occupancy, mut now) = (Occupancy::default(), Timestamp::from_nanos(1));
        let (mut asking, mut unanswered, mut answered) = (false, Vec::new(), None);
        for (kind, ms) in steps {
            now = now + Duration::from_millis(ms);
            match kind {
                0 => {
                    occupancy.start(now);
                    (asking, unanswered, answered) = (true, Vec::new(), None);
                }
                1 => {
                    occupancy.asked(now);
                    unanswered.push(now);
                }
                2 => {
                    let answer = Answer { mac: Mac([2; 6]), vip: VipIndex(0), at: now };
                    occupancy.answered(answer, ms > 2);
                    unanswered.clear();
                    answered = Some(answer);
                }
                _ => {
                    occupancy.stop();
                    asking = false;
                }
            }
            let long = unanswered.first().is_some_and(|&first| now.since(first) >= patience);
            let free = asking && long && unanswered.len() >= usize::try_from(ROUNDS).unwrap_or(0);
            let verdict = occupancy.verdict(now, patience);
            prop_assert_eq!(verdict == Verdict::Free, free);
            if asking && !free {
                prop_assert_eq!(matches!(verdict, Verdict::Occupied(_)), answered.is_some());
            }
        }
    }
}
