//! ```text
//! address links | addresses | gateways
//! address mount INTERFACE ADDRESS/LENGTH SECONDS HOLD    unmounted after HOLD seconds; SECONDS 0 = for ever
//! address unmount INTERFACE ADDRESS/LENGTH
//! address probe INTERFACE ADDRESS TIMES      asks as before a claim, 3 ms apart, and waits a second
//! address rounds INTERFACE ADDRESS COUNT     three rounds for so many addresses from this one on
//! address unasked ADDRESS                    asks on an interface that is not there, three times
//! address announce INTERFACE ADDRESS
//! address echo ADDRESS
//! address watch SECONDS
//! address confined PROGRAM ARGUMENTS...      runs a program with what is left of this user without administrators' rights
//! address strict INTERFACE ADDRESS           what the system refuses: the codes of calls that are wrong
//! ```

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vipdrift_platform::addresses::{Kernel, Mount};
use vipdrift_platform::echo::EchoSocket;
use vipdrift_platform::frames::{FrameKind, FrameSocket};
use vipdrift_platform::links::{Link, find};
use vipdrift_platform::poll::Poller;
use vipdrift_platform::process::{Exit, spawn_confined};
use vipdrift_platform::watch::Watch;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};

#[path = "strict.rs"]
mod strict;

type Outcome = Result<(), Box<dyn std::error::Error>>;

pub(super) fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let code = match run(&words) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error}");
            2
        }
    };
    end(code)
}

/// At once: wine may fault where a program ends in the usual way while threads of it are in calls.
fn end(code: u8) -> ExitCode {
    // SAFETY: takes no pointer; the pseudo handle of this process needs no closing.
    unsafe { TerminateProcess(GetCurrentProcess(), code.into()) };
    ExitCode::from(code)
}

fn run(words: &[&str]) -> Outcome {
    let mut kernel = Kernel::open()?;
    match words {
        ["confined", program, arguments @ ..] => {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            let child = spawn_confined(Path::new(program), &arguments, &[])?;
            let poller = Poller::new()?;
            poller.add(&child, 0)?;
            poller.wait(&mut Vec::new(), Some(Duration::from_secs(20)))?;
            match child.reap()? {
                Some(Exit::Code(0)) => {}
                other => return Err(format!("it ended with {other:?}").into()),
            }
        }
        ["links"] => kernel.links()?.iter().for_each(|link| println!("{link:?}")),
        ["addresses"] => kernel.addresses()?.iter().for_each(|address| println!("{address:?}")),
        ["gateways"] => kernel.gateways()?.iter().for_each(|gateway| println!("{gateway:?}")),
        ["mount", interface, network, seconds, hold] => {
            let lease = Some(Duration::from_secs(seconds.parse()?)).filter(|lease| !lease.is_zero());
            let interface = index(&mut kernel, interface)?;
            let mount =
                Mount { interface, network: network.parse()?, lease, as_source: false, prefix_route: false };
            let begun = Instant::now();
            one(kernel.mount(std::slice::from_ref(&mount)))?;
            println!("mounted in {:?}", begun.elapsed());
            let until = begun + Duration::from_secs(hold.parse()?);
            while Instant::now() < until {
                std::thread::sleep(Duration::from_millis(250));
                println!("listed: {:?}", kernel.addresses()?.iter().find(|a| a.network == mount.network));
                if lease.is_some() && begun.elapsed().as_millis() % 1_000 < 250 {
                    one(kernel.mount(std::slice::from_ref(&mount)))?;
                }
            }
            let begun = Instant::now();
            one(kernel.unmount(&[(interface, mount.network)]))?;
            println!("unmounted in {:?}", begun.elapsed());
        }
        ["unmount", interface, network] => {
            let interface = index(&mut kernel, interface)?;
            one(kernel.unmount(&[(interface, network.parse()?)]))?;
            println!("unmounted");
        }
        ["probe", interface, address, times] => {
            probe(&link(&mut kernel, interface)?, address.parse()?, times.parse()?)?;
        }
        ["rounds", interface, address, count] => {
            rounds(&link(&mut kernel, interface)?, address.parse()?, count.parse()?)?;
        }
        ["unasked", address] => {
            let socket = FrameSocket::open(FrameKind::Arp)?;
            for _ in 0..3 {
                match socket.send(987_654, &question([2, 0, 0, 0, 0, 1], address.parse()?)) {
                    Ok(()) => println!("asked"),
                    Err(error) => println!("refused: {}", error.kind()),
                }
                std::thread::sleep(Duration::from_millis(1500));
            }
        }
        ["announce", interface, address] => {
            let link = link(&mut kernel, interface)?;
            let socket = FrameSocket::open(FrameKind::Arp)?;
            socket.send(link.index, &announcement(link.mac.unwrap_or_default(), address.parse()?))?;
            std::thread::sleep(Duration::from_secs(2));
            println!("announced");
        }
        ["strict", interface, address] => {
            strict::strict(&link(&mut kernel, interface)?, address.parse()?);
        }
        ["echo", address] => echo(address.parse()?)?,
        ["watch", seconds] => {
            let mut watch = Watch::open()?;
            println!("watching");
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(seconds.parse()?) {
                while let Some(change) = watch.next()? {
                    println!("{:?} {change:?}", begun.elapsed());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        _ => return Err("see the head of the source for what can be said".into()),
    }
    Ok(())
}

/// As the wire crate writes it.
fn arp(own: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [[0xff; 6].as_slice(), &own, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &own].concat();
    [head.as_slice(), &sender, &[0; 6], &target].concat()
}

/// Ethernet, IPv6 and ICMPv6 headers, and a target; the sums are not looked at here.
fn icmp6(own: [u8; 6], kind: u8, source: [u8; 16], target: [u8; 16]) -> Vec<u8> {
    let all_nodes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let head =
        [[0x33, 0x33, 0, 0, 0, 1].as_slice(), &own, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]].concat();
    let body = [[kind, 0, 0, 0, 0x20, 0, 0, 0].as_slice(), &target, &[2, 1], &own].concat();
    [head.as_slice(), &source, &all_nodes, &body].concat()
}

fn question(own: [u8; 6], address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(own, [0; 4], address.octets()),
        IpAddr::V6(address) => icmp6(own, 135, [0; 16], address.octets()),
    }
}

fn announcement(own: [u8; 6], address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(own, address.octets(), address.octets()),
        IpAddr::V6(address) => icmp6(own, 136, address.octets(), address.octets()),
    }
}

