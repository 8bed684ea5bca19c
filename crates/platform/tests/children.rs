//! What needs a process of its own: starting children, giving up privileges, forbidding system calls, real-time limits.
//!
//! This program is its own child: `children child ROLE ...` runs the role; anything else runs the tests.

#[cfg(target_os = "linux")]
#[path = "children/mod.rs"]
mod children;
#[cfg(windows)]
#[path = "children/windows.rs"]
mod children;
#[path = "children/harness.rs"]
mod harness;

fn main() {
    children::main();
}
