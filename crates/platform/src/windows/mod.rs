//! Windows 10 and Server 2016 or later. Built to the documentation: nothing here has run on a real Windows yet, see
//! docs/windows.md.

pub mod addresses;
pub mod clock;
pub mod datagrams;
pub mod descriptor;
pub mod echo;
pub mod endpoint;
mod event;
pub mod file;
pub mod frames;
mod inet;
pub mod journal;
mod library;
pub mod links;
mod mailbox;
pub mod manager;
pub mod pipe;
pub mod poll;
mod pool;
pub mod privileges;
pub mod process;
pub mod readable;
pub mod realtime;
mod resolve;
pub mod sandbox;
mod security;
mod tables;
pub mod tasks;
pub mod tcp;
mod text;
pub mod watch;
mod winsock;
