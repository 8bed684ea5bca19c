//! What is looked at, one thing after the other. Each leaves nothing mounted but what it says.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use vipdrift_platform::addresses::{Address, Kernel, Mount};
use vipdrift_platform::clock;
use vipdrift_platform::links::Link;
use vipdrift_platform::poll::{Poller, Timer};
use vipdrift_platform::realtime;

use super::report::{Report, millis, spread};
use super::segment::Segment;
use crate::config::plain;

/// What the system does at once it has done by then.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is mounted only for a moment goes by itself after this, should this program die.
const SAFETY: Duration = Duration::from_secs(60);
/// The lifetime that is to be counted down.
const LIFETIME: Duration = Duration::from_secs(2);
/// It is over by then, or never.
const NEVER: Duration = Duration::from_secs(8);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(1);

/// What it is tried with.
pub(super) struct Bench {
    pub(super) kernel: Kernel,
    pub(super) link: Link,
    pub(super) address: IpNet,
}

impl Bench {
    fn find(&mut self, address: IpAddr) -> Result<Option<Address>, String> {
        let all = self.kernel.addresses().map_err(|error| error.to_string())?;
        Ok(all
            .into_iter()
            .find(|known| known.interface == self.link.index && known.network.addr() == address))
    }

    /// The system has the address.
    pub(super) fn is_there(&mut self) -> Result<bool, String> {
        Ok(self.find(self.address.addr())?.is_some())
    }

    fn mount(&mut self, network: IpNet, lease: Option<Duration>) -> Result<(), String> {
        let mount =
            Mount { interface: self.link.index, network, lease, as_source: false, prefix_route: false };
        self.kernel.mount(&[mount]).remove(0).map_err(|error| error.to_string())
    }

    fn unmount(&mut self, network: IpNet) -> Result<(), String> {
        self.kernel.unmount(&[(self.link.index, network)]).remove(0).map_err(|error| error.to_string())
    }

    /// Takes off what may be left.
    ///
    /// # Errors
    /// It is there still.
    pub(super) fn clear(&mut self) -> Result<(), String> {
        let network = self.address;
        self.unmount(network).map_err(|why| {
            format!("{network} is left on {} and has to be removed by hand: {why}", self.link.name)
        })
    }

