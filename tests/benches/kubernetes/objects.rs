//! The objects of a cluster as many are: namespaces of teams, workloads of several replicas, a Service for each, five policies
//! in each namespace, and nodes of about a hundred pods. Everything is dual-stack, and as it stands at an API server: pods
//! have what a Deployment, admission and a kubelet write into them.
//!
//! `agent/benches/scale` has the same cluster as the agent's own types.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

/// Pods in a namespace.
pub(crate) const PODS: usize = 50;
/// Workloads in a namespace.
pub(crate) const WORKLOADS: usize = 5;
/// Pods on a node, the kubelet's own limit.
const OF_NODE: usize = 110;
/// Namespaces of a team.
const OF_TEAM: usize = 10;
/// Pods of a namespace have numbers below this, those too that are made in its course.
const NUMBERS: usize = 4096;
/// The first namespaces have so many pods on the agent's node.
const NAMESPACES_HERE: usize = 2;
const PODS_HERE: usize = 15;

/// The names and layers of a namespace's workloads.
const APPS: [(&str, &str); WORKLOADS] =
    [("checkout", "front"), ("catalog", "front"), ("orders", "back"), ("payments", "back"), ("ledger", "data")];

/// The policy that is written and timed: whether the workload of [`SERVER`] may be asked by that of [`CLIENT`].
pub(crate) const PROBED: &str = "probed";
/// The ends of the traffic that it decides, both on the agent's node.
pub(crate) const CLIENT: Which = Which { namespace: 0, number: 0 };
pub(crate) const SERVER: Which = Which { namespace: 0, number: 2 };
/// The port of that traffic.
pub(crate) const PORT: u16 = 9000;

const WHEN: &str = "2026-01-01T00:00:00Z";

/// Which pod it is: the number of its namespace, and its own within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Which {
    pub(crate) namespace: usize,
    pub(crate) number: usize,
}

impl Which {
    /// The number of its workload.
    pub(crate) fn workload(self) -> usize {
        self.number % WORKLOADS
    }

    fn app(self) -> &'static str {
        APPS[self.workload()].0
    }

    fn hash(self) -> String {
        format!("{:010x}", self.namespace * 977 + self.workload())
    }

    /// `metadata.name`.
    pub(crate) fn name(self) -> String {
        format!("{}-{}-{:05}", self.app(), self.hash(), self.number)
    }

    /// One of each family.
    pub(crate) fn addresses(self) -> Vec<IpAddr> {
        assert!(self.number < NUMBERS, "a namespace has no more pods");
        let place = u32::try_from(self.namespace * NUMBERS + self.number).expect("there are few pods");
        let [_, high, middle, low] = place.to_be_bytes();
        let last = u16::from_be_bytes([middle, low]);
        vec![
            Ipv4Addr::new(100, 64 + high, middle, low).into(),
            Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, u16::from(high) + 1, last).into(),
        ]
    }

    /// Whether it is on the agent's node.
    pub(crate) fn is_here(self) -> bool {
        self.namespace < NAMESPACES_HERE && self.number < PODS_HERE
    }
}

/// The pods that are on the agent's node.
pub(crate) fn here() -> impl Iterator<Item = Which> {
    (0..NAMESPACES_HERE).flat_map(|namespace| (0..PODS_HERE).map(move |number| Which { namespace, number }))
}

/// The node of a pod in a cluster of so many.
pub(crate) fn node_of(which: Which, pods: usize, node_here: &str) -> String {
    if which.is_here() {
        return node_here.to_owned();
    }
    node_name((which.namespace * PODS + which.number) % nodes_elsewhere(pods))
}

/// How many nodes there are beside the agent's.
pub(crate) fn nodes_elsewhere(pods: usize) -> usize {
    (pods / OF_NODE).max(1)
}

pub(crate) fn node_name(number: usize) -> String {
    format!("ip-10-0-{}-{}.eu-west-1.compute.internal", number / 200, number % 200)
}

/// What a kubelet says of its node, as far as anybody reads it.
pub(crate) fn node(name: &str, addresses: &[IpAddr]) -> (Value, Value) {
    let addresses: Vec<Value> =
        addresses.iter().map(|address| json!({"type": "InternalIP", "address": address})).collect();
    let labels = json!({"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"});
    (
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}),
        json!({"status": {
            "addresses": addresses,
            "allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"},
            "capacity": {"cpu": "4", "memory": "16Gi", "pods": "110"},
        }}),
    )
}

