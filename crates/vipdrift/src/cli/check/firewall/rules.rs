//! The rules of nftables as `nft -j list ruleset` prints them (libnftables-json(5)), and what becomes of a packet.
//!
//! Three answers: a rule matches, it does not, or that cannot be told from here (sets by name, limits, marks).

use std::net::IpAddr;

use serde_json::Value;

/// A packet that matters, as one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// UDP, from this port to this port.
    Udp(u16),
    /// An echo request.
    Echo,
    Arp,
    /// A Neighbor Solicitation or Advertisement.
    Neighbor,
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

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Passes,
    /// By this rule or policy.
    Drops(String),
    /// That depends on this rule.
    Unknown(String),
}

/// How a rule's condition stands to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    Unknown,
}

impl Match {
    fn of(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }
}

/// All rules of a machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    chains: Vec<Chain>,
}

#[derive(Debug, Clone)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    device: Option<String>,
    priority: i64,
    drops: bool,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    handle: u64,
    statements: Vec<Value>,
}

/// How a chain ends for a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Accept,
    Drop(String),
    /// Perhaps a drop, by this rule.
    Perhaps(String),
    /// Its end was reached.
    Through,
}

/// Chains that call each other deeper than this are a mistake; the kernel allows 16.
const DEEPEST: u32 = 16;

impl Rules {
    /// Reads what nft has printed.
    ///
    /// # Errors
    /// In a sentence.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let all: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let entries = all["nftables"].as_array().ok_or("there is no list of `nftables`")?;
        let mut rules = Self::default();
        let word = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        for chain in entries.iter().filter_map(|entry| entry.get("chain")) {
            rules.chains.push(Chain {
                family: word(chain, "family"),
                table: word(chain, "table"),
                name: word(chain, "name"),
                hook: chain["hook"].as_str().filter(|_| chain["type"] == "filter").map(str::to_owned),
                device: chain["dev"].as_str().map(str::to_owned),
                priority: chain["prio"].as_i64().unwrap_or(0),
                drops: chain["policy"] == "drop",
                rules: Vec::new(),
            });
        }
        for rule in entries.iter().filter_map(|entry| entry.get("rule")) {
            let (family, table, name) = (word(rule, "family"), word(rule, "table"), word(rule, "chain"));
            let statements = rule["expr"].as_array().cloned().unwrap_or_default();
            let handle = rule["handle"].as_u64().unwrap_or(0);
            if let Some(at) = rules.position(&family, &table, &name) {
                rules.chains[at].rules.push(Rule { handle, statements });
            }
        }
        rules.chains.sort_by_key(|chain| chain.priority);
        Ok(rules)
    }

    fn position(&self, family: &str, table: &str, name: &str) -> Option<usize> {
        self.chains
            .iter()
            .position(|chain| chain.family == family && chain.table == table && chain.name == name)
    }

    /// Which program has made them, if it is known.
    pub(super) fn manager(&self) -> Option<&'static str> {
        if self.chains.iter().any(|chain| chain.table == "firewalld") {
            Some("firewalld")
        } else if self.chains.iter().any(|chain| chain.name.starts_with("ufw")) {
            Some("ufw")
        } else {
            None
        }
    }

    /// What becomes of a packet; with `known`, one that belongs to a connection that the kernel knows.
    pub(super) fn verdict(&self, packet: &Packet<'_>, known: bool) -> Verdict {
        let mut perhaps = None;
        for chain in self.chains.iter().filter(|chain| chain.sees(packet)) {
            match self.walk(chain, packet, known, 0) {
                End::Drop(by) => {
                    return match perhaps {
                        None => Verdict::Drops(by),
                        Some(by) => Verdict::Unknown(by),
                    };
                }
                End::Perhaps(by) => perhaps = perhaps.or(Some(by)),
                End::Through if chain.drops => {
                    return Verdict::Drops(format!("the policy of chain {}", chain.title()));
                }
                End::Accept | End::Through => {}
            }
        }
        perhaps.map_or(Verdict::Passes, Verdict::Unknown)
    }

    fn walk(&self, chain: &Chain, packet: &Packet<'_>, known: bool, depth: u32) -> End {
        let mut perhaps = None;
        // Something may have been accepted before: then a drop is not certain.
        let mut accepted = false;
        for rule in &chain.rules {
            let by = || format!("rule {} of chain {}", rule.handle, chain.title());
            let mut matches = Match::Yes;
            for statement in &rule.statements {
                if let Some(condition) = statement.get("match") {
                    matches = matches.and(packet.meets(condition, known));
                } else if statement.get("limit").is_some() || statement.get("xt").is_some() {
                    matches = matches.and(Match::Unknown);
                }
                if matches == Match::No {
                    break;
                }
                let end = if statement.get("drop").is_some() || statement.get("reject").is_some() {
                    Some(End::Drop(by()))
                } else if statement.get("accept").is_some() {
                    Some(End::Accept)
                } else if statement.get("return").is_some() {
                    Some(End::Through)
                } else {
                    let to = ["jump", "goto"]
                        .into_iter()
                        .find_map(|verb| Some((verb, statement.get(verb)?["target"].as_str()?.to_owned())));
                    to.and_then(|(verb, target)| {
                        let at = self.position(&chain.family, &chain.table, &target)?;
                        let end = if depth < DEEPEST {
                            self.walk(&self.chains[at], packet, known, depth + 1)
                        } else {
                            End::Through
                        };
                        // What was called and comes back goes on behind the rule.
                        (end != End::Through || verb == "goto").then_some(end)
                    })
                };
                match (end, matches) {
                    (None, _) => {}
                    (Some(End::Drop(by)), Match::Yes) if accepted => return End::Perhaps(by),
                    (Some(End::Through), Match::Yes) => return perhaps.map_or(End::Through, End::Perhaps),
                    (Some(end), Match::Yes) => {
                        return match (end, perhaps) {
                            (End::Accept, Some(by)) => End::Perhaps(by),
                            (end, _) => end,
                        };
                    }
                    (Some(End::Drop(by) | End::Perhaps(by)), _) => perhaps = perhaps.or(Some(by)),
                    (Some(End::Accept | End::Through), _) => accepted = true,
                }
            }
        }
        match perhaps {
            Some(by) => End::Perhaps(by),
            None if accepted && chain.drops => End::Perhaps(format!("the policy of chain {}", chain.title())),
            None => End::Through,
        }
    }
}

