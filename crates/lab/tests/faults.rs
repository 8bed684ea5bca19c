//! Each fault does what its description says, and nothing of it is left when it is undone.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use vipdrift_lab::{Change, Client, GRACE, HEARTBEAT_PORT, Host, Lab, Record, StreamChange, tests};

tests![
    vip_moved_by_hand_is_followed,
    pulled_cable_takes_the_carrier,
    silent_cut_leaves_the_carrier,
    deaf_host_is_heard_and_mute_host_hears,
    lost_frames_are_a_share,
    blocked_heartbeats_leave_everything_else,
    partition_splits_and_heals,
    power_off_kills_and_power_on_restores,
    frozen_host_stands_still_and_goes_on,
    lease_runs_out_and_foreign_holder_is_seen,
    dead_service_resets_its_clients,
    undo_all_undoes_all,
];

const V4: &str = "192.0.2.100";
const V6: &str = "2001:db8::100";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// For what must not happen: as long as it is waited for in vain.
fn shortly() -> Instant {
    Instant::now() + Duration::from_millis(150)
}

/// Hosts alpha .11, bravo .12 and charlie .13.
fn three() -> (Lab, [Host; 3]) {
    let lab = Lab::new().unwrap();
    let hosts = ["alpha", "bravo", "charlie"].map(|name| {
        let number = lab.hosts().len() + 11;
        lab.host(name, &[&format!("192.0.2.{number}/24"), &format!("2001:db8::{number}/64")]).unwrap()
    });
    (lab, hosts)
}

/// Its own addresses.
fn own(host: &Host) -> [IpAddr; 2] {
    let number = 11 + ["alpha", "bravo", "charlie"].iter().position(|name| *name == host.name()).unwrap();
    [ip(&format!("192.0.2.{number}")), ip(&format!("2001:db8::{number}"))]
}

fn reaches(from: &Host, to: &Host) -> bool {
    let answers = own(to).map(|address| from.ask(address, soon()));
    answers.iter().all(|answer| answer.as_deref() == Some(to.name()))
}

fn cannot_reach(from: &Host, to: &Host) -> bool {
    own(to).iter().all(|&address| from.ask(address, shortly()).is_none())
}

fn add_vips(host: &Host) {
    host.add_address(&format!("{V4}/24")).unwrap();
    host.add_address(&format!("{V6}/64")).unwrap();
}

fn delete_vips(host: &Host) {
    host.delete_address(V4).unwrap();
    host.delete_address(V6).unwrap();
}

fn print(what: &str, client: &Client, since: Instant) {
    let (outage, lost) = (client.outage(since), client.lost_probes(since, Instant::now()));
    let late = if client.was_late(since) { ", the client itself was late" } else { "" };
    println!("{what}: outage {outage:?}, {lost} probes lost{late}");
}

