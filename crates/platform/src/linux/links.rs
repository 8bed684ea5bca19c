//! Network interfaces as the kernel sees them.

/// One network interface. Read with [`Kernel::links`](super::addresses::Kernel::links).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of the interface, from 1; not reused while the interface lives.
    pub index: u32,
    /// Its name, as in `eth0`.
    pub name: String,
    /// Its Ethernet address; `None` if it has none of six bytes (loopback has one of zeros, tunnels have none).
    pub mac: Option<[u8; 6]>,
    /// Frames can leave: switched on (`IFF_UP`) with carrier (`IFF_LOWER_UP`), netdevice(7). For a moment after the
    /// carrier came the kernel may still drop frames silently, until its worker has switched the queue on. `IFF_RUNNING`
    /// is no better: it follows that worker, but may lag a whole second although frames pass (linkwatch's rate limit).
    pub running: bool,
    /// The loopback interface (`IFF_LOOPBACK`).
    pub loopback: bool,
}

impl Link {
    /// Whether a configuration means this interface by `name`.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name
    }
}

/// A name that means more than one interface. Not on this system, where a name is unique.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` means {} network cards: {}; write one of these names instead",
    .candidates.len(),
    .candidates.iter().map(|candidate| format!("`{candidate}`")).collect::<Vec<_>>().join(", ")
)]
pub struct Ambiguous {
    /// What the configuration says.
    pub name: String,
    /// The interfaces it may mean.
    pub candidates: Vec<String>,
}

/// The interface that a configuration means by `name`.
///
/// # Errors
/// [`Ambiguous`]: several. Never on this system.
pub fn find<'a>(links: &'a [Link], name: &str) -> Result<Option<&'a Link>, Ambiguous> {
    Ok(links.iter().find(|link| link.is_called(name)))
}
