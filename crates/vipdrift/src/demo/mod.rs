//! `vipdrift demo`: a cluster, a client and the main faults on this one machine, in namespaces.

mod report;

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::trial::{Cluster, Fault, Options, TrialError, idle, run};
use report::Report;

/// What the demo is asked for.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Print one JSON object instead of the live view
    #[arg(long)]
    json: bool,
    /// Make each fault this many times and print medians
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Make only this fault (may be repeated)
    #[arg(long, value_name = "NAME", value_parser = parse_fault)]
    fault: Vec<Fault>,
    /// Heartbeat interval in milliseconds
    #[arg(long, default_value_t = 10, value_name = "MS", value_parser = clap::value_parser!(u64).range(5..=10_000))]
    heartbeat_ms: u64,
}

fn parse_fault(name: &str) -> Result<Fault, String> {
    Fault::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        format!("faults are {}", names.join(", "))
    })
}

/// Runs the demo. Must be called before the program has made a thread: it starts itself again inside namespaces.
pub(crate) fn main(args: &DemoArgs) -> ExitCode {
    if let Err(refused) = vipdrift_lab::enclose() {
        eprintln!("vipdrift demo: {refused}");
        return ExitCode::FAILURE;
    }
    match demo(args) {
        Ok(report) if report.all_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vipdrift demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: &DemoArgs) -> Result<Report, TrialError> {
    let begun = Instant::now();
    let say = |text: &str| {
        if !args.json {
            println!("{text}");
        }
    };
    let binary = std::env::current_exe()
        .map_err(|source| TrialError::File { what: "this program's own file".into(), source })?;
    let mut options = Options::new(binary);
    options.service = true;
    options.heartbeat = Duration::from_millis(args.heartbeat_ms);
    say(&format!(
        "Three nodes, a client and a gateway on a LAN inside this machine, heartbeat {} ms.\n\
         The client asks {} and {} a thousand times a second each.\n",
        args.heartbeat_ms,
        Cluster::WEB[0],
        Cluster::WEB[1]
    ));

    let (log, lines) = mpsc::channel::<(String, String)>();
    let live = !args.json;
    // What nodes do while everything is taken down is no part of it.
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let printer = thread::spawn(move || {
        for (node, line) in lines {
            if live && !ended.load(Ordering::Relaxed) && report::is_decision(&line) {
                // A closed terminal ends the view, not the demo.
                let _ = writeln!(
                    std::io::stdout(),
                    "  {:>9} ms  {node:<8} {}",
                    begun.elapsed().as_millis(),
                    report::shorten(&line)
                );
            }
        }
    });
    let mut cluster = Cluster::start(options, Some(log))?;
    let mut vips = Cluster::WEB.to_vec();
    vips.push(Cluster::CALM);
    let costs = idle(&cluster, Duration::from_secs(2))?;
    let client = cluster.client.client(&vips)?;

    let faults = if args.fault.is_empty() { Fault::ALL.to_vec() } else { args.fault.clone() };
    let mut report = Report::new(cluster.nodes.len(), args.heartbeat_ms, &costs);
    say(&format!("  {}", report.idle_line()));
    for fault in faults {
        say(&format!("\n{}: {}", fault.name(), fault.story()));
        let mut outcomes = Vec::new();
        for number in 1..=args.runs {
            let outcome = run(&mut cluster, &client, fault)?;
            for complaint in &outcome.complaints {
                eprintln!("  {} run {number}: {complaint}", fault.name());
            }
            outcomes.push(outcome);
            if args.runs > 1 && live {
                report::progress(fault, number, args.runs, &outcomes);
            }
        }
        report.add(fault, &outcomes);
        say(&format!("  {}", report.last_line()));
    }
    over.store(true, Ordering::Relaxed);
    drop(client);
    drop(cluster);
    // The printer ends with the last daemon's output.
    let _ = printer.join();
    if args.json {
        println!("{}", report.json());
    } else {
        println!("\n{}", report.table());
        println!("{}", report.verdict(begun.elapsed()));
    }
    Ok(report)
}
