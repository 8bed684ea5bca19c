//! Hosts, their programs, their LANs, and those who watch.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use vipdrift_lab::{Lab, Mac, Signal, Stream, enclosed, tests};

tests![
    programs_run_on_their_host,
    files_are_private_where_they_should_be,
    two_lans_and_a_gateway,
    names_and_addresses_are_checked,
    frames_are_sent_and_heard,
    a_thousand_addresses_are_seen,
    client_outlives_having_no_way,
    a_panic_on_a_host_goes_on_in_the_caller,
    dropping_the_lab_ends_everything,
];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn programs_run_on_their_host() {
    let lab = Lab::new().unwrap();
    let alpha = lab.host("alpha", &["192.0.2.11/24"]).unwrap();
    let process = alpha
        .spawn(shell("echo one; echo two >&2; cat; echo $VIPDRIFT_LAB_STAGE; read x; sleep 1000"))
        .unwrap();
    let live = process.live();
    assert_eq!(process.wait_line(soon(), |line| line.text == "two").unwrap().stream, Stream::Err);
    let first: Vec<String> =
        (0..3).map(|_| live.recv_timeout(Duration::from_secs(10)).unwrap().text).collect();
    assert!(first.contains(&"one".into()) && first.contains(&"two".into()));
    assert!(first.contains(&String::new()), "programs do not think that they are the lab: {first:?}");
    assert!(process.wait(Instant::now()).is_none());
    assert!(alpha.processes().contains(&process.pid()));
    process.kill(Signal::SIGTERM).unwrap();
    let status = process.wait(soon()).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    assert!(process.kill(Signal::SIGTERM).is_err());

    let process = alpha.spawn(shell("exit 3")).unwrap();
    assert_eq!(process.wait_output(soon()).unwrap().code(), Some(3));
    assert!(process.wait_line(soon(), |_| true).is_none());
    assert!(alpha.spawn(Command::new("/no/such/program")).is_err());

    let dropped = alpha.spawn(shell("sleep 1000")).unwrap().pid();
    let deadline = soon();
    while alpha.processes().contains(&dropped) {
        assert!(Instant::now() < deadline, "dropping a process kills it");
        std::thread::yield_now();
    }
}

fn files_are_private_where_they_should_be() {
    let lab = Lab::new().unwrap();
    let [alpha, bravo] = ["alpha", "bravo"].map(|name| lab.host_without_links(name).unwrap());
    let write = |path: &str| std::fs::write(path, "x").is_ok();
    assert!(alpha.run(|| write("/run/socket")) && !bravo.run(|| std::fs::exists("/run/socket").unwrap()));
    let shared = alpha.directory().join("file");
    std::fs::write(&shared, "alpha").unwrap();
    assert_eq!(alpha.run(|| std::fs::read_to_string(&shared).unwrap()), "alpha");
    assert_eq!(bravo.run(|| std::fs::read_to_string(&shared).unwrap()), "alpha");

    let etc = alpha.private_etc().unwrap();
    std::fs::write(etc.join("only-here"), "x").unwrap();
    assert!(
        alpha.run(|| std::fs::exists("/etc/only-here").unwrap() && std::fs::exists("/etc/passwd").unwrap())
    );
    assert!(!bravo.run(|| std::fs::exists("/etc/only-here").unwrap()));
    let process = alpha.spawn(shell("cat /etc/only-here && pwd")).unwrap();
    assert!(process.wait_output(soon()).unwrap().success());
    let here = std::env::current_dir().unwrap();
    assert_eq!(process.output(), format!("x\n{}\n", here.display()).replacen("x\n", "x", 1));
}

fn two_lans_and_a_gateway() {
    let lab = Lab::new().unwrap();
    let alpha = lab.host("alpha", &["192.0.2.11/24", "2001:db8:1::11/64"]).unwrap();
    let gateway = lab.host("gateway", &["192.0.2.1/24", "2001:db8:1::1/64"]).unwrap();
    let far = lab.add_lan().unwrap();
    assert_eq!(gateway.connect(far, &["198.51.100.1/24", "2001:db8:2::1/64"]).unwrap(), "eth1");
    let client = lab.host_without_links("client").unwrap();
    client.connect(far, &["198.51.100.50/24", "2001:db8:2::50/64"]).unwrap();
    gateway.forward_packets().unwrap();
    for (host, by) in [(&alpha, ["192.0.2.1", "2001:db8:1::1"]), (&client, ["198.51.100.1", "2001:db8:2::1"])]
    {
        host.add_route("0.0.0.0/0", by[0]).unwrap();
        host.add_route("::/0", by[1]).unwrap();
    }
    for address in ["192.0.2.11", "2001:db8:1::11"] {
        assert_eq!(client.ask(ip(address), soon()).as_deref(), Some("alpha"));
    }
    assert_eq!(client.neighbor(ip("192.0.2.11")).unwrap(), None, "it is not on the client's LAN");
    assert_eq!(client.neighbor(ip("198.51.100.1")).unwrap(), Some(gateway.mac("eth1").unwrap()));
    alpha.power_off().unwrap();
    alpha.power_on().unwrap();
    assert_eq!(client.ask(ip("192.0.2.11"), soon()).as_deref(), Some("alpha"), "routes are back too");
    gateway.unplug_interface("eth0").unwrap();
    assert!(!gateway.carrier("eth0").unwrap() && gateway.carrier("eth1").unwrap());
    assert!(client.ask(ip("192.0.2.11"), Instant::now() + Duration::from_millis(100)).is_none());
    assert_eq!(client.ask(ip("198.51.100.1"), soon()).as_deref(), Some("gateway"));
    gateway.plug_interface("eth0").unwrap();
    assert_eq!(client.ask(ip("192.0.2.11"), soon()).as_deref(), Some("alpha"));
    gateway.unplug().unwrap();
    assert!(client.ask(ip("192.0.2.11"), Instant::now() + Duration::from_millis(100)).is_none());
}

