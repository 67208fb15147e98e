//! What is said of a file outside of its rows: by its seal, and by its own metadata.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use parquet::file::metadata::FileMetaData;
use podwitness_schemas::{layout, metadata};
use podwitness_seals::seal::SealedObject;
use podwitness_seals::time::Time;

use super::names::ChainName;

/// What is said of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) table: String,
    pub(super) schema_version: u32,
    pub(super) cluster: String,
    pub(super) namespace: Option<String>,
    pub(super) node: String,
    pub(super) boot: String,
    pub(super) first_seq: i64,
    pub(super) last_seq: i64,
    pub(super) first_time: Time,
    pub(super) last_time: Time,
    pub(super) retain_until: Time,
    /// Of a seal alone.
    pub(super) rows: Option<u64>,
}

impl Claims {
    /// What a seal of `chain` says of `object`.
    pub(super) fn of_seal(chain: &ChainName, object: &SealedObject) -> Self {
        Self {
            table: object.table.clone(),
            schema_version: object.schema_version,
            cluster: chain.cluster.clone(),
            namespace: object.namespace.clone(),
            node: chain.node.clone().unwrap_or_default(),
            boot: object.boot.clone(),
            first_seq: object.first_seq,
            last_seq: object.last_seq,
            first_time: object.first_time,
            last_time: object.last_time,
            retain_until: object.retain_until,
            rows: Some(object.rows),
        }
    }

    /// What a file of `table` says of itself.
    pub(super) fn of_metadata(table: &str, file: &FileMetaData) -> Result<Self, String> {
        let pairs: HashMap<&str, &str> = file
            .key_value_metadata()
            .into_iter()
            .flatten()
            .filter_map(|pair| Some((pair.key.as_str(), pair.value.as_deref()?)))
            .collect();
        let text = |key: &str| {
            pairs.get(key).map(|text| (*text).to_owned()).ok_or_else(|| format!("its metadata lack `{key}`"))
        };
        let number = |key: &str| {
            let text = text(key)?;
            let number = text.parse().ok().filter(|number: &i64| number.to_string() == text);
            number.ok_or_else(|| format!("`{key}` in its metadata is no number"))
        };
        let time = |key: &str| {
            serde_json::from_value(text(key)?.into()).map_err(|error| format!("`{key}` in its metadata: {error}"))
        };
        Ok(Self {
            // The first files of `verdicts` do not say it.
            table: text(metadata::TABLE).unwrap_or_else(|_| "verdicts".to_owned()),
            schema_version: u32::try_from(number(metadata::SCHEMA_VERSION)?)
                .map_err(|_| "its schema version is no number".to_owned())?,
            cluster: text(metadata::CLUSTER)?,
            namespace: if table == "verdicts" { Some(text(metadata::NAMESPACE)?) } else { None },
            node: text(metadata::NODE)?,
            boot: text(metadata::BOOT)?,
            first_seq: number(metadata::FIRST_SEQ)?,
            last_seq: number(metadata::LAST_SEQ)?,
            first_time: time(metadata::FIRST_TIME)?,
            last_time: time(metadata::LAST_TIME)?,
            retain_until: time(metadata::RETAIN_UNTIL)?,
            rows: None,
        })
    }

    /// In what the file's own claims differ from these, a sentence each.
    pub(super) fn differences(&self, file: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, sealed: String, said: String| {
            if sealed != said {
                found.push(format!("`{what}` is {said} in its metadata, and {sealed} by its seal and path"));
            }
        };
        compare("table", self.table.clone(), file.table.clone());
        compare("schema_version", self.schema_version.to_string(), file.schema_version.to_string());
        compare("cluster", self.cluster.clone(), file.cluster.clone());
        compare("namespace", format!("{:?}", self.namespace), format!("{:?}", file.namespace));
        compare("node", self.node.clone(), file.node.clone());
        compare("boot", self.boot.clone(), file.boot.clone());
        compare("first_seq", self.first_seq.to_string(), file.first_seq.to_string());
        compare("last_seq", self.last_seq.to_string(), file.last_seq.to_string());
        compare("first_time", self.first_time.to_string(), file.first_time.to_string());
        compare("last_time", self.last_time.to_string(), file.last_time.to_string());
        if self.retain_until < file.retain_until {
            found.push(format!(
                "its metadata have it kept until {}, and its seal until {} alone",
                file.retain_until, self.retain_until
            ));
        }
        found
    }

    /// The path that follows where the first row happened at `time`; `None` for a table that there is not.
    pub(super) fn path_at(&self, time: DateTime<Utc>) -> Option<String> {
        let (cluster, node, boot, seq) = (&self.cluster, &self.node, &self.boot, self.first_seq);
        match (self.table.as_str(), &self.namespace) {
            ("verdicts", Some(namespace)) => Some(layout::verdicts_path(cluster, namespace, time, node, boot, seq)),
            ("coverage", None) => Some(layout::coverage_path(cluster, time, node, boot, seq)),
            ("policies", None) => Some(layout::policies_path(cluster, time, node, boot, seq)),
            _ => None,
        }
    }

    /// The path that follows where the first row happened at the date and hour that `path` has.
    pub(super) fn path_at_its_time(&self, path: &str) -> Option<String> {
        let value = |key: &str| path.split('/').find_map(|segment| segment.strip_prefix(key));
        let date = NaiveDate::parse_from_str(value("date=")?, "%Y-%m-%d").ok()?;
        let hour = value("hour=").map_or(Ok(0), str::parse).ok()?;
        self.path_at(date.and_hms_opt(hour, 0, 0)?.and_utc())
    }
}
