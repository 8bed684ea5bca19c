//! `vipdrift check`: the configuration, and what is wrong with this machine. Changes nothing, and waits for nothing long.

mod basics;
#[cfg_attr(windows, allow(dead_code, reason = "for looks that only Linux has"))]
mod finding;
#[cfg(target_os = "linux")]
mod firewall;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod managers;
mod peers;
#[cfg(target_os = "linux")]
mod program;
#[cfg_attr(windows, allow(dead_code, reason = "for looks that only Linux has"))]
mod scene;
#[cfg(windows)]
mod windows;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use vipdrift_control::Status;
use vipdrift_platform::addresses::Kernel;
use vipdrift_platform::endpoint;
use vipdrift_platform::file::open_to_everybody;

use self::finding::{Finding, Findings, Id};
use self::scene::Scene;
use super::{Check, DONE, NOT_DONE, config_file, fail, refused};
use crate::config::{self, Config, KeySource, Resolved, Secrets};
use crate::keeper::{self, sockets};

#[derive(Debug, Serialize)]
struct Answer<'f> {
    ok: bool,
    findings: &'f [Finding],
}

pub(super) fn run(args: &Check) -> u8 {
    let file = config_file(args.report.place.config.clone());
    let loaded = match config::load(&file) {
        Ok(loaded) => loaded,
        Err(why) => return refused(&why),
    };
    if let Err(why) = Secrets::read(&file, &loaded) {
        return refused(&why);
    }
    let mut findings = Findings::default();
    let config = &loaded.config;
    of_file(&file, config, &mut findings);
    let socket = args.report.place.socket.as_deref().unwrap_or(keeper::control_socket(config));
    if let Some(scene) = scene(config, args.node.as_deref(), socket, &mut findings) {
        of_machine(&scene, &mut findings);
    }
    let ok = !findings.has_errors();
    let shown = if args.report.json {
        serde_json::to_string(&Answer { ok, findings: &findings.0 }).unwrap_or_default() + "\n"
    } else {
        findings.show()
    };
    if let Err(error) = std::io::stdout().write_all(shown.as_bytes()) {
        return fail(NOT_DONE, &config::plain(&error));
    }
    if ok { DONE } else { NOT_DONE }
}

fn of_file(file: &Path, config: &Config, findings: &mut Findings) {
    let (nodes, groups) = (config.nodes.len(), config.groups.len());
    findings.ok(
        Id::Configuration,
        format!("{}: cluster {}, {nodes} nodes, {groups} groups", file.display(), config.cluster.name),
    );
    if nodes == 1 {
        findings.warning(
            Id::SingleNode,
            "there is only one node: a VIP has nowhere to drift to",
            "add a second [[node]]",
        );
    }
    if let KeySource::Inline(_) = config.cluster.key
        && let Ok(about) = file.metadata()
        && let Some((what, remedy)) = open_to_everybody(file, &about)
    {
        findings.warning(
            Id::KeyOpen,
            format!("the key stands in {}, which can be {what} by everybody", file.display()),
            format!("{remedy}, or keep the key in a file of its own: `key_file`"),
        );
    }
    match config.control.http {
        None => {}
        Some(at) if at.ip().is_loopback() => findings.ok(Id::Page, format!("page and metrics at http://{at}/")),
        Some(at) if config.control.token.is_some() => findings.warning(
            Id::Page,
            format!("the page takes orders at http://{at}/, and the token travels there in the clear"),
            "leave `http` on 127.0.0.1 and come through a tunnel or a proxy with TLS, or leave `token_file` out",
        ),
        Some(at) => findings.ok(Id::Page, format!("page and metrics at http://{at}/, for everybody who reaches it")),
    }
    if let Some(journal) = &config.cluster.journal {
        let folder = journal.folder.display();
        if journal.folder.exists() && !journal.folder.is_dir() {
            findings.error(
                Id::Journal,
                format!("the journal cannot be kept in {folder}: something else is there"),
                "name a folder as `journal` in [cluster], or move away what is there",
            );
        } else {
            let limit = config::size::show(journal.limit);
            findings.ok(Id::Journal, format!("journal in {folder}, at most {limit}"));
        }
    }
}

/// What there is to be looked at, unless this machine is no node.
fn scene(config: &Config, node: Option<&str>, socket: &Path, findings: &mut Findings) -> Option<Scene> {
    let mut kernel = match Kernel::open() {
        Ok(kernel) => kernel,
        Err(error) => {
            findings.error(Id::Kernel, error.to_string(), sockets::PRIVILEGES);
            return None;
        }
    };
    let name = match keeper::own_name(config, node, &mut kernel) {
        Ok(name) => name,
        Err(error) => {
            let text = error.to_string();
            let (what, remedy) =
                text.split_once("\n  ").unwrap_or((&text, "name one of its nodes with --node"));
            findings.error(Id::Node, what, remedy);
            return None;
        }
    };
    let resolved = Resolved::new(config, &name)?;
    findings.ok(Id::Node, format!("this is node {name}"));
    match (kernel.links(), kernel.addresses()) {
        (Ok(links), Ok(addresses)) => Some(Scene {
            resolved,
            links,
            addresses,
            running: endpoint::answers(socket),
            socket: socket.to_owned(),
            root: PathBuf::from("/"),
        }),
        (Err(error), _) | (_, Err(error)) => {
            findings.error(Id::Kernel, error.to_string(), sockets::PRIVILEGES);
            None
        }
    }
}

/// The file may have been changed since the daemon read it.
fn in_force(scene: &Scene, status: &Status, findings: &mut Findings) {
    // Another version may know other settings, and then the digests differ whatever the file says.
    let same_version = status.version == env!("CARGO_PKG_VERSION");
    if same_version && status.daemon.config_digest != scene.resolved.digest() {
        findings.warning(
            Id::ConfigurationInForce,
            "the daemon has other settings in force than this file",
            "vipdrift reload",
        );
    }
}

fn of_machine(scene: &Scene, findings: &mut Findings) {
    let status = peers::status(scene, findings);
    if let Some(status) = &status {
        in_force(scene, status, findings);
    }
    basics::look(scene, findings);
    #[cfg(target_os = "linux")]
    {
        machine::look(scene, status.as_ref(), findings);
        kernel::look(scene, findings);
        managers::look(scene, findings);
        firewall::look(scene, findings);
    }
    #[cfg(windows)]
    windows::look(scene, findings);
    peers::look(scene, status.as_ref(), findings);
}
