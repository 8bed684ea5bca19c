//! Rules as `iptables-save` prints them (iptables-save(8), iptables-extensions(8)), put into the words of nft, so that there
//! is one place that knows what becomes of a packet.

use serde_json::{Value, json};

use super::rules::{Chain, Rule, SILENT_TARGETS};

/// The chains of the tables that may drop. `family` as nft calls it; `suffix` is added to the names of the tables.
pub(super) fn read(saved: &str, family: &str, suffix: &str) -> Vec<Chain> {
    let mut chains: Vec<Chain> = Vec::new();
    let mut table = None;
    for line in saved.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('*') {
            // Translation of addresses may not drop.
            table = (name != "nat").then(|| format!("{name}{suffix}"));
        }
        let Some(table) = &table else { continue };
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split(' ');
            let (name, policy) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            chains.push(Chain {
                family: family.to_owned(),
                table: table.clone(),
                name: name.to_owned(),
                hook: (policy != "-").then(|| name.to_lowercase()),
                drops: policy == "DROP",
                ..Chain::default()
            });
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let words = words(rule);
            let Some((name, rest)) = words.split_first() else { continue };
            let chain = chains.iter_mut().find(|chain| chain.table == *table && chain.name == *name);
            let rule = Rule { name: format!("rule `{line}`"), statements: statements(rest, family) };
            chain.into_iter().for_each(|chain| chain.rules.push(rule.clone()));
        }
    }
    chains
}

