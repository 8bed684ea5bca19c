//! What the child processes of these tests do.
#![allow(clippy::unwrap_used)]

use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vipdrift_platform::clock::boot_time;
use vipdrift_platform::descriptor::{AsDescriptor as _, Number, number};
use vipdrift_platform::endpoint::{Accepts, Listener, listen};
use vipdrift_platform::pipe::{MessagePipe, Received};
use vipdrift_platform::poll::{Poller, Signal, Signals, Timer, Wake};
use vipdrift_platform::process::{inherited, inherited_bytes, memory_file, spawn, this_program};
use vipdrift_platform::{datagrams, file, sandbox};

pub(crate) fn run(role: &str, arguments: &[String]) {
    let number = |position: usize| arguments[position].parse::<Number>().unwrap();
    let pipe = || MessagePipe::from(inherited(number(0)).unwrap());
    match role {
        "idle" => idle(&pipe()),
        "look" => look(&pipe(), number(1), number(2), number(3)),
        "take" => take(number(0), number(1)),
        "repeat" => {
            let pipe = pipe();
            arguments[1..].iter().for_each(|said| pipe.send(format!("<{said}>").as_bytes()).unwrap());
        }
        "echo" => echo(&pipe(), &UdpSocket::from(inherited(number(1)).unwrap())),
        "hear" => hear(&pipe(), &MessagePipe::from(inherited(number(1)).unwrap())),
        "serve" => serve(&pipe(), Listener::from(inherited(number(1)).unwrap())),
        "answer" => {
            let file = std::fs::File::from(inherited(number(1)).unwrap());
            file::write_all_at(&file, b"forty-two", 0).unwrap();
        }
        "keeper" => keeper(&pipe()),
        "nothing" => std::thread::sleep(Duration::from_secs(60)),
        "parent-of-speaker" => {
            let child = spawn(&this_program().unwrap(), &["child".into(), "speaker".into()], &[]).unwrap();
            wait(&child);
        }
        "speaker" => {
            println!("said aloud");
            eprintln!("complained");
        }
        "sandbox" => sandboxed(),
        other => panic!("no role {other}"),
    }
}

fn wait(what: &impl vipdrift_platform::poll::Waitable) {
    let poller = Poller::new().unwrap();
    poller.add(what, 0).unwrap();
    poller.wait(&mut Vec::new(), None).unwrap();
}

/// Says that it is here, then waits until the other end is closed.
fn idle(pipe: &MessagePipe) {
    pipe.send(b"here").unwrap();
    let mut buffer = [0; 16];
    while pipe.receive(&mut buffer).unwrap() != Received::Closed {
        wait(pipe);
    }
    std::process::exit(7);
}

fn look(pipe: &MessagePipe, listed: Number, unlisted: Number, careless: Number) {
    let listed = String::from_utf8(inherited_bytes(listed).unwrap()).unwrap();
    let taken = |number| if inherited(number).is_err() { "refused" } else { "GIVEN" };
    let text = format!("listed: {listed}; unlisted: {}; careless: {}", taken(unlisted), taken(careless));
    pipe.send(text.as_bytes()).unwrap();
    let mut buffer = [0; 16];
    while pipe.receive(&mut buffer).unwrap() != Received::Closed {
        wait(pipe);
    }
    std::process::exit(7);
}

fn take(pipe: Number, file: Number) {
    let bytes = inherited_bytes(file).unwrap();
    let taken = MessagePipe::from(inherited(pipe).unwrap());
    let same = if bytes.iter().all(|&byte| byte == 0xA5) { "all A5" } else { "damaged" };
    let own = Wake::new().unwrap();
    let refused = |number: Number| if inherited(number).is_err() { "refused" } else { "GIVEN" };
    let text = format!(
        "{} bytes, {same}; taken twice: {}; own: {}; closed: {}",
        bytes.len(),
        refused(pipe),
        refused(number(&own)),
        refused(file)
    );
    taken.send(text.as_bytes()).unwrap();
    taken.send(b"last words").unwrap();
    std::process::exit(0);
}

