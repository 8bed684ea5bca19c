//! A stand-in for `iphlpapi.dll` under wine 8, whose own lacks, refuses or only pretends to do what a program needs that
//! mounts addresses. For tests only.
//!
//! The calls below are passed on, one line of text each, to an agent in the same network namespace
//! (`crates/lab/src/wine`), which answers as Windows documents it. All others are forwarded to wine's own DLL, copied as
//! `wiphlpapi.dll` (see `xtask/src/windows/forwarders.rs`). Without an agent every call fails with `ERROR_GEN_FAILURE`.

mod addresses;
mod agent;
mod echo;
mod links;
mod memory;
mod neighbors;
mod notify;
mod routes;
mod text;