fn vip_moved_by_hand_is_followed() {
    let (lab, [alpha, bravo, charlie]) = three();
    add_vips(&alpha);
    let start = Instant::now();
    let client = charlie.client(&[ip(V4), ip(V6)]).unwrap();
    for vip in client.vips() {
        assert!(client.wait_answer_by(vip, "alpha", start, soon()));
        let answered = StreamChange::Answered { by: "alpha".into() };
        assert!(client.wait_stream(vip, soon(), |events| events.iter().any(|event| event.what == answered)));
        assert_eq!(lab.observer().holders(vip), ["alpha"]);
        assert_eq!(client.neighbor(vip).unwrap(), Some(alpha.mac("eth0").unwrap()));
    }
    for (from, to) in [(&alpha, &bravo), (&bravo, &alpha)].into_iter().cycle().take(10) {
        let moved = Instant::now();
        delete_vips(from);
        add_vips(to);
        to.announce("eth0").unwrap();
        for vip in client.vips() {
            assert!(client.wait_answer_by(vip, to.name(), moved, soon()), "{vip} of {}", to.name());
            assert!(lab.observer().wait_holders(vip, &[to.name()], soon()));
            assert_eq!(lab.observer().two_holders(vip, moved), Duration::ZERO);
            assert_eq!(lab.observer().held_by(to.name(), vip, moved).len(), 1);
            assert_eq!(client.neighbor(vip).unwrap(), Some(to.mac("eth0").unwrap()));
            let record = client.record(vip).unwrap();
            assert!(record.first_answer_by(to.name(), moved).is_some());
            assert!(record.longest_outage(moved).duration >= Duration::from_micros(100));
        }
        for vip in client.vips() {
            // The new kernel knows nothing of the connection and says so.
            let reconnected = client.wait_stream(vip, soon(), |events| {
                let after: Vec<&StreamChange> =
                    events.iter().filter(|e| e.at > moved).map(|e| &e.what).collect();
                let broken = after.iter().position(|what| matches!(what, StreamChange::Broken(_)));
                let answered = StreamChange::Answered { by: to.name().into() };
                broken.is_some_and(|broken| after[broken..].contains(&&answered))
            });
            assert!(reconnected, "{vip} moved at {moved:?}: {:#?}", client.stream(vip));
        }
        print(&format!("moved to {}", to.name()), &client, moved);
    }
}

fn pulled_cable_takes_the_carrier() {
    let (lab, [alpha, bravo, _]) = three();
    add_vips(&alpha);
    assert!(alpha.carrier("eth0").unwrap() && reaches(&bravo, &alpha));
    alpha.unplug().unwrap();
    assert!(!alpha.carrier("eth0").unwrap());
    assert!(cannot_reach(&bravo, &alpha) && cannot_reach(&alpha, &bravo));
    assert_eq!(lab.observer().holders(ip(V4)), ["alpha"], "the kernel keeps the address");
    // A second holder is one that clients cannot reach beside the first.
    let since = Instant::now();
    add_vips(&bravo);
    assert!(lab.observer().wait_holders(ip(V4), &["alpha", "bravo"], soon()));
    assert!(lab.observer().two_holders(ip(V4), since) > Duration::ZERO);
    assert_eq!(lab.observer().two_reachable_holders(ip(V4), since), Duration::ZERO);
    alpha.plug().unwrap();
    assert!(alpha.carrier("eth0").unwrap());
    assert!(lab.observer().two_reachable_holders(ip(V4), since) > Duration::ZERO);
    // Before they are asked: IPv6 might take the common address as its own.
    delete_vips(&bravo);
    assert!(reaches(&bravo, &alpha) && reaches(&alpha, &bravo));
    let line = lab.observer().timeline();
    let changes: Vec<Change> =
        line.happenings().iter().filter(|h| h.host == "alpha").map(|h| h.change).collect();
    assert_eq!(changes.iter().filter(|c| matches!(c, Change::CutOff | Change::Back)).count(), 2);
}

fn silent_cut_leaves_the_carrier() {
    let (_lab, [alpha, bravo, charlie]) = three();
    assert!(reaches(&bravo, &alpha));
    alpha.cut().unwrap();
    assert!(alpha.carrier("eth0").unwrap());
    assert!(cannot_reach(&bravo, &alpha) && cannot_reach(&alpha, &bravo));
    assert!(reaches(&bravo, &charlie));
    // Plugging an end that is cut as well does not mend the cut.
    alpha.unplug().unwrap();
    alpha.plug().unwrap();
    assert!(alpha.carrier("eth0").unwrap() && cannot_reach(&bravo, &alpha));
    alpha.uncut().unwrap();
    assert!(reaches(&bravo, &alpha) && reaches(&alpha, &bravo));
}

