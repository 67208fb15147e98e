//! Files with the columns of the contract, written here by Arrow and not by our exporter.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, StringBuilder, StructBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray, new_null_array,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use podwitness_schemas::verdicts;

use super::{PolicyRule, read};

/// Two rows: a connection that is allowed by one rule, and records that were lost.
fn column(field: &Field) -> ArrayRef {
    let text = |first: Option<&str>, second: Option<&str>| -> ArrayRef {
        Arc::new([first, second].into_iter().collect::<DictionaryArray<Int32Type>>())
    };
    match field.name().as_str() {
        "time" => Arc::new(TimestampMicrosecondArray::from(vec![1_700_000_000_000_001, 5]).with_timezone("UTC")),
        "seq" => Arc::new(Int64Array::from(vec![7, 8])),
        "count" => Arc::new(Int64Array::from(vec![1, 3])),
        "namespace" => text(Some("shop"), Some("shop")),
        "event" => text(Some("open"), Some("loss")),
        "cluster" | "node" | "boot" => text(Some("x"), Some("x")),
        "verdict" => text(Some("allow"), None),
        "direction" => text(Some("egress"), None),
        "reason" => text(Some("rule"), Some("ring-full")),
        "protocol" => text(Some("TCP"), None),
        "src_ip" => text(Some("fd00:1::1"), None),
        "dst_ip" => text(Some("fd00:1::2"), None),
        "src_port" => Arc::new(Int32Array::from(vec![Some(65535), None])),
        "dst_port" => Arc::new(Int32Array::from(vec![Some(80), None])),
        "dst_pod" => text(Some("api"), None),
        "policies" => policies(),
        _ => new_null_array(field.data_type(), 2),
    }
}

fn policies() -> ArrayRef {
    let fields = verdicts::policy_fields();
    let columns = StructBuilder::from_fields(fields, 1);
    let mut list = ListBuilder::new(columns).with_field(verdicts::policy_element());
    let policy = list.values();
    policy.field_builder::<StringBuilder>(0).unwrap().append_value("shop");
    policy.field_builder::<StringBuilder>(1).unwrap().append_value("dns");
    policy.field_builder::<StringBuilder>(2).unwrap().append_null();
    policy.field_builder::<Int32Builder>(3).unwrap().append_value(2);
    policy.append(true);
    list.append(true);
    list.append(true);
    Arc::new(list.finish())
}

fn write(path: &Path, schema: Schema) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let columns = schema.fields().iter().map(|field| column(field)).collect();
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create_new(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn schema() -> Schema {
    let mut fields: Vec<_> = verdicts::schema(&["app".to_owned()]).fields().iter().cloned().collect();
    // As a later version might have.
    fields.insert(3, Arc::new(Field::new("a_new_column", DataType::Float64, true)));
    Schema::new(fields)
}

#[test]
fn rows_are_read_as_they_were_written_and_in_the_order_of_time() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("verdicts/cluster=x/namespace=shop/date=2026-01-01/hour=00/n-b-1.parquet");
    write(&path, schema());
    // What an exporter has not finished yet is no evidence.
    fs::write(path.with_extension("parquet#1"), "half").unwrap();

    let evidence = read(root.path()).unwrap();
    assert_eq!(evidence.files, [path]);
    let [loss, open] = evidence.records.as_slice() else { panic!("{:?}", evidence.records) };
    assert_eq!((loss.event.as_str(), loss.count, loss.verdict.as_deref()), ("loss", 3, None));
    assert_eq!((loss.src.ip, loss.dst.port, loss.policies.len()), (None, None, 0));
    assert_eq!((open.time, open.seq, open.namespace.as_str()), (1_700_000_000_000_001, 7, "shop"));
    assert_eq!((open.src.ip, open.src.port), (Some("fd00:1::1".parse().unwrap()), Some(65535)));
    assert_eq!((open.dst.pod.as_deref(), open.dst.namespace.as_deref()), (Some("api"), None));
    let rule = PolicyRule { namespace: "shop".to_owned(), name: "dns".to_owned(), rule: Some(2) };
    assert_eq!(open.policies, [rule]);
}

#[test]
fn a_root_without_evidence_has_no_records() {
    let root = tempfile::tempdir().unwrap();
    assert!(read(root.path()).unwrap().records.is_empty());
}

#[test]
fn a_file_that_is_not_as_it_should_be_is_named_with_its_column() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("verdicts/a.parquet");
    let without = schema().fields().iter().filter(|field| field.name() != "reason").cloned().collect::<Vec<_>>();
    write(&path, Schema::new(without));
    let error = read(root.path()).unwrap_err().to_string();
    assert!(error.contains("`reason`") && error.contains("a.parquet"), "{error}");
    fs::write(&path, "no Parquet").unwrap();
    let error = read(root.path()).unwrap_err().to_string();
    assert!(error.contains("a.parquet is not Parquet"), "{error}");
}
