//! What this Windows permits, and what it would do by itself with a VIP.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use vipdrift_platform::privileges;

use super::finding::{Findings, Id};
use super::scene::Scene;

/// Where Windows keeps the addresses of its cards that were set by hand, for IPv4.
const CARDS: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters\Interfaces";
/// Where its firewall keeps its rules.
const FIREWALL: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy";

pub(super) fn look(scene: &Scene, findings: &mut Findings) {
    let missing = privileges::missing();
    if missing.is_empty() {
        findings.ok(Id::Privileges, "this user may mount addresses");
    } else {
        findings.error(
            Id::Privileges,
            format!("this process lacks {}", missing.join(" and ")),
            privileges::REMEDY,
        );
    }
    let cards = registry(&[CARDS, "/s", "/v", "IPAddress"]).unwrap_or_default();
    for vip in scene.resolved.vips.iter().map(|vip| vip.address.addr()) {
        if is_written(&cards, vip) {
            findings.error(
                Id::VipWritten,
                format!("VIP {vip} is an address of a card: Windows takes it at every start, whoever holds it then"),
                "take it out of the card's properties, or: netsh interface ipv4 delete address",
            );
        }
    }
    firewall(scene, findings);
}

fn firewall(scene: &Scene, findings: &mut Findings) {
    let switched = registry(&[FIREWALL, "/s", "/v", "EnableFirewall"]).unwrap_or_default();
    let rules = registry(&[&format!(r"{FIREWALL}\FirewallRules")]).unwrap_or_default();
    let port = scene.resolved.port;
    if !is_on(&switched) {
        findings.ok(Id::Firewall, "Windows' firewall is off");
    } else if lets_in(&rules, port) {
        findings.ok(Id::Firewall, format!("a rule of Windows' firewall lets UDP port {port} in"));
    } else {
        findings.warning(
            Id::FirewallHeartbeat,
            format!("Windows' firewall is on, and no rule lets UDP port {port} in: heartbeats of peers are dropped"),
            "`vipdrift service install` makes one for the peers of the configuration",
        );
    }
}

/// What the registry has, as `reg query` shows it. `None`: no such key or value.
fn registry(query: &[&str]) -> Option<String> {
    let root = std::env::var_os("SystemRoot").map_or_else(|| r"C:\Windows".into(), PathBuf::from);
    let output = Command::new(root.join(r"System32\reg.exe")).arg("query").args(query).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Lines are a name, a type and data; several texts are parted by `\0`.
fn is_written(cards: &str, vip: IpAddr) -> bool {
    let data = cards.lines().filter_map(|line| line.trim().strip_prefix("IPAddress"));
    data.filter_map(|rest| rest.split_whitespace().nth(1))
        .flat_map(|texts| texts.split(r"\0"))
        .any(|text| text.parse() == Ok(vip))
}

/// In any of its profiles.
fn is_on(switched: &str) -> bool {
    let data = switched.lines().filter_map(|line| line.trim().strip_prefix("EnableFirewall"));
    data.filter_map(|rest| rest.split_whitespace().nth(1)).any(|value| value == "0x1")
}

/// A rule is a text of parts with `|` between them, as the firewall writes it; one without a port is for all of them.
fn lets_in(rules: &str, port: u16) -> bool {
    const UDP: &str = "17";
    rules.lines().filter_map(|line| line.split_once("REG_SZ")).any(|(_, rule)| {
        let part = |name: &str| {
            let parts = rule.trim().split('|').filter_map(|part| part.split_once('='));
            parts.filter(|(key, _)| *key == name).map(|(_, value)| value).collect::<Vec<_>>()
        };
        let is = |name: &str, value: &str| part(name) == [value];
        let (protocols, ports) = (part("Protocol"), part("LPort"));
        is("Action", "Allow")
            && is("Active", "TRUE")
            && is("Dir", "In")
            && (protocols.is_empty() || protocols == [UDP])
            && (ports.is_empty() || ports.iter().any(|known| **known == port.to_string()))
            // Rules of other programs are for those.
            && part("App").first().is_none_or(|app| app.to_lowercase().ends_with("vipdrift.exe"))
            && part("Svc").is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_registry_says_is_read() {
        let cards = "\nHKEY_LOCAL_MACHINE\\...\\{4D36E972}\n    IPAddress    REG_MULTI_SZ    192.0.2.10\\0192.0.2.100\n\
                     \nEnd of search: 1 match(es) found.\n";
        let vip = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(is_written(cards, vip("192.0.2.100")) && is_written(cards, vip("192.0.2.10")));
        assert!(!is_written(cards, vip("192.0.2.1")) && !is_written("", vip("192.0.2.1")));
        assert!(is_on("  EnableFirewall    REG_DWORD    0x1\n"));
        assert!(!is_on("  EnableFirewall    REG_DWORD    0x0\n") && !is_on(""));
    }

    #[test]
    fn a_rule_lets_in_or_not() {
        let rule = |parts: &str| format!("    {{GUID}}    REG_SZ    v2.31|{parts}|\n");
        let good = r"Action=Allow|Active=TRUE|Dir=In|Protocol=17|LPort=5798|RA4=192.0.2.12|App=C:\Program Files\vipdrift\vipdrift.exe|Name=vipdrift heartbeats";
        assert!(lets_in(&rule(good), 5798));
        assert!(lets_in(&rule("Action=Allow|Active=TRUE|Dir=In|Name=everything"), 5798));
        for (from, to) in [
            ("Allow", "Block"),
            ("TRUE", "FALSE"),
            ("Dir=In", "Dir=Out"),
            ("=17", "=6"),
            ("5798", "5799"),
            ("vipdrift.exe", "other.exe"),
        ] {
            assert!(!lets_in(&rule(&good.replace(from, to)), 5798), "{to}");
        }
        assert!(!lets_in("", 5798));
    }
}
