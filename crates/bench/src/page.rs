//! What the page and the metrics cost the daemon while people look at them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::figures::{Cost, Lateness, Spread};
use crate::report::show;
use crate::rig::Rig;
use crate::shape::Shape;
use crate::{Result, child, cost};

/// How long it is watched.
const SPAN: Duration = Duration::from_secs(20);
/// Sizes, in groups on two nodes.
const GROUPS: [u32; 3] = [1, 250, 1000];
/// Who looks: nobody, one open page with a scrape every five seconds, ten of each with a scrape every second.
const READERS: [u32; 3] = [0, 1, 10];

/// What the first of two nodes costs with so many readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Looked {
    cost: Cost,
    late: Lateness,
}

/// What is to be measured.
#[derive(Args)]
pub(crate) struct Plan {
    /// Times that each is measured
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Where the table is written
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// Has so many readers look at the first node, and watches it.
///
/// # Errors
/// The rig is not brought into being, or a reader is not answered.
pub(crate) fn measure(
    vipdrift: &Path,
    contender: &'static dyn Contender,
    groups: u32,
    readers: u32,
) -> Result<Looked> {
    let (rig, _) = Rig::of_shape(vipdrift, contender, Shape::spread(groups, 2))?;
    let pause = if readers > 1 { 1 } else { 5 };
    let seconds = SPAN.as_secs() + 10;
    // Before there are readers.
    let pids = cost::pids(&rig);
    let mut looking = Vec::new();
    for _ in 0..readers {
        let script = format!(
            "curl -sN --max-time {seconds} http://127.0.0.1:5799/v1/stream >/dev/null & \
             for i in $(seq {}); do curl -sf http://127.0.0.1:5799/metrics >/dev/null || exit 1; sleep {pause}; done",
            seconds / pause
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        looking.push(rig.nodes[0].spawn(command)?);
    }
    std::thread::sleep(Duration::from_secs(2));
    let cost = cost::of(&rig, &pids, SPAN)?;
    if looking.iter().any(|reader| reader.ended().is_some()) {
        return Err("a reader has ended: is there a page, and curl?".into());
    }
    let late = contender.lateness(&rig, 0)?.ok_or("it does not say how late it is")?;
    Ok(Looked { cost, late })
}

/// Measures, and writes the table.
///
/// # Errors
/// A measurement that fails, or a file that cannot be written.
pub(crate) fn run(vipdrift: &Path, plan: &Plan) -> Result<()> {
    let mut all = Vec::new();
    for _ in 0..plan.runs {
        for groups in GROUPS {
            for readers in READERS {
                let arguments = ["page", &groups.to_string(), &readers.to_string()];
                all.push((groups, readers, child::measure::<Looked>(vipdrift, &arguments)?));
            }
        }
    }
    let mut text = format!(
        "One node of two, heartbeat 10 ms, watched for {} s; median (least to most) of {} interleaved runs. Readers: an open page and a \
         scrape every 5 s (one), or every second (ten).\n\n| Groups | readers | CPU, % of a core | lateness: half, µs | 999 of 1,000, µs | worst, µs |\n|---:|---:|---|---|---|---|\n",
        SPAN.as_secs(),
        plan.runs
    );
    for groups in GROUPS {
        for readers in READERS {
            let of = |figure: &dyn Fn(&Looked) -> f64| {
                let these = all.iter().filter(|(g, r, _)| (*g, *r) == (groups, readers));
                Spread::of(these.map(|(_, _, looked)| figure(looked))).map_or_else(|| "-".to_owned(), show)
            };
            text += &format!(
                "| {groups} | {readers} | {} | {} | {} | {} |\n",
                of(&|looked| looked.cost.cpu[0]),
                of(&|looked| looked.late.half),
                of(&|looked| looked.late.most_of_all),
                of(&|looked| looked.late.worst),
            );
        }
    }
    std::fs::create_dir_all(&plan.out)?;
    std::fs::write(plan.out.join("page.md"), &text)?;
    std::fs::write(plan.out.join("page.json"), serde_json::to_string_pretty(&all)? + "\n")?;
    println!("{text}\nwritten: {}", plan.out.display());
    Ok(())
}
