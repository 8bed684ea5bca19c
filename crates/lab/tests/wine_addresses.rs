//! A Windows program under wine really changes the network of its host, by the stand-in and the agent and by nothing else.
//! What it says of itself counts for nothing: kernels and neighbours are asked. `cargo xtask cross-check` runs this.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipdrift_lab::wine::{Habits, WineHost, program, template};
use vipdrift_lab::{Host, Lab, Process, Signal, tests};

tests![
    ;
    side_by_side:
    an_address_is_mounted_and_taken_off,
    ipv6_is_mounted_and_taken_off,
    an_announcement_moves_the_entry_of_a_neighbour,
    an_announcement_reaches_a_neighbour_over_ipv6,
    whoever_has_an_address_is_found_and_silence_is_silence,
    many_are_asked_for_at_once_and_no_question_is_lost_in_silence,
    a_question_that_could_not_be_asked_is_told,
    echoes_are_answered_by_whoever_is_there,
    gateways_of_both_families_are_found,
    an_address_that_another_host_has_is_given_up,
    an_address_that_turns_out_to_be_taken_is_given_up,
    a_lease_ends_without_the_program,
    a_lease_may_be_without_end,
    a_change_from_outside_is_told,
    a_change_is_found_where_the_system_does_not_tell,
    what_windows_documents_as_wrong_is_refused,
    without_the_agent_nothing_works,
    without_the_stand_in_nothing_works,
];

const VIP: &str = "192.0.2.100";
const VIP6: &str = "2001:db8::100";

/// Which `iphlpapi.dll` a program gets.
#[derive(Clone, Copy)]
enum Tables {
    StandIn,
    /// Wine's own, which cannot change addresses.
    Wine,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// A Windows host and two others.
struct Bench {
    lab: Lab,
    alpha: Host,
    bravo: Host,
    client: Host,
    wine: WineHost,
}

impl Bench {
    fn new() -> Self {
        let lab = Lab::new().unwrap();
        let host = |name: &str, number: u8| {
            lab.host(name, &[&format!("192.0.2.{number}/24"), &format!("2001:db8::{number}/64")]).unwrap()
        };
        let (alpha, bravo, client) = (host("alpha", 11), host("bravo", 12), host("client", 50));
        let wine = alpha.wine(&template().unwrap_or_else(|error| panic!("{error}"))).unwrap();
        Self { lab, alpha, bravo, client, wine }
    }

    fn start(&self, tables: Tables, words: &[&str]) -> Process {
        let mut command = self.wine.command(&program("address").unwrap_or_else(|error| panic!("{error}")));
        command.args(words);
        if let Tables::Wine = tables {
            command.env("WINEDLLOVERRIDES", "mscoree,mshtml,winedbg.exe=;iphlpapi=b");
        }
        self.alpha.spawn(command).unwrap()
    }

    fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        ended(&self.start(Tables::StandIn, words))
    }

    /// Which kernels have it.
    fn holds(&self, address: &str, names: &[&str]) -> bool {
        self.lab.observer().wait_holders(ip(address), names, soon())
    }

    fn has_none(&self, address: &str) -> bool {
        !self.alpha.addresses().unwrap().iter().any(|network| network.addr() == ip(address))
    }
}

fn ended(process: &Process) -> (Option<i32>, String) {
    let status = process.wait_output(soon()).expect("the program ends");
    let lines: Vec<String> = process.lines().iter().map(|line| line.text.clone()).collect();
    (status.code(), lines.join("\n"))
}

fn mounted(process: &Process) {
    let line = process.wait_line(soon(), |line| line.text.starts_with("mounted"));
    println!("{}", line.expect("it says that it has mounted").text);
}

fn mounts_and_takes_off(vip: &str, network: &str) {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits::default()).unwrap();
    let process = bench.start(Tables::StandIn, &["mount", "eth0", network, "3", "4"]);
    mounted(&process);
    assert!(bench.holds(vip, &["alpha"]));
    assert_eq!(bench.client.ask(ip(vip), soon()).as_deref(), Some("alpha"));
    assert_eq!(bench.client.neighbor(ip(vip)).unwrap(), Some(bench.alpha.mac("eth0").unwrap()));
    let (code, text) = ended(&process);
    assert_eq!(code, Some(0), "{text}");
    assert!(bench.holds(vip, &[]), "{text}");
}

