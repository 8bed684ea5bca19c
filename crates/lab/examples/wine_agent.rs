//! The agent of `wine/iphlpapi` in the network namespace that it is started in, until it is killed.
//!
//! `wine_agent [still] [silent]`: lifetimes do not end; addresses are not announced.

use vipdrift_lab::wine::{Agent, Habits, PORT};

fn main() -> Result<(), vipdrift_lab::Error> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let says = |word: &str| words.iter().any(|said| said == word);
    let habits = Habits { counts_down: !says("still"), announces: !says("silent"), ..Habits::default() };
    let _agent = Agent::start(PORT, habits)?;
    println!("ready");
    loop {
        std::thread::park();
    }
}
