//! What every look begins with: the configuration as this node sees it, and the interfaces that it is about.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use vipdrift_core::Vip;
use vipdrift_platform::addresses::Address;
use vipdrift_platform::links::{Link, find};

use crate::config::Resolved;

/// This machine and its configuration, read once.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) resolved: Resolved,
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<Address>,
    /// A daemon answers on the socket.
    pub(super) running: bool,
    pub(super) socket: PathBuf,
    /// Where files are looked for: `/`, but in tests.
    pub(super) root: PathBuf,
}

impl Scene {
    /// The place of a file, by its path from the root.
    pub(super) fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path.as_ref().strip_prefix("/").unwrap_or(path.as_ref()))
    }

    /// What a file says; `None` if it cannot be read.
    pub(super) fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = std::fs::read(self.file(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The interfaces that carry VIPs and are there.
    pub(super) fn carriers(&self) -> impl Iterator<Item = Carrier<'_>> {
        self.resolved.interfaces.iter().enumerate().filter_map(|(number, name)| {
            let link = find(&self.links, name).ok().flatten()?;
            Some(Carrier { scene: self, number, link })
        })
    }

    /// The name of the interface that has this address.
    pub(super) fn interface_of(&self, ip: IpAddr) -> Option<&str> {
        let address = self.addresses.iter().find(|address| address.network.addr() == ip)?;
        Some(self.links.iter().find(|link| link.index == address.interface)?.name.as_str())
    }

    /// Whether this is one of the VIPs.
    pub(super) fn is_vip(&self, ip: IpAddr) -> bool {
        self.resolved.vips.iter().any(|vip| vip.address.addr() == ip)
    }

    /// Name of the peer that has this address.
    pub(super) fn peer_at(&self, ip: IpAddr) -> Option<&str> {
        let path = self.resolved.paths.iter().find(|path| path.remote == ip)?;
        Some(self.resolved.peers.get(path.peer.0)?.name.as_str())
    }
}

/// An interface that carries VIPs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Carrier<'s> {
    scene: &'s Scene,
    number: usize,
    pub(super) link: &'s Link,
}

impl<'s> Carrier<'s> {
    pub(super) fn name(&self) -> &'s str {
        &self.link.name
    }

    /// The VIPs that it carries.
    pub(super) fn vips(&self) -> impl Iterator<Item = &'s Vip> + use<'s> {
        let number = self.number;
        self.scene.resolved.vips.iter().filter(move |vip| vip.interface.0 == number)
    }

    /// Those of one family, as text for a list.
    pub(super) fn vips_of(&self, v4: bool) -> Vec<IpAddr> {
        self.vips().map(|vip| vip.address.addr()).filter(|ip| ip.is_ipv4() == v4).collect()
    }

    /// Addresses on it that are no VIPs.
    pub(super) fn own(&self) -> impl Iterator<Item = IpNet> + use<'s> {
        let (scene, index) = (self.scene, self.link.index);
        let here = scene.addresses.iter().filter(move |address| address.interface == index);
        here.map(|address| address.network).filter(|network| !scene.is_vip(network.addr()))
    }

    /// Another interface in the subnet of one of its IPv4 VIPs, and that VIP.
    pub(super) fn rival(&self) -> Option<(&'s str, IpAddr)> {
        self.vips_of(true).into_iter().find_map(|vip| {
            let in_subnet = |address: &&Address| {
                address.interface != self.link.index
                    && address.network.prefix_len() < 32
                    && address.network.contains(&vip)
            };
            let other = self.scene.addresses.iter().find(in_subnet)?;
            let link = self.scene.links.iter().find(|link| link.index == other.interface)?;
            (link.running && !link.loopback).then_some((link.name.as_str(), vip))
        })
    }
}

/// `192.0.2.1, 192.0.2.2 and 3 more`.
pub(super) fn list<T: ToString>(all: &[T]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = all.iter().take(SHOWN).map(T::to_string).collect();
    match all.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
#[cfg(unix)]
pub(super) mod tests {
    use super::*;
    use crate::config;

    pub(crate) const CONFIG: &str = r#"
        [cluster]
        name = "edge"
        key = "000102030405060708090a0b0c0d0e0f"
        [[node]]
        name = "alpha"
        addresses = ["192.0.2.11"]
        [[node]]
        name = "bravo"
        addresses = ["192.0.2.12"]
        [[group]]
        name = "web"
        interface = "eth0"
        vips = ["192.0.2.100/24", "2001:db8::100/64"]
    "#;

    /// Alpha, with eth0 (number 2) and files below `root`.
    pub(crate) fn scene(root: &Path) -> Scene {
        let config = config::parse("v.toml", CONFIG).expect("a good file");
        let link = Link {
            index: 2,
            name: "eth0".into(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            running: true,
            loopback: false,
        };
        let address = |text: &str| Address {
            interface: 2,
            network: text.parse().expect("an address"),
            valid: None,
            ours: false,
        };
        Scene {
            resolved: Resolved::new(&config, "alpha").expect("alpha"),
            links: vec![link],
            addresses: vec![address("192.0.2.11/24"), address("2001:db8::11/64")],
            running: false,
            socket: "none.sock".into(),
            root: root.to_owned(),
        }
    }

    /// Writes a file below `root`, with its folders.
    pub(crate) fn write(root: &Path, path: &str, text: &str) {
        let file = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("makes folders");
        std::fs::write(file, text).expect("writes");
    }

    #[test]
    fn a_long_list_is_cut() {
        assert_eq!(list(&["a", "b", "c"]), "a, b, c");
        assert_eq!(list(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }

    #[test]
    fn a_second_interface_in_the_subnet_is_a_rival() {
        let mut scene = scene(Path::new("/nowhere"));
        assert_eq!(scene.carriers().next().expect("eth0").rival(), None);
        scene.links.push(Link { index: 3, name: "eth1".into(), mac: None, running: true, loopback: false });
        scene.addresses.push(Address {
            interface: 3,
            network: "192.0.2.21/24".parse().expect("an address"),
            valid: None,
            ours: false,
        });
        let rival = scene.carriers().next().expect("eth0").rival();
        assert_eq!(rival, Some(("eth1", "192.0.2.100".parse().expect("an address"))));
    }
}
