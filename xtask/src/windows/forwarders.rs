//! The list of what a DLL exports that stands before wine's own: its own functions, and all others of wine's, passed on
//! to that one under another name.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::toolchain;

/// A definition file for the linker. `source` is a folder of Rust text, `real` is wine's DLL, which the stand-in expects
/// as `w` + `name`.
pub(crate) fn exports(name: &str, source: &Path, real: &Path) -> Result<String, String> {
    let mut own = Vec::new();
    let failed = |error| format!("{}: {error}", source.display());
    for entry in fs::read_dir(source).map_err(failed)? {
        own.extend(functions(&fs::read_to_string(entry.map_err(failed)?.path()).map_err(failed)?));
    }
    own.sort();
    let output = toolchain::environment(&mut Command::new("x86_64-w64-mingw32-objdump"))
        .arg("-p")
        .arg(real)
        .output()
        .map_err(|error| format!("objdump does not start: {error}"))?;
    let of_wine = exported(&String::from_utf8_lossy(&output.stdout));
    if own.is_empty() || of_wine.is_empty() {
        return Err(format!("{name}: {} own functions, and {} of wine's", own.len(), of_wine.len()));
    }
    Ok(definition(name, &own, &of_wine))
}

fn definition(name: &str, own: &[String], of_wine: &[String]) -> String {
    let mut text = format!("LIBRARY {name}.dll\nEXPORTS\n");
    for function in own {
        text.push_str(&format!("    {function}\n"));
    }
    for function in of_wine.iter().filter(|function| !own.contains(function)) {
        text.push_str(&format!("    {function} = w{name}.{function}\n"));
    }
    text
}

/// The functions that a Rust file offers to Windows programs.
fn functions(text: &str) -> Vec<String> {
    let rest = text.lines().filter_map(|line| line.strip_prefix("pub unsafe extern \"system\" fn "));
    rest.filter_map(|rest| rest.split('(').next()).map(str::to_owned).collect()
}

/// The names in objdump's list of exports: the last word of each line that begins with a number in brackets.
fn exported(listed: &str) -> Vec<String> {
    let lines = listed.lines().skip_while(|line| !line.starts_with("[Ordinal/Name Pointer] Table")).skip(1);
    lines
        .take_while(|line| line.trim_start().starts_with('['))
        .filter_map(|line| line.split_whitespace().last())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_functions_come_first() {
        let rust =
            "#[unsafe(no_mangle)]\npub unsafe extern \"system\" fn One(row: u32) -> u32 {\n}\nfn two() {}\n";
        let listed = "\nExport Address Table\n\t[   0] +base[   1] 8b40 Export RVA\n\n\
                      [Ordinal/Name Pointer] Table\n\t[   0] One\n\t[   1] +base[   2]  0001 Three\n\nThe Function Table\n[ 1] x\n";
        assert_eq!(functions(rust), ["One"]);
        assert_eq!(exported(listed), ["One", "Three"]);
        assert_eq!(
            definition("some", &functions(rust), &exported(listed)),
            "LIBRARY some.dll\nEXPORTS\n    One\n    Three = wsome.Three\n"
        );
    }
}
