//! Groups that must be on one node, and groups that must not.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipdrift::trial::Cluster;
use vipdrift_control::{GroupRole, HealthState};

use crate::support::{WEB, holder, wait, with};

/// Three nodes; `web_lines` say what is to be with `other`, a group on the interface named.
fn three(web_lines: &str, other: &str, interface: &str, vip: &str) -> Cluster {
    let mut cluster = with(|options| {
        options.web_lines = web_lines.to_owned();
        options.start = false;
    });
    let lan = cluster.lab.add_lan().unwrap();
    for (index, node) in cluster.nodes.iter().enumerate() {
        let own = format!("198.51.100.{}/24", 11 + index);
        assert_eq!(node.host.connect(lan, &[&own]).unwrap(), "eth1");
        let group =
            format!("[[group]]\nname = \"{other}\"\ninterface = \"{interface}\"\nvips = [\"{vip}\"]\n\n");
        let text = std::fs::read_to_string(&node.config).unwrap();
        let text = text
            .replace("lan = \"eth0\"", "lan = \"eth0\", wan = \"eth1\"")
            .replace("[control]", &format!("{group}[control]"));
        std::fs::write(&node.config, text).unwrap();
    }
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    cluster
}

fn holders(cluster: &Cluster, vip: IpAddr) -> Vec<String> {
    cluster.lab.observer().holders(vip)
}

/// The node that alone has all of these, as the kernels say.
fn one_has(cluster: &Cluster, vips: &[IpAddr]) -> Option<usize> {
    let one = cluster.holder(vips[0])?;
    vips.iter().all(|&vip| cluster.holder(vip) == Some(one)).then_some(one)
}

/// A router: one VIP for each side. Whichever side a node loses, both go, and to the same node.
pub(crate) fn a_cable_of_one_network_moves_the_groups_of_both() {
    let cluster = three("together = [\"wan\"]", "wan", "wan", "198.51.100.100/24");
    let all = [WEB[0], WEB[1], "198.51.100.100".parse().unwrap()];
    let first = holder(&cluster);
    wait(&cluster, "one has both", |c| one_has(c, &all) == Some(first));
    let since = Instant::now();
    cluster.nodes[first].host.unplug_interface("eth1").unwrap();
    wait(&cluster, "another has both", |c| one_has(c, &all).is_some_and(|now| now != first));
    let second = holder(&cluster);
    println!("the cable of the WAN: both moved within {:?}", since.elapsed());
    let status = cluster.status(first).unwrap();
    let web = status.groups.iter().find(|group| group.name == "web").unwrap();
    assert_eq!(web.role, GroupRole::Fault);
    assert!(web.reason.starts_with("wan: eth1 has no carrier"), "{}", web.reason);
    let cut = Instant::now();
    cluster.nodes[second].host.unplug_interface("eth0").unwrap();
    let third = 3 - first - second;
    wait(&cluster, "the last has both", |c| one_has(c, &all) == Some(third));
    println!("the cable of the LAN: both moved within {:?}", cut.elapsed());
    for vip in all {
        assert!(cluster.lab.observer().two_reachable_holders(vip, since).is_zero(), "{vip}");
    }
}

/// Down to the last node, which holds one of two and says why it does not hold the other.
pub(crate) fn groups_that_are_apart_are_never_on_one_node() {
    let cluster = three("apart = [\"db\"]", "db", "lan", "192.0.2.110/24");
    let db: IpAddr = "192.0.2.110".parse().unwrap();
    let (first, last) = (holder(&cluster), cluster.holder(db).unwrap());
    assert_ne!(first, last);
    let (since, other) = (Instant::now(), 3 - first - last);
    cluster.nodes[first].host.power_off().unwrap();
    wait(&cluster, "the third has web", |c| one_has(c, &WEB) == Some(other));
    cluster.nodes[other].host.power_off().unwrap();
    wait(&cluster, "nobody has web", |c| holders(c, WEB[0]).is_empty());
    // Longer than anything that would make it take over.
    std::thread::sleep(cluster.lease() + Duration::from_secs(5));
    assert!(holders(&cluster, WEB[0]).is_empty());
    assert_eq!(one_has(&cluster, &[db]), Some(last));
    let status = cluster.status(last).unwrap();
    let web = status.groups.iter().find(|group| group.name == "web").unwrap();
    assert_eq!(web.role, GroupRole::Standby);
    assert_eq!(web.reason, "holds db, which must be apart");
    assert_eq!(status.health.state, HealthState::Healthy);
    let name = cluster.nodes[last].name.clone();
    let timeline = cluster.lab.observer().timeline();
    assert!(timeline.held_by(&name, WEB[0], since).is_empty(), "not even for a moment");
    let why = cluster.switchover(last, "web", Some(&name)).unwrap_err().to_string();
    assert!(why.contains("web is active on no node"), "{why}");
}
