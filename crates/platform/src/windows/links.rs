//! Network interfaces as the system sees them.

use std::fmt;

use windows_sys::Win32::NetworkManagement::IpHelper::{IF_TYPE_SOFTWARE_LOOPBACK, MIB_IF_ROW2};
use windows_sys::Win32::NetworkManagement::Ndis::IfOperStatusUp;

/// One network interface. Read with [`Kernel::links`](super::addresses::Kernel::links).
///
/// The drivers that filter what passes through a card appear in the system's table as interfaces of their own, with the
/// card's MAC and almost its description. They are no [`Link`]s: no address can be mounted on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The system's number of the interface, from 1. It may change when a card is switched off and on.
    pub index: u32,
    /// Its alias ("friendly name"), as in `Ethernet 2`: unique, and the user may change it.
    pub name: String,
    /// Its Ethernet address; `None` if it has none of six bytes (loopback, tunnels).
    pub mac: Option<[u8; 6]>,
    /// Frames can leave: switched on, with carrier (`IfOperStatusUp`).
    pub running: bool,
    /// The loopback interface.
    pub loopback: bool,
    /// What the driver calls the card, as in `Intel(R) Ethernet Connection #2`. Two cards may be called the same.
    pub description: String,
    /// Its GUID, which stays while the card is installed.
    pub guid: Guid,
    /// The number by which the system finds it (`NET_LUID`); stays over restarts.
    pub luid: u64,
}

/// A GUID. Displayed as the system's tools show it: `{4D36E972-E325-11CE-BFC1-08002BE10318}`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub u128);

impl Guid {
    /// With or without braces, any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bare = match text.strip_prefix('{') {
            Some(rest) => rest.strip_suffix('}')?,
            None => text,
        };
        let parts: Vec<&str> = bare.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        if lengths != [8, 4, 4, 4, 12] || !parts.iter().all(|part| is_hex(part)) {
            return None;
        }
        u128::from_str_radix(&parts.concat(), 16).ok().map(Self)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032X}", self.0);
        write!(f, "{{{}-{}-{}-{}-{}}}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name that means more than one interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` means {} network cards: {}; write one of these names instead",
    .candidates.len(),
    .candidates.iter().map(|candidate| format!("`{candidate}`")).collect::<Vec<_>>().join(", ")
)]
pub struct Ambiguous {
    /// What the configuration says.
    pub name: String,
    /// The interfaces it may mean, by alias.
    pub candidates: Vec<String>,
}

/// In what respect a name may be that of a link; the first that fits any link decides.
const RESPECTS: [fn(&Link, &str) -> bool; 4] =
    [Link::has_alias, Link::has_guid, Link::has_mac, Link::has_description];

/// The interface that a configuration means by `name`: the one with that alias, or else that GUID, MAC or description.
///
/// # Errors
/// [`Ambiguous`]: several, none of them by its alias.
pub fn find<'a>(links: &'a [Link], name: &str) -> Result<Option<&'a Link>, Ambiguous> {
    for fits in RESPECTS {
        let mut found = links.iter().filter(|link| fits(link, name));
        match (found.next(), found.next()) {
            (None, _) => {}
            (Some(link), None) => return Ok(Some(link)),
            (Some(_), Some(_)) => {
                let all = links.iter().filter(|link| fits(link, name));
                let candidates = all.map(|link| link.name.clone()).collect();
                return Err(Ambiguous { name: name.to_owned(), candidates });
            }
        }
    }
    Ok(None)
}

impl Link {
    /// Whether a configuration may mean this interface by `name`: its alias or description in any case, its GUID with or
    /// without braces, its MAC as `00:00:5e:00:53:01`, `00-00-5E-00-53-01`, `0000.5e00.5301` or `00005e005301`. Others may be
    /// called so too: see [`find`].
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        RESPECTS.iter().any(|fits| fits(self, name))
    }

    fn has_alias(&self, name: &str) -> bool {
        same(&self.name, name)
    }

    fn has_guid(&self, name: &str) -> bool {
        Guid::parse(name) == Some(self.guid)
    }

    fn has_mac(&self, name: &str) -> bool {
        self.mac.is_some() && parse_mac(name) == self.mac
    }

    fn has_description(&self, name: &str) -> bool {
        same(&self.description, name)
    }
}

/// The same but for upper and lower case.
fn same(one: &str, other: &str) -> bool {
    !one.is_empty() && one.to_lowercase() == other.to_lowercase()
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Six pairs with `:` or `-`, three groups of four with `.`, or twelve digits.
fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let split = |separator: char, width: usize| {
        let parts: Vec<&str> = text.split(separator).collect();
        (parts.len() == 12 / width && parts.iter().all(|part| part.len() == width)).then(|| parts.concat())
    };
    let bare = (text.len() == 12).then(|| text.to_owned());
    let digits = bare.or_else(|| split(':', 2)).or_else(|| split('-', 2)).or_else(|| split('.', 4))?;
    if !is_hex(&digits) {
        return None;
    }
    let [_, _, mac @ ..] = u64::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    Some(mac)
}

