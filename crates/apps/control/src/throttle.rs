//! How much each caller may ask of this process: a bucket for each user, and for each source address one for requests that
//! nobody signed rightly. It decides nothing of its own: what a bucket holds is `access`'s to say.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use access::{Bucket, Principal, Rate};
use identifiers::{AccountId, NodeId, Timestamp, UserName};

use crate::{Server, people::network};

/// How many tokens a second each user gets, unless the server is started otherwise.
const TOKENS_PER_SECOND_DEFAULT: u32 = 1000;

/// How many seconds' worth of tokens may be saved up.
const BURST_SECONDS: u32 = 10;

/// What a request costs that changes nothing.
const READ_TOKENS: u32 = 1;

/// What a request costs that changes something: it waits for the disk, and what it starts is work too.
const CHANGE_TOKENS: u32 = 5;

/// How many requests of one address may fail to be authenticated: a burst, then so many a second.
const STRANGERS: Rate = Rate { per_second: 5, burst: 200 };

/// How many records a node may add to the audit log by its word alone: twenty at once, then one a minute.
const NODE_RECORDS: Rate = Rate { per_second: 1, burst: 20 * NODE_RECORD_TOKENS };

/// What one of these records costs of [`NODE_RECORDS`].
const NODE_RECORD_TOKENS: u32 = 60;

/// How many callers have a bucket of their own; whoever comes beyond shares one with all such.
const CALLERS_MAX: usize = 10_000;

/// Buckets by their owners.
struct Buckets<K> {
    own: HashMap<K, Bucket>,
    shared: Option<Bucket>,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self { own: HashMap::new(), shared: None }
    }
}

impl<K: Eq + Hash> Buckets<K> {
    fn of(&mut self, key: K, rate: Rate, now: Timestamp) -> &mut Bucket {
        if !self.own.contains_key(&key) && self.own.len() >= CALLERS_MAX {
            // A full bucket says nothing that a new one would not.
            self.own.retain(|_, bucket| !bucket.is_full(rate, now));
            if self.own.len() >= CALLERS_MAX {
                return self.shared.get_or_insert_with(|| Bucket::full(rate, now));
            }
        }
        self.own.entry(key).or_insert_with(|| Bucket::full(rate, now))
    }
}

/// What every caller has left.
pub struct Throttle {
    tokens_per_second: AtomicU32,
    users: Mutex<Buckets<(AccountId, UserName)>>,
    addresses: Mutex<Buckets<String>>,
    nodes: Mutex<Buckets<NodeId>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            tokens_per_second: AtomicU32::new(TOKENS_PER_SECOND_DEFAULT),
            users: Mutex::default(),
            addresses: Mutex::default(),
            nodes: Mutex::default(),
        }
    }
}

impl Throttle {
    /// Sets how many tokens a second each user gets; 0: there is no limit.
    pub fn limit(&self, tokens_per_second: u32) {
        self.tokens_per_second.store(tokens_per_second, Ordering::Relaxed);
    }

    fn admit_user(&self, account: &AccountId, user: &UserName, tokens: u32, now: Timestamp) -> bool {
        let per_second = self.tokens_per_second.load(Ordering::Relaxed);
        if per_second == 0 {
            return true;
        }
        let rate = Rate { per_second, burst: per_second.saturating_mul(BURST_SECONDS) };
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.of((account.clone(), user.clone()), rate, now).take(rate, tokens, now)
    }

    /// Whether one more record of this node's word is written down: a node that lies must not fill the audit log.
    pub(crate) fn node_record(&self, node: &NodeId, now: Timestamp) -> bool {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.of(node.clone(), NODE_RECORDS, now).take(NODE_RECORDS, NODE_RECORD_TOKENS, now)
    }

    /// Whether a stranger's failure could still be paid for; `failed` pays.
    fn stranger(&self, address: &str, failed: bool, now: Timestamp) -> bool {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = addresses.of(network(address), STRANGERS, now);
        let mut after = *bucket;
        let enough = after.take(STRANGERS, 1, now);
        if failed {
            *bucket = after;
        }
        enough
    }
}

impl Server {
    /// Whether the caller has enough left for an operation of this name, which is paid then. Nodes and the server itself have
    /// no such limit.
    #[must_use]
    pub fn admit(&self, principal: &Principal, operation: &'static str) -> bool {
        let Some((account, user)) = principal.user() else { return true };
        let tokens = if access::is_reading(operation) { READ_TOKENS } else { CHANGE_TOKENS };
        let admitted = self.throttle.admit_user(account, user, tokens, self.now());
        if !admitted {
            self.metrics.request(operation, "ThrottlingException", std::time::Duration::ZERO);
        }
        admitted
    }

    /// Whether a request from this address is looked at at all: too many before it had no right signature.
    #[must_use]
    pub fn admit_stranger(&self, address: &str) -> bool {
        let admitted = self.throttle.stranger(address, false, self.now());
        if !admitted {
            self.metrics.throttled_stranger();
        }
        admitted
    }

    /// A request from this address had no right signature.
    pub fn stranger_failed(&self, address: &str) {
        self.throttle.stranger(address, true, self.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_callers_take_bounded_memory_and_nobody_gets_a_fresh_bucket_by_it() {
        let (throttle, now) = (Throttle::default(), Timestamp::from_seconds(1_000_000));
        let address = |n: usize| format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
        for n in 0..2 * CALLERS_MAX {
            throttle.stranger(&address(n), true, now);
        }
        let held = |throttle: &Throttle| throttle.addresses.lock().unwrap().own.len();
        assert_eq!(held(&throttle), CALLERS_MAX);
        assert!((0..1000).all(|_| throttle.stranger(&address(1), false, now)), "looking costs nothing");
        let refused = (0..300).filter(|_| !throttle.stranger(&address(1), true, now)).count();
        assert_eq!(refused, 300 - 199);
        // The buckets of those who are long gone make room.
        throttle.stranger("192.0.2.1", true, now.plus_seconds(60));
        assert_eq!(held(&throttle), 1);
    }

    #[test]
    fn a_node_writes_little_into_the_audit_log() {
        let (throttle, now) = (Throttle::default(), Timestamp::from_seconds(1_000_000));
        let node = NodeId::parse("mi-0123456789abcdef0").unwrap();
        assert_eq!((0..1000).filter(|_| throttle.node_record(&node, now)).count(), 20);
        assert_eq!((0..1000).filter(|_| throttle.node_record(&node, now.plus_seconds(120))).count(), 2);
    }

    #[test]
    fn a_user_has_a_burst_and_then_a_rate_and_without_a_limit_all() {
        let (throttle, now) = (Throttle::default(), Timestamp::from_seconds(1_000_000));
        let account = AccountId::parse("000000000000").unwrap();
        let user = |name: &str| UserName::parse(name).unwrap();
        throttle.limit(2);
        let admitted = |name: &str, tokens| throttle.admit_user(&account, &user(name), tokens, now);
        assert_eq!((0..100).filter(|_| admitted("ana", CHANGE_TOKENS)).count(), 4);
        assert_eq!((0..100).filter(|_| admitted("bob", READ_TOKENS)).count(), 20);
        assert!(throttle.admit_user(&account, &user("ana"), READ_TOKENS, now.plus_seconds(1)));
        throttle.limit(0);
        assert!((0..100_000).all(|_| admitted("ana", CHANGE_TOKENS)));
    }
}
