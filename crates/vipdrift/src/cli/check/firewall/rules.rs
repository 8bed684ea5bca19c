//! The rules of nftables as `nft -j list ruleset` prints them (libnftables-json(5)), and what becomes of a packet.
//!
//! Three answers: a rule matches, it does not, or that cannot be told from here (limits, marks, what is not known by
//! name). Where it cannot be told, both ways are followed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::packet::{Field, Packet, State};

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Passes,
    /// There.
    Drops(Place),
    /// That depends; there it might be dropped.
    Unknown(Place),
}

/// Where a packet is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The chain that the kernel asks: family, table and name.
    pub(super) chain: [String; 3],
    /// The rule or policy, for people.
    pub(super) by: String,
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

    fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }
}

/// All rules of a machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    chains: Vec<Chain>,
    /// Elements of sets and maps, by family, table and name.
    sets: BTreeMap<[String; 3], Vec<Value>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    pub(super) family: String,
    pub(super) table: String,
    pub(super) name: String,
    /// Where the kernel asks it, if it does by itself.
    pub(super) hook: Option<String>,
    /// Only for these interfaces, where there are any.
    pub(super) devices: Vec<String>,
    pub(super) priority: i64,
    pub(super) drops: bool,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// How a person finds it in its chain.
    pub(super) name: String,
    pub(super) statements: Vec<Value>,
}

/// All that may come out of a chain, or of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Outcomes {
    accepts: bool,
    /// By this rule.
    drops: Option<String>,
    /// Nothing was decided.
    through: bool,
}

impl Outcomes {
    fn drop_by(&mut self, rule: String) {
        self.drops.get_or_insert(rule);
    }

    /// Accepted or dropped, in the same way.
    fn take(&mut self, other: &Self) {
        self.accepts |= other.accepts;
        if let Some(rule) = &other.drops {
            self.drop_by(rule.clone());
        }
    }
}

/// Chains that call each other deeper than this are a mistake; the kernel allows 16.
const DEEPEST: u32 = 16;

/// Statements that decide nothing.
const SILENT: [&str; 12] = [
    "counter",
    "log",
    "mangle",
    "notrack",
    "ct helper",
    "ct timeout",
    "ct expectation",
    "dup",
    "comment",
    "last",
    "secmark",
    "reset",
];