impl Chain {
    fn title(&self) -> String {
        format!("{} {} {}", self.family, self.table, self.name)
    }

    /// The packet comes by here.
    fn sees(&self, packet: &Packet<'_>) -> bool {
        let Some(hook) = self.hook.as_deref() else { return false };
        let family = match (packet.protocol, packet.here) {
            (Protocol::Arp, _) => ["arp", "netdev"],
            (_, IpAddr::V4(_)) => ["ip", "inet"],
            (_, IpAddr::V6(_)) => ["ip6", "inet"],
        };
        let hooks: &[&str] =
            if packet.incoming { &["prerouting", "input", "ingress"] } else { &["output", "postrouting"] };
        let here = self.device.as_deref().is_none_or(|device| device == packet.interface);
        (family.contains(&self.family.as_str()) || self.family == "netdev") && hooks.contains(&hook) && here
    }
}

impl Packet<'_> {
    fn meets(&self, condition: &Value, known: bool) -> Match {
        let (left, right) = (&condition["left"], &condition["right"]);
        let matches = if let Some(payload) = left.get("payload") {
            let field = |key: &str| payload[key].as_str().unwrap_or_default();
            self.payload(field("protocol"), field("field"), right)
        } else if let Some(meta) = left.get("meta") {
            self.meta(meta["key"].as_str().unwrap_or_default(), right)
        } else if left.get("ct").is_some_and(|ct| ct["key"] == "state") {
            Match::of(self.is_one_of(right, |word| match word.as_str() {
                Some("established") => known,
                Some("new") => !known,
                _ => false,
            }))
        } else {
            Match::Unknown
        };
        match condition["op"].as_str() {
            Some("==" | "in") => matches,
            Some("!=") => matches.not(),
            _ => Match::Unknown,
        }
    }

    fn is_one_of(&self, right: &Value, is: impl Fn(&Value) -> bool) -> bool {
        match right.get("set").or(Some(right)).and_then(Value::as_array) {
            Some(all) => all.iter().any(is),
            None => is(right),
        }
    }

    fn meta(&self, key: &str, right: &Value) -> Match {
        let protocol = match self.protocol {
            Protocol::Udp(_) => "udp",
            Protocol::Echo if self.here.is_ipv4() => "icmp",
            Protocol::Echo | Protocol::Neighbor => "ipv6-icmp",
            Protocol::Arp => "arp",
        };
        let is_v4 = self.here.is_ipv4();
        let interface = |mine: bool| {
            // Of the other direction there is none.
            let name = if mine { self.interface } else { "" };
            Match::of(self.is_one_of(right, |word| {
                word.as_str().is_some_and(|word| match word.strip_suffix('*') {
                    Some(start) => mine && name.starts_with(start),
                    None => word == name,
                })
            }))
        };
        match key {
            "iifname" | "iif" => interface(self.incoming),
            "oifname" | "oif" => interface(!self.incoming),
            "l4proto" => Match::of(self.is_one_of(right, |word| {
                word == protocol
                    || protocol == "ipv6-icmp" && word == "icmpv6"
                    || word == 17 && protocol == "udp"
            })),
            "nfproto" => Match::of(self.is_one_of(right, |word| word == if is_v4 { "ipv4" } else { "ipv6" })),
            "protocol" => Match::of(self.is_one_of(right, |word| match self.protocol {
                Protocol::Arp => word == "arp",
                _ => word == if is_v4 { "ip" } else { "ip6" },
            })),
            _ => Match::Unknown,
        }
    }

    fn payload(&self, protocol: &str, field: &str, right: &Value) -> Match {
        let (source, destination) =
            if self.incoming { (self.there, self.here) } else { (self.here, self.there) };
        match (protocol, self.protocol) {
            ("udp" | "th", Protocol::Udp(port)) if field == "dport" || field == "sport" => {
                self.within(right, |value| number_is(value, u64::from(port)))
            }
            ("icmp", Protocol::Echo) if self.here.is_ipv4() => self.kind(field, right, &["echo-request"]),
            ("icmpv6", Protocol::Echo) if !self.here.is_ipv4() => self.kind(field, right, &["echo-request"]),
            ("icmpv6", Protocol::Neighbor) => {
                self.kind(field, right, &["nd-neighbor-solicit", "nd-neighbor-advert"])
            }
            ("ip", _) if self.here.is_ipv4() && self.protocol != Protocol::Arp => {
                self.address(field, right, source, destination)
            }
            ("ip6", _) if !self.here.is_ipv4() => self.address(field, right, source, destination),
            ("tcp" | "sctp" | "dccp" | "udplite" | "igmp" | "esp" | "ah", _) => Match::No,
            ("udp" | "icmp" | "icmpv6" | "ip" | "ip6", _) => Match::No,
            _ => Match::Unknown,
        }
    }

    fn kind(&self, field: &str, right: &Value, kinds: &[&str]) -> Match {
        if field != "type" {
            return Match::Unknown;
        }
        Match::of(self.is_one_of(right, |word| word.as_str().is_some_and(|word| kinds.contains(&word))))
    }

    fn address(&self, field: &str, right: &Value, source: IpAddr, destination: IpAddr) -> Match {
        match field {
            "saddr" => self.within(right, |value| address_is(value, source)),
            "daddr" => self.within(right, |value| address_is(value, destination)),
            "protocol" | "nexthdr" => self.meta("l4proto", right),
            _ => Match::Unknown,
        }
    }

    /// Any of a list, each of which may be of a kind that is not known here.
    fn within(&self, right: &Value, is: impl Fn(&Value) -> Match) -> Match {
        let Some(all) = right.get("set").and_then(Value::as_array) else { return is(right) };
        let mut unknown = false;
        for value in all {
            match is(value) {
                Match::Yes => return Match::Yes,
                Match::Unknown => unknown = true,
                Match::No => {}
            }
        }
        if unknown { Match::Unknown } else { Match::No }
    }
}

