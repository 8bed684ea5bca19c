//! Whether Windows' firewall lets heartbeats in, as far as its own registry tells; group policies are not looked at.

use super::registry::{Unread, query};
use crate::cli::check::finding::{Findings, Id};
use crate::cli::check::scene::Scene;

/// Where it keeps its rules and what is switched on.
const FIREWALL: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy";
/// What a network may be, in rules and in the registry: each is switched on by itself.
const PROFILES: [(&str, &str); 3] =
    [("Domain", "DomainProfile"), ("Private", "StandardProfile"), ("Public", "PublicProfile")];
/// IPPROTO_UDP, as rules have it.
const UDP: &str = "17";

pub(super) fn look(scene: &Scene, findings: &mut Findings) {
    let port = scene.resolved.port;
    match read() {
        Ok((switched, rules)) => judge(&switched, &rules, port, findings),
        Err(Unread(why)) => findings.hint(
            Id::FirewallUnread,
            format!("Windows' firewall could not be looked at: {why}"),
            format!("look for yourself that UDP port {port} is let in: netsh advfirewall firewall show rule name=all"),
        ),
    }
}

/// What is switched on, and the rules, as `reg query` shows them.
fn read() -> Result<(String, String), Unread> {
    let switched = query(&[FIREWALL, "/s", "/v", "EnableFirewall"])?;
    // Without a rule there is no such key.
    Ok((switched, query(&[&format!(r"{FIREWALL}\FirewallRules")]).unwrap_or_default()))
}

fn judge(switched: &str, rules: &str, port: u16, findings: &mut Findings) {
    let on: Vec<&str> =
        PROFILES.iter().filter(|(_, key)| is_on(switched, key)).map(|(name, _)| *name).collect();
    let rules: Vec<Rule<'_>> =
        rules.lines().filter_map(Rule::parse).filter(|rule| rule.is_about(port)).collect();
    let those =
        |action: &str, profile: &str| rules.iter().any(|rule| rule.does(action) && rule.holds_in(profile));
    let names = |found: Vec<&str>| found.join(", ").to_lowercase();
    let blocked: Vec<&str> = on.iter().copied().filter(|profile| those("Block", profile)).collect();
    let shut: Vec<&str> = on.iter().copied().filter(|profile| !those("Allow", profile)).collect();
    let remedy = "`vipdrift service install` makes a rule for the peers of the configuration";
    if on.is_empty() {
        findings.ok(Id::Firewall, "Windows' firewall is off");
    } else if !blocked.is_empty() {
        findings.warning(
            Id::FirewallHeartbeat,
            format!(
                "a rule of Windows' firewall blocks UDP port {port} (profile: {}), which no other rule outweighs: heartbeats of \
                 peers may be dropped",
                names(blocked)
            ),
            "take that rule away: netsh advfirewall firewall show rule name=all dir=in",
        );
    } else if shut.is_empty() {
        findings.ok(Id::Firewall, format!("a rule of Windows' firewall lets UDP port {port} in"));
    } else if shut.len() == on.len() {
        findings.warning(
            Id::FirewallHeartbeat,
            format!("Windows' firewall is on, and no rule lets UDP port {port} in: heartbeats of peers are dropped"),
            remedy,
        );
    } else {
        findings.warning(
            Id::FirewallHeartbeat,
            format!(
                "no rule of Windows' firewall lets UDP port {port} in where the network's profile is: {}",
                names(shut)
            ),
            remedy,
        );
    }
}

/// Values are below the line that names their key.
fn is_on(switched: &str, profile: &str) -> bool {
    let mut here = false;
    switched.lines().any(|line| {
        if line.starts_with("HKEY") {
            here = line.trim_end().rsplit('\\').next() == Some(profile);
        }
        here && line
            .trim()
            .strip_prefix("EnableFirewall")
            .is_some_and(|rest| rest.trim_end().ends_with(" 0x1"))
    })
}

/// A text of parts with `|` between them, as the firewall writes it. Parts that are missing leave everything open.
struct Rule<'t> {
    parts: Vec<(&'t str, &'t str)>,
}

