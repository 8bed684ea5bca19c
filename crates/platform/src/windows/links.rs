//! Network interfaces as the system sees them.
