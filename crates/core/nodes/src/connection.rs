//! Who connects as a node: whether its connection can be reached, and whether two hosts hold one key.

use crate::write::node_aggregate;
use crate::{Hold, ManagedNode, Ping, PingStatus, Refused, Replicas, Write, ping_status};
use changes::{Changes, Event, Versioned};
use identifiers::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How many claims are remembered of each node.
const CLAIMS_MAX: usize = 8;

/// How close together two hosts must have returned to count as alternating, in seconds. Agents call again within a minute.
const ALTERNATION_SECONDS: i64 = 15 * 60;

/// Characters of an instance or address that are remembered.
const CLAIM_CHARS_MAX: usize = 64;

/// Whether work may be given to the node of this connection, by whichever replica holds it: it is open, its node answers,
/// and its replica is not known to be gone.
#[must_use]
pub fn is_reachable(ping: &Ping, replicas: &Replicas, now: Timestamp, heartbeat_seconds: u32) -> bool {
    ping.connected
        && ping_status(Some(ping), now, heartbeat_seconds) == PingStatus::Online
        && !replicas.is_gone(&ping.replica)
}

/// Someone has connected with the node's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What tells one running agent from another: random, made anew when the agent starts. Of agents that do not say it,
    /// the boot of their host.
    pub instance: String,
    /// Where it called from.
    pub address: String,
    /// When, by the clock of the replica it called.
    pub at: Timestamp,
}

impl Claim {
    /// A claim; texts are the node's own and cut to what is remembered.
    #[must_use]
    pub fn new(instance: &str, address: &str, at: Timestamp) -> Self {
        let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(CLAIM_CHARS_MAX).collect();
        Self { instance: cut(instance), address: cut(address), at }
    }
}

/// The claims remembered of a node, oldest first, with a new one added. An instance that calls again and again is one
/// claim.
#[must_use]
pub fn remember_claim(claims: &[Claim], new: Claim) -> Vec<Claim> {
    let mut claims = claims.to_vec();
    match claims.last_mut() {
        Some(last) if last.instance == new.instance => *last = new,
        _ => claims.push(new),
    }
    let excess = claims.len().saturating_sub(CLAIMS_MAX);
    claims.split_off(excess)
}

/// Whether two hosts hold the node's key, and then why that is certain, as a sentence.
///
/// An agent has one connection at a time, and each claim is signed over a nonce that the server made after the claim before
/// it was written. So an instance that claims *after another has taken its place* was alive all the while. Rebooting,
/// starting the agent anew, another address or another replica never bring an instance back. Going back to a snapshot of a
/// virtual machine's memory can, but brings back the same one each time; two hosts bring back each the other. Hence: two
/// different instances must have returned within a quarter of an hour.
#[must_use]
pub fn find_clone(claims: &[Claim]) -> Option<String> {
    let since = claims.last()?.at.plus_seconds(-ALTERNATION_SECONDS);
    let mut seen = BTreeSet::new();
    let mut returned: Vec<&Claim> = Vec::new();
    for claim in claims {
        let is_back = !seen.insert(claim.instance.as_str());
        // Empty: an agent that says neither instance nor boot proves nothing.
        if is_back && claim.at >= since && !claim.instance.is_empty() {
            returned.retain(|other| other.instance != claim.instance);
            returned.push(claim);
        }
    }
    let [.., one, other] = returned.as_slice() else { return None };
    Some(format!(
        "Two hosts connect with this node's key in turn, lately from {} and {}. Register one of them anew, then release the node.",
        one.address, other.address
    ))
}

/// Holds a node: nobody may connect as it until somebody has looked. Nothing changes where it is held already.
#[must_use]
pub fn hold_node(node: &Versioned<ManagedNode>, reason: &str, now: Timestamp) -> Changes<Write> {
    if node.row.held.is_some() {
        return Changes::new();
    }
    let held = Some(Hold { at: now, reason: reason.to_owned() });
    let mut changes = changed(node, ManagedNode { held, ..node.row.clone() }, "node.held", reason, now);
    changes.writes.push(Write::ConnectionEnd(node.row.node_id.clone()));
    changes
}

/// Lets a held node connect again.
///
/// # Errors
/// [`Refused::Validation`] where it is not held.
pub fn release_node(node: &Versioned<ManagedNode>, now: Timestamp) -> Result<Changes<Write>, Refused> {
    let Some(hold) = &node.row.held else {
        return Err(Refused::Validation(format!("{} is not held.", node.row.node_id)));
    };
    Ok(changed(node, ManagedNode { held: None, ..node.row.clone() }, "node.released", &hold.reason, now))
}

