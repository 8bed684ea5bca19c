//! `vipdrift check`: the configuration and this machine. Changes nothing.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use ipnet::IpNet;
use serde::Serialize;
use vipdrift_platform::addresses::{Address, Kernel};
use vipdrift_platform::links::Link;
use vipdrift_platform::realtime;

use super::{Check, DONE, NOT_DONE, config_file, fail, refused};
use crate::config::{self, Config, Resolved, Secrets};
use crate::keeper::{self, sockets};
use crate::privileges;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    text: String,
    /// What to do, where there is something to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    ok: bool,
    findings: Vec<Finding>,
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, text: impl Into<String>) {
        self.0.push(Finding { level: Level::Ok, text: text.into(), remedy: None });
    }

    fn warning(&mut self, text: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { level: Level::Warning, text: text.into(), remedy: Some(remedy.into()) });
    }

    fn error(&mut self, text: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { level: Level::Error, text: text.into(), remedy: Some(remedy.into()) });
    }
}

pub(super) fn run(args: &Check) -> u8 {
    let file = config_file(args.report.place.config.clone());
    let loaded = match config::load(&file) {
        Ok(loaded) => loaded,
        Err(why) => return refused(&why),
    };
    if let Err(why) = Secrets::read(&file, &loaded) {
        return refused(&why);
    }
    let mut findings = Findings::default();
    let config = &loaded.config;
    findings.ok(format!(
        "{}: cluster {}, {} nodes, {} groups",
        file.display(),
        config.cluster.name,
        config.nodes.len(),
        config.groups.len()
    ));
    if config.nodes.len() == 1 {
        findings.warning("there is only one node: a VIP has nowhere to drift to", "add a second [[node]]");
    }
    if config.control.http.is_some() {
        findings
            .warning("[control] http is not served by this version", "leave it out, or set it to \"off\"");
    }
    if let Some(journal) = &config.cluster.journal {
        let folder = journal.folder.display();
        if journal.folder.exists() && !journal.folder.is_dir() {
            findings.error(
                format!("the journal cannot be kept in {folder}: something else is there"),
                "name a folder as `journal` in [cluster], or move away what is there",
            );
        } else {
            let limit = config::size::show(journal.limit);
            findings.ok(format!("journal in {folder}, at most {limit}"));
        }
    }
    let socket = args.report.place.socket.as_deref().unwrap_or(keeper::control_socket(config));
    machine(config, args.node.as_deref(), socket, &mut findings);
    let ok = findings.0.iter().all(|finding| finding.level != Level::Error);
    let shown = if args.report.json {
        serde_json::to_string(&Answer { ok, findings: findings.0 }).unwrap_or_default() + "\n"
    } else {
        show(&findings)
    };
    if let Err(error) = std::io::stdout().write_all(shown.as_bytes()) {
        return fail(NOT_DONE, &config::plain(&error));
    }
    if ok { DONE } else { NOT_DONE }
}

fn show(findings: &Findings) -> String {
    let mut out = String::new();
    for finding in &findings.0 {
        let level = match finding.level {
            Level::Ok => "ok      ",
            Level::Warning => "warning ",
            Level::Error => "ERROR   ",
        };
        out.push_str(&format!("{level}{}\n", finding.text));
        if let Some(remedy) = &finding.remedy {
            out.push_str(&format!("        {remedy}\n"));
        }
    }
    out
}

fn machine(config: &Config, node: Option<&str>, socket: &Path, findings: &mut Findings) {
    let mut kernel = match Kernel::open() {
        Ok(kernel) => kernel,
        Err(error) => return findings.error(error.to_string(), sockets::PRIVILEGES),
    };
    let name = match keeper::own_name(config, node, &mut kernel) {
        Ok(name) => name,
        Err(error) => {
            let text = error.to_string();
            let (what, remedy) =
                text.split_once("\n  ").unwrap_or((&text, "name one of its nodes with --node"));
            return findings.error(what, remedy);
        }
    };
    let Some(resolved) = Resolved::new(config, &name) else { return };
    findings.ok(format!("this is node {name}"));
    let running = UnixStream::connect(socket).is_ok();
    match (kernel.links(), kernel.addresses()) {
        (Ok(links), Ok(addresses)) => {
            own_addresses(&resolved, &addresses, findings);
            interfaces(&resolved, &links, &addresses, findings);
            vips(&resolved, &links, &addresses, running, findings);
        }
        (Err(error), _) | (_, Err(error)) => findings.error(error.to_string(), sockets::PRIVILEGES),
    }
    ports(&resolved, running, socket, findings);
    permissions(findings);
}

