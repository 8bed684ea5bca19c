//! What shells and `man` are told, from the same source as `--help`.

use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Cli, DONE, NOT_DONE, fail};
use crate::config::plain;
use crate::config::reference::TABLES;

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
    std::fs::write(folder.join("vipdrift.toml.5"), configuration().render())?;
    let shown = |command: &&clap::Command| !command.is_hide_set();
    Ok(2 + Cli::command().get_subcommands().filter(shown).count())
}

/// The page about the configuration file (man-pages(7)).
fn configuration() -> Roff {
    let mut page = Roff::new();
    page.control("TH", ["vipdrift.toml", "5", "", concat!("vipdrift ", env!("CARGO_PKG_VERSION"))]);
    page.control("SH", ["NAME"]);
    page.text([roman("vipdrift.toml - configuration of vipdrift(1)")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(format!(
        "A TOML file, {} unless --config says otherwise, the same on every node. Unknown keys, impossible values and contradictions are \
         errors. Durations are text with a unit, such as \"500ms\". vipdrift check looks at it without changing anything, and \
         vipdrift reload puts it in force, all of it or nothing.",
        crate::place::CONFIG
    ))]);
    for table in &TABLES {
        page.control("SH", [table.title]);
        page.text([roman(table.about)]);
        for key in table.keys {
            page.control("TP", []);
            page.text([bold(key.names.join(", "))]);
            let plain = |text: &str| text.replace('`', "");
            page.text([roman(format!("{} [{}]", plain(key.meaning), plain(&key.default.words())))]);
        }
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("vipdrift"), roman("(1)")]);
    page
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