/// Sends back whatever comes.
fn echo(pipe: &MessagePipe, socket: &UdpSocket) {
    let poller = Poller::new().unwrap();
    poller.add(socket, 1).unwrap();
    pipe.send(b"here").unwrap();
    let mut ready = Vec::new();
    let mut buffer = [0; 64];
    loop {
        poller.wait(&mut ready, None).unwrap();
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                // Where the machine is busy the system may not take it at once.
                while let Err(error) = socket.send_to(&buffer[..length], from) {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

/// Repeats what it hears on one pipe on another, and says so on the first.
fn hear(pipe: &MessagePipe, heard: &MessagePipe) {
    pipe.send(b"here").unwrap();
    let mut buffer = [0; 64];
    loop {
        match heard.receive(&mut buffer).unwrap() {
            Received::Message(length) => {
                let text = format!("heard {}", String::from_utf8_lossy(&buffer[..length]));
                pipe.send(text.as_bytes()).unwrap();
                heard.send(b"told").unwrap();
            }
            Received::Empty => wait(heard),
            Received::Closed => return,
        }
    }
}

fn serve(pipe: &MessagePipe, listener: Listener) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut accepts = Accepts::new(listener).unwrap();
        pipe.send(b"here").unwrap();
        loop {
            use tokio::io::AsyncWriteExt as _;
            let mut stream = accepts.accept().await.unwrap();
            // The client may have gone.
            let _ = stream.write_all(b"served").await;
        }
    });
}

/// Starts a child that waits, says which, and waits too.
fn keeper(pipe: &MessagePipe) {
    let arguments = ["child".into(), "idle".into(), number(pipe).to_string().into()];
    let child = spawn(&this_program().unwrap(), &arguments, &[pipe.as_descriptor()]).unwrap();
    pipe.send(child.pid.to_string().as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

fn tell(name: &str, result: io::Result<()>) {
    println!("{name}: {}", result.err().map_or_else(|| "ok".to_owned(), |error| error.to_string()));
}

fn sandboxed() {
    let listener =
        listen(Path::new(&format!(r"\\.\pipe\vipdrift-sandbox-{}", std::process::id())), None).unwrap();
    let signals = Signals::block_and_open(&[Signal::Terminate]).unwrap();
    let socket = datagrams::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dropped = sandbox::drop_privileges(None).unwrap();
    println!("{}", dropped.user.as_ref().unwrap());
    let again = sandbox::drop_privileges(None).unwrap();
    println!("dropped twice: {}", if again == dropped { "the same" } else { "OTHERWISE" });
    let filter = sandbox::filter_system_calls();
    println!("filter: {}", filter.map_or_else(|error| error.to_string(), |()| "ok".to_owned()));
    let started = Command::new(this_program().unwrap()).args(["child", "speaker"]).output();
    println!("start a process: {}", if started.is_err() { "refused" } else { "DONE" });
    tell("poller, timer, wake", waiting());
    tell("udp", socket.send_to(b"beat", socket.local_addr().unwrap()).map(drop));
    tell("threads", std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tell("endpoint", runtime.block_on(async { Accepts::new(listener).map(drop) }));
    tell("memory", memory_file(c"memory", b"x").map(drop).map_err(io::Error::other));
    drop(signals);
}

fn waiting() -> io::Result<()> {
    let (poller, timer, wake) = (Poller::new()?, Timer::new()?, Wake::new()?);
    poller.add(&timer, 1)?;
    poller.add(&wake, 2)?;
    timer.set(boot_time() + Duration::from_millis(1))?;
    let mut ready = Vec::new();
    while !timer.fired()? {
        poller.wait(&mut ready, Some(Duration::from_secs(5)))?;
    }
    wake.wake();
    poller.wait(&mut ready, Some(Duration::from_secs(5)))?;
    if wake.clear() { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}
