//! Evidence as rows, read through Arrow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{RecordBatch, StringArray, StructArray};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use podwitness_schemas::metadata;

/// One row of `verdicts`; the columns' own names and meanings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described in podwitness_schemas::verdicts")]
pub struct Row {
    pub time: i64,
    pub last_time: Option<i64>,
    pub seq: i64,
    pub cluster: String,
    pub namespace: String,
    pub node: String,
    pub boot: String,
    pub event: String,
    pub verdict: Option<String>,
    pub direction: Option<String>,
    pub reason: Option<String>,
    pub count: i64,
    pub protocol: Option<String>,
    pub src: Side,
    pub dst: Side,
    pub service: Option<ServiceAddress>,
    pub nat_resolution: Option<String>,
    pub backend: Option<SocketAddr>,
    pub tcp_flags: Option<i32>,
    pub totals: Option<Totals>,
    pub policies: Vec<PolicyRule>,
    pub policy_revision: Option<i64>,
    pub policy_sha256: Option<String>,
    pub previous_verdict: Option<String>,
    pub previous_policies: Vec<PolicyRule>,
}

/// The Service that was addressed, and its address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described in podwitness_schemas::verdicts")]
pub struct ServiceAddress {
    pub namespace: String,
    pub name: String,
    pub address: SocketAddr,
}

/// One side of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the columns are described in podwitness_schemas::verdicts")]
pub struct Side {
    pub ip: Option<IpAddr>,
    pub port: Option<u16>,
    pub identity: Option<String>,
    pub namespace: Option<String>,
    pub pod: Option<String>,
    pub pod_uid: Option<String>,
    pub service_account: Option<String>,
    pub node: Option<String>,
    pub labels: Option<String>,
}

/// What went out of the endpoint and into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described in podwitness_schemas::verdicts")]
pub struct Totals {
    pub packets_out: i64,
    pub bytes_out: i64,
    pub packets_in: i64,
    pub bytes_in: i64,
}

/// An element of `policies`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the columns are described in podwitness_schemas::verdicts")]
pub struct PolicyRule {
    pub namespace: String,
    pub name: String,
    pub uid: Option<String>,
    pub rule: Option<i32>,
}

/// One Parquet file.
#[derive(Clone, Debug)]
pub struct EvidenceFile {
    /// Where it lies.
    pub path: PathBuf,
    /// The key-value metadata in its footer.
    pub metadata: BTreeMap<String, String>,
    /// Its rows in the file's order.
    pub rows: Vec<Row>,
}

/// All files of `verdicts` below a root, in the order of their paths.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The files.
    pub files: Vec<EvidenceFile>,
}

/// The five values that are one connection, and the direction, which says whose record of it.
pub type Connection = (String, String, IpAddr, Option<u16>, IpAddr, Option<u16>);

impl Evidence {
    /// Reads all there is below `root`. A root without `verdicts` has no files.
    pub fn read(root: &Path) -> Result<Self> {
        Self::read_but(root, &BTreeSet::new())
    }

    /// Reads what is not known yet.
    pub fn read_but(root: &Path, known: &BTreeSet<PathBuf>) -> Result<Self> {
        let mut paths = Vec::new();
        find(&root.join("verdicts"), &mut paths)?;
        paths.retain(|path| !known.contains(path));
        paths.sort();
        let files =
            paths.into_iter().map(|path| read_file(&path).with_context(|| format!("cannot read {}", path.display())));
        Ok(Self { files: files.collect::<Result<_>>()? })
    }

    /// The part of one namespace.
    #[must_use]
    pub fn of_namespace(mut self, namespace: &str) -> Self {
        self.files.retain(|file| file.metadata.get(metadata::NAMESPACE).is_some_and(|of| of == namespace));
        self
    }

    /// Every row.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.files.iter().flat_map(|file| &file.rows)
    }

    /// The rows of one kind of event.
    pub fn events(&self, event: &str) -> impl Iterator<Item = &Row> {
        self.rows().filter(move |row| row.event == event)
    }
}

impl Row {
    /// Whether it is about TCP or UDP.
    pub fn is_tcp_or_udp(&self) -> bool {
        matches!(self.protocol.as_deref(), Some("TCP" | "UDP"))
    }

    /// Which connection it is about, seen from which side.
    pub fn connection(&self) -> Result<Connection> {
        let (Some(protocol), Some(direction), Some(from), Some(to)) =
            (self.protocol.clone(), self.direction.clone(), self.src.ip, self.dst.ip)
        else {
            bail!("this row is about no connection: {self:?}")
        };
        Ok((protocol, direction, from, self.src.port, to, self.dst.port))
    }
}