fn own_addresses(resolved: &Resolved, addresses: &[Address], findings: &mut Findings) {
    for own in &resolved.own {
        if addresses.iter().any(|address| address.network.addr() == own.ip()) {
            findings.ok(format!("heartbeat address {} is here", own.ip()));
        } else {
            findings.error(
                format!("heartbeat address {} is not on this machine", own.ip()),
                "configure it on an interface, or correct `addresses` of this node",
            );
        }
    }
}

fn interfaces(resolved: &Resolved, links: &[Link], addresses: &[Address], findings: &mut Findings) {
    for name in &resolved.interfaces {
        let Some(link) = links.iter().find(|link| link.name == *name) else {
            let there: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
            findings
                .error(format!("there is no interface {name}"), format!("there are: {}", there.join(", ")));
            continue;
        };
        if link.loopback {
            findings.error(
                format!("{name} is the loopback interface"),
                "choose the interface that clients reach",
            );
        } else if !link.running {
            findings.error(
                format!("interface {name} is down or has no carrier"),
                format!("check the cable, or switch it on: ip link set {name} up"),
            );
        } else {
            findings.ok(format!("interface {name} is running"));
        }
        let mine = addresses.iter().filter(|address| address.interface == link.index && !address.ours);
        let shown: Vec<_> = mine.map(|address| address.network.to_string()).collect();
        if shown.is_empty() {
            findings.warning(
                format!("interface {name} has no address of its own"),
                "give it one: peers and references are asked from there",
            );
        } else {
            findings.ok(format!("interface {name} has {}", shown.join(", ")));
        }
    }
}

fn vips(resolved: &Resolved, links: &[Link], addresses: &[Address], running: bool, findings: &mut Findings) {
    let mut quiet = true;
    for vip in &resolved.vips {
        let name = &resolved.interfaces[vip.interface.0];
        let index = links.iter().find(|link| link.name == *name).map(|link| link.index);
        let ip = vip.address.addr();
        let is_vip = |ip| resolved.vips.iter().any(|vip| vip.address.addr() == ip);
        let on_link =
            |address: &&Address| Some(address.interface) == index && !is_vip(address.network.addr());
        let mut subnets = addresses.iter().filter(on_link).map(|address| address.network);
        if index.is_some()
            && !subnets.any(|net: IpNet| net.contains(&ip) && net.addr().is_ipv4() == ip.is_ipv4())
        {
            quiet = false;
            findings.warning(
                format!("VIP {} is in no subnet of {name}: no address of its own is in it", vip.address),
                "correct the VIP or its prefix, or give the interface an address of that subnet: without one the VIP is \
                 mounted, but this machine has no route to clients in it",
            );
        }
        for held in addresses.iter().filter(|address| address.network.addr() == ip) {
            let on =
                links.iter().find(|link| link.index == held.interface).map_or("?", |link| link.name.as_str());
            if running && held.ours {
                continue;
            }
            quiet = false;
            let remove = format!("ip address del {} dev {on}", held.network);
            if held.ours {
                findings.warning(
                    format!("VIP {ip} was left on {on} by an earlier vipdrift"),
                    format!("the next start removes it; or: {remove}"),
                );
            } else {
                findings.error(
                    format!("VIP {ip} is configured on {on} by something else"),
                    format!("take it out of this machine's network configuration, then: {remove}"),
                );
            }
        }
    }
    if quiet {
        findings
            .ok(format!("{} VIPs fit their interfaces, and nothing else has them here", resolved.vips.len()));
    }
}

fn ports(resolved: &Resolved, running: bool, socket: &Path, findings: &mut Findings) {
    if running {
        findings.ok(format!("vipdrift is running: it answers on {}", socket.display()));
        return;
    }
    for own in &resolved.own {
        match sockets::heartbeat(*own) {
            Ok(_) => findings.ok(format!("UDP port {} of {} is free", own.port(), own.ip())),
            Err(error) => findings.error(error.what, error.remedy),
        }
    }
}

fn permissions(findings: &mut Findings) {
    let missing = privileges::missing();
    if missing.is_empty() {
        findings.ok("this user may mount addresses and open packet sockets");
    } else {
        findings.error(format!("this user lacks {}", missing.join(" and ")), sockets::PRIVILEGES);
    }
    // On a thread of its own, which ends with the question.
    let asked = std::thread::spawn(|| {
        let _ = realtime::raise_limits();
        realtime::real_time(1).map_err(|error| error.to_string())
    });
    match asked.join() {
        Ok(Ok(())) => findings.ok("real-time priority is permitted"),
        Ok(Err(error)) => findings.warning(
            error,
            "heartbeats may be late on a busy machine; permit it with CAP_SYS_NICE or LimitRTPRIO=50 in the unit",
        ),
        Err(_) => {}
    }
}
