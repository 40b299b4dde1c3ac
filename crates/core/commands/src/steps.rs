//! What a document becomes on a node: its steps with parameters put in, or why one is skipped.

use crate::documents::{Document, Platform, SchemaVersion, Step};
use crate::interpolation::inputs_with;
use crate::parameters::ParameterValues;
use crate::preconditions::{Verdict, check, plugin_platforms};
use serde_json::{Map, Value};

/// The time limit of a step that has none, in seconds.
pub const EXECUTION_TIMEOUT_SECONDS_DEFAULT: i64 = 3600;

/// The time limits that count; any other becomes the default, as with the public agent.
const EXECUTION_TIMEOUT_SECONDS: std::ops::RangeInclusive<f64> = 5.0..=172_800.0;

/// What is to happen with a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// It runs.
    Run,
    /// It is passed over, which counts as success.
    Skip {
        /// Why, for people.
        reason: String,
    },
    /// It fails without running.
    Fail {
        /// Why, for people.
        reason: String,
    },
}

/// A step as one node gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedStep {
    /// Its name; for schema 1.2 the plugin's.
    pub name: String,
    /// The plugin that runs it.
    pub plugin: String,
    /// What is to happen with it.
    pub disposition: Disposition,
    /// What the plugin gets: an object. Empty unless the step runs.
    pub inputs: Value,
    /// How long it may run.
    pub timeout_seconds: i64,
}

/// The steps of a document for a node of a platform, in order.
#[must_use]
pub fn resolve_steps(document: &Document, values: &ParameterValues, platform: Platform) -> Vec<ResolvedStep> {
    document
        .steps
        .iter()
        .map(|step| {
            let disposition = disposition(document.schema_version, step, values, platform);
            let inputs = match disposition {
                Disposition::Run => inputs_with(&step.inputs, values),
                _ => Map::new(),
            };
            ResolvedStep {
                name: step.name.clone(),
                plugin: step.plugin.clone(),
                disposition,
                inputs: Value::Object(inputs),
                timeout_seconds: timeout_seconds(step, values),
            }
        })
        .collect()
}

/// How long the document may run on any of the platforms: the sum of what runs on the slowest.
#[must_use]
pub fn execution_timeout_seconds(document: &Document, values: &ParameterValues, platforms: &[Platform]) -> i64 {
    let platforms = if platforms.is_empty() { document.platform_types.as_slice() } else { platforms };
    let on = |platform: &Platform| {
        let steps = resolve_steps(document, values, *platform);
        let running = steps.iter().filter(|step| step.disposition == Disposition::Run);
        running.fold(0_i64, |sum, step| sum.saturating_add(step.timeout_seconds))
    };
    platforms.iter().map(on).max().filter(|seconds| *seconds > 0).unwrap_or(EXECUTION_TIMEOUT_SECONDS_DEFAULT)
}

fn disposition(
    schema_version: SchemaVersion,
    step: &Step,
    values: &ParameterValues,
    platform: Platform,
) -> Disposition {
    match step.precondition.as_ref().map(|precondition| (schema_version, check(precondition, platform, values))) {
        None | Some((SchemaVersion::V2_2, Verdict::Met)) => (),
        Some((SchemaVersion::V2_2, Verdict::Unmet(reason))) => return Disposition::Skip { reason },
        Some((SchemaVersion::V2_2, Verdict::Unrecognized(reason))) => return Disposition::Fail { reason },
        Some((SchemaVersion::V1_2, _)) => {
            let reason = "Precondition is not supported for document schema version prior to 2.2".to_owned();
            return Disposition::Fail { reason };
        }
    }
    let plugin = &step.plugin;
    match (plugin_platforms(plugin), schema_version) {
        (Some(platforms), _) if platforms.contains(&platform) => Disposition::Run,
        (Some(_), SchemaVersion::V2_2) => Disposition::Skip {
            reason: format!("Step execution skipped due to unsupported plugin {plugin} on {}.", platform.as_str()),
        },
        (Some(_), SchemaVersion::V1_2) => {
            Disposition::Fail { reason: format!("Plugin {plugin} is not supported on {}.", platform.as_str()) }
        }
        (None, _) => Disposition::Fail { reason: format!("Plugin {plugin} is not known.") },
    }
}

