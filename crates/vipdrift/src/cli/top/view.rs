//! The loop: what comes from the daemon, the terminal and the system, one after the other, and the screen after it.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ratatui::crossterm::event::{self, Event as Input};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::draw::{self, Look, Now};
use super::keys::{self, Todo};
use super::link::{self, Update};
use super::model::Model;
use super::screen::Screen;
use super::signals::Signals;
use crate::config::plain;

/// Ages are shown in seconds.
const TICK: Duration = Duration::from_secs(1);
/// What may wait to be taken in. Whoever has more waits.
const QUEUE: usize = 16;

/// Shows the view until the user, or a signal, ends it.
///
/// # Errors
/// In a sentence: the terminal is gone, or refuses.
pub(super) async fn run(mut model: Model, look: Look, socket: &Path) -> Result<(), String> {
    let mut signals = Signals::open().map_err(|error| plain(&error))?;

    let (updates, mut news) = mpsc::channel(QUEUE);
    let mut beside = JoinSet::new();
    let (place, pause, to) = (socket.to_owned(), model.interval(), updates.clone());
    beside.spawn(async move { link::watch(&place, pause, to).await });
    let (place, to) = (socket.to_owned(), updates.clone());
    beside.spawn(async move { link::follow(&place, to).await });

    let mut screen = Screen::open().map_err(|error| format!("the terminal: {}", plain(&error)))?;
    let mut inputs = listen().map_err(|error| plain(&error))?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    'view: loop {
        let now = Now { instant: Instant::now(), wall: Timestamp::now() };
        screen
            .draw(|frame| draw::draw(&model, now, look, frame))
            .map_err(|error| format!("the terminal: {}", plain(&error)))?;
        let (mut update, mut input) = (None, None);
        tokio::select! {
            told = news.recv() => update = told,
            typed = inputs.recv() => input = Some(typed.ok_or("the terminal cannot be read any more")?),
            _ = ticks.tick() => {}
            _ = signals.any() => return Ok(()),
            Some(ended) = beside.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
        // All that has come is taken in before the next drawing.
        while let Some(told) = update {
            model.take(told, Instant::now());
            update = news.try_recv().ok();
        }
        while let Some(typed) = input {
            match press(&mut model, &typed) {
                Todo::Nothing => {}
                Todo::Quit => break 'view,
                Todo::Say(command) => {
                    let (place, to) = (socket.to_owned(), updates.clone());
                    beside.spawn(async move { link::command(&place, command, to).await });
                }
            }
            input = inputs.try_recv().ok();
        }
    }
    drop(screen);
    // What was confirmed is not called off, and its outcome not kept back.
    let Some((command, _)) = model.pending.take() else { return Ok(()) };
    println!("{} ...", draw::under_way(&command));
    loop {
        tokio::select! {
            Some(told) = news.recv() => if let Update::Outcome(outcome) = told {
                return outcome.map(|done| println!("{done}"));
            },
            from_keyboard = signals.end() => {
                let how = if from_keyboard { "left" } else { "ended" };
                return Err(format!("{how} before the outcome was known; it may still be done"));
            }
        }
    }
}

/// Another size is drawn for like everything else; what is pasted is no command.
fn press(model: &mut Model, typed: &Input) -> Todo {
    match typed.as_key_press_event() {
        Some(key) => keys::press(model, key, Instant::now()),
        None => Todo::Nothing,
    }
}

/// Reads the terminal on a thread of its own, which ends with the process: a read cannot be called off.
fn listen() -> std::io::Result<mpsc::Receiver<Input>> {
    let (inputs, heard) = mpsc::channel(QUEUE);
    std::thread::Builder::new().name("keys".into()).spawn(move || {
        while let Ok(input) = event::read() {
            if inputs.blocking_send(input).is_err() {
                break;
            }
        }
    })?;
    Ok(heard)
}
