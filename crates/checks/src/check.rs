//! What a check is.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A check, as it was configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is looked at.
    pub probe: Probe,
    /// From one look to the next. Where events are waited for: how often is looked all the same.
    pub interval: Duration,
    /// A look that takes longer has failed.
    pub timeout: Duration,
    /// So many failed looks in a row make it fail.
    pub fall: u32,
    /// So many good looks in a row make it pass again.
    pub rise: u32,
    /// It passes until it has failed.
    pub initially_passing: bool,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// A TCP connection can be opened.
    Tcp(SocketAddr),
    /// An HTTP request is answered as expected.
    Http(Http),
    /// A program ends with status 0.
    Exec(Exec),
    /// A process runs.
    Process(Subject),
    /// Whatever manages the services of this system has it running.
    Managed(Managed),
    /// A file is there and can be read.
    File(PathBuf),
    /// A machine answers an ICMP echo request.
    Icmp(IpAddr),
    /// It is known already why nothing can be looked at: a user that does not exist.
    Impossible(String),
}

impl Probe {
    /// It is told of a change when it happens.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        matches!(self, Self::Process(_) | Self::Managed(_))
    }
}

/// A service by the name that its manager knows it by. Nodes of different systems may look at the same one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Managed {
    /// systemd's, on Linux.
    pub unit: Option<String>,
    /// That of the service control manager, on Windows.
    pub service: Option<String>,
}

/// An HTTP or HTTPS request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Where to: `http` or `https`.
    pub url: String,
    /// The `Host` header and the name in the certificate, unless they are those of the URL.
    pub host: Option<String>,
    /// Status codes that are good.
    pub status: Vec<RangeInclusive<u16>>,
    /// A regular expression that the body has to match somewhere.
    pub body: Option<String>,
    /// The certificate is verified.
    pub verify: bool,
    /// The authorities that are trusted, in PEM, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Absolute path of the program, then its arguments. No shell.
    pub command: Vec<String>,
    /// As whom it runs, if not as whoever runs the checks.
    pub account: Option<Account>,
    /// What its environment holds besides `PATH`.
    pub environment: Vec<(String, String)>,
}

/// A user by numbers: no name service is asked while checks run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name, for messages.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The id of the user's own group.
    pub gid: u32,
}

/// Which process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// Any of this name: the name of its program, or what it calls itself.
    Named(String),
    /// The one whose id is in this file.
    InFile(PathBuf),
}
