//! Does this system take an address off when its lifetime is over? Where that is documented nowhere it is tried at every
//! start, on the loopback interface, where nobody can be disturbed: what is promised for the case that keeper and brain are
//! both killed depends on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use vipdrift_platform::addresses::{Address, Kernel, LIFETIMES_END, Mount};
use vipdrift_platform::poll::Wake;

use crate::config::Resolved;

/// What the status says when all is well.
pub(super) const GRANTED: &str = "granted";
/// What it says where nobody wants lifetimes.
const OFF: &str = "off";
/// The lifetime that is tried, the shortest there is.
const LIFETIME: Duration = Duration::from_secs(1);
/// It is over by then, or never.
const NEVER: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_millis(100);
/// Addresses that are nobody's: the IPv4 dummy address (RFC 7600, section 8), and one that whatever carries it is thrown away
/// for (RFC 6666).
const TRIED: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8)), IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 8))];

/// What is known of it.
#[derive(Debug)]
pub(super) struct Lifetimes {
    known: Arc<Mutex<String>>,
    news: Arc<Wake>,
}

impl Lifetimes {
    /// Begins to find out, if it has to be found out.
    ///
    /// # Errors
    /// No descriptors or handles.
    pub(super) fn start(resolved: &Resolved) -> std::io::Result<Self> {
        let first = match (resolved.lease, LIFETIMES_END) {
            (None, _) => OFF,
            (Some(_), Some(true)) => GRANTED,
            (Some(_), _) => {
                "not known yet whether this system takes an address off when its lifetime is over"
            }
        };
        let lifetimes = Self { known: Arc::new(Mutex::new(first.to_owned())), news: Arc::new(Wake::new()?) };
        if ![OFF, GRANTED].contains(&first) {
            let (known, news) = (Arc::clone(&lifetimes.known), Arc::clone(&lifetimes.news));
            let needed = |address: &IpAddr| {
                resolved.vips.iter().any(|vip| vip.address.addr().is_ipv4() == address.is_ipv4())
            };
            let tried: Vec<IpAddr> = TRIED.into_iter().filter(needed).collect();
            let find_out = move || {
                let found = words(&try_all(tried));
                *known.lock().unwrap_or_else(PoisonError::into_inner) = found;
                news.wake();
            };
            let begun = std::thread::Builder::new().name("lifetimes".into()).spawn(find_out);
            if let Err(error) = begun {
                *lifetimes.lock() = untried(&error.to_string());
            }
        }
        Ok(lifetimes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `granted`, `off`, or what to reckon with.
    pub(super) fn known(&self) -> String {
        self.lock().clone()
    }

    /// VIPs with a lifetime are taken off at its end, for all that is known.
    pub(super) fn end(&self) -> bool {
        LIFETIMES_END == Some(true) || *self.lock() == GRANTED
    }

    /// To be polled: [`Lifetimes::known`] has changed, once.
    pub(super) fn news(&self) -> &Wake {
        &self.news
    }
}

/// How it went with each family of VIPs: whether the address ended, or why it could not be tried.
type Outcome = Vec<(IpAddr, Result<bool, String>)>;

fn try_all(addresses: Vec<IpAddr>) -> Outcome {
    std::thread::scope(|scope| {
        let begin = |address| (address, scope.spawn(move || ends(address)));
        let tries: Vec<_> = addresses.into_iter().map(begin).collect();
        let gone = || Err("the thread that tries it is gone".to_owned());
        tries.into_iter().map(|(address, tried)| (address, tried.join().unwrap_or_else(|_| gone()))).collect()
    })
}

/// Mounts it for a moment. Leaves nothing behind, unless it says that it does.
fn ends(address: IpAddr) -> Result<bool, String> {
    let text = |error: vipdrift_platform::addresses::Error| error.to_string();
    let mut kernel = Kernel::open().map_err(text)?;
    let links = kernel.links().map_err(text)?;
    let loopback = links.iter().find(|link| link.loopback).ok_or("there is no loopback interface")?.index;
    let network = IpNet::from(address);
    let off = |kernel: &mut Kernel| kernel.unmount(&[(loopback, network)]).remove(0).map_err(text);
    // Of an earlier life, which was killed while it tried.
    off(&mut kernel)?;
    let mount =
        Mount { interface: loopback, network, lease: Some(LIFETIME), as_source: false, prefix_route: false };
    kernel.mount(&[mount]).remove(0).map_err(text)?;
    let begun = Instant::now();
    let mut there = Ok(true);
    while there == Ok(true) && begun.elapsed() < NEVER {
        std::thread::sleep(LOOK);
        let is_it = |known: &Address| known.interface == loopback && known.network.addr() == address;
        there = kernel.addresses().map(|all| all.iter().any(is_it)).map_err(text);
    }
    off(&mut kernel)?;
    there.map(|there| !there)
}

/// For the status.
fn words(outcome: &Outcome) -> String {
    let family = |address: &IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let stay: Vec<&str> =
        outcome.iter().filter(|(_, ended)| *ended == Ok(false)).map(|(address, _)| family(address)).collect();
    if !stay.is_empty() {
        return format!(
            "this system does not take {} addresses off when their lifetime is over: if keeper and brain are both \
             killed, VIPs stay until the daemon is started again",
            stay.join(" and ")
        );
    }
    match outcome.iter().find_map(|(_, ended)| ended.as_ref().err()) {
        Some(why) => untried(why),
        None => GRANTED.to_owned(),
    }
}

/// Where VIPs get a longer lifetime than is configured.
pub(super) fn stretched((configured, longer): (Duration, Duration)) -> String {
    format!(
        "so many VIPs cannot be renewed within {} s: should keeper and brain both be killed, VIPs stay for up to {} s",
        configured.as_secs(),
        longer.as_secs()
    )
}

fn untried(why: &str) -> String {
    format!("not known whether this system takes an address off when its lifetime is over: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_it() {
        let outcome = |first, second| words(&vec![(TRIED[0], first), (TRIED[1], second)]);
        let failed = || Err("no".to_owned());
        assert_eq!(outcome(Ok(true), Ok(true)), GRANTED);
        assert_eq!(words(&vec![(TRIED[0], Ok(true))]), GRANTED, "no IPv6 VIPs");
        assert!(outcome(Ok(true), failed()).ends_with("over: no"));
        assert!(outcome(Ok(false), Ok(true)).contains("does not take IPv4 addresses off"));
        assert!(outcome(failed(), Ok(false)).contains("does not take IPv6 addresses off"));
        assert!(outcome(Ok(false), Ok(false)).contains("does not take IPv4 and IPv6 addresses off"));
        assert!(outcome(failed(), failed()).ends_with("over: no"));
    }
}
