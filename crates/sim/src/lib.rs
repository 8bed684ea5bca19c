//! A seeded world for the core: machines, kernels, clocks and wires that fail, and what must hold all the same.
//!
//! A [`Scenario`] is drawn from a seed before anything runs; [`run`] takes the production core and wire through it, an
//! hour in about a second, and answers with the first [`Violation`] of an invariant, or none.

mod bounds;
mod figures;
mod invariants;
mod random;
mod run;
mod scenario;
mod shrink;
#[cfg(test)]
mod stories;
mod world;

pub use figures::Figures;
pub use invariants::Violation;
pub use run::{Options, Outcome, run};
pub use scenario::{
    Bystanders, Fault, GroupCheck, GroupSetup, NodeNumber, Planned, References, Scenario, Setup,
};
pub use shrink::{Shrunk, shrink};
