//! Writes the seeds of every target into its corpus, `fuzz/corpus/TARGET`, and leaves other files there alone.

use std::fs;
use std::io;

use vipdrift_fuzz::TARGETS;

fn main() -> io::Result<()> {
    for target in TARGETS {
        let folder = target.corpus();
        fs::create_dir_all(&folder)?;
        for (name, bytes) in (target.seeds)() {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
