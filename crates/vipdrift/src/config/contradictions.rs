//! What is wrong between the parts of a configuration that are right by themselves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vipdrift_core::{Reference, Switchover};

use super::duration::show;
use super::file::{Config, GroupEntry, Lease, Prefer};
use super::problem::{Problem, Problems, nearest};

/// Adds every contradiction in `config` to `problems`.
pub(crate) fn find(config: &Config, problems: &Problems) {
    lease(config, problems);
    nodes(config, problems);
    let holders = vips(config, problems);
    paths(config, problems);
    not_too_many_checks(config, problems);
    super::placement::find(config, problems);
    for group in &config.groups {
        prefer(config, group, problems);
        interface(config, group, problems);
        checks(group, problems);
        gate(group, problems);
        for reference in &group.references {
            if let Reference::Address(address) = reference.get_ref()
                && let Some(what) = holders.get(address)
            {
                problems.add(
                    Problem::at(
                        reference.span(),
                        format!("{address} cannot be a reference"),
                        format!("it is {what}"),
                    )
                    .help("a reference is a machine outside the cluster, such as the gateway"),
                );
            }
        }
    }
}

fn lease(config: &Config, problems: &Problems) {
    let cluster = &config.cluster;
    let dead = cluster.heartbeat * cluster.dead_after;
    if let Lease::Lasts(lease) = *cluster.lease.get_ref()
        && dead >= lease
    {
        problems.add(
            Problem::at(
                cluster.lease.span(),
                format!("the lease must be longer than the dead time, which is {}", show(dead)),
                format!("{} here", show(lease)),
            )
            .help(format!(
                "heartbeat {} times dead_after {} is {}; raise `lease`, or lower `heartbeat` or `dead_after`",
                show(cluster.heartbeat),
                cluster.dead_after,
                show(dead)
            )),
        );
    }
}

fn nodes(config: &Config, problems: &Problems) {
    let mut names = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for node in &config.nodes {
        if let Some(first) = names.insert(node.name.get_ref(), node.name.span()) {
            problems.add(
                Problem::at(
                    node.name.span(),
                    format!("two nodes are called `{}`", node.name.get_ref()),
                    "again here",
                )
                .beside(first, "first here"),
            );
        }
        for address in node.addresses.get_ref() {
            if let Some(first) = addresses.insert(address.get_ref(), address.span()) {
                problems.add(
                    Problem::at(
                        address.span(),
                        format!("the address {} is there twice", address.get_ref()),
                        "again here",
                    )
                    .beside(first, "first here"),
                );
            }
        }
    }
}

/// Also answers what every address of the cluster is.
fn vips(config: &Config, problems: &Problems) -> BTreeMap<IpAddr, String> {
    let mut known = BTreeMap::new();
    let mut places = BTreeMap::new();
    for node in &config.nodes {
        for address in node.addresses.get_ref() {
            known.insert(*address.get_ref(), format!("an address of node `{}`", node.name.get_ref()));
            places.insert(*address.get_ref(), address.span());
        }
    }
    let mut names = BTreeMap::new();
    for group in &config.groups {
        if let Some(first) = names.insert(group.name.get_ref(), group.name.span()) {
            problems.add(
                Problem::at(
                    group.name.span(),
                    format!("two groups are called `{}`", group.name.get_ref()),
                    "again here",
                )
                .beside(first, "first here"),
            );
        }
        for vip in &group.vips {
            let address = vip.get_ref().addr();
            if let Some(what) = known.get(&address) {
                let mut problem = Problem::at(
                    vip.span(),
                    format!("{address} cannot be a VIP here"),
                    format!("it is {what}"),
                );
                if let Some(place) = places.get(&address) {
                    problem = problem.beside(place.clone(), "there");
                }
                problems.add(problem);
                continue;
            }
            known.insert(address, format!("a VIP of group `{}`", group.name.get_ref()));
            places.insert(address, vip.span());
        }
    }
    known
}

/// Every two nodes need a path: addresses of the same family.
fn paths(config: &Config, problems: &Problems) {
    for (i, node) in config.nodes.iter().enumerate() {
        for other in &config.nodes[..i] {
            let mut pairs = node
                .addresses
                .get_ref()
                .iter()
                .flat_map(|a| other.addresses.get_ref().iter().map(move |b| (a.get_ref(), b.get_ref())));
            if !pairs.any(|(a, b)| a.is_ipv4() == b.is_ipv4()) && !other.addresses.get_ref().is_empty() {
                problems.add(
                    Problem::at(
                        node.addresses.span(),
                        format!(
                            "`{}` and `{}` have no way to hear each other",
                            node.name.get_ref(),
                            other.name.get_ref()
                        ),
                        "no address of the same family",
                    )
                    .beside(other.addresses.span(), "as here")
                    .help("give both an IPv4 address, or both an IPv6 address"),
                );
            }
        }
    }
}

