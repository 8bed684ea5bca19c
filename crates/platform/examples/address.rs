//! What the platform does with addresses, by hand: for trying it under wine or on a Windows machine.

#[cfg(windows)]
#[path = "address/windows.rs"]
mod windows;

#[cfg(windows)]
fn main() -> std::process::ExitCode {
    windows::main()
}

#[cfg(not(windows))]
fn main() {
    eprintln!("for Windows only");
}
