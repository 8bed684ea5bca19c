//! Linux, kernel 5.18 or later (older kernels lack the address tag, `IFA_PROTO`).

pub mod addresses;
pub mod clock;
pub mod datagrams;
pub mod descriptor;
pub mod echo;
pub mod endpoint;
pub mod file;
pub mod frames;
pub mod journal;
pub mod links;
pub mod manager;
mod netlink;
pub mod pipe;
pub mod poll;
pub mod privileges;
pub mod process;
pub mod readable;
pub mod realtime;
pub mod sandbox;
mod socket;
mod system_calls;
pub mod tcp;
pub mod watch;
