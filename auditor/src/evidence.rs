//! Reading `verdicts` files from a folder.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};

/// Why evidence could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvidenceError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not Parquet as it should be: {source}", path.display())]
    Parquet { path: PathBuf, source: ParquetError },
    #[error("the column `{column}` of {} is missing or not of the type it should be", path.display())]
    Column { path: PathBuf, column: String },
}

/// One row, as far as the command shows it; the columns' own names and meanings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Microseconds since 1970, UTC.
    pub(crate) time: i64,
    pub(crate) namespace: String,
    pub(crate) seq: i64,
    pub(crate) event: String,
    pub(crate) verdict: Option<String>,
    pub(crate) direction: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) count: i64,
    pub(crate) protocol: Option<String>,
    pub(crate) src: Side,
    pub(crate) dst: Side,
    pub(crate) policies: Vec<PolicyRule>,
}

/// One side of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) namespace: Option<String>,
    pub(crate) pod: Option<String>,
    pub(crate) identity: Option<String>,
}

/// A policy, and the rule of it where one allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PolicyRule {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) rule: Option<i32>,
}

/// As `policies_text` in the views writes it.
impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, rule } = self;
        write!(f, "{namespace}/{name}")?;
        rule.map_or(Ok(()), |rule| write!(f, "[{rule}]"))
    }
}

/// The files below `root`, in the order of their names, and the records in them.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) records: Vec<Record>,
}

/// Reads every file of `verdicts` below `root`; a root in which there is none yet has no records.
pub(crate) fn read(root: &Path) -> Result<Evidence, EvidenceError> {
    let mut evidence = Evidence::default();
    find(&root.join("verdicts"), &mut evidence.files)?;
    evidence.files.sort();
    for path in &evidence.files {
        let file = File::open(path).map_err(|source| EvidenceError::Read { path: path.clone(), source })?;
        let parquet = |source| EvidenceError::Parquet { path: path.clone(), source };
        let reader = SerializedFileReader::new(file).map_err(parquet)?;
        for row in reader.get_row_iter(None).map_err(parquet)? {
            let row = row.map_err(parquet)?;
            let record = record(&row).map_err(|Unreadable(column)| EvidenceError::Column {
                path: path.clone(),
                column: column.to_owned(),
            })?;
            evidence.records.push(record);
        }
    }
    evidence.records.sort_by(|a, b| (a.time, &a.namespace, a.seq).cmp(&(b.time, &b.namespace, b.seq)));
    Ok(evidence)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), EvidenceError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| EvidenceError::Read { path, source }
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(unreadable(folder))?,
    };
    for entry in entries {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
    }
    Ok(())
}

/// The column that could not be read.
struct Unreadable(&'static str);

/// The columns of a row by their names; a file may have more of them than this program knows.
struct Columns<'row>(HashMap<&'row str, &'row Field>);

impl Columns<'_> {
    fn text(&self, name: &'static str) -> Result<Option<String>, Unreadable> {
        match self.0.get(name) {
            Some(Field::Str(text)) => Ok(Some(text.clone())),
            Some(Field::Null) => Ok(None),
            _ => Err(Unreadable(name)),
        }
    }

    fn number(&self, name: &'static str) -> Result<Option<i64>, Unreadable> {
        match self.0.get(name) {
            Some(Field::Long(number) | Field::TimestampMicros(number)) => Ok(Some(*number)),
            Some(Field::Int(number)) => Ok(Some((*number).into())),
            Some(Field::Null) => Ok(None),
            _ => Err(Unreadable(name)),
        }
    }

    fn required<T>(name: &'static str, value: Option<T>) -> Result<T, Unreadable> {
        value.ok_or(Unreadable(name))
    }

    fn side(&self, names: [&'static str; 5]) -> Result<Side, Unreadable> {
        let [ip, port, namespace, pod, identity] = names;
        Ok(Side {
            ip: self.text(ip)?.map(|text| text.parse().map_err(|_| Unreadable(ip))).transpose()?,
            port: self.number(port)?.map(|number| u16::try_from(number).map_err(|_| Unreadable(port))).transpose()?,
            namespace: self.text(namespace)?,
            pod: self.text(pod)?,
            identity: self.text(identity)?,
        })
    }
}

fn columns(row: &Row) -> Columns<'_> {
    Columns(row.get_column_iter().map(|(name, field)| (name.as_str(), field)).collect())
}

fn record(row: &Row) -> Result<Record, Unreadable> {
    let row = columns(row);
    Ok(Record {
        time: Columns::required("time", row.number("time")?)?,
        namespace: Columns::required("namespace", row.text("namespace")?)?,
        seq: Columns::required("seq", row.number("seq")?)?,
        event: Columns::required("event", row.text("event")?)?,
        verdict: row.text("verdict")?,
        direction: row.text("direction")?,
        reason: row.text("reason")?,
        count: Columns::required("count", row.number("count")?)?,
        protocol: row.text("protocol")?,
        src: row.side(["src_ip", "src_port", "src_namespace", "src_pod", "src_identity"])?,
        dst: row.side(["dst_ip", "dst_port", "dst_namespace", "dst_pod", "dst_identity"])?,
        policies: match row.0.get("policies") {
            Some(Field::ListInternal(list)) => list.elements().iter().map(policy).collect::<Result<_, _>>()?,
            _ => return Err(Unreadable("policies")),
        },
    })
}

fn policy(element: &Field) -> Result<PolicyRule, Unreadable> {
    let Field::Group(row) = element else { return Err(Unreadable("policies")) };
    let row = columns(row);
    let rule = row.number("rule")?.map(|rule| i32::try_from(rule).map_err(|_| Unreadable("rule"))).transpose()?;
    Ok(PolicyRule {
        namespace: Columns::required("namespace", row.text("namespace")?)?,
        name: Columns::required("name", row.text("name")?)?,
        rule,
    })
}

#[cfg(test)]
mod tests;
