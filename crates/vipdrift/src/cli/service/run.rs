//! What runs when the service control manager starts the daemon.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use vipdrift_platform::error::plain;
use vipdrift_platform::journal;
use vipdrift_platform::poll::{self, Signal};
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::{define_windows_service, service_dispatcher};

use super::super::{DONE, Run};
use super::{NAME, NOT_DONE, fail};

/// ERROR_FAILED_SERVICE_CONTROLLER_CONNECT: started by hand.
const NO_MANAGER: i32 = 1063;
/// What the manager is told a stop may take. The VIPs are off within milliseconds; hooks may take longer.
const STOPPING: Duration = Duration::from_secs(60);

/// What the command line said; the entry point below cannot be given anything.
static ARGUMENTS: OnceLock<Mutex<Option<Run>>> = OnceLock::new();

define_windows_service!(entry, serve);

/// Hands this process to the service control manager.
pub(super) fn dispatch(args: Run) -> u8 {
    let _ = ARGUMENTS.set(Mutex::new(Some(args)));
    // What is said goes to the Event Log, by the processes that this one starts too.
    journal::use_event_log();
    match service_dispatcher::start(NAME, entry) {
        Ok(()) => DONE,
        Err(windows_service::Error::Winapi(error)) if error.raw_os_error() == Some(NO_MANAGER) => {
            fail(NOT_DONE, "only the service control manager starts it so; by hand: vipdrift run")
        }
        Err(windows_service::Error::Winapi(error)) => fail(NOT_DONE, &plain(&error)),
        Err(error) => fail(NOT_DONE, &error.to_string()),
    }
}

type Handle = Arc<Mutex<Option<ServiceStatusHandle>>>;

fn serve(_: Vec<OsString>) {
    let handle: Handle = Arc::default();
    let told = Arc::clone(&handle);
    let control = move |control| {
        match control {
            ServiceControl::Stop | ServiceControl::Preshutdown => {
                say(&told, ServiceState::StopPending, ServiceExitCode::NO_ERROR);
                poll::request(Signal::Terminate);
            }
            ServiceControl::ParamChange => poll::request(Signal::Hangup),
            // The clock tells of a suspend by itself: the keeper sees the gap.
            ServiceControl::PowerEvent(_) | ServiceControl::Interrogate => {}
            _ => return ServiceControlHandlerResult::NotImplemented,
        }
        ServiceControlHandlerResult::NoError
    };
    let Ok(registered) = service_control_handler::register(NAME, control) else { return };
    *handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(registered);
    say(&handle, ServiceState::Running, ServiceExitCode::NO_ERROR);
    let args = ARGUMENTS.get().and_then(|args| args.lock().unwrap_or_else(PoisonError::into_inner).take());
    let status = args.map_or(NOT_DONE, super::super::run);
    let exit = match status {
        DONE => ServiceExitCode::NO_ERROR,
        status => ServiceExitCode::ServiceSpecific(status.into()),
    };
    // Not before every VIP is off: whoever waits for this relies on it.
    say(&handle, ServiceState::Stopped, exit);
}

fn say(handle: &Handle, state: ServiceState, exit_code: ServiceExitCode) {
    let accepted = ServiceControlAccept::STOP
        | ServiceControlAccept::PRESHUTDOWN
        | ServiceControlAccept::PARAM_CHANGE
        | ServiceControlAccept::POWER_EVENT;
    let running = state == ServiceState::Running;
    let status = ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: if running { accepted } else { ServiceControlAccept::empty() },
        exit_code,
        checkpoint: u32::from(state == ServiceState::StopPending),
        wait_hint: if state == ServiceState::StopPending { STOPPING } else { Duration::ZERO },
        process_id: None,
    };
    if let Some(handle) = &*handle.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = handle.set_service_status(status);
    }
}
