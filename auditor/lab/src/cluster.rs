//! The lab's cluster as Kubernetes objects in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::error::LabError;
use crate::lab::Lab;
use crate::pod::PodSpec;

/// The folder that is the agent's `source.directory`. A file appears, changes and disappears in one step, so that a
/// reader never sees half of one.
#[derive(Clone, Debug)]
pub struct Cluster {
    folder: PathBuf,
    /// Where files are written before they are moved: beside the folder, so that its watcher does not see them.
    workshop: PathBuf,
    node: String,
    node_addresses: Vec<IpAddr>,
}

/// One backend of a Service: an endpoint of its `EndpointSlice`s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// At most one of each family.
    pub addresses: Vec<IpAddr>,
    /// `nodeName`.
    pub node: String,
    /// `conditions.ready`.
    pub ready: bool,
}

/// Backends, with the name, number and protocol of what each of them serves.
pub type Group<'a> = (&'a [(&'a str, u16, &'a str)], &'a [Backend]);

impl Lab {
    /// The lab's cluster, which is empty at first.
    pub fn cluster(&self) -> Cluster {
        Cluster {
            folder: self.cluster_path(),
            workshop: self.path().to_owned(),
            node: self.node().name().to_owned(),
            node_addresses: self.node().addresses().to_vec(),
        }
    }
}

impl Cluster {
    /// Writes any text as the file `name`, in place of what stood there before.
    pub fn write(&self, name: &str, text: &str) -> Result<(), LabError> {
        let draft = self.workshop.join(format!("draft-{name}"));
        fs::write(&draft, text).map_err(LabError::path("write", &draft))?;
        let path = self.folder.join(name);
        fs::rename(&draft, &path).map_err(LabError::path("move a file to", &path))
    }

    /// Takes the file `name` away.
    pub fn remove(&self, name: &str) -> Result<(), LabError> {
        let path = self.folder.join(name);
        fs::remove_file(&path).map_err(LabError::path("remove", &path))
    }

    /// Writes the lab's Node object.
    pub fn node(&self) -> Result<(), LabError> {
        let addresses: Vec<Value> =
            self.node_addresses.iter().map(|address| json!({"type": "InternalIP", "address": address})).collect();
        let object = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.node, "uid": format!("uid-{}", self.node)},
            "status": {"addresses": addresses},
        });
        self.object(&format!("node-{}.yaml", self.node), &object)
    }

    /// Writes a Namespace; its name is a label too, as the API server adds it.
    pub fn namespace(&self, name: &str, labels: &[(&str, &str)]) -> Result<(), LabError> {
        let mut all: BTreeMap<&str, &str> = labels.iter().copied().collect();
        all.insert("kubernetes.io/metadata.name", name);
        let object = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "uid": format!("uid-{name}"), "labels": all},
        });
        self.object(&format!("namespace-{name}.yaml"), &object)
    }

    /// Writes a Pod of the lab's node.
    pub fn pod(&self, spec: &PodSpec) -> Result<(), LabError> {
        let text = yaml("a Pod", &pod_object(spec, &self.node, self.node_addresses.first()))?;
        self.write(&pod_file(spec), &text)
    }

    /// Writes a Pod of another node.
    pub fn pod_elsewhere(&self, spec: &PodSpec, node: &str) -> Result<(), LabError> {
        self.write(&pod_file(spec), &yaml("a Pod", &pod_object(spec, node, None))?)
    }

    /// Puts one Pod of the lab's node in the place of another in one step.
    pub fn replace_pod(&self, before: &PodSpec, after: &PodSpec) -> Result<(), LabError> {
        let text = yaml("a Pod", &pod_object(after, &self.node, self.node_addresses.first()))?;
        self.write(&pod_file(before), &text)
    }

    /// Takes a Pod away.
    pub fn remove_pod(&self, spec: &PodSpec) -> Result<(), LabError> {
        self.remove(&pod_file(spec))
    }

    /// Writes a NetworkPolicy from its spec as YAML text (what stands under `spec:`, indented or not).
    pub fn policy(&self, namespace: &str, name: &str, spec: &str) -> Result<(), LabError> {
        let spec: Value = serde_saphyr::from_str(spec).map_err(|error| {
            LabError::Unusable(format!("the spec of policy {namespace}/{name} is no YAML: {error}"))
        })?;
        let object = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"namespace": namespace, "name": name, "uid": format!("uid-{namespace}-{name}"), "generation": 1},
            "spec": spec,
        });
        self.object(&policy_file(namespace, name), &object)
    }

    /// Takes a NetworkPolicy away that [`Cluster::policy`] wrote.
    pub fn remove_policy(&self, namespace: &str, name: &str) -> Result<(), LabError> {
        self.remove(&policy_file(namespace, name))
    }

    /// Writes a namespace's `AuditTrail` with this witness mode, `enforce` or `audit`.
    pub fn mode(&self, namespace: &str, mode: &str) -> Result<(), LabError> {
        let object = json!({
            "apiVersion": "podwitness.io/v1alpha1",
            "kind": "AuditTrail",
            "metadata": {"namespace": namespace, "name": "default", "uid": format!("uid-trail-{namespace}")},
            "spec": {"mode": mode},
        });
        self.object(&trail_file(namespace), &object)
    }

    /// Takes the `AuditTrail` away that [`Cluster::mode`] wrote.
    pub fn remove_mode(&self, namespace: &str) -> Result<(), LabError> {
        self.remove(&trail_file(namespace))
    }

    /// Writes a Service from its spec as YAML text.
    pub fn service(&self, namespace: &str, name: &str, spec: &str) -> Result<(), LabError> {
        let spec: Value = serde_saphyr::from_str(spec).map_err(|error| {
            LabError::Unusable(format!("the spec of Service {namespace}/{name} is no YAML: {error}"))
        })?;
        let object = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": namespace, "name": name, "uid": format!("uid-{namespace}-{name}")},
            "spec": spec,
        });
        self.object(&format!("service-{namespace}-{name}.yaml"), &object)
    }

    /// Writes the `EndpointSlice`s of a Service, one for each family, in place of those that stood there before. `ports` are the
    /// name, number and protocol of what the backends serve; the name is that of the Service's port.
    pub fn backends(
        &self,
        namespace: &str,
        service: &str,
        ports: &[(&str, u16, &str)],
        backends: &[Backend],
    ) -> Result<(), LabError> {
        self.slices(namespace, service, &[(ports, backends)])
    }

    /// The same for backends that serve differently, as behind a named target port: each group of them has slices of its own.
    pub fn slices(&self, namespace: &str, service: &str, groups: &[Group<'_>]) -> Result<(), LabError> {
        let slices = groups.iter().enumerate().flat_map(|(number, group)| {
            [("IPv4", true), ("IPv6", false)]
                .map(|family| slice(namespace, service, number, family, *group).to_string())
        });
        // JSON is YAML too, and one file changes in one step.
        let text = slices.collect::<Vec<_>>().join("\n---\n");
        self.write(&format!("endpoints-{namespace}-{service}.yaml"), &text)
    }

    fn object(&self, file: &str, object: &Value) -> Result<(), LabError> {
        self.write(file, &yaml(file, object)?)
    }
}

