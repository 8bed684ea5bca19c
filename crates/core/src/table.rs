//! What a node does in every state, whatever happens: one table, each cell of it tried.

use std::collections::BTreeSet;
use std::time::Duration;

use vipdrift_wire::heartbeat::{Keys, Message, Role, WordKind, encode};

use crate::bench::{ALPHA, Bench, CHARLIE, FOREIGN_MAC, HEARTBEAT, facts};
use crate::group::State;
use crate::{
    CheckIndex, Command, Drift, Event, GroupIndex, InterfaceIndex, LinkFacts, OccupiedPolicy, PathIndex,
    Plan, Scope, Switchover, Ticket, VipIndex,
};

/// Columns: where the node is. It is bravo; in the group's order alpha comes before it and charlie after it.
///
/// | | |
/// |---|---|
/// | free | standby, nobody holds the group, the VIPs have been asked for once; alpha is in fault |
/// | held | standby, charlie is active |
/// | mount | the keeper has been asked to mount |
/// | active | active |
/// | hand | active, charlie has been asked to mount first |
/// | prove | active until it was away; asking around |
/// | release | the keeper has been asked to unmount; charlie is the heir |
///
/// Cells: where it is then. `S` standby, `M` mounting, `A` active, `H` active and handing over, `P` proving,
/// `R` releasing, `X` ended. Where the event takes the keeper's answer for granted, that is in the event.
const TABLE: &str = "
event                                 | free | held | mount | active | hand | prove | release
timeout, though nothing is due        | S    | S    | M     | A      | H    | P     | R
link down                             | S    | S    | R     | R      | R    | R     | R
interface missing                     | S    | S    | R     | R      | R    | R     | R
subnet address lost                   | S    | S    | M     | A      | H    | P     | R
subnet address lost for long          | S    | S    | R     | R      | R    | R     | R
link reported again, unchanged        | S    | S    | M     | A      | H    | P     | R
alpha active in a later term          | S    | S    | R     | R      | R    | R     | R
alpha active in the same term         | S    | S    | R     | R      | R    | R     | R
charlie active in the same term       | S    | S    | R     | A      | H    | P     | R
charlie active in a later term        | S    | S    | R     | R      | H    | R     | R
charlie lets go, this node is heir    | S    | M    | M     | A      | A    | P     | R
charlie lets go, alpha is heir        | S    | S    | M     | A      | A    | P     | R
charlie lets go, nobody is heir       | S    | S    | M     | A      | A    | P     | R
charlie hands over without a gap      | M    | M    | M     | A      | H    | P     | R
charlie wants the group               | S    | S    | M     | R      | H    | P     | R
charlie's keeper holds                | S    | S    | M     | A      | H    | P     | R
charlie's keeper resigns              | S    | S    | M     | A      | A    | P     | R
charlie's lease ends                  | S    | S    | M     | A      | A    | P     | R
charlie's daemon makes way            | S    | S    | M     | A      | A    | P     | R
charlie says farewell                 | S    | S    | M     | A      | A    | P     | R
a heartbeat heard twice               | S    | S    | M     | A      | H    | P     | R
a heartbeat for somebody else         | S    | S    | M     | A      | H    | P     | R
foreign MAC claims a VIP              | S    | S    | R     | A      | H    | R     | R
alpha, not heard, claims a VIP        | S    | S    | R     | A      | H    | R     | R
charlie claims a VIP                  | S    | S    | R     | A      | H    | R     | R
charlie claims both VIPs              | S    | S    | R     | A      | H    | R     | R
drain                                 | S    | S    | R     | R      | H    | R     | R
undrain                               | S    | S    | M     | A      | H    | P     | R
switchover to charlie                 | S    | S    | M     | R      | H    | P     | R
switchover to nobody known            | S    | S    | M     | A      | H    | P     | R
shutdown                              | X    | X    | R     | R      | R    | R     | R
clock gap                             | S    | S    | P     | P      | P    | P     | R
keeper gone                           | X    | X    | X     | X      | X    | X     | X
applied: all is mounted               | R    | R    | A     | A      | H    | P     | R
applied: nothing is mounted           | S    | S    | R     | P      | P    | P     | S
applied: one VIP is mounted           | R    | R    | R     | P      | P    | P     | R
applied in part: one VIP is mounted   | S    | S    | M     | A      | H    | P     | R
applied: failed                       | S    | S    | R     | P      | P    | P     | S
applied: an old plan                  | S    | S    | M     | A      | H    | P     | R
VIP removed and mounted again         | S    | S    | M     | A      | H    | P     | R
VIP added and unmounted again         | S    | S    | M     | A      | H    | P     | R
required check fails                  | S    | S    | R     | R      | R    | R     | R
demoting check fails                  | S    | S    | M     | R      | H    | P     | R
unknown check fails                   | S    | S    | M     | A      | H    | P     | R
slow side stuck                       | S    | S    | M     | A      | H    | P     | R
echo reply                            | S    | S    | M     | A      | H    | P     | R
datagram: garbage                     | S    | S    | M     | A      | H    | P     | R
datagram: wrong key                   | S    | S    | M     | A      | H    | P     | R
datagram: another cluster             | S    | S    | M     | A      | H    | P     | R
datagram: from no known address       | S    | S    | M     | A      | H    | P     | R
datagram: from another's address      | S    | S    | M     | A      | H    | P     | R
datagram: cut short                   | S    | S    | M     | A      | H    | P     | R
frame: garbage                        | S    | S    | M     | A      | H    | P     | R
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Free,
    Held,
    Mount,
    Active,
    Hand,
    Prove,
    Release,
}