fn prefer(config: &Config, group: &GroupEntry, problems: &Problems) {
    let Prefer::These(names) = &group.prefer else { return };
    let mut seen = BTreeMap::new();
    for name in names {
        let known = || config.nodes.iter().map(|n| n.name.get_ref().as_str());
        if !known().any(|k| k == name.get_ref()) {
            let mut problem = Problem::at(
                name.span(),
                format!("there is no node `{}`", name.get_ref()),
                "not the name of a [[node]]",
            );
            if let Some(near) = nearest(name.get_ref(), known()) {
                problem = problem.help(format!("did you mean `{near}`?"));
            }
            problems.add(problem);
        }
        if let Some(first) = seen.insert(name.get_ref(), name.span()) {
            problems.add(
                Problem::at(name.span(), format!("`{}` is preferred twice", name.get_ref()), "again here")
                    .beside(first, "first here"),
            );
        }
    }
}

/// More would be more than one process can look at, and than a brain can be told in one go.
const MOST_CHECKS: usize = 1000;

fn not_too_many_checks(config: &Config, problems: &Problems) {
    let all: Vec<_> = config.groups.iter().flat_map(|group| &group.checks).collect();
    if let Some(first) = all.get(MOST_CHECKS) {
        problems.add(
            Problem::at(
                first.name.span(),
                format!("{} checks are too many", all.len()),
                "this one goes beyond",
            )
            .help(format!("at most {MOST_CHECKS}; one `exec` check may look at many things")),
        );
    }
}

/// Checks of a group are told apart by their names.
fn checks(group: &GroupEntry, problems: &Problems) {
    let mut names = BTreeMap::new();
    for check in &group.checks {
        if let Some(first) = names.insert(check.name.get_ref(), check.name.span()) {
            problems.add(
                Problem::at(
                    check.name.span(),
                    format!(
                        "two checks of group `{}` are called `{}`",
                        group.name.get_ref(),
                        check.name.get_ref()
                    ),
                    "again here",
                )
                .beside(first, "first here")
                .help("give each a `name`"),
            );
        }
    }
}

/// An heir that mounts before the holder has let go cannot wait for a program first: the holder waits for it.
fn gate(group: &GroupEntry, problems: &Problems) {
    let gated = group.hooks.as_ref().is_some_and(|hooks| hooks.before_active.is_some());
    if gated && group.switchover == Switchover::Hitless {
        let name = group.name.get_ref();
        problems.add(
            Problem::at(
                group.name.span(),
                format!("group `{name}` cannot be hitless and have a `before_active` hook"),
                "both in this group",
            )
            .help("a hitless heir mounts at once; leave out `before_active`, or switchover = \"hitless\""),
        );
    }
}

/// A logical name must mean something on every node, since every node may hold the group.
fn interface(config: &Config, group: &GroupEntry, problems: &Problems) {
    let name = group.interface.get_ref();
    let defines =
        |n: &&super::file::NodeEntry| n.interfaces.iter().any(|(logical, _)| logical.get_ref() == name);
    let Some(one) = config.nodes.iter().find(defines) else {
        let logical =
            config.nodes.iter().flat_map(|n| n.interfaces.iter().map(|(l, _)| l.get_ref().as_str()));
        let used = config.groups.iter().map(|g| g.interface.get_ref().as_str());
        // Real names need no definition; a near miss of a logical name that no group uses is a typing error.
        let unused = logical.filter(|l| !used.clone().any(|u| u == *l));
        if let Some(near) = nearest(name, unused) {
            problems.add(
                Problem::at(
                    group.interface.span(),
                    format!("no node has an interface called `{name}`"),
                    "neither a logical name of a [[node]] nor likely a real one",
                )
                .help(format!("did you mean `{near}`?")),
            );
        }
        return;
    };
    for node in config.nodes.iter().filter(|n| !defines(n)) {
        let mut problem = Problem::at(
            node.name.span(),
            format!("node `{}` does not say which interface is `{name}`", node.name.get_ref()),
            format!("needed by group `{}`", group.name.get_ref()),
        )
        .beside(
            group.interface.span(),
            format!("a logical name, since node `{}` defines it", one.name.get_ref()),
        );
        let near = nearest(name, node.interfaces.iter().map(|(l, _)| l.get_ref().as_str()));
        problem = match near {
            Some(near) => problem.help(format!("it has `{near}`: did you mean `{name}`?")),
            None => problem.help(format!("add interfaces = {{ {name} = \"eth0\" }} to it")),
        };
        problems.add(problem);
    }
}
