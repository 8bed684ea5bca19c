//! vipdrift beside what people would run instead: the same nodes, the same client, the same faults, one after the other in one
//! run. `cargo xtask bench` brings the peers and starts this.

mod child;
mod contender;
mod cost;
mod fault;
mod figures;
mod footprint;
mod many;
mod page;
mod plot;
mod prober;
mod report;
mod rig;
mod scale;
mod scales;
mod shape;
mod steady;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

/// Whatever stands in the way of a measurement, in words.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

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
    Faults(many::Plan),
    /// Very many VIPs and groups, and the tables
    Scale(scales::Plan),
    /// Pairs left alone while the machine is busy: what moves though nothing is wrong
    Steady(steady::Plan),
    /// How big the program is, and how long it takes to start and to stop
    Footprint(footprint::Plan),
    /// What it costs to be looked at: open pages and scrapes
    Page(page::Plan),
    /// One measurement, as a line of JSON
    #[command(subcommand)]
    One(One),
}

#[derive(Subcommand)]
enum One {
    /// One fault with one contender
    Fault { contender: String, fault: String },
    /// One group of so many VIPs on two nodes
    Vips { contender: String, vips: u32 },
    /// So many groups of one VIP on so many nodes
    Groups { contender: String, groups: u32, nodes: usize },
    /// A pair left alone for so many seconds
    Steady { contender: String, seconds: u64 },
    /// One start
    Start,
    /// So many groups on two nodes, and so many who look at the first
    Page { groups: u32, readers: u32 },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let vipdrift = &arguments.vipdrift;
    let outcome = match &arguments.what {
        What::Faults(plan) => many::run(vipdrift, plan),
        What::Scale(plan) => scales::run(vipdrift, plan),
        What::Steady(plan) => steady::run(vipdrift, plan),
        What::Footprint(plan) => footprint::run(vipdrift, plan),
        What::Page(plan) => page::run(vipdrift, plan),
        What::One(one) => one_of(vipdrift, one),
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
fn one_of(vipdrift: &Path, one: &One) -> Result<()> {
    if let Err(refused) = vipdrift_lab::enclose() {
        return Err(refused.to_string().into());
    }
    match one {
        One::Fault { contender, fault } => {
            let (contender, fault) = (contender::find(contender)?, fault::Fault::find(fault)?);
            tell(&fault::measure(vipdrift, contender, fault)?)
        }
        One::Vips { contender, vips } => {
            let shape = shape::Shape::one_group(*vips);
            tell(&scale::measure(vipdrift, contender::find(contender)?, shape)?)
        }
        One::Groups { contender, groups, nodes } => {
            let shape = shape::Shape::spread(*groups, *nodes);
            tell(&scale::measure(vipdrift, contender::find(contender)?, shape)?)
        }
        One::Steady { contender, seconds } => {
            let span = std::time::Duration::from_secs(*seconds);
            tell(&steady::measure(vipdrift, contender::find(contender)?, span)?)
        }
        One::Page { groups, readers } => {
            tell(&page::measure(vipdrift, contender::find("vipdrift-10ms")?, *groups, *readers)?)
        }
        One::Start => tell(&footprint::measure(vipdrift, contender::find("vipdrift-10ms")?)?),
    }
}

fn tell(figures: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(())
}
