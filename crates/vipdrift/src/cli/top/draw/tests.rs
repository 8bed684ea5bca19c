//! What is seen, as text: colours are left out, so whatever must be understood must be a word.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::Color;
use vipdrift_control::Status;

use super::super::link::Update;
use super::super::{examples, keys};
use super::*;

const LOOK: Look = Look { colour: true, unicode: true };

/// A model of a status that was told just now, with events.
fn model(status: Status) -> (Model, Now) {
    let now = Now { instant: Instant::now(), wall: examples::NOW.parse().expect("a moment") };
    let mut model = Model::new(Duration::from_millis(500));
    model.take_status(status, now.instant);
    model.take(Update::Past(examples::events(9)), now.instant);
    (model, now)
}

fn press(model: &mut Model, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\t' => KeyCode::Tab,
            '\n' => KeyCode::Enter,
            key => KeyCode::Char(key),
        };
        keys::press(model, KeyEvent::from(code), Instant::now());
    }
}

fn buffer(model: &Model, now: Now, look: Look, (columns, lines): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).expect("a terminal");
    terminal.draw(|frame| draw(model, now, look, frame)).expect("drawn");
    terminal.backend().buffer().clone()
}

/// The screen as text, without the blanks at the ends of lines.
fn screen(model: &Model, now: Now, look: Look, size: (u16, u16)) -> String {
    let buffer = buffer(model, now, look, size);
    let mut text = String::new();
    for y in 0..size.1 {
        let line: String = (0..size.0).map(|x| buffer[(x, y)].symbol()).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Compared line by line, so that a difference shows its place.
fn assert_screen(seen: &str, expected: &str) {
    assert!(seen == expected, "seen:\n{seen}\nexpected:\n{expected}");
}

#[test]
fn all_is_well() {
    let (model, now) = model(examples::well());
    assert_screen(
        &screen(&model, now, LOOK, (80, 24)),
        "\
alpha of cluster edge   vipdrift 0.1.0                                   healthy
timers late p50 52 µs, p99.9 120 µs, max 1.3 ms; 1 brain start; real time

✓ all is well: 2 groups held, 2 peers alive

  GROUP     alpha      bravo      charlie      FOR  WHY
▸ web       ACTIVE     standby    standby      2 m  charlie silent, 192.0.2.100…
  mail      standby    ACTIVE     standby      3 h  bravo holds it

web       active here for 2 m, term 3: charlie silent, 192.0.2.100 not answered
VIPs      192.0.2.100/24 on eth0 mounted, 2001:db8::100/64 on eth0 mounted
check     http passing for 2 m: status 200

  NODE     STATE    HEARS US   ROUND TRIP  HEARD  MISSED  CONFIG  HOLDS
› alpha    healthy  this node                                         1
  bravo    alive    yes            180 µs    now       0  same        1
  charlie  alive    yes            180 µs    now       0  same        0

     AGO  GROUP  WHAT HAPPENED, THE LATEST FIRST
 2 m ago  web    standby → active: charlie silent, 192.0.2.100 not answered
 3 m ago         charlie is heard again (8)
 3 m ago         warning: charlie is heard again (7)

↑↓ select   Tab nodes   s switchover   d drain   u undrain   ? help   q quit
",
    );
    assert_screen(
        &screen(&model, now, LOOK, (60, 15)),
        "\
alpha of cluster edge   vipdrift 0.1.0               healthy
✓ all is well: 2 groups held, 2 peers alive
  GROUP     alpha      bravo      charlie      FOR
▸ web       ACTIVE     standby    standby      2 m
  mail      standby    ACTIVE     standby      3 h
web       active here for 2 m, term 3: charlie silent,
          192.0.2.100 not answered
VIPs      192.0.2.100/24 on eth0 mounted, 2001:db8::100/64 …
  NODE     STATE    HEARS US   ROUND TRIP  HEARD  CONFIG
› alpha    healthy  this node
  bravo    alive    yes            180 µs    now  same
  charlie  alive    yes            180 µs    now  same
 2 m ago  web    standby → active: charlie silent, 192.0.2.…
 3 m ago         charlie is heard again (8)
↑↓ select   Tab nodes   s switchover   ? help   q quit
",
    );
}

#[test]
fn much_is_wrong() {
    let (model, now) = model(examples::status());
    assert_screen(
        &screen(&model, now, LOOK, (80, 24)),
        "\
alpha of cluster edge   vipdrift 0.1.0                                  IN FAULT
timers late p50 52 µs, p99.9 120 µs, max 1.3 ms; 1 brain start; real time

! held by no node that is known: mail
! mail: 00:00:5e:00:53:01 answers for a VIP
  and 4 more

  GROUP     alpha      bravo      charlie      FOR  WHY
▸ web       ACTIVE     standby    (active)     2 m  charlie silent, 192.0.2.100…
  mail      FAULT      standby    (standby)    3 h  eth1 has no carrier

web       active here for 2 m, term 3: charlie silent, 192.0.2.100 not answered
VIPs      192.0.2.100/24 on eth0 mounted, 2001:db8::100/64 on eth0 mounted
check     load FAILING (demotes) for 2 m: exit status 1: load 90

  NODE     STATE     HEARS US   ROUND TRIP     HEARD  MISSED  CONFIG     HOLDS
› alpha    IN FAULT  this node                                               1
  bravo    alive     yes            180 µs       now       0  DIFFERENT      0
  charlie  SILENT    -                   -  12 s ago     123  same           -

 2 m ago  web    standby → active: charlie silent, 192.0.2.100 not answered
 3 m ago         charlie is heard again (8)

↑↓ select   Tab nodes   s switchover   d drain   u undrain   ? help   q quit
",
    );
    assert_screen(
        &screen(&model, now, LOOK, (60, 15)),
        "\
alpha of cluster edge   vipdrift 0.1.0              IN FAULT
! held by no node that is known: mail
! mail: 00:00:5e:00:53:01 answers for a VIP
  and 4 more
  GROUP     alpha      bravo      charlie      FOR
▸ web       ACTIVE     standby    (active)     2 m
  mail      FAULT      standby    (standby)    3 h
web       active here for 2 m, term 3: charlie silent, 192.…
  NODE     STATE     HEARS US      HEARD  CONFIG
› alpha    IN FAULT  this node
  bravo    alive     yes             now  DIFFERENT
  charlie  SILENT    -          12 s ago  same
 2 m ago  web    standby → active: charlie silent, 192.0.2.…
 3 m ago         charlie is heard again (8)
↑↓ select   Tab nodes   s switchover   ? help   q quit
",
    );
}

#[test]
fn a_hundred_groups_are_scrolled() {
    let (mut model, now) = model(examples::many(100));
    press(&mut model, &"j".repeat(41));
    assert_screen(
        &screen(&model, now, LOOK, (80, 24)),
        "\
alpha of cluster edge   vipdrift 0.1.0                                   healthy
timers late p50 52 µs, p99.9 120 µs, max 1.3 ms; 1 brain start; real time
✓ all is well: 100 groups held, 2 peers alive

  39-45 of 100  alpha      bravo      charlie      FOR  WHY
  group-038     standby    standby    ACTIVE       3 h  charlie holds it
  group-039     ACTIVE     standby    standby      3 h  alpha holds it
  group-040     standby    ACTIVE     standby      3 h  bravo holds it
▸ group-041     standby    standby    ACTIVE       3 h  charlie holds it
  group-042     ACTIVE     standby    standby      3 h  alpha holds it
  group-043     standby    ACTIVE     standby      3 h  bravo holds it
  group-044     standby    standby    ACTIVE       3 h  charlie holds it

group-041  active on charlie, standby here for 3 h, term 1: charlie holds it
VIPs      192.0.2.7/24 on eth1

  NODE     STATE    HEARS US   ROUND TRIP  HEARD  MISSED  CONFIG  HOLDS
› alpha    healthy  this node                                        34
  bravo    alive    yes            180 µs    now       0  same       33
  charlie  alive    yes            180 µs    now       0  same       33
 2 m ago  web    standby → active: charlie silent, 192.0.2.100 not answered
 3 m ago         charlie is heard again (8)

↑↓ select   Tab nodes   s switchover   d drain   u undrain   ? help   q quit
",
    );
    press(&mut model, "G");
    let end = screen(&model, now, LOOK, (60, 15));
    assert!(end.contains("99-100 of 100") && end.contains("▸ group-099"), "{end}");
}

#[test]
fn a_switchover_is_asked_for() {
    let (mut model, now) = model(examples::well());
    press(&mut model, "s");
    assert_screen(
        &screen(&model, now, LOOK, (60, 15)),
        "\
alpha of cluster edge   vipdrift 0.1.0               healthy
✓ all is well: 2 groups held, 2 peers alive
  GROUP     alpha      bravo      charlie      FOR
▸ web       ACTIVE     standby    standby      2 m
  mail      standby    ACTIVE     standby      3 h
web       ┌ Move web to ────────────────────────┐lent,
          │ ▸ 0  next     the next healthy node │
VIPs      │   1  bravo    standby               │8::100/64 …
  NODE    │   2  charlie  standby               │ CONFIG
› alpha   └─────────────────────────────────────┘
  bravo    alive    yes            180 µs    now  same
  charlie  alive    yes            180 µs    now  same
 2 m ago  web    standby → active: charlie silent, 192.0.2.…
 3 m ago         charlie is heard again (8)
↑↓ choose   Enter go on   Esc cancel
",
    );
    press(&mut model, "1");
    assert_screen(
        &screen(&model, now, LOOK, (60, 15)),
        "\
alpha of cluster edge   vipdrift 0.1.0               healthy
✓ all is well: 2 groups held, 2 peers alive
  GROUP     alpha      bravo      charlie      FOR
▸ web       ACTIVE     standby    standby      2 m
  mail      standby    ACTIVE     standby      3 h
web       active here for 2 m, term 3: charlie silent,
          192.0.2.100 not answered
  NODE     STATE    HEARS US   ROUND TRIP  HEARD  CONFIG
› alpha    healthy  this node
  bravo    alive    yes            180 µs    now  same
  charlie  alive    yes            180 µs    now  same
 2 m ago  web    standby → active: charlie silent, 192.0.2.…
 3 m ago         charlie is heard again (8)
Move web with 192.0.2.100/24 and 1 more from alpha to bravo?
y do it   any other key cancel
",
    );
    press(&mut model, "y");
    let later = Now { instant: now.instant + Duration::from_secs(3), ..now };
    let asked = screen(&model, later, LOOK, (80, 24));
    assert!(asked.contains("moving web to bravo ... "), "{asked}");
    model.take(Update::Outcome(Err("bravo is drained".into())), now.instant);
    let told = screen(&model, now, LOOK, (80, 24));
    assert!(told.contains("not done: bravo is drained\n"), "{told}");
    model.take(Update::Outcome(Ok("web moved to bravo in 3.1 ms".into())), now.instant);
    let told = screen(&model, now, LOOK, (80, 24));
    assert!(told.contains("\ndone: web moved to bravo in 3.1 ms\n"), "{told}");
}

#[test]
fn what_a_drain_will_do_is_said_before() {
    let (mut model, now) = model(examples::status());
    press(&mut model, "d");
    let asked = screen(&model, now, LOOK, (80, 24));
    let expected = "Drain alpha? It takes no group until it is undrained, over restarts too. web\n\
                    goes to the next healthy node.\ny do it   any other key cancel\n";
    assert!(asked.ends_with(expected), "{asked}");
    press(&mut model, "n\tjd");
    let asked = screen(&model, now, LOOK, (80, 24));
    assert!(
        asked.contains(
            "Drain bravo? It takes no group until it is undrained, over restarts too; it\nholds none now.\n"
        ),
        "{asked}"
    );
    press(&mut model, "nju");
    let asked = screen(&model, now, LOOK, (80, 24));
    assert!(asked.contains("Undrain charlie? (it is not drained now) It may hold groups again."), "{asked}");

    // Nobody else could take it.
    let mut alone = examples::well();
    alone.peers[0].groups[0].role = vipdrift_control::GroupRole::Fault;
    alone.peers[1].state = vipdrift_control::PeerState::Silent;
    let now = now.instant;
    let (mut model, when) = self::model(alone);
    press(&mut model, "d");
    let asked = screen(&model, Now { instant: now, ..when }, LOOK, (80, 24));
    assert!(asked.contains("too. No\nother node is ready to take web.\n"), "{asked}");
    press(&mut model, "ns1");
    let asked = screen(&model, when, LOOK, (80, 24));
    assert!(
        asked.contains(" from alpha to bravo? bravo is in fault,\nso this will be refused.\n"),
        "{asked}"
    );
    press(&mut model, "ns2");
    let asked = screen(&model, when, LOOK, (80, 24));
    assert!(asked.contains("charlie is not\nheard, so this will be refused.\n"), "{asked}");
}

#[test]
fn a_daemon_that_is_away_is_said_with_the_age_of_what_is_shown() {
    let (mut model, mut now) = model(examples::well());
    model.take(Update::Lost("no such file or directory".into()), now.instant);
    now.instant += Duration::from_secs(12);
    let seen = screen(&model, now, LOOK, (80, 24));
    let mut lines = seen.lines();
    assert_eq!(
        lines.next(),
        Some("alpha of cluster edge   vipdrift 0.1.0                   NOT REACHABLE, 12 s old")
    );
    assert!(
        seen.contains("\n! the daemon is not reachable: no such file or directory; asked again every\n"),
        "{seen}"
    );
    assert!(!seen.contains("all is well"), "{seen}");
    // What was known is still there.
    assert!(seen.contains("▸ web       ACTIVE"), "{seen}");
    let small = screen(&model, now, LOOK, (60, 15));
    assert!(small.lines().next().is_some_and(|line| line.ends_with("NOT REACHABLE, 12 s old")), "{small}");
}

#[test]
fn many_nodes_on_a_narrow_screen() {
    let mut status = examples::well();
    let peer = status.peers[0].clone();
    status.peers =
        (1..9).map(|n| vipdrift_control::Peer { node: format!("node-{n}"), ..peer.clone() }).collect();
    status.groups[1].active_node = None;
    let (mut model, now) = model(status);
    let seen = screen(&model, now, LOOK, (60, 15));
    assert!(seen.contains("  GROUP     ACTIVE ON  alpha      node-1       FOR  +7 nodes\n"), "{seen}");
    assert!(seen.contains("▸ web       alpha      ACTIVE     standby      2 m\n"), "{seen}");
    assert!(seen.contains("  mail      NOBODY     standby    ACTIVE       3 h\n"), "{seen}");
    // The node that is selected is among them.
    press(&mut model, "\tjjjjj");
    let seen = screen(&model, now, LOOK, (60, 15));
    assert!(seen.contains("  GROUP     ACTIVE ON  node-4     node-5       FOR  +7 nodes\n"), "{seen}");
    assert!(seen.contains("▸ node-5"), "{seen}");
}

#[test]
fn without_colours_and_without_unicode_the_same_is_said() {
    let (mut model, now) = model(examples::status());
    press(&mut model, "?");
    let plain = Look { colour: false, unicode: true };
    for size in [(80, 24), (60, 15)] {
        assert_eq!(screen(&model, now, plain, size), screen(&model, now, LOOK, size));
        let cells = buffer(&model, now, plain, size).content;
        assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }
    let cells = buffer(&model, now, LOOK, (80, 24)).content;
    assert!(cells.iter().any(|cell| cell.fg == Color::Red), "where they are wanted, there are some");

    let ascii = Look { colour: true, unicode: false };
    let seen = screen(&model, now, ascii, (80, 24));
    assert!(seen.is_ascii(), "{seen}");
    press(&mut model, "q");
    let seen = screen(&model, now, ascii, (80, 24));
    assert!(seen.is_ascii() && seen.contains("> web       ACTIVE     standby    (active)"), "{seen}");
    assert!(seen.contains("standby > active: charlie silent") && seen.contains("52 us"), "{seen}");
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let models = [examples::well(), examples::status(), examples::many(100)];
    for status in models {
        for keys in ["", "?", "s", "s1", "d", "\tjjd", "?jjjjj"] {
            let (mut model, now) = model(status.clone());
            press(&mut model, keys);
            for size in [(1, 1), (2, 9), (9, 2), (20, 3), (30, 8), (79, 23), (200, 60)] {
                let seen = screen(&model, now, LOOK, size);
                assert_eq!(seen.lines().count(), usize::from(size.1));
            }
            model.take(Update::Lost("gone".into()), now.instant);
            for lines in 1..40 {
                let seen = screen(&model, now, LOOK, (40, lines));
                assert!(lines < 3 || seen.contains("NOT REACHABLE"), "{keys} {lines}:\n{seen}");
            }
        }
    }
}
