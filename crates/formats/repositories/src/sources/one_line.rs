use super::{Entry, Options, Sources, refuse_product, substitute_architecture};
use crate::Configuration;
use crate::warning::{FileWarnings, excerpt};

/// Reads sources of one line each: `deb [options] uri suite component...`.
pub(super) fn read(sources: &mut Sources, file: &[u8], configuration: &Configuration, warnings: &mut FileWarnings<'_>) {
    for (number, line) in file.split(|&byte| byte == b'\n').enumerate() {
        let line = String::from_utf8_lossy(line);
        let line = without_comment(&line).trim_matches([' ', '\t', '\r']);
        if line.is_empty() {
            continue;
        }
        if let Err(reason) = read_line(sources, line, configuration) {
            warnings.line(number + 1, reason);
        }
    }
}

/// A `#` starts a comment, except inside of the options.
fn without_comment(line: &str) -> &str {
    let mut depth = 0_usize;
    for (position, character) in line.char_indices() {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            '#' if depth == 0 => return line.get(..position).unwrap_or_default(),
            _ => {}
        }
    }
    line
}

fn read_line(sources: &mut Sources, line: &str, configuration: &Configuration) -> Result<(), String> {
    let (kind, rest) = line.split_once([' ', '\t', '\x0b']).ok_or("it has a type and nothing else")?;
    match kind {
        "deb" => {}
        "deb-src" => return Ok(()),
        _ => return Err(format!("the type {} is not known", excerpt(kind))),
    }
    let mut rest = rest.trim_start();
    let mut options = Options::default();
    if let Some(after) = rest.strip_prefix('[') {
        let (inside, after) = after.split_once(']').ok_or("its options are not closed")?;
        let mut inside = inside.trim_start();
        while let Some(option) = next_word(&mut inside)? {
            let (name, value) =
                option.split_once('=').ok_or_else(|| format!("the option {} has no value", excerpt(&option)))?;
            if name.is_empty() || value.is_empty() {
                return Err(format!("the option {} is not complete", excerpt(&option)));
            }
            options.set(name, value);
        }
        rest = after.trim_start();
    }
    let uri = next_word(&mut rest)?.ok_or("it has no URI")?;
    let suite = next_word(&mut rest)?.ok_or("it has no suite")?;
    let flat = suite.ends_with('/');
    let suite = if flat { substitute_architecture(&suite, configuration) } else { suite };
    let mut components = Vec::new();
    while let Some(component) = next_word(&mut rest)? {
        components.push(component);
    }
    if components.is_empty() {
        // Right for a flat repository, and refused for another.
        components.push(String::new());
    }
    refuse_product(&[components.len(), options.architectures_named()])?;
    for component in &components {
        sources.add(&Entry { uri: &uri, suite: &suite, component, options: &options }, configuration)?;
    }
    Ok(())
}

/// Takes the next word: blanks may stand in double quotes (which are dropped) and in brackets, and `%` with two hexadecimal
/// digits stands for a byte.
fn next_word(rest: &mut &str) -> Result<Option<String>, String> {
    let text = rest.trim_start();
    let (mut in_quotes, mut in_brackets) = (false, false);
    let end = text.find(|character: char| {
        match character {
            '"' if !in_brackets => in_quotes = !in_quotes,
            '[' if !in_quotes => in_brackets = true,
            ']' => in_brackets = false,
            _ => {}
        }
        character.is_ascii_whitespace() && !in_quotes && !in_brackets
    });
    if end.is_none() && (in_quotes || in_brackets) {
        return Err("a quote or a bracket is not closed".to_owned());
    }
    let (word, after) = text.split_at(end.unwrap_or(text.len()));
    *rest = after.trim_start();
    if word.is_empty() {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut left = word.as_bytes();
    while let [byte, after @ ..] = left {
        left = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hexadecimal(*high) * 16 + hexadecimal(*low));
                left = after;
            }
            (b'"', _) => {}
            _ => bytes.push(*byte),
        }
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The value of a hexadecimal digit.
fn hexadecimal(digit: u8) -> u8 {
    // Below 16, so nothing is lost.
    char::from(digit).to_digit(16).unwrap_or(0) as u8
}
