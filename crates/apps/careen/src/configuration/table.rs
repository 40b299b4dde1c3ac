//! Every setting of the server, each declared once.
//!
//! A new setting is one entry: its description, name, type and default. From the name follow the flag (`--key-file`), the
//! environment variable (`CAREEN_KEY_FILE`) and the key in `careen.toml` (`key_file`); from the type follow how it is
//! read, how it is shown, and whether it is secret (see [`super::value`]). `DIR` in a default is the data folder.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use identifiers::{AccountId, Period, Region};
use identity::Secret;
use store::StoreUrl;

use crate::server_log::LogFormat;

use super::{
    sources::{Resolved, Sources},
    value::{Form, Setting},
};

/// What is known of a setting before any value is.
#[derive(Debug)]
pub(crate) struct Declaration {
    /// The key in `careen.toml`; flag and variable follow from it.
    pub(crate) name: &'static str,
    /// One sentence for `--help` and for people.
    pub(crate) help: &'static str,
    /// What stands for the value in `--help`.
    pub(crate) value_name: &'static str,
    /// The value where none is given, as it would be written; none: it is simply not set.
    pub(crate) default: Option<&'static str>,
    /// Where it may be given.
    pub(crate) places: Places,
    /// One value, several, or a switch.
    pub(crate) form: Form,
}

/// Where a setting may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Places {
    /// As a flag, in the environment, in `careen.toml`.
    All,
    /// In the environment alone, as every secret is: a flag can be read by everybody on the machine, and the file is often
    /// kept elsewhere too.
    Environment,
}

impl Declaration {
    /// The environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("CAREEN_{}", self.name.to_uppercase())
    }

    /// The flag without its dashes.
    pub(crate) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }
}

macro_rules! settings {
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
    (@places) => { Places::All };
    (@places $place:ident) => { Places::$place };
    ($( $(#[doc = $help:literal])+ $name:ident: $type:ty $(= $default:literal)?, $value_name:literal $(, in $place:ident)?; )*) => {
        /// The value of every setting.
        #[derive(Debug, Clone)]
        pub(crate) struct Settings {
            $( $(#[doc = $help])+ pub(crate) $name: $type, )*
        }

        /// Every setting, in the order of the table.
        pub(crate) const DECLARATIONS: &[Declaration] = &[$( Declaration {
            name: stringify!($name),
            help: concat!($($help),+),
            value_name: $value_name,
            default: settings!(@default $($default)?),
            places: if <$type as Setting>::SECRET { Places::Environment } else { settings!(@places $($place)?) },
            form: <$type as Setting>::FORM,
        } ),*];

        impl Settings {
            /// Finds each value in the first place that gives it, and tells which that was.
            pub(crate) fn resolve(sources: &Sources) -> Result<(Self, Vec<Resolved>)> {
                let mut all = Vec::with_capacity(DECLARATIONS.len());
                let mut declarations = DECLARATIONS.iter();
                let settings = Self { $( $name: sources.resolve(declarations.next(), &mut all)?, )* };
                Ok((settings, all))
            }
        }
    };
}

settings! {
    /// Where to listen
    listen: SocketAddr = "127.0.0.1:8470", "ADDR";
    /// Where to listen for callers of the AWS API, if elsewhere
    listen_api: Option<SocketAddr>, "ADDR";
    /// Where to listen for agents, if elsewhere
    listen_agents: Option<SocketAddr>, "ADDR";
    /// Where to listen for people at the console, if elsewhere
    listen_console: Option<SocketAddr>, "ADDR";
    /// Speak TLS on loopback too; elsewhere it is spoken anyway
    tls: bool = "false", "BOOL";
    /// The certificate with its chain (PEM), read again when it changes; without one the server's own CA makes one
    tls_certificate: Option<PathBuf>, "F";
    /// The certificate's private key (PEM)
    tls_key: Option<PathBuf>, "F";
    /// A name or address that the server is called by, besides the host's own; may be given several times
    tls_name: Vec<String>, "NAME";
    /// The database: the embedded one, or postgres://USER@HOST/NAME
    database: StoreUrl = "sqlite:DIR/careen.db", "URL";
    /// The account of the administrator's key
    account: AccountId = "000000000000", "ID";
    /// The region written to the credentials file and shown in the console
    region: Region = "us-east-1", "NAME";
    /// The key that secrets in the database are encrypted with
    key_file: PathBuf = "DIR/key", "F";
    /// A file with the token that grants /metrics to callers that are not on loopback
    metrics_token_file: Option<PathBuf>, "F";
    /// How the log is written: text or json [default: text on a terminal, else json]
    log_format: Option<LogFormat>, "FORM";
    /// Speak no TLS off loopback: behind a balancer that ends TLS, or where everyone may read everything
    allow_plaintext: bool = "false", "BOOL";
    /// How much each user may ask in a second: a question costs 1, a change 5; ten times as much at once; 0 is no limit
    requests_per_second: u32 = "1000", "N";
    /// How long ended commands are kept, with their invocations and outputs
    retention_commands: Period = "30d", "TIME";
    /// How long patch reports and changes of patch states are kept; what is the case now stays
    retention_patch_history: Period = "365d", "TIME";
    /// How long package changes and packages that are gone are kept; what is installed stays
    retention_package_history: Period = "365d", "TIME";
    /// How long events are kept
    retention_events: Period = "30d", "TIME";
    /// How long deregistered nodes are kept, with all that is known of them
    retention_deregistered_nodes: Period = "90d", "TIME";
    /// How long audit records are kept; their seals stay, so that the rest can be verified
    retention_audit: Period = "forever", "TIME";
    /// The id of the administrator's access key, if it comes from outside
    root_access_key_id: Option<String>, "ID", in Environment;
    /// The secret of the administrator's access key, if it comes from outside
    root_secret_access_key: Option<Secret>, "SECRET";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_a_name_of_its_own_a_description_and_a_default_that_is_understood() {
        let mut names: Vec<&str> = DECLARATIONS.iter().map(|declaration| declaration.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DECLARATIONS.len());
        assert!(!names.contains(&"data"), "the data folder holds the file with the settings, so it is none of them");
        assert!(DECLARATIONS.iter().all(|declaration| !declaration.help.trim().is_empty()));
        let secret = DECLARATIONS.iter().find(|declaration| declaration.name == "root_secret_access_key").unwrap();
        assert_eq!(secret.places, Places::Environment, "secrets are no flags");
        let (settings, resolved) = Settings::resolve(&Sources::none("/srv/careen".into())).unwrap();
        assert_eq!(settings.database, StoreUrl::Sqlite("/srv/careen/careen.db".into()));
        assert_eq!(settings.key_file, PathBuf::from("/srv/careen/key"));
        assert_eq!(resolved.len(), DECLARATIONS.len());
    }
}
