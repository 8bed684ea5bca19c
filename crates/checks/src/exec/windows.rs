//! Programs on Windows: in a job of their own.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};
use vipdrift_platform::process::{self, Group};
use vipdrift_platform::readable::Readable;

use super::{End, Rest, keep};
use crate::check::Exec;

/// What programs expect to be told, and nothing else of this process's environment.
const PASSED_ON: [&str; 10] = [
    "SystemRoot",
    "SystemDrive",
    "windir",
    "ProgramData",
    "ProgramFiles",
    "Path",
    "PATHEXT",
    "ComSpec",
    "TEMP",
    "TMP",
];

/// Starts it, with `input` to read. May block where its file is slow. To be called on a thread that knows the runtime.
///
/// # Errors
/// Those of the system; nothing runs.
pub(super) fn start(exec: &Exec, input: &[u8]) -> io::Result<Running> {
    let mut command = command(exec);
    let (output, said) = output_pipe()?;
    command.stdout(said.try_clone()?).stderr(said);
    let write = if input.is_empty() {
        None
    } else {
        let (read, write) = io::pipe()?;
        command.stdin(read);
        Some(write)
    };
    let (group, child) = Group::spawn(&mut command)?;
    // The command holds the other ends of the pipes.
    drop(command);
    if let Some(mut write) = write {
        // A pipe takes little here. Whoever does not read it has ended by the end of the look at the latest.
        let input = input.to_owned();
        std::thread::spawn(move || write.write_all(&input));
    }
    Ok(Running { child, group: Some(group), output })
}

fn command(exec: &Exec) -> Command {
    let mut words = exec.command.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    command.args(words).env_clear();
    command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.envs(exec.environment.iter().cloned());
    if let Some(root) = std::env::var_os("SystemRoot") {
        command.current_dir(root);
    }
    command.stdin(Stdio::null());
    command
}

/// A pipe whose reading end can be waited for.
fn output_pipe() -> io::Result<(NamedPipeServer, std::fs::File)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let (pid, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let name = format!(r"\\.\pipe\vipdrift-output-{pid}-{number}-{:016x}", u64::from_ne_bytes(random));
    let server = ServerOptions::new()
        .access_outbound(false)
        .first_pipe_instance(true)
        .reject_remote_clients(true)
        .max_instances(1)
        .create(&name)?;
    let client = OpenOptions::new().write(true).open(&name)?;
    Ok((server, client))
}

/// A program that runs, and its job. Dropping it kills both.
pub(super) struct Running {
    child: Child,
    group: Option<Group>,
    output: NamedPipeServer,
}

impl Running {
    /// Waits for its end, whoever else may hold its output open.
    pub(super) async fn end(&mut self, kept: &mut Vec<u8>, rest: Rest) -> io::Result<End> {
        let ended = Readable::new(process::watch(self.child.id())?)?;
        let mut open = true;
        loop {
            tokio::select! {
                over = ended.stays() => {
                    over?;
                    break;
                }
                ready = self.output.readable(), if open => {
                    ready?;
                    open = read(&self.output, kept);
                }
            }
        }
        read(&self.output, kept);
        let status = self.child.wait()?;
        if let Some(group) = self.group.take()
            && rest == Rest::Stays
        {
            group.release()?;
        }
        Ok(End::Status(status.code().unwrap_or(-1)))
    }
}

/// Reads what is there. False when nothing more will come.
fn read(output: &NamedPipeServer, kept: &mut Vec<u8>) -> bool {
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
