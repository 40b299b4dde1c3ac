//! How the server's own keys are exchanged while nodes believe them: announced, taken into use, and only then retired.
//!
//! At each moment nodes believe every key that has a place. The key in use changes only to one that was announced before,
//! and the one that was in use stays valid until it is retired, so that nodes that were away in between find back.

use std::fmt;

/// What has to be exchanged from time to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerKeyKind {
    /// Who the server is to its nodes.
    Identity,
    /// What orders are signed with.
    Job,
    /// The authority that signs the certificates of the server's listeners.
    Authority,
}

impl ServerKeyKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Identity, Self::Job, Self::Authority];

    /// The name it is stored under and asked for by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Job => "job",
            Self::Authority => "ca",
        }
    }

    /// From its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether nodes keep it, so that they must have heard of another one before it counts.
    #[must_use]
    pub fn is_kept_by_nodes(self) -> bool {
        self != Self::Authority
    }
}

impl fmt::Display for ServerKeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an administrator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStep {
    /// Make the key that follows, and tell the nodes of it.
    Announce,
    /// Take the announced key into use; the one in use so far stays valid.
    Switch,
    /// End the validity of the key that was in use before.
    Retire,
    /// Take an announced key back.
    Withdraw,
}

impl KeyStep {
    /// The word it is asked for by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Switch => "switch",
            Self::Retire => "retire",
            Self::Withdraw => "withdraw",
        }
    }
}

/// Which places of a kind are taken besides the one in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyPlaces {
    /// There is one that follows.
    pub next: bool,
    /// There is one that was in use before.
    pub previous: bool,
}

/// Why a step is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyStepRefused {
    /// One is announced already.
    #[error("the next {0} key is announced already; take it into use with 'switch', or back with 'withdraw'")]
    Announced(ServerKeyKind),
    /// None is announced.
    #[error("no next {0} key is announced; begin with 'announce'")]
    NotAnnounced(ServerKeyKind),
    /// The one before is still valid.
    #[error("the {0} key before is still valid; end that with 'retire' first")]
    StillValid(ServerKeyKind),
    /// There is none before.
    #[error("there is no {0} key before the one in use; nothing is to be retired")]
    NothingToRetire(ServerKeyKind),
    /// Nodes have not heard of it.
    #[error(
        "{waiting} registered nodes have not written down the present keys ('careen admin key list' names them); \
             {consequence}; with --force it is done all the same"
    )]
    NodesWait {
        /// How many.
        waiting: u64,
        /// What would become of them.
        consequence: &'static str,
    },
}

/// Decides whether a step may be taken. `waiting`: how many registered nodes have not written down the keys that are
/// announced at present.
///
/// # Errors
/// When it makes no sense now, or would leave nodes behind; the latter can be wanted (`force`).
pub fn check_key_step(
    kind: ServerKeyKind,
    step: KeyStep,
    places: KeyPlaces,
    waiting: u64,
    force: bool,
) -> Result<(), KeyStepRefused> {
    match step {
        KeyStep::Announce if places.next => return Err(KeyStepRefused::Announced(kind)),
        KeyStep::Announce if places.previous => return Err(KeyStepRefused::StillValid(kind)),
        KeyStep::Switch | KeyStep::Withdraw if !places.next => return Err(KeyStepRefused::NotAnnounced(kind)),
        KeyStep::Retire if !places.previous => return Err(KeyStepRefused::NothingToRetire(kind)),
        KeyStep::Announce | KeyStep::Switch | KeyStep::Retire | KeyStep::Withdraw => {}
    }
    let consequence = match step {
        KeyStep::Switch => "they find back as long as the key before is not retired",
        KeyStep::Retire => "they would have to be registered again",
        KeyStep::Announce | KeyStep::Withdraw => return Ok(()),
    };
    if kind.is_kept_by_nodes() && waiting > 0 && !force {
        return Err(KeyStepRefused::NodesWait { waiting, consequence });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: KeyPlaces = KeyPlaces { next: false, previous: false };
    const NEXT: KeyPlaces = KeyPlaces { next: true, previous: false };
    const PREVIOUS: KeyPlaces = KeyPlaces { next: false, previous: true };

    fn check(step: KeyStep, places: KeyPlaces, waiting: u64, force: bool) -> Result<(), KeyStepRefused> {
        check_key_step(ServerKeyKind::Identity, step, places, waiting, force)
    }

    #[test]
    fn keys_are_announced_then_used_then_retired_and_in_no_other_order() {
        let kind = ServerKeyKind::Identity;
        for (places, allowed) in [
            (NONE, &[KeyStep::Announce][..]),
            (NEXT, &[KeyStep::Switch, KeyStep::Withdraw]),
            (PREVIOUS, &[KeyStep::Retire]),
        ] {
            for step in [KeyStep::Announce, KeyStep::Switch, KeyStep::Retire, KeyStep::Withdraw] {
                assert_eq!(check(step, places, 0, true).is_ok(), allowed.contains(&step), "{step:?} {places:?}");
            }
        }
        assert_eq!(check(KeyStep::Announce, PREVIOUS, 0, true), Err(KeyStepRefused::StillValid(kind)));
        assert_eq!(check(KeyStep::Switch, NONE, 0, true), Err(KeyStepRefused::NotAnnounced(kind)));
    }

    #[test]
    fn nodes_that_have_not_heard_of_it_hold_a_step_up_unless_it_is_forced() {
        for (step, places) in [(KeyStep::Switch, NEXT), (KeyStep::Retire, PREVIOUS)] {
            let refused = check(step, places, 3, false).unwrap_err();
            assert!(matches!(refused, KeyStepRefused::NodesWait { waiting: 3, .. }), "{refused}");
            assert_eq!(check(step, places, 3, true), Ok(()));
            // Nodes keep no authority.
            assert_eq!(check_key_step(ServerKeyKind::Authority, step, places, 3, false), Ok(()));
        }
        assert_eq!(check(KeyStep::Announce, NONE, 3, false), Ok(()));
        assert_eq!(check(KeyStep::Withdraw, NEXT, 3, false), Ok(()));
    }

    #[test]
    fn names_are_read_back() {
        for kind in ServerKeyKind::ALL {
            assert_eq!(ServerKeyKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(ServerKeyKind::parse("page"), None);
    }
}
