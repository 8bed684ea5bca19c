//! The command line. Exit status: 0 done; 1 not done, reason on standard error; 2 wrong usage; 3 configuration
//! refused; 4 daemon not reachable.

mod check;
mod daemon;
mod events;
mod harmless;
mod key;
mod manual;
mod replay;
mod selftest;
#[cfg(windows)]
mod service;
mod table;
mod text;
mod top;

#[cfg(feature = "fuzzing")]
pub(crate) use text::status as status_text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use vipdrift_platform::descriptor::Number;

use crate::brain::{self, Inherited};
use crate::config;
use crate::keeper::{self, NotStarted};
use crate::place;
use crate::runner;

/// Done.
const DONE: u8 = 0;
/// Not done; the reason is on standard error.
const NOT_DONE: u8 = 1;
/// Wrong usage.
const USAGE: u8 = 2;
/// Configuration refused.
const REFUSED: u8 = 3;
/// Daemon not reachable.
const UNREACHABLE: u8 = 4;

/// High availability for IP addresses: a virtual IP (VIP) drifts to a healthy node when the active one fails.
#[derive(Debug, Parser)]
#[command(name = "vipdrift", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 done; 1 not done, reason on stderr; 2 wrong usage; 3 configuration refused; \
                        4 daemon not reachable."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon, in the foreground
    #[command(after_help = "Example:\n  vipdrift run --config /etc/vipdrift/vipdrift.toml")]
    Run(Run),
    /// Show who holds what, and why
    #[command(after_help = "Example:\n  vipdrift status\n  vipdrift status --json | jq '.groups[].role'")]
    Status(Report),
    /// Show live who holds what, whether anything is wrong, and why it moved last; move and drain by keys
    #[command(after_help = "Examples:\n  vipdrift top\n  vipdrift top --interval 2s\n\n\
                            `?` shows the keys; nothing is done before it was confirmed with `y`. NO_COLOR is honoured.")]
    Top(top::Top),
    /// Check the configuration and this machine, without changing anything
    #[command(after_help = "Example:\n  vipdrift check --config ./vipdrift.toml --node alpha")]
    Check(Check),
    /// Make a key for the cluster
    #[command(after_help = "Example:\n  vipdrift key --out /etc/vipdrift/cluster.key")]
    Key(Key),
    /// Move a group to another node
    #[command(after_help = "Example:\n  vipdrift switchover web --to bravo")]
    Switchover(Switchover),
    /// Say why a group is where it is: the last decisions of this node, with what they rest on
    #[command(after_help = "Examples:\n  vipdrift why web\n  vipdrift why web --last 20 --json")]
    Why {
        /// Name of the group
        group: String,
        /// How many decisions
        #[arg(long, value_name = "N", default_value_t = 5)]
        last: usize,
        #[command(flatten)]
        report: Report,
    },
    /// Show what this node has decided and noticed, over restarts of the daemon too
    #[command(after_help = "Examples:\n  vipdrift events\n  vipdrift events --group web --follow\n  \
                            vipdrift events --json | jq -r 'select(.kind == \"decision\") | .reason'")]
    Events {
        /// Only those about this group
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
        /// How many of the past
        #[arg(long, value_name = "N", default_value_t = 50)]
        last: usize,
        /// Go on with those that come
        #[arg(long, short)]
        follow: bool,
        #[command(flatten)]
        report: Report,
    },
    /// Move a group to another node and back, and measure how long nobody answers for its VIPs
    #[command(
        after_help = "Examples:\n  vipdrift drill web\n  vipdrift drill web --to bravo --stay 10s --json\n\n\
                            The clients go along: it is a switchover there and one back. Nothing is moved unless the VIPs \
                            are answered for. Asked for by ARP and Neighbor Discovery every millisecond, from this node."
    )]
    Drill {
        /// Name of the group
        group: String,
        /// Name of the node that takes it for a while [default: the next healthy one]
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
        /// How long it stays there, 30s at most
        #[arg(long, value_name = "TIME", default_value = "1s", value_parser = stay)]
        stay: std::time::Duration,
        #[command(flatten)]
        report: Report,
    },
    /// Make a node ineligible, for maintenance; what it holds goes to the next healthy node
    #[command(after_help = "Examples:\n  vipdrift drain && systemctl restart nginx; vipdrift undrain\n  \
                            vipdrift drain bravo --group web\n\n\
                            It stays so over restarts, until `vipdrift undrain`. Another node is told by this one; it has to be heard.")]
    Drain(NodeCommand),
    /// Make a node eligible again
    #[command(after_help = "Examples:\n  vipdrift undrain\n  vipdrift undrain bravo --group web")]
    Undrain(NodeCommand),
    /// Put the configuration in force that is in its file now: all of it, or nothing
    #[command(after_help = "Example:\n  vipdrift reload\n\n\
                            The file is read and looked at first. If this machine could not run it, the reason is told, the \
                            exit status is 1, and nothing has changed. VIPs that stay are held all the while. SIGHUP does the same.")]
    Reload(Where),
    /// Go on with a new binary, without moving a VIP
    #[command(after_help = "Examples of an upgrade:\n  vipdrift restart\n  \
                            install vipdrift /usr/local/bin/ && vipdrift restart --keep 30s\n\n\
                            The program is taken from the file that the running one came from, and the configuration \
                            from its file. Both are looked at first, and the VIPs stay where they are. What is not on \
                            duty within 250 ms, or the time of --keep, releases them.")]
    Restart {
        /// The new program may take so long, 1s to 5m: the kernel holds the VIPs meanwhile, and releases them by itself then
        #[arg(long, value_name = "TIME", value_parser = keep)]
        keep: Option<std::time::Duration>,
        #[command(flatten)]
        place: Where,
    },
    /// Take off the VIPs that a daemon which runs no more has left on this machine
    #[command(after_help = "Example:\n  vipdrift release\n\n\
                            For the service manager, after the daemon has ended in whatever way (ExecStopPost). Refused while it \
                            runs: `systemctl stop vipdrift` releases, and `vipdrift drain` does for maintenance.")]
    Release {
        #[command(flatten)]
        place: Where,
        /// Which node this is, instead of finding out by its addresses
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
    },
    /// Put a journal through the decisions once more: what was decided, why, and whether it comes out the same
    #[command(after_help = "Examples:\n  vipdrift replay /var/lib/vipdrift/journal\n  \
                            vipdrift replay ./alpha-1.journal --group web --events \\\n    \
                            --from 2026-01-01T12:00:00Z --until 2026-01-01T12:00:01Z\n\n\
                            Journals are switched on with `journal` in [cluster]. A folder may hold those of several \
                            nodes. Whatever is shown, all is compared; where record and replay differ, the first \
                            place is told and the exit status is 1.")]
    Replay(Replay),
    /// Measure what this system really does with addresses: mounts a free one on an interface, and takes it off
    #[command(after_help = "Examples:\n  vipdrift selftest --interface eth0 --address 192.0.2.200/24\n  \
                            vipdrift selftest --interface \"Ethernet 2\" --address 192.0.2.200/24 --known 192.0.2.1 --json\n\n\
                            It takes half a minute. The address has to be free: it is asked for first. Nothing else on this \
                            machine is touched, and nothing is left mounted.")]
    Selftest(selftest::Selftest),
    #[command(hide = true)]
    SelftestHold { interface: u32, address: ipnet::IpNet },
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  vipdrift completions bash > /etc/bash_completion.d/vipdrift")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual, or write a page for each command into a folder
    #[command(
        after_help = "Examples:\n  vipdrift man | man -l -\n  vipdrift man --out /usr/local/share/man/man1"
    )]
    Man {
        /// Write vipdrift.1 and a page for each command into this folder, instead of the first one to standard output
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
    /// Show a cluster, a client and the main faults on this one machine, in namespaces
    #[cfg(target_os = "linux")]
    #[command(after_help = "Examples:\n  vipdrift demo\n  vipdrift demo --json\n  \
                            vipdrift demo --runs 20 --fault host_dead --fault graceful_stop")]
    Demo(crate::demo::DemoArgs),
    /// The daemon as a Windows service: install, uninstall, start, stop
    #[cfg(windows)]
    #[command(subcommand)]
    Service(service::Command),
    #[command(hide = true)]
    Brain { setup: Number, life: Number, pipe: Number },
    #[command(hide = true)]
    Rehearse(keeper::confinement::Rehearsal),
    #[command(hide = true)]
    Examine { question: Number, answer: Number },
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    DemoService { name: String },
    #[command(hide = true)]
    Runner {
        setup: Number,
        pipe: Number,
        roles: Number,
        #[arg(action = clap::ArgAction::Set)]
        waits: bool,
    },
}

