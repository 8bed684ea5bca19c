//! Checks against real servers on loopback, real files and real processes.

#[cfg(unix)]
#[path = "unix/looks.rs"]
mod looks;
