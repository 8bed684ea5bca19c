//! The tables as a picture: for each fault and contender the median outage, and its spread, on a logarithmic scale.

use std::fmt::Write as _;

use crate::fault::Fault;
use crate::figures::Spread;
use crate::many::Series;

/// Pixels.
const WIDTH: f64 = 860.0;
const LABELS: f64 = 210.0;
const NUMBERS: f64 = 150.0;
const BAR: f64 = 18.0;
const TITLE: f64 = 34.0;
/// The ends of the scale, in milliseconds. What is less is drawn as nothing.
const LEAST: f64 = 0.5;
const MOST: f64 = 100_000.0;

/// An SVG that reads on light and dark ground.
pub(crate) fn svg(all: &[Series], faults: &[Fault]) -> String {
    let mut body = String::new();
    let mut y = 8.0;
    for &fault in faults.iter().filter(|fault| **fault != Fault::Idle) {
        let series: Vec<&Series> =
            all.iter().filter(|series| series.fault == fault && !series.runs.is_empty()).collect();
        if series.is_empty() {
            continue;
        }
        y += TITLE;
        let _ = writeln!(
            body,
            "<text class=\"title\" x=\"8\" y=\"{}\">{}</text>",
            y - 12.0,
            fault.name().replace('_', " ")
        );
        for line in series {
            bar(&mut body, y, line);
            y += BAR + 4.0;
        }
    }
    let mut scale = String::new();
    for power in 0..=5 {
        let (at, label) =
            (10f64.powi(power), ["1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"][power as usize]);
        let _ = writeln!(
            scale,
            "<line class=\"scale\" x1=\"{x:.1}\" y1=\"24\" x2=\"{x:.1}\" y2=\"{y:.0}\"/>\
             <text class=\"scale\" x=\"{x:.1}\" y=\"16\" text-anchor=\"middle\">{label}</text>",
            x = place(at),
        );
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\">\n\
         <title>Outage that a client sees, by fault and contender</title>\n<style>\n\
         text {{ font: 12px system-ui, sans-serif; fill: #1f2933 }}\n.title {{ font-weight: 600; font-size: 14px }}\n\
         text.scale {{ fill: #7b8794; font-size: 11px }}\nline.scale {{ stroke: #7b8794; stroke-opacity: .35 }}\n\
         .ours {{ fill: #1f7a5c }}\n.other {{ fill: #9aa5b1 }}\n.two {{ fill: #b42318 }}\n\
         .spread {{ stroke: #1f2933; stroke-opacity: .6 }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e4e7eb }} .spread {{ stroke: #e4e7eb }} .two {{ fill: #f97066 }} }}\n\
         </style>\n{scale}{body}</svg>\n",
        y + 12.0
    )
}

fn place(millis: f64) -> f64 {
    let share = (millis.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LABELS + share * (WIDTH - LABELS - NUMBERS)
}

fn bar(body: &mut String, y: f64, series: &Series) {
    let name = series.contender.name();
    let Some(outage) = Spread::of(series.runs.iter().map(|run| run.outage)) else { return };
    let two = Spread::of(series.runs.iter().filter_map(|run| run.two_holders)).map_or(0.0, |s| s.median);
    let kind = if name.starts_with("vipdrift") { "ours" } else { "other" };
    let (zero, to) = (place(LEAST), place(outage.median));
    let middle = y + BAR / 2.0;
    let _ = writeln!(
        body,
        "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\
         <rect class=\"{kind}\" x=\"{zero:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\"/>\
         <line class=\"spread\" x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\"/>",
        LABELS - 8.0,
        y + 13.0,
        (to - zero).max(1.5),
        place(outage.least),
        place(outage.most),
    );
    let mut said = if outage.median == 0.0 { "nothing lost".to_owned() } else { spell(outage.median) };
    let after = place(outage.most.max(outage.median)) + 8.0;
    // A hitless switchover means to have two for a moment.
    let class = if two >= 100.0 {
        let _ = write!(said, ", two holders {}", spell(two));
        " class=\"two\""
    } else {
        ""
    };
    let _ = writeln!(body, "<text{class} x=\"{after:.1}\" y=\"{:.1}\">{said}</text>", y + 13.0);
}

fn spell(millis: f64) -> String {
    if millis < 100.0 {
        format!("{millis:.1} ms")
    } else if millis < 10_000.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.1} s", millis / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_logarithmic() {
        let steps: Vec<f64> = [1.0, 10.0, 100.0, 1000.0].map(place).windows(2).map(|w| w[1] - w[0]).collect();
        assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-6), "{steps:?}");
        assert_eq!(place(0.0), LABELS);
        assert_eq!([spell(12.34), spell(123.4), spell(42_000.0)], ["12.3 ms", "123 ms", "42.0 s"]);
    }
}
