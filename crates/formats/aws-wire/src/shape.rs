use crate::pattern::Pattern;

/// The constraints of one shape of a service model, as static data: what generated tables consist of.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) sensitive: bool,
    pub(crate) bounds: Bounds,
    pub(crate) kind: Kind,
}

/// The smallest and largest length (characters of a string, members of a list or map) or number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) min: i64,
    pub(crate) max: i64,
}

impl Bounds {
    const NONE: Self = Self { min: i64::MIN, max: i64::MAX };
}

/// What a value is made of.
#[derive(Debug)]
pub(crate) enum Kind {
    Structure(&'static [Member]),
    List(&'static Shape),
    Map {
        key: &'static Shape,
        value: &'static Shape,
    },
    String {
        pattern: Option<&'static Pattern>,
        values: &'static [&'static str],
    },
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    Long,
    Boolean,
    /// Seconds since the epoch, as a JSON number.
    Timestamp,
}

/// One member of a structure.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) shape: &'static Shape,
}

/// A member that must be present and not null.
pub(crate) const fn required(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, required: true, shape }
}

/// A member that may be absent.
pub(crate) const fn optional(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, required: false, shape }
}

impl Shape {
    const fn of(kind: Kind) -> Self {
        Self { sensitive: false, bounds: Bounds::NONE, kind }
    }

    pub(crate) const fn structure(members: &'static [Member]) -> Self {
        Self::of(Kind::Structure(members))
    }

    pub(crate) const fn list(member: &'static Self) -> Self {
        Self::of(Kind::List(member))
    }

    pub(crate) const fn map(key: &'static Self, value: &'static Self) -> Self {
        Self::of(Kind::Map { key, value })
    }

    pub(crate) const fn string() -> Self {
        Self::of(Kind::String { pattern: None, values: &[] })
    }

    pub(crate) const fn matching(pattern: &'static Pattern) -> Self {
        Self::of(Kind::String { pattern: Some(pattern), values: &[] })
    }

    pub(crate) const fn one_of(values: &'static [&'static str]) -> Self {
        Self::of(Kind::String { pattern: None, values })
    }

    pub(crate) const fn integer() -> Self {
        Self::of(Kind::Integer)
    }

    #[allow(dead_code)] // No input of the present operations has one.
    pub(crate) const fn long() -> Self {
        Self::of(Kind::Long)
    }

    pub(crate) const fn boolean() -> Self {
        Self::of(Kind::Boolean)
    }

    pub(crate) const fn timestamp() -> Self {
        Self::of(Kind::Timestamp)
    }

    pub(crate) const fn at_least(mut self, min: i64) -> Self {
        self.bounds.min = min;
        self
    }

    pub(crate) const fn at_most(mut self, max: i64) -> Self {
        self.bounds.max = max;
        self
    }

    pub(crate) const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Whether this is neither a structure nor made of others.
    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(self.kind, Kind::Structure(_) | Kind::List(_) | Kind::Map { .. })
    }
}