fn probe(link: &Link, address: IpAddr, times: u32) -> Outcome {
    let socket = FrameSocket::open(FrameKind::Arp)?;
    let frame = question(link.mac.unwrap_or_default(), address);
    let begun = Instant::now();
    for _ in 0..times {
        let asked = Instant::now();
        match socket.send(link.index, &frame) {
            Ok(()) => println!("asked, {:?}", asked.elapsed()),
            Err(error) => println!("refused: {}", error.kind()),
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    let mut buffer = [0; 128];
    while begun.elapsed() < Duration::from_secs(1) {
        while let Some((interface, length)) = socket.receive(&mut buffer)? {
            println!("{:?}: {interface} {:02x?}", begun.elapsed(), &buffer[..length]);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

fn rounds(link: &Link, first: Ipv4Addr, count: u32) -> Outcome {
    let socket = FrameSocket::open(FrameKind::Arp)?;
    let own = link.mac.unwrap_or_default();
    let addresses = (0..count).map(|offset| Ipv4Addr::from_bits(first.to_bits() + offset));
    let frames: Vec<_> = addresses.map(|address| (link.index, question(own, address.into()))).collect();
    let frames: Vec<_> = frames.iter().map(|(index, frame)| (*index, frame.as_slice())).collect();
    // The threads that are to be ready beforehand are.
    let _ = socket.send_many(&[(link.index, &question(own, Ipv4Addr::new(192, 0, 2, 254).into()))]);
    std::thread::sleep(Duration::from_millis(500));
    for round in 1..=4 {
        let begun = Instant::now();
        let burst = socket.send_many(&frames);
        println!("round {round}: {} of {count} asked in {:?}", burst.sent, begun.elapsed());
        std::thread::sleep(Duration::from_millis(3));
    }
    let begun = Instant::now();
    let (mut answers, mut last) = (0, Duration::ZERO);
    while begun.elapsed() < Duration::from_millis(2_500) {
        while socket.receive(&mut [0; 128])?.is_some() {
            (answers, last) = (answers + 1, begun.elapsed());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("{answers} answers, the last {last:?} after the last round");
    Ok(())
}

fn echo(to: IpAddr) -> Outcome {
    let socket = EchoSocket::open_v4()?;
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let begun = Instant::now();
    socket.send(to, &[kind, 0, 0, 0, 0x12, 0x34, 0, 7])?;
    let mut buffer = [0; 128];
    while begun.elapsed() < Duration::from_millis(1_500) {
        if let Some((from, length)) = socket.receive(&mut buffer)? {
            println!("{:?}: {from} {:02x?}", begun.elapsed(), &buffer[..length]);
            return Ok(());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    println!("no answer");
    Ok(())
}

fn link(kernel: &mut Kernel, name: &str) -> Result<Link, Box<dyn std::error::Error>> {
    let links = kernel.links()?;
    Ok(find(&links, name)?.ok_or("no such interface")?.clone())
}

fn index(kernel: &mut Kernel, name: &str) -> Result<u32, Box<dyn std::error::Error>> {
    if let Ok(index) = name.parse() {
        return Ok(index);
    }
    Ok(link(kernel, name)?.index)
}

fn one<E: std::error::Error + 'static>(results: Vec<Result<(), E>>) -> Outcome {
    Ok(results.into_iter().collect::<Result<(), E>>()?)
}
