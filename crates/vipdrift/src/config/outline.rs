//! What the nodes have to agree on, setting by setting: their digest is compared among peers, and where it differs, which
//! settings do. No value and no key goes into it, only hashes of values.

use std::collections::BTreeSet;
use std::fmt::Debug;

use vipdrift_checks::{Exec, Http, Managed, Probe};
use vipdrift_core::{NODES_ORDER, Outline};
use vipdrift_wire::heartbeat::Setting;

use super::file::{Cluster, Config, Control, GroupEntry, NodeEntry, Prefer};
use super::service::{CheckEntry, Hooks};

#[cfg(test)]
mod tests;

/// The outline of everything in `config` that the nodes have to agree on: without comments, layout, keys, the control
/// socket, the page, the user and the journal, which are matters of the machine. The order of the groups means nothing.
///
/// Paths are the words that lead to a key in the file. Every field of the file's model is named here, so that a new key
/// cannot be forgotten.
pub(crate) fn of(config: &Config) -> Outline {
    let Config { cluster, nodes, groups, control: Control { socket: _, http: _, token: _ } } = config;
    let mut out = Settings(Vec::new());
    out.cluster(cluster);
    let order: Vec<_> = nodes.iter().map(|node| node.name.get_ref()).collect();
    out.add(NODES_ORDER, &order);
    for node in nodes {
        out.node(node);
    }
    for group in groups {
        out.group(group);
    }
    out.0.into()
}

struct Settings(Vec<Setting>);

impl Settings {
    fn add(&mut self, path: impl Into<String>, value: &impl Debug) {
        self.0.push(Setting::new(path, &format!("{value:?}")));
    }

    fn cluster(&mut self, cluster: &Cluster) {
        let Cluster {
            name,
            key: _,
            previous_key: _,
            heartbeat,
            dead_after,
            lease,
            start_wait,
            port,
            user: _,
            journal: _,
        } = cluster;
        self.add("cluster.name", name);
        self.add("cluster.heartbeat", heartbeat);
        self.add("cluster.dead_after", dead_after);
        self.add("cluster.lease", lease.get_ref());
        self.add("cluster.start_wait", start_wait);
        self.add("cluster.port", port);
    }

    fn node(&mut self, node: &NodeEntry) {
        let NodeEntry { name, addresses, interfaces, weight } = node;
        let at = format!("node {}", name.get_ref());
        let addresses: Vec<_> = addresses.get_ref().iter().map(|address| address.get_ref()).collect();
        self.add(format!("{at} addresses"), &addresses);
        for (logical, real) in interfaces {
            self.add(format!("{at} interfaces {}", logical.get_ref()), real.get_ref());
        }
        self.add(format!("{at} weight"), weight);
    }

    fn group(&mut self, group: &GroupEntry) {
        let GroupEntry {
            name,
            interface,
            vips,
            prefer,
            together,
            apart,
            failback,
            occupied,
            switchover,
            references,
            isolated,
            as_source,
            checks,
            all_unhealthy,
            hooks,
        } = group;
        let at = format!("group {}", name.get_ref());
        let mut add = |key: &str, value: &dyn Debug| self.add(format!("{at} {key}"), &value);
        add("interface", interface.get_ref());
        add("vips", &vips.iter().map(|vip| vip.get_ref()).collect::<Vec<_>>());
        match prefer {
            Prefer::AsWritten => add("prefer", &"as written"),
            Prefer::Spread => add("prefer", &"spread"),
            Prefer::These(names) => {
                add("prefer", &names.iter().map(|name| name.get_ref()).collect::<Vec<_>>());
            }
        }
        for (key, names) in [("together", together), ("apart", apart)] {
            // In which order they are named means nothing.
            add(key, &names.iter().map(|name| name.get_ref()).collect::<BTreeSet<_>>());
        }
        add("failback", failback);
        add("occupied", occupied);
        add("switchover", switchover);
        add("references", &references.iter().map(|reference| reference.get_ref()).collect::<Vec<_>>());
        add("isolated", isolated);
        add("as_source", as_source);
        add("all_unhealthy", all_unhealthy);
        if let Some(Hooks { before_active, active, standby, fault, drained, timeout, user }) = hooks {
            for (key, hook) in [
                ("before_active", before_active),
                ("active", active),
                ("standby", standby),
                ("fault", fault),
                ("drained", drained),
            ] {
                if let Some(command) = hook {
                    add(&format!("hooks {key}"), command);
                }
            }
            add("hooks timeout", timeout);
            add("hooks user", user);
        }
        for check in checks {
            self.check(&at, check);
        }
    }

    fn check(&mut self, group: &str, check: &CheckEntry) {
        let CheckEntry { name, probe, user, interval, timeout, fall, rise, initially_passing, effect } =
            check;
        let at = format!("{group} check {}", name.get_ref());
        let mut add = |key: &str, value: &dyn Debug| self.add(format!("{at} {key}"), &value);
        match probe {
            Probe::Tcp(address) => add("tcp", address),
            Probe::Http(Http { url, host, status, body, verify, ca_file }) => {
                add("http", url);
                add("host", host);
                add("status", status);
                add("body", body);
                add("verify", verify);
                add("ca_file", ca_file);
            }
            Probe::Exec(Exec { command, account: _, environment: _ }) => {
                add("exec", command);
                add("user", user);
            }
            Probe::Process(subject) => add("process", subject),
            Probe::Managed(Managed { unit, service }) => {
                for (key, name) in [("unit", unit), ("service", service)] {
                    if let Some(name) = name {
                        add(key, name);
                    }
                }
            }
            Probe::File(path) => add("file", path),
            Probe::Icmp(address) => add("icmp", address),
            // Comes of looking at the machine, never of the file.
            Probe::Impossible(_) => {}
        }
        add("interval", interval);
        add("timeout", timeout);
        add("fall", fall);
        add("rise", rise);
        add("initial", initially_passing);
        add("effect", effect);
    }
}
