//! What shells and `man` are told, from the same source as `--help`.

use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, DONE, NOT_DONE, fail};
use crate::config::plain;

pub(super) fn completions(shell: Shell) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "vipdrift", &mut script);
    print(&script)
}

pub(super) fn man(folder: Option<&Path>) -> u8 {
    match folder {
        None => page(Cli::command()).map_or_else(|error| fail(NOT_DONE, &plain(&error)), |page| print(&page)),
        Some(folder) => match write_all(folder) {
            Ok(count) => {
                println!("{count} pages in {}", folder.display());
                DONE
            }
            Err(error) => fail(NOT_DONE, &format!("{}: {}", folder.display(), plain(&error))),
        },
    }
}

/// Writes the pages and answers how many there are.
fn write_all(folder: &Path) -> io::Result<usize> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)?;
    let shown = |command: &&clap::Command| !command.is_hide_set();
    Ok(1 + Cli::command().get_subcommands().filter(shown).count())
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}

/// A reader that has seen enough is no failure.
fn print(bytes: &[u8]) -> u8 {
    match io::stdout().write_all(bytes) {
        Ok(()) => DONE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => DONE,
        Err(error) => fail(NOT_DONE, &plain(&error)),
    }
}
