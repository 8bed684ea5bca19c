//! Runs a Windows program for cargo: `under_wine PROGRAM [ARGUMENT]...`.
//!
//! On a host of its own, with addresses, an agent and a prefix that nobody has used before: whatever it does to the network
//! and to its machine, and whatever it leaves running, ends with it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use vipdrift_lab::wine::{Habits, template};
use vipdrift_lab::{Error, Lab, Line, Stream, TIME_LIMIT, enclose};

/// What wine says of a program that calls a function that it lacks.
const LACKS: &str = "unimplemented function";
/// Wine passes on eight bits of a program's status: these are left of `STATUS_DLL_NOT_FOUND`, of which it says nothing.
const DLL_NOT_FOUND: u8 = 53;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [program, arguments @ ..] = &words[..] else {
        eprintln!("usage: under_wine PROGRAM [ARGUMENT]...");
        return ExitCode::from(2);
    };
    if let Err(refused) = enclose() {
        eprintln!("{refused}");
        return ExitCode::FAILURE;
    }
    let code = run(Path::new(program), arguments).unwrap_or_else(|error| {
        eprintln!("{error}");
        1
    });
    // The end of the enclosure is quicker than to undo everything in turn.
    std::process::exit(code.into())
}

/// From one look whether it has ended to the next.
const LOOK: Duration = Duration::from_millis(100);
/// What a program has said is read by then.
const AFTERWARDS: Duration = Duration::from_secs(3);

fn run(program: &Path, arguments: &[String]) -> Result<u8, Error> {
    let name = program.file_name().unwrap_or_default().display();
    let lab = Lab::new()?;
    let host = lab.host("windows", &["192.0.2.11/24", "2001:db8::11/64"])?;
    let _agent = host.wine_agent(Habits::default())?;
    let wine = host.wine(&template()?)?;
    let mut command = wine.command(program);
    command.args(arguments);
    let process = host.spawn(command)?;
    let (lines, deadline) = (process.live(), Instant::now() + TIME_LIMIT);
    let mut lacking = false;
    loop {
        match lines.recv_timeout(LOOK) {
            Ok(line) => {
                lacking |= line.text.starts_with("wine: ") && line.text.contains(LACKS);
                show(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                eprintln!("{name} hangs: it still ran after {TIME_LIMIT:?}");
                return Ok(1);
            }
            // Wine's own console host, which it starts for programs without a window, may keep the output open for ever.
            Err(RecvTimeoutError::Timeout)
                if process.ended().is_some_and(|(at, _)| at.elapsed() > AFTERWARDS) =>
            {
                break;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    let Some(status) = process.wait(deadline) else {
        eprintln!("{name} hangs: it has closed its output, and still ran after {TIME_LIMIT:?}");
        return Ok(1);
    };
    // Then the eight bits are zeros.
    if lacking {
        eprintln!("{name} calls a function that wine lacks");
        return Ok(1);
    }
    match status.code().map(u8::try_from) {
        Some(Ok(DLL_NOT_FOUND)) => {
            eprintln!("{name}: most likely wine lacks a DLL that it needs, or a function of one");
            Ok(DLL_NOT_FOUND)
        }
        Some(Ok(code)) => Ok(code),
        _ => {
            eprintln!("{name}: {status}");
            Ok(1)
        }
    }
}

fn show(line: &Line) {
    match line.stream {
        Stream::Out => println!("{}", line.text),
        Stream::Err => eprintln!("{}", line.text),
    }
}
