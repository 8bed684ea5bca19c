//! Pictures of a terminal for the documents, as SVG: sharp at any size, and text.

use std::fmt::Write as _;
use std::path::PathBuf;

use vt100::{Cell, Color, Screen};

/// Units of a column and of a line.
const COLUMN: f64 = 8.4;
const LINE: f64 = 18.0;
const EDGE: f64 = 14.0;
const PAPER: &str = "#0d1117";
const INK: &str = "#d0d7de";
/// The sixteen colours of a terminal.
const COLOURS: [&str; 16] = [
    "#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4", "#6e7681",
    "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff",
];

/// `VIPDRIFT_PICTURES` names the folder for them.
fn folder() -> Option<PathBuf> {
    std::env::var_os("VIPDRIFT_PICTURES").map(PathBuf::from)
}

/// Somebody wants some.
pub(crate) fn are_wanted() -> bool {
    folder().is_some()
}

/// Keeps a picture of the screen, if anybody wants one.
pub(crate) fn keep(screen: &Screen, name: &str) {
    let Some(folder) = folder() else { return };
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.svg")), draw(screen)).unwrap();
}

fn draw(screen: &Screen) -> String {
    let (lines, columns) = screen.size();
    let used = (0..lines.get()).rev().find(|&line| {
        let cells = (0..columns.get()).filter_map(|column| screen.cell(line, column));
        cells.into_iter().any(|cell| !cell.contents().trim().is_empty())
    });
    let lines = used.map_or(1, |last| last + 1);
    let (width, height) =
        (f64::from(columns.get()) * COLUMN + 2.0 * EDGE, f64::from(lines) * LINE + 2.0 * EDGE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>\n"
    );
    for line in 0..lines {
        let mut column = 0;
        while column < columns.get() {
            let Some(first) = screen.cell(line, column) else { break };
            let mut end = column;
            let mut text = String::new();
            while let Some(cell) = screen.cell(line, end).filter(|cell| style(cell) == style(first)) {
                if !cell.is_wide_continuation() {
                    text.push_str(if cell.has_contents() { cell.contents() } else { " " });
                }
                end += 1;
                if end == columns.get() {
                    break;
                }
            }
            run(&mut svg, line, column, end, &text, first);
            column = end;
        }
    }
    svg + "</svg>\n"
}

/// Cells of one style, from a column up to another.
fn run(svg: &mut String, line: u16, column: u16, end: u16, text: &str, cell: &Cell) {
    let style = style(cell);
    let (x, y) = (EDGE + f64::from(column) * COLUMN, EDGE + f64::from(line) * LINE);
    let width = f64::from(end - column) * COLUMN;
    if style.paper != PAPER {
        let paper = &style.paper;
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{LINE}\" fill=\"{paper}\"/>"
        );
    }
    let weight = if style.bold { " font-weight=\"bold\"" } else { "" };
    let faint = if style.dim { " opacity=\"0.65\"" } else { "" };
    let line = if style.underline { " text-decoration=\"underline\"" } else { "" };
    let (y, ink) = (y + 13.5, &style.ink);
    let mut at = 0;
    // Where there is more than one space, whoever draws may make it one: what follows is put where it belongs.
    for part in text.split("  ") {
        let words = part.trim_matches(' ');
        if !words.is_empty() {
            let x = x + COLUMN * (at + usize::from(part.starts_with(' '))) as f64;
            // The font of whoever looks may be wider or narrower: columns stay columns.
            let length = COLUMN * words.chars().count() as f64;
            let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{ink}\"{weight}{faint}{line}>{words}</text>"
            );
        }
        at += part.chars().count() + 2;
    }
}

#[derive(PartialEq, Eq)]
struct Style {
    ink: String,
    paper: String,
    bold: bool,
    dim: bool,
    underline: bool,
}

fn style(cell: &Cell) -> Style {
    let colour = |colour: Color, usual: &str| match colour {
        Color::Default => usual.to_owned(),
        Color::Idx(index) => COLOURS.get(usize::from(index)).copied().unwrap_or(usual).to_owned(),
        Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
    };
    let (mut ink, mut paper) = (colour(cell.fgcolor(), INK), colour(cell.bgcolor(), PAPER));
    if cell.inverse() {
        std::mem::swap(&mut ink, &mut paper);
    }
    Style { ink, paper, bold: cell.bold(), dim: cell.dim(), underline: cell.underline() }
}
