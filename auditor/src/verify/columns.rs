//! Columns of a Parquet file, read no further than a question needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, Encoding, Type as PhysicalType};
use parquet::column::page::Page;
use parquet::column::reader::ColumnReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::record::{Field, Row};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor, Type};

/// Values that are decoded at once: few enough for the processor's own memory.
const VALUES: usize = 8192;

/// The place of the column `name` among the leaves; an error where there is none.
fn place(schema: &SchemaDescriptor, name: &str) -> Result<usize> {
    find(schema, name).ok_or_else(|| ParquetError::General(format!("it has no column `{name}`")))
}

fn find(schema: &SchemaDescriptor, name: &str) -> Option<usize> {
    schema.columns().iter().position(|column| column.path().parts() == [name])
}

/// Whether there is a column `name`.
pub(super) fn has(file: &dyn FileReader, name: &str) -> bool {
    let root = file.metadata().file_metadata().schema();
    root.get_fields().iter().any(|field| field.name() == name)
}

/// What a column has that is read here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Time,
}

/// Whether the columns of a file of `table` that are read here are there and of their types, and all are compressed as the
/// format says: else other readers would see another file.
pub(super) fn check(file: &ParquetMetaData, table: &str) -> Result<()> {
    let common = [
        ("cluster", Kind::Text),
        ("node", Kind::Text),
        ("boot", Kind::Text),
        ("event", Kind::Text),
        ("time", Kind::Time),
        ("seq", Kind::Number),
    ];
    let more: &[_] = match table {
        "verdicts" => &[("last_time", Kind::Time), ("namespace", Kind::Text)],
        "policies" => &[("text", Kind::Text), ("text_sha256", Kind::Text)],
        _ => &[],
    };
    let schema = file.file_metadata().schema_descr();
    for &(name, kind) in common.iter().chain(more) {
        if kind_of(&schema.column(place(schema, name)?)) != Some(kind) {
            return Err(ParquetError::General(format!("its column `{name}` is of another type")));
        }
    }
    // The first files have none.
    if table == "coverage" && find(schema, "balance").is_some_and(|at| kind_of(&schema.column(at)) != Some(Kind::Text))
    {
        return Err(ParquetError::General("its column `balance` is of another type".to_owned()));
    }
    let mut columns = file.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let other =
        columns.find(|column| !matches!(column.compression(), Compression::UNCOMPRESSED | Compression::ZSTD(_)));
    other.map_or(Ok(()), |column| Err(ParquetError::General(format!("it is compressed with {}", column.compression()))))
}

fn kind_of(column: &ColumnDescriptor) -> Option<Kind> {
    match (column.physical_type(), column.converted_type()) {
        (PhysicalType::BYTE_ARRAY, ConvertedType::UTF8) => Some(Kind::Text),
        (PhysicalType::INT64, ConvertedType::NONE | ConvertedType::INT_64) => Some(Kind::Number),
        (PhysicalType::INT64, ConvertedType::TIMESTAMP_MICROS) => Some(Kind::Time),
        _ => None,
    }
}

/// Gives the values of the column of 64-bit integers `name` to `each`, in pieces, without its nulls.
pub(super) fn integers(file: &dyn FileReader, name: &str, mut each: impl FnMut(&[i64])) -> Result<()> {
    let column = place(file.metadata().file_metadata().schema_descr(), name)?;
    let (mut values, mut levels) = (Vec::with_capacity(VALUES), Vec::with_capacity(VALUES));
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group)?;
        let mut left = Left::of(group.as_ref());
        let ColumnReader::Int64ColumnReader(mut reader) = group.get_column_reader(column)? else {
            return Err(ParquetError::General(format!("its column `{name}` has no 64-bit integers")));
        };
        loop {
            values.clear();
            levels.clear();
            let (records, _, _) = reader.read_records(VALUES, Some(&mut levels), None, &mut values)?;
            if records == 0 {
                break;
            }
            left.take(records)?;
            each(&values);
        }
    }
    Ok(())
}

/// The rows that a row group has still to come by the file's footer. A page of some bytes can say that it has 2^31 of them.
struct Left(u64);

impl Left {
    fn of(group: &dyn RowGroupReader) -> Self {
        Self(u64::try_from(group.metadata().num_rows()).unwrap_or(0))
    }

    fn take(&mut self, records: usize) -> Result<()> {
        self.0 = self
            .0
            .checked_sub(records as u64)
            .ok_or_else(|| ParquetError::General("it has more rows than its footer says".to_owned()))?;
        Ok(())
    }
}

/// Whether each value is one more than the one before. Without a branch, so that several are looked at at once.
pub(super) fn grow_by_one(values: &[i64]) -> bool {
    let pairs = values.iter().zip(values.iter().skip(1));
    pairs.fold(0, |others, (before, value)| others | (value.wrapping_sub(*before) ^ 1)) == 0
}

