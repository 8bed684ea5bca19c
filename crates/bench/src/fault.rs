//! What can happen to the node that holds the VIP, and what a client sees of it.

use std::path::Path;
use std::time::{Duration, Instant};

use vipdrift_lab::{Client, Signal};

use crate::Result;
use crate::contender::Contender;
use crate::cost;
use crate::figures::Figures;
use crate::rig::Rig;
use crate::shape::{Shape, VIP};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    DaemonKilled,
    DaemonHung,
    AllKilled,
    AllHung,
    HostDead,
    SilentCut,
    ServiceFailed,
    GracefulStop,
    Switchover,
    AdvertsBlocked,
    SplitHealed,
    Idle,
}

/// A split lasts so long before it heals.
const SPLIT: Duration = Duration::from_secs(9);
/// And then is watched for as long: where clients have to find the holder by themselves, it takes them up to 45 s.
const HEALED: Duration = Duration::from_secs(50);
/// What nothing costs is watched for this long.
const IDLE: Duration = Duration::from_secs(10);

impl Fault {
    /// In the order of the tables.
    pub(crate) const ALL: [Self; 12] = [
        Self::DaemonKilled,
        Self::DaemonHung,
        Self::AllKilled,
        Self::AllHung,
        Self::HostDead,
        Self::SilentCut,
        Self::ServiceFailed,
        Self::GracefulStop,
        Self::Switchover,
        Self::AdvertsBlocked,
        Self::SplitHealed,
        Self::Idle,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DaemonKilled => "daemon_killed",
            Self::DaemonHung => "daemon_hung",
            Self::AllKilled => "all_killed",
            Self::AllHung => "all_hung",
            Self::HostDead => "host_dead",
            Self::SilentCut => "silent_cut",
            Self::ServiceFailed => "service_failed",
            Self::GracefulStop => "graceful_stop",
            Self::Switchover => "switchover",
            Self::AdvertsBlocked => "adverts_blocked",
            Self::SplitHealed => "split_healed",
            Self::Idle => "idle",
        }
    }

    /// What is done, for people.
    pub(crate) fn story(self) -> &'static str {
        match self {
            Self::DaemonKilled => {
                "the holder's process that decides is killed (SIGKILL); those that watch over it live; what is missing is \
                 started at the end"
            }
            Self::DaemonHung => "the holder's process that decides hangs (SIGSTOP), and goes on at the end",
            Self::AllKilled => {
                "all of the holder's processes are killed (SIGKILL), and started again at the end"
            }
            Self::AllHung => "all of the holder's processes hang (SIGSTOP), and go on at the end",
            Self::HostDead => "the holder's machine loses its power, and comes back at the end",
            Self::SilentCut => {
                "the switch drops all frames of the holder, its link stays up; mended at the end"
            }
            Self::ServiceFailed => "the service behind the VIP is killed, and started again at the end",
            Self::GracefulStop => "the holder's daemon is stopped (SIGTERM), and started again at the end",
            Self::Switchover => "the VIP is moved as the manual has it, and may come back at the end",
            Self::AdvertsBlocked => {
                "what the nodes hear of each other is dropped, all else passes; mended at the end"
            }
            Self::SplitHealed => "after 9 s of a silent cut; counted is what happens when it is mended",
            Self::Idle => "nothing",
        }
    }

    pub(crate) fn find(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|fault| fault.name()).collect();
            format!("there is no fault `{name}`, but {}", names.join(", ")).into()
        })
    }
}

/// Builds the rig, makes the fault, watches, undoes it, watches again.
///
/// # Errors
/// The rig could not be brought into the state that the fault needs.
pub(crate) fn measure(vipdrift: &Path, contender: &'static dyn Contender, fault: Fault) -> Result<Figures> {
    let mut rig = Rig::pair(vipdrift, contender)?;
    if fault == Fault::Idle {
        let cost = Some(cost::idle(&rig, IDLE)?);
        return Ok(Figures { cost, watched: millis(IDLE), ..Figures::default() });
    }
    let client = rig.client.client(&[VIP])?;
    if !client.wait_answer_by(VIP, Shape::name(0), Instant::now(), Instant::now() + Duration::from_secs(5)) {
        return Err("the client is not answered by the holder".into());
    }
    std::thread::sleep(Duration::from_millis(200));
    if fault == Fault::SplitHealed {
        rig.nodes[0].cut()?;
        std::thread::sleep(SPLIT);
        let since = Instant::now();
        rig.nodes[0].uncut()?;
        return watch(&rig, contender, &client, since, HEALED);
    }
    let since = Instant::now();
    strike(&mut rig, contender, fault)?;
    let mut figures = watch(&rig, contender, &client, since, contender.watch())?;
    let undone = Instant::now();
    undo(&mut rig, contender, fault)?;
    figures.lost_later =
        watch(&rig, contender, &client, undone, contender.settles() + contender.watch())?.lost;
    figures.late |= client.was_late(since);
    Ok(figures)
}

