//! Server and client over a real Unix socket.

#[cfg(unix)]
#[path = "unix/socket.rs"]
mod socket;
