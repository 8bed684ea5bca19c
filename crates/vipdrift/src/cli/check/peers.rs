//! The other nodes: as the daemon hears them, or, where none runs, whether their machines answer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipdrift_control::{Client, HealthState, PeerConfiguration, PeerState, Status};
use vipdrift_platform::echo::EchoSocket;
use vipdrift_wire::icmp;

use super::finding::{Findings, Id, Level};
use super::scene::Scene;

/// A daemon answers within this, or not at all.
const ANSWER: Duration = Duration::from_secs(2);
/// Echo requests to each address, and the pause between them.
const ECHOES: u16 = 3;
const PAUSE: Duration = Duration::from_millis(100);
/// The last one is waited for so long.
const LAST: Duration = Duration::from_millis(300);

/// What the running daemon says of itself.
pub(super) fn status(scene: &Scene, findings: &mut Findings) -> Option<Status> {
    if !scene.running {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    match runtime.block_on(Client::new(&scene.socket, ANSWER).status()) {
        Ok(status) => Some(status),
        Err(error) => {
            findings.warning(
                Id::Daemon,
                format!("the daemon does not tell its status: {error}"),
                "look into its log; run this command as root",
            );
            None
        }
    }
}

pub(super) fn look(scene: &Scene, status: Option<&Status>, findings: &mut Findings) {
    match status {
        Some(status) => heard(scene, status, findings),
        None => machines(scene, findings),
    }
}

fn heard(scene: &Scene, status: &Status, findings: &mut Findings) {
    let port = scene.resolved.port;
    for peer in &status.peers {
        let name = &peer.node;
        match peer.state {
            PeerState::Alive | PeerState::Suspect if peer.hears_us => {
                let rtt = peer.rtt_us.map_or_else(String::new, |us| format!(", round trip {us} us"));
                findings.ok(Id::Peer, format!("{name} is heard, and hears this node{rtt}"));
            }
            PeerState::Alive | PeerState::Suspect => findings.error(
                Id::PeerDeaf,
                format!("{name} is heard, and does not hear this node"),
                format!("let UDP port {port} from this machine to {name} pass: look at the firewall of {name}"),
            ),
            PeerState::Left => findings.hint(
                Id::Peer,
                format!("{name} has left: its daemon was stopped"),
                format!("start it there: systemctl start vipdrift (on {name})"),
            ),
            PeerState::Silent if peer.absent_ms.is_some() => {
                findings.ok(Id::Peer, format!("{name} restarts its daemon, and has said so"));
            }
            PeerState::Silent => findings.warning(
                Id::Peer,
                format!("{name} is not heard"),
                format!(
                    "look whether its machine and its daemon run, and let UDP port {port} pass in both directions;\n\
                     on {name}: vipdrift check"
                ),
            ),
        }
        if peer.config == PeerConfiguration::Different {
            let what = if peer.differs.is_empty() {
                String::new()
            } else {
                format!(": {}", peer.differs.join(", "))
            };
            findings.warning(
                Id::PeerConfiguration,
                format!("{name} has a different configuration{what}"),
                "make the files the same, then on each node: vipdrift reload",
            );
        }
    }
    let strange = |reason: &str| status.counters.datagrams_rejected.get(reason).copied().unwrap_or(0);
    for (reason, what, remedy) in [
        ("bad_mac", "signed with another key", "compare the key files: sha256sum of `key_file` on each node"),
        ("foreign_cluster", "for another cluster", "compare `name` in [cluster] on each node"),
    ] {
        let count = strange(reason);
        let unheard =
            status.peers.iter().any(|peer| matches!(peer.state, PeerState::Silent | PeerState::Left));
        if count > 0 {
            let level = if unheard { Level::Error } else { Level::Warning };
            findings.add(level, Id::PeerKey, format!("{count} datagrams were {what}"), remedy);
        }
    }
    match status.health.state {
        HealthState::Healthy => {}
        HealthState::Drained => {
            findings.hint(
                Id::Health,
                "this node is drained: it takes nothing",
                "when the maintenance is over: vipdrift undrain",
            );
        }
        HealthState::Fault => findings.warning(
            Id::Health,
            format!("this node is in fault: {}", status.health.reasons.join("; ")),
            "vipdrift status shows what each check found",
        ),
    }
}

/// Asks the machines of the peers for an ICMP echo.
fn machines(scene: &Scene, findings: &mut Findings) {
    let mut addresses: Vec<IpAddr> = scene.resolved.paths.iter().map(|path| path.remote).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return;
    }
    // Who may not open raw sockets has been told so.
    let Ok(answered) = ask(&addresses) else { return };
    for address in addresses {
        let name = scene.peer_at(address).unwrap_or("?");
        if answered.contains(&address) {
            findings.ok(Id::PeerMachine, format!("the machine of {name} answers an ICMP echo at {address}"));
        } else {
            findings.warning(
                Id::PeerMachine,
                format!("the machine of {name} does not answer an ICMP echo at {address}"),
                format!(
                    "look whether it runs, and let ICMP echo pass between the nodes; or correct `addresses` of {name}"
                ),
            );
        }
    }
}

fn ask(addresses: &[IpAddr]) -> Result<Vec<IpAddr>, vipdrift_platform::echo::Error> {
    let v4 = EchoSocket::open_v4()?;
    let v6 = EchoSocket::open_v6().ok();
    let [low, high, ..] = std::process::id().to_le_bytes();
    let ident = u16::from_le_bytes([low, high]);
    let mut answered = Vec::new();
    for sequence in 0..ECHOES {
        for address in addresses.iter().filter(|address| !answered.contains(*address)) {
            // One that cannot be sent is not answered either.
            let _ = match (address, &v6) {
                (IpAddr::V4(_), _) => v4.send(*address, &icmp::echo_request_v4(ident, sequence)),
                (IpAddr::V6(_), Some(v6)) => v6.send(*address, &icmp::echo_request_v6(ident, sequence)),
                (IpAddr::V6(_), None) => continue,
            };
        }
        let until = Instant::now() + if sequence + 1 == ECHOES { LAST } else { PAUSE };
        while Instant::now() < until && addresses.iter().any(|address| !answered.contains(address)) {
            let before = answered.len();
            listen(&v4, ident, true, &mut answered);
            if let Some(v6) = &v6 {
                listen(v6, ident, false, &mut answered);
            }
            if answered.len() == before {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    Ok(answered)
}

fn listen(socket: &EchoSocket, own: u16, is_v4: bool, answered: &mut Vec<IpAddr>) {
    let mut buffer = [0; 2048];
    while let Ok(Some((from, length))) = socket.receive(&mut buffer) {
        let reply = &buffer[..length];
        let parsed = if is_v4 { icmp::parse_echo_reply_v4(reply) } else { icmp::parse_echo_reply_v6(reply) };
        if parsed.is_ok_and(|(ident, _)| ident == own) && !answered.contains(&from) {
            answered.push(from);
        }
    }
}