fn changed(
    before: &Versioned<ManagedNode>,
    after: ManagedNode,
    event: &str,
    reason: &str,
    now: Timestamp,
) -> Changes<Write> {
    let mut changes = Changes::new();
    changes.update(node_aggregate(&after.node_id), before.revision);
    changes.events.push(Event {
        at: now,
        kind: event.to_owned(),
        subject: after.node_id.to_string(),
        body: serde_json::json!({ "reason": reason }),
    });
    changes.writes.push(Write::NodePut(Box::new(after)));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed_node::tests::node;
    use changes::Revision;
    use proptest::prelude::*;

    fn claim(instance: &str, second: i64) -> Claim {
        Claim::new(instance, &format!("192.0.2.{}", instance.len()), Timestamp::from_seconds(second))
    }

    fn after(story: impl IntoIterator<Item = Claim>) -> Option<String> {
        let mut claims = Vec::new();
        for claim in story {
            claims = remember_claim(&claims, claim);
            let found = find_clone(&claims);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    #[test]
    fn two_hosts_that_take_turns_are_noticed_at_the_second_return() {
        let story = [claim("a", 1), claim("bb", 5), claim("a", 9), claim("a", 10), claim("bb", 60)];
        assert_eq!(after(story[..4].to_vec()), None, "one return may be a machine that went back to a snapshot");
        let found = after(story).unwrap();
        assert!(found.contains("192.0.2.1 and 192.0.2.2"), "{found}");
    }

    #[test]
    fn a_machine_that_goes_back_to_a_snapshot_again_and_again_is_one_host() {
        let story = (0..20).flat_map(|n| [claim("snapshot", n * 10), claim(&format!("boot-{n}"), n * 10 + 5)]);
        assert_eq!(after(story), None);
    }

    #[test]
    fn returns_that_lie_far_apart_are_no_alternation() {
        let story = [claim("a", 1), claim("bb", 2), claim("a", 3), claim("bb", 3 + ALTERNATION_SECONDS + 1)];
        assert_eq!(after(story), None);
    }

    #[test]
    fn agents_that_do_not_say_who_they_are_prove_nothing() {
        let story = (0..10).flat_map(|n| [claim("", n * 2), claim("a", n * 2 + 1)]);
        assert_eq!(after(story), None);
    }

    proptest! {
        /// Whatever a single host does - its agent starts anew, it reboots, its address changes, it calls again at any pace
        /// and over any replica whose clock is off - its instances follow each other and never come back.
        #[test]
        fn one_host_is_never_taken_for_two(
            steps in proptest::collection::vec((any::<bool>(), 0_i64..100_000, -600_i64..600, 0_u8..4), 0..200),
        ) {
            let (mut instance, mut now) = (0, 0);
            let mut story = Vec::new();
            for (starts_anew, pause, clock_off, address) in steps {
                instance += i32::from(starts_anew);
                now += pause;
                let at = Timestamp::from_seconds(now + clock_off);
                story.push(Claim::new(&format!("i{instance}"), &format!("198.51.100.{address}"), at));
            }
            prop_assert_eq!(after(story), None);
        }

        /// Two hosts that both go on calling are noticed, however often each calls in a row and starts anew in between, if
        /// only each comes back once as it was.
        #[test]
        fn two_hosts_are_noticed(
            before in proptest::collection::vec(0_u8..3, 0..6),
            runs in proptest::collection::vec(1_usize..4, 4),
        ) {
            let mut story: Vec<Claim> = before.iter().enumerate().map(|(n, _)| claim(&format!("old-{n}"), 0)).collect();
            let mut second = 0;
            for (turn, run) in runs.iter().enumerate() {
                for _ in 0..*run {
                    second += 20;
                    story.push(claim(if turn % 2 == 0 { "x" } else { "yy" }, second));
                }
            }
            prop_assert!(after(story).is_some());
        }

        #[test]
        fn what_a_node_says_is_bounded(claims in proptest::collection::vec((".{0,100}", ".{0,100}"), 0..40)) {
            let mut remembered = Vec::new();
            for (instance, address) in &claims {
                remembered = remember_claim(&remembered, Claim::new(instance, address, Timestamp::EPOCH));
                let _ = find_clone(&remembered);
            }
            prop_assert!(remembered.len() <= CLAIMS_MAX);
            prop_assert!(remembered.iter().all(|claim| claim.instance.chars().count() <= CLAIM_CHARS_MAX));
        }
    }

    #[test]
    fn a_node_is_held_once_and_released_once() {
        let now = Timestamp::from_seconds(9);
        let free = Versioned::new(Revision(3), node());
        let changes = hold_node(&free, "Two hosts.", now);
        let Write::NodePut(held) = &changes.writes[0] else { panic!("{:?}", changes.writes) };
        assert_eq!(held.held, Some(Hold { at: now, reason: "Two hosts.".to_owned() }));
        assert_eq!(changes.writes[1], Write::ConnectionEnd(node().node_id), "its connections end on every replica");
        let held = Versioned::new(Revision(4), (**held).clone());
        assert!(hold_node(&held, "Again.", now).is_empty());
        let released = release_node(&held, now).unwrap();
        assert!(matches!(&released.writes[0], Write::NodePut(row) if row.held.is_none()));
        assert_eq!(release_node(&free, now).unwrap_err().code(), "ValidationException");
    }
}
