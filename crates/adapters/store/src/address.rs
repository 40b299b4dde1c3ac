use crate::OpenError;
use std::path::PathBuf;

/// Where the data is.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// One file, one server.
    Sqlite(PathBuf),
    /// A PostgreSQL address, `postgres://USER:PASSWORD@HOST:PORT/NAME?OPTIONS`; it may hold a password and is never printed.
    Postgres(String),
}

impl StoreUrl {
    /// Reads `postgres://…`, `postgresql://…`, `sqlite:FILE` or a file's path.
    ///
    /// # Errors
    /// When it is empty or an address of something else.
    pub fn parse(text: &str) -> Result<Self, OpenError> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).unwrap_or(text);
        if path.is_empty() || path.contains("://") {
            // Only the scheme is repeated: what follows may hold a password.
            let shown = text.split_once("://").map_or(text, |(scheme, _)| scheme);
            return Err(OpenError::Address(shown.chars().take(64).collect()));
        }
        Ok(Self::Sqlite(PathBuf::from(path)))
    }
}

impl std::fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let rest = url.split_once("://").map_or("", |(_, rest)| rest);
                let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                write!(f, "postgres://{}", host.split('?').next().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_and_passwords_are_not_shown() {
        assert_eq!(StoreUrl::parse("/a/b.db").unwrap(), StoreUrl::Sqlite("/a/b.db".into()));
        assert_eq!(StoreUrl::parse("sqlite:/a/b.db").unwrap(), StoreUrl::Sqlite("/a/b.db".into()));
        let url =
            StoreUrl::parse("postgres://careen:hush@db.example:5433/careen?sslmode=disable&password=hush").unwrap();
        assert_eq!(url.to_string(), "postgres://db.example:5433/careen");
        assert_eq!(format!("{url:?}"), "postgres://db.example:5433/careen");
        let refused = StoreUrl::parse("mysql://root:hush@host/x").unwrap_err().to_string();
        assert!(refused.contains("mysql") && !refused.contains("hush"), "{refused}");
        assert!(StoreUrl::parse("").is_err());
    }
}