impl Totals {
    /// The same packets, as they are counted on the other side of the wire.
    #[must_use]
    pub fn mirrored(self) -> Self {
        Self {
            packets_out: self.packets_in,
            bytes_out: self.bytes_in,
            packets_in: self.packets_out,
            bytes_in: self.bytes_out,
        }
    }
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<EvidenceFile> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let pairs = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let metadata = pairs.into_iter().filter_map(|pair| Some((pair.key, pair.value?))).collect();
    let mut rows = Vec::new();
    for batch in builder.build()? {
        append(&batch?, &mut rows)?;
    }
    Ok(EvidenceFile { path: path.to_owned(), metadata, rows })
}

fn append(batch: &RecordBatch, rows: &mut Vec<Row>) -> Result<()> {
    let text = |name: &str| texts(batch, name);
    let side = |prefix: &str| sides(batch, prefix);
    let (times, last_times) = (micros(batch, "time")?, micros(batch, "last_time")?);
    let (sequence, counts) = (longs(batch, "seq")?, longs(batch, "count")?);
    let (clusters, namespaces, nodes, boots) = (text("cluster")?, text("namespace")?, text("node")?, text("boot")?);
    let (events, verdicts, directions, reasons) =
        (text("event")?, text("verdict")?, text("direction")?, text("reason")?);
    let protocols = text("protocol")?;
    let (sources, destinations) = (side("src")?, side("dst")?);
    let (services, resolutions) = (services(batch)?, text("nat_resolution")?);
    let backends = sockets(batch, "backend")?;
    let flags = ints(batch, "tcp_flags")?;
    let totals = ["packets_out", "bytes_out", "packets_in", "bytes_in"].map(|name| longs(batch, name));
    let [packets_out, bytes_out, packets_in, bytes_in] = totals;
    let (packets_out, bytes_out, packets_in, bytes_in) = (packets_out?, bytes_out?, packets_in?, bytes_in?);
    let (policies, previous_policies) = (policies(batch, "policies")?, policies(batch, "previous_policies")?);
    let (revisions, shas) = (longs(batch, "policy_revision")?, text("policy_sha256")?);
    let previous = text("previous_verdict")?;
    for at in 0..batch.num_rows() {
        let must = |name: &str, values: &[Option<String>]| {
            values[at].clone().with_context(|| format!("`{name}` is null in row {at}"))
        };
        let counted = packets_out[at].is_some() || packets_in[at].is_some();
        rows.push(Row {
            time: times[at].context("`time` is null")?,
            last_time: last_times[at],
            seq: sequence[at].context("`seq` is null")?,
            cluster: must("cluster", &clusters)?,
            namespace: must("namespace", &namespaces)?,
            node: must("node", &nodes)?,
            boot: must("boot", &boots)?,
            event: must("event", &events)?,
            verdict: verdicts[at].clone(),
            direction: directions[at].clone(),
            reason: reasons[at].clone(),
            count: counts[at].context("`count` is null")?,
            protocol: protocols[at].clone(),
            src: sources[at].clone(),
            dst: destinations[at].clone(),
            service: services[at].clone(),
            nat_resolution: resolutions[at].clone(),
            backend: backends[at],
            tcp_flags: flags[at],
            totals: counted.then(|| Totals {
                packets_out: packets_out[at].unwrap_or(0),
                bytes_out: bytes_out[at].unwrap_or(0),
                packets_in: packets_in[at].unwrap_or(0),
                bytes_in: bytes_in[at].unwrap_or(0),
            }),
            policies: policies[at].clone(),
            policy_revision: revisions[at],
            policy_sha256: shas[at].clone(),
            previous_verdict: previous[at].clone(),
            previous_policies: previous_policies[at].clone(),
        });
    }
    Ok(())
}

fn column<'batch>(batch: &'batch RecordBatch, name: &str) -> Result<&'batch dyn arrow_array::Array> {
    batch.column_by_name(name).map(AsRef::as_ref).with_context(|| format!("there is no column `{name}`"))
}

