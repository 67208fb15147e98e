//! The pods that there are, and how they are made, many at a time.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, future, stream};
use serde_json::json;
use tokio::sync::mpsc;

use crate::api::{self, Api};
use crate::objects::{self, PODS, WORKLOADS, Which};

/// Requests that are under way at a time.
const AT_ONCE: usize = 48;
/// The same while pods come and go.
const LANES: usize = 8;
/// A pod goes and another one comes so often: that is a hundred changes a second.
pub(crate) const EVERY: Duration = Duration::from_millis(20);

/// From one workload to the next that changes, in a number of workloads that this does not divide: each has its turn, and is
/// of another namespace than the one before.
const STRIDE: usize = 7;

/// A workload: the numbers of its namespace and within it.
type Workload = (usize, usize);
/// The pods of a workload with their nodes, the oldest first.
type Replicas = VecDeque<(Which, String)>;

/// The pods that there are.
pub(crate) struct Population {
    node_here: String,
    host_here: Vec<IpAddr>,
    namespaces: usize,
    nodes: usize,
    replicas: BTreeMap<Workload, Replicas>,
    /// The number of the next pod in a namespace.
    next: BTreeMap<usize, usize>,
}

/// How it went while pods came and went.
#[derive(Clone, Copy)]
pub(crate) struct Churned {
    /// Pods that went, and as many that came.
    pub(crate) pods: u32,
    pub(crate) time: Duration,
}

impl Population {
    /// None yet; the node of the agent is called that and has these addresses.
    pub(crate) fn new(node_here: &str, host_here: &[IpAddr]) -> Self {
        Self {
            node_here: node_here.to_owned(),
            host_here: host_here.to_vec(),
            namespaces: 0,
            nodes: 0,
            replicas: BTreeMap::new(),
            next: BTreeMap::new(),
        }
    }

    /// What every cluster has: the agent's node, DNS, monitoring.
    pub(crate) async fn begin(&self, api: &Api) -> Result<()> {
        self.make_node(api, &self.node_here, &self.host_here).await?;
        let monitoring = json!({"metadata": {"name": "monitoring", "labels": {"purpose": "monitoring"}}});
        api.create("/api/v1/namespaces", &monitoring).await?;
        let account = json!({"metadata": {"name": "coredns"}});
        api.create("/api/v1/namespaces/kube-system/serviceaccounts", &account).await?;
        for number in 0..2_u8 {
            let name = format!("coredns-{number}");
            let pod = json!({
                "metadata": {"name": name, "labels": {"k8s-app": "kube-dns"}},
                "spec": {
                    "nodeName": objects::node_name(0), "serviceAccountName": "coredns",
                    "containers": [{"name": "coredns", "image": "registry.example/coredns:v1"}],
                },
            });
            api.create("/api/v1/namespaces/kube-system/pods", &pod).await?;
            let address = format!("100.127.0.{}", number + 1);
            let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
            api.change(&format!("/api/v1/namespaces/kube-system/pods/{name}/status"), &status).await?;
        }
        Ok(())
    }

    /// Makes what lacks of a cluster of so many pods.
    pub(crate) async fn grow(&mut self, api: &Api, pods: usize) -> Result<()> {
        let nodes = self.nodes..objects::nodes_elsewhere(pods);
        self.nodes = nodes.end.max(self.nodes);
        in_parallel(nodes, async |number| {
            self.make_node(api, &objects::node_name(number), &objects::node_addresses(number)).await
        })
        .await?;

        let namespaces = self.namespaces..pods.div_ceil(PODS);
        self.namespaces = namespaces.end.max(self.namespaces);
        in_parallel(namespaces.clone(), async |namespace| {
            api.create("/api/v1/namespaces", &objects::namespace(namespace)).await?;
            for account in objects::service_accounts() {
                api.create(&api::core(namespace, "serviceaccounts"), &account).await?;
            }
            for policy in objects::policies(namespace) {
                api.create(&api::policies(namespace), &policy).await?;
            }
            for workload in 0..WORKLOADS {
                api.create(&api::core(namespace, "services"), &objects::service(workload)).await?;
            }
            Ok(())
        })
        .await?;

        let of_namespace = |namespace| (0..PODS).map(move |number| Which { namespace, number });
        for which in namespaces.clone().flat_map(of_namespace) {
            let node = objects::node_of(which, pods, &self.node_here);
            self.replicas.entry((which.namespace, which.workload())).or_default().push_back((which, node));
            self.next.insert(which.namespace, which.number + 1);
        }
        let made = self.replicas.iter().filter(|((namespace, _), _)| namespaces.contains(namespace));
        let made: Vec<(&Workload, &Replicas)> = made.collect();
        let pods = made.iter().flat_map(|(_, replicas)| replicas.iter());
        in_parallel(pods, async |(which, node)| self.make_pod(api, *which, node).await).await?;
        in_parallel(made, async |(workload, replicas)| make_slices(api, *workload, replicas).await).await
    }

