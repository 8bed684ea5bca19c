//! Hosts on a LAN inside one machine.
//!
//! For demonstrations, end-to-end tests and measurements: real kernels with real interfaces, one network namespace
//! for each host, a switch in a namespace of its own, a client that asks for virtual addresses a thousand times a
//! second, an observer that sees which kernel holds which address, and faults that can all be undone. It needs no
//! external tool, and no root where the system lets ordinary users make namespaces. Whatever happens to the program,
//! nothing is left behind.
//!
//! ```no_run
//! use std::net::IpAddr;
//! use std::time::{Duration, Instant};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! vipdrift_lab::enclose()?; // first thing in main: the program goes on inside
//! let lab = vipdrift_lab::Lab::new()?;
//! let alpha = lab.host("alpha", &["192.0.2.11/24", "2001:db8::11/64"])?;
//! let bravo = lab.host("bravo", &["192.0.2.12/24", "2001:db8::12/64"])?;
//! let client = lab.host("client", &["192.0.2.50/24", "2001:db8::50/64"])?;
//!
//! let vip: IpAddr = "192.0.2.100".parse()?;
//! alpha.add_address("192.0.2.100/24")?;
//! let client = client.client(&[vip])?;
//! let soon = Instant::now() + Duration::from_secs(5);
//! assert!(client.wait_answer_by(vip, "alpha", Instant::now(), soon));
//!
//! let fault = Instant::now();
//! alpha.power_off()?;
//! bravo.add_address("192.0.2.100/24")?; // a daemon under test would do this
//! bravo.announce("eth0")?;
//! assert!(lab.observer().wait_holders(vip, &["bravo"], soon));
//! assert!(client.wait_answer_by(vip, "bravo", fault, soon));
//! println!("outage {:?}, lost {}", client.outage(fault), client.lost_probes(fault, Instant::now()));
//! lab.undo_all()?;
//! # Ok(())
//! # }
//! ```
//!
//! Times are [`std::time::Instant`]s, which on Linux is `CLOCK_MONOTONIC`: those of the client, the observer and the
//! output of processes can be compared.
//!
//! | Fault | Call | Undone by |
//! |---|---|---|
//! | cable pulled on the switch side, carrier lost | [`Host::unplug`], [`Host::unplug_interface`] | [`Host::plug`], [`Host::plug_interface`] |
//! | silent cut, carrier stays | [`Host::cut`] | [`Host::uncut`] |
//! | deaf, or mute | [`Host::deafen`], [`Host::mute`] | [`Host::mend`] |
//! | frames lost at random | [`Host::lose`] | [`Host::mend`] |
//! | power off | [`Host::power_off`] | [`Host::power_on`] |
//! | frozen | [`Host::freeze`] | [`Host::thaw`] |
//! | address added or deleted by hand | [`Host::add_address`], [`Host::delete_address`] | each other |
//! | heartbeats blocked | [`Lab::block_heartbeats`] | [`Lab::unblock_heartbeats`] |
//! | partition | [`Lab::partition`] | [`Lab::heal`] |
//! | service dead | [`Host::stop_service`] | [`Host::start_service`] |
//! | everything | | [`Lab::undo_all`] |

mod announce;
mod client;
mod enclosure;
mod error;
mod fault;
mod frames;
mod harness;
mod host;
mod lab;
mod mac;
mod namespace;
mod netlink;
mod nft;
mod observer;
mod process;
mod realtime;
mod record;
mod refusal;
mod service;
mod stream;
mod switch;
mod timeline;
pub mod wine;

pub use client::{Client, ClientOptions, LATE};
pub use enclosure::{Enclosed, enclose, enclosed};
pub use error::Error;
pub use fault::{HEARTBEAT_PORT, Traffic};
pub use frames::Tap;
pub use harness::{TIME_LIMIT, Test, run_tests};
pub use host::Host;
pub use lab::{Lab, Lan};
pub use mac::Mac;
pub use nix::sys::signal::Signal;
pub use observer::Observer;
pub use process::{Line, Process, Stream};
pub use record::{Answer, GRACE, Outage, Probe, Record};
pub use refusal::Refused;
pub use service::{SERVICE_PORT, serve_as};
pub use stream::{StreamChange, StreamEvent};
pub use timeline::{Change, Happening, Interval, Timeline};
