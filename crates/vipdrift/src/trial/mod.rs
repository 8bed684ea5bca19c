//! A real cluster on a LAN inside this machine, and what its client sees when something fails. Used by the demo, the
//! end-to-end tests and the benchmarks alike.

mod cluster;
mod faults;
mod idle;
mod measure;
pub mod windows;

pub use cluster::{Cluster, NodeHandle, Options};
pub use faults::{Fault, run};
pub use idle::{Cost, idle};
pub use measure::{Outcome, Window};

/// Why a trial could not be made. The lab and everything in it ends with the [`Cluster`].
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The lab could not be built or changed.
    #[error("lab: {0}")]
    Lab(#[from] vipdrift_lab::Error),
    /// A file of the cluster could not be written.
    #[error("{what}: {source}")]
    File {
        /// Which.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// The daemon did not answer.
    #[error("{node}: {source}")]
    Control {
        /// On which node.
        node: String,
        /// Why.
        source: vipdrift_control::ClientError,
    },
    /// A program said something else than was asked for.
    #[error("not an answer: {text}")]
    Said {
        /// What it said.
        text: String,
    },
    /// The cluster did not come into the state that the trial needs.
    #[error("{what}, not within {limit:?}\n{state}")]
    Unready {
        /// What was waited for.
        what: String,
        /// For how long.
        limit: std::time::Duration,
        /// What the nodes said last.
        state: String,
    },
}
