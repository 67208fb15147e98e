//! Label selectors.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use podwitness_policy::{LabelSelector, Operator, Requirement};

use crate::fault::Mistake;

/// Converts a label selector. The error is every mistake in it, each with its path; then it means nothing at all.
pub(super) fn selector(path: &str, given: &meta::LabelSelector) -> Result<LabelSelector, Vec<(String, Mistake)>> {
    let mut selector = LabelSelector::labels(given.match_labels.clone().unwrap_or_default());
    let mut mistakes = Vec::new();
    for (index, expression) in given.match_expressions.iter().flatten().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        match operator(&path, expression) {
            Ok(operator) => selector.requirements.push(Requirement { key: expression.key.clone(), operator }),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(selector) } else { Err(mistakes) }
}

fn operator(path: &str, expression: &meta::LabelSelectorRequirement) -> Result<Operator, (String, Mistake)> {
    let values = expression.values.as_deref().unwrap_or_default();
    let operator = expression.operator.as_str();
    let several = || {
        if values.is_empty() {
            Err((format!("{path}.values"), Mistake::OperatorWithoutValues(operator.to_owned())))
        } else {
            Ok(values.iter().cloned().collect())
        }
    };
    let none = |known: Operator| {
        if values.is_empty() {
            Ok(known)
        } else {
            Err((format!("{path}.values"), Mistake::OperatorWithValues(operator.to_owned())))
        }
    };
    match operator {
        "In" => several().map(Operator::In),
        "NotIn" => several().map(Operator::NotIn),
        "Exists" => none(Operator::Exists),
        "DoesNotExist" => none(Operator::DoesNotExist),
        _ => Err((format!("{path}.operator"), Mistake::Operator(operator.to_owned()))),
    }
}