    async fn make_node(&self, api: &Api, name: &str, addresses: &[IpAddr]) -> Result<()> {
        let (object, status) = objects::node(name, addresses);
        api.create("/api/v1/nodes", &object).await?;
        api.change(&format!("/api/v1/nodes/{name}/status"), &status).await.map(drop)
    }

    async fn make_pod(&self, api: &Api, which: Which, node: &str) -> Result<()> {
        let host = if which.is_here() { self.host_here[0] } else { IpAddr::from([10, 0, 0, 10]) };
        api.create(&api::core(which.namespace, "pods"), &objects::pod(which, node)).await?;
        let path = format!("{}/{}/status", api::core(which.namespace, "pods"), which.name());
        api.change(&path, &objects::pod_status(which, host)).await.map(drop)
    }

    /// How many namespaces there are.
    pub(crate) fn namespaces(&self) -> usize {
        self.namespaces
    }
}

/// Has pods of other nodes go and others, of the same workload, come in their place, each [`EVERY`], until it is stopped.
pub(crate) async fn churn(api: &Api, population: &mut Population, is_stopping: &AtomicBool) -> Result<Churned> {
    let begin = Instant::now();
    let workloads: Vec<Workload> = population.replicas.keys().copied().collect();
    let shared = Arc::new(Mutex::new(population));
    let (orders, inboxes): (Vec<_>, Vec<_>) = (0..LANES).map(|_| mpsc::unbounded_channel::<Workload>()).unzip();
    let lanes = inboxes.into_iter().map(|mut inbox| {
        let shared = Arc::clone(&shared);
        async move {
            while let Some(workload) = inbox.recv().await {
                replace(api, &shared, workload).await?;
            }
            Ok(())
        }
    });
    let give = async move {
        let mut pods = 0;
        while !is_stopping.load(Ordering::Relaxed) {
            // Each change is of another namespace than the one before, and a workload stays in its lane.
            let place = (pods as usize * STRIDE) % workloads.len();
            // A lane that has failed listens no more, and says why itself.
            let _ = orders[place % LANES].send(workloads[place]);
            pods += 1;
            tokio::time::sleep_until((begin + EVERY * pods).into()).await;
        }
        pods
    };
    let (pods, done) = future::join(give, future::try_join_all(lanes)).await;
    done.map(|_: Vec<()>| Churned { pods, time: begin.elapsed() })
}

async fn replace(api: &Api, shared: &Mutex<&mut Population>, workload: Workload) -> Result<()> {
    let (namespace, number_of_workload) = workload;
    let (gone, come, node, replicas, host) = {
        let mut population = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let next = population.next.get_mut(&namespace).context("the namespace has pods")?;
        // The next number of this workload.
        let number = *next + (number_of_workload + WORKLOADS - *next % WORKLOADS) % WORKLOADS;
        *next = number + 1;
        let come = Which { namespace, number };
        let replicas = population.replicas.get_mut(&workload).context("the workload has pods")?;
        let oldest = replicas.iter().position(|(which, _)| !which.is_here()).context("not all are here")?;
        let (gone, node) = replicas.remove(oldest).context("it is there")?;
        replicas.push_back((come, node.clone()));
        (gone, come, node, replicas.clone(), IpAddr::from([10, 0, 0, 10]))
    };
    let pods = api::core(namespace, "pods");
    api.delete(&format!("{pods}/{}", gone.name())).await?;
    api.create(&pods, &objects::pod(come, &node)).await?;
    api.change(&format!("{pods}/{}/status", come.name()), &objects::pod_status(come, host)).await?;
    change_slices(api, workload, &replicas).await
}

/// Makes the slices of a workload's Service.
async fn make_slices(api: &Api, (namespace, workload): Workload, replicas: &Replicas) -> Result<()> {
    for (_, slice) in objects::slices(workload, replicas) {
        api.create(&api::slices(namespace), &slice).await?;
    }
    Ok(())
}

/// Has the slices of a workload's Service list its pods.
async fn change_slices(api: &Api, (namespace, workload): Workload, replicas: &Replicas) -> Result<()> {
    for (name, slice) in objects::slices(workload, replicas) {
        let change = json!({"endpoints": slice["endpoints"]});
        api.change(&format!("{}/{name}", api::slices(namespace)), &change).await?;
    }
    Ok(())
}

async fn in_parallel<T>(items: impl IntoIterator<Item = T>, work: impl AsyncFn(T) -> Result<()>) -> Result<()> {
    stream::iter(items).map(|item| work(item)).buffer_unordered(AT_ONCE).try_collect().await
}
