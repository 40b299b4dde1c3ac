//! The agent of a managed node: small, runs as root, calls the server and does what its signed orders say.
//!
//! It decides whom it believes (the pinned identity key, the job key's signature), which orders it obeys, when a job
//! starts, what it reports and when it calls again. It deliberately does not know how a job is run and kept (see
//! `execution`), how a host is read and patched (see `host`), nor which patches are wanted (see `patching`).
//!
//! The program is `careen-agent`; `careen` links this library for `careen agent` and `careen up`. Supervisors are the
//! same program, started as `PROGRAM supervise JOB_FOLDER`; they outlive the agent in every way it may end.

mod clock;
mod command_line;
mod connection;
mod doctor;
mod error;
mod exchanges;
mod first_inventory;
mod handshake;
mod identity;
mod inventory;
mod jobs;
mod keys;
mod log;
mod options;
mod orders;
mod output;
mod patching_host;
mod pause;
mod policy;
mod reach;
mod reboot;
mod registration;
mod repeats;
mod run;
mod server_address;
mod session;
mod status;
mod tls;
mod transport;
mod trust;
mod work;

pub use command_line::command_line;
pub use error::AgentError;
pub use identity::Identity;
pub use options::{AgentOptions, default_data_directory, own_program};
pub use reach::{Proxy, ProxyError, Reach};
pub use registration::{RegisterOptions, register};
pub use run::{Shutdown, run};
pub use server_address::{ServerAddress, ServerAddressError};
pub use status::{AgentStatus, Connectedness, JobLine, read_status};
