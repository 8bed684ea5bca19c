//! A host: its namespaces, programs, files and services.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::mount::{MsFlags, mount};

use crate::client::{self, Client, ClientOptions};
use crate::error::{Error, Result, While};
use crate::frames::Sender;
use crate::lab::Lan;
use crate::mac::Mac;
use crate::namespace::{Namespace, private_run, set_kernel};
use crate::netlink::Route;
use crate::observer::Observer;
use crate::process::Process;
use crate::service::Service;
use crate::switch::Switch;

mod faults;
mod network;

pub(crate) use network::parse_network;

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
        self.inner.namespace.residents().into_iter().map(|resident| resident.pid).collect()
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
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Host").field(&self.name()).finish()
    }
}
