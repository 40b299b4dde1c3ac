//! The first inventory of a node: read before any scan, so that the server knows its packages at once.

use crate::work::Work;
use packages::Inventory;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A process that reads the host's packages.
#[derive(Debug, Default)]
pub(crate) enum FirstInventory {
    /// Not tried by this agent.
    #[default]
    Untried,
    /// Being read.
    Reading(Child),
    /// Read, or found impossible: the next scan brings one.
    Tried,
}

impl Work {
    fn first_inventory_path(&self) -> PathBuf {
        self.identity.node_directory(&self.options.data_directory).join("first-inventory.json")
    }

    /// Starts reading, unless an inventory is known or it was tried before.
    pub(crate) fn read_first_inventory(&mut self) {
        if self.inventory.is_known() || !matches!(self.first_inventory, FirstInventory::Untried) {
            return;
        }
        self.first_inventory = FirstInventory::Tried;
        let Some((program, arguments)) = self.options.program.split_first() else { return };
        let mut command = Command::new(program);
        command.args(arguments).arg("inventory").arg("--data").arg(&self.options.data_directory);
        command.arg(self.first_inventory_path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => {
                self.first_inventory = FirstInventory::Reading(child);
                self.stirred.notify_one();
            }
            Err(e) => self.trouble(format_args!("the host's packages cannot be read: {e}")),
        }
    }

    /// Tells what was read; says whether it is still being read.
    pub(crate) fn take_first_inventory(&mut self) -> bool {
        let FirstInventory::Reading(child) = &mut self.first_inventory else { return false };
        let Ok(Some(status)) = child.try_wait() else { return true };
        self.first_inventory = FirstInventory::Tried;
        let path = self.first_inventory_path();
        let read = execution::durable::read_json::<Inventory>(&path, 64 << 20);
        let _ = std::fs::remove_file(&path);
        match read {
            // A scan that ended meanwhile has told a later one.
            Ok(Some(_)) if self.inventory.is_known() => {}
            Ok(Some(inventory)) if status.success() => {
                let told = self.inventory.note(&mut self.spool, inventory, None, execution::now());
                self.spooled.notify_one();
                if let Err(e) = told {
                    self.trouble(e);
                }
            }
            _ => self.log.line("the host's packages could not be read yet; the first scan will"),
        }
        false
    }
}
