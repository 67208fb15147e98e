//! What a `PromQL` expression asks for: metrics, labels, and values of labels. As much of the grammar as ours need; a word that
//! is none of those is an error, so that nothing is passed over.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};

/// Functions, aggregations and operators.
const WORDS: [&str; 11] =
    ["sum", "min", "count", "by", "rate", "increase", "histogram_quantile", "time", "or", "and", "unless"];

/// What an expression asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Each metric, with the labels that must match.
    pub(crate) selectors: Vec<Selector>,
    /// The labels of `by (…)`; none where nothing is grouped.
    pub(crate) grouped_by: Option<BTreeSet<String>>,
}

/// A metric and its matchers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matchers: Vec<Matcher>,
}

/// `label="value"`, or another comparison.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    /// Where it must be this very value.
    pub(crate) value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// Reads an expression.
pub(crate) fn read(expression: &str) -> Result<Asked> {
    let mut tokens = tokens(expression)?.into_iter().peekable();
    let mut asked = Asked::default();
    while let Some(token) = tokens.next() {
        let Token::Word(word) = token else { continue };
        if word == "by" {
            let labels = asked.grouped_by.get_or_insert_default();
            for token in tokens.by_ref().take_while(|token| *token != Token::Sign(')')) {
                if let Token::Word(label) = token {
                    labels.insert(label);
                }
            }
        } else if !WORDS.contains(&word.as_str()) {
            let mut matchers = Vec::new();
            if tokens.peek() == Some(&Token::Sign('{')) {
                let inside: Vec<Token> =
                    tokens.by_ref().take_while(|token| *token != Token::Sign('}')).skip(1).collect();
                for matcher in inside.split(|token| *token == Token::Sign(',')) {
                    matchers.push(read_matcher(matcher)?);
                }
            }
            ensure!(tokens.peek() != Some(&Token::Sign('(')), "{word} is no function that is known here");
            asked.selectors.push(Selector { metric: word, matchers });
        }
    }
    Ok(asked)
}

fn read_matcher(tokens: &[Token]) -> Result<Matcher> {
    let [Token::Word(label), signs @ .., Token::Text(value)] = tokens else { bail!("{tokens:?} is no matcher") };
    let is_equal = signs == [Token::Sign('=')];
    Ok(Matcher { label: label.clone(), value: is_equal.then(|| value.clone()) })
}

fn tokens(expression: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_part = |character: char| character.is_ascii_alphanumeric() || "_:.".contains(character);
        let length = if first == '"' {
            let text = rest[1..].split('"').next().context("a split has a first part")?;
            tokens.push(Token::Text(text.to_owned()));
            text.len() + 2
        } else if is_part(first) {
            let word = &rest[..rest.find(|character| !is_part(character)).unwrap_or(rest.len())];
            // Numbers and durations ask for nothing.
            if !first.is_ascii_digit() {
                tokens.push(Token::Word(word.to_owned()));
            }
            word.len()
        } else {
            tokens.push(Token::Sign(first));
            first.len_utf8()
        };
        ensure!(length <= rest.len(), "a text does not end: {expression}");
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

#[test]
fn an_expression_is_read_as_what_it_asks_for() -> Result<()> {
    let expression = r#"sum by (node, le) (rate(a_total{kind="x", node=~"$node"}[5m])) / 3 * b or time() - c > 0.7"#;
    let asked = read(expression)?;
    let matcher =
        |label: &str, value: Option<&str>| Matcher { label: label.to_owned(), value: value.map(str::to_owned) };
    let selector = |metric: &str, matchers| Selector { metric: metric.to_owned(), matchers };
    ensure!(
        asked.selectors
            == [
                selector("a_total", vec![matcher("kind", Some("x")), matcher("node", None)]),
                selector("b", vec![]),
                selector("c", vec![]),
            ]
    );
    ensure!(asked.grouped_by == Some(BTreeSet::from(["node".to_owned(), "le".to_owned()])));
    ensure!(read("averge(a)").is_err(), "a function that is not known is no metric");
    Ok(())
}
