//! What the columns of all tables are made of.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};

use crate::metadata::DESCRIPTION;

pub(crate) fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Strings that repeat within a file.
pub(crate) fn repeated() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The Arrow type of a list of texts.
pub fn texts_type() -> DataType {
    DataType::List(text_element())
}

/// The field of one element of a list of texts; its name is the one that Parquet's specification gives to list elements.
pub fn text_element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Utf8, false))
}

pub(crate) fn required(name: &str, data_type: DataType, description: &str) -> Field {
    field(name, data_type, false, description)
}

pub(crate) fn optional(name: &str, data_type: DataType, description: &str) -> Field {
    field(name, data_type, true, description)
}

fn field(name: &str, data_type: DataType, nullable: bool, description: &str) -> Field {
    let metadata = HashMap::from([(DESCRIPTION.to_owned(), description.to_owned())]);
    Field::new(name, data_type, nullable).with_metadata(metadata)
}
