//! What keeper and brain say to each other. One JSON object per packet of a sequenced-packet socket.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vipdrift_core::{Carry, Drained, LinkFacts};
use vipdrift_platform::descriptor::Number;
use vipdrift_wire::Mac;

use crate::config::Secrets;

/// Everything a brain must know that stays the same over the life of its keeper. Handed over in a sealed memory file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Name of the configuration file, for messages.
    pub(crate) config_file: String,
    /// The configuration, already checked.
    pub(crate) config_text: String,
    /// The cluster's keys.
    pub(crate) secrets: Secrets,
    /// This node's name.
    pub(crate) node: String,
    /// Process id of the keeper.
    pub(crate) keeper_pid: u32,
    /// `granted`, or why the keeper has no real-time priority.
    pub(crate) keeper_real_time: String,
    /// What is known of the lifetimes of addresses when the keeper begins; see [`ToBrain::Lease`].
    pub(crate) lease: String,
    /// The page is served there; or why it is not.
    pub(crate) page: String,
    /// The user to become if the keeper is root: name, user id, group id. Looked up once, by the keeper at its start: a
    /// new brain has no time to wait for a name service.
    pub(crate) account: Option<(String, u32, u32)>,
    /// The sockets and files that the keeper opened.
    pub(crate) descriptors: Descriptors,
}

/// Numbers of inherited file descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Descriptors {
    /// Heartbeat sockets, in the order of the node's own addresses.
    pub(crate) heartbeat: Vec<Number>,
    /// ARP frames.
    pub(crate) arp: Number,
    /// Neighbor Discovery frames.
    pub(crate) neighbor: Number,
    /// ICMP echo.
    pub(crate) echo_v4: Number,
    /// ICMPv6 echo, unless the system has no IPv6.
    pub(crate) echo_v6: Option<Number>,
    /// The control socket, listening.
    pub(crate) control: Number,
    /// Where the page is served, listening; `None`: it is not.
    pub(crate) page: Option<Number>,
    /// The pipe to the runner, if there is one.
    pub(crate) runner: Option<Number>,
    /// Where the drained state is kept, if it can be.
    pub(crate) state: Option<Number>,
    /// The two files of the events; none if they cannot be kept.
    pub(crate) events: Vec<Number>,
    /// The files of the journal; none if there is no journal.
    pub(crate) journal: Vec<Number>,
}

/// What is different for every brain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Life {
    /// The how manieth brain of this keeper.
    pub(crate) number: u32,
    /// The last gap that the keeper saw; beats carry it.
    pub(crate) epoch: u64,
    /// What an earlier brain left; without it the brain starts afresh.
    pub(crate) resumed: Option<Carry>,
    /// What an operator had drained.
    pub(crate) drained: Drained,
    /// What an operator had ordered that it begins with: `reload` or `restart`.
    pub(crate) ordered: Option<String>,
}

/// From the keeper to the brain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ToBrain {
    /// Everything about an interface. Once for each at start, and whenever anything of it changes.
    Link {
        /// Position in the configuration.
        interface: usize,
        /// The kernel's number for it, while it is there.
        index: Option<u32>,
        /// The rest.
        facts: Facts,
    },
    /// (Part of) a plan is applied, or the kernel has changed by itself.
    Applied {
        /// The last plan.
        plan: u64,
        /// VIPs that the kernel has.
        mounted: Vec<usize>,
        /// VIPs that it would not take or let go.
        failed: Vec<(usize, String)>,
        /// Nothing is left to do.
        complete: bool,
    },
    /// Somebody else changed a VIP; it has been set right.
    Drifted {
        /// Which VIP.
        vip: usize,
        /// It had been removed; else it had been added.
        removed: bool,
    },
    /// The keeper was away: it renews nothing until a beat carries this epoch.
    Gap {
        /// Number of the gap.
        epoch: u64,
        /// About how long.
        missing: Duration,
    },
    /// What the keeper has found out of the lifetimes of addresses, for the status: `granted`, or what to reckon with.
    Lease(String),
    /// VIPs have been given their lifetime anew.
    Renewed {
        /// How many.
        vips: usize,
        /// Theirs from now on; none if the lease is off.
        lifetime: Option<Duration>,
    },
    /// The keeper is at work: said several times within every lease.
    Alive,
    /// Release everything and exit.
    Shutdown,
    /// What has become of a wish for another configuration or another binary: it will be, or why not.
    Examined {
        /// Whose wish.
        ticket: u64,
        /// What will be different, or why nothing will.
        outcome: Result<String, String>,
    },
    /// Ask the network who uses these addresses, each on the interface at this position.
    Ask(Vec<(usize, IpAddr)>),
    /// Sign that this daemon makes way for another one, for so long at most.
    Absence {
        /// How long.
        at_most: Duration,
    },
    /// Say goodbye to nobody and end: another keeper comes, and holds what is held.
    Retire,
}

/// [`LinkFacts`] as they travel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) present: bool,
    pub(crate) running: bool,
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) gateways: Vec<IpAddr>,
}

impl From<Facts> for LinkFacts {
    fn from(facts: Facts) -> Self {
        let Facts { present, running, mac, addresses, gateways } = facts;
        Self { present, running, mac: mac.map(Mac), addresses, gateways }
    }
}

/// From the brain to the keeper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ToKeeper {
    /// The brain runs.
    Ready {
        /// Its heartbeat has real-time priority.
        real_time: bool,
    },
    /// It is alive.
    Beat {
        /// The lease may be renewed.
        renew: bool,
        /// The last gap that it knows of.
        epoch: u64,
    },
    /// Make exactly these VIPs be mounted.
    Apply {
        /// Number of the plan.
        plan: u64,
        /// Positions in the configuration.
        desired: Vec<usize>,
    },
    /// The datagrams to send when the brain is dead.
    Words {
        /// "Holding."
        holding: Vec<u8>,
        /// "Released."
        resigned: Vec<u8>,
    },
    /// What the next brain must know.
    Remember(Carry),
    /// Everything is released and said.
    Exit,
    /// Who answered what [`ToBrain::Ask`] asked; nobody known where it could not be asked.
    Answered(Vec<(IpAddr, Option<[u8; 6]>)>),
    /// The datagram that [`ToBrain::Absence`] asked for, or why it is not signed.
    Absence(Result<Vec<u8>, String>),
    /// Somebody wants the configuration as it is in its file now, or a new binary.
    Succeed {
        /// A new binary as well.
        restart: bool,
        /// What comes may take so long; else no longer than a brain.
        keep: Option<Duration>,
        /// For the answer.
        ticket: u64,
    },
}

/// Longest packet between the two.
pub(crate) const LONGEST: usize = 512 * 1024;

/// Writes a message. Both sides are the same program, so this cannot fail for want of a representation.
pub(crate) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_pipe() {
        let message = ToBrain::Link {
            interface: 1,
            index: Some(7),
            facts: Facts {
                present: true,
                running: true,
                mac: Some([0, 0, 0x5e, 0, 0x53, 1]),
                addresses: vec!["192.0.2.11/24".parse().expect("network")],
                gateways: vec!["192.0.2.1".parse().expect("address")],
            },
        };
        assert_eq!(serde_json::from_slice::<ToBrain>(&encode(&message)).expect("reads"), message);
        let message = ToKeeper::Words { holding: vec![1, 2], resigned: vec![255] };
        assert_eq!(serde_json::from_slice::<ToKeeper>(&encode(&message)).expect("reads"), message);
    }
}
