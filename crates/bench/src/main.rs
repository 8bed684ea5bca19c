//! vipdrift beside what people would run instead: the same two nodes, the same client, the same faults, one after the other in
//! one run. `cargo xtask bench` brings the peers and starts this.

mod contender;
mod cost;
mod fault;
mod figures;
mod many;
mod report;
mod rig;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Whatever stands in the way of a measurement, in words.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(about = "Measures vipdrift beside its peers, in network namespaces on this machine")]
struct Arguments {
    /// The program under trial
    #[arg(long, value_name = "FILE")]
    vipdrift: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every contender and fault, interleaved, and the tables
    All(many::Plan),
    /// One fault with one contender, as a line of JSON
    One { contender: String, fault: String },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.what {
        What::All(plan) => many::run(&arguments.vipdrift, &plan),
        What::One { contender, fault } => one(&arguments.vipdrift, &contender, &fault),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// In an enclosure of its own, with which all of it ends.
fn one(vipdrift: &std::path::Path, contender: &str, fault: &str) -> Result<()> {
    if let Err(refused) = vipdrift_lab::enclose() {
        return Err(refused.to_string().into());
    }
    let contender = contender::find(contender)?;
    let fault = fault::Fault::find(fault)?;
    let figures = fault::measure(vipdrift, contender, fault)?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}
