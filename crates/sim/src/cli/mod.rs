//! The command line.

mod many;
mod one;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// A simulator over the production core: seeded scenarios, invariants, shrinking.
#[derive(Debug, Parser)]
#[command(name = "vipdrift-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds and print what they amount to.
    #[command(
        after_help = "Examples:\n  vipdrift-sim many --seeds 10000 --hours 1\n  vipdrift-sim many --minutes 2"
    )]
    Many(Many),
    /// Run one seed, or a scenario from a file, tell what happened, and shrink it if it fails.
    #[command(
        after_help = "Examples:\n  vipdrift-sim one 4711\n  vipdrift-sim one 4711 --print > my.toml\n  vipdrift-sim one my.toml"
    )]
    One(One),
}

#[derive(Debug, Args)]
struct Common {
    /// Hours that each world lasts.
    #[arg(long, default_value_t = 1.0, value_parser = hours)]
    hours: f64,
    /// Put a known fault into the core, to see that it is caught.
    #[cfg(feature = "sabotage")]
    #[arg(long, value_parser = sabotage)]
    sabotage: Option<vipdrift_core::Sabotage>,
}

impl Common {
    fn lasts(&self) -> Duration {
        Duration::from_secs_f64(self.hours * 3600.0)
    }

    fn options(&self) -> vipdrift_sim::Options {
        vipdrift_sim::Options {
            verbose: false,
            #[cfg(feature = "sabotage")]
            sabotage: self.sabotage,
        }
    }
}

#[derive(Debug, Args)]
struct Many {
    #[command(flatten)]
    common: Common,
    /// How many seeds; without it, as many as fit the time.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Minutes after which no new seed is begun.
    #[arg(long, value_parser = minutes)]
    minutes: Option<f64>,
    /// Worlds that run at the same time; as many as there are processors, unless said.
    #[arg(long)]
    jobs: Option<usize>,
    /// Go on after a failure, and list all.
    #[arg(long)]
    keep_going: bool,
    /// The commit that is run, for reports.
    #[arg(long, default_value = "unknown")]
    commit: String,
}

#[derive(Debug, Args)]
struct One {
    #[command(flatten)]
    common: Common,
    /// A seed, or a file with a scenario.
    scenario: String,
    /// Print the scenario as text and do nothing else.
    #[arg(long)]
    print: bool,
    /// Print every state change, not only the last 30.
    #[arg(long)]
    whole_log: bool,
    /// Do not shrink a scenario that fails.
    #[arg(long)]
    no_shrink: bool,
    /// Folder for the shrunk scenario.
    #[arg(long)]
    keep_in: Option<PathBuf>,
    /// The commit that is run, for reports.
    #[arg(long, default_value = "unknown")]
    commit: String,
}

fn hours(text: &str) -> Result<f64, String> {
    positive(text, 1000.0)
}

fn minutes(text: &str) -> Result<f64, String> {
    positive(text, 100_000.0)
}

fn positive(text: &str, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if number > 0.0 && number <= most { Ok(number) } else { Err(format!("more than 0, at most {most}")) }
}

#[cfg(feature = "sabotage")]
fn sabotage(text: &str) -> Result<vipdrift_core::Sabotage, String> {
    vipdrift_core::Sabotage::ALL.into_iter().find(|known| known.name() == text).ok_or_else(|| {
        let names: Vec<&str> = vipdrift_core::Sabotage::ALL.iter().map(|known| known.name()).collect();
        format!("known are {}", names.join(", "))
    })
}

pub(super) fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Many(many) => many::run(&many),
        Command::One(one) => one::run(&one),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vipdrift-sim: {error}");
            ExitCode::FAILURE
        }
    }
}
