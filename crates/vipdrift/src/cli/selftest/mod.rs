//! `vipdrift selftest`: what this system really does with addresses, measured, as a report to send in.

mod parts;
mod report;
mod segment;

use std::io::Write as _;
use std::net::IpAddr;

use clap::Args;
use ipnet::IpNet;
use vipdrift_platform::addresses::Kernel;
use vipdrift_platform::links::{Link, find};
use vipdrift_platform::poll::{Signal, Signals};
use vipdrift_platform::privileges;

use self::parts::Bench;
use self::report::Report;
use self::segment::Segment;
use super::{DONE, NOT_DONE, fail};
use crate::config::plain;

#[derive(Debug, Args)]
pub(super) struct Selftest {
    /// Interface to try it on
    #[arg(long, value_name = "NAME")]
    interface: String,
    /// A free address of the interface's network, with its prefix length
    #[arg(long, value_name = "ADDRESS")]
    address: IpNet,
    /// An address of another machine on that network, which has to answer [default: the gateway]
    #[arg(long, value_name = "ADDRESS")]
    known: Option<IpAddr>,
    /// Mount this address too, to see how a duplicate is found: one that another machine has and that nobody needs
    #[arg(long, value_name = "ADDRESS")]
    duplicate: Option<IpNet>,
    /// How often the address is mounted and taken off
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Only mount the address and leave it there: then restart the machine, and look with --look
    #[arg(long, conflicts_with = "look")]
    leave: bool,
    /// Only look whether the address is there, and take it off
    #[arg(long)]
    look: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Selftest) -> u8 {
    let missing = privileges::missing();
    if !missing.is_empty() {
        let lacks = missing.join(" and ");
        return fail(NOT_DONE, &format!("this process lacks {lacks}\n  {}", privileges::REMEDY));
    }
    match measure(args) {
        Ok(report) => {
            let shown = if args.json { report.json() } else { report.text() };
            match std::io::stdout().write_all(shown.as_bytes()) {
                Ok(()) if report.is_good() => DONE,
                Ok(()) => NOT_DONE,
                Err(error) => fail(NOT_DONE, &plain(&error)),
            }
        }
        Err(why) => fail(NOT_DONE, &why),
    }
}

/// One part of it.
type Step = fn(&mut Bench, &Selftest, &mut Report) -> Result<(), String>;

fn measure(args: &Selftest) -> Result<Report, String> {
    let text = |error: vipdrift_platform::addresses::Error| error.to_string();
    // What is mounted is taken off, however this ends.
    let mut signals = Signals::block_and_open(&[Signal::Terminate, Signal::Interrupt])
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    let mut kernel = Kernel::open().map_err(text)?;
    let links = kernel.links().map_err(text)?;
    let link = find(&links, &args.interface).map_err(|error| error.to_string())?.cloned();
    let link = link.ok_or_else(|| {
        let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        format!("there is no interface {}; there are: {}", args.interface, names.join(", "))
    })?;
    let known = match args.known {
        Some(known) => Some(known),
        None => gateway(&mut kernel, &link, args.address.addr().is_ipv4()).map_err(text)?,
    };
    let mut report = Report::new(&link, args.address);
    let mut bench = Bench { kernel, link, address: args.address };
    if args.look {
        parts::after_a_restart(&mut bench, &mut report)?;
        return Ok(report);
    }
    if bench.is_there()? {
        return Err(format!(
            "{} is on {} already: name a free address",
            args.address.addr(),
            bench.link.name
        ));
    }
    let mut segment = Segment::open(&bench)?;
    parts::occupancy(&mut bench, &mut segment, known, &mut report)?;
    if args.leave {
        parts::leave(&mut bench, &mut report)?;
        return Ok(report);
    }
    let steps: [Step; 6] = [
        |_, _, report| parts::timer(report),
        |bench, args, report| parts::mount(bench, args.runs, report),
        |bench, _, report| parts::lifetime(bench, report),
        |bench, _, report| parts::renewal(bench, report),
        |bench, _, report| parts::killed(bench, report),
        |bench, args, report| parts::duplicate(bench, args.duplicate, report),
    ];
    for step in steps {
        if signals.next().is_ok_and(|signal| signal.is_some()) {
            bench.clear()?;
            return Err("ended before it was through; nothing is left mounted".to_owned());
        }
        let outcome = step(&mut bench, args, &mut report);
        bench.clear()?;
        outcome?;
    }
    Ok(report)
}

/// The gateway of that family behind an interface.
fn gateway(
    kernel: &mut Kernel,
    link: &Link,
    v4: bool,
) -> Result<Option<IpAddr>, vipdrift_platform::addresses::Error> {
    let gateways = kernel.gateways()?;
    let here = gateways.into_iter().filter(|(index, _)| *index == link.index);
    Ok(here.map(|(_, gateway)| gateway).find(|gateway| gateway.is_ipv4() == v4))
}

/// The hidden part of [`parts::killed`]: mounts, says so, and waits for its end.
pub(super) fn hold(interface: u32, address: IpNet) -> u8 {
    match parts::hold(interface, address) {
        Ok(()) => DONE,
        Err(why) => fail(NOT_DONE, &why),
    }
}
