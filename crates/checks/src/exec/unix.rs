//! Programs on Unix: in a process group of their own.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::unix::pipe::Receiver;
use vipdrift_platform::process;
use vipdrift_platform::readable::Readable;

use super::{End, Rest, keep};
use crate::check::Exec;

/// What a pipe takes at once, with the system's ordinary limits.
const PIPE: usize = 32 * 1024;
/// Where programs that a program names are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn command(exec: &Exec) -> Command {
    let mut words = exec.command.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    command.args(words).env_clear().env("PATH", PATH).envs(exec.environment.iter().cloned());
    command.current_dir("/").stdin(Stdio::null()).process_group(0);
    if let Some(account) = &exec.account {
        command.uid(account.uid).gid(account.gid);
    }
    process::end_with_parent(&mut command);
    command
}

/// Starts it, with `input` to read. May block where its file is slow.
///
/// # Errors
/// Those of the system; nothing runs.
pub(super) fn start(exec: &Exec, input: &[u8]) -> io::Result<Running> {
    let mut command = command(exec);
    let (output, said) = io::pipe()?;
    command.stdout(said.try_clone()?).stderr(said);
    if !input.is_empty() {
        let (read, mut write) = io::pipe()?;
        // A pipe takes that much at once (pipe(7)), so this waits for nobody.
        write.write_all(&input[..input.len().min(PIPE)])?;
        command.stdin(read);
    }
    let child = command.spawn()?;
    // The command holds the other end of the pipe.
    drop(command);
    let mut running = Running { child, pidfd: None, output: Some(output.into()), over: false };
    running.pidfd = Some(process::watch(running.child.id())?);
    Ok(running)
}

/// A program that runs, and its process group. Dropping it kills both.
pub(super) struct Running {
    child: Child,
    pidfd: Option<OwnedFd>,
    output: Option<OwnedFd>,
    over: bool,
}

impl Running {
    /// Waits for its end, whoever else may hold its output open.
    pub(super) async fn end(&mut self, kept: &mut Vec<u8>, rest: Rest) -> io::Result<End> {
        let pidfd = self.pidfd.take().ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = Readable::new(pidfd)?;
        let output = self.output.take().ok_or(io::ErrorKind::InvalidInput)?;
        let output = Receiver::from_owned_fd(output)?;
        let mut open = true;
        loop {
            tokio::select! {
                ended = pidfd.stays() => {
                    ended?;
                    break;
                }
                ready = output.readable(), if open => {
                    ready?;
                    open = read(&output, kept);
                }
            }
        }
        read(&output, kept);
        self.over = true;
        // Its id is its own until it is reaped, and so is that of its group.
        if rest == Rest::Ends {
            self.kill();
        }
        let status = self.child.wait()?;
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => End::Status(code),
            (None, signal) => End::Signal(signal.unwrap_or_default()),
        })
    }

    fn kill(&self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
            // One that the kernel cannot end at once is left as a zombie rather than waited for.
            for _ in 0..20 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Reads what is there. False when nothing more will come.
fn read(output: &Receiver, kept: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    // A program that writes faster than this reads must not keep it here.
    for _ in 0..64 {
        match output.try_read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) => keep(kept, &buffer[..length]),
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}