fn an_address_is_mounted_and_taken_off() {
    mounts_and_takes_off(VIP, "192.0.2.100/32");
}

fn ipv6_is_mounted_and_taken_off() {
    mounts_and_takes_off(VIP6, "2001:db8::100/128");
}

/// The client believes that bravo has it, and Windows itself tells nobody.
fn announces(vip: &str, network: &str) {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits { announces: false, ..Habits::default() }).unwrap();
    bench.bravo.add_address(network).unwrap();
    assert_eq!(bench.client.ask(ip(vip), soon()).as_deref(), Some("bravo"));
    // For IPv6 only those are told that alpha has heard from.
    assert_eq!(bench.client.ask(ip("2001:db8::11"), soon()).as_deref(), Some("alpha"));
    bench.bravo.delete_address(vip).unwrap();
    let process = bench.start(Tables::StandIn, &["mount", "eth0", network, "0", "60"]);
    mounted(&process);
    assert_eq!(bench.client.neighbor(ip(vip)).unwrap(), Some(bench.bravo.mac("eth0").unwrap()), "not yet");
    // An entry that was updated a moment ago is locked by Linux for a second.
    std::thread::sleep(Duration::from_millis(1_100));
    let begun = Instant::now();
    let announcer = bench.start(Tables::StandIn, &["announce", "eth0", vip]);
    let moved = bench.alpha.mac("eth0").unwrap();
    while bench.client.neighbor(ip(vip)).unwrap() != Some(moved) {
        assert!(Instant::now() < begun + Duration::from_secs(10), "{:?}", ended(&announcer));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(bench.client.ask(ip(vip), soon()).as_deref(), Some("alpha"));
    process.kill(Signal::SIGKILL).unwrap();
}

fn an_announcement_moves_the_entry_of_a_neighbour() {
    announces(VIP, "192.0.2.100/24");
}

fn an_announcement_reaches_a_neighbour_over_ipv6() {
    announces(VIP6, "2001:db8::100/64");
}

fn whoever_has_an_address_is_found_and_silence_is_silence() {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits::default()).unwrap();
    let mac = bench.bravo.mac("eth0").unwrap().to_string().replace(':', ", ");
    for (there, absent) in [("192.0.2.12", "192.0.2.77"), ("2001:db8::12", "2001:db8::77")] {
        let (code, text) = bench.run(&["probe", "eth0", there, "3"]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(&mac), "{text}");
        let (code, text) = bench.run(&["probe", "eth0", absent, "4"]);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("asked")).count(), 4, "{text}");
        assert_eq!(text.lines().count(), 4, "nobody answers: {text}");
    }
    // Bravo's cable is out, so nobody answers for it.
    bench.bravo.cut().unwrap();
    let (_, text) = bench.run(&["probe", "eth0", "192.0.2.12", "1"]);
    assert_eq!(text.lines().count(), 1, "what was known before is no answer: {text}");
}

fn many_are_asked_for_at_once_and_no_question_is_lost_in_silence() {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits::default()).unwrap();
    let asked = |text: &str| -> Vec<u32> {
        println!("{text}");
        let rounds = text.lines().filter_map(|line| line.split_once(": ")?.1.split(' ').next()?.parse().ok());
        rounds.collect()
    };
    let (_, text) = bench.run(&["rounds", "eth0", "192.0.2.100", "80"]);
    assert_eq!(asked(&text), [80; 4], "three calls each stand for all questions of half a second");
    // 1,024 calls in all, one of them for another; threads that are just being started may be missing.
    let (_, text) = bench.run(&["rounds", "eth0", "198.51.100.0", "600"]);
    let sums = asked(&text);
    assert!(sums[0] + sums[1] <= 1023 && sums[3] < 600, "{text}");
    for host in 100..150 {
        bench.bravo.add_address(&format!("192.0.2.{host}/24")).unwrap();
    }
    let (_, text) = bench.run(&["rounds", "eth0", "192.0.2.100", "50"]);
    println!("{text}");
    let answers: usize =
        text.lines().filter_map(|line| line.split_once(" answers")?.0.parse::<usize>().ok()).sum();
    assert!(answers >= 50, "{text}");
}

