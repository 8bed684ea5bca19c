//! The same of very many VIPs, and of very many groups, in turn.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::contender::{self, Contender};
use crate::figures::Spread;
use crate::report::show;
use crate::scale::Scaled;
use crate::shape::Shape;
use crate::{Result, child};

/// VIPs of the one group.
const VIPS: [u32; 5] = [1, 50, 250, 1000, 4000];
/// Groups of a VIP each.
const GROUPS: [u32; 4] = [1, 50, 250, 1000];
/// Nodes over which they are spread.
const NODES: [usize; 3] = [2, 3, 8];

/// What is to be measured.
#[derive(Args)]
pub(crate) struct Plan {
    /// Times that each is measured
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Only this contender (may be repeated)
    #[arg(long, value_name = "NAME")]
    contender: Vec<String>,
    /// Only this many VIPs (may be repeated)
    #[arg(long, value_name = "N")]
    vips: Vec<u32>,
    /// Only this many groups (may be repeated)
    #[arg(long, value_name = "N")]
    groups: Vec<u32>,
    /// Only on this many nodes (may be repeated)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=8))]
    nodes: Vec<u64>,
    /// Where the tables are written
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Serialize)]
enum Size {
    Vips(u32),
    Groups(u32, usize),
}

impl Size {
    fn shape(self) -> Shape {
        match self {
            Self::Vips(vips) => Shape::one_group(vips),
            Self::Groups(groups, nodes) => Shape::spread(groups, nodes),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Vips(vips) => format!("{vips} VIPs in one group, 2 nodes"),
            Self::Groups(groups, nodes) => format!("{groups} groups, {nodes} nodes"),
        }
    }
}

#[derive(Serialize)]
struct Series {
    contender: &'static str,
    size: Size,
    runs: Vec<Scaled>,
    failed: u32,
}

/// Measures, prints as it goes, and writes the tables.
///
/// # Errors
/// A name that is none, or a file that cannot be written. A run that fails is counted, and the others go on.
pub(crate) fn run(vipdrift: &Path, plan: &Plan) -> Result<()> {
    let contenders: Vec<&dyn Contender> = if plan.contender.is_empty() {
        contender::of_scale()
    } else {
        plan.contender.iter().map(|name| contender::find(name)).collect::<Result<_>>()?
    };
    std::fs::create_dir_all(&plan.out)?;
    let mut all = Vec::new();
    for size in sizes(plan)? {
        for contender in contenders.iter().filter(|contender| contender.fits(&size.shape())) {
            all.push(Series { contender: contender.name(), size, runs: Vec::new(), failed: 0 });
        }
    }
    let begun = Instant::now();
    let (mut done, total) = (0, all.len() * plan.runs as usize);
    for _ in 0..plan.runs {
        for series in &mut all {
            let numbers = match series.size {
                Size::Vips(vips) => vec!["vips".to_owned(), series.contender.into(), vips.to_string()],
                Size::Groups(groups, nodes) => {
                    vec!["groups".into(), series.contender.into(), groups.to_string(), nodes.to_string()]
                }
            };
            let arguments: Vec<&str> = numbers.iter().map(String::as_str).collect();
            let outcome = child::measure::<Scaled>(vipdrift, &arguments);
            done += 1;
            let seconds = begun.elapsed().as_secs();
            let what = format!("{:<20} {:<32}", series.contender, series.size.name());
            match outcome {
                Ok(scaled) => {
                    println!("{done:>4}/{total} {seconds:>5} s  {what} {}", line(&scaled));
                    series.runs.push(scaled);
                }
                Err(error) => {
                    println!("{done:>4}/{total} {seconds:>5} s  {what} FAILED: {error}");
                    series.failed += 1;
                }
            }
        }
    }
    let text = markdown(&all);
    std::fs::write(plan.out.join("scale.md"), &text)?;
    std::fs::write(plan.out.join("scale.json"), serde_json::to_string_pretty(&all)? + "\n")?;
    println!("\n{text}\nwritten: {}", plan.out.display());
    Ok(())
}

fn sizes(plan: &Plan) -> Result<Vec<Size>> {
    let all = plan.vips.is_empty() && plan.groups.is_empty();
    let vips = if all { VIPS.to_vec() } else { plan.vips.clone() };
    let groups = if all { GROUPS.to_vec() } else { plan.groups.clone() };
    let nodes: Vec<usize> = if plan.nodes.is_empty() {
        NODES.to_vec()
    } else {
        plan.nodes.iter().map(|&nodes| usize::try_from(nodes)).collect::<std::result::Result<_, _>>()?
    };
    let grouped =
        groups.iter().flat_map(|&groups| nodes.iter().map(move |&nodes| Size::Groups(groups, nodes)));
    Ok(vips.into_iter().map(Size::Vips).chain(grouped).collect())
}

fn line(scaled: &Scaled) -> String {
    let time = |time: Option<f64>| time.map_or_else(|| "never".to_owned(), |time| format!("{time:.1}"));
    format!(
        "{:.0} VIPs: moved {} to {}, answered {} to {} ms{}; cpu {:.2} and {:.2} %, {:.1} and {:.1} MiB, {:.1} frames \
         and {:.0} bytes a second",
        scaled.vips,
        time(scaled.first_moved),
        time(scaled.all_moved),
        time(scaled.first_answered),
        time(scaled.all_answered),
        if scaled.early > 0.0 {
            format!(", {:.0} announced by another before", scaled.early)
        } else if scaled.missing > 0.0 {
            format!(", {:.0} never", scaled.missing)
        } else {
            String::new()
        },
        scaled.cost.cpu[0],
        scaled.cost.cpu[1],
        scaled.cost.memory[0],
        scaled.cost.memory[1],
        scaled.cost.frames,
        scaled.cost.bytes,
    )
}

fn markdown(all: &[Series]) -> String {
    let mut text = String::from(
        "The machine of one node dies. Median (least to most); milliseconds after that.\n\n\
         | Size | Contender | runs | VIPs of that node | first elsewhere | all elsewhere | all announced | first answers | all answer | \
         CPU of a node idle, % of a core | memory, MiB | frames a second, all nodes | bytes a second |\n\
         |---|---|---:|---:|---|---|---|---|---|---|---|---|---|\n",
    );
    for series in all {
        let of = |figure: fn(&Scaled) -> Option<f64>| {
            let values: Vec<f64> = series.runs.iter().filter_map(figure).collect();
            let missing = series.runs.len() - values.len();
            match Spread::of(values) {
                None => "never".to_owned(),
                Some(spread) if missing > 0 => format!("{} (never: {missing})", show(spread)),
                Some(spread) => show(spread),
            }
        };
        let runs = series.runs.len();
        let early = series.runs.iter().filter(|run| run.early > 0.0).count();
        let early =
            if early > 0 { format!(" (two holders before the fault in {early})") } else { String::new() };
        let failed = if series.failed > 0 { format!(" ({} failed)", series.failed) } else { String::new() };
        let _ = writeln!(
            text,
            "| {} | {} | {runs}{failed}{early} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            series.size.name(),
            series.contender,
            of(|run| Some(run.vips)),
            of(|run| run.first_moved),
            of(|run| run.all_moved),
            of(|run| run.all_announced),
            of(|run| run.first_answered),
            of(|run| run.all_answered),
            of(|run| Some(run.cost.cpu[0])),
            of(|run| Some(run.cost.memory[0])),
            of(|run| Some(run.cost.frames)),
            of(|run| Some(run.cost.bytes)),
        );
    }
    text
}
