//! `vipdrift service`: the daemon as a Windows service.

mod install;
mod run;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use vipdrift_platform::error::plain;
use windows_service::service::{Service, ServiceAccess, ServiceState};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::{DONE, NOT_DONE, Run, fail};

/// What the service control manager calls it.
const NAME: &str = "vipdrift";
/// How long a service may take to start or to stop. A stop lasts as long as the hooks take.
const PATIENCE: Duration = Duration::from_secs(90);

/// ERROR_SERVICE_DOES_NOT_EXIST.
const MISSING: i32 = 1060;
/// ERROR_SERVICE_NOT_ACTIVE.
const NOT_ACTIVE: i32 = 1062;
/// ERROR_SERVICE_ALREADY_RUNNING.
const ALREADY_RUNNING: i32 = 1056;
/// ERROR_SERVICE_EXISTS.
const EXISTS: i32 = 1073;
/// ERROR_INVALID_LEVEL.
const INVALID_LEVEL: i32 = 124;
/// ERROR_ACCESS_DENIED.
const DENIED: i32 = 5;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make it a service that starts with Windows, and let its heartbeats through the firewall
    #[command(after_help = "Examples:\n  vipdrift service install\n  \
                            vipdrift service install --config D:\\vipdrift\\vipdrift.toml --node alpha\n\n\
                            What it makes: the service, its source in the Event Log, a rule of the firewall for the peers of \
                            the configuration, and the folder %ProgramData%\\vipdrift, open to administrators only. \
                            `vipdrift service uninstall` takes all of it away again, but for that folder.")]
    Install(Install),
    /// Stop the service and take away everything that `install` has made
    Uninstall,
    /// Start the service, and wait until it runs
    Start,
    /// Stop the service, and wait until every VIP is off
    Stop,
    #[command(hide = true)]
    Run(Run),
}

#[derive(Debug, Args)]
pub(super) struct Install {
    /// Configuration file [default: %ProgramData%\vipdrift\vipdrift.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which node this is, instead of finding out by its addresses
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Start it some two minutes after everything else
    #[arg(long)]
    delayed: bool,
}

pub(super) fn main(command: Command) -> u8 {
    let done = match command {
        Command::Run(args) => return run::dispatch(args),
        Command::Install(args) => install::install(&args),
        Command::Uninstall => install::uninstall(),
        Command::Start => start(),
        Command::Stop => stop(),
    };
    match done {
        Ok(said) => {
            println!("{said}");
            DONE
        }
        Err(why) => fail(NOT_DONE, &why),
    }
}

/// Asks the service control manager for the service.
fn open(access: ServiceAccess) -> windows_service::Result<Service> {
    ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)?.open_service(NAME, access)
}

fn code(error: &windows_service::Error) -> Option<i32> {
    match error {
        windows_service::Error::Winapi(error) => error.raw_os_error(),
        _ => None,
    }
}

/// In a sentence, with what to do.
fn words(error: &windows_service::Error) -> String {
    match (code(error), error) {
        (Some(MISSING), _) => "the service is not installed: vipdrift service install".to_owned(),
        (Some(EXISTS), _) => "the service is installed already: vipdrift service uninstall".to_owned(),
        (Some(DENIED), _) => {
            "not permitted: open the command prompt with \"Run as administrator\"".to_owned()
        }
        (_, windows_service::Error::Winapi(error)) => {
            format!("the service control manager: {}", plain(error))
        }
        (_, error) => format!("the service control manager: {error}"),
    }
}

fn start() -> Result<String, String> {
    let service = open(ServiceAccess::START | ServiceAccess::QUERY_STATUS).map_err(|e| words(&e))?;
    match service.start::<OsString>(&[]) {
        Ok(()) => {}
        Err(error) if code(&error) == Some(ALREADY_RUNNING) => return Ok("it runs already".to_owned()),
        Err(error) => return Err(words(&error)),
    }
    match wait(&service, ServiceState::StartPending)? {
        ServiceState::Running => Ok("started".to_owned()),
        _ => Err("it has stopped again; the Event Log says why (source vipdrift)".to_owned()),
    }
}

fn stop() -> Result<String, String> {
    let service = open(ServiceAccess::STOP | ServiceAccess::QUERY_STATUS).map_err(|e| words(&e))?;
    match service.stop() {
        Ok(_) => {}
        Err(error) if code(&error) == Some(NOT_ACTIVE) => return Ok("it does not run".to_owned()),
        Err(error) => return Err(words(&error)),
    }
    match wait(&service, ServiceState::StopPending)? {
        ServiceState::Stopped => Ok("stopped: every VIP is off".to_owned()),
        _ => Err("it does not stop; the Event Log says why (source vipdrift)".to_owned()),
    }
}

/// Waits while it is in that state, and answers the next one.
fn wait(service: &Service, state: ServiceState) -> Result<ServiceState, String> {
    let begun = Instant::now();
    loop {
        let now = service.query_status().map_err(|e| words(&e))?.current_state;
        // A stop is acknowledged before it is begun.
        let passing = now == state || (state == ServiceState::StopPending && now == ServiceState::Running);
        if !passing || begun.elapsed() > PATIENCE {
            return Ok(now);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
