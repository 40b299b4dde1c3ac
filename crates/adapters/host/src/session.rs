//! The one place with unsafe code: a child in a session of its own.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the child the leader of its own session and process group, so that it outlives us, our terminal and whoever kills
/// our process group.
#[allow(unsafe_code)]
pub(crate) fn own_session(command: &mut Command) {
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe functions may be called.
    // It makes the one system call setsid(2), which is on the list of signal-safety(7); it neither allocates nor locks:
    // an error becomes an `io::Error` from its number alone.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(std::io::Error::from));
    }
}
