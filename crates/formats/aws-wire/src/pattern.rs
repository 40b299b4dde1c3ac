use regex::Regex;
use std::sync::OnceLock;

/// A pattern of the model, compiled when it is first used.
///
/// AWS's services match the whole value (Java's `matches`), whether or not the pattern is anchored.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// As the model writes it: what error messages show.
    text: &'static str,
    matcher: Matcher,
}

#[derive(Debug)]
enum Matcher {
    Expression { expression: &'static str, compiled: OnceLock<Option<Regex>> },
    Check(fn(&str) -> bool),
}

impl Pattern {
    /// A pattern with its translation to the `regex` crate's syntax, anchored at both ends. Code generation has
    /// compiled it once; should it fail here all the same, nothing matches.
    pub(crate) const fn expression(text: &'static str, expression: &'static str) -> Self {
        Self { text, matcher: Matcher::Expression { expression, compiled: OnceLock::new() } }
    }

    /// A pattern that the `regex` crate cannot express, with the same check written by hand.
    pub(crate) const fn check(text: &'static str, check: fn(&str) -> bool) -> Self {
        Self { text, matcher: Matcher::Check(check) }
    }

    pub(crate) fn text(&self) -> &'static str {
        self.text
    }

    /// Whether the expression compiles, which code generation promises.
    #[cfg(test)]
    pub(crate) fn compiles(&self) -> bool {
        match &self.matcher {
            Matcher::Expression { expression, .. } => Regex::new(expression).is_ok(),
            Matcher::Check(_) => true,
        }
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        match &self.matcher {
            Matcher::Expression { expression, compiled } => {
                compiled.get_or_init(|| Regex::new(expression).ok()).as_ref().is_some_and(|regex| regex.is_match(value))
            }
            Matcher::Check(check) => check(value),
        }
    }
}

/// `^(?!\s*$).+`: at least one character that is not white space, and no line break.
pub(crate) fn not_blank(value: &str) -> bool {
    let line_break = |c| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let white = |c| matches!(c, ' ' | '\t' | '\x0b' | '\x0c');
    !value.chars().any(line_break) && !value.chars().all(white)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_is_what_java_calls_blank() {
        assert!(not_blank("a"));
        assert!(not_blank(" a "));
        assert!(!not_blank(""));
        assert!(!not_blank(" \t"));
        assert!(!not_blank("a\nb"));
    }

    #[test]
    fn an_expression_that_does_not_compile_matches_nothing() {
        assert!(!Pattern::expression("(", "(").matches("("));
    }
}
