//! The cluster that every case begins with, and changes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

/// Who takes part in cases.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A pod of the node that is tested: its namespace (`x`, `y` or `z`) and its name (`a`, `b` or `c`).
    Pod(&'static str, &'static str),
    /// `w/a`, a pod that runs on `node-b`.
    RemotePod,
    /// `node`, the node that is tested.
    Node,
    /// `node-b`, another one, and the pods on its own network.
    OtherNode,
    /// `near`, a host outside the cluster: `203.0.113.7` and `2001:db8::7`.
    Near,
    /// `far`, another one: `203.0.113.200` and `2001:db8::c8`.
    Far,
}

/// The pods of the node that is tested.
pub const PODS: [Party; 9] = [
    Party::Pod("x", "a"),
    Party::Pod("x", "b"),
    Party::Pod("x", "c"),
    Party::Pod("y", "a"),
    Party::Pod("y", "b"),
    Party::Pod("y", "c"),
    Party::Pod("z", "a"),
    Party::Pod("z", "b"),
    Party::Pod("z", "c"),
];

impl Party {
    /// The party of this name.
    pub(super) fn read(name: &str) -> Result<Self> {
        let others = [Self::RemotePod, Self::Node, Self::OtherNode, Self::Near, Self::Far];
        let mut all = PODS.into_iter().chain(others);
        all.find(|party| party.to_string() == name).with_context(|| format!("`{name}` is nobody"))
    }

    /// Whether it is a pod of the node that is tested, at which something is decided.
    pub fn is_local_pod(self) -> bool {
        matches!(self, Self::Pod(..))
    }

    /// The namespace of a pod of the node that is tested.
    pub(super) fn namespace(self) -> Option<&'static str> {
        match self {
            Self::Pod(namespace, _) => Some(namespace),
            _ => None,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(namespace, name) => write!(formatter, "{namespace}/{name}"),
            Self::RemotePod => formatter.write_str("w/a"),
            Self::Node => formatter.write_str("node"),
            Self::OtherNode => formatter.write_str("node-b"),
            Self::Near => formatter.write_str("near"),
            Self::Far => formatter.write_str("far"),
        }
    }
}

impl fmt::Debug for Party {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The address of each family of a party; `None` for the node that is tested, which is the lab's to say.
pub fn addresses(party: Party) -> Option<[IpAddr; 2]> {
    let parse = |v4: String, v6: String| {
        Some([v4.parse().expect("it is an IPv4 address"), v6.parse().expect("it is an IPv6 address")])
    };
    match party {
        Party::Pod(namespace, name) => {
            let third = 1 + ["x", "y", "z"].iter().position(|known| *known == namespace)?;
            let fourth = 1 + ["a", "b", "c"].iter().position(|known| *known == name)?;
            parse(format!("10.1.{third}.{fourth}"), format!("fd00:10:1:{third}::{fourth}"))
        }
        Party::RemotePod => parse("10.2.1.1".to_owned(), "fd00:10:2:1::1".to_owned()),
        Party::OtherNode => parse("172.30.0.3".to_owned(), "fd00:172:30::3".to_owned()),
        Party::Near => parse("203.0.113.7".to_owned(), "2001:db8::7".to_owned()),
        Party::Far => parse("203.0.113.200".to_owned(), "2001:db8::c8".to_owned()),
        Party::Node => None,
    }
}

/// An object by kind, namespace and name.
pub type Object = (String, String, String);

/// The objects of the cluster, but for the Node object of the node that is tested.
#[derive(Clone, Debug)]
pub struct World {
    objects: BTreeMap<Object, Value>,
}

impl World {
    /// The cluster that every case begins with; `node` is the node that is tested.
    pub fn new(node: &str) -> Self {
        let mut world = Self { objects: BTreeMap::new() };
        for namespace in ["w", "x", "y", "z"] {
            world.put(json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": namespace,
                    "uid": format!("uid-{namespace}"),
                    "labels": {"kubernetes.io/metadata.name": namespace, "ns": namespace},
                },
            }));
        }
        for party in PODS {
            world.put(pod(party, node));
        }
        world.put(pod(Party::RemotePod, "node-b"));
        let addresses = addresses(Party::OtherNode).into_iter().flatten();
        let addresses: Vec<Value> =
            addresses.map(|address| json!({"type": "InternalIP", "address": address})).collect();
        world.put(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "node-b", "uid": "uid-node-b"},
            "status": {"addresses": addresses},
        }));
        world
    }

    /// Applies an object. A policy replaces the one of its name; into another object that is there it is merged as RFC 7396
    /// says, so that it need hold the differences only.
    pub fn apply(&mut self, object: &Value) -> Result<()> {
        let key = key(object)?;
        let mut changed = match self.objects.remove(&key) {
            Some(present) if key.0 != "NetworkPolicy" => present,
            _ => json!({"metadata": {"uid": format!("uid-{}-{}", key.1, key.2)}}),
        };
        merge(&mut changed, object);
        self.objects.insert(key, changed);
        Ok(())
    }

    /// Deletes an object, which must be there.
    pub fn delete(&mut self, object: &Value) -> Result<()> {
        let key = key(object)?;
        ensure!(self.objects.remove(&key).is_some(), "there is no {key:?} to delete");
        Ok(())
    }

    /// The objects as documents of one text. `number` makes it differ from every other text in a policy that selects nobody,
    /// so that it can be told when exactly these objects are in force.
    pub fn text(&self, number: usize) -> String {
        let marker = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"namespace": "nobody", "name": "marker", "annotations": {"number": number.to_string()}},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
        });
        let texts: Vec<String> = self.objects.values().chain([&marker]).map(Value::to_string).collect();
        texts.join("\n---\n")
    }

    fn put(&mut self, object: Value) {
        let key = key(&object).expect("the objects written here have kinds and names");
        self.objects.insert(key, object);
    }
}

fn pod(party: Party, node: &str) -> Value {
    let name = party.to_string();
    let (namespace, name) = name.split_once('/').expect("pods are called so");
    let addresses: Vec<Value> =
        addresses(party).into_iter().flatten().map(|address| json!({"ip": address.to_string()})).collect();
    let ports: Vec<Value> = [80, 81]
        .into_iter()
        .flat_map(|port| ["TCP", "UDP", "SCTP"].map(|protocol| (port, protocol)))
        .map(|(port, protocol)| {
            let name = format!("serve-{port}-{}", protocol.to_lowercase());
            json!({"name": name, "containerPort": port, "protocol": protocol})
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": name, "uid": format!("uid-{namespace}-{name}"), "labels": {"pod": name},
        },
        "spec": {
            "nodeName": node,
            "serviceAccountName": "default",
            "containers": [{"name": "main", "image": "lab", "ports": ports}],
        },
        "status": {"phase": "Running", "podIP": addresses[0]["ip"], "podIPs": addresses},
    })
}

fn key(object: &Value) -> Result<Object> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let key = (text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]));
    if key.0.is_empty() || key.2.is_empty() {
        bail!("an object has no kind or no name: {object}");
    }
    Ok(key)
}

/// RFC 7396, a JSON merge patch: objects are merged, null removes, everything else replaces.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            if let Some(target) = target.as_object_mut() {
                target.remove(key);
            }
        } else {
            merge(&mut target[key], value);
        }
    }
}