/// The same of iptables' targets.
pub(super) const SILENT_TARGETS: [&str; 14] = [
    "LOG",
    "NFLOG",
    "ULOG",
    "CT",
    "NOTRACK",
    "MARK",
    "CONNMARK",
    "SECMARK",
    "CONNSECMARK",
    "TCPMSS",
    "CHECKSUM",
    "DSCP",
    "TOS",
    "TRACE",
];

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
        let of = |kind: &'static str| entries.iter().filter_map(move |entry| entry.get(kind));
        // A table that is dormant is not asked.
        let dormant: Vec<_> = of("table")
            .filter(|table| match &table["flags"] {
                Value::Array(flags) => flags.iter().any(|flag| flag == "dormant"),
                flag => flag == "dormant",
            })
            .map(|table| (word(table, "family"), word(table, "name")))
            .collect();
        for set in of("set").chain(of("map")) {
            let key = [word(set, "family"), word(set, "table"), word(set, "name")];
            rules.sets.insert(key, set["elem"].as_array().cloned().unwrap_or_default());
        }
        for chain in of("chain") {
            let (family, table) = (word(chain, "family"), word(chain, "table"));
            let asked = !dormant.contains(&(family.clone(), table.clone()));
            // Chains that translate addresses may not drop.
            let decides = chain["type"] == "filter" || chain["type"] == "route";
            rules.chains.push(Chain {
                name: word(chain, "name"),
                hook: chain["hook"].as_str().filter(|_| asked && decides).map(str::to_owned),
                devices: match &chain["dev"] {
                    Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                    one => one.as_str().map(str::to_owned).into_iter().collect(),
                },
                priority: chain["prio"].as_i64().unwrap_or(0),
                drops: chain["policy"] == "drop",
                rules: Vec::new(),
                family,
                table,
            });
        }
        for rule in of("rule") {
            let (family, table, name) = (word(rule, "family"), word(rule, "table"), word(rule, "chain"));
            let statements = rule["expr"].as_array().cloned().unwrap_or_default();
            let comment = rule["comment"].as_str().map(|text| format!(" \"{text}\"")).unwrap_or_default();
            let name_of_rule = format!("rule {}{comment}", rule["handle"].as_u64().unwrap_or(0));
            if let Some(at) = rules.position(&family, &table, &name) {
                rules.chains[at].rules.push(Rule { name: name_of_rule, statements });
            }
        }
        rules.chains.sort_by_key(|chain| chain.priority);
        Ok(rules)
    }

    /// Some rules of this family are iptables' own, which nft does not spell out.
    pub(super) fn has_foreign(&self, family: &str) -> bool {
        let foreign = |rule: &Rule| rule.statements.iter().any(|statement| statement.get("xt").is_some());
        self.chains.iter().any(|chain| chain.family == family && chain.rules.iter().any(foreign))
    }

    /// Puts these chains in the place of those with the same name, or beside all others.
    pub(super) fn add(&mut self, chains: Vec<Chain>) {
        let same = |a: &Chain, b: &Chain| (&a.family, &a.table, &a.name) == (&b.family, &b.table, &b.name);
        self.chains.retain(|known| !chains.iter().any(|new| same(known, new)));
        self.chains.extend(chains);
    }

    fn position(&self, family: &str, table: &str, name: &str) -> Option<usize> {
        self.chains
            .iter()
            .position(|chain| chain.family == family && chain.table == table && chain.name == name)
    }

    /// Whether ufw has made the rules of this table.
    pub(super) fn is_of_ufw(&self, family: &str, table: &str) -> bool {
        let of_ufw = |chain: &Chain| chain.name.starts_with("ufw-") || chain.name.starts_with("ufw6-");
        self.chains.iter().any(|chain| chain.family == family && chain.table == table && of_ufw(chain))
    }

    /// What becomes of a packet. One that some chain certainly drops is dropped, whatever others may do.
    pub(super) fn verdict(&self, packet: &Packet<'_>, state: State) -> Verdict {
        let mut perhaps = None;
        for chain in self.chains.iter().filter(|chain| chain.sees(packet)) {
            let mut outcomes = self.walk(chain, packet, state, 0);
            if outcomes.through && chain.drops {
                outcomes.drop_by(format!("the policy of chain {}", chain.title()));
            }
            let accepts = outcomes.accepts || outcomes.through && !chain.drops;
            let Some(by) = outcomes.drops else { continue };
            let place = Place { chain: [chain.family.clone(), chain.table.clone(), chain.name.clone()], by };
            if !accepts {
                return Verdict::Drops(place);
            }
            perhaps = perhaps.or(Some(place));
        }
        perhaps.map_or(Verdict::Passes, Verdict::Unknown)
    }

    fn walk(&self, chain: &Chain, packet: &Packet<'_>, state: State, depth: u32) -> Outcomes {
        let mut out = Outcomes::default();
        for rule in &chain.rules {
            if self.apply(chain, rule, packet, state, depth, &mut out) {
                return out;
            }
        }
        out.through = true;
        out
    }

    /// Adds what may come of a rule. Answers whether no such packet goes on to the next one.
    fn apply(
        &self,
        chain: &Chain,
        rule: &Rule,
        packet: &Packet<'_>,
        state: State,
        depth: u32,
        out: &mut Outcomes,
    ) -> bool {
        let by = || format!("{} of chain {}", rule.name, chain.title());
        let mut matches = Match::Yes;
        for statement in &rule.statements {
            if let Some(ends) = self.verdict_of(chain, statement, by, packet, state, depth, out) {
                return ends && matches == Match::Yes;
            }
            if let Some(condition) = statement.get("match") {
                matches = matches.and(self.meets(chain, packet, condition, state));
            } else if let Some(map) = statement.get("vmap") {
                let fields = fields(packet, &map["key"], state);
                // Keys of a map exclude each other.
                let Some(entries) = self.elements(chain, &map["data"]) else {
                    (out.accepts, out.drops) = (true, out.drops.take().or_else(|| Some(by())));
                    continue;
                };
                for entry in entries {
                    let held = matches.and(is(&fields, &entry[0]));
                    if held == Match::No {
                        continue;
                    }
                    let ends = self.verdict_of(chain, &entry[1], by, packet, state, depth, out);
                    if held == Match::Yes {
                        if ends == Some(true) {
                            return true;
                        }
                        break;
                    }
                }
            } else if !is_silent(statement) {
                matches = matches.and(Match::Unknown);
            }
            if matches == Match::No {
                return false;
            }
        }
        false
    }

    /// Adds what comes of a verdict. Answers whether it ends the chain; `None` if this is no verdict.
    #[expect(clippy::too_many_arguments, reason = "the state of the walk")]
    fn verdict_of(
        &self,
        chain: &Chain,
        statement: &Value,
        by: impl Fn() -> String,
        packet: &Packet<'_>,
        state: State,
        depth: u32,
        out: &mut Outcomes,
    ) -> Option<bool> {
        let has = |verb: &str| statement.get(verb).is_some();
        let to = |verb: &str| statement.get(verb).and_then(|call| call["target"].as_str());
        let foreign_target = || {
            let target = statement.get("xt").filter(|xt| xt["type"] == "target");
            target.is_some_and(|xt| !xt["name"].as_str().is_some_and(|name| SILENT_TARGETS.contains(&name)))
        };
        let called = if has("accept") {
            out.accepts = true;
            return Some(true);
        } else if has("drop") || has("reject") {
            out.drop_by(by());
            return Some(true);
        } else if has("return") {
            out.through = true;
            return Some(true);
        } else if let Some(target) = to("jump").or_else(|| to("goto")) {
            self.position(&chain.family, &chain.table, target)
        } else if has("queue") || has("synproxy") || has("tproxy") || has("fwd") || foreign_target() {
            None
        } else {
            return None;
        };
        let Some(called) = called.filter(|_| depth < DEEPEST) else {
            // Somebody else decides, who is not known here.
            out.accepts = true;
            out.drop_by(by());
            return Some(true);
        };
        let inner = self.walk(&self.chains[called], packet, state, depth + 1);
        out.take(&inner);
        if has("goto") {
            // It comes back to where this chain was called from.
            out.through |= inner.through;
            return Some(true);
        }
        Some(!inner.through)
    }

    fn meets(&self, chain: &Chain, packet: &Packet<'_>, condition: &Value, state: State) -> Match {
        let fields = fields(packet, &condition["left"], state);
        let right = &condition["right"];
        let among = || match self.elements(chain, right) {
            Some(all) => all.iter().fold(Match::No, |so_far, one| so_far.or(is(&fields, one))),
            None => Match::Unknown,
        };
        match condition["op"].as_str() {
            Some("==" | "in") => among(),
            // What a packet lacks is not compared: the rule does not match.
            Some("!=") if fields.contains(&Field::Lacks) => Match::No,
            Some("!=") => among().not(),
            Some(order @ ("<" | "<=" | ">" | ">=")) => match (fields.first(), right.as_u64()) {
                (Some(Field::Number(number)), Some(bound)) => Match::of(match order {
                    "<" => *number < bound,
                    "<=" => *number <= bound,
                    ">" => *number > bound,
                    _ => *number >= bound,
                }),
                (Some(Field::Lacks), _) => Match::No,
                _ => Match::Unknown,
            },
            _ => Match::Unknown,
        }
    }

    /// The values on the right side: those of a set, of a list, of a set by name, or the one. `None` for a set that is
    /// not there.
    fn elements<'v>(&'v self, chain: &Chain, right: &'v Value) -> Option<&'v [Value]> {
        if let Some(name) = right.as_str().and_then(|word| word.strip_prefix('@')) {
            let key = [chain.family.clone(), chain.table.clone(), name.to_owned()];
            return self.sets.get(&key).map(Vec::as_slice);
        }
        let several = right.get("set").unwrap_or(right);
        Some(several.as_array().map_or(std::slice::from_ref(several), Vec::as_slice))
    }
}

