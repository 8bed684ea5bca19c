//! What can befall a host, and how it is undone.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Condition, Host, Link, PATIENCE, State};
use crate::error::{Error, Result, While};
use crate::namespace::Resident;
use crate::timeline::Change;

impl Host {
    /// Pulls the cables on the switch side: the host sees the carrier go.
    ///
    /// # Errors
    ///
    /// The host is not running, or the kernel's refusal.
    pub fn unplug(&self) -> Result<()> {
        self.each_link(|link| self.pull(link))
    }

    /// Pulls one cable.
    ///
    /// # Errors
    ///
    /// As [`unplug`](Self::unplug), or no such interface.
    pub fn unplug_interface(&self, interface: &str) -> Result<()> {
        self.interface_index(interface)?;
        self.each_link(|link| if link.name == interface { self.pull(link) } else { Ok(()) })
    }

    /// Plugs the cables in again; returns when the links are up.
    ///
    /// # Errors
    ///
    /// The host is not running, or the kernel's refusal.
    pub fn plug(&self) -> Result<()> {
        self.each_link(|link| self.push(link))
    }

    /// Plugs one cable in again; returns when the link is up.
    ///
    /// # Errors
    ///
    /// As [`plug`](Self::plug), or no such interface.
    pub fn plug_interface(&self, interface: &str) -> Result<()> {
        self.interface_index(interface)?;
        self.each_link(|link| if link.name == interface { self.push(link) } else { Ok(()) })
    }

    fn pull(&self, link: &mut Link) -> Result<()> {
        link.unplugged = true;
        self.inner.switch.set_plugged(link.port, false)
    }

    fn push(&self, link: &mut Link) -> Result<()> {
        link.unplugged = false;
        self.inner.switch.set_plugged(link.port, true)?;
        self.wait_link(link)?;
        if link.cut { self.inner.switch.set_forwarding(link.port, false) } else { Ok(()) }
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
        self.until_none("stop", Signal::SIGSTOP, |resident| !resident.stands_still())
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
        self.until_none("wake", Signal::SIGCONT, Resident::is_stopped)
    }

    /// Signals the processes on the host until there is none left for which `left` holds.
    fn until_none(&self, verb: &str, signal: Signal, left: impl Fn(&Resident) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let residents = self.inner.namespace.residents();
            let pids: Vec<i32> =
                residents.iter().filter(|found| left(found)).map(|found| found.pid).collect();
            if pids.is_empty() {
                return Ok(());
            }
            for &pid in &pids {
                let _ = kill(Pid::from_raw(pid), signal);
            }
            if Instant::now() > deadline {
                return Err(io::Error::from(io::ErrorKind::TimedOut))
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
