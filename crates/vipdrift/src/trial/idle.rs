//! What a daemon costs while nothing happens.

use std::fs;
use std::time::{Duration, Instant};

use super::cluster::file;
use super::{Cluster, TrialError};

/// Cost of a node's two processes together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Share of one core, in percent.
    pub cpu_percent: f64,
    /// Resident memory, in MiB, shared pages counted in each process.
    pub resident_mib: f64,
}

/// Watches a settled cluster for `span`; the cost on each node, in order.
///
/// # Errors
/// A daemon does not answer, or ended meanwhile.
pub fn idle(cluster: &Cluster, span: Duration) -> Result<Vec<Cost>, TrialError> {
    let pids: Vec<(i32, i32)> =
        (0..cluster.nodes.len()).map(|index| cluster.pids(index)).collect::<Result<_, _>>()?;
    let begun = Instant::now();
    let before: Vec<u64> =
        pids.iter().map(|&(a, b)| Ok(run_time(a)? + run_time(b)?)).collect::<Result<_, TrialError>>()?;
    std::thread::sleep(span);
    let took = begun.elapsed().as_secs_f64();
    pids.iter()
        .zip(before)
        .map(|(&(keeper, brain), before)| {
            let ran = Duration::from_nanos(run_time(keeper)? + run_time(brain)? - before);
            Ok(Cost {
                cpu_percent: ran.as_secs_f64() / took * 100.0,
                resident_mib: resident(keeper)? + resident(brain)?,
            })
        })
        .collect()
}

/// Nanoseconds that all threads of a process have run. Source: proc(5), `/proc/pid/task/tid/schedstat`.
fn run_time(pid: i32) -> Result<u64, TrialError> {
    let tasks = format!("/proc/{pid}/task");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).map_err(file(&tasks))? {
        let path = task.map_err(file(&tasks))?.path().join("schedstat");
        let text = fs::read_to_string(&path).map_err(file("schedstat"))?;
        sum += text.split_whitespace().next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(sum)
}

/// MiB resident. Source: proc(5), `VmRSS` in `/proc/pid/status`.
fn resident(pid: i32) -> Result<f64, TrialError> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(file(&path))?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    Ok(kib.unwrap_or_default() / 1024.0)
}
