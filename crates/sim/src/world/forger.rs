//! An attacker on the LAN who cannot sign: what was heard is sent again, changed, invented, or signed for another
//! cluster.

use std::time::Duration;

use vipdrift_wire::heartbeat::{Keys, Message, NodeId, Word, WordKind, encode};

use super::{Thing, World};
use crate::random::Random;
use crate::scenario::{Fault, NAMES};

/// Datagrams that the attacker remembers.
const REMEMBERED: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct Forger {
    heard: Vec<(usize, usize, Vec<u8>)>,
    count: u64,
    random: Random,
    foreign: Keys,
}

impl Forger {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            heard: Vec::new(),
            count: 0,
            random: Random::new(seed, 3),
            foreign: Keys::new("sim", b"another secret", None),
        }
    }
}

impl World {
    /// What a node has heard may be sent to it again, or to another.
    pub(super) fn record(&mut self, host: usize, path: usize, bytes: Vec<u8>) {
        let Some(forger) = &mut self.forger else { return };
        forger.count += 1;
        if forger.heard.len() < REMEMBERED {
            forger.heard.push((host, path, bytes));
            return;
        }
        // Some of the newest, some of long ago. Words, which are short, are kept longer.
        let place = forger.random.below(REMEMBERED);
        if bytes.len() < 60 || forger.heard[place].2.len() >= 60 || forger.random.chance(50) {
            forger.heard[place] = (host, path, bytes);
        }
    }

    pub(super) fn forge(&mut self, index: usize) {
        if !self.active[index] || !matches!(self.scenario.faults[index].fault, Fault::Forgery) {
            return;
        }
        let nodes = self.hosts.len();
        let paths = (nodes - 1) * if self.setup.cross_link { 2 } else { 1 };
        let Some(forger) = &mut self.forger else { return };
        let random = &mut forger.random;
        let any = (random.below(nodes), random.below(paths));
        let (host, path, bytes) = match random.below(5) {
            0 | 1 if !forger.heard.is_empty() => {
                let place = random.below(forger.heard.len());
                forger.heard[place].clone()
            }
            2 if !forger.heard.is_empty() => {
                let place = random.below(forger.heard.len());
                let (host, path, bytes) = forger.heard[place].clone();
                if random.chance(500) { (any.0, any.1, bytes) } else { (host, path, change(random, bytes)) }
            }
            3 => {
                let length = random.below(300);
                (any.0, any.1, (0..length).map(|_| u8::try_from(random.next() & 0xff).unwrap_or(0)).collect())
            }
            _ => {
                let sender = NodeId::of(NAMES[random.below(nodes)]);
                let kind = if random.chance(500) {
                    WordKind::Resigned
                } else {
                    WordKind::Holding { at_most: Duration::from_millis(250) }
                };
                let word = Message::Word(Word { sender, incarnation: random.next(), kind });
                (any.0, any.1, encode(&word, &forger.foreign))
            }
        };
        let pause = forger.random.upto(Duration::from_millis(40));
        self.push(pause, Thing::Forge(index));
        if self.hosts[host].is_awake() && self.plugged(host) {
            self.brain_is_fooled(host, path, &bytes);
        }
    }
}

/// One bit is another, or the end is missing.
fn change(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    if random.chance(300) {
        let length = random.below(bytes.len());
        bytes.truncate(length);
    } else if !bytes.is_empty() {
        let place = random.below(bytes.len());
        bytes[place] ^= 1 << random.below(8);
    }
    bytes
}
