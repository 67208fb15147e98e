//! The definition of `AuditTrail` that the chart installs is the one that the type gives.

use std::path::Path;
use std::{env, fs};

use podwitness_manifests::audit_trail_definition;
use serde_json::Value;

/// The file, from the repository's root.
const FILE: &str = "deploy/helm/podwitness/files/audittrails.podwitness.io.yaml";

const HEAD: &str = "# Made from agent/manifests/src/trail.rs; after a change there run\n\
                    # PODWITNESS_WRITE_GOLDEN=1 cargo test -p podwitness-manifests --test definition\n";

#[test]
fn the_chart_has_the_definition_that_the_type_gives() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(FILE);
    let definition = serde_json::to_value(audit_trail_definition()).unwrap();
    let text = format!("{HEAD}{}", serde_saphyr::to_string(&definition).unwrap());
    if env::var_os("PODWITNESS_WRITE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let read_back: Value = serde_saphyr::from_str(&written).unwrap_or_default();
    assert_eq!(read_back, definition, "{FILE} is not what the type gives: renew it as its first lines say");
    assert_eq!(written, text, "{FILE} is written otherwise: renew it as its first lines say");
}

/// Every object has its properties named, so that the API server throws away what nobody knows.
#[test]
fn the_schema_is_structural_and_says_what_each_field_is_for() {
    let definition = serde_json::to_value(audit_trail_definition()).unwrap();
    let version = &definition["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    assert_eq!(version["subresources"]["status"], serde_json::json!({}));
    assert_eq!(definition["spec"]["scope"], "Namespaced");
    assert!(!schema.to_string().contains("preserve-unknown-fields"), "{schema:#}");
    let spec = schema["properties"]["spec"]["properties"].as_object().unwrap();
    let fields: Vec<&str> = spec.keys().map(String::as_str).collect();
    assert_eq!(fields, ["externalAddresses", "legalHold", "mode", "retention"]);
    // A patch may take any of the status away.
    assert_eq!(schema["properties"]["status"]["required"], Value::Null);
    for part in ["spec", "status"] {
        let properties = schema["properties"][part]["properties"].as_object().unwrap();
        for (field, schema) in properties {
            assert!(schema["description"].as_str().is_some_and(|text| text.len() > 20), "{part}.{field}: {schema:#}");
            assert!(schema["type"].is_string(), "{part}.{field}: {schema:#}");
        }
    }
}