fn slice(namespace: &str, service: &str, number: usize, (family, is_v4): (&str, bool), group: Group<'_>) -> Value {
    let (ports, backends) = group;
    let ports: Vec<Value> =
        ports.iter().map(|(name, port, protocol)| json!({"name": name, "port": port, "protocol": protocol})).collect();
    let endpoints: Vec<Value> = backends
        .iter()
        .filter_map(|backend| {
            let address = backend.addresses.iter().find(|address| address.is_ipv4() == is_v4)?;
            let ready = json!({"ready": backend.ready, "serving": backend.ready, "terminating": false});
            Some(json!({"addresses": [address], "conditions": ready, "nodeName": backend.node}))
        })
        .collect();
    let name = format!("{service}-{}-{number}", family.to_lowercase());
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": format!("uid-{namespace}-{name}"),
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": family,
        "ports": ports,
        "endpoints": endpoints,
    })
}

fn yaml(what: &str, object: &Value) -> Result<String, LabError> {
    serde_saphyr::to_string(object)
        .map_err(|error| LabError::Unusable(format!("{what} cannot be written as YAML: {error}")))
}

fn pod_object(spec: &PodSpec, node: &str, host: Option<&IpAddr>) -> Value {
    let ips: Vec<Value> = spec.addresses.iter().map(|address| json!({"ip": address})).collect();
    let ports: Vec<Value> = spec
        .ports
        .iter()
        .map(|port| json!({"name": port.name, "containerPort": port.number, "protocol": port.protocol}))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": spec.namespace, "name": spec.name, "uid": spec.uid, "labels": spec.labels},
        "spec": {
            "nodeName": node,
            "serviceAccountName": spec.service_account,
            "containers": [{"name": "main", "image": "lab", "ports": ports}],
        },
        "status": {"phase": spec.phase, "hostIP": host, "podIP": spec.addresses.first(), "podIPs": ips},
    })
}

fn pod_file(spec: &PodSpec) -> String {
    format!("pod-{}-{}.yaml", spec.namespace, spec.name)
}

fn policy_file(namespace: &str, name: &str) -> String {
    format!("policy-{namespace}-{name}.yaml")
}

fn trail_file(namespace: &str) -> String {
    format!("trail-{namespace}.yaml")
}
