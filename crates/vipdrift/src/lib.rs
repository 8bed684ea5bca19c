//! The vipdrift daemon and command line, as a library: the binary, its end-to-end tests and the benchmarks share it.

mod brain;
mod cli;
mod config;
#[cfg(target_os = "linux")]
mod demo;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod histogram;
mod journal;
mod keeper;
mod log;
mod message;
mod place;
mod runner;
mod state;
#[cfg(target_os = "linux")]
pub mod trial;
mod writers;

/// Reads the arguments and does what they say. Makes no thread and opens nothing before it has dispatched: parts of
/// the program re-execute it.
pub fn main() -> std::process::ExitCode {
    cli::main()
}