fn strike(rig: &mut Rig, contender: &dyn Contender, fault: Fault) -> Result<()> {
    match fault {
        Fault::DaemonKilled => signal(contender.decider(rig, 0)?, Signal::SIGKILL)?,
        Fault::DaemonHung => signal(contender.decider(rig, 0)?, Signal::SIGSTOP)?,
        Fault::AllKilled => rig.signal_all(0, Signal::SIGKILL),
        Fault::AllHung => rig.signal_all(0, Signal::SIGSTOP),
        Fault::HostDead => rig.nodes[0].power_off()?,
        Fault::SilentCut => rig.nodes[0].cut()?,
        Fault::ServiceFailed => rig.service(0)?.kill(Signal::SIGKILL)?,
        Fault::GracefulStop => rig.daemon(0)?.kill(Signal::SIGTERM)?,
        Fault::Switchover => contender.switch_over(rig, 0)?,
        Fault::AdvertsBlocked => rig.lab.block_traffic(&contender.traffic())?,
        Fault::SplitHealed | Fault::Idle => {}
    }
    Ok(())
}

fn signal(pid: i32, signal: Signal) -> Result<()> {
    Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal)?)
}

fn undo(rig: &mut Rig, contender: &dyn Contender, fault: Fault) -> Result<()> {
    match fault {
        Fault::DaemonKilled if rig.daemon(0)?.ended().is_none() => {}
        Fault::DaemonKilled | Fault::AllKilled | Fault::GracefulStop => rig.start(0)?,
        Fault::DaemonHung | Fault::AllHung => rig.signal_all(0, Signal::SIGCONT),
        Fault::HostDead => {
            rig.nodes[0].power_on()?;
            rig.start_service(0)?;
            rig.start(0)?;
        }
        Fault::SilentCut => rig.nodes[0].uncut()?,
        Fault::ServiceFailed => rig.start_service(0)?,
        Fault::Switchover => contender.switch_back(rig, 0)?,
        Fault::AdvertsBlocked => rig.lab.block_traffic(&[])?,
        Fault::SplitHealed | Fault::Idle => {}
    }
    Ok(())
}

fn watch(
    rig: &Rig,
    contender: &dyn Contender,
    client: &Client,
    since: Instant,
    span: Duration,
) -> Result<Figures> {
    std::thread::sleep(span.saturating_sub(since.elapsed()));
    let until = Instant::now();
    // A probe is judged only when it has had time to be answered.
    std::thread::sleep(vipdrift_lab::GRACE + Duration::from_millis(1));
    let record = client.record(VIP)?;
    let lost = record.lost(since, until);
    let timeline = rig.lab.observer().timeline();
    let mut figures = Figures {
        lost: lost as f64,
        outage: if lost == 0 { 0.0 } else { millis(record.longest_outage(since).duration) },
        watched: millis(span),
        late: client.was_late(since),
        ..Figures::default()
    };
    if contender.is_on_all() {
        let first = record.first_answer_by(Shape::name(1), since);
        figures.moved = first.map(|at| millis(at.saturating_duration_since(since)));
        return Ok(figures);
    }
    let by_other = timeline.held_by(Shape::name(1), VIP, since);
    figures.moved = by_other.first().map(|interval| millis(interval.from.saturating_duration_since(since)));
    figures.two_holders = Some(millis(timeline.two_reachable_holders(VIP, since)));
    let kept = timeline.held_by(Shape::name(0), VIP, since);
    figures.stale = match kept.last() {
        None => Some(0.0),
        Some(interval) => interval.to.map(|end| millis(end.saturating_duration_since(since))),
    };
    Ok(figures)
}

pub(crate) fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