/// How to find the daemon.
#[derive(Debug, Args)]
struct Where {
    #[arg(long, value_name = "FILE", help = format!("Configuration file [default: {}]", place::CONFIG))]
    config: Option<PathBuf>,
    /// Control socket, instead of the one that the configuration names
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    place: Where,
    /// Which node this is, instead of finding out by its addresses
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    #[arg(long, value_name = "FOLDER", help = format!("Folder that keeps what outlives the daemon: what is drained [default: {}]", place::STATE))]
    state_dir: Option<PathBuf>,
    #[arg(long, hide = true)]
    succession: Option<Number>,
    #[cfg(windows)]
    #[arg(long, hide = true)]
    host: Option<String>,
}

#[derive(Debug, Args)]
struct Report {
    #[command(flatten)]
    place: Where,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    report: Report,
    /// Which node this is, instead of finding out by its addresses
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
}

#[derive(Debug, Args)]
struct Key {
    /// Write it to this new file, mode 0600, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Switchover {
    /// Name of the group
    group: String,
    /// Name of the node that is to take it [default: the next healthy one]
    #[arg(long, value_name = "NODE")]
    to: Option<String>,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Args)]
struct NodeCommand {
    /// Name of the node [default: this one]
    node: Option<String>,
    /// Only this group [default: all]
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Args)]
struct Replay {
    /// A journal file, or a folder of them
    journal: PathBuf,
    /// Only the journal of this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Show only decisions about this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Show only what happened at or after this moment, such as 2026-01-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<jiff::Timestamp>,
    /// Show only what happened before this moment
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
    /// Show every event, and everything that the core said
    #[arg(long)]
    events: bool,
    /// Stop after each line that is shown: Enter goes on, `c` goes on without stopping, `q` shows no more
    #[arg(long, conflicts_with = "json")]
    step: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads the arguments and does what they say.
pub(crate) fn main() -> ExitCode {
    let status = match Cli::parse().command {
        #[cfg(target_os = "linux")]
        Command::Demo(args) => return crate::demo::main(&args),
        Command::Run(args) => run(args),
        Command::Status(args) => daemon::status(&args.place, args.json),
        Command::Top(args) => top::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Key(args) => key::run(args.out.as_deref()),
        Command::Switchover(args) => daemon::switchover(&args.place, args.group, args.to),
        Command::Drill { group, to, stay, report } => {
            daemon::drill(&report.place, group, to, stay, report.json)
        }
        Command::Why { group, last, report } => events::why(&report.place, &group, last, report.json),
        Command::Events { group, last, follow, report } => {
            events::events(&report.place, group, last, follow, report.json)
        }
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { out } => manual::man(out.as_deref()),
        Command::Reload(place) => daemon::reload(&place),
        Command::Restart { keep, place } => daemon::restart(&place, keep),
        Command::Release { place, node } => release(place, node),
        Command::Selftest(args) => selftest::run(&args),
        Command::SelftestHold { interface, address } => selftest::hold(interface, address),
        Command::Replay(args) => replay::run(&args),
        Command::Drain(args) => daemon::drain(&args.place, args.node, args.group),
        Command::Undrain(args) => daemon::undrain(&args.place, args.node, args.group),
        #[cfg(windows)]
        Command::Service(command) => service::main(command),
        Command::Brain { setup, life, pipe } => match brain::run(Inherited { setup, life, pipe }) {
            Ok(()) => DONE,
            Err(why) => fail(NOT_DONE, &format!("brain: {why}")),
        },
        Command::Rehearse(rehearsal) => match rehearsal.run() {
            Ok(()) => DONE,
            Err(why) => fail(NOT_DONE, &why),
        },
        Command::Examine { question, answer } => {
            if keeper::examination::run(question, answer) {
                DONE
            } else {
                NOT_DONE
            }
        }
        #[cfg(target_os = "linux")]
        Command::DemoService { name } => match vipdrift_lab::serve_as(&name) {
            Ok(()) => DONE,
            Err(why) => fail(NOT_DONE, &why.to_string()),
        },
        Command::Runner { setup, pipe, roles, waits } => {
            match runner::run(runner::Inherited { setup, pipe, roles, waits }) {
                Ok(()) => DONE,
                Err(why) => fail(NOT_DONE, &format!("runner: {why}")),
            }
        }
    };
    ExitCode::from(status)
}

fn run(args: Run) -> u8 {
    let options = keeper::Options {
        config: config_file(args.place.config),
        node: args.node,
        socket: args.place.socket,
        state_folder: args.state_dir.unwrap_or_else(place::state),
        succession: args.succession,
    };
    #[cfg(windows)]
    match args.host {
        Some(place) => {
            if let Err(error) = vipdrift_platform::process::join(&place) {
                return fail(NOT_DONE, &error.to_string());
            }
        }
        None => return hosted(&options),
    }
    match keeper::run(&options) {
        Ok(true) => DONE,
        Ok(false) => fail(NOT_DONE, "not every VIP could be released; see the log above"),
        Err(why) => not_started(&why),
    }
}

fn not_started(why: &NotStarted) -> u8 {
    match why {
        NotStarted::Refused(why) => refused(why),
        NotStarted::Usage(_) => fail(USAGE, &why.to_string()),
        NotStarted::Machine(_) => fail(NOT_DONE, &why.to_string()),
    }
}

fn release(place: Where, node: Option<String>) -> u8 {
    let options = keeper::Options {
        config: config_file(place.config),
        node,
        socket: place.socket,
        state_folder: place::state(),
        succession: None,
    };
    match keeper::release(&options) {
        Ok(released) if released.is_empty() => {
            println!("nothing to release");
            DONE
        }
        Ok(released) => {
            let names: Vec<_> = released.iter().map(ToString::to_string).collect();
            println!("released: {}", names.join(", "));
            DONE
        }
        Err(why) => not_started(&why),
    }
}

/// The keeper in a process of its own, so that another can take its place while this one stays.
#[cfg(windows)]
fn hosted(options: &keeper::Options) -> u8 {
    use vipdrift_platform::process::{Exit, host};
    match host(&options.arguments()) {
        Ok(Exit::Code(code)) => u8::try_from(code).unwrap_or(NOT_DONE),
        Ok(Exit::Signal(_)) => NOT_DONE,
        Err(error) => fail(NOT_DONE, &error.to_string()),
    }
}

/// How long a restart may take.
fn keep(text: &str) -> Result<std::time::Duration, String> {
    let keep = config::duration::parse(text)?;
    let allowed = vipdrift_control::RestartRequest::KEEP;
    if allowed.contains(&keep) {
        return Ok(keep);
    }
    let [least, most] = [allowed.start(), allowed.end()].map(|span| config::duration::show(*span));
    Err(format!("{least} to {most}"))
}

/// How long a drill stays away.
fn stay(text: &str) -> Result<std::time::Duration, String> {
    let stay = config::duration::parse(text)?;
    if stay > vipdrift_control::Drill::STAY {
        return Err("at most 30s: for longer there is `vipdrift switchover`".to_owned());
    }
    Ok(stay)
}

fn config_file(named: Option<PathBuf>) -> PathBuf {
    named.unwrap_or_else(place::config)
}

/// Says why and answers the exit status.
fn fail(status: u8, why: &str) -> u8 {
    eprintln!("vipdrift: {why}");
    status
}

/// A refused configuration speaks for itself.
fn refused(why: &config::Refused) -> u8 {
    eprintln!("{why}");
    if why.count > 1 {
        eprintln!("\nvipdrift: {} problems in the configuration", why.count);
    }
    REFUSED
}
