use crate::OfferingList;
use crate::pattern::Expression;
use crate::warning::excerpt;

/// The most conditions of one release pin, as of apt.
const CONDITIONS_MAX: usize = 20;

/// What a pin is about: versions, releases or sites (apt_preferences(5), the field `Pin`).
#[derive(Debug, Clone)]
pub(crate) enum Pin {
    /// `version`: the beginning of a version if it ended in `*`, or an expression.
    Version(VersionText),
    /// `release`
    Release(ReleaseCriteria),
    /// `origin`: the host's name of the site.
    Origin(Expression),
}

/// A version or its beginning.
#[derive(Debug, Clone)]
pub(crate) struct VersionText {
    text: String,
    is_beginning: bool,
    expression: Expression,
}

/// What a release must be like; `None`: anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReleaseCriteria {
    /// `*` alone.
    everything: bool,
    version: Option<VersionText>,
    origin: Option<Expression>,
    archive: Option<Expression>,
    codename: Option<Expression>,
    label: Option<Expression>,
    component: Option<Expression>,
    architecture: Option<Expression>,
    /// Archive or codename: a word without `=`.
    archive_or_codename: Option<Expression>,
}

/// The files that offer a version: a list, or dpkg's database, which counts as the archive `now`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    List(&'a OfferingList),
    Database,
}

impl Pin {
    /// Reads the field `Pin`. The general form has no pins by version.
    ///
    /// # Errors
    /// Says what is not understood.
    pub(crate) fn parse(text: &str, general: bool) -> Result<Self, String> {
        let text = text.trim();
        let (kind, value) = text.split_once(|character: char| character.is_ascii_whitespace()).unwrap_or((text, ""));
        let value = value.trim_start();
        match kind.to_ascii_lowercase().as_str() {
            "version" if !general => Ok(Self::Version(VersionText::parse(value)?)),
            "release" => Self::release(value),
            "origin" => {
                let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                Ok(Self::Origin(Expression::compile(unquoted.unwrap_or(value))?))
            }
            _ => Err(format!("a pin by {} is not understood here", excerpt(kind))),
        }
    }

    /// Reads what follows `release`, and `APT::Default-Release`.
    ///
    /// # Errors
    /// Says what is not understood.
    pub(crate) fn release(text: &str) -> Result<Self, String> {
        let mut criteria = ReleaseCriteria { everything: text == "*", ..ReleaseCriteria::default() };
        if criteria.everything {
            return Ok(Self::Release(criteria));
        }
        if !text.contains('=') {
            match text.bytes().next() {
                None => {}
                Some(first) if first.is_ascii_digit() => criteria.version = VersionText::of_release(text)?,
                Some(_) => criteria.archive_or_codename = Some(Expression::compile(text)?),
            }
            return Ok(Self::Release(criteria));
        }
        let conditions: Vec<_> = text.split(',').map(str::trim).filter(|condition| !condition.is_empty()).collect();
        if conditions.len() >= CONDITIONS_MAX {
            return Err(format!("the pin has {CONDITIONS_MAX} conditions or more"));
        }
        for condition in conditions {
            // Of two conditions of a kind the last one counts, and one without a value does not.
            let Some((kind, value)) = condition.split_once('=').filter(|(_, value)| !value.is_empty()) else {
                continue;
            };
            let slot = match kind.to_ascii_lowercase().as_str() {
                "v" => {
                    criteria.version = VersionText::of_release(value)?;
                    continue;
                }
                "o" => &mut criteria.origin,
                "a" => &mut criteria.archive,
                "n" => &mut criteria.codename,
                "l" => &mut criteria.label,
                "c" => &mut criteria.component,
                "b" => &mut criteria.architecture,
                _ => continue,
            };
            *slot = Some(Expression::compile(value)?);
        }
        Ok(Self::Release(criteria))
    }

    /// Whether it is about this version or one of the places that offer it.
    pub(crate) fn matches_version<'a>(&self, version: &str, mut places: impl Iterator<Item = Place<'a>>) -> bool {
        match self {
            Self::Version(wanted) => wanted.matches(version),
            _ => places.any(|place| self.matches_place(place)),
        }
    }

    /// Whether it is about everything that a place offers.
    pub(crate) fn matches_place(&self, place: Place<'_>) -> bool {
        match (self, place) {
            (Self::Release(criteria), Place::List(list)) => criteria.matches_list(list),
            (Self::Release(criteria), Place::Database) => criteria.matches_database(),
            (Self::Origin(site), Place::List(list)) => site.matches(&list.archive.site),
            (Self::Origin(_), Place::Database) | (Self::Version(_), _) => false,
        }
    }
}

impl VersionText {
    fn parse(text: &str) -> Result<Self, String> {
        let (text, is_beginning) = text.strip_suffix('*').map_or((text, false), |beginning| (beginning, true));
        Ok(Self { text: text.to_owned(), is_beginning, expression: Expression::compile(text)? })
    }

    /// A release's version; `*` alone is no condition.
    fn of_release(text: &str) -> Result<Option<Self>, String> {
        Ok(Some(Self::parse(text)?).filter(|version| !version.text.is_empty()))
    }

    fn matches(&self, version: &str) -> bool {
        let beginning = version.get(..self.text.len());
        let same = beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(&self.text));
        (same && (self.is_beginning || version.len() == self.text.len())) || self.expression.matches(version)
    }
}

impl ReleaseCriteria {
    /// Nothing that a release could be asked for: such a pin is about no list at all.
    fn is_empty(&self) -> bool {
        let Self {
            everything,
            version,
            origin,
            archive,
            codename,
            label,
            component,
            architecture,
            archive_or_codename,
        } = self;
        let expressions = [origin, archive, codename, label, component, architecture, archive_or_codename];
        !everything && version.is_none() && expressions.iter().all(|expression| expression.is_none())
    }

    fn matches_list(&self, list: &OfferingList) -> bool {
        if self.everything {
            return true;
        }
        if self.is_empty() {
            return false;
        }
        // A field that the Release file does not have matches nothing, not even `*`.
        let holds = |wanted: &Option<Expression>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| !found.is_empty() && wanted.matches(found))
        };
        let archive = &list.archive;
        let version = self.version.as_ref();
        version.is_none_or(|wanted| !list.release_version.is_empty() && wanted.matches(&list.release_version))
            && holds(&self.origin, &archive.origin)
            && holds(&self.archive, &archive.suite)
            && holds(&self.codename, &archive.codename)
            && holds(&self.label, &archive.label)
            && (self.archive_or_codename.is_none()
                || holds(&self.archive_or_codename, &archive.suite)
                || holds(&self.archive_or_codename, &archive.codename))
            && self.component.as_ref().is_none_or(|wanted| wanted.matches(&archive.component))
            && holds(&self.architecture, &list.architecture)
    }

    /// dpkg's database has the archive and the component `now`, and nothing else.
    fn matches_database(&self) -> bool {
        let now = |wanted: &Option<Expression>| wanted.as_ref().is_none_or(|wanted| wanted.matches("now"));
        if !now(&self.archive) || !now(&self.archive_or_codename) {
            return false;
        }
        if self.version.is_some() || self.origin.is_some() || self.label.is_some() || self.codename.is_some() {
            return false;
        }
        self.everything || (now(&self.component) && self.architecture.is_none())
    }
}
