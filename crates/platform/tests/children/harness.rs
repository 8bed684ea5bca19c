//! A test runner in a program that is also its own child.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A test by its name.
pub(crate) type Test = (&'static str, fn());

/// A small test runner with the words of the usual one, as far as cargo test and nextest use them.
pub(crate) fn main(tests: &[Test], role: fn(&str, &[String])) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "child") {
        role(&arguments[1], &arguments[2..]);
        return;
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| {
        filter
            .is_none_or(|filter| if has("--exact") { name == filter } else { name.contains(filter.as_str()) })
    };
    let chosen: Vec<&Test> =
        if has("--ignored") { Vec::new() } else { tests.iter().filter(|test| wanted(test.0)).collect() };
    if has("--list") {
        chosen.iter().for_each(|test| println!("{}: test", test.0));
        return;
    }
    println!("\nrunning {} tests", chosen.len());
    let mut failed = 0;
    for (name, test) in &chosen {
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    let (passed, skipped) = (chosen.len() - failed, tests.len() - chosen.len());
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {skipped} filtered out\n"
    );
    let _ = std::io::stdout().flush();
    std::process::exit(i32::from(failed > 0));
}
