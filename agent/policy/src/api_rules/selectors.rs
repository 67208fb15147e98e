//! Label selectors.

use crate::model::{LabelSelector, Labels, Operator, Requirement, Values};

fn labels(of: &[(&str, &str)]) -> Labels {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn matches(operator: Operator, of: &[(&str, &str)]) -> bool {
    LabelSelector { requirements: [Requirement { key: "app".to_owned(), operator }].into() }.matches(&labels(of))
}

fn values(of: &[&str]) -> Values {
    of.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn the_empty_selector_matches_everything() {
    assert!(LabelSelector::everything().matches(&Labels::default()));
    assert!(LabelSelector::everything().matches(&labels(&[("app", "web")])));
}

#[test]
fn match_labels_must_all_be_there() {
    let selector = LabelSelector::labels([("app", "web"), ("tier", "front")]);
    assert!(selector.matches(&labels(&[("app", "web"), ("tier", "front"), ("more", "yes")])));
    assert!(!selector.matches(&labels(&[("app", "web")])));
    assert!(!selector.matches(&labels(&[("app", "web"), ("tier", "back")])));
}

#[test]
fn in_needs_the_key_with_one_of_the_values() {
    let operator = Operator::In(values(&["web", "api"]));
    assert!(matches(operator.clone(), &[("app", "api")]));
    assert!(!matches(operator.clone(), &[("app", "db")]));
    assert!(!matches(operator, &[]));
}

#[test]
fn the_order_of_values_means_nothing_and_one_that_is_given_twice_counts_once() {
    assert_eq!(Operator::In(values(&["web", "api", "web"])), Operator::In(values(&["api", "web"])));
}

#[test]
fn not_in_matches_other_values_and_an_absent_key() {
    let operator = Operator::NotIn(values(&["web", "api"]));
    assert!(!matches(operator.clone(), &[("app", "api")]));
    assert!(matches(operator.clone(), &[("app", "db")]));
    assert!(matches(operator, &[]));
}

#[test]
fn exists_and_does_not_exist_ask_for_the_key_alone() {
    assert!(matches(Operator::Exists, &[("app", "")]));
    assert!(!matches(Operator::Exists, &[("tier", "front")]));
    assert!(!matches(Operator::DoesNotExist, &[("app", "")]));
    assert!(matches(Operator::DoesNotExist, &[("tier", "front")]));
}