/// The addresses of a node that is not the agent's.
pub(crate) fn node_addresses(number: usize) -> Vec<IpAddr> {
    let [third, fourth] = [number / 200, 10 + number % 200].map(|part| u8::try_from(part).expect("below 256"));
    let group = u16::try_from(0x10 + number).expect("there are few nodes");
    vec![Ipv4Addr::new(10, 0, third, fourth).into(), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, group).into()]
}

pub(crate) fn namespace_name(number: usize) -> String {
    format!("team-{:02}-{number:03}", number / OF_TEAM)
}

pub(crate) fn namespace(number: usize) -> Value {
    let team = format!("team-{:02}", number / OF_TEAM);
    let stage = if number.is_multiple_of(2) { "prod" } else { "staging" };
    let labels = json!({"team": team, "stage": stage});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace_name(number), "labels": labels}})
}

/// The service accounts of a namespace: one for each workload.
pub(crate) fn service_accounts() -> impl Iterator<Item = Value> {
    APPS.iter().map(|(app, _)| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": app}}))
}

/// A pod as it is made, on the node of this name.
pub(crate) fn pod(which: Which, node: &str) -> Value {
    let (app, tier) = APPS[which.workload()];
    let hash = which.hash();
    let from_secret = |name: &str| {
        let key = name.to_lowercase();
        json!({"name": name, "valueFrom": {"secretKeyRef": {"name": format!("{app}-credentials"), "key": key}}})
    };
    let probe = |path: &str, period: u32| {
        json!({
            "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
            "initialDelaySeconds": 5, "periodSeconds": period, "timeoutSeconds": 2,
        })
    };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": which.name(),
            "labels": {
                "app": app,
                "app.kubernetes.io/managed-by": "Helm",
                "app.kubernetes.io/part-of": "shop",
                "pod-template-hash": hash,
                "tier": tier,
            },
            "annotations": {
                "checksum/config": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "kubectl.kubernetes.io/restartedAt": WHEN,
                "prometheus.io/path": "/metrics",
                "prometheus.io/port": "9090",
                "prometheus.io/scrape": "true",
            },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-{hash}"),
                "uid": format!("{:08x}-0000-4000-8000-{:012x}", which.workload(), which.namespace),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "nodeName": node,
            "serviceAccountName": app,
            "containers": [{
                "name": app,
                "image": format!("registry.example/shop/{app}:v2.31.4"),
                "args": ["--config=/etc/shop/config.yaml", "--listen=:8080", "--metrics=:9090"],
                "ports": [
                    {"name": "http", "containerPort": 8080, "protocol": "TCP"},
                    {"name": "metrics", "containerPort": 9090, "protocol": "TCP"},
                ],
                "env": [
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                    {"name": "LOG_LEVEL", "value": "info"},
                    {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector.monitoring:4317"},
                    from_secret("DATABASE_URL"),
                    from_secret("DATABASE_PASSWORD"),
                ],
                "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
                "livenessProbe": probe("/healthz", 10),
                "readinessProbe": probe("/readyz", 5),
                "volumeMounts": [
                    {"name": "config", "mountPath": "/etc/shop", "readOnly": true},
                    {"name": "tmp", "mountPath": "/tmp"},
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
            "volumes": [
                {"name": "config", "configMap": {"name": format!("{app}-config")}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    })
}

/// What the kubelet says of it once it runs.
pub(crate) fn pod_status(which: Which, host: IpAddr) -> Value {
    let (app, _) = APPS[which.workload()];
    let addresses = which.addresses();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": WHEN});
    let ips: Vec<Value> = addresses.iter().map(|address| json!({"ip": address})).collect();
    let conditions =
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
    let digest = format!("{:064x}", which.workload() + 1);
    json!({"status": {
        "phase": "Running",
        "conditions": conditions,
        "hostIP": host, "hostIPs": [{"ip": host}],
        "podIP": addresses[0], "podIPs": ips,
        "startTime": WHEN,
        "qosClass": "Burstable",
        "containerStatuses": [{
            "name": app,
            "image": format!("registry.example/shop/{app}:v2.31.4"),
            "imageID": format!("registry.example/shop/{app}@sha256:{digest}"),
            "containerID": format!("containerd://{:064x}", which.namespace * NUMBERS + which.number),
            "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {"startedAt": WHEN}},
        }],
    }})
}

/// The Service of a workload; the API server gives it its addresses.
pub(crate) fn service(workload: usize) -> Value {
    let (app, _) = APPS[workload];
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": app, "labels": {"app": app, "app.kubernetes.io/managed-by": "Helm"}},
        "spec": {
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {"app": app},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    })
}

/// The slices of a workload's Service, one for each family, that list these pods; each with its name.
pub(crate) fn slices(workload: usize, pods: &VecDeque<(Which, String)>) -> [(String, Value); 2] {
    let (app, _) = APPS[workload];
    [(0, "IPv4"), (1, "IPv6")].map(|(family, address_type)| {
        let name = format!("{app}-{}", address_type.to_lowercase());
        let endpoints: Vec<Value> = pods
            .iter()
            .map(|(which, node)| {
                json!({
                    "addresses": [which.addresses()[family]],
                    "conditions": {"ready": true, "serving": true, "terminating": false},
                    "nodeName": node,
                    "targetRef": {"kind": "Pod", "name": which.name(), "namespace": namespace_name(which.namespace)},
                })
            })
            .collect();
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/service-name": app,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                },
            },
            "addressType": address_type,
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints,
        });
        (name, object)
    })
}

/// The policies of a namespace.
pub(crate) fn policies(namespace: usize) -> Vec<Value> {
    let team = format!("team-{:02}", namespace / OF_TEAM);
    let own = |key: &str, value: &str| json!({"podSelector": {"matchLabels": {key: value}}});
    let other = |key: &str, value: &str| json!({"namespaceSelector": {"matchLabels": {key: value}}});
    let tcp = |number: u16| json!({"protocol": "TCP", "port": number});
    let labelled = |key: &str, value: &str| json!({"matchLabels": {key: value}});
    let dns = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    });
    let outside = json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12"]}});
    let specs = [
        (
            "default-deny",
            json!({
                "podSelector": {}, "policyTypes": ["Ingress", "Egress"],
                "egress": [{"to": [dns], "ports": [{"protocol": "UDP", "port": 53}, tcp(53)]}],
            }),
        ),
        (
            "front",
            json!({
                "podSelector": labelled("tier", "front"), "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [other("team", &team)], "ports": [{"protocol": "TCP", "port": "http"}]}],
                "egress": [{"to": [own("tier", "back")], "ports": [tcp(8080)]}],
            }),
        ),
        (
            "back",
            json!({
                "podSelector": labelled("tier", "back"), "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [own("tier", "front"), own("app", "orders")], "ports": [tcp(8080)]}],
                "egress": [{"to": [own("tier", "data"), own("tier", "back")]}],
            }),
        ),
        (
            "outside",
            json!({
                "podSelector": labelled("app", "payments"), "policyTypes": ["Egress"],
                "egress": [
                    {"to": [outside], "ports": [tcp(443)]},
                    {"to": [{"ipBlock": {"cidr": "10.200.0.0/16"}}], "ports": [tcp(5432)]},
                ],
            }),
        ),
        (
            "monitoring",
            json!({
                "podSelector": {}, "policyTypes": ["Ingress"],
                "ingress": [{"from": [other("purpose", "monitoring")], "ports": [tcp(9090)]}],
            }),
        ),
    ];
    specs.into_iter().map(|(name, spec)| policy(name, &spec)).collect()
}

