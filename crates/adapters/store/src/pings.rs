use crate::ReadError;
use crate::apply::Failure;
use crate::connection::{Connection, Row};
use crate::statement::insert_rows;
use crate::value::values;
use identifiers::Scope;
use nodes::Ping;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A ping and whose it is.
pub(crate) type PingPut = (Scope, Ping);

/// Keeps each node's newest ping: the greatest epoch wins, then what was said last. Not the latest instant: a clock that is
/// set back would make a node look silent, or alive, until the time comes again.
pub(crate) async fn pings_put_in(connection: &mut Connection<'_>, pings: &[PingPut]) -> Result<(), Failure> {
    let mut newest: BTreeMap<(&Scope, &str), &Ping> = BTreeMap::new();
    for (scope, ping) in pings {
        match newest.entry((scope, ping.node_id.as_str())) {
            Entry::Vacant(place) => {
                place.insert(ping);
            }
            Entry::Occupied(mut place) => {
                let kept = place.get();
                if ping.epoch >= kept.epoch {
                    place.insert(ping);
                }
            }
        }
    }
    let head = "INSERT INTO node_ping (account, region, node_id, last_ping_at, connected, epoch, replica, boot_id, last_boot_at) VALUES";
    let tail = "ON CONFLICT (account, region, node_id) DO UPDATE SET last_ping_at = excluded.last_ping_at,
        connected = excluded.connected, epoch = excluded.epoch, replica = excluded.replica, boot_id = excluded.boot_id,
        last_boot_at = excluded.last_boot_at
        WHERE excluded.epoch >= node_ping.epoch";
    // In the order of the keys, so that two replicas lock rows in the same order.
    let rows = newest.into_iter().map(|((scope, _), ping)| {
        values![
            &scope.account,
            &scope.region,
            &ping.node_id,
            ping.last_ping_at,
            ping.connected,
            ping.epoch,
            &ping.replica,
            &ping.boot_id,
            ping.last_boot_at,
        ]
    });
    insert_rows(connection, head, rows.collect(), tail).await?;
    Ok(())
}

/// The ping in the columns `ping_*`, if there is one.
pub(crate) fn ping_of(row: &Row) -> Result<Option<Ping>, ReadError> {
    let Some(epoch) = row.int_or_null("ping_epoch")? else { return Ok(None) };
    Ok(Some(Ping {
        node_id: row.id("node_id")?,
        last_ping_at: row.at("ping_last_ping_at")?,
        connected: row.int("ping_connected")? != 0,
        epoch,
        replica: row.text("ping_replica")?,
        boot_id: row.text("ping_boot_id")?,
        last_boot_at: row.at_or_null("ping_last_boot_at")?,
    }))
}
