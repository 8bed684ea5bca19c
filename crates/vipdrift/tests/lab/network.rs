//! Interfaces and addresses that are not as they were, and starts that cannot be.

use std::io::Write as _;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vipdrift::trial::Cluster;
use vipdrift_control::{GroupRole, HealthState};
use vipdrift_lab::Host;
use vipdrift_platform::addresses::{Kernel, Mount};

use crate::support::{BINARY, PATIENCE, WEB, cluster, holder, settle, wait, with};

fn ip(host: &Host, arguments: &str) {
    let arguments = arguments.split_whitespace();
    let output = host.run(|| Command::new("ip").args(arguments.collect::<Vec<_>>()).output().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Changes the configuration of every node.
fn configure(cluster: &Cluster, change: impl Fn(String) -> String) {
    for node in &cluster.nodes {
        let text = std::fs::read_to_string(&node.config).unwrap();
        std::fs::write(&node.config, change(text)).unwrap();
    }
}

pub(crate) fn renamed_interface_gives_the_vip_up_before_another_takes_it() {
    let mut cluster = cluster();
    let active = holder(&cluster);
    let starts = cluster.status(active).unwrap().daemon.brain_starts;
    let since = Instant::now();
    ip(&cluster.nodes[active].host, "link set eth0 name eth9");
    wait(&cluster, "another holder", |c| {
        WEB.iter().all(|&vip| c.holder(vip).is_some_and(|now| now != active))
    });
    for vip in WEB {
        assert!(cluster.lab.observer().two_holders(vip, since).is_zero(), "{vip} was never on two nodes");
    }
    let addresses = cluster.nodes[active].host.addresses().unwrap();
    assert!(!addresses.iter().any(|net| WEB.contains(&net.addr())), "{addresses:?}");
    assert!(addresses.iter().any(|net| net.addr().to_string().starts_with("192.0.2.1")), "{addresses:?}");
    let status = cluster.status(active).unwrap();
    assert_eq!(status.groups[0].role, GroupRole::Fault);
    assert!(status.groups[0].reason.contains("eth0"), "{}", status.groups[0].reason);
    assert_eq!(status.daemon.brain_starts, starts, "no crash");
    ip(&cluster.nodes[active].host, "link set eth9 name eth0");
    settle(&cluster);
    cluster.start_all().unwrap();
}

pub(crate) fn leftover_on_another_interface_is_removed_at_start() {
    let mut cluster = with(|options| options.start = false);
    let last = cluster.nodes.len() - 1;
    // As after `interface` was changed in the configuration: what an earlier life has mounted is elsewhere.
    let lan = cluster.lab.add_lan().unwrap();
    let interface = cluster.nodes[last].host.connect(lan, &["198.51.100.13/24"]).unwrap();
    let index = cluster.nodes[last].host.interface_index(&interface).unwrap();
    cluster.nodes[last].host.run(|| {
        let mounts = ["192.0.2.100/32", "2001:db8::100/64"].map(|network| Mount {
            interface: index,
            network: network.parse().unwrap(),
            lease: None,
            as_source: false,
            prefix_route: false,
        });
        Kernel::open().unwrap().mount(&mounts).into_iter().for_each(Result::unwrap);
    });
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(holder(&cluster), 0, "the leftover is gone, so the first node takes over");
    let addresses = cluster.nodes[last].host.addresses().unwrap();
    assert!(!addresses.iter().any(|net| WEB.contains(&net.addr())), "{addresses:?}");
    assert!(addresses.iter().any(|net| net.to_string() == "198.51.100.13/24"), "{addresses:?}");
}

pub(crate) fn own_address_that_came_after_the_vip_outlives_it() {
    let mut cluster = with(|options| options.start = false);
    configure(&cluster, |text| text.replace("\"192.0.2.100/24\"", "\"198.51.100.100/24\""));
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    let vip: IpAddr = "198.51.100.100".parse().unwrap();
    let active = cluster.holder(vip).unwrap_or_else(|| panic!("one holder\n{}", cluster.describe()));
    let host = cluster.nodes[active].host.clone();
    // Unless the system is set to promote them, an address that hangs on another one dies with it.
    host.set_kernel("net/ipv4/conf/all/promote_secondaries", "0").unwrap();
    host.set_kernel("net/ipv4/conf/eth0/promote_secondaries", "0").unwrap();
    let since = Instant::now();
    host.add_address("198.51.100.7/24").unwrap();
    // Longer than the lease: it is renewed as the address that it is.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(cluster.lab.observer().held_by(&cluster.nodes[active].name, vip, since).len(), 1);
    let vips = host.addresses().unwrap().iter().filter(|net| net.addr() == vip).count();
    assert_eq!(vips, 1, "{:?}", host.addresses());
    let (keeper, _) = cluster.pids(active).unwrap();
    cluster.signal(keeper, Signal::SIGTERM);
    assert!(cluster.reap(active, PATIENCE).is_some_and(|status| status.success()));
    let addresses = host.addresses().unwrap();
    assert!(addresses.iter().any(|net| net.to_string() == "198.51.100.7/24"), "{addresses:?}");
    assert!(!addresses.iter().any(|net| net.addr() == vip), "{addresses:?}");
}

pub(crate) fn drain_is_remembered_although_the_client_left() {
    let cluster = cluster();
    let active = holder(&cluster);
    let directory = cluster.directory().join(&cluster.nodes[active].name);
    let mut stream = UnixStream::connect(directory.join("control.sock")).unwrap();
    stream.write_all(b"POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
    wait(&cluster, "drained", |c| c.status(active).is_ok_and(|s| s.health.state == HealthState::Drained));
    drop(stream);
    wait(&cluster, "the state file says so", |_| {
        std::fs::read_to_string(directory.join("state/state"))
            .is_ok_and(|text| text.starts_with("drained: yes\n"))
    });
}

/// Starts the daemon on the first node, which must refuse at once, in one error with a remedy.
fn refused(cluster: &mut Cluster) -> String {
    cluster.spawn(0).unwrap();
    let process = cluster.nodes[0].process.take().unwrap();
    let status = process.wait_output(Instant::now() + PATIENCE);
    let said = process.output();
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{said}");
    one_error(&said);
    said
}

fn one_error(said: &str) {
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("vipdrift: ") && lines[1].starts_with("  "), "{said}");
}

pub(crate) fn port_in_use_is_one_clear_error() {
    let mut cluster = with(|options| options.start = false);
    let taken = cluster.nodes[0].host.run(|| UdpSocket::bind("192.0.2.11:5798").unwrap());
    let said = refused(&mut cluster);
    assert!(said.contains("UDP port 5798 of 192.0.2.11 is in use by another program"), "{said}");
    drop(taken);
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
}

pub(crate) fn missing_interface_is_one_clear_error() {
    let mut cluster = with(|options| options.start = false);
    configure(&cluster, |text| text.replace("\"eth0\"", "\"eth7\""));
    let said = refused(&mut cluster);
    assert!(said.contains("there is no interface eth7 (needed by group web, calm)"), "{said}");
}

pub(crate) fn missing_privileges_are_one_clear_error() {
    let cluster = with(|options| options.start = false);
    let node = &cluster.nodes[0];
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", BINARY, "run", "--config"]).arg(&node.config);
    let process = node.host.spawn(command).unwrap();
    let status = process.wait_output(Instant::now() + PATIENCE);
    let said = process.output();
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{said}");
    one_error(&said);
    assert!(said.contains("not permitted: this process lacks CAP_NET_ADMIN and CAP_NET_RAW"), "{said}");
}