impl Column {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Free, "free"),
        (Self::Held, "held"),
        (Self::Mount, "mount"),
        (Self::Active, "active"),
        (Self::Hand, "hand"),
        (Self::Prove, "prove"),
        (Self::Release, "release"),
    ];

    /// Brings a node there. With `alpha_silent`, alpha has been silent for long.
    fn reach(self, alpha_silent: bool) -> Bench {
        let switchover = if self == Self::Hand { Switchover::Hitless } else { Switchover::Strict };
        let mut bench = Bench::new(switchover, OccupiedPolicy::Wait);
        bench.obedient = self != Self::Mount;
        bench.puppets[ALPHA].state.role = Role::Fault;
        if matches!(self, Self::Free | Self::Held) {
            let charlie = &mut bench.puppets[CHARLIE].state;
            (charlie.role, charlie.mounted, charlie.term) = (Role::Active, true, 3);
        }
        bench.pass(HEARTBEAT * 2);
        if alpha_silent {
            bench.puppets[ALPHA].speaks = false;
        }
        bench.pass(HEARTBEAT * 10);
        bench.obedient = false;
        match self {
            Self::Held | Self::Mount | Self::Active => {}
            Self::Free => bench.say(CHARLIE, |state| (state.role, state.mounted) = (Role::Fault, false)),
            Self::Hand | Self::Release => bench.give(Event::Command(Command::Switchover {
                ticket: Ticket(100),
                group: GroupIndex(0),
                to: Some("charlie".into()),
            })),
            Self::Prove => bench.give(Event::ClockGap { missing: Duration::from_secs(1) }),
        }
        assert!(self.is_where(&bench), "{self:?}: {:?}", bench.state());
        bench.done = crate::bench::Done::default();
        bench
    }

    fn is_where(self, bench: &Bench) -> bool {
        let held = bench.node.holder(0).is_some();
        match self {
            Self::Free => letter(bench) == 'S' && !held && bench.node.groups[0].occupancy.is_asking(),
            Self::Held => letter(bench) == 'S' && held,
            Self::Mount => letter(bench) == 'M',
            Self::Active => letter(bench) == 'A',
            Self::Hand => letter(bench) == 'H',
            Self::Prove => letter(bench) == 'P',
            Self::Release => letter(bench) == 'R',
        }
    }
}

/// Where a node is, as in the table.
fn letter(bench: &Bench) -> char {
    if bench.done.exited {
        return 'X';
    }
    match bench.state() {
        State::Standby => 'S',
        State::Mounting { .. } => 'M',
        State::Active if bench.node.groups[0].handover.is_some() => 'H',
        State::Active => 'A',
        State::Proving { .. } => 'P',
        State::Releasing { .. } => 'R',
    }
}

