//! What the keeper decides, apart from doing it: which VIPs come next, when a lease is renewed, what follows from the
//! death of a brain. As pure as the rest of this crate, so that the simulator runs what production runs.

mod budget;
mod lease;
mod lives;
mod mounts;

pub use budget::{Budget, Permission};
pub use lease::{Lease, WITHOUT_LEASE};
pub use lives::{Lives, Verdict};
pub use mounts::{BATCH, Differences, Mounts, Report, Step};