fn is_silent(statement: &Value) -> bool {
    let Some((kind, body)) = statement.as_object().and_then(|object| object.iter().next()) else {
        return false;
    };
    let target =
        || body["type"] == "target" && body["name"].as_str().is_some_and(|n| SILENT_TARGETS.contains(&n));
    SILENT.contains(&kind.as_str()) || kind == "xt" && target()
}

impl Chain {
    fn title(&self) -> String {
        format!("{} {} {}", self.family, self.table, self.name)
    }

    /// The packet comes by here.
    fn sees(&self, packet: &Packet<'_>) -> bool {
        let Some(hook) = self.hook.as_deref() else { return false };
        let concerned = match self.family.as_str() {
            "netdev" => true,
            "arp" => packet.is_arp(),
            "inet" => !packet.is_arp() || hook == "ingress",
            "ip" => !packet.is_arp() && packet.here.is_ipv4(),
            "ip6" => !packet.is_arp() && !packet.here.is_ipv4(),
            _ => false,
        };
        let hooks: &[&str] = if packet.incoming {
            &["ingress", "prerouting", "input"]
        } else {
            &["output", "postrouting", "egress"]
        };
        let here = self.devices.is_empty() || self.devices.iter().any(|device| device == packet.interface);
        concerned && hooks.contains(&hook) && here
    }
}

