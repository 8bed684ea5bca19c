//! Rulesets in the words of nft, and what becomes of packets.

use serde_json::{Value, json};

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
        entries.push(
            json!({"rule": {"family": "inet", "table": "t", "chain": chain, "handle": handle, "expr": expr}}),
        );
    }
    Rules::read(json!({"nftables": entries}).to_string().as_bytes()).expect("reads")
}

/// Which rule or policy does it.
fn by(verdict: Verdict) -> Result<String, String> {
    match verdict {
        Verdict::Passes => Ok("passes".to_owned()),
        Verdict::Drops(place) => Ok(place.by),
        Verdict::Unknown(place) => Err(place.by),
    }
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
    let verdict = |rules: Rules| by(rules.verdict(&heartbeat(true), State::New));
    assert_eq!(verdict(rules("accept", &[])), Ok("passes".into()));
    assert_eq!(verdict(rules("drop", &[])), Ok("the policy of chain inet t in".into()));
    assert_eq!(
        by(rules("drop", &[]).verdict(&heartbeat(false), State::New)),
        Ok("passes".into()),
        "that was for input"
    );
    assert_eq!(verdict(rules("drop", &[json!([dport(json!(5798)), accept])])), Ok("passes".into()));
    assert_eq!(
        verdict(rules(
            "accept",
            &[json!([dport(json!(53)), drop]), json!([dport(json!({"range": [5000, 6000]})), drop])]
        )),
        Ok("rule 1 of chain inet t in".into())
    );
    let counted = json!([dport(json!({"set": [53, 5798]})), {"counter": {"packets": 1, "bytes": 2}}, drop]);
    assert_eq!(verdict(rules("accept", &[counted])), Ok("rule 0 of chain inet t in".into()));
}

#[test]
fn what_cannot_be_told_is_not_said_to_be_known() {
    let named = json!([dport(json!("@ports")), {"drop": null}]);
    let verdict = |rules: Rules| by(rules.verdict(&heartbeat(true), State::New));
    assert_eq!(verdict(rules("accept", &[named])), Err("rule 0 of chain inet t in".into()));
    let perhaps = json!([dport(json!("@ports")), {"accept": null}]);
    assert_eq!(verdict(rules("drop", &[perhaps])), Err("the policy of chain inet t in".into()));
    let limited = json!([dport(json!(5798)), {"limit": {"rate": 10}}, {"drop": null}]);
    assert_eq!(verdict(rules("accept", &[limited])), Err("rule 0 of chain inet t in".into()));
}

#[test]
fn chains_that_are_called_and_come_back() {
    let call = json!([{"jump": {"target": "more"}}]);
    let inside = |expr: Value| json!({"more": expr});
    let from =
        |address: &str| matching(json!({"payload": {"protocol": "ip", "field": "saddr"}}), json!(address));
    let verdict = |rules: Rules| by(rules.verdict(&heartbeat(true), State::New));
    let all = [call.clone(), inside(json!([from("192.0.2.12"), {"accept": null}]))];
    assert_eq!(verdict(rules("drop", &all)), Ok("passes".into()));
    let all = [call.clone(), inside(json!([from("192.0.2.13"), {"accept": null}]))];
    assert_eq!(verdict(rules("drop", &all)), Ok("the policy of chain inet t in".into()));
    let all = [call, inside(json!([{"reject": null}]))];
    assert_eq!(verdict(rules("accept", &all)), Ok("rule 1 of chain inet t more".into()));
}

#[test]
fn answers_alone() {
    let state =
        json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}});
    let rules = rules("drop", &[json!([state, {"accept": null}])]);
    assert!(matches!(rules.verdict(&heartbeat(true), State::New), Verdict::Drops(_)));
    assert_eq!(by(rules.verdict(&heartbeat(true), State::Established)), Ok("passes".into()));
}

#[test]
fn what_is_no_ruleset_is_refused() {
    assert!(Rules::read(b"{}").is_err());
    assert!(Rules::read(b"not json").is_err());
}

/// What a chain that is called may have accepted is not certainly dropped behind the call.
#[test]
fn what_a_called_chain_may_accept_is_not_certainly_dropped() {
    let all = [
        json!([{"jump": {"target": "more"}}]),
        json!({"more": json!([dport(json!("@ports")), {"accept": null}])}),
    ];
    let verdict = rules("drop", &all).verdict(&heartbeat(true), State::New);
    assert_eq!(by(verdict), Err("the policy of chain inet t in".into()));
}

/// A statement that is not known may keep packets from the verdict behind it.
#[test]
fn an_unknown_statement_is_no_certainty() {
    let strange = json!([dport(json!(5798)), {"something new": {"x": 1}}, {"drop": null}]);
    let verdict = rules("accept", &[strange]).verdict(&heartbeat(true), State::New);
    assert_eq!(by(verdict), Err("rule 0 of chain inet t in".into()));
}
