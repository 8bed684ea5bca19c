//! A Windows program for the tests of the lab: says which addresses it can bind, then waits to be ended.
//!
//! `hello.exe [child] [ADDRESS]...`: `child` starts it once more.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::process::Command;

fn main() -> io::Result<()> {
    // Random keys, which come from `ProcessPrng`: see `wine/bcryptprimitives`.
    let mut seen: HashMap<IpAddr, Option<i32>> = HashMap::new();
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "child") {
        words.remove(0);
        Command::new(std::env::current_exe()?).arg("127.0.0.1").spawn()?;
    }
    for word in &words {
        let address: IpAddr = word.parse().map_err(io::Error::other)?;
        // By TCP: wine lets UDP bind any address.
        seen.insert(address, TcpListener::bind((address, 0)).err().and_then(|error| error.raw_os_error()));
    }
    for (address, refused) in &seen {
        match refused {
            None => println!("{address}: bound"),
            Some(code) => println!("{address}: error {code}"),
        }
    }
    println!("waiting");
    loop {
        std::thread::park();
    }
}
