//! Rust names from AWS's names.

/// `OutputS3BucketName` -> `output_s3_bucket_name`, `IPAddress` -> `ip_address`, `CVEIds` -> `cve_ids`.
pub(crate) fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|i| chars.get(i));
        let after_lower = before.is_some_and(|b| b.is_lowercase() || b.is_ascii_digit());
        let ends_capitals = before.is_some_and(|b| b.is_uppercase())
            && chars.get(at + 1).is_some_and(|n| n.is_lowercase())
            // `CVEIds`, not `CVEs`: a plural's s belongs to the capitals.
            && !(chars.get(at + 1) == Some(&'s') && chars.get(at + 2).is_none_or(|n| n.is_uppercase()));
        if c.is_uppercase() && (after_lower || ends_capitals) {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    if matches!(out.as_str(), "type" | "match" | "ref" | "move" | "use" | "where") { format!("r#{out}") } else { out }
}

/// `PatchComplianceLevel` -> `PATCH_COMPLIANCE_LEVEL`.
pub(crate) fn screaming(name: &str) -> String {
    snake(name).trim_start_matches("r#").to_uppercase()
}

/// What serde's `rename_all = "PascalCase"` makes of a field name.
pub(crate) fn serde_pascal(field: &str) -> String {
    let capital = |part: &str| {
        let mut chars = part.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
    };
    field.trim_start_matches("r#").split('_').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_are_words_or_abbreviations() {
        let cases = [
            ("OutputS3BucketName", "output_s3_bucket_name"),
            ("IPAddress", "ip_address"),
            ("CVEIds", "cve_ids"),
            ("KBId", "kb_id"),
            ("InstanceId", "instance_id"),
            ("DocumentARN", "document_arn"),
            ("Type", "r#type"),
        ];
        for (name, expected) in cases {
            assert_eq!(snake(name), expected);
        }
        assert_eq!(serde_pascal("output_s3_bucket_name"), "OutputS3BucketName");
        assert_eq!(screaming("PatchComplianceLevel"), "PATCH_COMPLIANCE_LEVEL");
    }
}
