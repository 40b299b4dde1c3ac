//! The shell around the core. Every operation and reconciler reads the same way: load a snapshot, call a pure decision,
//! apply the `Changes` it returns, signal.
//!
//! It decides nothing of its own. It deliberately does not know how requests arrive (`api`, `console`), how anything is
//! stored (`store`), or any rule (the core).

pub mod agents;
mod audit_log;
mod call;
mod clock;
mod commit;
mod context;
mod ends;
mod error;
mod idempotency;
mod key_rotation;
mod keys;
pub mod live_output;
mod metrics;
pub mod operations;
mod pages;
mod people;
mod pings;
mod presence;
pub mod readiness;
pub mod reconcilers;
mod restored;
mod secrets;
mod server;
mod server_names;
pub mod server_view;
mod sessions;
pub mod settings;
mod setup;
mod snapshot;
mod tags;
mod throttle;
pub mod views;

pub use audit_log::{AuditLines, AuditSearch, ExportForm, shown_verification};
pub use call::{Operate, perform, wire_error};
pub use clock::{Clock, SystemClock};
pub use context::Context;
pub use error::Error;
pub use key_rotation::ShownKey;
pub use keys::{KeyRing, KeySet, Keys};
pub use metrics::{Metrics, Process};
pub use people::{OpenSession, Passwords, Session, SignIn, UsableKey, UserView, Visit, network};
pub use restored::{Restored, finish_restore, unopened_secrets};
pub use secrets::same_secret;
pub use server::Server;
pub use server_names::{ServerNames, is_loopback_host};
pub use settings::Settings;
pub use setup::{FirstKey, SetupError, set_up};
pub use snapshot::Member;
pub use throttle::Throttle;