fn names_and_addresses_are_checked() {
    assert!(enclosed().is_some());
    let lab = Lab::new().unwrap();
    let alpha = lab.host("alpha", &["192.0.2.11/24"]).unwrap();
    assert!(lab.host("alpha", &[]).is_err() && lab.host("", &[]).is_err() && lab.host("../x", &[]).is_err());
    let error = lab.host("bravo", &["192.0.2.12"]).unwrap_err().to_string();
    assert!(error.contains("`192.0.2.12` is not an address with a prefix length"), "{error}");
    assert!(lab.host("bravo", &["192.0.2.12/24"]).is_ok(), "the name was not taken");
    assert!(alpha.add_address("192.0.2.300/24").is_err() && alpha.delete_address("192.0.2.99").is_err());
    assert!(alpha.mac("eth7").is_err() && alpha.send_frame("eth7", &[0; 64]).is_err());
    let mac = alpha.mac("eth0").unwrap();
    assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
}

fn frames_are_sent_and_heard() {
    let lab = Lab::new().unwrap();
    let alpha = lab.host("alpha", &["192.0.2.11/24"]).unwrap();
    let bravo = lab.host("bravo", &["192.0.2.12/24"]).unwrap();
    let tap = bravo.tap("eth0").unwrap();
    let mut frame = [0xff; 60];
    frame[6..12].copy_from_slice(&alpha.mac("eth0").unwrap().0);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]); // for experiments (IEEE 802)
    alpha.send_frame("eth0", &frame).unwrap();
    assert_eq!(tap.find(soon(), |heard| heard[12..14] == [0x88, 0xb5]).unwrap().as_deref(), Some(&frame[..]));
    assert_eq!(
        tap.find(Instant::now() + Duration::from_millis(20), |heard| heard[..14] == frame[..14]).unwrap(),
        None
    );
}

fn a_thousand_addresses_are_seen() {
    let lab = Lab::new().unwrap();
    let hosts = ["alpha", "bravo", "charlie"].map(|name| lab.host_without_links(name).unwrap());
    for host in &hosts {
        host.connect(lab.lan(), &[]).unwrap();
    }
    let addresses: Vec<String> = (0..1_000).map(|number| format!("2001:db8::{number:x}/64")).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for host in &hosts {
            scope.spawn(|| addresses.iter().for_each(|address| host.add_address(address).unwrap()));
        }
    });
    println!("3,000 addresses in {:?}, {} overruns", start.elapsed(), lab.observer().overruns());
    let all: BTreeSet<IpAddr> = addresses.iter().map(|text| ip(text.split('/').next().unwrap())).collect();
    let everybody =
        |address: &IpAddr| lab.observer().wait_holders(*address, &["alpha", "bravo", "charlie"], soon());
    assert!(all.iter().all(everybody));
}

fn client_outlives_having_no_way() {
    let lab = Lab::new().unwrap();
    let alpha = lab.host("alpha", &["192.0.2.11/24", "2001:db8::11/64"]).unwrap();
    let host = lab.host("client", &["192.0.2.50/24", "2001:db8::50/64"]).unwrap();
    let vips = ["192.0.2.100", "2001:db8::100", "203.0.113.1"].map(ip);
    let start = Instant::now();
    let client = host.client(&vips).unwrap();
    // No route at all to the last one, nobody there at the others.
    assert!(client.wait_until(vips[2], soon(), |record| record.probes().len() >= 50));
    assert!(
        client.record(vips[2]).unwrap().probes().iter().all(|probe| !probe.left && probe.answer.is_none())
    );
    assert!(!client.wait_answer_by(vips[0], "alpha", start, Instant::now() + Duration::from_millis(100)));
    assert!(
        client.outage(start) >= Duration::from_millis(100) && client.lost_probes(start, Instant::now()) > 0
    );
    host.unplug().unwrap();
    host.plug().unwrap();
    alpha.add_address("192.0.2.100/24").unwrap();
    alpha.add_address("2001:db8::100/64").unwrap();
    alpha.announce("eth0").unwrap();
    for vip in [vips[0], vips[1]] {
        assert!(client.wait_answer_by(vip, "alpha", Instant::now(), soon()));
    }
    assert!(client.record(ip("192.0.2.99")).is_err());
}

fn a_panic_on_a_host_goes_on_in_the_caller() {
    let lab = Lab::new().unwrap();
    let alpha = lab.host("alpha", &["192.0.2.11/24"]).unwrap();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| alpha.run(|| panic!("as planned"))))
        .unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"as planned"));
    assert_eq!(alpha.run(|| 7), 7, "the host is as it was");
    let thread = alpha.thread("worker", || std::net::UdpSocket::bind("192.0.2.11:9").is_ok()).unwrap();
    assert!(thread.join().unwrap());
    assert!(std::net::UdpSocket::bind("192.0.2.11:9").is_err(), "only the host has its address");
}

fn dropping_the_lab_ends_everything() {
    for _ in 0..3 {
        let lab = Lab::new().unwrap();
        let alpha = lab.host("alpha", &["192.0.2.11/24"]).unwrap();
        let process = alpha.spawn(shell("sleep 1000 & sleep 1000")).unwrap();
        drop(lab);
        assert!(process.wait(soon()).is_some() && alpha.processes().is_empty());
        assert!(alpha.spawn(shell("true")).is_err());
    }
    let deadline = soon();
    // Only this program and the init of the enclosure are left.
    let count = || {
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(|e| e.file_name().to_str().unwrap().parse::<u32>().is_ok())
            .count()
    };
    while count() > 2 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}
