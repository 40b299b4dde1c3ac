//! The agent as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::command_line(&agent::own_program(&[]), std::env::args_os().skip(1))
}
