//! How long evidence is kept, as the configuration and the namespaces' `AuditTrail`s say it now, and what follows for an
//! object.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use podwitness_config::{Config, Source, whole_seconds};
use podwitness_policy::{Cluster, ExternalAddresses};
use podwitness_seals::seal::{Asked, NamespaceRetention, SealedObject, UNKNOWN_NAMESPACE};
use podwitness_seals::time::Time;
use podwitness_source::{ApiServer, DirectorySource, KubernetesSource, Update};

/// How long the first delivery may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    pub(crate) cluster: String,
    pub(crate) minimum_seconds: u64,
    pub(crate) default_seconds: u64,
    /// By namespace.
    pub(crate) retention: Vec<NamespaceRetention>,
    /// Namespaces that there are, with and without an `AuditTrail`.
    pub(crate) namespaces: Vec<String>,
}

/// Why an object stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kept {
    /// Its own time has not come.
    RetainUntil,
    /// Its namespace asks for longer now.
    Asked,
    /// Its namespace is on hold.
    Hold,
    /// The store has locked it.
    Locked,
}

impl Kept {
    pub(crate) const ALL: [Self; 4] = [Self::RetainUntil, Self::Asked, Self::Hold, Self::Locked];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RetainUntil => "retain-until",
            Self::Asked => "asked",
            Self::Hold => "hold",
            Self::Locked => "locked",
        }
    }

    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::RetainUntil => "its own time has not come",
            Self::Asked => "its namespace asks for longer now",
            Self::Hold => "legal hold",
            Self::Locked => "the store has locked it",
        }
    }
}

/// The first update that is complete, or the last one in the time that there is: a failure may be mended by another try.
fn last_or_complete(delivered: &mpsc::Receiver<Update>) -> Option<Update> {
    let until = Instant::now() + PATIENCE;
    let mut last = None;
    while let Ok(update) = delivered.recv_timeout(until.saturating_duration_since(Instant::now())) {
        let is_complete = update.complete;
        last = Some(update);
        if is_complete {
            break;
        }
    }
    last
}

impl Wishes {
    /// Reads them. What cannot be read or used is a reason not to go on: it might be the hold of a namespace.
    pub(crate) fn read(config: &Config) -> Result<Self, String> {
        let (deliver, delivered) = mpsc::channel();
        // A receiver that is gone has heard enough.
        let deliver = move |update: Update| drop(deliver.send(update));
        let (place, last) = match &config.source {
            Source::Directory(folder) => {
                let _running = DirectorySource::start(folder, deliver).map_err(|error| error.to_string())?;
                (folder.display().to_string(), delivered.recv_timeout(PATIENCE).ok())
            }
            Source::Kubernetes => {
                let server = ApiServer::infer().map_err(|error| error.to_string())?;
                let running = KubernetesSource::start_for_trails(&server, deliver);
                let _running = running.map_err(|error| error.to_string())?;
                (server.url(), last_or_complete(&delivered))
            }
        };
        let Some(Update { cluster, faults, complete, .. }) = last else {
            return Err(format!("{place} was not read within {} s", PATIENCE.as_secs()));
        };
        if let Some(fault) = faults.iter().find(|fault| fault.effect.is_none() || fault.message.contains("AuditTrail"))
        {
            return Err(format!("what namespaces ask for cannot be told: {fault}"));
        }
        match cluster {
            Some(cluster) if complete => Ok(Self::of(config, &cluster)),
            _ => Err(format!("{place} cannot be read completely")),
        }
    }

    fn of(config: &Config, cluster: &Cluster) -> Self {
        let retention = cluster.trails.iter().map(|trail| NamespaceRetention {
            namespace: trail.name.namespace().to_owned(),
            seconds: config.retention.seconds(trail.retention),
            hold: trail.legal_hold,
            addresses: match trail.external_addresses {
                ExternalAddresses::Full => "full",
                ExternalAddresses::Truncate => "truncate",
                ExternalAddresses::Hmac => "hmac",
            }
            .to_owned(),
        });
        let with_trail = cluster.trails.iter().map(|trail| trail.name.namespace());
        let mut namespaces: Vec<String> = cluster
            .namespaces
            .iter()
            .map(|namespace| namespace.name.as_str())
            .chain(with_trail)
            .map(str::to_owned)
            .collect();
        namespaces.sort();
        namespaces.dedup();
        Self {
            cluster: config.cluster.clone(),
            minimum_seconds: whole_seconds(config.retention.minimum),
            default_seconds: whole_seconds(config.retention.default),
            retention: retention.collect(),
            namespaces,
        }
    }

    /// What is asked for evidence of the namespace, or of none.
    pub(crate) fn of_namespace(&self, namespace: Option<&str>) -> Asked {
        Asked::of(&self.retention, namespace, self.default_seconds.max(self.minimum_seconds))
    }

    /// Why the object stays; `None` where it may go.
    pub(crate) fn keep(&self, object: &SealedObject, now: Time) -> Option<Kept> {
        let Asked { seconds, hold } = self.of_namespace(object.namespace.as_deref());
        if hold {
            Some(Kept::Hold)
        } else if object.retain_until > now {
            Some(Kept::RetainUntil)
        } else if object.last_time.after(seconds) > now {
            Some(Kept::Asked)
        } else if object.locked_until.is_some_and(|until| until > now) {
            Some(Kept::Locked)
        } else {
            None
        }
    }

    /// A lifecycle configuration of S3 that does the same without this program, below `root` (the prefix of the evidence
    /// root, or `""`). Namespaces on hold have no rule.
    pub(crate) fn lifecycle(&self, root: &str) -> serde_json::Value {
        let days = |seconds: u64| seconds.div_ceil(86_400).max(1);
        let rule = |id: String, prefix: String, seconds: u64| {
            serde_json::json!({
                "ID": id,
                "Status": "Enabled",
                "Filter": {"Prefix": prefix},
                "Expiration": {"Days": days(seconds)},
                "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            })
        };
        let base = if root.is_empty() { String::new() } else { format!("{}/", root.trim_matches('/')) };
        let mut rules = BTreeMap::new();
        for namespace in self.namespaces.iter().map(String::as_str).chain([UNKNOWN_NAMESPACE]) {
            let Asked { seconds, hold } = self.of_namespace(Some(namespace));
            if !hold {
                let folder = podwitness_schemas::layout::namespace_folder(&self.cluster, namespace);
                let id = format!("podwitness-verdicts-{namespace}");
                rules.insert(id.clone(), rule(id, format!("{base}{folder}/"), seconds));
            }
        }
        let Asked { seconds, hold } = self.of_namespace(None);
        for table in ["coverage", "policies"].into_iter().filter(|_| !hold) {
            let folder = podwitness_schemas::layout::cluster_folder(table, &self.cluster);
            let id = format!("podwitness-{table}");
            rules.insert(id.clone(), rule(id, format!("{base}{folder}/"), seconds));
        }
        serde_json::json!({"Rules": rules.into_values().collect::<Vec<_>>()})
    }
}
