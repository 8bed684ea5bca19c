//! Changes of addresses, interfaces and routes, told as they happen.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::desk::{Desk, is_of};

/// How often the tables are compared.
const PACE: Duration = Duration::from_millis(10);

/// `MIB_NOTIFICATION_TYPE`.
const CHANGED: u32 = 0;
const ADDED: u32 = 1;
const DELETED: u32 = 2;

/// What somebody wants to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    Addresses { family: u32 },
    Interfaces,
    Routes,
}

/// The request for it.
pub(super) fn parse(line: &str) -> Option<Watched> {
    let mut words = line.strip_prefix("watch ")?.split(' ');
    let kind = words.next()?;
    let family = words.next()?.parse().ok()?;
    match kind {
        "addresses" => Some(Watched::Addresses { family }),
        "interfaces" => Some(Watched::Interfaces),
        "routes" => Some(Watched::Routes),
        _ => None,
    }
}

/// Tells them.
pub(super) struct News {
    pub(super) desk: Weak<Desk>,
    pub(super) stop: Arc<AtomicBool>,
}

/// What can change, by what it is told of: interface and address.
type Seen = BTreeMap<(u32, String), String>;

impl News {
    /// Tells until the other side hangs up.
    pub(super) fn tell(&self, watched: Watched, mut stream: &TcpStream) {
        let Some(mut before) = self.look(watched) else { return };
        if stream.write_all(b"0\n").is_err() || stream.set_nonblocking(true).is_err() {
            return;
        }
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(PACE);
            match stream.peek(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => return,
            }
            let Some(now) = self.look(watched) else { return };
            if stream.write_all(difference(&before, &now).as_bytes()).is_err() {
                return;
            }
            before = now;
        }
    }

    fn look(&self, watched: Watched) -> Option<Seen> {
        let desk = self.desk.upgrade()?;
        Some(match watched {
            Watched::Addresses { family } => {
                let rows = desk.rows().ok()?.into_iter().filter(|row| is_of(family, row.network.addr()));
                // Time that passes is no change.
                rows.map(|row| {
                    let told = format!("{} {} {}", row.network.prefix_len(), row.skip_as_source, row.dad);
                    ((row.interface, row.network.addr().to_string()), told)
                })
                .collect()
            }
            Watched::Interfaces => {
                let links = desk.links().ok()?;
                links.into_iter().map(|link| ((link.index, "-".into()), format!("{link:?}"))).collect()
            }
            Watched::Routes => [((0, "-".into()), format!("{:?}", desk.ways().ok()?))].into(),
        })
    }
}

fn difference(before: &Seen, now: &Seen) -> String {
    let mut text = String::new();
    let mut tell = |kind: u32, (interface, address): &(u32, String)| {
        text.push_str(&format!("{kind} {interface} {address}\n"));
    };
    for (what, state) in now {
        match before.get(what) {
            None => tell(ADDED, what),
            Some(known) if known != state => tell(CHANGED, what),
            Some(_) => {}
        }
    }
    before.keys().filter(|what| !now.contains_key(what)).for_each(|what| tell(DELETED, what));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told() {
        let seen = |list: &[(u32, &str)]| -> Seen {
            list.iter().map(|(index, state)| ((*index, "a".to_owned()), (*state).to_owned())).collect()
        };
        assert_eq!(difference(&seen(&[(1, "x")]), &seen(&[(1, "x")])), "");
        let text = difference(&seen(&[(1, "x"), (2, "x")]), &seen(&[(2, "y"), (3, "x")]));
        assert_eq!(text, "0 2 a\n1 3 a\n2 1 a\n");
        assert_eq!(parse("watch addresses 2"), Some(Watched::Addresses { family: 2 }));
        assert_eq!(parse("list 2"), None);
    }
}
