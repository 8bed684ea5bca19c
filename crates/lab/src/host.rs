//! A host: namespaces, interfaces, addresses, the service, and what can befall it.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::announce;
use crate::client::{self, Client, ClientOptions};
use crate::error::{Error, Result, While};
use crate::frames::{Sender, Tap, link_address};
use crate::lab::Lan;
use crate::mac::Mac;
use crate::namespace::{Namespace, private_run, set_kernel};
use crate::netlink::{End, Route};
use crate::observer::Observer;
use crate::process::Process;
use crate::service::Service;
use crate::switch::Switch;
use crate::timeline::{Change, Timeline};

/// Most interfaces that a host may have.
const LINKS: u32 = 16;
/// Interface indexes are unique in the lab: an event's index tells whose it is. The two ends of a cable must not have
/// the same one either, or the kernel delays the news of a lost carrier by up to a second.
const FIRST_INDEX: u32 = 1_000;
const FIRST_PORT: u32 = 100_000;
/// How long the processes of a host may take to die or stop before the lab gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A host on one or more LANs of a [`Lab`](crate::Lab). A handle: clones are the same host.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    number: u32,
    directory: PathBuf,
    switch: Arc<Switch>,
    observer: Observer,
    namespace: Namespace,
    route: Arc<Mutex<Route>>,
    sender: Sender,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: Vec<Link>,
    routes: Vec<(IpNet, IpAddr)>,
    service: Option<Service>,
    condition: Condition,
    cut_off: bool,
}