/// The least and the greatest value; of none, the greatest and the least that there can be. In lanes that do not wait for each
/// other.
pub(super) fn extremes(values: &[i64]) -> (i64, i64) {
    const LANES: usize = 8;
    let (mut least, mut greatest) = ([i64::MAX; LANES], [i64::MIN; LANES]);
    let (pieces, rest) = values.as_chunks::<LANES>();
    for piece in pieces {
        for lane in 0..LANES {
            least[lane] = least[lane].min(piece[lane]);
            greatest[lane] = greatest[lane].max(piece[lane]);
        }
    }
    let least = least.iter().chain(rest).copied().min();
    let greatest = greatest.iter().chain(rest).copied().max();
    (least.unwrap_or(i64::MAX), greatest.unwrap_or(i64::MIN))
}

/// The distinct values of the column of texts `name`; `None` among them where a row has null.
pub(super) fn distinct(file: &dyn FileReader, name: &str) -> Result<BTreeSet<Option<Vec<u8>>>> {
    let column = place(file.metadata().file_metadata().schema_descr(), name)?;
    let mut found = BTreeSet::new();
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group)?;
        match dictionary(group.as_ref(), column)? {
            // Values that no row refers to would be said to be there; so a dictionary is believed only where it says
            // all that there can be.
            Some(mut values) if values.len() == 1 => found.insert(values.pop()),
            _ => {
                read_distinct(group.as_ref(), column, &mut found)?;
                continue;
            }
        };
    }
    Ok(found)
}

/// Whether the column of texts `name` may have one of `words`: where this says no, it has none.
pub(super) fn may_have(file: &dyn FileReader, name: &str, words: &[&str]) -> Result<bool> {
    let column = place(file.metadata().file_metadata().schema_descr(), name)?;
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group)?;
        let has_one = match dictionary(group.as_ref(), column)? {
            Some(values) => values.iter().any(|value| words.iter().any(|word| word.as_bytes() == value.as_slice())),
            None => true,
        };
        if has_one {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The dictionary of a column of texts without nulls, where every page uses it.
fn dictionary(group: &dyn RowGroupReader, column: usize) -> Result<Option<Vec<Vec<u8>>>> {
    let described = group.metadata().column(column).column_descr_ptr();
    if described.max_def_level() != 0 {
        return Ok(None);
    }
    let mut values = None;
    for page in group.get_column_page_reader(column)? {
        match page? {
            // What is read is the first one, so the last one says nothing.
            Page::DictionaryPage { .. } if values.is_some() => return Ok(None),
            Page::DictionaryPage { buf, num_values, .. } => values = Some(plain_texts(&buf, num_values)?),
            Page::DataPage { encoding, .. } | Page::DataPageV2 { encoding, .. } => {
                let uses_dictionary = matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
                if !uses_dictionary {
                    return Ok(None);
                }
            }
        }
    }
    Ok(values)
}

/// Texts in the plain encoding: each behind its length in four bytes, little-endian.
fn plain_texts(mut bytes: &[u8], count: u32) -> Result<Vec<Vec<u8>>> {
    let cut = || ParquetError::EOF("a dictionary is cut off".to_owned());
    let mut texts = Vec::new();
    for _ in 0..count {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?;
        texts.push(text.to_vec());
        bytes = rest;
    }
    Ok(texts)
}

fn read_distinct(group: &dyn RowGroupReader, column: usize, found: &mut BTreeSet<Option<Vec<u8>>>) -> Result<()> {
    let ColumnReader::ByteArrayColumnReader(mut reader) = group.get_column_reader(column)? else {
        return Err(ParquetError::General("a column of texts has none".to_owned()));
    };
    let (mut values, mut levels) = (Vec::with_capacity(VALUES), Vec::with_capacity(VALUES));
    let mut left = Left::of(group);
    loop {
        values.clear();
        levels.clear();
        let (records, count, _) = reader.read_records(VALUES, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Ok(());
        }
        left.take(records)?;
        if count < records {
            found.insert(None);
        }
        for value in &values {
            if !found.iter().any(|known| known.as_deref() == Some(value.data())) {
                found.insert(Some(value.data().to_vec()));
            }
        }
    }
}

/// Gives every row with the columns `names` to `each`; the row's fields stand in the order of the file's schema.
pub(super) fn rows(file: &dyn FileReader, names: &[&str], mut each: impl FnMut(&Row)) -> Result<()> {
    let root = file.metadata().file_metadata().schema();
    let fields: Vec<Arc<Type>> =
        root.get_fields().iter().filter(|field| names.contains(&field.name())).cloned().collect();
    let projection = Type::group_type_builder(root.name()).with_fields(fields).build()?;
    for row in file.get_row_iter(Some(projection))? {
        each(&row?);
    }
    Ok(())
}

/// The field `name` of a row.
pub(super) fn field<'row>(row: &'row Row, name: &str) -> Option<&'row Field> {
    row.get_column_iter().find(|(column, _)| *column == name).map(|(_, field)| field)
}

/// The text in the field `name` of a row.
pub(super) fn text<'row>(row: &'row Row, name: &str) -> Option<&'row str> {
    match field(row, name) {
        Some(Field::Str(text)) => Some(text),
        _ => None,
    }
}

/// The integer in the field `name` of a row.
pub(super) fn integer(row: &Row, name: &str) -> Option<i64> {
    match field(row, name) {
        Some(Field::Long(number)) => Some(*number),
        _ => None,
    }
}
