//! `vipdrift-sim`: runs scenarios, repeats one, shrinks one. Called by `cargo xtask sim` and `cargo xtask repro`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
