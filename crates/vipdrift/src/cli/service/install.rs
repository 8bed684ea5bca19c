//! Making and taking away the service and what belongs to it.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use vipdrift_platform::error::plain;
use vipdrift_platform::file::{Access, make_folder};
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceDependency, ServiceErrorControl,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceSidType, ServiceStartType,
    ServiceState, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::{INVALID_LEVEL, Install, MISSING, NAME, code, open, stop, words};
use crate::config::{self, Config};
use crate::place;

/// Shown in lists of services.
const TITLE: &str = "vipdrift";
const DESCRIPTION: &str =
    "Holds virtual IP addresses on a healthy node of a cluster, and lets them go when this one is not.";
/// Where sources of the Event Log are registered.
const SOURCE: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\vipdrift";
/// A program of Windows that holds a message for each number from 1 to 1000: the text that comes with the event.
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";
/// The rule of the firewall.
const RULE: &str = "vipdrift heartbeats";
/// How soon a daemon that has died is started anew: the first time, the second, and from then on.
const RESTARTS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(60)];
/// A shutdown of Windows waits so long for the VIPs to be off.
const PRESHUTDOWN: Duration = Duration::from_secs(20);

pub(super) fn install(args: &Install) -> Result<String, String> {
    let file = args.config.clone().unwrap_or_else(place::config);
    let file = std::path::absolute(&file).map_err(|error| plain(&error))?;
    // The rule of the firewall is for its peers, so it has to be there.
    let loaded = config::load(&file).map_err(|refused| refused.to_string())?;
    let program = std::env::current_exe().map_err(|error| plain(&error))?;
    let service = make(args, &file, &program)?;
    // What cannot be made whole is taken away again.
    let rest = equip(&service, &program, &loaded.config, args.delayed);
    rest.inspect_err(|_| drop((service.delete(), take_away())))?;
    Ok(format!(
        "installed: it starts with Windows. Now: vipdrift check --config \"{}\" and vipdrift service start",
        file.display()
    ))
}

fn make(args: &Install, file: &Path, program: &Path) -> Result<Service, String> {
    let mut launch: Vec<OsString> = vec!["service".into(), "run".into(), "--config".into(), file.into()];
    if let Some(node) = &args.node {
        launch.extend(["--node".into(), node.into()]);
    }
    let info = ServiceInfo {
        name: NAME.into(),
        display_name: TITLE.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program.to_owned(),
        launch_arguments: launch,
        dependencies: vec![
            ServiceDependency::Service("Tcpip".into()),
            ServiceDependency::Service("nsi".into()),
        ],
        // LocalSystem: addresses are changed by administrators only.
        account_name: None,
        account_password: None,
    };
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = ServiceManager::local_computer(None::<&str>, access).map_err(|error| words(&error))?;
    let rights = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START | ServiceAccess::DELETE;
    manager.create_service(&info, rights).map_err(|error| words(&error))
}

fn equip(service: &Service, program: &Path, config: &Config, delayed: bool) -> Result<(), String> {
    let text = |error: windows_service::Error| words(&error);
    service.set_description(DESCRIPTION).map_err(text)?;
    if delayed {
        known("a delayed start", service.set_delayed_auto_start(true))?;
    }
    let restart = |delay| ServiceAction { action_type: ServiceActionType::Restart, delay };
    let actions = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(Duration::from_secs(600)),
        reboot_msg: None,
        command: None,
        actions: Some(RESTARTS.map(restart).into()),
    };
    known("a start after a failure", service.update_failure_actions(actions))?;
    known("a start after every failure", service.set_failure_actions_on_non_crash_failures(true))?;
    known("a time for a shutdown", service.set_preshutdown_timeout(PRESHUTDOWN))?;
    known("a name of its own", service.set_config_service_sid_info(ServiceSidType::Unrestricted))?;
    for (value, kind, data) in
        [("EventMessageFile", "REG_EXPAND_SZ", MESSAGES), ("TypesSupported", "REG_DWORD", "7")]
    {
        system("reg.exe", ["add", SOURCE, "/v", value, "/t", kind, "/d", data, "/f"])?;
    }
    if let Some(folder) = place::config().parent() {
        make_folder(folder, Access::Owner)
            .map_err(|error| format!("{}: {}", folder.display(), plain(&error)))?;
    }
    let _ = firewall_off();
    firewall_on(program, config)
}

/// A setting that a service can do without where the system does not know it; said then.
fn known(what: &str, set: windows_service::Result<()>) -> Result<(), String> {
    match set {
        Err(error) if code(&error) == Some(INVALID_LEVEL) => {
            eprintln!("vipdrift: this system does not know {what} for services");
            Ok(())
        }
        other => other.map_err(|error| words(&error)),
    }
}

/// Lets in what the peers send to this program, and nothing else.
fn firewall_on(program: &Path, config: &Config) -> Result<(), String> {
    let addresses = config
        .nodes
        .iter()
        .flat_map(|node| node.addresses.get_ref().iter().map(|address| *address.get_ref()));
    let remote: Vec<String> = addresses.map(|address: IpAddr| address.to_string()).collect();
    let rule: [OsString; 12] = [
        "advfirewall".into(),
        "firewall".into(),
        "add".into(),
        "rule".into(),
        format!("name={RULE}").into(),
        "dir=in".into(),
        "action=allow".into(),
        "profile=any".into(),
        "protocol=UDP".into(),
        format!("localport={}", config.cluster.port).into(),
        format!("remoteip={}", remote.join(",")).into(),
        joined("program=", program),
    ];
    system("netsh.exe", rule)
}

fn joined(key: &str, path: &Path) -> OsString {
    let mut text = OsString::from(key);
    text.push(path);
    text
}

fn firewall_off() -> Result<(), String> {
    system("netsh.exe", ["advfirewall", "firewall", "delete", "rule", &format!("name={RULE}")])
}

pub(super) fn uninstall() -> Result<String, String> {
    match open(ServiceAccess::DELETE | ServiceAccess::QUERY_STATUS) {
        Ok(service) => {
            let runs =
                service.query_status().is_ok_and(|status| status.current_state != ServiceState::Stopped);
            if runs {
                stop()?;
            }
            service.delete().map_err(|error| words(&error))?;
        }
        // What is left of an installation that broke off is taken away all the same.
        Err(error) if code(&error) == Some(MISSING) => {}
        Err(error) => return Err(words(&error)),
    }
    take_away();
    let kept = place::config().parent().map_or_else(String::new, |folder| {
        format!("; {} stays, with the configuration and the key", folder.display())
    });
    Ok(format!("uninstalled{kept}"))
}

/// All but the service itself. What is not there is no failure.
fn take_away() {
    let _ = system("reg.exe", ["delete", SOURCE, "/f"]);
    let _ = firewall_off();
}

/// Runs a program of Windows.
fn system(program: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<(), String> {
    let root = std::env::var_os("SystemRoot").map_or_else(|| r"C:\Windows".into(), PathBuf::from);
    let output = Command::new(root.join("System32").join(program))
        .args(args)
        .output()
        .map_err(|error| format!("{program}: {}", plain(&error)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(format!(
        "{program}: {}",
        said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("failed")
    ))
}
