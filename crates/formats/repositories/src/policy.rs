//! Priorities and the candidate: apt_preferences(5), "How APT Interprets Priorities" and "APT's Default Priority
//! Assignments".

use crate::offers::OfferingList;
use crate::pin::Place;
use crate::preferences::{NEVER, PinnedPackage, Preferences};
use catalog::Build;
use std::cmp::Ordering;
use versions::compare_dpkg;

/// The priority of what is installed.
const INSTALLED: i32 = 100;
/// From this priority on a version is taken even if it is older than the installed one.
const DOWNGRADES: i32 = 1000;
/// The priority of a version whose turn in a phased roll-out has not come, where phasing is a matter of policy.
const NOT_PHASED_IN: i32 = 1;

/// One version of a package, with everything that offers it.
#[derive(Debug, Clone)]
pub(crate) struct Version<'a> {
    pub(crate) version: &'a str,
    pub(crate) build: Build,
    /// Of the first offer, as the following.
    pub(crate) source: &'a str,
    pub(crate) source_version: &'a str,
    pub(crate) installed: bool,
    /// Positions in `Offers::offers`, and of their lists in `Offers::lists`.
    pub(crate) offers: Vec<usize>,
    pub(crate) lists: Vec<usize>,
    /// `Phased-Update-Percentage` of the last offer that has one; 100 where none has.
    pub(crate) phased_update_percentage: u8,
    /// Whether the machine's turn has not come (by lot or by setting).
    pub(crate) is_phased_out: bool,
}

/// The priorities of all places, computed once: general pins are about places alone.
pub(crate) struct Policy<'a> {
    preferences: &'a Preferences,
    lists: &'a [OfferingList],
    list_priorities: Vec<i32>,
    database_priority: i32,
    /// `APT::Get::Phase-Policy`
    phase_policy: bool,
}

impl<'a> Policy<'a> {
    pub(crate) fn new(preferences: &'a Preferences, lists: &'a [OfferingList], phase_policy: bool) -> Self {
        let list_priorities = lists
            .iter()
            .map(|list| {
                let default = match (list.not_automatic, list.but_automatic_upgrades) {
                    (false, false) => 500,
                    // apt looks at the second mark first.
                    (_, true) => 100,
                    (true, false) => 1,
                };
                general_priority(preferences, Place::List(list), default)
            })
            .collect();
        let database_priority = general_priority(preferences, Place::Database, INSTALLED);
        Self { preferences, lists, list_priorities, database_priority, phase_policy }
    }

    fn places<'b>(&'b self, version: &'b Version<'_>) -> impl Iterator<Item = (Place<'b>, i32)> {
        let listed = version
            .lists
            .iter()
            .filter_map(|&list| Some((Place::List(self.lists.get(list)?), *self.list_priorities.get(list)?)));
        listed.chain(version.installed.then_some((Place::Database, self.database_priority)))
    }

    /// The priority of a version.
    pub(crate) fn priority(&self, package: PinnedPackage<'_>, version: &Version<'_>) -> i32 {
        let ceiling = if self.phase_policy && version.is_phased_out { NOT_PHASED_IN } else { i32::MAX };
        let package = PinnedPackage { source: version.source, ..package };
        let specific = self
            .preferences
            .of_package(package)
            .find(|record| record.pin.matches_version(version.version, self.places(version).map(|(place, _)| place)));
        let all_never = self.places(version).all(|(_, priority)| priority == NEVER);
        let priority = match specific {
            // What must never be taken is not, whatever is said of the package.
            Some(record) if !all_never => record.priority,
            _ => self.places(version).map(|(_, priority)| priority).max().unwrap_or(0),
        };
        priority.min(ceiling)
    }

    /// The version that apt would choose: the highest priority wins, and of equal ones the newest; nothing older than what
    /// is installed unless its priority is 1000 or more; nothing of a negative priority. `versions` must be sorted with the
    /// newest first.
    pub(crate) fn candidate<'b, 'v>(
        &self,
        package: PinnedPackage<'_>,
        installed: &str,
        versions: &'b [Version<'v>],
    ) -> Option<&'b Version<'v>> {
        let mut best: Option<(&'b Version<'v>, i32)> = None;
        for version in versions {
            let priority = self.priority(package, version);
            if priority <= best.map_or(0, |(_, priority)| priority) {
                continue;
            }
            if priority < DOWNGRADES && compare_dpkg(version.version, installed) == Ordering::Less {
                continue;
            }
            best = Some((version, priority));
        }
        best.map(|(version, _)| version)
    }
}

/// The first general record about a place counts, and `never` wherever it stands.
fn general_priority(preferences: &Preferences, place: Place<'_>, default: i32) -> i32 {
    let mut first = None;
    for record in preferences.general() {
        if (first.is_none() || record.priority == NEVER) && record.pin.matches_place(place) {
            first = Some(record.priority);
            if record.priority == NEVER {
                break;
            }
        }
    }
    first.unwrap_or(default)
}