/// A datagram from one host to another that needs no answer; true if it arrives.
fn passes(from: &Host, to: &Host, port: u16) -> bool {
    own(to).into_iter().all(|address| {
        let any = if address.is_ipv4() { "0.0.0.0" } else { "::" };
        let ear = to.run(|| UdpSocket::bind((any, port))).unwrap();
        let mouth = from.run(|| UdpSocket::bind((any, port))).unwrap();
        ear.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let deadline = shortly();
        while Instant::now() < deadline {
            mouth.send_to(b"hello", (address, port)).unwrap();
            if ear.recv(&mut [0; 16]).is_ok() {
                return true;
            }
        }
        false
    })
}

fn deaf_host_is_heard_and_mute_host_hears() {
    let (_lab, [alpha, bravo, _]) = three();
    // So that no neighbour has to be asked for.
    assert!(reaches(&alpha, &bravo) && reaches(&bravo, &alpha));
    alpha.deafen().unwrap();
    assert!(passes(&alpha, &bravo, 9) && !passes(&bravo, &alpha, 9));
    alpha.mend().unwrap();
    assert!(passes(&bravo, &alpha, 9));
    alpha.mute().unwrap();
    assert!(!passes(&alpha, &bravo, 9) && passes(&bravo, &alpha, 9));
    alpha.mend().unwrap();
    assert!(reaches(&alpha, &bravo) && reaches(&bravo, &alpha));
}

fn lost_frames_are_a_share() {
    let (_lab, [alpha, _, charlie]) = three();
    add_vips(&alpha);
    let start = Instant::now();
    let client = charlie.client(&[ip(V4)]).unwrap();
    assert!(client.wait_answer_by(ip(V4), "alpha", start, soon()));
    alpha.lose(30).unwrap();
    let lossy = Instant::now();
    let enough =
        |record: &Record| record.probes().iter().filter(|probe| probe.sent >= lossy).count() >= 1_000;
    assert!(client.wait_until(ip(V4), soon(), enough));
    let until = Instant::now();
    alpha.mend().unwrap();
    let mended = Instant::now();
    // Two crossings at 70 % leave 49 %.
    let (lost, answered) = (client.lost_probes(lossy, until), {
        let record = client.record(ip(V4)).unwrap();
        record.answered_by("alpha", lossy, until)
    });
    let share = lost * 100 / (lost + answered);
    assert!((35..=65).contains(&share), "{lost} lost, {answered} answered");
    println!("30 % each way: {share} % of the probes lost");
    let enough = |record: &Record| record.answered_by("alpha", mended, Instant::now()) >= 100;
    assert!(client.wait_until(ip(V4), soon(), enough));
    let record = client.record(ip(V4)).unwrap();
    let lost = record.lost(mended, Instant::now());
    assert!(lost < 20, "{lost} lost after the end of the fault");
}

fn blocked_heartbeats_leave_everything_else() {
    let (lab, [alpha, bravo, charlie]) = three();
    assert!(passes(&alpha, &bravo, HEARTBEAT_PORT));
    lab.block_heartbeats().unwrap();
    assert!(!passes(&alpha, &bravo, HEARTBEAT_PORT) && !passes(&bravo, &charlie, HEARTBEAT_PORT));
    assert!(passes(&alpha, &bravo, HEARTBEAT_PORT + 1) && reaches(&alpha, &bravo));
    // ARP and Neighbor Discovery pass: charlie has never been asked for anything.
    assert!(charlie.neighbor(own(&alpha)[0]).unwrap().is_none() && reaches(&charlie, &alpha));
    lab.unblock_heartbeats().unwrap();
    lab.block_heartbeats_between(&alpha, &bravo).unwrap();
    assert!(!passes(&alpha, &bravo, HEARTBEAT_PORT) && !passes(&bravo, &alpha, HEARTBEAT_PORT));
    assert!(passes(&alpha, &charlie, HEARTBEAT_PORT) && passes(&charlie, &bravo, HEARTBEAT_PORT));
    lab.unblock_heartbeats().unwrap();
    lab.block_heartbeats_from(&alpha, &bravo).unwrap();
    assert!(!passes(&alpha, &bravo, HEARTBEAT_PORT) && passes(&bravo, &alpha, HEARTBEAT_PORT));
    lab.unblock_heartbeats().unwrap();
    assert!(passes(&alpha, &bravo, HEARTBEAT_PORT));
}

