//! From text to values, one document at a time: an error of syntax in one document leaves the others readable.

use serde_json::Value;

/// The value or the syntax error of each document that has something in it.
pub(super) fn values(text: &str) -> Vec<Result<Value, String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut values = Vec::new();
    for document in documents(text) {
        match parse(document.text) {
            Ok(Value::Null) => {}
            Ok(value) => values.push(Ok(value)),
            // Once more from where the document stands, so that the line in the message is that of the text.
            Err(error) => {
                let in_place = "\n".repeat(document.lines_before) + document.text;
                values.push(Err(parse(&in_place).err().unwrap_or(error)));
            }
        }
    }
    values
}

struct Text<'a> {
    text: &'a str,
    lines_before: usize,
}

/// Cuts the text before each line that starts a document. YAML has no other meaning for such a line, whatever it stands in.
fn documents(text: &str) -> Vec<Text<'_>> {
    let mut documents = Vec::new();
    let mut start = 0;
    let mut start_line = 0;
    let mut position = 0;
    for (line_number, line) in text.split_inclusive('\n').enumerate() {
        let starts_document =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if starts_document {
            documents.push(Text { text: &text[start..position], lines_before: start_line });
            (start, start_line) = (position, line_number);
        }
        position += line.len();
    }
    documents.push(Text { text: &text[start..], lines_before: start_line });
    documents
}

fn parse(document: &str) -> Result<Value, String> {
    // JSON is YAML too, but a listing of a large cluster is read several times faster as what it is.
    if document.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(document)
    {
        return Ok(value);
    }
    serde_saphyr::from_str_with_options(document, options())
        .map_err(|error| error.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
}

fn options() -> serde_saphyr::Options {
    let mut options = serde_saphyr::Options::default();
    // A listing of ten thousand pods is one document with millions of nodes.
    options.budget = options.budget.map(|mut budget| {
        budget.max_events = 100_000_000;
        budget.max_nodes = 50_000_000;
        budget.max_total_scalar_bytes = 1 << 30;
        budget
    });
    options.with_snippet = false;
    options
}