/// The words of a line; quotes hold together what belongs together.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut quoted, mut escaped) = (Vec::new(), None::<String>, false, false);
    for c in line.chars() {
        match c {
            _ if escaped => {
                word.get_or_insert_default().push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => all.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    all.extend(word);
    all
}

fn statements(words: &[String], family: &str) -> Vec<Value> {
    let mut statements = Vec::new();
    let mut different = false;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        // What belongs to an option: everything up to the next one.
        let from = at + 1;
        let until = words[from..]
            .iter()
            .position(|w| w.starts_with('-') || w == "!")
            .map_or(words.len(), |n| from + n);
        let of_comment = word == "--comment" || word.ends_with("-prefix");
        let until = if of_comment { (from + 1).min(words.len()) } else { until };
        let value = words[from..until].first().map_or("", String::as_str);
        at = until;
        match word.as_str() {
            "!" => different = true,
            "-j" | "-g" => {
                // Options of the target follow, and no condition.
                statements.push(target(word, value));
                break;
            }
            // Of these the options tell nothing that is understood here.
            "-m" if matches!(value, "recent" | "statistic" | "owner" | "physdev") => {
                statements.push(unknown())
            }
            "-m" | "--comment" => {}
            option => {
                statements.extend(condition(option, value, family).map(|(left, right)| match right {
                    Value::Null => unknown(),
                    right => json!({"match": {"op": if different { "!=" } else { "==" }, "left": left, "right": right}}),
                }));
                different = false;
            }
        }
    }
    statements
}

/// A statement that nobody here understands.
fn unknown() -> Value {
    json!({"limit": null})
}

fn target(how: &str, name: &str) -> Value {
    match name {
        "ACCEPT" => json!({"accept": null}),
        "DROP" | "REJECT" => json!({"drop": null}),
        "RETURN" => json!({"return": null}),
        "NFQUEUE" | "QUEUE" => json!({"queue": null}),
        _ if SILENT_TARGETS.contains(&name) => json!({"log": null}),
        _ if how == "-g" => json!({"goto": {"target": name}}),
        // What is no chain is an extension that is not known here: so the walk takes it.
        _ => json!({"jump": {"target": name}}),
    }
}

/// Both sides of a comparison in nft's words; without a right side where the option is not understood. `None` for an option
/// that every packet meets.
fn condition(option: &str, value: &str, family: &str) -> Option<(Value, Value)> {
    let payload = |protocol: &str, field: &str| json!({"payload": {"protocol": protocol, "field": field}});
    let meta = |key: &str| json!({"meta": {"key": key}});
    let lower = || json!({"set": value.split(',').map(str::to_lowercase).collect::<Vec<_>>()});
    let kind = |flag: &str| json!({"fib": {"result": "type", "flags": [flag]}});
    Some(match option {
        "-s" => (payload(family, "saddr"), networks(value)),
        "-d" => (payload(family, "daddr"), networks(value)),
        "-i" => (meta("iifname"), json!(value.replace('+', "*"))),
        "-o" => (meta("oifname"), json!(value.replace('+', "*"))),
        "-p" if value == "all" => return None,
        "-p" => (meta("l4proto"), protocol(value)),
        "--sport" | "--sports" => (payload("th", "sport"), ports(value)),
        "--dport" | "--dports" => (payload("th", "dport"), ports(value)),
        "--icmp-type" | "--icmpv6-type" if matches!(value, "any" | "255") => return None,
        "--icmp-type" => (payload("icmp", "type"), icmp(value)),
        "--icmpv6-type" => (payload("icmpv6", "type"), icmp(value)),
        "--ctstate" | "--state" => (json!({"ct": {"key": "state"}}), lower()),
        "--dst-type" => (kind("daddr"), lower()),
        "--src-type" => (kind("saddr"), lower()),
        _ => (Value::Null, Value::Null),
    })
}

fn protocol(value: &str) -> Value {
    json!(match value {
        "17" => "udp",
        "1" => "icmp",
        "58" | "icmp6" => "ipv6-icmp",
        other => other,
    })
}

fn networks(value: &str) -> Value {
    let one = |text: &str| match text.split_once('/').map(|(address, length)| (address, length.parse::<u8>()))
    {
        None => json!(text),
        Some((address, Ok(length))) => json!({"prefix": {"addr": address, "len": length}}),
        // A mask that is no prefix.
        Some(_) => json!({"prefix": {}}),
    };
    json!({"set": value.split(',').map(one).collect::<Vec<_>>()})
}

fn ports(value: &str) -> Value {
    let number = |text: &str, else_: u64| if text.is_empty() { Some(else_) } else { text.parse().ok() };
    let one = |text: &str| match text.split_once(':') {
        Some((from, to)) => json!({"range": [number(from, 0), number(to, 65535)]}),
        None => json!(number(text, 0)),
    };
    json!({"set": value.split(',').map(one).collect::<Vec<_>>()})
}

/// By number, with or without a code, or by name.
fn icmp(value: &str) -> Value {
    json!(match value.split('/').next().unwrap_or_default() {
        "8" | "128" => "echo-request",
        "0" | "129" => "echo-reply",
        "135" | "neighbour-solicitation" | "neighbor-solicitation" => "nd-neighbor-solicit",
        "136" | "neighbour-advertisement" | "neighbor-advertisement" => "nd-neighbor-advert",
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_stay_together() {
        let line = r#"INPUT -m comment --comment "say \"no\" to -j" -j DROP"#;
        assert_eq!(words(line), ["INPUT", "-m", "comment", "--comment", "say \"no\" to -j", "-j", "DROP"]);
        assert_eq!(statements(&words(line)[1..], "ip"), [json!({"drop": null})]);
    }

    /// As iptables-save 1.8.9 prints it.
    #[test]
    fn tables_that_may_drop_and_their_policies() {
        let saved = "# Generated by iptables-save v1.8.9\n*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j DROP\nCOMMIT\n\
                     *filter\n:INPUT DROP [0:0]\n:own - [0:0]\n-A INPUT ! -i lo -p udp -m multiport --dports 22,5000:6000 -j own\n\
                     -A own -s 192.0.2.0/24 -m limit --limit 3/min -j ACCEPT\nCOMMIT\n";
        let chains = read(saved, "ip", "");
        let about: Vec<_> = chains.iter().map(|c| (c.name.as_str(), c.hook.as_deref(), c.drops)).collect();
        assert_eq!(about, [("INPUT", Some("input"), true), ("own", None, false)]);
        let meta = |key: &str| json!({"meta": {"key": key}});
        assert_eq!(
            chains[0].rules[0].statements,
            [
                json!({"match": {"op": "!=", "left": meta("iifname"), "right": "lo"}}),
                json!({"match": {"op": "==", "left": meta("l4proto"), "right": "udp"}}),
                json!({"match": {"op": "==", "left": {"payload": {"protocol": "th", "field": "dport"}},
                    "right": {"set": [22, {"range": [5000, 6000]}]}}}),
                json!({"jump": {"target": "own"}}),
            ]
        );
        assert_eq!(chains[1].rules[0].statements[1..], [json!({"limit": null}), json!({"accept": null})]);
    }
}
