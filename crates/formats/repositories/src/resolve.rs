//! What the offers are to each installed package.

use crate::phasing;
use crate::policy::{Policy, Version};
use crate::preferences::{PinnedPackage, Preferences};
use crate::{Configuration, Offer, Offers, Warning};
use catalog::DpkgPackage;
use packages::{Archive, AvailableUpdate, HostPackage, InstalledPackage, NotTaken};
use std::cmp::Ordering;
use std::collections::HashMap;
use versions::compare_dpkg;

/// How many builds of one version of one package are told apart; more are taken for the first. So that a hostile list cannot
/// make the work grow with the square of its length.
const BUILDS_MAX: usize = 32;

/// What the offers are to each installed package, in the order of `installed`, with what could not be heeded.
///
/// An update is apt's candidate if that is newer than what is installed. If it is not, but without any pins (preferences and
/// target release) it would be, the update is what the candidate would be then, and [`NotTaken::Pinned`] says that the pins
/// keep it out. What an archive itself marks as not automatic (backports, experimental) is nobody's pin and no update.
///
/// In two corners of phasing this is meant to differ from `apt-get upgrade`: a version that a security archive offers is
/// taken even if another archive phases in the same version; and a package whose installed version is itself still being
/// phased in is not kept from newer ones.
#[must_use]
pub fn resolve(
    installed: &[DpkgPackage],
    offers: &Offers,
    preferences: &Preferences,
    configuration: &Configuration,
) -> (Vec<HostPackage>, Vec<Warning>) {
    let (preferences, warning) = with_target_release(preferences, offers, configuration);
    let no_preferences = Preferences::default();
    let resolver = Resolver::new(offers, [&preferences, &no_preferences], configuration);
    (installed.iter().map(|found| resolver.host_package(found)).collect(), warning.into_iter().collect())
}

/// The preferences with `APT::Default-Release` before them, or why that is not heeded.
fn with_target_release(
    preferences: &Preferences,
    offers: &Offers,
    configuration: &Configuration,
) -> (Preferences, Option<Warning>) {
    let mut preferences = preferences.clone();
    let release = &configuration.default_release;
    if release.is_empty() {
        return (preferences, None);
    }
    let result = match names_a_release(release, offers) {
        true => preferences.set_target_release(release),
        false => Err("no such release is in the sources".to_owned()),
    };
    let warning = |reason| Warning::Setting(format!("APT::Default-Release {release} is not heeded: {reason}"));
    let warning = result.err().map(warning);
    (preferences, warning)
}

/// apt refuses a target release that no source has, but takes any that is written as a condition (`a=stable`).
fn names_a_release(release: &str, offers: &Offers) -> bool {
    let is_condition = release.len() > 2 && release.as_bytes().get(1) == Some(&b'=');
    let Ok(expression) = crate::pattern::Expression::compile(release) else { return false };
    let matches = |name: &str| !name.is_empty() && expression.matches(name);
    is_condition
        || matches("now")
        || offers.lists.iter().any(|list| {
            matches(&list.archive.suite) || matches(&list.archive.codename) || matches(&list.release_version)
        })
}

/// What apt takes for one package: a name and an architecture, with `all` counting as the native one.
type Key<'a> = (&'a str, &'a str);

fn by_package<'a>(offers: &'a Offers, configuration: &'a Configuration) -> HashMap<Key<'a>, Vec<usize>> {
    let mut by_package: HashMap<_, Vec<_>> = HashMap::new();
    for (position, offer) in offers.offers.iter().enumerate() {
        let architecture = effective(&offer.architecture, configuration);
        by_package.entry((offer.name.as_str(), architecture)).or_default().push(position);
    }
    by_package
}

fn effective<'a>(architecture: &'a str, configuration: &'a Configuration) -> &'a str {
    if architecture == "all" { &configuration.native_architecture } else { architecture }
}

fn add_offer(version: &mut Version<'_>, position: usize, offer: &Offer) {
    version.offers.push(position);
    if !version.lists.contains(&offer.list) {
        version.lists.push(offer.list);
    }
    if offer.phased_update_percentage != 100 {
        version.phased_update_percentage = offer.phased_update_percentage;
    }
}

struct Resolver<'a> {
    offers: &'a Offers,
    configuration: &'a Configuration,
    by_package: HashMap<Key<'a>, Vec<usize>>,
    policy: Policy<'a>,
    plain_policy: Policy<'a>,
    /// Whether the two policies can differ.
    is_pinned: bool,
}

