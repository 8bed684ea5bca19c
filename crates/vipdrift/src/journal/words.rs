//! Events in words, for people who step through an incident.

use std::fmt::Write as _;
use std::net::IpAddr;

use vipdrift_core::{
    Command, Deadline, Drift, Event, InterfaceIndex, LinkFacts, NodeConfig, PathIndex, RoleName, VipIndex,
};
use vipdrift_wire::heartbeat::{Health, Heartbeat, Message, NodeId, Role, Word, WordKind, decode};
use vipdrift_wire::{Frame, arp, ndp, parse_frame};

use crate::config::duration;

/// A role in a word.
pub(crate) fn role(role: RoleName) -> &'static str {
    match role {
        RoleName::Active => "active",
        RoleName::Standby => "standby",
        RoleName::Fault => "fault",
        RoleName::Drained => "drained",
    }
}

/// Names of things in a node's configuration.
pub(super) struct Names<'c>(pub(super) &'c NodeConfig);

impl Names<'_> {
    fn node(&self, id: NodeId) -> String {
        if id == self.0.id {
            return self.0.name.clone();
        }
        let peer = self.0.peers.iter().find(|peer| peer.id == id);
        peer.map_or_else(|| format!("unknown node {id}"), |peer| peer.name.clone())
    }

    fn peer(&self, path: Option<PathIndex>) -> String {
        let path = path.and_then(|path| self.0.paths.get(path.0));
        let Some(path) = path else { return "an unknown address".to_owned() };
        let name = self.0.peers.get(path.peer.0).map_or("?", |peer| peer.name.as_str());
        format!("{name} ({})", path.remote)
    }

    fn interface(&self, index: InterfaceIndex) -> &str {
        self.0.interfaces.get(index.0).map_or("?", String::as_str)
    }

    pub(super) fn group(&self, index: vipdrift_core::GroupIndex) -> &str {
        self.0.groups.get(index.0).map_or("?", |group| group.name.as_str())
    }

    pub(super) fn vips(&self, vips: &[VipIndex]) -> String {
        let shown: Vec<_> = vips
            .iter()
            .map(|vip| self.0.vips.get(vip.0).map_or_else(|| "?".to_owned(), |vip| vip.address.to_string()))
            .collect();
        if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
    }

    /// An address, and what it is.
    fn address(&self, address: IpAddr) -> String {
        let vip = self.0.vips.iter().position(|vip| vip.address.addr() == address);
        if let Some(vip) = vip {
            let group = self.0.groups.iter().find(|group| group.vips.contains(&VipIndex(vip)));
            return format!("VIP {address} of {}", group.map_or("?", |group| group.name.as_str()));
        }
        if self.0.paths.iter().any(|path| path.local == address) {
            return format!("own {address}");
        }
        match self.0.paths.iter().find(|path| path.remote == address) {
            Some(path) => {
                format!("{} {address}", self.0.peers.get(path.peer.0).map_or("?", |p| p.name.as_str()))
            }
            None => address.to_string(),
        }
    }

    /// An event. `deadline` is what the node had been waiting for.
    pub(super) fn event(&self, event: &Event<'_>, deadline: Option<Deadline>) -> String {
        match event {
            Event::Timeout => match deadline {
                Some(deadline) => format!("timer {}", deadline.why),
                None => "timer".to_owned(),
            },
            Event::Datagram { path, bytes } => match decode(bytes, &self.0.keys) {
                Ok(Message::Heartbeat(heartbeat)) => self.heartbeat(*path, &heartbeat),
                Ok(Message::Word(word)) => self.word(&word),
                Ok(Message::Outline(part)) => format!(
                    "outline of the configuration from {}, part {} of {}, {} settings",
                    self.node(part.sender),
                    part.index + 1,
                    part.count,
                    part.settings.len()
                ),
                Err(why) => {
                    format!("datagram of {} bytes from {}: {}", bytes.len(), self.peer(*path), why.name())
                }
            },
            Event::Frame { interface, bytes } => {
                format!("{} on {}", self.frame(bytes), self.interface(*interface))
            }
            Event::EchoReply { from } => format!("echo reply from {}", self.address(*from)),
            Event::Link { interface, facts } => link(self.interface(*interface), facts),
            Event::Applied { plan, mounted, failed, complete } => {
                let mut text = format!("keeper: plan {}, mounted {}", plan.0, self.vips(mounted));
                for (vip, why) in failed {
                    let _ = write!(text, "; {} failed: {why}", self.vips(&[*vip]));
                }
                if !complete {
                    text.push_str("; more to do");
                }
                text
            }
            Event::Drifted { vip, drift } => {
                let what = if *drift == Drift::Removed { "removed" } else { "added" };
                format!("keeper: somebody {what} {}", self.vips(&[*vip]))
            }
            Event::ClockGap { missing } => format!("clock gap of {}", duration::show(*missing)),
            Event::SlowSide { alive } => {
                (if *alive { "the slow side moves again" } else { "the slow side hangs" }).to_owned()
            }
            Event::Check { check, failing } => {
                let name = self.0.checks.get(check.0).map_or("?", |check| check.name.as_str());
                let group = self.0.checks.get(check.0).map_or("?", |check| self.group(check.group));
                match failing {
                    Some(why) => format!("check {name} of {group} fails: {why}"),
                    None => format!("check {name} of {group} passes"),
                }
            }
            Event::Prepared { group, outcome, .. } => match outcome {
                Ok(()) => format!("before_active of {} succeeded", self.group(*group)),
                Err(why) => format!("before_active of {} failed: {why}", self.group(*group)),
            },
            Event::Unasked { interface, target } => {
                format!("{target} could not be asked for on {}", self.interface(*interface))
            }
            Event::KeeperGone => "the keeper is gone".to_owned(),
            Event::Command(command) => match command {
                Command::Switchover { group, to, .. } => match to {
                    Some(to) => format!("command: switchover {} to {to}", self.group(*group)),
                    None => format!("command: switchover {}", self.group(*group)),
                },
                Command::Drill { group, .. } => format!("command: drill {}", self.group(*group)),
                Command::Drain { .. } => "command: drain".to_owned(),
                Command::Undrain { .. } => "command: undrain".to_owned(),
                Command::Shutdown => "command: shut down".to_owned(),
            },
        }
    }

    fn heartbeat(&self, path: Option<PathIndex>, heartbeat: &Heartbeat) -> String {
        let mut text =
            format!("heartbeat from {}, sequence {}", self.node(heartbeat.sender), heartbeat.sequence);
        if path.is_none() {
            text.push_str(", from an unknown address");
        }
        if heartbeat.receiver != self.0.id {
            let _ = write!(text, ", for {}", self.node(heartbeat.receiver));
        }
        match heartbeat.echo {
            Some(echo) => {
                let _ = write!(text, ", heard {}", echo.sequence);
            }
            None => text.push_str(", has not heard this node"),
        }
        match heartbeat.health {
            Health::Healthy => {}
            Health::Fault => text.push_str(", in fault"),
            Health::Drained => text.push_str(", drained"),
        }
        for (flag, what) in [(heartbeat.solicit, ", asks for an answer"), (heartbeat.leaving, ", leaves")] {
            if flag {
                text.push_str(what);
            }
        }
        if let Some(states) = &heartbeat.states {
            for state in &states.groups {
                let group = self.0.groups.iter().find(|group| group.id == state.group);
                let role = match state.role {
                    Role::Active => "active",
                    Role::Standby => "standby",
                    Role::Fault => "fault",
                    Role::Drained => "drained",
                };
                let name = group.map_or("an unknown group", |group| group.name.as_str());
                let _ = write!(text, "; {name}: {role}, term {}", state.term);
                for (flag, what) in
                    [(state.mounted, "mounted"), (state.claiming, "claiming"), (state.proving, "proving")]
                {
                    if flag {
                        let _ = write!(text, ", {what}");
                    }
                }
                if let Some(heir) = state.heir {
                    let _ = write!(text, ", heir {}", self.node(heir));
                }
            }
        }
        text
    }

    fn word(&self, word: &Word) -> String {
        let said = match word.kind {
            WordKind::Holding { at_most } => format!("holding, at most {} more", duration::show(at_most)),
            WordKind::Resigned => "everything is unmounted".to_owned(),
            WordKind::LeaseEnds { within } => format!("the lease ends within {}", duration::show(within)),
            WordKind::Absent { at_most } => {
                format!("restarting, the kernel holds at most {} more", duration::show(at_most))
            }
        };
        format!("word of {}: {said}", self.node(word.sender))
    }

    fn frame(&self, bytes: &[u8]) -> String {
        match parse_frame(bytes) {
            Ok((_, Frame::Arp(packet))) => {
                let (sender, target) = (IpAddr::V4(packet.sender_ip), IpAddr::V4(packet.target_ip));
                let mac = packet.sender_mac;
                match packet.operation {
                    _ if packet.sender_ip == packet.target_ip => {
                        format!("ARP announcement: {} is at {mac}", self.address(sender))
                    }
                    arp::Operation::Request if packet.sender_ip.is_unspecified() => {
                        format!("ARP probe for {} by {mac}", self.address(target))
                    }
                    arp::Operation::Request => {
                        format!(
                            "ARP question for {} by {} at {mac}",
                            self.address(target),
                            self.address(sender)
                        )
                    }
                    arp::Operation::Reply => format!("ARP answer: {} is at {mac}", self.address(sender)),
                }
            }
            Ok((header, Frame::Neighbor(message))) => self.neighbor(header.source, &message),
            Err(why) => format!("frame of {} bytes: {}", bytes.len(), why.name()),
        }
    }

    fn neighbor(&self, from: vipdrift_wire::Mac, message: &ndp::Message) -> String {
        match message {
            ndp::Message::Solicitation { source, target, .. } if source.is_unspecified() => {
                format!("ND probe for {} by {from}", self.address(IpAddr::V6(*target)))
            }
            ndp::Message::Solicitation { source, target, .. } => format!(
                "ND question for {} by {} at {from}",
                self.address(IpAddr::V6(*target)),
                self.address(IpAddr::V6(*source))
            ),
            ndp::Message::Advertisement { target, target_mac, solicited, .. } => {
                let kind = if *solicited { "answer" } else { "announcement" };
                let mac = target_mac.unwrap_or(from);
                format!("ND {kind}: {} is at {mac}", self.address(IpAddr::V6(*target)))
            }
        }
    }
}

fn link(name: &str, facts: &LinkFacts) -> String {
    if !facts.present {
        return format!("{name} is gone");
    }
    let list = |parts: Vec<String>| if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
    let mac = facts.mac.map_or_else(|| "no MAC".to_owned(), |mac| mac.to_string());
    format!(
        "{name}: {}, {mac}, addresses {}, gateways {}",
        if facts.running { "running" } else { "down or no carrier" },
        list(facts.addresses.iter().map(ToString::to_string).collect()),
        list(facts.gateways.iter().map(ToString::to_string).collect())
    )
}
