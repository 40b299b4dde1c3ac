use super::{Entry, Options, Sources, boolean, refuse_product, substitute_architecture};
use crate::Configuration;
use crate::warning::{FileWarnings, excerpt};
use catalog::deb822::{self, Stanza};

/// Reads sources in stanzas, as `debian.sources` has them.
pub(super) fn read(sources: &mut Sources, file: &[u8], configuration: &Configuration, warnings: &mut FileWarnings<'_>) {
    let (mut line, mut counted) = (1, 0);
    for stanza in deb822::stanzas(file) {
        let between = file.get(counted..stanza.offset).unwrap_or_default();
        line += between.iter().filter(|&&byte| byte == b'\n').count();
        counted = stanza.offset;
        if stanza.fields().next().is_none() {
            // Nothing but comments.
            continue;
        }
        if let Err(reason) = read_stanza(sources, &stanza, configuration) {
            warnings.line(line, reason);
        }
    }
}

fn read_stanza(sources: &mut Sources, stanza: &Stanza<'_>, configuration: &Configuration) -> Result<(), String> {
    let words = |name: &str| stanza.value(name).map(|field| field.words()).unwrap_or_default();
    let types = words("Types");
    if types.is_empty() {
        return Err("the stanza has no Types".to_owned());
    }
    let enabled = words("Enabled");
    if enabled.first().is_some_and(|word| boolean(word) == Some(false)) {
        return Ok(());
    }
    if let Some(unknown) = types.iter().find(|kind| !["deb", "deb-src"].contains(&kind.as_str())) {
        return Err(format!("the type {} is not known", excerpt(unknown)));
    }
    if !types.iter().any(|kind| kind == "deb") {
        return Ok(());
    }
    let mut options = Options::default();
    for (field, option) in [
        ("Architectures", "arch"),
        ("Architectures-Add", "arch+"),
        ("Architectures-Remove", "arch-"),
        ("Targets", "target"),
        ("Targets-Remove", "target-"),
        ("Trusted", "trusted"),
    ] {
        if stanza.value(field).is_some() {
            options.set(option, &words(field).join(","));
        }
    }
    let (uris, suites, mut components) = (words("URIs"), words("Suites"), words("Components"));
    if uris.is_empty() || suites.is_empty() {
        return Err("the stanza has no URIs or no Suites".to_owned());
    }
    if components.is_empty() {
        // Right for flat repositories, and refused for others.
        components.push(String::new());
    }
    refuse_product(&[uris.len(), suites.len(), components.len(), options.architectures_named()])?;
    for uri in &uris {
        for suite in &suites {
            let suite = &substitute_architecture(suite, configuration);
            for component in &components {
                sources.add(&Entry { uri, suite, component, options: &options }, configuration)?;
            }
        }
    }
    Ok(())
}
