//! The configurations that people begin with, as they stand in `docs/examples`.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use vipdrift_control::{GroupRole, Status};
use vipdrift_lab::{Host, Lab, Process};

use crate::support::{BINARY, PATIENCE};

/// An example as it is shipped.
pub(crate) fn example(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples").join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The daemon, with the file where the example says that it goes.
fn daemon(host: &Host, text: &str, key: &Path) -> Process {
    let folder = host.private_etc().unwrap().join("vipdrift");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("vipdrift.toml"), text).unwrap();
    fs::copy(key, folder.join("cluster.key")).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["run", "--state-dir"]).arg(host.directory().join("state"));
    host.spawn(command).unwrap()
}

/// The node says that it is standby in every group, by its own default socket.
fn is_standby(host: &Host) -> bool {
    let said = host.run(|| Command::new(BINARY).args(["status", "--json"]).output().unwrap());
    let status: Option<Status> = serde_json::from_slice(&said.stdout).ok();
    status.is_some_and(|status| status.groups.iter().all(|group| group.role == GroupRole::Standby))
}

/// A client on one side, a server on the other, and each cable of the router in its turn.
pub(crate) fn the_router_example_routes_by_either_machine() {
    let lab = Lab::new().unwrap();
    let wan = lab.add_lan().unwrap();
    let routers = ["alpha", "bravo"].map(|name| {
        let number = if name == "alpha" { 11 } else { 12 };
        let host = lab.host(name, &[&format!("192.0.2.{number}/24")]).unwrap();
        host.connect(wan, &[&format!("198.51.100.{number}/24")]).unwrap();
        host.forward_packets().unwrap();
        host
    });
    let client = lab.host("client", &["192.0.2.50/24"]).unwrap();
    client.add_route("198.51.100.0/24", "192.0.2.1").unwrap();
    let server = lab.host_without_links("server").unwrap();
    server.connect(wan, &["198.51.100.50/24"]).unwrap();
    server.add_route("192.0.2.0/24", "198.51.100.1").unwrap();
    server.start_service().unwrap();

    let (text, key) = (example("router.toml"), client.directory().join("cluster.key"));
    assert!(Command::new(BINARY).args(["key", "--out"]).arg(&key).status().unwrap().success());
    let daemons = routers.each_ref().map(|host| daemon(host, &text, &key));
    let sides: [IpAddr; 2] = ["192.0.2.1", "198.51.100.1"].map(|text| text.parse().unwrap());
    let said = || daemons.each_ref().map(Process::output).concat();
    // For how long both sides have been on this machine alone is not asked: only that they come to be.
    let on = |host: &Host| {
        let deadline = Instant::now() + PATIENCE;
        for side in sides {
            let there = lab.observer().wait_holders(side, &[host.name()], deadline);
            assert!(there, "{side} on {}\n{}", host.name(), said());
        }
    };
    // Whoever is ready first has it first.
    let deadline = Instant::now() + PATIENCE;
    let first = loop {
        let holders = lab.observer().holders(sides[0]);
        if let Some(at) = routers.iter().position(|host| holders == [host.name()]) {
            break at;
        }
        assert!(Instant::now() < deadline, "nobody has it\n{}", said());
        std::thread::sleep(Duration::from_millis(20));
    };
    on(&routers[first]);
    let there: IpAddr = "198.51.100.50".parse().unwrap();
    let asked = client.client(&[there]).unwrap();
    assert!(asked.wait_answer_by(there, "server", Instant::now(), Instant::now() + PATIENCE), "{}", said());

    for (from, to, cable) in [(first, 1 - first, "eth1"), (1 - first, first, "eth0")] {
        let since = Instant::now();
        routers[from].unplug_interface(cable).unwrap();
        on(&routers[to]);
        let again = Instant::now();
        assert!(asked.wait_answer_by(there, "server", again, again + PATIENCE), "{}", said());
        println!("{cable} of {}: {:?} without a way", routers[from].name(), asked.outage(since));
        for side in sides {
            assert!(lab.observer().two_reachable_holders(side, since).is_zero(), "{side}\n{}", said());
        }
        routers[from].plug_interface(cable).unwrap();
        // Well again, it is an heir again.
        let deadline = Instant::now() + PATIENCE;
        while !is_standby(&routers[from]) {
            assert!(Instant::now() < deadline, "{} is no heir\n{}", routers[from].name(), said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
