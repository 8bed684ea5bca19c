//! Every contender and fault in turn, again and again: whatever else this machine does meets all of them alike.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use crate::contender::{self, Contender};
use crate::fault::Fault;
use crate::figures::Figures;
use crate::{Result, child, plot, report};

/// What is to be measured.
#[derive(Args)]
pub(crate) struct Plan {
    /// Times that each fault is made with each contender
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Only this contender (may be repeated)
    #[arg(long, value_name = "NAME")]
    contender: Vec<String>,
    /// Only this fault (may be repeated)
    #[arg(long, value_name = "NAME")]
    fault: Vec<String>,
    /// Where the tables are written
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// All runs of one fault with one contender.
pub(crate) struct Series {
    pub(crate) contender: &'static dyn Contender,
    pub(crate) fault: Fault,
    pub(crate) runs: Vec<Figures>,
    /// Runs that could not be made.
    pub(crate) failed: u32,
}

/// Measures, prints as it goes, and writes the tables.
///
/// # Errors
/// A name that is none, or a file that cannot be written. A run that fails is counted, and the others go on.
pub(crate) fn run(vipdrift: &Path, plan: &Plan) -> Result<()> {
    let contenders = if plan.contender.is_empty() {
        contender::of_faults()
    } else {
        plan.contender.iter().map(|name| contender::find(name)).collect::<Result<_>>()?
    };
    let faults = if plan.fault.is_empty() {
        Fault::ALL.to_vec()
    } else {
        plan.fault.iter().map(|name| Fault::find(name)).collect::<Result<_>>()?
    };
    std::fs::create_dir_all(&plan.out)?;
    let mut all = Vec::new();
    for &fault in &faults {
        for &contender in contenders.iter().filter(|contender| contender.answers(fault)) {
            all.push(Series { contender, fault, runs: Vec::new(), failed: 0 });
        }
    }
    let begun = Instant::now();
    let total = all.len() * plan.runs as usize;
    let mut done = 0;
    for _ in 0..plan.runs {
        for series in &mut all {
            let outcome =
                child::measure::<Figures>(vipdrift, &["fault", series.contender.name(), series.fault.name()]);
            done += 1;
            let what = format!("{:<15} {:<16}", series.contender.name(), series.fault.name());
            let seconds = begun.elapsed().as_secs();
            match outcome {
                Ok(figures) => {
                    println!("{done:>4}/{total} {seconds:>5} s  {what} {}", report::line(&figures));
                    series.runs.push(figures);
                }
                Err(error) => {
                    println!("{done:>4}/{total} {seconds:>5} s  {what} FAILED: {error}");
                    series.failed += 1;
                }
            }
        }
    }
    let text = report::markdown(&all, &contenders, &faults);
    std::fs::write(plan.out.join("bench.md"), &text)?;
    std::fs::write(plan.out.join("bench.json"), report::json(&all)?)?;
    std::fs::write(plan.out.join("bench.svg"), plot::svg(&all, &faults))?;
    println!("\n{text}");
    println!("written: {}", plan.out.display());
    Ok(())
}