/// Makes the event of a row happen; false when there is no such row.
fn happen(row: &str, bench: &mut Bench) -> bool {
    let changed = |change: fn(&mut LinkFacts)| {
        let mut facts = facts();
        change(&mut facts);
        Event::Link { interface: InterfaceIndex(0), facts }
    };
    let own = bench.node.config.id;
    let alpha = bench.puppets[ALPHA].id;
    let reign = bench.node.groups[0].reign;
    let plan = bench.plan.0;
    let all = || BTreeSet::from([VipIndex(0), VipIndex(1)]);
    let charlies_mac = bench.puppets[CHARLIE].mac;
    let alphas_mac = bench.puppets[ALPHA].mac;
    match row {
        "timeout, though nothing is due" => bench.timeout(),
        "link down" => bench.give(changed(|facts| facts.running = false)),
        "interface missing" => {
            bench.give(Event::Link { interface: InterfaceIndex(0), facts: LinkFacts::default() });
        }
        "subnet address lost" => bench.give(changed(|facts| facts.addresses.clear())),
        "subnet address lost for long" => {
            bench.give(changed(|facts| facts.addresses.clear()));
            bench.pass(Duration::from_millis(220));
        }
        "link reported again, unchanged" => bench.give(changed(|_| {})),
        "alpha active in a later term" => active(bench, ALPHA, reign + 1),
        "alpha active in the same term" => active(bench, ALPHA, reign),
        "charlie active in the same term" => active(bench, CHARLIE, reign),
        "charlie active in a later term" => active(bench, CHARLIE, reign + 1),
        "charlie lets go, this node is heir" => lets_go(bench, Some(own)),
        "charlie lets go, alpha is heir" => {
            // Who can take it, this time.
            bench.say(ALPHA, |state| state.role = Role::Standby);
            lets_go(bench, Some(alpha));
        }
        "charlie lets go, nobody is heir" => lets_go(bench, None),
        "charlie hands over without a gap" => bench.say(CHARLIE, |state| {
            (state.role, state.mounted, state.hitless, state.heir) = (Role::Active, true, true, Some(own));
            state.term = reign.min(1);
        }),
        "charlie wants the group" => {
            let charlie = bench.puppets[CHARLIE].id;
            bench.say(CHARLIE, |state| {
                (state.role, state.mounted) = (Role::Standby, false);
                (state.claiming, state.heir) = (true, Some(charlie));
            });
        }
        "charlie's keeper holds" => {
            bench.word(CHARLIE, WordKind::Holding { at_most: Duration::from_millis(250) });
        }
        "charlie's keeper resigns" => bench.word(CHARLIE, WordKind::Resigned),
        "charlie's lease ends" => {
            bench.word(CHARLIE, WordKind::LeaseEnds { within: Duration::from_secs(2) });
        }
        "charlie's daemon makes way" => {
            bench.word(CHARLIE, WordKind::Absent { at_most: Duration::from_secs(30) });
        }
        "charlie says farewell" => {
            let charlie = &mut bench.puppets[CHARLIE];
            let mut farewell = charlie.heartbeat(own);
            farewell.leaving = true;
            give_datagram(
                bench,
                Some(CHARLIE),
                &encode(&Message::Heartbeat(farewell), &crate::bench::keys()),
            );
        }
        "a heartbeat heard twice" => {
            bench.speak(CHARLIE);
            bench.puppets[CHARLIE].sequence -= 1;
            bench.speak(CHARLIE);
        }
        "a heartbeat for somebody else" => {
            let bytes = heartbeat(bench, |_| {}, |heartbeat| heartbeat.receiver = heartbeat.sender);
            give_datagram(bench, Some(CHARLIE), &bytes);
        }
        "foreign MAC claims a VIP" => bench.claim(FOREIGN_MAC, true),
        "alpha, not heard, claims a VIP" => bench.claim(alphas_mac, true),
        "charlie claims a VIP" => bench.claim(charlies_mac, false),
        "charlie claims both VIPs" => {
            bench.claim(charlies_mac, false);
            bench.claim(charlies_mac, true);
        }
        "drain" => bench.give(Event::Command(Command::Drain { ticket: Ticket(1), scope: Scope::default() })),
        "undrain" => {
            bench.give(Event::Command(Command::Undrain { ticket: Ticket(1), scope: Scope::default() }))
        }
        "switchover to charlie" => switchover(bench, "charlie"),
        "switchover to nobody known" => switchover(bench, "zulu"),
        "shutdown" => bench.give(Event::Command(Command::Shutdown)),
        "clock gap" => bench.give(Event::ClockGap { missing: Duration::from_secs(5) }),
        "keeper gone" => bench.give(Event::KeeperGone),
        "applied: all is mounted" => {
            // In a release this is what an unmount that failed looks like.
            bench.applied(plan, all());
        }
        "applied: nothing is mounted" => bench.applied(plan, BTreeSet::new()),
        "applied: one VIP is mounted" => bench.applied(plan, BTreeSet::from([VipIndex(0)])),
        "applied in part: one VIP is mounted" => {
            bench.give(Event::Applied { plan, mounted: vec![VipIndex(1)], failed: vec![], complete: false })
        }
        "applied: failed" => bench.give(Event::Applied {
            plan,
            mounted: vec![],
            failed: vec![(VipIndex(0), "no such device".into())],
            complete: true,
        }),
        "applied: an old plan" => {
            let mounted = bench.mounted.clone();
            bench.applied(Plan(plan.0.saturating_sub(1)), mounted);
        }
        "VIP removed and mounted again" => {
            bench.give(Event::Drifted { vip: VipIndex(0), drift: Drift::Removed });
        }
        "VIP added and unmounted again" => {
            bench.give(Event::Drifted { vip: VipIndex(0), drift: Drift::Added });
        }
        "required check fails" => fails(bench, 0),
        "demoting check fails" => fails(bench, 1),
        "unknown check fails" => fails(bench, 2),
        "slow side stuck" => bench.give(Event::SlowSide { alive: false }),
        "echo reply" => bench.give(Event::EchoReply { from: [192, 0, 2, 13].into() }),
        "datagram: garbage" => give_datagram(bench, Some(CHARLIE), &[0xa5; 200]),
        "datagram: wrong key" => foreign_datagram(bench, &Keys::new("bench", b"another key", None)),
        "datagram: another cluster" => {
            foreign_datagram(bench, &Keys::new("elsewhere", b"0123456789abcdef", None));
        }
        "datagram: from no known address" => {
            let bytes = heartbeat(bench, take_it, |_| {});
            give_datagram(bench, None, &bytes);
        }
        "datagram: from another's address" => {
            let bytes = heartbeat(bench, take_it, |_| {});
            give_datagram(bench, Some(ALPHA), &bytes);
        }
        "datagram: cut short" => {
            let bytes = heartbeat(bench, take_it, |_| {});
            for length in 0..bytes.len() {
                give_datagram(bench, Some(CHARLIE), &bytes[..length]);
            }
        }
        "frame: garbage" => {
            for length in 0..80 {
                let bytes = vec![0xa5; length];
                bench.give(Event::Frame { interface: InterfaceIndex(0), bytes: &bytes });
            }
        }
        _ => return false,
    }
    true
}