fn partition_splits_and_heals() {
    let (lab, [alpha, bravo, charlie]) = three();
    let watcher = lab.host("watcher", &["192.0.2.50/24"]).unwrap();
    lab.partition(&[&[&alpha], &[&bravo, &charlie]]).unwrap();
    assert!(cannot_reach(&alpha, &bravo) && cannot_reach(&charlie, &alpha));
    assert!(reaches(&bravo, &charlie));
    for host in [&alpha, &bravo, &charlie] {
        assert_eq!(watcher.ask(own(host)[0], soon()).as_deref(), Some(host.name()));
    }
    lab.heal().unwrap();
    assert!(reaches(&alpha, &bravo) && reaches(&charlie, &alpha));
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn power_off_kills_and_power_on_restores() {
    let (lab, [alpha, bravo, _]) = three();
    let gone = alpha.spawn(shell("sleep 1000 & (trap '' TERM; sleep 1000) & echo started; wait")).unwrap();
    assert!(gone.wait_line(soon(), |line| line.text == "started").is_some());
    let bystander = bravo.spawn(shell("sleep 1000")).unwrap();
    add_vips(&alpha);
    assert!(alpha.processes().len() >= 2 && reaches(&bravo, &alpha));
    let off = Instant::now();
    alpha.power_off().unwrap();
    println!("power off took {:?}", off.elapsed());
    assert!(gone.wait(soon()).is_some() && alpha.processes().is_empty());
    assert!(bystander.ended().is_none());
    assert!(
        lab.observer().wait_holders(ip(V4), &[], soon()) && lab.observer().wait_holders(ip(V6), &[], soon())
    );
    assert!(cannot_reach(&bravo, &alpha));
    assert!(alpha.spawn(shell("true")).is_err() && alpha.power_off().is_err() && alpha.unplug().is_err());
    alpha.power_on().unwrap();
    assert!(reaches(&bravo, &alpha) && reaches(&alpha, &bravo));
    assert!(lab.observer().holders(ip(V4)).is_empty());
    assert!(alpha.spawn(shell("true")).unwrap().wait(soon()).is_some_and(|status| status.success()));
}

fn frozen_host_stands_still_and_goes_on() {
    let (_lab, [alpha, bravo, _]) = three();
    let clock = alpha.spawn(shell("while :; do echo tick; sleep 0.01; done")).unwrap();
    assert!(clock.wait_line(soon(), |line| line.text == "tick").is_some());
    alpha.freeze().unwrap();
    assert!(cannot_reach(&bravo, &alpha) && alpha.carrier("eth0").unwrap());
    assert!(alpha.processes().iter().all(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // Stopped, or waiting for a child that is.
        stat.rsplit(')').next().unwrap().trim_start().starts_with(['T', 'D'])
    }));
    // What was written before may be read a moment later; a host that goes on is never silent for so long.
    let until = soon();
    let mut read = 0;
    while read != clock.lines().len() {
        assert!(Instant::now() < until, "it goes on");
        read = clock.lines().len();
        std::thread::sleep(Duration::from_millis(300));
    }
    let thawed = Instant::now();
    alpha.thaw().unwrap();
    assert!(clock.wait_line(soon(), |line| line.at > thawed).is_some());
    assert!(reaches(&bravo, &alpha) && reaches(&alpha, &bravo));
    alpha.freeze().unwrap();
    alpha.power_off().unwrap();
    assert!(clock.wait(soon()).is_some(), "a frozen machine can lose its power");
}

