//! The Event Log: numbered events.
