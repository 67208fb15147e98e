//! The pods' interfaces on this node, and the pods that have none.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use podwitness_config::{Config, Source};
use podwitness_endpoints::{Discovery, Fault, Options, Snapshot};
use podwitness_policy::{Cluster, Phase};
use podwitness_source::{ApiServer, DirectorySource, KubernetesSource, Update};

use super::chain;
use super::check::{Check, count, list};

/// How long discovery is listened to: what is wrong for less than a second is a namespace being made, and is not told.
const LISTENING: Duration = Duration::from_millis(1500);
/// How long the first delivery may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let (mut checks, cluster) = source(&config.source);
    match snapshot(config) {
        Err(why) => checks.push(Check::failed(FOLDER, why, "see what the message names, and run this again as root")),
        Ok(snapshot) => {
            checks.extend(folder(config, &snapshot));
            checks.extend(unhooked(&snapshot));
            checks.extend(chain::checks(&config.bpffs, &snapshot.endpoints));
            checks.extend(pods(cluster.as_deref(), &config.node, &snapshot));
        }
    }
    checks
}

const FOLDER: &str = "endpoints.folder";
const SOURCE: &str = "source";

/// What discovery says when it has had time to look twice at what seemed wrong.
fn snapshot(config: &Config) -> Result<Snapshot, String> {
    let (deliver, delivered) = mpsc::channel();
    let _discovery = Discovery::start(Options { netns: config.endpoints.netns.clone() }, move |snapshot| {
        // A receiver that is gone has heard enough.
        let _ = deliver.send(snapshot);
    })
    .map_err(|error| error.to_string())?;
    let silent = |_| format!("nothing was found out about the endpoints within {} s", PATIENCE.as_secs());
    let mut latest = delivered.recv_timeout(PATIENCE).map_err(silent)?;
    let until = Instant::now() + LISTENING;
    while let Ok(snapshot) = delivered.recv_timeout(until.saturating_duration_since(Instant::now())) {
        latest = snapshot;
    }
    Ok(latest)
}

fn folder(config: &Config, snapshot: &Snapshot) -> Vec<Check> {
    let path = &config.endpoints.netns;
    let (of_folder, others): (Vec<&Fault>, Vec<&Fault>) = snapshot.faults.iter().partition(|fault| fault.path == *path);
    let endpoints = count(snapshot.endpoints.len(), "endpoint", "endpoints");
    let first = match of_folder.first() {
        Some(fault) => Check::failed(
            FOLDER,
            format!("{}: {}", path.display(), fault.message),
            "set `endpoints.netns` to the folder in which the container runtime mounts network namespaces",
        ),
        None => Check::ok(FOLDER, format!("{endpoints} with a host side in {}", path.display())),
    };
    let each = others.into_iter().map(|fault| {
        let advice = "mend it: what is in a namespace that cannot be read is not enforced";
        Check::failed(FOLDER, &fault.message, advice).about(fault.path.display().to_string())
    });
    std::iter::once(first).chain(each).collect()
}

fn unhooked(snapshot: &Snapshot) -> Vec<Check> {
    let each = snapshot.unhooked.iter().map(|way| {
        Check::failed(
            "endpoints.unhooked",
            format!("{}: its traffic is not enforced or recorded", way.reason),
            "give the pod a veth interface, or know that policies do not hold for this one",
        )
        .about(format!("{} of kind {} in {}", way.interface, way.kind, way.name))
    });
    each.collect()
}

/// Whether the cluster's objects can be read, and what they are.
fn source(source: &Source) -> (Vec<Check>, Option<Arc<Cluster>>) {
    let (deliver, delivered) = mpsc::channel();
    // A receiver that is gone has heard enough.
    let deliver = move |update: Update| drop(deliver.send(update));
    let (place, update) = match source {
        Source::Directory(folder) => match DirectorySource::start(folder, deliver) {
            Err(error) => return (vec![Check::failed(SOURCE, error.to_string(), "correct `source.directory`")], None),
            Ok(_running) => (folder.display().to_string(), first_whole(&delivered)),
        },
        Source::Kubernetes => {
            let server = ApiServer::infer();
            match server.and_then(|server| Ok((server.url(), KubernetesSource::start(&server, deliver)?))) {
                Err(error) => {
                    let advice = "run it in a pod of the cluster, or with KUBECONFIG";
                    return (vec![Check::failed(SOURCE, error.to_string(), advice)], None);
                }
                Ok((url, _running)) => (url, first_whole(&delivered)),
            }
        }
    };
    checks_of(&place, update)
}

