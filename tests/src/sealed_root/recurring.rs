//! Rows of verdicts that come again and again, for roots of gigabytes: a spool would take hours for them.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use arrow_array::types::{ArrowPrimitiveType, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, ArrayRef, PrimitiveArray, RecordBatch, cast::AsArray as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use podwitness_exporter::batch::new_file;
use podwitness_exporter::rows::Span;
use podwitness_exporter::staging::NewFile;
use podwitness_exporter::table::Table;
use podwitness_spool::Origin;

use super::Cluster;

/// The rows of one file of verdicts.
pub struct Recurring {
    table: Table,
    rows: RecordBatch,
    span: Span,
}

impl Recurring {
    /// Reads a file of the verdicts of `namespace`, which has no holes.
    pub fn read(namespace: &str, file: File) -> Result<Self> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let count = usize::try_from(reader.metadata().file_metadata().num_rows())?;
        let rows = reader.with_batch_size(count).build()?.next().context("it has rows")??;
        ensure!(rows.num_rows() == count, "all rows are read at once");
        let column = |name: &str| rows.column_by_name(name).with_context(|| format!("it has no column {name}"));
        let seqs = column("seq")?.as_primitive::<Int64Type>().values();
        let times = column("time")?.as_primitive::<TimestampMicrosecondType>();
        let last_times = column("last_time")?.as_primitive::<TimestampMicrosecondType>();
        let revisions = column("policy_revision")?.as_primitive::<Int64Type>();
        let latest = times.iter().chain(last_times).flatten().max();
        let span = Span {
            rows: count as u64,
            first_seq: seqs[0],
            last_seq: seqs[count - 1],
            holes: Vec::new(),
            opening_time: times.value(0),
            first_time: times.iter().flatten().min().context("it has times")?,
            last_time: latest.context("it has times")?,
            revisions: revisions.iter().flatten().min().zip(revisions.iter().flatten().max()),
        };
        Ok(Self { table: Table::Verdicts { namespace: namespace.to_owned() }, rows, span })
    }

    /// The same rows for the time of this number, each `later` microseconds behind the one before; the file itself was number 0.
    pub fn again(&self, origin: &Origin, cluster: &Cluster, number: i64, later: i64) -> Result<NewFile> {
        let (places, time) = (number * i64::try_from(self.span.rows)?, number * later);
        let schema = self.rows.schema();
        let columns =
            schema.fields().iter().zip(self.rows.columns()).map(|(field, column)| match field.name().as_str() {
                "seq" => moved::<Int64Type>(column, places),
                "time" | "last_time" => moved::<TimestampMicrosecondType>(column, time),
                _ => Arc::clone(column),
            });
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns.collect())?;
        let mut span = self.span.clone();
        span.first_seq += places;
        span.last_seq += places;
        span.opening_time += time;
        span.first_time += time;
        span.last_time += time;
        Ok(new_file(origin, &self.table, &span, &rows, Duration::from_secs(cluster.default_seconds))?)
    }
}

fn moved<T: ArrowPrimitiveType<Native = i64>>(column: &ArrayRef, by: i64) -> ArrayRef {
    let column: &PrimitiveArray<T> = column.as_primitive();
    let moved: PrimitiveArray<T> = column.unary(|value| value + by);
    Arc::new(moved.with_data_type(column.data_type().clone()))
}