fn texts(batch: &RecordBatch, name: &str) -> Result<Vec<Option<String>>> {
    let array = column(batch, name)?;
    match array.data_type() {
        DataType::Utf8 => Ok(array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()),
        DataType::Dictionary(_, _) => {
            let dictionary = array
                .as_dictionary_opt::<Int32Type>()
                .and_then(arrow_array::DictionaryArray::downcast_dict::<StringArray>)
                .with_context(|| format!("`{name}` is no dictionary of text"))?;
            Ok(dictionary.into_iter().map(|text| text.map(str::to_owned)).collect())
        }
        other => bail!("`{name}` is {other}, not text"),
    }
}

fn longs(batch: &RecordBatch, name: &str) -> Result<Vec<Option<i64>>> {
    let array = column(batch, name)?;
    Ok(array.as_primitive_opt::<Int64Type>().with_context(|| format!("`{name}` is no INT64"))?.iter().collect())
}

fn ints(batch: &RecordBatch, name: &str) -> Result<Vec<Option<i32>>> {
    let array = column(batch, name)?;
    Ok(array.as_primitive_opt::<Int32Type>().with_context(|| format!("`{name}` is no INT32"))?.iter().collect())
}

fn micros(batch: &RecordBatch, name: &str) -> Result<Vec<Option<i64>>> {
    let array = column(batch, name)?;
    let times = array.as_primitive_opt::<TimestampMicrosecondType>();
    Ok(times.with_context(|| format!("`{name}` is no timestamp"))?.iter().collect())
}

fn sides(batch: &RecordBatch, prefix: &str) -> Result<Vec<Side>> {
    let text = |name: &str| texts(batch, &format!("{prefix}_{name}"));
    let (addresses, ports) = (text("ip")?, ints(batch, &format!("{prefix}_port"))?);
    let (identities, namespaces, pods, uids) = (text("identity")?, text("namespace")?, text("pod")?, text("pod_uid")?);
    let (accounts, nodes, labels) = (text("service_account")?, text("node")?, text("labels")?);
    (0..batch.num_rows())
        .map(|at| {
            Ok(Side {
                ip: addresses[at].as_deref().map(str::parse).transpose()?,
                port: ports[at].map(u16::try_from).transpose()?,
                identity: identities[at].clone(),
                namespace: namespaces[at].clone(),
                pod: pods[at].clone(),
                pod_uid: uids[at].clone(),
                service_account: accounts[at].clone(),
                node: nodes[at].clone(),
                labels: labels[at].clone(),
            })
        })
        .collect()
}

fn services(batch: &RecordBatch) -> Result<Vec<Option<ServiceAddress>>> {
    let (namespaces, names) = (texts(batch, "service_namespace")?, texts(batch, "service")?);
    let services = sockets(batch, "service")?.into_iter().zip(namespaces.into_iter().zip(names));
    let services = services.map(|service| match service {
        (Some(address), (Some(namespace), Some(name))) => Ok(Some(ServiceAddress { namespace, name, address })),
        (None, (None, None)) => Ok(None),
        half => bail!("a Service has an address, a namespace and a name, or none of them: {half:?}"),
    });
    services.collect()
}

fn sockets(batch: &RecordBatch, prefix: &str) -> Result<Vec<Option<SocketAddr>>> {
    let (addresses, ports) = (texts(batch, &format!("{prefix}_ip"))?, ints(batch, &format!("{prefix}_port"))?);
    let sockets = addresses.iter().zip(ports).map(|(address, port)| match (address, port) {
        (Some(address), Some(port)) => Ok(Some(SocketAddr::new(address.parse()?, u16::try_from(port)?))),
        (None, None) => Ok(None),
        half => bail!("a {prefix} has an address and a port, or neither: {half:?}"),
    });
    sockets.collect()
}

fn policies(batch: &RecordBatch, name: &str) -> Result<Vec<Vec<PolicyRule>>> {
    let list = column(batch, name)?.as_list_opt::<i32>().with_context(|| format!("`{name}` is no list"))?;
    list.iter().map(|policies| policies.map_or(Ok(Vec::new()), |policies| policy_rules(policies.as_struct()))).collect()
}

fn policy_rules(policies: &StructArray) -> Result<Vec<PolicyRule>> {
    let batch = RecordBatch::from(policies.clone());
    let (namespaces, names, uids) = (texts(&batch, "namespace")?, texts(&batch, "name")?, texts(&batch, "uid")?);
    let rules = ints(&batch, "rule")?;
    (0..batch.num_rows())
        .map(|at| {
            Ok(PolicyRule {
                namespace: namespaces[at].clone().context("a policy has no namespace")?,
                name: names[at].clone().context("a policy has no name")?,
                uid: uids[at].clone(),
                rule: rules[at],
            })
        })
        .collect()
}