    /// Waits until the address is there, or not; how long that was.
    fn wait(&mut self, there: bool, limit: Duration) -> Result<Option<Duration>, String> {
        let begun = Instant::now();
        while self.is_there()? != there {
            if begun.elapsed() > limit {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
        Ok(Some(begun.elapsed()))
    }
}

/// Nobody has the address, and somebody is heard at all.
pub(super) fn occupancy(
    bench: &mut Bench,
    segment: &mut Segment,
    known: Option<IpAddr>,
    report: &mut Report,
) -> Result<(), String> {
    match known {
        None => {
            report.add("known", false, "no gateway; name an address of another machine with --known", &[])
        }
        Some(known) => match segment.ask(known)? {
            Some((mac, took)) => {
                report.add(
                    "known",
                    true,
                    format!("{known} answered as {mac} after {:.2} ms", millis(took)),
                    &[took],
                );
            }
            None => report.add("known", false, format!("{known} did not answer within 1 s"), &[]),
        },
    }
    let address = bench.address.addr();
    match segment.ask(address)? {
        None => report.add("free", true, format!("nobody answered for {address} within 1 s"), &[]),
        Some((mac, _)) => return Err(format!("{address} is in use by {mac}: name a free address")),
    }
    Ok(())
}

/// How late this process is woken.
pub(super) fn timer(report: &mut Report) -> Result<(), String> {
    const ROUNDS: u32 = 300;
    const PACE: Duration = Duration::from_millis(10);
    let text = |error: std::io::Error| error.to_string();
    let granted = match realtime::raise_limits().and_then(|()| realtime::real_time(1)) {
        Ok(()) => "with real-time priority".to_owned(),
        Err(error) => format!("without real-time priority: {error}"),
    };
    let (poller, timer, mut ready) = (Poller::new().map_err(text)?, Timer::new().map_err(text)?, Vec::new());
    poller.add(&timer, 0).map_err(text)?;
    let mut late = Vec::new();
    for _ in 0..ROUNDS {
        let at = clock::boot_time() + PACE;
        timer.set(at).map_err(text)?;
        poller.wait(&mut ready, Some(PACE * 100)).map_err(text)?;
        late.push(clock::boot_time().saturating_sub(at));
        let _ = timer.fired();
    }
    realtime::ordinary();
    late.sort_unstable();
    let p99 = late[late.len() * 99 / 100];
    let found = format!("woken late every 10 ms: {}, p99 {:.2} ms, {granted}", spread(&late), millis(p99));
    report.add("timer", p99 < PACE / 2, found, &late);
    Ok(())
}

/// From the request until the address can be served.
pub(super) fn mount(bench: &mut Bench, runs: u32, report: &mut Report) -> Result<(), String> {
    let network = bench.address;
    let (mut listed, mut usable, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let begun = Instant::now();
        bench.mount(network, Some(SAFETY))?;
        let Some(_) = bench.wait(true, PATIENCE)? else {
            report.add("mount", false, "the system took the address and does not list it", &listed);
            return Ok(());
        };
        listed.push(begun.elapsed());
        while TcpListener::bind((network.addr(), 0)).is_err() {
            if begun.elapsed() > PATIENCE {
                report.add("mount", false, "listed, and cannot be used within 5 s", &usable);
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        usable.push(begun.elapsed());
        let begun = Instant::now();
        bench.unmount(network)?;
        if bench.wait(false, PATIENCE)?.is_none() {
            report.add("unmount", false, "the system let the address go and lists it", &gone);
            return Ok(());
        }
        gone.push(begun.elapsed());
    }
    report.add("mount", true, format!("listed after: {}", spread(&listed)), &listed);
    report.add("usable", true, format!("a server can listen on it after: {}", spread(&usable)), &usable);
    report.add("unmount", true, format!("gone after: {}", spread(&gone)), &gone);
    Ok(())
}

/// Whether the system counts a lifetime down.
pub(super) fn lifetime(bench: &mut Bench, report: &mut Report) -> Result<(), String> {
    bench.mount(bench.address, Some(LIFETIME))?;
    match bench.wait(false, NEVER)? {
        Some(took) => {
            let found = format!("a lifetime of 2 s ended after {:.2} s", took.as_secs_f64());
            report.add("lifetime", took >= LIFETIME, found, &[took]);
        }
        None => report.add(
            "lifetime",
            false,
            "not counted down: nothing but the keeper takes the address off",
            &[],
        ),
    }
    Ok(())
}

/// Whether a renewal is one.
pub(super) fn renewal(bench: &mut Bench, report: &mut Report) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < LIFETIME * 2 {
        bench.mount(bench.address, Some(LIFETIME))?;
        std::thread::sleep(LIFETIME / 4);
        if !bench.is_there()? {
            report.add("renewal", false, "the address went although it was renewed", &[]);
            return Ok(());
        }
    }
    report.add("renewal", true, "an address that is renewed stays", &[]);
    Ok(())
}

/// What is left of a process that is killed.
pub(super) fn killed(bench: &mut Bench, report: &mut Report) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| plain(&error))?;
    let mut child = Command::new(program)
        .args(["selftest-hold", &bench.link.index.to_string(), &bench.address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| plain(&error))?;
    let mut said = [0; 1];
    let holds = child.stdout.take().is_some_and(|mut out| out.read_exact(&mut said).is_ok());
    let there = holds && bench.is_there()?;
    let _ = child.kill();
    let _ = child.wait();
    if !there {
        return Err("another process of this program cannot mount the address".to_owned());
    }
    let gone = bench.wait(false, Duration::from_secs(1))?;
    let found = match gone {
        Some(took) => format!("the address went {:.0} ms after its process", millis(took)),
        None => "the address outlives a process that is killed: the next start takes it off".to_owned(),
    };
    report.add("killed", true, found, &[]);
    Ok(())
}

/// Mounts, says so, and waits for its end.
pub(super) fn hold(interface: u32, address: IpNet) -> Result<(), String> {
    let mut kernel = Kernel::open().map_err(|error| error.to_string())?;
    let mount =
        Mount { interface, network: address, lease: Some(SAFETY), as_source: false, prefix_route: false };
    kernel.mount(&[mount]).remove(0).map_err(|error| error.to_string())?;
    let said = std::io::stdout().write_all(b"x").and_then(|()| std::io::stdout().flush());
    said.map_err(|error| plain(&error))?;
    // Whoever started it kills it, or ends, which closes this.
    let _ = std::io::stdin().read(&mut [0; 1]);
    kernel.unmount(&[(interface, address)]).remove(0).map_err(|error| error.to_string())
}

/// What the system does about an address that another machine has.
pub(super) fn duplicate(
    bench: &mut Bench,
    address: Option<IpNet>,
    report: &mut Report,
) -> Result<(), String> {
    let Some(address) = address else { return Ok(()) };
    let begun = Instant::now();
    let outcome = bench.mount(address, Some(SAFETY));
    // Where it is found afterwards.
    std::thread::sleep(PATIENCE);
    let there = bench.find(address.addr())?.is_some();
    bench.unmount(address)?;
    let took = begun.elapsed();
    let found = match (&outcome, there) {
        (Err(why), _) => format!("refused: {why}"),
        (Ok(()), true) => {
            "taken, and kept for 5 s: this system does not find duplicates by itself".to_owned()
        }
        (Ok(()), false) => "taken, and gone again within 5 s".to_owned(),
    };
    report.add("duplicate", true, found, &[took]);
    Ok(())
}

/// For a restart of the machine.
pub(super) fn leave(bench: &mut Bench, report: &mut Report) -> Result<(), String> {
    bench.mount(bench.address, None)?;
    let found =
        "mounted, and left: restart the machine, then the same command with --look instead of --leave";
    report.add("left", true, found, &[]);
    Ok(())
}

/// After it.
pub(super) fn after_a_restart(bench: &mut Bench, report: &mut Report) -> Result<(), String> {
    let there = bench.is_there()?;
    bench.clear()?;
    let found =
        if there { "the address has outlived the restart; taken off" } else { "the address is not there" };
    report.add("restart", !there, found, &[]);
    Ok(())
}