fn a_question_that_could_not_be_asked_is_told() {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits::default()).unwrap();
    let (code, text) = bench.run(&["unasked", "192.0.2.12"]);
    assert_eq!((code, text.as_str()), (Some(0), "asked\nrefused: not connected\nrefused: not connected"));
}

fn echoes_are_answered_by_whoever_is_there() {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits::default()).unwrap();
    for (there, absent) in [("192.0.2.12", "192.0.2.77"), ("2001:db8::12", "2001:db8::77")] {
        let (code, text) = bench.run(&["echo", there]);
        assert!(code == Some(0) && text.contains(&format!(": {there} [")), "{text}");
        assert!(text.contains("12, 34, 00, 07"), "identifier and sequence: {text}");
        assert_eq!(bench.run(&["echo", absent]), (Some(0), "no answer".to_owned()));
    }
}

fn gateways_of_both_families_are_found() {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits::default()).unwrap();
    bench.alpha.add_route("198.51.100.0/24", "192.0.2.50").unwrap();
    bench.alpha.add_route("0.0.0.0/0", "192.0.2.12").unwrap();
    bench.alpha.add_route("::/0", "2001:db8::12").unwrap();
    let (code, text) = bench.run(&["gateways"]);
    let index = bench.alpha.interface_index("eth0").unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        format!("({index}, 192.0.2.12)"),
        format!("({index}, 2001:db8::12)"),
        format!("({index}, 192.0.2.50)"),
    ];
    assert_eq!((code, lines[0], lines.len()), (Some(0), expected[0].as_str(), 3), "{text}");
    assert!(expected.iter().all(|line| lines.contains(&line.as_str())), "{text}");
}

fn an_address_that_another_host_has_is_given_up() {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits { announces: false, ..Habits::default() }).unwrap();
    bench.bravo.add_address("192.0.2.100/24").unwrap();
    let (code, text) = bench.run(&["mount", "eth0", "192.0.2.100/32", "3", "4"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("another host on the segment answered for 192.0.2.100"), "{text}");
    assert!(bench.holds(VIP, &["bravo"]), "{text}");
    let (_, text) = bench.run(&["addresses"]);
    assert!(!text.contains(VIP), "not even as a duplicate that is not used: {text}");
}

/// Optimistic: the address is in use before the system has asked for it often enough.
fn an_address_that_turns_out_to_be_taken_is_given_up() {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits { announces: false, ..Habits::default() }).unwrap();
    bench.bravo.add_address("192.0.2.100/24").unwrap();
    bench.bravo.cut().unwrap();
    let process = bench.start(Tables::StandIn, &["mount", "eth0", "192.0.2.100/32", "9", "60"]);
    mounted(&process);
    assert!(bench.holds(VIP, &["alpha", "bravo"]));
    bench.bravo.uncut().unwrap();
    let (code, text) = ended(&process);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("listed: None"), "seen to be gone: {text}");
    assert!(text.contains("another host on the segment answered for 192.0.2.100"), "and why: {text}");
    assert!(bench.holds(VIP, &["bravo"]));
}

fn a_lease_ends_without_the_program() {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits::default()).unwrap();
    let process = bench.start(Tables::StandIn, &["mount", "eth0", "192.0.2.100/32", "2", "60"]);
    mounted(&process);
    process.kill(Signal::SIGKILL).unwrap();
    let killed = Instant::now();
    assert!(bench.holds(VIP, &["alpha"]), "it outlives the program");
    assert!(bench.holds(VIP, &[]));
    println!("gone {:?} after the program", killed.elapsed());
}

fn a_lease_may_be_without_end() {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits { counts_down: false, ..Habits::default() }).unwrap();
    let process = bench.start(Tables::StandIn, &["mount", "eth0", "192.0.2.100/32", "1", "60"]);
    mounted(&process);
    process.kill(Signal::SIGKILL).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(bench.holds(VIP, &["alpha"]));
    // A later process finds it and takes it off.
    assert_eq!(bench.run(&["unmount", "eth0", "192.0.2.100/32"]).0, Some(0));
    assert!(bench.holds(VIP, &[]));
}

