//! Health checks: is a service on this machine, or a machine beside it, as it should be?
//!
//! A [`Check`] says what is looked at and how often; [`run`] looks, for as long as it is let, and reports what it finds.
//! Processes and systemd units are watched by events, so that the end of a service is known when it happens; everything
//! else is asked at an interval. What cannot be looked at counts as failing.

mod check;
mod exec;
mod file;
mod http;
mod icmp;
#[cfg(unix)]
#[path = "unit.rs"]
mod managed;
#[cfg(windows)]
#[path = "service.rs"]
mod managed;
mod output;
mod process;
mod run;
mod slot;
mod tally;
mod tcp;
mod tls;

pub use check::{Account, Check, Exec, Http, Managed, Probe, Subject};
pub use exec::{Rest, run_program};
pub use icmp::Pinger;
pub use output::Outcome;
pub use run::{Report, Tools, run};
pub use slot::Slot;
