//! Windows 10 and Server 2016 or later. Built to the documentation: nothing here has run on a real Windows yet, see
//! docs/windows.md.

pub mod addresses;
pub mod clock;
pub mod datagrams;
pub mod descriptor;
pub mod echo;
pub mod endpoint;
pub mod file;
pub mod frames;
mod inet;
pub mod journal;
pub mod links;
pub mod pipe;
pub mod poll;
pub mod privileges;
pub mod process;
pub mod readable;
pub mod realtime;
pub mod sandbox;
mod tables;
pub mod tasks;
pub mod watch;