struct Link {
    name: String,
    index: u32,
    port: u32,
    lan: Lan,
    mac: Mac,
    addresses: Vec<IpNet>,
    unplugged: bool,
    cut: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Condition {
    #[default]
    Running,
    Off,
    Frozen,
}

impl Host {
    pub(crate) fn make(
        name: &str,
        number: u32,
        directory: PathBuf,
        switch: Arc<Switch>,
        observer: Observer,
    ) -> Result<Self> {
        fs::create_dir_all(&directory).doing(|| format!("make {}", directory.display()))?;
        let namespace = Namespace::make(|| {
            // Addresses are usable at once; the machine's own settings, which new namespaces take over, do not count.
            for family in ["all", "default"] {
                set_kernel(&format!("net/ipv6/conf/{family}/accept_dad"), "0")?;
                set_kernel(&format!("net/ipv6/conf/{family}/disable_ipv6"), "0")?;
                for setting in ["rp_filter", "arp_ignore", "arp_announce", "arp_notify", "arp_accept"] {
                    set_kernel(&format!("net/ipv4/conf/{family}/{setting}"), "0")?;
                }
            }
            set_kernel("net/ipv6/bindv6only", "0")?;
            let parent = directory.parent().unwrap_or(&directory);
            private_run(parent, &parent.join(format!(".{name}")))
        })?;
        let (route, sender) = namespace.run(|| {
            let mut route = Route::open()?;
            route.set_up(1, true)?;
            Ok::<_, Error>((Arc::new(Mutex::new(route)), Sender::open()?))
        })??;
        observer.ask_at(name, &route);
        let host = Self {
            inner: Arc::new(Inner {
                name: name.into(),
                number,
                directory,
                switch,
                observer,
                namespace,
                route,
                sender,
                state: Mutex::default(),
            }),
        };
        host.start_service()?;
        Ok(host)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn route(&self) -> MutexGuard<'_, Route> {
        self.inner.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// A directory for the files of this host, seen by the same path from everywhere in the enclosure. Everything
    /// else below `/run` is the host's own.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Lays a cable to a LAN: an interface named `eth0`, `eth1` and so on, up and with these addresses.
    /// Returns its name.
    ///
    /// # Errors
    ///
    /// An address that is none (nothing is made), or the kernel's refusal (the interface may be left without
    /// addresses).
    pub fn connect(&self, lan: Lan, addresses: &[&str]) -> Result<String> {
        let addresses = addresses.iter().map(|text| network(text)).collect::<Result<Vec<_>>>()?;
        let mut state = self.lock();
        self.expect(&state, Condition::Running)?;
        let count = u32::try_from(state.links.len()).unwrap_or(LINKS);
        if count >= LINKS {
            return Err(Error::Name(format!("{} has {LINKS} interfaces already", self.name())));
        }
        let [.., high, low] = self.inner.number.to_be_bytes();
        if state.links.is_empty() {
            self.inner.switch.know(self.inner.namespace.net(), self.inner.number)?;
        }
        let offset = self.inner.number * LINKS + count;
        let link = Link {
            name: format!("eth{count}"),
            index: FIRST_INDEX + offset,
            port: FIRST_PORT + offset,
            lan,
            mac: Mac([0x02, 0x00, 0x4c, high, low, count.to_be_bytes()[3]]),
            addresses,
            unplugged: false,
            cut: false,
        };
        self.inner.observer.introduce(self.name(), link.index);
        self.lay(&link)?;
        let name = link.name.clone();
        state.links.push(link);
        Ok(name)
    }

    /// Makes the interface of `link` as it should be.
    fn lay(&self, link: &Link) -> Result<()> {
        let end = End { index: link.index, name: &link.name, mac: link.mac };
        self.inner.switch.add_cable(link.lan.bridge, link.port, self.inner.namespace.net(), &end)?;
        let mut route = self.route();
        route.set_up(link.index, true)?;
        for &address in &link.addresses {
            route.add_address(link.index, address, None)?;
        }
        drop(route);
        self.wait_link(link)?;
        let known = |line: &Timeline| {
            link.addresses.iter().all(|own| line.holders(own.addr()).contains(&self.inner.name))
        };
        if self.inner.observer.wait_until(Instant::now() + PATIENCE, known) {
            return Ok(());
        }
        let silent = Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
        silent.doing(|| format!("see the addresses of {} appear", self.name()))
    }

    /// Waits until frames pass, and lets the port forward. The kernel brings a link up a moment after it was asked to.
    fn wait_link(&self, link: &Link) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.inner.switch.is_operational(link.port)? && self.route().is_operational(link.index)? {
                return self.inner.switch.set_forwarding(link.port, true);
            }
            if Instant::now() > deadline {
                let late = Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
                return late.doing(|| format!("bring {} of {} up", link.name, self.name()));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn find<T>(&self, state: &State, interface: &str, pick: impl Fn(&Link) -> T) -> Result<T> {
        let found = state.links.iter().find(|link| link.name == interface).map(pick);
        found.ok_or_else(|| Error::Name(format!("{} has no interface {interface}", self.name())))
    }

    fn expect(&self, state: &State, wanted: Condition) -> Result<()> {
        if state.condition == wanted {
            return Ok(());
        }
        Err(self.unfit(state.condition))
    }

    fn unfit(&self, condition: Condition) -> Error {
        let state = match condition {
            Condition::Running => "running",
            Condition::Off => "powered off",
            Condition::Frozen => "frozen",
        };
        Error::State { host: self.name().into(), state }
    }

    /// The hardware address of one of its interfaces.
    ///
    /// # Errors
    ///
    /// No such interface.
    pub fn mac(&self, interface: &str) -> Result<Mac> {
        self.find(&self.lock(), interface, |link| link.mac)
    }

    /// The kernel's number of one of its interfaces; unique in the lab.
    ///
    /// # Errors
    ///
    /// No such interface.
    pub fn interface_index(&self, interface: &str) -> Result<u32> {
        self.find(&self.lock(), interface, |link| link.index)
    }

    /// True if the interface is up and has carrier.
    ///
    /// # Errors
    ///
    /// No such interface, or the kernel's refusal.
    pub fn carrier(&self, interface: &str) -> Result<bool> {
        let index = self.interface_index(interface)?;
        self.route().has_carrier(index)
    }

    pub(crate) fn ports(&self) -> BTreeSet<u32> {
        self.lock().links.iter().map(|link| link.port).collect()
    }

    /// Runs `work` on a thread inside the host (its network, its mounts) and returns what it returns.
    /// A panic inside goes on in the caller.
    ///
    /// # Panics
    ///
    /// If the host's namespaces cannot be entered, which only happens where the enclosure is broken.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match self.inner.namespace.run(work) {
            Ok(result) => result,
            Err(error) => panic!("{}: {error}", self.name()),
        }
    }

