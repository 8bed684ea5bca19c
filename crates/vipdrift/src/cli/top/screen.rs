//! The terminal, taken over and given back as it was: at the end, on an error, and on a panic of any thread.

use std::io::{self, Stdout, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};

/// Taken over and not given back. Giving it back twice would put the cursor over what was printed in between.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while it is taken over. Dropping it gives it back.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over: every key comes at once and unseen, and what stood there comes back at the end.
    ///
    /// # Errors
    /// The terminal's refusal; then it is as it was.
    pub(super) fn open() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        TAKEN.store(true, Ordering::SeqCst);
        // Pasted text comes as one piece and is left alone: it must not be taken for commands.
        let taken = enable_raw_mode()
            .and_then(|()| execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste))
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match taken {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Shows what `draw` draws, all of it at once where the terminal can do that.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        // A thread has panicked, and its last words are on the screen.
        if !TAKEN.load(Ordering::SeqCst) {
            return Ok(());
        }
        queue!(stdout(), BeginSynchronizedUpdate)?;
        self.terminal.draw(draw)?;
        execute!(stdout(), EndSynchronizedUpdate)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// A terminal that is gone needs nothing back, so errors say nothing.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), EndSynchronizedUpdate, DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::num::NonZeroU16;
    use std::process::{Command, Stdio};

    use nix::pty::{Winsize, openpty};
    use nix::sys::termios::tcgetattr;

    use super::*;

    /// Says to the test below that it is the program on the terminal: which thread panics.
    const ROLE: &str = "VIPDRIFT_TEST_PANICS_ON";

    /// A process cannot survive its own panic hook being looked at, so this test runs itself on a terminal.
    #[test]
    fn a_panic_gives_the_terminal_back_and_is_read() {
        match std::env::var(ROLE).as_deref() {
            Ok("own thread") => {
                let _screen = Screen::open().expect("a terminal");
                panic!("told to panic");
            }
            Ok(_) => {
                let mut screen = Screen::open().expect("a terminal");
                screen.draw(|_| {}).expect("drawn");
                let other = std::thread::spawn(|| panic!("told to panic"));
                assert!(other.join().is_err());
                // As if the process did not unwind.
                std::process::exit(7);
            }
            Err(_) => {}
        }
        for (thread, status) in [("own thread", 101), ("another thread", 7)] {
            let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
            let pair = openpty(&size, None).expect("a terminal");
            let before = tcgetattr(&pair.slave).expect("its settings");
            let end = || Stdio::from(pair.slave.try_clone().expect("a descriptor"));
            let name = "cli::top::screen::tests::a_panic_gives_the_terminal_back_and_is_read";
            let mut program = Command::new("setsid")
                .arg("--ctty")
                .arg(std::env::current_exe().expect("this program"))
                .args(["--exact", name, "--nocapture", "--test-threads", "1"])
                .env(ROLE, thread)
                .env("RUST_BACKTRACE", "0")
                .stdin(end())
                .stdout(end())
                .stderr(end())
                .spawn()
                .expect("starts");
            // What it says is far less than a terminal holds back, so it never waits for a reader.
            assert_eq!(program.wait().expect("ends").code(), Some(status), "{thread}");
            assert_eq!(tcgetattr(&pair.slave).expect("its settings"), before, "{thread}");
            drop(pair.slave);
            let mut said = Vec::new();
            // The last reader of a terminal that nobody has open any more gets an error, not an end.
            let _ = File::from(pair.master).read_to_end(&mut said);
            let lines = |count| NonZeroU16::new(count).expect("not zero");
            let mut seen = vt100::Parser::new(lines(24), lines(80), 0);
            seen.process(&said);
            let (screen, said) = (seen.screen(), String::from_utf8_lossy(&said));
            assert!(said.contains("\x1b[?1049h"), "it was taken over: {said:?}");
            assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
            assert!(screen.contents().contains("told to panic"), "{}", screen.contents());
        }
    }
}