/// The policies that decide the traffic of the benchmark: the one that is written and timed, closed, and the one on the client's
/// side that lets it out.
pub(crate) fn probe_policies() -> [Value; 2] {
    let to = json!([{"podSelector": {"matchLabels": {"app": SERVER.app()}}}]);
    let spec = json!({
        "podSelector": {"matchLabels": {"app": CLIENT.app()}}, "policyTypes": ["Egress"],
        "egress": [{"to": to, "ports": [{"protocol": "UDP", "port": PORT}]}],
    });
    let probed = json!({
        "podSelector": {"matchLabels": {"app": SERVER.app()}}, "policyTypes": ["Ingress"],
        "ingress": probed_ingress(false),
    });
    [policy("probed-out", &spec), policy(PROBED, &probed)]
}

/// The change of [`PROBED`] that opens or closes the port.
pub(crate) fn probed_change(open: bool) -> Value {
    json!({"spec": {"ingress": probed_ingress(open)}})
}

fn probed_ingress(open: bool) -> Value {
    let port = if open { PORT } else { PORT + 1 };
    json!([{
        "from": [{"podSelector": {"matchLabels": {"app": CLIENT.app()}}}],
        "ports": [{"protocol": "UDP", "port": port}],
    }])
}

fn policy(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "Helm"}},
        "spec": spec,
    })
}
