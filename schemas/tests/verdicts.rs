//! What the columns depend on.

use podwitness_schemas::verdicts::schema;

#[test]
fn each_promoted_label_has_a_column_on_either_side() {
    let keys = ["app".to_owned(), "app.kubernetes.io/name".to_owned()];
    let schema = schema(&keys);
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let start = names.iter().position(|name| *name == "dst_labels").unwrap() + 1;
    assert_eq!(
        names[start..start + 5],
        [
            "src_label_app",
            "src_label_app.kubernetes.io/name",
            "dst_label_app",
            "dst_label_app.kubernetes.io/name",
            "service_namespace"
        ]
    );
}
