//! What may be the value of a setting: how each type is read from text and how it is shown.
//!
//! It deliberately does not know any setting.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use identifiers::{AccountId, Period, Region};
use identity::Secret;
use store::StoreUrl;

use crate::server_log::LogFormat;

/// How many values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `--name VALUE`.
    One,
    /// `--name`, or `--name=false`.
    Switch,
    /// `--name VALUE` several times, or with commas between; a list in the file.
    Many,
}

/// A single value.
pub(crate) trait Value: Sized {
    /// Whether it must not be shown.
    const SECRET: bool = false;
    /// Whether it is on or off.
    const SWITCH: bool = false;

    /// Reads it as it is written in a flag, a variable, or the file.
    ///
    /// # Errors
    /// When the text is no such value; the error does not repeat a secret.
    fn read(text: &str) -> Result<Self>;

    /// As it may be shown to whoever may start the server.
    fn show(&self) -> String;
}

/// The type of a setting: one value, one or none, or several.
pub(crate) trait Setting: Sized {
    /// How many.
    const FORM: Form;
    /// Whether its value must not be shown.
    const SECRET: bool;

    /// Reads all the texts that were given.
    ///
    /// # Errors
    /// When they are too many or too few, or one is no such value.
    fn read(texts: &[String]) -> Result<Self>;

    /// As it may be shown; none where it is not set.
    fn show(&self) -> Option<String>;
}

impl<T: Value> Setting for T {
    const FORM: Form = if T::SWITCH { Form::Switch } else { Form::One };
    const SECRET: bool = T::SECRET;

    fn read(texts: &[String]) -> Result<Self> {
        match texts {
            [text] => T::read(text),
            _ => bail!("exactly one value is wanted, not {}", texts.len()),
        }
    }

    fn show(&self) -> Option<String> {
        Some(Value::show(self))
    }
}

impl<T: Value> Setting for Option<T> {
    const FORM: Form = T::FORM;
    const SECRET: bool = T::SECRET;

    fn read(texts: &[String]) -> Result<Self> {
        match texts {
            [] => Ok(None),
            _ => <T as Setting>::read(texts).map(Some),
        }
    }

    fn show(&self) -> Option<String> {
        self.as_ref().map(Value::show)
    }
}

impl<T: Value> Setting for Vec<T> {
    const FORM: Form = Form::Many;
    const SECRET: bool = T::SECRET;

    fn read(texts: &[String]) -> Result<Self> {
        texts.iter().map(|text| T::read(text.trim())).collect()
    }

    fn show(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.iter().map(Value::show).collect::<Vec<_>>().join(","))
    }
}

macro_rules! written_as_read {
    ($($type:ty: $what:literal),* $(,)?) => {$(
        impl Value for $type {
            fn read(text: &str) -> Result<Self> {
                text.parse().with_context(|| format!("{text:?} is not {}", $what))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

written_as_read! {
    u32: "a whole number, 0 or more",
    SocketAddr: "an address with a port, e.g. 127.0.0.1:8470 or [::1]:8470",
}

impl Value for bool {
    const SWITCH: bool = true;

    fn read(text: &str) -> Result<Self> {
        match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => bail!("{text:?} is neither true nor false"),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn read(text: &str) -> Result<Self> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    fn read(text: &str) -> Result<Self> {
        ensure!(!text.is_empty(), "it is empty");
        Ok(Self::from(text))
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for LogFormat {
    fn read(text: &str) -> Result<Self> {
        Self::parse(text)
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

impl Value for AccountId {
    fn read(text: &str) -> Result<Self> {
        Ok(Self::parse(text)?)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Region {
    fn read(text: &str) -> Result<Self> {
        Ok(Self::parse(text)?)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Period {
    fn read(text: &str) -> Result<Self> {
        Ok(Self::parse(text)?)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Shown without a password and without its options.
impl Value for StoreUrl {
    fn read(text: &str) -> Result<Self> {
        Ok(Self::parse(text)?)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Secret {
    const SECRET: bool = true;

    fn read(text: &str) -> Result<Self> {
        Ok(Self::new(text))
    }

    fn show(&self) -> String {
        "(set; not shown)".to_owned()
    }
}
