//! One number for what a configuration means, compared among peers.

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

use super::file::{Config, Prefer};
use super::service::CheckEntry;

/// The first 8 bytes of the SHA-256 of everything in `config` that the nodes have to agree on: without comments,
/// layout, keys, the control socket and the journal, which are matters of the machine.
pub(crate) fn of(config: &Config) -> u64 {
    let mut text = String::from("vipdrift configuration 1\n");
    let c = &config.cluster;
    let _ = writeln!(
        text,
        "cluster {} {:?} {} {:?} {:?} {}",
        c.name,
        c.heartbeat,
        c.dead_after,
        c.lease.get_ref(),
        c.start_wait,
        c.port
    );
    for node in &config.nodes {
        let addresses: Vec<_> = node.addresses.get_ref().iter().map(|a| a.get_ref()).collect();
        let mut interfaces: Vec<_> =
            node.interfaces.iter().map(|(l, r)| (l.get_ref(), r.get_ref())).collect();
        interfaces.sort();
        let _ = writeln!(text, "node {} {addresses:?} {interfaces:?}", node.name.get_ref());
    }
    for group in &config.groups {
        let vips: Vec<_> = group.vips.iter().map(|v| v.get_ref()).collect();
        let references: Vec<_> = group.references.iter().map(|r| r.get_ref()).collect();
        let prefer = match &group.prefer {
            Prefer::AsWritten => "as written".to_owned(),
            Prefer::Spread => "spread".to_owned(),
            Prefer::These(names) => format!("{:?}", names.iter().map(|n| n.get_ref()).collect::<Vec<_>>()),
        };
        let _ = writeln!(
            text,
            "group {} {} {vips:?} {prefer} {:?} {:?} {:?} {references:?} {:?} {}",
            group.name.get_ref(),
            group.interface.get_ref(),
            group.failback,
            group.occupied,
            group.switchover,
            group.isolated,
            group.as_source
        );
        // Where there is none, the number is that of versions that knew none.
        for check in &group.checks {
            let _ = writeln!(text, "check {check:?}", check = Written(check));
        }
        if !group.checks.is_empty() {
            let _ = writeln!(text, "all unhealthy {:?}", group.all_unhealthy);
        }
        if let Some(hooks) = &group.hooks {
            let _ = writeln!(text, "hooks {hooks:?}");
        }
    }
    first_eight(&Sha256::digest(text.as_bytes()))
}

/// Weight of `node` for `group`: the highest comes first (rendezvous hashing, Thaler and Ravishankar 1998).
pub(crate) fn rendezvous(group: &str, node: &str) -> u64 {
    first_eight(&Sha256::digest(format!("vipdrift rendezvous 1\n{group}\n{node}").as_bytes()))
}

/// A check without its place in the file.
struct Written<'c>(&'c CheckEntry);

impl std::fmt::Debug for Written<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let CheckEntry { name, probe, user, interval, timeout, fall, rise, initially_passing, effect } =
            self.0;
        let name = name.get_ref();
        write!(
            f,
            "{name} {probe:?} {user:?} {interval:?} {timeout:?} {fall} {rise} {initially_passing} {effect:?}"
        )
    }
}

fn first_eight(hash: &[u8]) -> u64 {
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
