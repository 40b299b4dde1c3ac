//! The binary `careen`: starts the processes and talks to the person at the terminal.
//!
//! It decides how the parts are put together and what is printed. It deliberately does not know any rule of patching,
//! commands or access; those are the core's.

mod admin;
mod audit;
mod aws_model;
mod backup;
mod certificates;
mod configuration;
mod credentials;
mod doctor;
mod keys;
mod logs;
mod people;
mod retention;
mod serve;
mod server_log;
mod terminal;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "careen", version, about = "Inspects and mends fleets of Linux hosts", max_term_width = 110)]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start everything on this machine: server, agent, a first scan. Ctrl-C ends it.
    Up(up::UpOptions),
    /// Start the server alone.
    Server(configuration::ServerOptions),
    /// Check every prerequisite of a server and say what to do; works while it is down. Exit code 0, 1 or 2.
    Doctor(Box<doctor::DoctorOptions>),
    /// Look after a running server on this machine.
    Admin {
        #[command(subcommand)]
        task: admin::AdminTask,
    },
    /// Print the audit records of a running server, one JSON object a line, oldest first; export or verify them.
    Audit(Box<audit::AuditOptions>),
    /// Print what a command's nodes have written; with --follow as it comes.
    Logs(logs::LogsOptions),
    /// The agent: `careen agent register|run|status`, as `careen-agent` has them.
    #[command(disable_help_flag = true)]
    Agent {
        /// What the agent is to do.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let result = match line.task {
        // How it is, is its exit code.
        Task::Doctor(options) => match serve::runtime().and_then(|runtime| runtime.block_on(doctor::run(*options))) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        // The agent has its own runtime and its own exit codes.
        Task::Agent { arguments } => return agent::command_line(&agent::own_program(&["agent"]), arguments),
        Task::Up(options) => serve::runtime().and_then(|runtime| runtime.block_on(up::run(options))),
        Task::Server(options) => serve::runtime().and_then(|runtime| runtime.block_on(serve::run(options))),
        Task::Admin { task } => serve::runtime().and_then(|runtime| runtime.block_on(admin::run(task))),
        Task::Logs(options) => serve::runtime().and_then(|runtime| runtime.block_on(logs::run(options))),
        Task::Audit(options) => serve::runtime().and_then(|runtime| runtime.block_on(audit::run(*options))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(&format!("careen: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