impl<'a> Resolver<'a> {
    /// With the pins and without any.
    fn new(offers: &'a Offers, preferences: [&'a Preferences; 2], configuration: &'a Configuration) -> Self {
        let [preferences, no_preferences] = preferences;
        Self {
            offers,
            configuration,
            by_package: by_package(offers, configuration),
            policy: Policy::new(preferences, &offers.lists, configuration.phase_policy),
            plain_policy: Policy::new(no_preferences, &offers.lists, false),
            is_pinned: !preferences.is_empty() || configuration.phase_policy,
        }
    }

    fn pinned_package<'b>(&'b self, installed: &'b InstalledPackage) -> PinnedPackage<'b> {
        PinnedPackage {
            name: &installed.name,
            architecture: effective(&installed.architecture, self.configuration),
            native_architecture: &self.configuration.native_architecture,
            source: &installed.source,
        }
    }

    fn host_package(&self, found: &'a DpkgPackage) -> HostPackage {
        let installed = &found.package;
        let versions = self.versions(found);
        HostPackage {
            installed: installed.clone(),
            archives: self.archives(&versions, &installed.version),
            update: self.update(installed, &versions),
        }
    }

    /// Every version, installed or offered, the newest first. Two builds under one number are two versions; of these the
    /// offered ones come first, in the order of their lists, as apt sorts them.
    fn versions(&self, found: &'a DpkgPackage) -> Vec<Version<'a>> {
        let installed = &found.package;
        let key = (installed.name.as_str(), effective(&installed.architecture, self.configuration));
        let mut versions: Vec<Version<'a>> = Vec::new();
        // Versions that are equal by number stand together, so that each offer is compared with those alone.
        let mut by_number: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for &position in self.by_package.get(&key).map(Vec::as_slice).unwrap_or_default() {
            let Some(offer) = self.offers.offers.get(position) else { continue };
            let equal = by_number.entry(versions::dpkg_sort_key(&offer.version)).or_default();
            let is_same = |&&at: &&usize| versions.get(at).is_some_and(|version| version.build.is_same(&offer.build));
            let too_many = equal.first().filter(|_| equal.len() >= BUILDS_MAX);
            let same = equal.iter().find(is_same).or(too_many).copied();
            let at = same.unwrap_or_else(|| {
                equal.push(versions.len());
                versions.push(Version {
                    version: &offer.version,
                    build: offer.build,
                    source: &offer.source,
                    source_version: &offer.source_version,
                    installed: false,
                    offers: Vec::new(),
                    lists: Vec::new(),
                    phased_update_percentage: 100,
                    is_phased_out: false,
                });
                versions.len() - 1
            });
            if let Some(version) = versions.get_mut(at) {
                add_offer(version, position, offer);
            }
        }
        for version in &mut versions {
            version.is_phased_out = self.is_phased_out(version);
        }
        let equal = by_number.remove(&versions::dpkg_sort_key(&installed.version)).unwrap_or_default();
        let same = equal.into_iter().find(|&at| versions.get(at).is_some_and(|v| v.build.is_same(&found.build)));
        match same.and_then(|at| versions.get_mut(at)) {
            Some(version) => version.installed = true,
            None => versions.push(Version {
                version: &installed.version,
                build: found.build,
                source: &installed.source,
                source_version: &installed.source_version,
                installed: true,
                offers: Vec::new(),
                lists: Vec::new(),
                phased_update_percentage: 100,
                is_phased_out: false,
            }),
        }
        // Stable: what is equal stays in order.
        versions.sort_by(|left, right| compare_dpkg(right.version, left.version));
        versions
    }

    /// Whether this machine's turn has not come.
    fn is_phased_out(&self, version: &Version<'_>) -> bool {
        let Configuration { phased_updates, machine_id, .. } = self.configuration;
        if version.phased_update_percentage == 100 || phased_updates.is_always() {
            return false;
        }
        if phased_updates.is_never() {
            return true;
        }
        let lot = || phasing::lot(version.source, version.source_version, machine_id);
        !machine_id.is_empty() && lot() > version.phased_update_percentage
    }

    fn update(&self, installed: &InstalledPackage, versions: &[Version<'a>]) -> Option<AvailableUpdate> {
        let package = self.pinned_package(installed);
        let is_newer = |version: &&Version<'_>| compare_dpkg(version.version, &installed.version) == Ordering::Greater;
        let candidate = self.policy.candidate(package, &installed.version, versions).filter(is_newer);
        if let Some(candidate) = candidate {
            let percentage = candidate.phased_update_percentage;
            // Where phasing is a matter of priorities, it has had its say already.
            let held_back = candidate.is_phased_out && !self.configuration.phase_policy;
            let not_taken = if installed.held {
                Some(NotTaken::Held)
            } else if held_back && !self.brings_security(candidate, versions) {
                Some(NotTaken::Phased { percentage })
            } else {
                None
            };
            return self.available(candidate, versions, not_taken);
        }
        if !self.is_pinned {
            return None;
        }
        let kept_out = self.plain_policy.candidate(package, &installed.version, versions).filter(is_newer)?;
        let not_taken = if self.configuration.phase_policy && kept_out.is_phased_out {
            NotTaken::Phased { percentage: kept_out.phased_update_percentage }
        } else {
            NotTaken::Pinned { priority: self.policy.priority(package, kept_out) }
        };
        self.available(kept_out, versions, Some(not_taken))
    }

    /// Whether the update, or anything between it and what is installed, comes from a security archive: such updates are
    /// never phased.
    fn brings_security(&self, update: &Version<'_>, versions: &[Version<'_>]) -> bool {
        let from_update = versions.iter().skip_while(|version| !std::ptr::eq(*version, update));
        let lists = from_update.take_while(|version| !version.installed).flat_map(|version| &version.lists);
        lists.filter_map(|&list| self.offers.lists.get(list)).any(|list| list.archive.is_security())
    }

    fn available(
        &self,
        update: &Version<'_>,
        versions: &[Version<'_>],
        not_taken: Option<NotTaken>,
    ) -> Option<AvailableUpdate> {
        let offer = self.offers.offers.get(*update.offers.first()?)?;
        Some(AvailableUpdate {
            version: offer.version.clone(),
            architecture: offer.architecture.clone(),
            source: offer.source.clone(),
            section: offer.section.clone(),
            priority: offer.priority.clone(),
            archives: self.archives(versions, &offer.version),
            not_taken,
        })
    }

    /// The archives that offer exactly this version, whatever the build, each once.
    fn archives(&self, versions: &[Version<'_>], wanted: &str) -> Vec<Archive> {
        let mut archives: Vec<Archive> = Vec::new();
        let same = versions.iter().filter(|version| compare_dpkg(version.version, wanted) == Ordering::Equal);
        for list in same.flat_map(|version| &version.lists).filter_map(|&list| self.offers.lists.get(list)) {
            if !archives.contains(&list.archive) {
                archives.push(list.archive.clone());
            }
        }
        archives
    }
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