/// An interface of the system's table; `None` if it is only a filter in front of one.
pub(super) fn from_row(row: &MIB_IF_ROW2) -> Option<Link> {
    /// `InterfaceAndOperStatusFlags`: the second of its bits is `FilterInterface` (netioapi.h).
    const FILTER: u8 = 2;
    if row.InterfaceAndOperStatusFlags._bitfield & FILTER != 0 {
        return None;
    }
    let guid = row.InterfaceGuid;
    let [a, b, c, d, e, f, g, h] = guid.data4;
    let [d0, d1, d2, d3] = guid.data1.to_be_bytes();
    let ([d4, d5], [d6, d7]) = (guid.data2.to_be_bytes(), guid.data3.to_be_bytes());
    Some(Link {
        index: row.InterfaceIndex,
        name: text(&row.Alias),
        mac: (row.PhysicalAddressLength == 6).then(|| {
            let [a, b, c, d, e, f, ..] = row.PhysicalAddress;
            [a, b, c, d, e, f]
        }),
        running: row.OperStatus == IfOperStatusUp,
        loopback: row.Type == IF_TYPE_SOFTWARE_LOOPBACK,
        description: text(&row.Description),
        guid: Guid(u128::from_be_bytes([d0, d1, d2, d3, d4, d5, d6, d7, a, b, c, d, e, f, g, h])),
        // SAFETY: the union's other part is the same 64 bits.
        luid: unsafe { row.InterfaceLuid.Value },
    })
}

/// Up to the first zero.
fn text(wide: &[u16]) -> String {
    let end = wide.iter().position(|unit| *unit == 0).unwrap_or(wide.len());
    String::from_utf16_lossy(&wide[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, description: &str) -> Link {
        Link {
            index,
            name: name.to_owned(),
            mac: Some([0, 0, 0x5e, 0, 0x53, 1]),
            running: true,
            loopback: false,
            description: description.to_owned(),
            guid: Guid(0x4D36_E972_E325_11CE_BFC1_0800_2BE1_0318 + u128::from(index)),
            luid: u64::from(index) << 24,
        }
    }

    #[test]
    fn a_card_is_known_by_all_its_names() {
        let link = link(0, "Ethernet 2", "Example(R) Gigabit Card");
        for name in [
            "Ethernet 2",
            "ethernet 2",
            "example(r) gigabit card",
            "{4D36E972-E325-11CE-BFC1-08002BE10318}",
            "4d36e972-e325-11ce-bfc1-08002be10318",
            "00:00:5e:00:53:01",
            "00-00-5E-00-53-01",
            "0000.5e00.5301",
            "00005E005301",
        ] {
            assert!(link.is_called(name), "{name}");
        }
        for name in [
            "",
            "Ethernet",
            "{4D36E972-E325-11CE-BFC1-08002BE10318",
            "00:00:5e:00:53:02",
            "00:00:5e-00-53:01",
        ] {
            assert!(!link.is_called(name), "{name}");
        }
        assert_eq!(link.guid.to_string(), "{4D36E972-E325-11CE-BFC1-08002BE10318}");
        let bare = Link { mac: None, description: String::new(), ..link };
        assert!(!bare.is_called("") && !bare.is_called("nothing"));
    }

    #[test]
    fn what_two_cards_are_called_is_no_name() {
        let links = [link(1, "Ethernet", "Example Card"), link(2, "Ethernet 2", "Example Card")];
        let index = |name: &str| find(&links, name).map(|found| found.map(|link| link.index));
        assert_eq!(index("ethernet 2"), Ok(Some(2)));
        assert_eq!(index("Ethernet 3"), Ok(None));
        assert_eq!(index(&links[1].guid.to_string()), Ok(Some(2)));
        let error = index("example card").unwrap_err();
        assert_eq!(error.candidates, ["Ethernet", "Ethernet 2"]);
        assert_eq!(
            error.to_string(),
            "`example card` means 2 network cards: `Ethernet`, `Ethernet 2`; write one of these names instead"
        );
        assert!(index("00:00:5e:00:53:01").is_err());
        let links = [link(1, "LAN", "Ethernet"), link(2, "Ethernet", "Example Card")];
        assert_eq!(find(&links, "Ethernet").unwrap().unwrap().index, 2, "an alias comes first");
    }
}
