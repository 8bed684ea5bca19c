//! Every target for about a second: first its corpus, then random changes of it. What fails is shown as bytes, and
//! `BOLERO_RANDOM_SEED`, which is printed too, repeats it. `BOLERO_RANDOM_TEST_TIME_MS` lets it run longer.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bolero::TypeGenerator;
use bolero::generator::{ValueGenerator as _, produce};
use vipdrift_fuzz::{TARGETS, Target};

/// How long each target is tried with random input.
const TIME: Duration = Duration::from_millis(1000);
/// The corpora stay small: fewer bytes than this in all of them.
const CORPORA: u64 = 100_000;

/// A file of the corpus, and what becomes of it.
#[derive(Debug, Clone, TypeGenerator)]
struct Changes {
    file: u8,
    #[generator(produce::<Vec<Change>>().with().len(0_usize..8))]
    changes: Vec<Change>,
}

/// A change of some bytes. Positions are taken modulo the length.
#[derive(Debug, Clone, TypeGenerator)]
enum Change {
    Flip {
        at: u16,
        bit: u8,
    },
    Set {
        at: u16,
        to: u8,
    },
    /// A number that is often a limit.
    Edge {
        at: u16,
        width: u8,
        which: u8,
    },
    Insert {
        at: u16,
        bytes: [u8; 4],
        count: u8,
    },
    Remove {
        at: u16,
        count: u8,
    },
    Repeat {
        from: u16,
        count: u8,
        at: u16,
    },
    /// Goes on as another file does.
    Splice {
        at: u16,
        file: u8,
        from: u16,
    },
    Cut {
        at: u16,
    },
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, files: &[Vec<u8>]) {
        let place = |at: u16| usize::from(at) % (bytes.len() + 1);
        match *self {
            Self::Flip { at, bit } => {
                let at = place(at);
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (bit % 8));
            }
            Self::Set { at, to } => {
                let at = place(at);
                bytes.get_mut(at).into_iter().for_each(|byte| *byte = to);
            }
            Self::Edge { at, width, which } => {
                let at = place(at);
                let fill = [0, 0xff, 0x7f, 0x80][usize::from(which % 4)];
                bytes[at..].iter_mut().take(1 << (width % 4)).for_each(|byte| *byte = fill);
            }
            Self::Insert { at, bytes: new, count } => {
                let at = place(at);
                bytes.splice(at..at, new.into_iter().take(usize::from(count % 4) + 1));
            }
            Self::Remove { at, count } => {
                let at = place(at);
                let end = (at + usize::from(count)).min(bytes.len());
                bytes.drain(at..end);
            }
            Self::Repeat { from, count, at } => {
                let (from, at) = (place(from), place(at));
                let end = (from + usize::from(count)).min(bytes.len());
                let copy = bytes[from..end].to_vec();
                bytes.splice(at..at, copy);
            }
            Self::Splice { at, file, from } => {
                let at = place(at);
                let other = &files[usize::from(file) % files.len()];
                bytes.truncate(at);
                bytes.extend(&other[usize::from(from) % (other.len() + 1)..]);
            }
            Self::Cut { at } => {
                let at = place(at);
                bytes.truncate(at);
            }
        }
    }
}

/// What a target was given; shown so that it can be pasted into a test.
#[derive(Clone)]
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

fn files(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = target.corpus();
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), fs::read(&path).expect("a file")))
        .collect();
    files.sort();
    files
}

fn try_out(name: &str) {
    let target = TARGETS.into_iter().find(|target| target.name == name).expect("a target of that name");
    let files = files(&target);
    for (path, bytes) in &files {
        // Shown only if what follows fails.
        println!("{path}");
        (target.run)(bytes);
    }
    let files: Vec<_> = files.into_iter().map(|(_, bytes)| bytes).collect();
    let changed = produce::<Changes>().map_gen(move |Changes { file, changes }| {
        let mut bytes = files[usize::from(file) % files.len()].clone();
        changes.iter().for_each(|change| change.apply(&mut bytes, &files));
        Input(bytes)
    });
    bolero::check!(name = name)
        .with_generator(changed)
        .with_test_time(TIME)
        .for_each(|input: &Input| (target.run)(&input.0));
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            try_out(stringify!($name));
        })*

        /// Every target is tried out here, has a program for long runs, and a corpus with its seeds in it.
        #[test]
        fn no_target_is_left_out() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
            let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
            let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
            for target in TARGETS {
                let program = fuzz.join("fuzz_targets").join(target.name).with_extension("rs");
                let text = fs::read_to_string(&program).expect("a program");
                assert!(text.contains(&format!("\"{}\"", target.name)), "{} runs another", program.display());
                assert!(manifest.contains(&format!("\nname = \"{}\"\n", target.name)), "{}", target.name);
            }
        }
    };
}

targets! {
    datagram signed_body frame echo node configuration duration key state pipe control status world
}

#[test]
fn corpora_are_small_and_hold_what_the_encoders_make() {
    let mut total = 0;
    for target in TARGETS {
        let files = files(&target);
        total += files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        for (name, bytes) in (target.seeds)() {
            let path = target.corpus().join(name);
            let found = fs::read(&path).ok();
            assert!(
                found == Some(bytes),
                "{} is old: cargo run -p vipdrift-fuzz --bin seeds",
                path.display()
            );
        }
    }
    assert!(total < CORPORA, "{total} bytes");
}
