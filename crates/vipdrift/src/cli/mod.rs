//! The command line. Exit status: 0 done; 1 not done, reason on standard error; 2 wrong usage; 3 configuration
//! refused; 4 daemon not reachable.

mod check;
mod daemon;
mod key;
mod replay;
mod table;
mod text;

#[cfg(feature = "fuzzing")]
pub(crate) use text::status as status_text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::brain::{self, Inherited};
use crate::config;
use crate::keeper::{self, NotStarted};
use crate::state;

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
    /// Check the configuration and this machine, without changing anything
    #[command(after_help = "Example:\n  vipdrift check --config ./vipdrift.toml --node alpha")]
    Check(Check),
    /// Make a key for the cluster
    #[command(after_help = "Example:\n  vipdrift key --out /etc/vipdrift/cluster.key")]
    Key(Key),
    /// Move a group to another node
    #[command(after_help = "Example:\n  vipdrift switchover web --to bravo")]
    Switchover(Switchover),
    /// Make this node ineligible; what it holds goes to the next healthy node
    #[command(after_help = "Example:\n  vipdrift drain && systemctl restart nginx; vipdrift undrain")]
    Drain(NodeCommand),
    /// Make this node eligible again
    #[command(after_help = "Example:\n  vipdrift undrain")]
    Undrain(NodeCommand),
    /// Put a journal through the decisions once more: what was decided, why, and whether it comes out the same
    #[command(after_help = "Examples:\n  vipdrift replay /var/lib/vipdrift/journal\n  \
                            vipdrift replay ./alpha-1.journal --group web --events \\\n    \
                            --from 2026-01-01T12:00:00Z --until 2026-01-01T12:00:01Z\n\n\
                            Journals are switched on with `journal` in [cluster]. A folder may hold those of several \
                            nodes. Whatever is shown, all is compared; where record and replay differ, the first \
                            place is told and the exit status is 1.")]
    Replay(Replay),
    /// Show a cluster, a client and the main faults on this one machine, in namespaces
    #[command(after_help = "Examples:\n  vipdrift demo\n  vipdrift demo --json\n  \
                            vipdrift demo --runs 20 --fault host_dead --fault graceful_stop")]
    Demo(crate::demo::DemoArgs),
    #[command(hide = true)]
    Brain { setup: i32, life: i32, pipe: i32 },
}

/// How to find the daemon.
#[derive(Debug, Args)]
struct Where {
    /// Configuration file [default: /etc/vipdrift/vipdrift.toml]
    #[arg(long, value_name = "FILE")]
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
    /// Folder that keeps what outlives the daemon: whether the node is drained
    #[arg(long, value_name = "FOLDER", default_value = state::DEFAULT_FOLDER)]
    state_dir: PathBuf,
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
        Command::Demo(args) => return crate::demo::main(&args),
        Command::Run(args) => run(args),
        Command::Status(args) => daemon::status(&args.place, args.json),
        Command::Check(args) => check::run(&args),
        Command::Key(args) => key::run(args.out.as_deref()),
        Command::Switchover(args) => daemon::switchover(&args.place, args.group, args.to),
        Command::Replay(args) => replay::run(&args),
        Command::Drain(args) => daemon::drain(&args.place, args.node),
        Command::Undrain(args) => daemon::undrain(&args.place, args.node),
        Command::Brain { setup, life, pipe } => match brain::run(Inherited { setup, life, pipe }) {
            Ok(()) => DONE,
            Err(why) => fail(NOT_DONE, &format!("brain: {why}")),
        },
    };
    ExitCode::from(status)
}

fn run(args: Run) -> u8 {
    let options = keeper::Options {
        config: config_file(args.place.config),
        node: args.node,
        socket: args.place.socket,
        state_folder: args.state_dir,
    };
    match keeper::run(&options) {
        Ok(true) => DONE,
        Ok(false) => fail(NOT_DONE, "not every VIP could be released; see the log above"),
        Err(NotStarted::Refused(why)) => refused(&why),
        Err(error @ NotStarted::Usage(_)) => fail(USAGE, &error.to_string()),
        Err(error @ NotStarted::Machine(_)) => fail(NOT_DONE, &error.to_string()),
    }
}

fn config_file(named: Option<PathBuf>) -> PathBuf {
    named.unwrap_or_else(|| Path::new(config::DEFAULT_PATH).to_owned())
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
