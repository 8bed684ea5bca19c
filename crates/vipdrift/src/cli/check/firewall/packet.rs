//! The packets that have to pass, and what a rule may ask of them.

use std::net::IpAddr;

use serde_json::Value;

/// A packet that matters, as one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// UDP, from this port to this port.
    Udp(u16),
    /// An echo request.
    Echo,
    /// An echo reply.
    Reply,
    /// Coming in, a request for an address that is here; going out, the reply.
    Arp,
    /// Coming in, a Neighbor Solicitation for an address that is here; going out, the Advertisement.
    Neighbor,
}

/// What the kernel's connection tracking says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The first of its connection.
    New,
    /// One that belongs to a connection with packets in both directions.
    Established,
}

/// A packet between this machine and another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'p> {
    pub(super) protocol: Protocol,
    pub(super) here: IpAddr,
    pub(super) there: IpAddr,
    pub(super) interface: &'p str,
    /// From there to here.
    pub(super) incoming: bool,
}

/// What is known of a field of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    Word(String),
    Number(u64),
    Address(IpAddr),
    /// The packet has no such field: no comparison with it holds, not even that it is different.
    Lacks,
    Unknown,
}

impl Packet<'_> {
    pub(super) fn is_arp(&self) -> bool {
        self.protocol == Protocol::Arp
    }

    /// What is known of the left side of a comparison (libnftables-json(5)).
    pub(super) fn field(&self, left: &Value, state: State) -> Field {
        if let Some(key) = left["meta"]["key"].as_str() {
            return self.meta(key);
        }
        if left["ct"]["key"] == "state" {
            return match (self.protocol, state) {
                (Protocol::Arp, _) => Field::Lacks,
                // Connection tracking leaves Neighbor Discovery alone.
                (Protocol::Neighbor, _) => word("untracked"),
                (_, State::New) => word("new"),
                (_, State::Established) => word("established"),
            };
        }
        if left["fib"]["result"] == "type" {
            return self.kind_of_address(&left["fib"]["flags"]);
        }
        let part = |key: &str| left["payload"][key].as_str();
        match (part("protocol"), part("field")) {
            (Some(protocol), Some(field)) => self.payload(protocol, field),
            _ => Field::Unknown,
        }
    }

    fn is_v4(&self) -> bool {
        self.here.is_ipv4()
    }

    fn source_and_destination(&self) -> (IpAddr, IpAddr) {
        if self.incoming { (self.there, self.here) } else { (self.here, self.there) }
    }

    fn meta(&self, key: &str) -> Field {
        // Of the other direction the name is empty.
        let interface = |mine: bool| word(if mine { self.interface } else { "" });
        match key {
            "iif" | "iifname" => interface(self.incoming),
            "oif" | "oifname" => interface(!self.incoming),
            "l4proto" => self.transport(),
            "nfproto" if self.is_arp() => word("arp"),
            "nfproto" => word(if self.is_v4() { "ipv4" } else { "ipv6" }),
            "protocol" => self.ethertype(),
            _ => Field::Unknown,
        }
    }

    fn transport(&self) -> Field {
        match self.protocol {
            Protocol::Udp(_) => word("udp"),
            Protocol::Arp => Field::Lacks,
            Protocol::Echo | Protocol::Reply if self.is_v4() => word("icmp"),
            Protocol::Echo | Protocol::Reply | Protocol::Neighbor => word("ipv6-icmp"),
        }
    }

    fn ethertype(&self) -> Field {
        word(match (self.protocol, self.is_v4()) {
            (Protocol::Arp, _) => "arp",
            (_, true) => "ip",
            (_, false) => "ip6",
        })
    }

    fn icmp(&self) -> Field {
        match self.protocol {
            Protocol::Echo => word("echo-request"),
            Protocol::Reply => word("echo-reply"),
            Protocol::Neighbor if self.incoming => word("nd-neighbor-solicit"),
            Protocol::Neighbor => word("nd-neighbor-advert"),
            Protocol::Udp(_) | Protocol::Arp => Field::Lacks,
        }
    }

    fn payload(&self, protocol: &str, field: &str) -> Field {
        let (source, destination) = self.source_and_destination();
        match (protocol, field) {
            ("ip", _) if self.is_arp() || !self.is_v4() => Field::Lacks,
            ("ip6", _) if self.is_v4() => Field::Lacks,
            ("ip" | "ip6", "saddr") => Field::Address(source),
            // A solicitation goes to a group of multicast.
            ("ip6", "daddr") if self.protocol == Protocol::Neighbor && self.incoming => Field::Unknown,
            ("ip" | "ip6", "daddr") => Field::Address(destination),
            ("ip", "protocol") | ("ip6", "nexthdr") => self.transport(),
            ("udp" | "th", "sport" | "dport") => match self.protocol {
                Protocol::Udp(port) => Field::Number(port.into()),
                _ if protocol == "udp" => Field::Lacks,
                _ => Field::Unknown,
            },
            ("udp", _) if !matches!(self.protocol, Protocol::Udp(_)) => Field::Lacks,
            ("icmp", "type") if self.is_v4() => self.icmp(),
            ("icmpv6", "type") if !self.is_v4() => self.icmp(),
            ("icmp", _) if !self.is_v4() || self.icmp() == Field::Lacks => Field::Lacks,
            ("icmpv6", _) if self.is_v4() || self.icmp() == Field::Lacks => Field::Lacks,
            ("arp", _) if !self.is_arp() => Field::Lacks,
            ("arp", "operation") => word(if self.incoming { "request" } else { "reply" }),
            ("arp", "saddr ip") => Field::Address(source),
            ("arp", "daddr ip") => Field::Address(destination),
            ("ether", "type") => self.ethertype(),
            ("tcp" | "sctp" | "dccp" | "udplite" | "igmp" | "esp" | "ah" | "comp" | "gre", _) => Field::Lacks,
            _ => Field::Unknown,
        }
    }

    /// What the routing table says of one of its addresses, and of nothing else.
    fn kind_of_address(&self, flags: &Value) -> Field {
        let flag = match flags {
            Value::Array(all) if all.len() == 1 => all[0].as_str(),
            one => one.as_str(),
        };
        match flag {
            Some("daddr") if self.protocol == Protocol::Neighbor => Field::Unknown,
            Some("daddr") => word(if self.incoming { "local" } else { "unicast" }),
            Some("saddr") => word(if self.incoming { "unicast" } else { "local" }),
            _ => Field::Unknown,
        }
    }
}

fn word(text: &str) -> Field {
    Field::Word(text.to_owned())
}
