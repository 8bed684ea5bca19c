//! The lab: LANs and hosts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::enclosure::enclosed;
use crate::error::{Error, Result, While};
use crate::fault::Traffic;
use crate::host::{Host, parse_network};
use crate::netlink::Route;
use crate::observer::Observer;
use crate::switch::Switch;

/// Common to all hosts; below the `/run` of the enclosure.
const DIRECTORY: &str = "/run/lab";

/// LANs with hosts on them, on this one machine, and whoever watches them.
///
/// Dropping it kills every process on its hosts, removes all links and ends the observer, whatever handles to hosts
/// are left. The end of the enclosure does the same, however it comes.
pub struct Lab {
    switch: Arc<Switch>,
    observer: Observer,
    lan: Lan,
    hosts: Mutex<Vec<Host>>,
}

/// A LAN: one bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lan {
    pub(crate) bridge: u32,
}

impl Lab {
    /// An empty lab with one LAN.
    ///
    /// # Errors
    ///
    /// [`Error::NotEnclosed`] outside an [enclosure](crate::enclose).
    pub fn new() -> Result<Self> {
        if enclosed().is_none() {
            return Err(Error::NotEnclosed);
        }
        // Loopback of the enclosure itself, for what runs on no host.
        Route::open()?.set_up(1, true)?;
        std::fs::create_dir_all(DIRECTORY).doing(|| format!("make {DIRECTORY}"))?;
        let switch = Arc::new(Switch::make()?);
        let lan = Lan { bridge: switch.add_lan()? };
        let observer = Observer::start(switch.namespace())?;
        Ok(Self { switch, observer, lan, hosts: Mutex::default() })
    }

    /// A host on the first LAN with the interface `eth0` and these addresses (`192.0.2.11/24`, `2001:db8::11/64`),
    /// and the [service](crate::SERVICE_PORT) running.
    ///
    /// # Errors
    ///
    /// A name that is taken, or an address that is none.
    pub fn host(&self, name: &str, addresses: &[&str]) -> Result<Host> {
        addresses.iter().try_for_each(|text| parse_network(text).map(|_| ()))?;
        let host = self.host_without_links(name)?;
        host.connect(self.lan, addresses)?;
        Ok(host)
    }

    /// A host without any interface but `lo`; see [`Host::connect`].
    ///
    /// # Errors
    ///
    /// A name that is taken or empty.
    pub fn host_without_links(&self, name: &str) -> Result<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
            return Err(Error::Name(format!("`{name}` is no name for a host: letters, digits, - and _")));
        }
        if hosts.iter().any(|host| host.name() == name) {
            return Err(Error::Name(format!("a host is named `{name}` already")));
        }
        let number = u32::try_from(hosts.len()).map_err(|_| Error::Name("too many hosts".into()))?;
        let directory = PathBuf::from(DIRECTORY).join(name);
        let host = Host::make(name, number, directory, Arc::clone(&self.switch), self.observer.clone())?;
        hosts.push(host.clone());
        Ok(host)
    }

    /// The LAN that [`host`](Self::host) connects to.
    pub fn lan(&self) -> Lan {
        self.lan
    }

    /// One more LAN, with nobody on it; see [`Host::connect`].
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn add_lan(&self) -> Result<Lan> {
        Ok(Lan { bridge: self.switch.add_lan()? })
    }

    /// All hosts, in the order in which they were made.
    pub fn hosts(&self) -> Vec<Host> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who holds which address.
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Drops all traffic of these kinds between all hosts, and none of the kinds that it was last called for.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; then nothing has changed.
    pub fn block_traffic(&self, kinds: &[Traffic]) -> Result<()> {
        self.switch.change_faults(|faults| faults.blocked = kinds.iter().copied().collect())
    }

    /// Drops every heartbeat (UDP from or to port 5798) between all hosts; ARP, Neighbor Discovery and all else pass.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; then nothing has changed.
    pub fn block_heartbeats(&self) -> Result<()> {
        self.switch.change_faults(|faults| faults.no_heartbeats = true)
    }

    /// The same between two hosts, both ways.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; then nothing has changed.
    pub fn block_heartbeats_between(&self, one: &Host, other: &Host) -> Result<()> {
        self.block_pairs(one, other, true)
    }

    /// The same, only those that `from` sends to `to`.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; then nothing has changed.
    pub fn block_heartbeats_from(&self, from: &Host, to: &Host) -> Result<()> {
        self.block_pairs(from, to, false)
    }

    fn block_pairs(&self, from: &Host, to: &Host, both: bool) -> Result<()> {
        let (from, to) = (from.ports(), to.ports());
        self.switch.change_faults(|faults| {
            for (&from, &to) in from.iter().flat_map(|from| to.iter().map(move |to| (from, to))) {
                faults.heartbeats.insert((from, to));
                if both {
                    faults.heartbeats.insert((to, from));
                }
            }
        })
    }

    /// Lets heartbeats pass again, all of them.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; then nothing has changed.
    pub fn unblock_heartbeats(&self) -> Result<()> {
        self.switch.change_faults(|faults| {
            faults.no_heartbeats = false;
            faults.heartbeats.clear();
        })
    }

    /// Splits the LANs: nothing passes between hosts on different sides. A host on no side hears everybody. Takes
    /// the place of an earlier partition.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; then nothing has changed.
    pub fn partition(&self, sides: &[&[&Host]]) -> Result<()> {
        let sides: Vec<BTreeSet<u32>> =
            sides.iter().map(|side| side.iter().flat_map(|host| host.ports()).collect()).collect();
        self.switch.change_faults(|faults| faults.sides = sides)
    }

    /// Ends the partition.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; then nothing has changed.
    pub fn heal(&self) -> Result<()> {
        self.switch.change_faults(|faults| faults.sides.clear())
    }

    /// Undoes every fault of every host and between hosts: power on, thawed, plugged in, nothing dropped.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; what came before it is undone.
    pub fn undo_all(&self) -> Result<()> {
        self.switch.change_faults(|faults| *faults = Default::default())?;
        self.hosts().iter().try_for_each(Host::undo_all)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in self.hosts() {
            host.end();
        }
        self.observer.stop();
    }
}
