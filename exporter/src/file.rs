//! One table's rows as the bytes of a Parquet file.
//!
//! Times and `seq` are delta-encoded and everything else is a dictionary as long as that is smaller; columns are
//! compressed with zstd where that makes them smaller; row groups have [`ROW_GROUP_ROWS`] rows; there is a page index,
//! and bloom filters on the columns that a person asks for one value of.

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, RecordBatch};
use chrono::{DateTime, SecondsFormat, Utc};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use podwitness_schemas::metadata;
use podwitness_spool::Origin;

use crate::rows::Span;
use crate::table::Table;

/// Rows in a row group: `DuckDB`'s own size, so that its threads share a file evenly.
pub const ROW_GROUP_ROWS: usize = 122_880;

/// The level from which more costs much time and saves little; also what `DuckDB` writes with.
const ZSTD_LEVEL: i32 = 3;

/// One in a hundred values that are not there is looked for in vain.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

const DELTA_COLUMNS: [&str; 3] = ["time", "last_time", "seq"];

/// What zstd makes no smaller: deltas whose bits are random, and what is the same in every row of a file, a dictionary of
/// one. A reader makes a decompressor for each column of each row group that has a codec, which in a virtual machine
/// takes longer than to decompress so little (it asks the processor what it can do, and the hypervisor answers).
const UNCOMPRESSED_COLUMNS: [&str; 4] = ["time", "cluster", "node", "boot"];

/// The bytes of a file of `rows`, which are of `table`, come from `origin`, cover `span` and are to be kept until
/// `retain_until`.
pub fn encode(
    table: &Table,
    rows: &RecordBatch,
    origin: &Origin,
    span: &Span,
    retain_until: DateTime<Utc>,
) -> Result<Vec<u8>, ParquetError> {
    let metadata = key_values(table, origin, span, retain_until);
    let properties = properties(table, rows)?.set_key_value_metadata(Some(metadata)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties))?;
    writer.write(rows)?;
    writer.into_inner()
}

/// A time of a record, which is in Unix microseconds; the last time there is where it lies beyond the calendar.
pub fn timestamp(microseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(microseconds).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn properties(table: &Table, batch: &RecordBatch) -> Result<WriterPropertiesBuilder, ParquetError> {
    let seq = i32::try_from(batch.schema_ref().index_of("seq")?)?;
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("podwitness-exporter ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_dictionary_enabled(true)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        // All columns before it are leaves, so the field's index is the leaf's.
        .set_sorting_columns(Some(vec![SortingColumn { column_idx: seq, descending: false, nulls_first: false }]));
    for name in DELTA_COLUMNS {
        properties = properties
            .set_column_dictionary_enabled(ColumnPath::from(name), false)
            .set_column_encoding(ColumnPath::from(name), Encoding::DELTA_BINARY_PACKED);
    }
    // Only a table that is divided by namespaces has one in each file.
    for name in UNCOMPRESSED_COLUMNS.into_iter().chain(table.namespace().map(|_| "namespace")) {
        properties = properties.set_column_compression(ColumnPath::from(name), Compression::UNCOMPRESSED);
    }
    for &name in table.bloom_columns() {
        let column = batch.column_by_name(name).expect("the schema has the columns that are filtered on");
        // The library begins with room for so many and folds the filter down at the end; its default is a megabyte
        // each.
        let distinct = column.as_dictionary::<Int32Type>().values().len().clamp(1, ROW_GROUP_ROWS) as u64;
        properties = properties
            .set_column_bloom_filter_enabled(ColumnPath::from(name), true)
            .set_column_bloom_filter_fpp(ColumnPath::from(name), BLOOM_FALSE_POSITIVES)
            .set_column_bloom_filter_max_ndv(ColumnPath::from(name), distinct);
    }
    Ok(properties)
}

fn key_values(table: &Table, origin: &Origin, span: &Span, retain_until: DateTime<Utc>) -> Vec<KeyValue> {
    let mut pairs = vec![
        (metadata::TABLE, table.name().to_owned()),
        (metadata::SCHEMA_VERSION, table.version().to_string()),
        (metadata::CLUSTER, origin.cluster.clone()),
        (metadata::NODE, origin.node.clone()),
        (metadata::BOOT, origin.boot.clone()),
        (metadata::FIRST_SEQ, span.first_seq.to_string()),
        (metadata::LAST_SEQ, span.last_seq.to_string()),
        (metadata::FIRST_TIME, text(timestamp(span.first_time))),
        (metadata::LAST_TIME, text(timestamp(span.last_time))),
        (metadata::AGENT_VERSION, origin.agent_version.clone()),
        (metadata::OBJECT_SHA256, origin.object_sha256.clone()),
        (metadata::RETAIN_UNTIL, text(retain_until)),
    ];
    pairs.extend(table.namespace().map(|namespace| (metadata::NAMESPACE, namespace.to_owned())));
    if let Some((first, last)) = span.revisions {
        pairs.push((metadata::FIRST_POLICY_REVISION, first.to_string()));
        pairs.push((metadata::LAST_POLICY_REVISION, last.to_string()));
    }
    pairs.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