fn number_is(value: &Value, number: u64) -> Match {
    if let Some([first, last]) = value["range"].as_array().map(Vec::as_slice) {
        return match (first.as_u64(), last.as_u64()) {
            (Some(first), Some(last)) => Match::of((first..=last).contains(&number)),
            _ => Match::Unknown,
        };
    }
    // A name of a service or of a set is neither looked up nor known.
    value.as_u64().map_or(Match::Unknown, |value| Match::of(value == number))
}

fn address_is(value: &Value, address: IpAddr) -> Match {
    if let Some(prefix) = value.get("prefix") {
        let text = format!("{}/{}", prefix["addr"].as_str().unwrap_or_default(), prefix["len"]);
        return text.parse::<ipnet::IpNet>().map_or(Match::Unknown, |net| Match::of(net.contains(&address)));
    }
    if let Some([first, last]) = value["range"].as_array().map(Vec::as_slice) {
        let parse = |value: &Value| value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
        return match (parse(first), parse(last)) {
            (Some(first), Some(last)) => Match::of((first..=last).contains(&address)),
            _ => Match::Unknown,
        };
    }
    let parsed = value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    parsed.map_or(Match::Unknown, |value| Match::of(value == address))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(policy: &str, rules: &[Value]) -> Rules {
        let mut entries = vec![
            json!({"chain": {"family": "inet", "table": "t", "name": "in", "type": "filter", "hook": "input", "prio": 0, "policy": policy}}),
            json!({"chain": {"family": "inet", "table": "t", "name": "more"}}),
        ];
        for (handle, rule) in rules.iter().enumerate() {
            let (chain, expr) = match rule.get("more") {
                Some(expr) => ("more", expr),
                None => ("in", rule),
            };
            entries.push(json!({"rule": {"family": "inet", "table": "t", "chain": chain, "handle": handle, "expr": expr}}));
        }
        Rules::read(json!({"nftables": entries}).to_string().as_bytes()).expect("reads")
    }

    fn heartbeat(incoming: bool) -> Packet<'static> {
        Packet {
            protocol: Protocol::Udp(5798),
            here: [192, 0, 2, 11].into(),
            there: [192, 0, 2, 12].into(),
            interface: "eth0",
            incoming,
        }
    }

    fn matching(left: Value, right: Value) -> Value {
        json!({"match": {"op": "==", "left": left, "right": right}})
    }

    fn dport(right: Value) -> Value {
        matching(json!({"payload": {"protocol": "udp", "field": "dport"}}), right)
    }

    #[test]
    fn what_the_policy_says_and_what_rules_say() {
        let drop = json!({"drop": null});
        let accept = json!({"accept": null});
        let by = |text: &str| Verdict::Drops(text.to_owned());
        let verdict = |rules: Rules| rules.verdict(&heartbeat(true), false);
        assert_eq!(verdict(rules("accept", &[])), Verdict::Passes);
        assert_eq!(verdict(rules("drop", &[])), by("the policy of chain inet t in"));
        assert_eq!(
            rules("drop", &[]).verdict(&heartbeat(false), false),
            Verdict::Passes,
            "that was for input"
        );
        assert_eq!(verdict(rules("drop", &[json!([dport(json!(5798)), accept])])), Verdict::Passes);
        assert_eq!(
            verdict(rules(
                "accept",
                &[json!([dport(json!(53)), drop]), json!([dport(json!({"range": [5000, 6000]})), drop])]
            )),
            by("rule 1 of chain inet t in")
        );
        let counted =
            json!([dport(json!({"set": [53, 5798]})), {"counter": {"packets": 1, "bytes": 2}}, drop]);
        assert_eq!(verdict(rules("accept", &[counted])), by("rule 0 of chain inet t in"));
    }

    #[test]
    fn what_cannot_be_told_is_not_said_to_be_known() {
        let named = json!([dport(json!("@ports")), {"drop": null}]);
        let verdict = |rules: Rules| rules.verdict(&heartbeat(true), false);
        assert_eq!(verdict(rules("accept", &[named])), Verdict::Unknown("rule 0 of chain inet t in".into()));
        let perhaps = json!([dport(json!("@ports")), {"accept": null}]);
        assert_eq!(
            verdict(rules("drop", &[perhaps])),
            Verdict::Unknown("the policy of chain inet t in".into())
        );
        let limited = json!([dport(json!(5798)), {"limit": {"rate": 10}}, {"drop": null}]);
        assert_eq!(
            verdict(rules("accept", &[limited])),
            Verdict::Unknown("rule 0 of chain inet t in".into())
        );
    }

    #[test]
    fn chains_that_are_called_and_come_back() {
        let call = json!([{"jump": {"target": "more"}}]);
        let inside = |expr: Value| json!({"more": expr});
        let from = |address: &str| {
            matching(json!({"payload": {"protocol": "ip", "field": "saddr"}}), json!(address))
        };
        let verdict = |rules: Rules| rules.verdict(&heartbeat(true), false);
        let all = [call.clone(), inside(json!([from("192.0.2.12"), {"accept": null}]))];
        assert_eq!(verdict(rules("drop", &all)), Verdict::Passes);
        let all = [call.clone(), inside(json!([from("192.0.2.13"), {"accept": null}]))];
        assert_eq!(verdict(rules("drop", &all)), Verdict::Drops("the policy of chain inet t in".into()));
        let all = [call, inside(json!([{"reject": null}]))];
        assert_eq!(verdict(rules("accept", &all)), Verdict::Drops("rule 1 of chain inet t more".into()));
    }

    #[test]
    fn answers_alone() {
        let state = json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}});
        let rules = rules("drop", &[json!([state, {"accept": null}])]);
        assert!(matches!(rules.verdict(&heartbeat(true), false), Verdict::Drops(_)));
        assert_eq!(rules.verdict(&heartbeat(true), true), Verdict::Passes);
    }

    #[test]
    fn what_is_no_ruleset_is_refused() {
        assert!(Rules::read(b"{}").is_err());
        assert!(Rules::read(b"not json").is_err());
    }
}