fn lease_runs_out_and_foreign_holder_is_seen() {
    let (lab, [alpha, _, charlie]) = three();
    let vip = ip(V4);
    let start = Instant::now();
    for _ in 0..5 {
        // Renewals are no news.
        alpha.add_address_for(&format!("{V4}/24"), Duration::from_secs(1)).unwrap();
    }
    assert!(lab.observer().wait_holders(vip, &["alpha"], soon()));
    assert!(lab.observer().wait_holders(vip, &[], soon()), "the kernel lets go at the end of the lease");
    let held = lab.observer().held_by("alpha", vip, start);
    let [interval] = held[..] else { panic!("{held:?}") };
    assert!(interval.to.unwrap() - interval.from >= Duration::from_millis(900), "{interval:?}");
    let foreign = lab.host("foreign", &["192.0.2.66/24", &format!("{V4}/24")]).unwrap();
    assert_eq!(lab.observer().holders(vip), ["foreign"]);
    assert_eq!(charlie.ask(vip, soon()).as_deref(), Some("foreign"));
    assert_eq!(charlie.neighbor(vip).unwrap(), Some(foreign.mac("eth0").unwrap()));
    foreign.delete_address(V4).unwrap();
    assert!(lab.observer().wait_holders(vip, &[], soon()));
    assert!(foreign.delete_address(V4).is_err());
}

fn dead_service_resets_its_clients() {
    let (_lab, [alpha, _, charlie]) = three();
    add_vips(&alpha);
    let start = Instant::now();
    let client = charlie.client(&[ip(V4), ip(V6)]).unwrap();
    let stream_says = |vip, wanted: fn(&StreamChange) -> bool, since: Instant| {
        client.wait_stream(vip, soon(), |events| {
            events.iter().any(|event| event.at >= since && wanted(&event.what))
        })
    };
    for vip in client.vips() {
        assert!(client.wait_answer_by(vip, "alpha", start, soon()));
        assert!(stream_says(vip, |what| *what == StreamChange::Answered { by: "alpha".into() }, start));
    }
    let stopped = Instant::now();
    alpha.stop_service();
    for vip in client.vips() {
        let reset = StreamChange::Broken(std::io::ErrorKind::ConnectionReset);
        assert!(stream_says(vip, |what| matches!(what, StreamChange::Broken(_)), stopped), "not {reset:?}");
        assert!(stream_says(vip, |what| matches!(what, StreamChange::Refused(_)), stopped));
    }
    for vip in client.vips() {
        let enough =
            |record: &Record| record.probes().iter().filter(|probe| probe.sent > stopped).count() >= 10;
        assert!(client.wait_until(vip, soon(), enough));
    }
    let started = Instant::now();
    alpha.start_service().unwrap();
    for vip in client.vips() {
        assert!(client.wait_answer_by(vip, "alpha", started, soon()), "refusals do not stop the client");
        assert!(stream_says(vip, |what| matches!(what, StreamChange::Answered { .. }), started));
        let judged = |record: &Record| record.lost(stopped, started) > 0;
        assert!(client.wait_until(vip, soon(), judged), "probes of the last {GRACE:?} are judged later");
    }
}

fn undo_all_undoes_all() {
    let (lab, [alpha, bravo, charlie]) = three();
    for _ in 0..3 {
        alpha.cut().unwrap();
        alpha.mute().unwrap();
        alpha.power_off().unwrap();
        bravo.unplug().unwrap();
        bravo.lose(100).unwrap();
        bravo.stop_service();
        charlie.deafen().unwrap();
        charlie.freeze().unwrap();
        lab.partition(&[&[&alpha], &[&bravo], &[&charlie]]).unwrap();
        lab.block_heartbeats().unwrap();
        lab.undo_all().unwrap();
        for (from, to) in [(&alpha, &bravo), (&bravo, &charlie), (&charlie, &alpha)] {
            assert!(reaches(from, to) && reaches(to, from));
            assert!(passes(from, to, HEARTBEAT_PORT));
        }
    }
}
