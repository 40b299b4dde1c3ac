//! The database is put back to an older backup while its agents go on.

use std::collections::BTreeSet;

use store::{ArchiveReader, CommandQuery, Restoring, StoreUrl};
use tokio::sync::mpsc;

use super::{SimulatedFleet, home};

/// More commands than any history has.
const COMMANDS_MAX: u32 = 1_000_000;

impl SimulatedFleet {
    /// Keeps a backup, as `careen admin backup` makes it; it takes the place of an older one. Without effect on PostgreSQL.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn back_up(&mut self) -> anyhow::Result<()> {
        if self.ground.is_postgres() {
            return Ok(());
        }
        let mut source = self.ground.store.backup_source().await?;
        let (give, mut pieces) = mpsc::channel(4);
        let at = self.clock.now();
        let reading = async move { source.back_up("0.1.0", at, &give).await };
        let keeping = async move {
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.recv().await {
                bytes.extend(piece);
            }
            bytes
        };
        let (read, bytes) = tokio::join!(reading, keeping);
        read?;
        self.backup = Some(bytes);
        self.note("a backup is made");
        Ok(())
    }

    /// All servers end, the last backup is restored as `careen admin restore --replace` does it, and they start again.
    /// What was done since is forgotten; what was unfinished then is Cancelled. Without a backup nothing happens.
    ///
    /// # Errors
    /// When the backup cannot be restored.
    pub async fn restore(&mut self) -> anyhow::Result<()> {
        let Some(bytes) = self.backup.clone() else { return Ok(()) };
        self.note("everything ends, and the backup is restored");
        for link in self.links.values_mut() {
            link.session = None;
            link.to_server.clear();
        }
        self.ground.store.close().await;
        let url = StoreUrl::Sqlite(self.ground.file());
        let restoring = Restoring::begin(&url, ArchiveReader::open(bytes.as_slice())?, true).await?;
        control::finish_restore(restoring.store(), &home()?, "the backup", self.clock.now()).await?;
        restoring.finish().await?;
        self.ground.reopen().await?;
        self.disk_full_until = None;
        let rows = self.ground.store.command_list(&home()?, &CommandQuery::all(COMMANDS_MAX)).await?;
        let known: BTreeSet<_> = rows.into_iter().map(|versioned| versioned.row.command_id).collect();
        self.world.forgotten.extend(self.commands.iter().filter(|command| !known.contains(command)).cloned());
        self.world.cut_short.extend(known);
        self.world.was_restored = true;
        self.start_all_again().await
    }
}
