//! UDP sockets for heartbeats.
