//! The switch and its cables, with iproute2.

use std::process::Command;
use std::time::Duration;

use super::{LabInner, SWITCH_ADDRESS};
use crate::process::run_bounded_with_input;

const BOUND: Duration = Duration::from_secs(20);

/// The bridge inside the lab's network namespace.
pub(super) fn make_switch(lab: &LabInner) -> anyhow::Result<()> {
    in_namespace(
        lab.holder,
        &format!("link set lo up\nlink add br0 type bridge\naddr add {SWITCH_ADDRESS}/24 dev br0\nlink set br0 up\n"),
    )
}

/// A cable from the switch to the network namespace of process `host_process`, whose end there is eth0.
pub(super) fn plug(lab: &LabInner, number: u8, address: &str, host_process: u32, cut: bool) -> anyhow::Result<()> {
    // The cable of the boot before vanishes with its namespace, but not at once.
    let _ = in_namespace(lab.holder, &format!("link del v{number}\n"));
    let state = if cut { "down" } else { "up" };
    in_namespace(
        lab.holder,
        &format!(
            "link add v{number} type veth peer name eth0 address 52:54:00:77:00:{number:02x} netns {host_process}\n\
             link set v{number} master br0\nlink set v{number} {state}\n"
        ),
    )?;
    in_namespace(
        host_process,
        &format!(
            "link set lo up\naddr add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {SWITCH_ADDRESS}\n"
        ),
    )
}

/// Takes the switch's end of a cable up or down.
pub(super) fn set_link(lab: &LabInner, number: u8, up: bool) -> anyhow::Result<()> {
    let state = if up { "up" } else { "down" };
    in_namespace(lab.holder, &format!("link set v{number} {state}\n"))
}

fn in_namespace(process: u32, batch: &str) -> anyhow::Result<()> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{process}/ns/net")).args(["ip", "-batch", "-"]);
    run_bounded_with_input(&mut command, batch.as_bytes(), BOUND)?.expect_success("ip -batch")?;
    Ok(())
}