impl<'t> Rule<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let (_, text) = line.split_once("REG_SZ")?;
        Some(Self { parts: text.trim().split('|').filter_map(|part| part.split_once('=')).collect() })
    }

    fn part(&self, name: &str) -> impl Iterator<Item = &'t str> {
        self.parts.iter().filter(move |(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn does(&self, action: &str) -> bool {
        self.part("Action").any(|value| value == action)
    }

    fn holds_in(&self, profile: &str) -> bool {
        let mut named = self.part("Profile").peekable();
        named.peek().is_none() || named.any(|value| value == profile)
    }

    /// Whether it is for datagrams that come in to this program on that port. Rules of other programs are for those.
    fn is_about(&self, port: u16) -> bool {
        let open = |name: &str, fits: &dyn Fn(&str) -> bool| {
            let mut values = self.part(name).peekable();
            values.peek().is_none() || values.any(fits)
        };
        self.part("Active").any(|value| value == "TRUE")
            && self.part("Dir").any(|value| value == "In")
            && open("Protocol", &|value| value == UDP)
            && self.is_for_port(port)
            && open("App", &|app| app.to_lowercase().ends_with("vipdrift.exe"))
            && self.part("Svc").next().is_none()
    }

    /// Single ports are `LPort`, ranges `LPort2_10`, and words stand for ports that are none of ours.
    fn is_for_port(&self, port: u16) -> bool {
        let mut ports =
            self.parts.iter().filter(|(key, _)| key.starts_with("LPort")).map(|(_, value)| *value).peekable();
        ports.peek().is_none() || ports.any(|value| {
            let (first, last) = value.split_once('-').unwrap_or((value, value));
            matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if (first..=last).contains(&port))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r"Action=Allow|Active=TRUE|Dir=In|Protocol=17|LPort=5798|RA4=192.0.2.12|App=C:\Program Files\vipdrift\vipdrift.exe|Name=vipdrift heartbeats";

    fn rule(parts: &str) -> String {
        format!("    {{GUID}}    REG_SZ    v2.31|{parts}|\n")
    }

    fn switched(on: [bool; 3]) -> String {
        let key = r"HKEY_LOCAL_MACHINE\SYSTEM\...\FirewallPolicy";
        let part = |((_, profile), on): (&(&str, &str), bool)| {
            format!("\r\n{key}\\{profile}\r\n    EnableFirewall    REG_DWORD    0x{}\r\n", u8::from(on))
        };
        PROFILES.iter().zip(on).map(part).collect()
    }

    fn said(on: [bool; 3], rules: &str) -> String {
        let mut findings = Findings::default();
        judge(&switched(on), rules, 5798, &mut findings);
        assert_eq!(findings.0.len(), 1);
        findings.0.remove(0).text
    }

    #[test]
    fn a_rule_lets_in_or_not() {
        let all = [true; 3];
        let open = "a rule of Windows' firewall lets UDP port 5798 in";
        let shut =
            "Windows' firewall is on, and no rule lets UDP port 5798 in: heartbeats of peers are dropped";
        assert_eq!(said([false; 3], ""), "Windows' firewall is off");
        assert_eq!(said(all, &rule(GOOD)), open);
        assert_eq!(said(all, &rule("Action=Allow|Active=TRUE|Dir=In|Name=everything")), open);
        assert_eq!(said(all, &rule(&GOOD.replace("LPort=5798", "LPort=80|LPort2_10=5000-6000"))), open);
        for (from, to) in [
            ("TRUE", "FALSE"),
            ("Dir=In", "Dir=Out"),
            ("=17", "=6"),
            ("LPort=5798", "LPort=5799"),
            ("LPort=5798", "LPort2_10=1-5797"),
            ("LPort=5798", "LPort=RPC"),
            ("vipdrift.exe", "other.exe"),
        ] {
            assert_eq!(said(all, &rule(&GOOD.replace(from, to))), shut, "{to}");
        }
        assert_eq!(said(all, ""), shut);
    }

    #[test]
    fn profiles_are_told_apart_and_blocking_wins() {
        let private = GOOD.replace("Dir=In", "Dir=In|Profile=Domain|Profile=Private");
        assert!(said([true, true, false], &rule(&private)).contains("lets UDP port 5798 in"));
        assert!(said([true; 3], &rule(&private)).ends_with("where the network's profile is: public"));
        let block = rule(&GOOD.replace("Allow", "Block").replace("Dir=In", "Dir=In|Profile=Public"));
        let both = rule(GOOD) + &block;
        assert!(said([true; 3], &both).contains("blocks UDP port 5798 (profile: public)"));
        assert!(said([true, true, false], &both).contains("lets UDP port 5798 in"));
    }
}
