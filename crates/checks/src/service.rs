//! Does a Windows service run? Asked of the service control manager; the end of its process is told by the system the
//! moment it happens.

use vipdrift_platform::error::plain;
use vipdrift_platform::process;
use vipdrift_platform::readable::Readable;
use windows_service::service::{ServiceAccess, ServiceState, ServiceStatus};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use crate::check::Managed;
use crate::output::Outcome;
use crate::slot::Slot;

/// The name that counts on this system.
///
/// # Errors
/// In a line: there is none.
pub(crate) fn name(managed: &Managed) -> Result<&str, String> {
    managed.service.as_deref().ok_or_else(|| "no `service` is named, and this is Windows".to_owned())
}

/// ERROR_SERVICE_DOES_NOT_EXIST.
const MISSING: i32 = 1060;

/// A service that is watched.
#[derive(Default)]
pub(crate) struct Watched {
    process: Option<(u32, Readable)>,
    slot: Slot,
}

impl Watched {
    pub(crate) async fn look(&mut self, name: &str) -> Outcome {
        let wanted = name.to_owned();
        let status = match self.slot.take(move || ask(&wanted)).await {
            Ok(Ok(status)) => status,
            Ok(Err(why)) | Err(why) => {
                self.process = None;
                return Outcome::bad(why);
            }
        };
        if status.current_state != ServiceState::Running {
            self.process = None;
            return Outcome::bad(format!("{name} is {}", words(status.current_state)));
        }
        if let Some(pid) = status.process_id.filter(|pid| *pid != 0)
            && self.process.as_ref().is_none_or(|(known, _)| *known != pid)
        {
            // Where its process cannot be watched, asking again and again must do.
            self.process = process::watch(pid).and_then(Readable::new).ok().map(|watched| (pid, watched));
        }
        Outcome::good(format!("{name} runs"))
    }

    /// Waits until its process ends; for ever if none is watched.
    pub(crate) async fn changed(&mut self) {
        match &self.process {
            None => std::future::pending().await,
            Some((_, watched)) => {
                let _ = watched.stays().await;
                self.process = None;
            }
        }
    }
}

fn ask(name: &str) -> Result<ServiceStatus, String> {
    let cannot = |error: windows_service::Error| match error {
        windows_service::Error::Winapi(error) if error.raw_os_error() == Some(MISSING) => {
            format!("there is no service {name}")
        }
        windows_service::Error::Winapi(error) => format!("cannot ask about {name}: {}", plain(&error)),
        error => format!("cannot ask about {name}: {error}"),
    };
    let manager =
        ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).map_err(cannot)?;
    let service = manager.open_service(name, ServiceAccess::QUERY_STATUS).map_err(cannot)?;
    service.query_status().map_err(cannot)
}

fn words(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Stopped => "stopped",
        ServiceState::StartPending => "starting",
        ServiceState::StopPending => "stopping",
        ServiceState::Running => "running",
        ServiceState::ContinuePending => "about to go on",
        ServiceState::PausePending => "about to pause",
        ServiceState::Paused => "paused",
    }
}
