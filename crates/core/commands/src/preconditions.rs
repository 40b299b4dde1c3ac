//! Preconditions: whether a step is meant for a node.
//!
//! The rules are the public agent's (`agent/framework/runpluginutil` of amazon-ssm-agent, Apache-2.0): one operator,
//! `StringEquals`, with two arguments of which at least one is `platformType` or a parameter.

use crate::documents::{Platform, Step};
use crate::interpolation::{single_token, tokens};
use crate::parameters::{ParameterValues, refers_to_parameter_store};
use serde_json::Value;

const PLATFORM_TYPE: &str = "platformType";

/// What a precondition says about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It holds.
    Met,
    /// It does not hold; the text says which.
    Unmet(String),
    /// It cannot be understood, so the step fails; the text says why.
    Unrecognized(String),
}

/// An argument of the operator.
enum Argument<'a> {
    PlatformType,
    Parameter(&'a str),
    Constant(&'a str),
}

fn argument(text: &str) -> Option<Argument<'_>> {
    if text == PLATFORM_TYPE {
        return Some(Argument::PlatformType);
    }
    if refers_to_parameter_store(text) {
        return None;
    }
    match single_token(text) {
        Some(name) => Some(Argument::Parameter(name)),
        // A token inside a longer text is not an argument.
        None if tokens(text).next().is_some() => None,
        None => Some(Argument::Constant(text)),
    }
}

/// The two arguments; `None` where the precondition is of any other form.
fn arguments(precondition: &Value) -> Option<(&str, &str)> {
    let operators = precondition.as_object().filter(|operators| operators.len() == 1)?;
    match operators.get("StringEquals")?.as_array()?.as_slice() {
        [Value::String(left), Value::String(right)] if left != right => Some((left, right)),
        _ => None,
    }
}

pub(crate) fn check(precondition: &Value, platform: Platform, values: &ParameterValues) -> Verdict {
    let unrecognized = || Verdict::Unrecognized(format!("Unrecognized precondition(s): {precondition}"));
    let Some((left_text, right_text)) = arguments(precondition) else { return unrecognized() };
    let (Some(left), Some(right)) = (argument(left_text), argument(right_text)) else { return unrecognized() };
    if matches!((&left, &right), (Argument::Constant(_), Argument::Constant(_))) {
        return unrecognized();
    }
    let by_platform = matches!(left, Argument::PlatformType) || matches!(right, Argument::PlatformType);
    let value = |argument: &Argument<'_>| match argument {
        Argument::PlatformType => Some(platform.as_str().to_owned()),
        Argument::Constant(text) => Some((*text).to_owned()),
        Argument::Parameter(name) => values.get(*name).map(crate::ParameterValue::to_text),
    };
    let (Some(left), Some(right)) = (value(&left), value(&right)) else { return unrecognized() };
    let met = if by_platform { left.eq_ignore_ascii_case(&right) } else { left == right };
    if met {
        Verdict::Met
    } else {
        Verdict::Unmet(format!(
            "Step execution skipped due to unsatisfied preconditions: '\"StringEquals\": [{left_text}, {right_text}]'."
        ))
    }
}

/// Where a plugin runs; `None` for one that is not known here.
pub(crate) fn plugin_platforms(plugin: &str) -> Option<&'static [Platform]> {
    match plugin {
        "aws:runShellScript" => Some(&[Platform::Linux, Platform::MacOS]),
        "careen:patch" => Some(&[Platform::Linux]),
        _ => None,
    }
}

/// Where at least one of the steps may run. A precondition on a parameter leaves that open.
pub(crate) fn platforms_of(steps: &[Step]) -> Vec<Platform> {
    let may_run = |step: &Step, platform: Platform| {
        let meant = match step.precondition.as_ref().and_then(arguments) {
            Some((PLATFORM_TYPE, name) | (name, PLATFORM_TYPE)) => {
                tokens(name).next().is_some() || name.eq_ignore_ascii_case(platform.as_str())
            }
            _ => true,
        };
        meant && plugin_platforms(&step.plugin).is_some_and(|platforms| platforms.contains(&platform))
    };
    Platform::ALL.into_iter().filter(|platform| steps.iter().any(|step| may_run(step, *platform))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ParameterValue;
    use serde_json::json;

    #[test]
    fn a_precondition_holds_or_not_or_is_not_one() {
        let values = ParameterValues::from([("mode".to_owned(), ParameterValue::Text("fast".into()))]);
        for (precondition, expected) in [
            (json!({"StringEquals": ["platformType", "Linux"]}), Some(true)),
            (json!({"StringEquals": ["linux", "platformType"]}), Some(true)),
            (json!({"StringEquals": ["platformType", "Windows"]}), Some(false)),
            (json!({"StringEquals": ["{{ mode }}", "fast"]}), Some(true)),
            (json!({"StringEquals": ["fast", "{{mode}}"]}), Some(true)),
            (json!({"StringEquals": ["{{ mode }}", "Fast"]}), Some(false)),
            (json!({"StringEquals": ["{{ other }}", "fast"]}), None),
            (json!({"StringEquals": ["a {{ mode }}", "platformType"]}), None),
            (json!({"StringEquals": ["{{ssm:mode}}", "platformType"]}), None),
            (json!({"StringEquals": ["fast", "slow"]}), None),
            (json!({"StringEquals": ["platformType", "platformType"]}), None),
            (json!({"StringEquals": ["platformType"]}), None),
            (json!({"StringEquals": ["platformType", 1]}), None),
            (json!({"StringEquals": ["platformType", "Linux", "x"]}), None),
            (json!({"StringLike": ["platformType", "Linux"]}), None),
            (json!({}), None),
            (json!("platformType"), None),
        ] {
            let found = match check(&precondition, Platform::Linux, &values) {
                Verdict::Met => Some(true),
                Verdict::Unmet(_) => Some(false),
                Verdict::Unrecognized(_) => None,
            };
            assert_eq!(found, expected, "{precondition}");
        }
    }
}