fn active(bench: &mut Bench, puppet: usize, term: u64) {
    bench.say(puppet, |state| (state.role, state.mounted, state.term) = (Role::Active, true, term));
}

fn lets_go(bench: &mut Bench, heir: Option<vipdrift_wire::heartbeat::NodeId>) {
    bench.say(CHARLIE, |state| {
        (state.role, state.mounted, state.heir) = (Role::Fault, false, heir);
    });
}

fn fails(bench: &mut Bench, check: usize) {
    bench.give(Event::Check { check: CheckIndex(check), failing: Some("refused".into()) });
}

fn switchover(bench: &mut Bench, to: &str) {
    let command = Command::Switchover { ticket: Ticket(1), group: GroupIndex(0), to: Some(to.into()) };
    bench.give(Event::Command(command));
}

fn give_datagram(bench: &mut Bench, path: Option<usize>, bytes: &[u8]) {
    bench.give(Event::Datagram { path: path.map(PathIndex), bytes });
}

/// Active in a term beyond all others: believed, it would make anybody let go.
fn take_it(state: &mut vipdrift_wire::heartbeat::GroupState) {
    (state.role, state.mounted, state.term) = (Role::Active, true, 99);
}

/// A heartbeat of charlie's that is not what it seems.
fn heartbeat(
    bench: &mut Bench,
    say: impl FnOnce(&mut vipdrift_wire::heartbeat::GroupState),
    change: impl FnOnce(&mut vipdrift_wire::heartbeat::Heartbeat),
) -> Vec<u8> {
    let receiver = bench.node.config.id;
    let mut heartbeat = bench.puppets[CHARLIE].heartbeat(receiver);
    heartbeat.states_version += 1;
    if let Some(state) = heartbeat.states.as_mut().and_then(|states| states.groups.first_mut()) {
        state.version += 1;
        say(state);
    }
    change(&mut heartbeat);
    encode(&Message::Heartbeat(heartbeat), &crate::bench::keys())
}

fn foreign_datagram(bench: &mut Bench, keys: &Keys) {
    let receiver = bench.node.config.id;
    let mut heartbeat = bench.puppets[CHARLIE].heartbeat(receiver);
    if let Some(state) = heartbeat.states.as_mut().and_then(|states| states.groups.first_mut()) {
        take_it(state);
    }
    let bytes = encode(&Message::Heartbeat(heartbeat), keys);
    give_datagram(bench, Some(CHARLIE), &bytes);
}

/// The table's rows: name and cells.
fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut lines = TABLE.lines().filter(|line| !line.is_empty());
    let cells = |line: &'static str| -> Vec<&'static str> { line.split('|').map(str::trim).collect() };
    let head = lines.next().map(cells).expect("a head");
    let columns: Vec<&str> = Column::ALL.iter().map(|(_, name)| *name).collect();
    assert_eq!(head[1..], columns, "the table has every column");
    lines.map(|line| (cells(line)[0], cells(line)[1..].to_vec())).collect()
}

#[test]
fn every_event_in_every_state() {
    let mut wrong = Vec::new();
    for (row, cells) in rows() {
        assert_eq!(cells.len(), Column::ALL.len(), "{row}: a cell for each state");
        for ((column, name), cell) in Column::ALL.into_iter().zip(cells) {
            let mut bench = column.reach(row.starts_with("alpha, not heard"));
            assert!(happen(row, &mut bench), "no event is called {row}");
            let now = letter(&bench).to_string();
            if now != cell {
                wrong.push(format!("{row} / {name}: {now}, not {cell}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
