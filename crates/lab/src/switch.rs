//! The switch: a namespace with nothing but bridges in it.

use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::fault::Faults;
use crate::mac::Mac;
use crate::namespace::{Namespace, set_kernel};
use crate::netlink::{End, Route};
use crate::nft::Nft;

pub(crate) struct Switch {
    namespace: Namespace,
    inner: Mutex<Inner>,
}

struct Inner {
    route: Route,
    nft: Nft,
    faults: Faults,
    bridges: u32,
}

impl Switch {
    pub(crate) fn make() -> Result<Self> {
        let namespace = Namespace::make(|| {
            // A switch has no addresses and says nothing of its own.
            set_kernel("net/ipv6/conf/all/disable_ipv6", "1")?;
            set_kernel("net/ipv6/conf/default/disable_ipv6", "1")
        })?;
        let (route, nft) = namespace.run(|| Ok::<_, crate::Error>((Route::open()?, Nft::open()?)))??;
        let inner = Mutex::new(Inner { route, nft, faults: Faults::default(), bridges: 0 });
        Ok(Self { namespace, inner })
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a LAN; returns the index of its bridge.
    pub(crate) fn add_lan(&self) -> Result<u32> {
        let mut inner = self.lock();
        inner.bridges += 1;
        let index = 1 + inner.bridges;
        let name = format!("lan{}", inner.bridges);
        inner.route.add_bridge(index, &name)?;
        Ok(index)
    }

    /// Makes the observer hear the events of a namespace.
    pub(crate) fn know(&self, far: &impl AsRawFd, number: u32) -> Result<()> {
        self.lock().route.know(far, number)
    }

    pub(crate) fn add_cable(&self, lan: u32, port: u32, far: &impl AsRawFd, host: &End) -> Result<()> {
        let [_, rest @ ..] = host.mac.0;
        let [a, b, c, d, e] = rest;
        let name = format!("port{port}");
        let end = End { index: port, name: &name, mac: Mac([0x06, a, b, c, d, e]) };
        self.lock().route.add_cable(lan, &end, far, host)
    }

    pub(crate) fn remove_port(&self, port: u32) -> Result<()> {
        let mut inner = self.lock();
        // At once; taking the interface away takes the kernel some milliseconds.
        let _ = inner.route.set_forwarding(port, false);
        inner.route.delete_link(port)
    }

    pub(crate) fn set_plugged(&self, port: u32, plugged: bool) -> Result<()> {
        self.lock().route.set_up(port, plugged)
    }

    /// Lets a port whose link is up forward, or drop everything both ways.
    pub(crate) fn set_forwarding(&self, port: u32, forwarding: bool) -> Result<()> {
        self.lock().route.set_forwarding(port, forwarding)
    }

    /// True if frames pass the link behind a port.
    pub(crate) fn is_operational(&self, port: u32) -> Result<bool> {
        self.lock().route.is_operational(port)
    }

    /// Changes the packet faults and puts them into force in one step.
    pub(crate) fn change_faults(&self, change: impl FnOnce(&mut Faults)) -> Result<()> {
        let mut inner = self.lock();
        let mut faults = inner.faults.clone();
        change(&mut faults);
        if faults == inner.faults {
            return Ok(());
        }
        inner.nft.replace(&faults.rules())?;
        inner.faults = faults;
        Ok(())
    }
}
