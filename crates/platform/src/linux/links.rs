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
    /// Frames can leave: switched on (`IFF_UP`), with carrier (`IFF_LOWER_UP`), and in operation (`IFF_RUNNING`, which
    /// follows the carrier when the kernel is ready to send; also false for a port not yet let in by 802.1X),
    /// netdevice(7).
    pub running: bool,
    /// The loopback interface (`IFF_LOOPBACK`).
    pub loopback: bool,
}
