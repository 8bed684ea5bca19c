//! What needs a process of its own: starting children, giving up privileges, forbidding system calls, real-time limits.
//!
//! This program is its own child: `children child ROLE ...` runs the role; anything else runs the tests.
#![cfg_attr(not(target_os = "linux"), allow(unused))]

#[cfg(target_os = "linux")]
#[path = "children/mod.rs"]
mod children;

fn main() {
    #[cfg(target_os = "linux")]
    children::main();
}
