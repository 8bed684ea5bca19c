//! What the operating system does for vipdrift: addresses, links, raw frames, sockets, clocks, processes, limits.
//!
//! One folder for each system with the same modules and signatures (`linux/`, `windows/`); this file picks one. Nothing in
//! it decides anything: it carries out, and reports errors that say what is left behind.
//!
//! All times are [`Duration`](std::time::Duration)s; a moment is the time since boot as told by
//! [`clock::boot_time`].

pub mod error;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(windows)]
use windows as system;

#[cfg(windows)]
pub use system::tasks;
pub use system::{
    addresses, clock, datagrams, descriptor, echo, endpoint, file, frames, journal, links, manager, pipe,
    poll, privileges, process, readable, realtime, sandbox, tcp, watch,
};
