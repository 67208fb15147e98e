//! What columns are built with.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder, StringDictionaryBuilder, TimestampMicrosecondBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use podwitness_schemas::column;

/// A column of strings that repeat.
pub(super) type TextBuilder = StringDictionaryBuilder<Int32Type>;

/// A column of times, in Unix microseconds.
pub(super) fn times() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::new().with_timezone("UTC")
}

/// A column of lists of texts.
pub(super) struct TextsBuilder(ListBuilder<StringBuilder>);

impl Default for TextsBuilder {
    fn default() -> Self {
        Self(ListBuilder::new(StringBuilder::new()).with_field(column::text_element()))
    }
}

impl TextsBuilder {
    pub(super) fn append(&mut self, texts: impl IntoIterator<Item = impl AsRef<str>>) {
        for text in texts {
            self.0.values().append_value(text);
        }
        self.0.append(true);
    }
}

/// Finished columns by name, so that their order is the schema's alone.
#[derive(Default)]
pub(super) struct Columns(HashMap<String, ArrayRef>);

impl Columns {
    pub(super) fn put(&mut self, name: &str, column: ArrayRef) {
        self.0.insert(name.to_owned(), column);
    }

    pub(super) fn text(&mut self, name: &str, mut builder: TextBuilder) {
        self.put(name, Arc::new(builder.finish()));
    }

    pub(super) fn texts(&mut self, name: &str, mut builder: TextsBuilder) {
        self.put(name, Arc::new(builder.0.finish()));
    }

    pub(super) fn into_batch(mut self, schema: SchemaRef) -> RecordBatch {
        let columns = schema
            .fields()
            .iter()
            .map(|field| self.0.remove(field.name()).expect("each column of the schema has a builder here"))
            .collect();
        RecordBatch::try_new(schema, columns).expect("each builder makes the type that the schema has")
    }
}

pub(super) fn repeat(text: &str, rows: usize) -> ArrayRef {
    let mut builder = TextBuilder::new();
    builder.append_n(text, rows).expect("a dictionary of one value is never full");
    Arc::new(builder.finish())
}

/// A text where there is one: the spool has an empty one for none.
pub(super) fn present(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A number of at most 16 bits, as all in packets are, or an index of an interface, which the kernel keeps in an `int`.
pub(super) fn number(wide: u32) -> i32 {
    i32::try_from(wide).unwrap_or(i32::MAX)
}
