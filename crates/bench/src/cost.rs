//! What a daemon costs while nothing happens.

use std::fs;
use std::time::{Duration, Instant};

use crate::Result;
use crate::figures::Cost;
use crate::rig::Rig;

/// Watches a rig that is left alone. No client asks meanwhile.
///
/// # Errors
/// A process has ended, or /proc is not as proc(5) has it.
pub(crate) fn idle(rig: &Rig, span: Duration) -> Result<Cost> {
    of(rig, &pids(rig), span)
}

/// The processes that run on each node now.
pub(crate) fn pids(rig: &Rig) -> Vec<Vec<i32>> {
    (0..rig.shape.nodes).map(|node| rig.daemon_pids(node)).collect()
}

/// What these processes cost.
///
/// # Errors
/// As above.
pub(crate) fn of(rig: &Rig, pids: &[Vec<i32>], span: Duration) -> Result<Cost> {
    let begun = Instant::now();
    let before = sums(rig, pids)?;
    std::thread::sleep(span);
    let after = sums(rig, pids)?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = [0, 1].map(|node| (after.run[node] - before.run[node]) / 1e9 / seconds * 100.0);
    let mut memory = [0.0; 2];
    for (sum, pids) in memory.iter_mut().zip(pids) {
        *sum = pids.iter().map(|pid| resident(*pid)).sum::<Result<f64>>()?;
    }
    Ok(Cost {
        cpu,
        memory,
        frames: (after.frames - before.frames) / seconds,
        bytes: (after.bytes - before.bytes) / seconds,
    })
}

struct Sums {
    run: Vec<f64>,
    frames: f64,
    bytes: f64,
}

fn sums(rig: &Rig, pids: &[Vec<i32>]) -> Result<Sums> {
    let mut sums = Sums { run: Vec::new(), frames: 0.0, bytes: 0.0 };
    for (node, pids) in pids.iter().enumerate() {
        sums.run.push(pids.iter().map(|pid| run_time(*pid)).sum::<Result<f64>>()?);
        let sent = rig.nodes[node].run(sent)?;
        sums.frames += sent[0];
        sums.bytes += sent[1];
    }
    Ok(sums)
}

/// Frames and bytes that `eth0` has sent, by proc(5), `/proc/net/dev`: the ninth and the first number after those received.
fn sent() -> std::io::Result<[f64; 2]> {
    let text = fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
    let numbers: Vec<f64> =
        line.unwrap_or_default().split_whitespace().filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [_, _, _, _, _, _, _, _, bytes, frames, ..] => Ok([frames, bytes]),
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

/// Nanoseconds that all threads of a process have run. Source: proc(5), `/proc/pid/task/tid/schedstat`.
fn run_time(pid: i32) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or_default();
    }
    Ok(sum)
}

/// MiB resident. Source: proc(5), `VmRSS` in `/proc/pid/status`.
fn resident(pid: i32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    Ok(kib.unwrap_or_default() / 1024.0)
}
