//! What every test stands on: a simulated clock, seeded ids, test databases, a lab of real hosts on one machine,
//! package repositories made for a test, and bounded waiting.
//!
//! It decides how a test gets its surroundings and that they vanish afterwards. It deliberately knows nothing of
//! what is tested: it uses no crate of this workspace but `identifiers`. The one exception is the simulated fleet (feature
//! `fleet`), whose agents speak to a real server in the same process, and the fleet over sockets (feature `sockets`).
//!
//! # The lab
//! [`Lab`] is a private switch (a network namespace with a bridge, 10.77.0.1/24) to which hosts are plugged. A
//! [`Host`] is a Debian root of its own (overlay over a cached base) with its own mount, pid, uts, ipc, time and
//! network namespaces and its own first process; it really reboots, loses power and loses its link. All of it
//! hangs on processes that die with the test, so that nothing is left behind in the machine's mount table or
//! among its network namespaces.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use testkit::{HostOptions, Lab, wait_until};
//! let Some(lab) = Lab::for_test()? else { return Ok(()) };
//! let host = lab.host("h1", HostOptions::default())?;
//! host.exec(["dpkg", "--audit"])?.expect_success("dpkg --audit")?;
//! host.exec(["systemctl", "reboot"])?;
//! host.wait_boot(2)?;
//! # Ok(())
//! # }
//! ```

mod clock;
#[cfg(feature = "fleet")]
pub mod fleet;
mod lab;
mod machine;
mod postgres;
mod prepare;
mod process;
pub mod reboot_guard;
mod repository;
#[cfg(feature = "sockets")]
pub mod sockets;
mod wait;

pub use clock::SimulatedClock;
pub use identifiers::SeededIds;
pub use lab::{
    BootEnd, BootSpec, Host, HostOptions, HostPackages, Lab, PackageProxy, SWITCH_ADDRESS, ServiceSpec, SwitchProcess,
};
pub use machine::{AptSettings, binary, in_continuous_integration, is_root};
pub use postgres::{TestDatabase, template_database};
pub use prepare::{LabRoots, cache_directory, prepare_base_root, prepare_frozen_layer, prepared_roots};
pub use process::{Finished, run_bounded, run_bounded_with_input};
pub use repository::{BuiltRepository, SmallPackage, SmallRepository};
pub use wait::{wait_for, wait_until};
