//! What this Windows permits, and what it would do by itself with a VIP.

mod firewall;
mod registry;

use std::net::IpAddr;

use vipdrift_platform::links::{Guid, Link};
use vipdrift_platform::privileges;

use super::finding::{Findings, Id};
use super::scene::Scene;
use registry::{Unread, query};

/// Where Windows keeps the addresses of its cards that were set by hand, for IPv4: a key for each card, named by its GUID.
const CARDS: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters\Interfaces";

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
    written(scene, findings);
    firewall::look(scene, findings);
}

fn written(scene: &Scene, findings: &mut Findings) {
    // Where no card has an address that was set by hand, there is nothing to be found, which is an error to `reg query`.
    let cards = query(&[CARDS, "/s", "/v", "IPAddress"]).or_else(|_| query(&[CARDS]));
    let cards = match cards {
        Ok(cards) => cards,
        Err(Unread(why)) => {
            return findings.hint(
                Id::VipWritten,
                format!("whether a VIP is an address of a card could not be looked at: {why}"),
                "look for yourself: netsh interface ipv4 show addresses",
            );
        }
    };
    for vip in scene.resolved.vips.iter().map(|vip| vip.address.addr()) {
        if is_written(&cards, vip, &scene.links) {
            findings.error(
                Id::VipWritten,
                format!("VIP {vip} is an address of a card: Windows takes it at every start, whoever holds it then"),
                "take it out of the card's properties, or: netsh interface ipv4 delete address",
            );
        }
    }
}

/// Lines are a name, a type and data, below one that names the key; several texts are parted by `\0`. Cards that were taken
/// out have keys still.
fn is_written(cards: &str, vip: IpAddr, links: &[Link]) -> bool {
    let mut there = false;
    cards.lines().any(|line| {
        if line.starts_with("HKEY") {
            let guid = line.trim_end().rsplit('\\').next().and_then(Guid::parse);
            there = guid.is_some_and(|guid| links.iter().any(|link| link.guid == guid));
        }
        let data = line.trim().strip_prefix("IPAddress").and_then(|rest| rest.split_whitespace().nth(1));
        there && data.is_some_and(|texts| texts.split(r"\0").any(|text| text.parse() == Ok(vip)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_cards_that_are_there() {
        let guid = "{4D36E972-E325-11CE-BFC1-08002BE10318}";
        let card = |guid: &str, data: &str| {
            format!(
                "\r\nHKEY_LOCAL_MACHINE\\SYSTEM\\...\\Interfaces\\{guid}\r\n    IPAddress    REG_MULTI_SZ    {data}\r\n"
            )
        };
        let link = |guid: &str| Link {
            index: 2,
            name: "Ethernet".into(),
            mac: None,
            running: true,
            loopback: false,
            description: "card".into(),
            guid: Guid::parse(guid).expect("a GUID"),
            luid: 2,
        };
        let (links, vip) = ([link(guid)], |text: &str| text.parse::<IpAddr>().expect("an address"));
        let cards = card(guid, r"192.0.2.10\0192.0.2.100") + "\r\nEnd of search: 1 match(es) found.\r\n";
        for written in ["192.0.2.100", "192.0.2.10"] {
            assert!(is_written(&cards, vip(written), &links), "{written}");
        }
        assert!(!is_written(&cards, vip("192.0.2.1"), &links) && !is_written("", vip("192.0.2.1"), &links));
        let gone = card("{00000000-0000-0000-0000-000000000001}", "192.0.2.1") + &cards;
        assert!(!is_written(&gone, vip("192.0.2.1"), &links) && is_written(&gone, vip("192.0.2.10"), &links));
    }
}