    /// Starts a thread that lives inside the host.
    ///
    /// # Errors
    ///
    /// The kernel's refusal to start a thread.
    pub fn thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        let host = self.clone();
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                if let Err(error) = host.inner.namespace.enter() {
                    panic!("{}: {error}", host.name());
                }
                work()
            })
            .doing(|| "start a thread".into())
    }

    /// Starts a program on the host. Its output is kept, its standard input is empty.
    ///
    /// # Errors
    ///
    /// The host is off or frozen, or the program cannot be started.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        // Held while it starts: a host that is being switched off must not miss it.
        let state = self.lock();
        self.expect(&state, Condition::Running)?;
        self.inner.namespace.run(|| Process::start(command))?
    }

    /// Pids of the processes on the host, children and orphans included.
    pub fn processes(&self) -> Vec<i32> {
        self.inner.namespace.processes()
    }

    /// Shows the directory `source` at the place of the directory `target` on this host only, for programs started
    /// from now on.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; then nothing has changed.
    pub fn bind_directory(&self, source: &Path, target: &Path) -> Result<()> {
        let none = None::<&str>;
        self.inner
            .namespace
            .run(|| mount(Some(source), target, none, MsFlags::MS_BIND, none))?
            .doing(|| format!("show {} at {}", source.display(), target.display()))
    }

    /// Gives the host an `/etc` of its own, with copies of the files that programs need to know users and hosts.
    /// Returns the directory, which can be written to from everywhere.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; the directory may be left half filled.
    pub fn private_etc(&self) -> Result<PathBuf> {
        let directory = self.directory().join("etc");
        fs::create_dir_all(&directory).doing(|| format!("make {}", directory.display()))?;
        for file in ["passwd", "group", "nsswitch.conf", "hosts", "ld.so.cache", "localtime", "os-release"] {
            let from = Path::new("/etc").join(file);
            if from.is_file() {
                fs::copy(&from, directory.join(file)).doing(|| format!("copy {}", from.display()))?;
            }
        }
        self.bind_directory(&directory, Path::new("/etc"))?;
        Ok(directory)
    }

    /// Adds an address to `eth0`, or to the interface that has one of the same network, by hand.
    /// Usable at once and for ever; nothing is announced.
    ///
    /// # Errors
    ///
    /// An address that is none, or the kernel's refusal.
    pub fn add_address(&self, address: &str) -> Result<()> {
        self.change_address(address, |route, index, network| route.add_address(index, network, None))
    }

    /// The same with a lifetime, as a lease; whole seconds.
    ///
    /// # Errors
    ///
    /// An address that is none, or the kernel's refusal.
    pub fn add_address_for(&self, address: &str, lifetime: Duration) -> Result<()> {
        let seconds = u32::try_from(lifetime.as_secs().max(1)).unwrap_or(u32::MAX);
        self.change_address(address, |route, index, network| route.add_address(index, network, Some(seconds)))
    }

    /// Deletes an address by hand; with or without its prefix length.
    ///
    /// # Errors
    ///
    /// The host has no such address.
    pub fn delete_address(&self, address: &str) -> Result<()> {
        let plain = address.split('/').next().unwrap_or(address);
        let ip: IpAddr = plain.parse().map_err(|_| Error::Address(address.into()))?;
        let mut route = self.route();
        let found = route.addresses()?.into_iter().find(|(_, network)| network.addr() == ip);
        let (index, network) =
            found.ok_or_else(|| Error::Name(format!("{} does not have {ip}", self.name())))?;
        route.delete_address(index, network)
    }

    /// Addresses that its kernel has now, `lo` included, link-local ones too.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn addresses(&self) -> Result<Vec<IpNet>> {
        Ok(self.route().addresses()?.into_iter().map(|(_, network)| network).collect())
    }

    fn change_address(
        &self,
        address: &str,
        change: impl FnOnce(&mut Route, u32, IpNet) -> Result<()>,
    ) -> Result<()> {
        let network = network(address)?;
        let state = self.lock();
        self.expect(&state, Condition::Running)?;
        let same_network = |link: &&Link| {
            link.addresses.iter().any(|own| own.trunc() == network.trunc() || own.contains(&network.addr()))
        };
        let link = state.links.iter().find(same_network).or(state.links.first());
        let index = link.ok_or_else(|| Error::Name(format!("{} has no interface", self.name())))?.index;
        change(&mut self.route(), index, network)
    }

    /// Adds a route (`0.0.0.0/0` and `::/0` for the default) by way of a machine on one of its LANs.
    ///
    /// # Errors
    ///
    /// Addresses that are none, or a gateway that is not on a LAN of this host.
    pub fn add_route(&self, to: &str, via: &str) -> Result<()> {
        let to = network(to)?;
        let via: IpAddr = via.parse().map_err(|_| Error::Address(via.into()))?;
        let mut state = self.lock();
        self.expect(&state, Condition::Running)?;
        self.route().add_route(to, via)?;
        state.routes.push((to, via));
        Ok(())
    }

    /// Makes it forward packets between its LANs: a gateway.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn forward_packets(&self) -> Result<()> {
        self.set_kernel("net/ipv4/ip_forward", "1")?;
        self.set_kernel("net/ipv6/conf/all/forwarding", "1")
    }

    /// Writes a setting of its kernel, by its path below `/proc/sys` (`net/ipv4/conf/all/arp_ignore`).
    ///
    /// # Errors
    ///
    /// No such setting, or no such value.
    pub fn set_kernel(&self, setting: &str, value: &str) -> Result<()> {
        self.inner.namespace.run(|| set_kernel(setting, value))?
    }

    /// The hardware address to which its kernel would send for `address` now. Asks nobody.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn neighbor(&self, address: IpAddr) -> Result<Option<Mac>> {
        self.route().neighbor(address)
    }

    /// Announces every address of an interface once: gratuitous ARP, unsolicited Neighbor Advertisement.
    ///
    /// # Errors
    ///
    /// As [`send_frame`](Self::send_frame).
    pub fn announce(&self, interface: &str) -> Result<()> {
        let (index, mac) = self.find(&self.lock(), interface, |link| (link.index, link.mac))?;
        let addresses = self.route().addresses()?;
        let by = self.inner.namespace.run(|| link_address(interface))??;
        for (_, network) in addresses.into_iter().filter(|(owner, _)| *owner == index) {
            let frame = match network.addr() {
                IpAddr::V4(address) => announce::gratuitous_arp(mac, address),
                IpAddr::V6(address) => announce::unsolicited_advertisement(mac, address),
            };
            self.inner.sender.send(&by, &frame)?;
        }
        Ok(())
    }

    /// Sends one Ethernet frame as it is.
    ///
    /// # Errors
    ///
    /// No such interface, a frame that is too short or too long, or the interface is down.
    pub fn send_frame(&self, interface: &str, frame: &[u8]) -> Result<()> {
        let by = self.inner.namespace.run(|| link_address(interface))??;
        self.inner.sender.send(&by, frame)
    }

    /// Listens to every frame that an interface receives or sends from now on.
    ///
    /// # Errors
    ///
    /// No such interface, or the kernel's refusal.
    pub fn tap(&self, interface: &str) -> Result<Tap> {
        let index = self.interface_index(interface)?;
        self.inner.namespace.run(|| Tap::open(index))?
    }

    /// Starts to ask for these VIPs from this host, 1,000 times a second each.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn client(&self, vips: &[IpAddr]) -> Result<Client> {
        self.client_with(vips, ClientOptions::default())
    }

    /// The same with other habits.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn client_with(&self, vips: &[IpAddr], options: ClientOptions) -> Result<Client> {
        Client::start(self, vips, options)
    }

    /// Asks the [service](crate::SERVICE_PORT) at `address` from this host, again every few milliseconds, until it
    /// answers; tells who did. `None` if nobody did by `deadline`.
    pub fn ask(&self, address: IpAddr, deadline: Instant) -> Option<String> {
        self.run(|| client::ask(address, deadline))
    }

    /// Starts the [service](crate::SERVICE_PORT) if it is not running.
    ///
    /// # Errors
    ///
    /// The port is taken by another program on the host.
    pub fn start_service(&self) -> Result<()> {
        let mut state = self.lock();
        if state.service.is_none() {
            state.service = Some(Service::start(&self.inner.namespace, self.name())?);
        }
        Ok(())
    }

    /// Stops the service; its connections are reset. The rest of the host goes on.
    pub fn stop_service(&self) {
        let service = self.lock().service.take();
        drop(service);
    }

    /// Pulls the cables on the switch side: the host sees the carrier go.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn unplug(&self) -> Result<()> {
        self.each_link(|link| {
            link.unplugged = true;
            self.inner.switch.set_plugged(link.port, false)
        })
    }

    /// Plugs the cables in again; returns when the links are up.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn plug(&self) -> Result<()> {
        self.each_link(|link| {
            link.unplugged = false;
            self.inner.switch.set_plugged(link.port, true)?;
            self.wait_link(link)?;
            if link.cut { self.inner.switch.set_forwarding(link.port, false) } else { Ok(()) }
        })
    }

    /// Cuts the host off silently: the switch drops every frame both ways, the carrier stays.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn cut(&self) -> Result<()> {
        self.each_link(|link| {
            link.cut = true;
            if link.unplugged { Ok(()) } else { self.inner.switch.set_forwarding(link.port, false) }
        })
    }

    /// Undoes [`cut`](Self::cut).
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn uncut(&self) -> Result<()> {
        self.each_link(|link| {
            link.cut = false;
            if link.unplugged { Ok(()) } else { self.inner.switch.set_forwarding(link.port, true) }
        })
    }

    /// Changes links and tells the observer whether the host can be reached by any of them afterwards.
    fn each_link(&self, change: impl FnMut(&mut Link) -> Result<()>) -> Result<()> {
        let mut state = self.lock();
        self.expect(&state, Condition::Running)?;
        let result = state.links.iter_mut().try_for_each(change);
        self.tell(&mut state);
        result
    }

    fn tell(&self, state: &mut State) {
        let off = state.condition != Condition::Running
            || state.links.iter().all(|link| link.unplugged || link.cut);
        if off != state.cut_off {
            state.cut_off = off;
            let change = if off { Change::CutOff } else { Change::Back };
            self.inner.observer.mark(Instant::now(), self.name(), change);
        }
    }

    /// Makes the host deaf: frames to it are dropped, its own pass.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; then nothing has changed.
    pub fn deafen(&self) -> Result<()> {
        let ports = self.ports();
        self.inner.switch.change_faults(|faults| faults.deaf.extend(ports))
    }

    /// Makes the host mute: its frames are dropped, it still hears.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; then nothing has changed.
    pub fn mute(&self) -> Result<()> {
        let ports = self.ports();
        self.inner.switch.change_faults(|faults| faults.mute.extend(ports))
    }

    /// Loses this share of its frames, in each direction, at random.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; then nothing has changed.
    pub fn lose(&self, percent: u8) -> Result<()> {
        let ports = self.ports();
        let chance = u32::from(percent.min(100)) * 100;
        self.inner
            .switch
            .change_faults(|faults| faults.loss.extend(ports.into_iter().map(|port| (port, chance))))
    }

    /// Undoes [`deafen`](Self::deafen), [`mute`](Self::mute) and [`lose`](Self::lose).
    ///
    /// # Errors
    ///
    /// The kernel's refusal; then nothing has changed.
    pub fn mend(&self) -> Result<()> {
        let ports = self.ports();
        self.inner.switch.change_faults(|faults| faults.mend(&ports))
    }

    /// Takes the power away: at once nothing is heard of the host, every process on it is killed with SIGKILL, its
    /// interfaces, addresses and connections are gone.
    ///
    /// # Errors
    ///
    /// The host is off already, or the kernel's refusal.
    pub fn power_off(&self) -> Result<()> {
        let mut state = self.lock();
        if state.condition == Condition::Off {
            return Err(self.unfit(Condition::Off));
        }
        state.condition = Condition::Off;
        for link in &state.links {
            let _ = self.inner.switch.set_forwarding(link.port, false);
        }
        self.tell(&mut state);
        self.until_none("kill", Signal::SIGKILL, |_| true)?;
        let service = state.service.take();
        for link in &state.links {
            self.inner.switch.remove_port(link.port)?;
        }
        drop(state);
        drop(service);
        Ok(())
    }

    /// Gives the power back: interfaces, the addresses given when they were [connected](Self::connect), routes and
    /// the service are as in the beginning. No program runs.
    ///
    /// # Errors
    ///
    /// The host is not off, or the kernel's refusal.
    pub fn power_on(&self) -> Result<()> {
        let mut state = self.lock();
        self.expect(&state, Condition::Off)?;
        for link in &mut state.links {
            (link.unplugged, link.cut) = (false, false);
            self.lay(link)?;
        }
        for &(to, via) in &state.routes {
            self.route().add_route(to, via)?;
        }
        state.condition = Condition::Running;
        self.tell(&mut state);
        drop(state);
        self.start_service()
    }

    /// Freezes the machine, as when a hypervisor pauses it: not a frame from it or to it, and every process on it
    /// stands still. Its kernel's clock goes on, so address lifetimes run out as if it were awake.
    ///
    /// # Errors
    ///
    /// The host is not running, or the kernel's refusal.
    pub fn freeze(&self) -> Result<()> {
        let mut state = self.lock();
        self.expect(&state, Condition::Running)?;
        state.condition = Condition::Frozen;
        for link in state.links.iter().filter(|link| !link.unplugged) {
            self.inner.switch.set_forwarding(link.port, false)?;
        }
        self.tell(&mut state);
        self.until_none("stop", Signal::SIGSTOP, |pid| !is_stopped(pid))
    }

    /// Wakes a frozen machine.
    ///
    /// # Errors
    ///
    /// The host is not frozen, or the kernel's refusal.
    pub fn thaw(&self) -> Result<()> {
        let mut state = self.lock();
        self.expect(&state, Condition::Frozen)?;
        state.condition = Condition::Running;
        for link in state.links.iter().filter(|link| !link.unplugged && !link.cut) {
            self.inner.switch.set_forwarding(link.port, true)?;
        }
        self.tell(&mut state);
        self.until_none("wake", Signal::SIGCONT, is_stopped)
    }

    /// Signals the processes on the host until there is none left for which `left` holds.
    fn until_none(&self, verb: &str, signal: Signal, left: impl Fn(i32) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pids: Vec<i32> = self.processes().into_iter().filter(|&pid| left(pid)).collect();
            if pids.is_empty() {
                return Ok(());
            }
            for &pid in &pids {
                let _ = kill(Pid::from_raw(pid), signal);
            }
            if Instant::now() > deadline {
                return Err(std::io::Error::from(std::io::ErrorKind::TimedOut))
                    .doing(|| format!("{verb} the processes {pids:?} of {}", self.name()));
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// The end of the lab: like a loss of power from whatever condition, and errors do not matter any more.
    pub(crate) fn end(&self) {
        if let Err(Error::Kernel { what, source }) = self.power_off() {
            eprintln!("lab: {what}: {source}");
        }
    }

    /// Undoes every fault that this host alone suffers.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; what came before it is undone.
    pub fn undo_all(&self) -> Result<()> {
        let condition = self.lock().condition;
        match condition {
            Condition::Off => self.power_on()?,
            Condition::Frozen => self.thaw()?,
            Condition::Running => {}
        }
        self.mend()?;
        self.uncut()?;
        if self.lock().links.iter().any(|link| link.unplugged) {
            self.plug()?;
        }
        self.start_service()
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Host").field(&self.name()).finish()
    }
}

/// A process that is stopped or dead does nothing more.
fn is_stopped(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit(')').next()?.trim_start().chars().next())
        .is_none_or(|state| matches!(state, 'T' | 't' | 'Z' | 'X'))
}

fn network(text: &str) -> Result<IpNet> {
    text.parse().map_err(|_| Error::Address(text.into()))
}
