//! Does a machine answer an ICMP echo request?

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use vipdrift_platform::echo::EchoSocket;
use vipdrift_platform::error::plain;
use vipdrift_platform::readable::Readable;
use vipdrift_wire::icmp;

use crate::output::Outcome;

/// Longer than any reply.
const LONGEST: usize = 2048;

/// Sends requests, and hands every reply to whoever waits for it. A raw socket hears the replies to everybody's
/// requests, so one of each kind serves all checks.
#[derive(Debug)]
pub struct Pinger {
    v4: Option<EchoSocket>,
    v6: Option<EchoSocket>,
    ident: u16,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u16,
    for_reply: HashMap<u16, (IpAddr, oneshot::Sender<()>)>,
}

impl Pinger {
    /// Opens the sockets, which needs a privilege: to be called before it is given up. `ident` tells replies to this
    /// process from those to others.
    ///
    /// # Errors
    /// Not permitted.
    pub fn open(ident: u16) -> Result<Self, String> {
        let v4 = EchoSocket::open_v4().map_err(|error| error.to_string())?;
        // A system without IPv6 has no addresses to ask either.
        let v6 = EchoSocket::open_v6().ok();
        Ok(Self { v4: Some(v4), v6, ident, waiting: Mutex::default() })
    }

    /// Listens for replies, for as long as it is let.
    ///
    /// # Errors
    /// The sockets cannot be waited for.
    pub async fn listen(self: Arc<Self>) -> io::Result<()> {
        let wait = |socket: &Option<EchoSocket>| -> io::Result<Option<Readable>> {
            socket.as_ref().map(Readable::of).transpose()
        };
        let (v4, v6) = (wait(&self.v4)?, wait(&self.v6)?);
        loop {
            tokio::select! {
                ready = readable(v4.as_ref()) => ready?,
                ready = readable(v6.as_ref()) => ready?,
            }
            self.read();
        }
    }

    fn read(&self) {
        let mut buffer = [0; LONGEST];
        for (socket, is_v4) in [(&self.v4, true), (&self.v6, false)] {
            let Some(socket) = socket else { continue };
            while let Ok(Some((from, length))) = socket.receive(&mut buffer) {
                let reply = &buffer[..length];
                let parsed =
                    if is_v4 { icmp::parse_echo_reply_v4(reply) } else { icmp::parse_echo_reply_v6(reply) };
                let Ok((ident, sequence)) = parsed else { continue };
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let meant = waiting.for_reply.get(&sequence).is_some_and(|(asked, _)| *asked == from);
                if ident == self.ident
                    && meant
                    && let Some((_, answered)) = waiting.for_reply.remove(&sequence)
                {
                    let _ = answered.send(());
                }
            }
        }
    }

    pub(crate) async fn look(&self, address: IpAddr) -> Outcome {
        let (answered, answer) = oneshot::channel();
        let sequence = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever gave up waiting has dropped its end.
            waiting.for_reply.retain(|_, (_, answered)| !answered.is_closed());
            waiting.next = waiting.next.wrapping_add(1);
            let sequence = waiting.next;
            waiting.for_reply.insert(sequence, (address, answered));
            sequence
        };
        let sent = match (address, &self.v4, &self.v6) {
            (IpAddr::V4(_), Some(socket), _) => {
                socket.send(address, &icmp::echo_request_v4(self.ident, sequence))
            }
            (IpAddr::V6(_), _, Some(socket)) => {
                socket.send(address, &icmp::echo_request_v6(self.ident, sequence))
            }
            _ => Err(io::Error::other("there is no socket for this kind of address")),
        };
        if let Err(error) = sent {
            return Outcome::bad(format!("cannot ask {address}: {}", plain(&error)));
        }
        match answer.await {
            Ok(()) => Outcome::good(format!("{address} answers")),
            Err(_) => Outcome::bad(format!("{address} does not answer")),
        }
    }
}

async fn readable(fd: Option<&Readable>) -> io::Result<()> {
    match fd {
        Some(fd) => fd.becomes().await,
        None => std::future::pending().await,
    }
}