fn a_change_from_outside_is_told() {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits::default()).unwrap();
    let process = bench.start(Tables::StandIn, &["watch", "60"]);
    let told = |text: &str| {
        let begun = Instant::now();
        let found = process.wait_line(soon(), |line| line.text.contains(text));
        assert!(found.is_some(), "{text}: {:?}", process.lines());
        println!("{text}: {:?}", begun.elapsed());
    };
    told("watching");
    bench.alpha.add_address("192.0.2.100/32").unwrap();
    told("AddressAdded");
    bench.alpha.delete_address(VIP).unwrap();
    told("AddressRemoved { interface: ");
    bench.alpha.unplug().unwrap();
    told(" Link");
    bench.alpha.plug().unwrap();
    bench.alpha.add_route("0.0.0.0/0", "192.0.2.12").unwrap();
    told(" Route");
    process.kill(Signal::SIGKILL).unwrap();
}

/// Wine's own functions say that they will tell, and do not.
fn a_change_is_found_where_the_system_does_not_tell() {
    let bench = Bench::new();
    let process = bench.start(Tables::Wine, &["watch", "60"]);
    let watches = process.wait_line(soon(), |line| line.text == "watching");
    assert!(watches.is_some(), "{:?}", process.lines());
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    bench.alpha.add_address("192.0.2.100/32").unwrap();
    assert!(process.wait_line(soon(), |line| line.text.contains("AddressAdded")).is_some());
    println!("after {:?}", begun.elapsed());
    process.kill(Signal::SIGKILL).unwrap();
}

fn what_windows_documents_as_wrong_is_refused() {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits::default()).unwrap();
    let (code, text) = bench.run(&["strict", "eth0", VIP]);
    let expected = "\
        no row: 87\n\
        not initialised: 87\n\
        no interface: 87\n\
        no family: 87\n\
        preferred longer than valid: 87\n\
        one origin unchanged: 87\n\
        prefix too long: 87\n\
        unknown interface: 1168\n\
        unknown LUID beside a known index: 1168\n\
        get what is not there: 1168\n\
        set what is not there: 1168\n\
        delete what is not there: 1168\n\
        known LUID beside an unknown index: 0\n\
        once more: 5010\n\
        get: 0\n\
        skip true dad 4 length 32\n\
        set: 0\n\
        get: 0\n\
        valid 60 preferred 50 skip false\n\
        ask in the name of another: 1168\n\
        ask on an unknown interface: 1168\n\
        ask in its name: 0\n\
        neighbours 1\n\
        flush: 0\n\
        neighbours 0\n\
        delete: 0\n\
        not optimistic: 0\n\
        get: 0\n\
        dad 1\n\
        get: 0\n\
        dad 4\n\
        delete: 0";
    assert_eq!((code, text.as_str()), (Some(0), expected));
    assert!(bench.has_none(VIP));
}

fn without_the_agent_nothing_works() {
    let bench = Bench::new();
    let (code, text) = bench.run(&["mount", "eth0", "192.0.2.100/32", "3", "1"]);
    assert_eq!(code, Some(2), "{text}");
    // ERROR_GEN_FAILURE. Wine has no words for it.
    assert!(text.contains("OS Error 31") || text.contains("os error 31"), "{text}");
    assert!(bench.has_none(VIP));
    for words in [vec!["addresses"], vec!["watch", "1"]] {
        let (code, text) = bench.run(&words);
        assert_eq!(code, Some(2), "{words:?}: {text}");
    }
}

fn without_the_stand_in_nothing_works() {
    let bench = Bench::new();
    let _agent = bench.alpha.wine_agent(Habits::default()).unwrap();
    let process = bench.start(Tables::Wine, &["mount", "eth0", "192.0.2.100/32", "3", "1"]);
    let (code, text) = ended(&process);
    assert_ne!(code, Some(0), "{text}");
    assert!(!text.contains("mounted"), "{text}");
    assert!(bench.has_none(VIP));
}