fn fields(packet: &Packet<'_>, left: &Value, state: State) -> Vec<Field> {
    match left["concat"].as_array() {
        Some(parts) => parts.iter().map(|part| packet.field(part, state)).collect(),
        None => vec![packet.field(left, state)],
    }
}

/// Whether the fields together are this value.
fn is(fields: &[Field], value: &Value) -> Match {
    let value = value.get("elem").map_or(value, |element| &element["val"]);
    match (value["concat"].as_array(), fields) {
        (Some(parts), _) if parts.len() == fields.len() => {
            parts.iter().zip(fields).fold(Match::Yes, |so_far, (part, field)| so_far.and(is_one(field, part)))
        }
        (None, [field]) => is_one(field, value),
        _ => Match::Unknown,
    }
}

fn is_one(field: &Field, value: &Value) -> Match {
    match field {
        Field::Lacks => Match::No,
        Field::Unknown => Match::Unknown,
        _ if value == "*" => Match::Yes,
        Field::Word(word) => word_is(value, word),
        Field::Number(number) => number_is(value, *number),
        Field::Address(address) => address_is(value, *address),
    }
}

fn word_is(value: &Value, word: &str) -> Match {
    let Some(text) = value.as_str() else { return Match::Unknown };
    Match::of(match text.strip_suffix('*') {
        Some(start) => word.starts_with(start),
        None => text == word || (text == "icmpv6" && word == "ipv6-icmp"),
    })
}

fn number_is(value: &Value, number: u64) -> Match {
    if let Some([first, last]) = value["range"].as_array().map(Vec::as_slice) {
        return match (first.as_u64(), last.as_u64()) {
            (Some(first), Some(last)) => Match::of((first..=last).contains(&number)),
            _ => Match::Unknown,
        };
    }
    // The name of a service is not looked up.
    value.as_u64().map_or(Match::Unknown, |value| Match::of(value == number))
}

fn address_is(value: &Value, address: IpAddr) -> Match {
    if let Some(prefix) = value.get("prefix") {
        let text = format!("{}/{}", prefix["addr"].as_str().unwrap_or_default(), prefix["len"]);
        return text.parse::<ipnet::IpNet>().map_or(Match::Unknown, |net| Match::of(net.contains(&address)));
    }
    let parse = |value: &Value| value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    if let Some([first, last]) = value["range"].as_array().map(Vec::as_slice) {
        return match (parse(first), parse(last)) {
            (Some(first), Some(last)) => Match::of((first..=last).contains(&address)),
            _ => Match::Unknown,
        };
    }
    parse(value).map_or(Match::Unknown, |value| Match::of(value == address))
}
