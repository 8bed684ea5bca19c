//! What the program is by itself: how big, and how long it takes to start and to stop.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use vipdrift_lab::{Change, Signal};

use crate::contender::Contender;
use crate::fault::millis;
use crate::figures::Spread;
use crate::report::show;
use crate::rig::Rig;
use crate::shape::{Shape, VIP};
use crate::{Result, child};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// One start, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// `vipdrift --version`, from its start to its end.
    version: f64,
    /// From the start of the daemon until its control socket takes a connection.
    reachable: f64,
    /// Until the VIP is mounted, alone on a LAN with a gateway.
    held: f64,
    /// From SIGTERM until it has ended.
    stopped: f64,
}

/// What is to be measured.
#[derive(Args)]
pub(crate) struct Plan {
    /// Starts
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Where the table is written
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// Starts it once, waits for everything, and stops it.
///
/// # Errors
/// It does not start, does not get the VIP, or does not end.
pub(crate) fn measure(vipdrift: &Path, contender: &'static dyn Contender) -> Result<Start> {
    let begun = Instant::now();
    let status = Command::new(vipdrift).arg("--version").stdout(Stdio::null()).status()?;
    let version = begun.elapsed();
    if !status.success() {
        return Err(format!("--version: {status}").into());
    }
    let mut rig = Rig::build(vipdrift, contender, Shape::pair())?;
    let socket = rig.folder(0)?.join("control.sock");
    let begun = Instant::now();
    rig.start(0)?;
    while UnixStream::connect(&socket).is_err() {
        if begun.elapsed() > PATIENCE {
            return Err(format!("no control socket\n{}", rig.said()).into());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let reachable = begun.elapsed();
    if !rig.lab.observer().wait_holders(VIP, &[Shape::name(0)], begun + PATIENCE) {
        return Err(format!("it does not get the VIP\n{}", rig.said()).into());
    }
    let timeline = rig.lab.observer().timeline();
    let mounted = timeline.happenings().iter().find(|happening| happening.change == Change::Added(VIP));
    let held = mounted.ok_or("nobody saw the mount")?.at.saturating_duration_since(begun);
    let begun = Instant::now();
    rig.daemon(0)?.kill(Signal::SIGTERM)?;
    if rig.daemon(0)?.wait_output(begun + PATIENCE).is_none() {
        return Err("it does not end".into());
    }
    let stopped = begun.elapsed();
    Ok(Start {
        version: millis(version),
        reachable: millis(reachable),
        held: millis(held),
        stopped: millis(stopped),
    })
}

/// Measures, and writes the table.
///
/// # Errors
/// A start that fails, or a file that cannot be written.
pub(crate) fn run(vipdrift: &Path, plan: &Plan) -> Result<()> {
    let mut starts = Vec::new();
    for _ in 0..plan.runs {
        starts.push(child::measure::<Start>(vipdrift, &["start"])?);
    }
    let size = std::fs::metadata(vipdrift)?.len() as f64 / f64::from(1 << 20);
    let text = format!("Size of the program: {size:.1} MiB\n\n{}", markdown(&starts));
    std::fs::create_dir_all(&plan.out)?;
    std::fs::write(plan.out.join("footprint.md"), &text)?;
    std::fs::write(plan.out.join("footprint.json"), serde_json::to_string_pretty(&starts)? + "\n")?;
    println!("{text}\nwritten: {}", plan.out.display());
    Ok(())
}

fn markdown(starts: &[Start]) -> String {
    let of = |figure: fn(&Start) -> f64| {
        Spread::of(starts.iter().map(figure)).map_or_else(|| "-".to_owned(), show)
    };
    format!(
        "Median (least to most) of {} starts, milliseconds.\n\n| | |\n|---|---|\n| `vipdrift --version` | {} |\n\
         | daemon: control socket answers after | {} |\n| VIP mounted, nobody else there, after | {} |\n\
         | ended after SIGTERM | {} |\n",
        starts.len(),
        of(|start| start.version),
        of(|start| start.reachable),
        of(|start| start.held),
        of(|start| start.stopped),
    )
}
