//! Namespaces and pods to send traffic between.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::NetNs;
use podwitness_policy::Protocol;
use serde_json::{Value, json};

use crate::cluster::{Cluster, LIMIT, run};

/// What the pods of these tests serve.
pub(crate) const HTTP: u16 = 8080;
pub(crate) const DATAGRAMS: u16 = 8081;

/// A running pod.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) addresses: Vec<IpAddr>,
}

/// What a pod of these tests runs: a server of both protocols.
pub(crate) fn pod_spec(node: &str) -> Value {
    json!({
        "nodeName": node,
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "name": "main",
            "image": "podwitness.test/traffic:1",
            "args": ["netexec", format!("--http-port={HTTP}"), format!("--udp-port={DATAGRAMS}")],
            // Over the loopback interface, where it leaves no record.
            "readinessProbe": {
                "exec": {"command": ["/agnhost", "connect", format!("127.0.0.1:{HTTP}"), "--timeout", "5s"]},
                "timeoutSeconds": 10,
                "periodSeconds": 1,
            },
        }],
    })
}

/// A pod with the label `app`.
pub(crate) fn pod(namespace: &str, name: &str, app: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": app}},
        "spec": pod_spec(node),
    })
}

/// A namespace.
pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// A policy.
pub(crate) fn policy(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": name}, "spec": spec,
    })
}

/// Several objects as one text.
pub(crate) fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

impl Cluster {
    /// All pods of a namespace, once they are ready.
    pub(crate) fn pods(&self, namespace: &str) -> Result<Vec<Pod>> {
        self.kubectl_wait(&["-n", namespace, "--for=condition=Ready", "pods", "--all"])?;
        let found = self.get(&["-n", namespace, "get", "pods"])?;
        let items = found["items"].as_array().context("a list has items")?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("this is text");
        let pods = items.iter().map(|item| {
            let addresses = item["status"]["podIPs"].as_array().context("a ready pod has addresses")?;
            Ok(Pod {
                namespace: namespace.to_owned(),
                name: text(&item["metadata"]["name"])?,
                node: text(&item["spec"]["nodeName"])?,
                addresses: addresses.iter().map(|ip| Ok(text(&ip["ip"])?.parse()?)).collect::<Result<_>>()?,
            })
        });
        pods.collect()
    }

    /// Sends each of these from the pod by `kubectl exec`, all at once, and says which were answered. Each waits up to so many
    /// seconds.
    pub(crate) fn exec_probes(&self, from: &Pod, targets: &[Target], seconds: u32) -> Result<Vec<bool>> {
        let probe = |(number, Target { protocol, remote }): (usize, &Target)| {
            let protocol = protocol.name().to_lowercase();
            format!(
                "(/agnhost connect '{remote}' --timeout {seconds}s --protocol {protocol} >/dev/null 2>&1; echo {number} $?) &\n"
            )
        };
        let script = targets.iter().enumerate().map(probe).collect::<String>() + "wait\n";
        let said =
            run(self.command("kubectl").args(["-n", &from.namespace, "exec", &from.name, "--", "sh", "-c", &script]))?;
        let mut answered = vec![None; targets.len()];
        for line in said.lines() {
            let (number, code) = line.split_once(' ').with_context(|| format!("this is no number and code: {line}"))?;
            let answer = answered.get_mut(number.parse::<usize>()?).context("a probe has that number")?;
            *answer = Some(code == "0");
        }
        answered
            .into_iter()
            .enumerate()
            .map(|(number, answer)| answer.with_context(|| format!("nothing of {number}: {said}")))
            .collect()
    }

    /// The network namespace of a pod: what its container runtime has mounted on its node.
    pub(crate) fn pod_netns(&self, pod: &Pod) -> Result<NetNs> {
        let folder = self.node_path(&pod.node, "/run/netns")?;
        let own = pod.addresses.first().context("a pod has an address")?.to_string();
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let netns = NetNs::open(entry?.path())?;
            let addresses: Value = serde_json::from_str(&run(netns.command("ip").args(["-json", "address"]))?)?;
            if addresses.to_string().contains(&format!("\"local\":\"{own}\"")) {
                return Ok(netns);
            }
        }
        anyhow::bail!("no network namespace of {} has {own}", pod.node)
    }
}

/// What a probe is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) protocol: Protocol,
    pub(crate) remote: SocketAddr,
}

/// A server's port of each protocol.
pub(crate) fn port(protocol: Protocol) -> u16 {
    if protocol == Protocol::Tcp { HTTP } else { DATAGRAMS }
}

/// The pod of this name.
pub(crate) fn named<'pods>(pods: &'pods [Pod], name: &str) -> Result<&'pods Pod> {
    // A Deployment's has more after it.
    let found: Vec<&Pod> =
        pods.iter().filter(|pod| pod.name == name || pod.name.starts_with(&format!("{name}-"))).collect();
    ensure!(found.len() == 1, "there are {} pods {name} after {LIMIT:?}", found.len());
    Ok(found[0])
}