/// The first update with a cluster, or the last one without in the time that there is.
fn first_whole(delivered: &mpsc::Receiver<Update>) -> Option<Update> {
    let until = Instant::now() + PATIENCE;
    let mut last = None;
    while let Ok(update) = delivered.recv_timeout(until.saturating_duration_since(Instant::now())) {
        let is_whole = update.cluster.is_some();
        last = Some(update);
        if is_whole {
            break;
        }
    }
    last
}

fn checks_of(place: &str, update: Option<Update>) -> (Vec<Check>, Option<Arc<Cluster>>) {
    let Some(update) = update else {
        let found = format!("{place} was not read within {} s", PATIENCE.as_secs());
        return (vec![Check::unknown(SOURCE, found, "run this again when the node is less busy")], None);
    };
    let advice = "mend what is named: until then the agent is not ready";
    let mut checks = vec![match &update.cluster {
        None => Check::failed(SOURCE, format!("{place} could not be read"), advice),
        Some(cluster) => {
            let pods = count(cluster.pods.len(), "pod", "pods");
            let policies = count(cluster.policies.len(), "policy", "policies");
            let objects = format!("{pods} and {policies} in {place}");
            if update.complete {
                Check::ok(SOURCE, objects)
            } else {
                Check::failed(SOURCE, format!("{objects}, which is not all that should be there"), advice)
            }
        }
    }];
    checks.extend(update.faults.iter().map(|fault| {
        let subject = match fault.document {
            Some(document) => format!("{}, document {document}", fault.origin),
            None => fault.origin.clone(),
        };
        Check::warning(SOURCE, &fault.message, "correct the object").about(subject)
    }));
    (checks, update.cluster)
}

/// The pods that the cluster says are on this node, against what is on it.
fn pods(cluster: Option<&Cluster>, node: &str, snapshot: &Snapshot) -> Vec<Check> {
    let Some(cluster) = cluster else {
        let advice = format!(
            "ask `kubectl get pods -A -o wide --field-selector spec.nodeName={node}` for the pods with the node's address"
        );
        let found = "which pods use the node's network, and so have no hook, is known to the cluster alone";
        return vec![Check::unknown("endpoints.host-network", found, advice)];
    };
    vec![host_network(cluster, node), without_interface(cluster, node, snapshot)]
}

fn host_network(cluster: &Cluster, node: &str) -> Check {
    let name = "endpoints.host-network";
    let of_node = cluster.pods.iter().filter(|pod| pod.node.as_deref() == Some(node) && pod.host_network);
    let names: Vec<String> = of_node.map(|pod| pod.name.to_string()).collect();
    if names.is_empty() {
        return Check::ok(name, "no pod of this node uses the node's network");
    }
    let found = format!(
        "{} the node's network, so policies select none of them and they have no hook: {}",
        count(names.len(), "pod uses", "pods use"),
        list(&names)
    );
    Check::ok(name, found)
}

fn without_interface(cluster: &Cluster, node: &str, snapshot: &Snapshot) -> Check {
    let name = "endpoints.pods";
    let there: BTreeSet<IpAddr> = snapshot.endpoints.iter().flat_map(|endpoint| endpoint.addresses.clone()).collect();
    let on_node = |pod: &&podwitness_policy::Pod| {
        pod.node.as_deref() == Some(node)
            && pod.is_on_pod_network()
            && pod.phase == Phase::Running
            && !pod.addresses.is_empty()
    };
    let pods: Vec<_> = cluster.pods.iter().filter(on_node).collect();
    let missing = pods.iter().filter(|pod| !pod.addresses.iter().any(|address| there.contains(&address)));
    let missing: Vec<String> = missing.map(|pod| pod.name.to_string()).collect();
    if missing.is_empty() {
        let number = count(pods.len(), "running pod", "running pods");
        return Check::ok(name, format!("{number} of node {node}, each with an endpoint"));
    }
    Check::failed(
        name,
        format!("no endpoint has the addresses of {}", list(&missing)),
        "see whether `endpoints.netns` is the right folder and what kind of interface the CNI gave them",
    )
}

#[cfg(test)]
mod tests;
