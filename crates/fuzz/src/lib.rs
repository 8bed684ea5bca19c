//! What is fuzzed: one body for each kind of bytes that vipdrift reads, shared by the tests of this package (short,
//! on every `cargo test`) and by the programs in `fuzz/` (long, `cargo xtask fuzz`).
//!
//! A body takes any bytes. It panics when the code under it panics, or when a property is broken; a rejection is not
//! a failure. A new target needs a module here, a row in [`TARGETS`], a program in `fuzz/fuzz_targets` with its
//! `[[bin]]`, and seeds; the tests say which of these is missing.

pub mod control;
pub mod daemon;
pub mod echo;
pub mod frame;
pub mod heartbeat;
pub mod node;
mod reader;
mod seal;
pub mod world;

use std::path::PathBuf;

/// Bytes to begin with, and a name for them.
pub type Seed = (&'static str, Vec<u8>);

/// Something that is fuzzed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the target, its program and its corpus.
    pub name: &'static str,
    /// Takes any bytes. Panics if something is wrong with the code.
    pub run: fn(&[u8]),
    /// Meaningful bytes, made by the real encoders where there are some.
    pub seeds: fn() -> Vec<Seed>,
}

/// Every target.
pub const TARGETS: [Target; 13] = [
    Target { name: "datagram", run: heartbeat::datagram, seeds: heartbeat::datagram_seeds },
    Target { name: "signed_body", run: heartbeat::signed_body, seeds: heartbeat::signed_body_seeds },
    Target { name: "frame", run: frame::run, seeds: frame::seeds },
    Target { name: "echo", run: echo::run, seeds: echo::seeds },
    Target { name: "node", run: node::run, seeds: node::seeds },
    Target {
        name: "configuration",
        run: vipdrift::fuzzing::configuration,
        seeds: daemon::configuration_seeds,
    },
    Target { name: "duration", run: vipdrift::fuzzing::duration, seeds: daemon::duration_seeds },
    Target { name: "key", run: vipdrift::fuzzing::key, seeds: daemon::key_seeds },
    Target { name: "state", run: vipdrift::fuzzing::state, seeds: daemon::state_seeds },
    Target { name: "pipe", run: vipdrift::fuzzing::pipe, seeds: daemon::pipe_seeds },
    Target { name: "control", run: control::run, seeds: control::seeds },
    Target { name: "status", run: vipdrift::fuzzing::status, seeds: daemon::status_seeds },
    Target { name: "world", run: world::run, seeds: world::seeds },
];

/// Runs the target of this name.
///
/// # Panics
///
/// As its body does, and if there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of this name").run)(bytes);
}

impl Target {
    /// The folder of its corpus.
    #[must_use]
    pub fn corpus(&self) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus")).join(self.name)
    }
}