#[allow(clippy::cast_possible_truncation)]
fn timeout_seconds(step: &Step, values: &ParameterValues) -> i64 {
    let Some(timeout) = &step.timeout else { return EXECUTION_TIMEOUT_SECONDS_DEFAULT };
    let members = Map::from_iter([("timeout".to_owned(), timeout.clone())]);
    let seconds = match inputs_with(&members, values).get("timeout") {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse::<f64>().ok(),
        _ => None,
    };
    // A fraction is cut off before the bounds are looked at.
    match seconds.map(f64::trunc).filter(|seconds| EXECUTION_TIMEOUT_SECONDS.contains(seconds)) {
        Some(seconds) => seconds as i64,
        None => EXECUTION_TIMEOUT_SECONDS_DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GivenParameters, ParameterValue, built_in_document, check_parameters};
    use serde_json::json;

    fn given(pairs: &[(&str, &[&str])]) -> GivenParameters {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.iter().map(|v| (*v).to_owned()).collect())).collect()
    }

    #[test]
    fn a_script_keeps_its_lines_directory_and_limit() {
        let document = built_in_document("AWS-RunShellScript").unwrap();
        let pairs: &[(&str, &[&str])] =
            &[("commands", &["cd /", "ls"]), ("workingDirectory", &["/srv"]), ("executionTimeout", &["60"])];
        let values = check_parameters(document, &given(pairs)).unwrap();
        let steps = resolve_steps(document, &values, Platform::Linux);
        let [step] = steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!((step.name.as_str(), step.plugin.as_str()), ("aws:runShellScript", "aws:runShellScript"));
        assert_eq!(step.inputs, json!({"runCommand": ["cd /", "ls"], "workingDirectory": "/srv"}));
        assert_eq!((step.timeout_seconds, &step.disposition), (60, &Disposition::Run));
        assert_eq!(execution_timeout_seconds(document, &values, &[]), 60);
        let windows = resolve_steps(document, &values, Platform::Windows);
        assert!(matches!(windows[0].disposition, Disposition::Fail { .. }), "schema 1.2 does not skip");
    }

    #[test]
    fn of_the_patch_steps_one_is_for_linux() {
        let document = built_in_document("AWS-RunPatchBaseline").unwrap();
        let values = check_parameters(document, &given(&[("Operation", &["Install"])])).unwrap();
        let steps = resolve_steps(document, &values, Platform::Linux);
        let shape: Vec<(&str, &str, bool)> = steps
            .iter()
            .map(|step| (step.name.as_str(), step.plugin.as_str(), step.disposition == Disposition::Run))
            .collect();
        assert_eq!(
            shape,
            [
                ("PatchWindows", "careen:patch", false),
                ("PatchMacOS", "careen:patch", false),
                ("PatchLinux", "careen:patch", true)
            ]
        );
        assert!(matches!(&steps[0].disposition, Disposition::Skip { reason } if reason.contains("unsatisfied")));
        assert_eq!(
            steps[2].inputs,
            json!({
                "operation": "Install", "rebootOption": "RebootIfNeeded", "snapshotId": "", "associationId": "",
                "installOverrideList": "", "baselineOverride": ""
            })
        );
        assert_eq!(
            execution_timeout_seconds(document, &values, &[Platform::Linux]),
            7200,
            "skipped steps take no time"
        );
    }

    #[test]
    fn a_time_limit_outside_the_bounds_is_the_default() {
        let values = ParameterValues::from([("t".to_owned(), ParameterValue::Text("90".into()))]);
        for (timeout, seconds) in [
            (None, 3600),
            (Some(json!(5)), 5),
            (Some(json!(4)), 3600),
            (Some(json!("172800")), 172_800),
            (Some(json!("172801")), 3600),
            (Some(json!("60.9")), 60),
            (Some(json!("172800.5")), 172_800),
            (Some(json!("NaN")), 3600),
            (Some(json!("-1")), 3600),
            (Some(json!("1h")), 3600),
            (Some(json!([60])), 3600),
            (Some(json!("{{ t }}")), 90),
        ] {
            let step = Step {
                name: "a".into(),
                plugin: "aws:runShellScript".into(),
                inputs: Map::new(),
                precondition: None,
                timeout: timeout.clone(),
            };
            assert_eq!(timeout_seconds(&step, &values), seconds, "{timeout:?}");
        }
    }

    #[test]
    fn an_unknown_plugin_fails_unless_it_is_not_meant() {
        let step = |plugin: &str, precondition: Option<Value>| Step {
            name: "a".into(),
            plugin: plugin.into(),
            inputs: Map::new(),
            precondition,
            timeout: None,
        };
        let windows = json!({"StringEquals": ["platformType", "Windows"]});
        for (step, schema, word) in [
            (step("aws:other", None), SchemaVersion::V2_2, "fail"),
            (step("aws:other", Some(windows.clone())), SchemaVersion::V2_2, "skip"),
            (step("aws:runShellScript", Some(windows.clone())), SchemaVersion::V1_2, "fail"),
            (step("aws:runShellScript", Some(json!({}))), SchemaVersion::V2_2, "fail"),
            (step("aws:runShellScript", None), SchemaVersion::V1_2, "run"),
        ] {
            let found = match disposition(schema, &step, &ParameterValues::new(), Platform::Linux) {
                Disposition::Run => "run",
                Disposition::Skip { .. } => "skip",
                Disposition::Fail { .. } => "fail",
            };
            assert_eq!(found, word, "{step:?}");
        }
        let elsewhere =
            disposition(SchemaVersion::V2_2, &step("careen:patch", None), &ParameterValues::new(), Platform::MacOS);
        assert!(matches!(elsewhere, Disposition::Skip { .. }));
    }
}
