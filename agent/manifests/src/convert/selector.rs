//! Label selectors.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use podwitness_policy::{LabelSelector, Operator, Requirement};

use super::names::{is_label_key, is_label_value};
use crate::fault::Mistake;

/// Mistakes, each with its path.
type Mistakes = Vec<(String, Mistake)>;

/// Converts a label selector. The error is every mistake in it, each with its path; then it means nothing at all.
pub(super) fn selector(path: &str, given: &meta::LabelSelector) -> Result<LabelSelector, Mistakes> {
    let mut mistakes = Vec::new();
    for (key, value) in given.match_labels.iter().flatten() {
        let path = format!("{path}.matchLabels[{key}]");
        check_key(&path, key, &mut mistakes);
        check_value(path, value, &mut mistakes);
    }
    let of_labels = LabelSelector::labels(given.match_labels.clone().unwrap_or_default());
    let mut requirements = of_labels.requirements.to_vec();
    for (index, expression) in given.match_expressions.iter().flatten().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        check_key(&format!("{path}.key"), &expression.key, &mut mistakes);
        for (index, value) in expression.values.iter().flatten().enumerate() {
            check_value(format!("{path}.values[{index}]"), value, &mut mistakes);
        }
        match operator(&path, expression) {
            Ok(operator) => requirements.push(Requirement { key: expression.key.clone(), operator }),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    let selector = LabelSelector { requirements: requirements.into() };
    if mistakes.is_empty() { Ok(selector) } else { Err(mistakes) }
}

fn check_key(path: &str, key: &str, mistakes: &mut Mistakes) {
    if !is_label_key(key) {
        mistakes.push((path.to_owned(), Mistake::LabelKey(key.to_owned())));
    }
}

fn check_value(path: String, value: &str, mistakes: &mut Mistakes) {
    if !is_label_value(value) {
        mistakes.push((path, Mistake::LabelValue(value.to_owned())));
    }
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
            let mistake = Mistake::OperatorWithValues { operator: operator.to_owned(), values: values.join(", ") };
            Err((format!("{path}.values"), mistake))
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
