//! The source that follows an API server, at a real one: `tests/cluster` without nodes and controllers.
//!
//! `agent/source/tests` has every failure, by a small server that fails as it is told. Here it is shown that the real one fails
//! in these ways, and that what comes of it is the same: one that is killed and comes back, changes that it has forgotten, and
//! rights that are missing.
//!
//! `PODWITNESS_TEST_KUBECONFIG` names the kubeconfig of a developer's own cluster to be used instead, where what is not
//! of their server's end can be shown; what the test makes there it takes away. It is not `KUBECONFIG`, which may be
//! that of a cluster in use. `KUBEBUILDER_ASSETS` has a server of our own made of the programs there.
//!
//! Run as root under `unshare --net --mount --propagation private`, as `make test` does, after `deploy/dev/setup --cluster`.

mod relay;

use std::fs;
use std::net::ToSocketAddrs as _;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use podwitness_policy::{Cluster as Objects, ObjectName};
use podwitness_source::{ApiServer, KubernetesSource, Update};
use podwitness_tests::cluster::{Administrator, Cluster, repository, run};
use podwitness_tests::path_in;
use serde_json::{Value, json};

use relay::Relay;

/// How long anything is waited for, on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(180);

/// Each resource, and what the role of the manifests says of it.
const READS: [(&str, &str); 7] = [
    ("pods", r#"{apiGroups: [""], resources: ["pods"]"#),
    ("namespaces", r#"{apiGroups: [""], resources: ["namespaces"]"#),
    ("services", r#"{apiGroups: [""], resources: ["services"]"#),
    ("nodes", r#"{apiGroups: [""], resources: ["nodes"]"#),
    ("networkpolicies", r#"{apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"]"#),
    ("endpointslices", r#"{apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"]"#),
    ("audittrails", r#"{apiGroups: ["podwitness.io"], resources: ["audittrails"]"#),
];

/// A source that follows the API server through a relay, with the rights of the agent, and what it has delivered.
struct Followed {
    updates: Receiver<Update>,
    relay: Relay,
    _source: KubernetesSource,
    _kubeconfig: tempfile::NamedTempFile,
}

impl Followed {
    /// Must be called where the API server can be reached.
    fn start(administrator: &Administrator) -> Result<Self> {
        let mut kubeconfig = administrator.kubeconfig_of_agent()?;
        let server = &mut kubeconfig["clusters"][0]["cluster"];
        let uri: http::Uri = server["server"].as_str().context("a cluster has a server")?.parse()?;
        let host = uri.host().context("a server has an address")?.trim_matches(['[', ']']);
        let address = (host, uri.port_u16().unwrap_or(443)).to_socket_addrs()?.next();
        let relay = Relay::start(address.with_context(|| format!("{host} has no address"))?)?;
        // By the relay's address nobody knows it.
        if server["tls-server-name"].is_null() {
            server["tls-server-name"] = json!(host);
        }
        server["server"] = json!(format!("https://{}", relay.address()));
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), kubeconfig.to_string())?;
        let (deliver, updates) = mpsc::channel();
        let source =
            KubernetesSource::start(&ApiServer::of_kubeconfig(file.path())?, move |update| drop(deliver.send(update)))?;
        Ok(Self { updates, relay, _source: source, _kubeconfig: file })
    }

    /// Waits for an update of which this holds; returns those that came before it too, it as the last.
    fn until(&self, what: &str, holds: impl Fn(&Update) -> bool) -> Result<Vec<Update>> {
        let until = Instant::now() + LIMIT;
        let mut came: Vec<Update> = Vec::new();
        loop {
            let Ok(update) = self.updates.recv_timeout(until.saturating_duration_since(Instant::now())) else {
                bail!("gave up waiting until {what}; last: {:#?}", came.last())
            };
            came.push(update);
            if came.last().is_some_and(&holds) {
                return Ok(came);
            }
        }
    }

    /// The same of the cluster alone, while nothing is wrong.
    fn until_known(&self, what: &str, holds: impl Fn(&Objects) -> bool) -> Result<Vec<Update>> {
        self.until(what, |update| {
            update.complete && update.faults.is_empty() && update.cluster.as_deref().is_some_and(&holds)
        })
    }
}

/// What was said of an update's faults.
fn messages(update: &Update) -> Vec<&str> {
    update.faults.iter().map(|fault| fault.message.as_str()).collect()
}

fn shop(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": name}, "spec": {"podSelector": {}},
    })
}

/// What the tests make on a server, and is taken away at the end where the server is somebody's own.
struct Borrowed(Administrator);

impl Borrowed {
    /// Fails where something is there that would then be taken away.
    fn of(administrator: Administrator) -> Result<Self> {
        let there = administrator
            .kubectl_with(&["get", "--ignore-not-found", "--output", "name", "--filename", "-"], &Self::all()?)?;
        ensure!(there.is_empty(), "the test would take away what the cluster has already: {there}");
        Ok(Self(administrator))
    }

    fn all() -> Result<String> {
        let shop = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        let kinds = ["CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Namespace"];
        Ok(format!("{}\n---\n{shop}", manifests(&kinds)?))
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let delete = ["delete", "--ignore-not-found", "--filename", "-"];
        if let Err(error) = Self::all().and_then(|all| self.0.kubectl_with(&delete, &all)) {
            println!("something of this test stays on the cluster: {error:#}");
        }
    }
}

#[test]
fn the_source_follows_a_real_api_server() -> Result<()> {
    if let Some(kubeconfig) = path_in("PODWITNESS_TEST_KUBECONFIG") {
        let borrowed = Borrowed::of(Administrator::of_kubeconfig(&kubeconfig))?;
        let followed = rights_that_are_missing_are_named(&borrowed.0)?;
        what_is_made_changed_and_deleted_is_told(&borrowed.0, &followed)?;
        println!("NOT TESTED: a server that is killed, and one that has forgotten, because this one is somebody's own");
        return Ok(());
    }
    let cluster = Cluster::start("podwitness-api-server", &["--control-plane", "--no-controllers"])?;
    cluster.netns()?.run(|| {
        let followed = rights_that_are_missing_are_named(&cluster.administrator())?;
        what_is_made_changed_and_deleted_is_told(&cluster.administrator(), &followed)?;
        a_server_that_is_killed_leaves_all_in_force_until_it_is_back(&cluster, &followed)?;
        what_the_server_has_forgotten_comes_in_one_step(&cluster, &followed)
    })?
}

/// Those of the manifests' objects that are of these kinds.
fn manifests(kinds: &[&str]) -> Result<String> {
    let manifests = fs::read_to_string(repository("deploy/manifests/podwitness.yaml"))?;
    let is_one = |object: &&str| kinds.iter().any(|kind| object.contains(&format!("\nkind: {kind}\n")));
    Ok(manifests.split("\n---\n").filter(is_one).collect::<Vec<_>>().join("\n---\n"))
}

/// Without the role nothing is known, each resource is named with the rule to add, and the role heals it. The definition
/// of `AuditTrail` is missing at first, which costs nothing but trails.
fn rights_that_are_missing_are_named(administrator: &Administrator) -> Result<Followed> {
    let apply = |kinds: &[&str]| administrator.kubectl_with(&["apply", "--filename", "-"], &manifests(kinds)?);
    apply(&["Namespace", "ServiceAccount"])?;
    let followed = Followed::start(administrator)?;
    let is_named = |update: &Update| {
        READS.iter().all(|(resource, rule)| {
            let begin = format!("may not watch {resource}: ");
            messages(update).iter().any(|message| message.starts_with(&begin) && message.contains(rule))
        })
    };
    let came = followed.until("every right that is missing is named", is_named)?;
    ensure!(came.iter().all(|update| update.cluster.is_none()), "{came:#?}");

    apply(&["ClusterRole", "ClusterRoleBinding"])?;
    let is_healed = |update: &Update| {
        update.complete && messages(update).iter().all(|message| message.starts_with("has no AuditTrail of"))
    };
    let came = followed.until("all is known but trails", is_healed)?;
    let cluster_known = came.last().and_then(|update| update.cluster.as_deref()).context("all was listed")?;
    ensure!(cluster_known.namespaces.contains("podwitness"), "{cluster_known:#?}");
    ensure!(cluster_known.services.contains(&ObjectName::new("default", "kubernetes")), "{cluster_known:#?}");
    ensure!(!cluster_known.endpoint_slices.is_empty(), "{cluster_known:#?}");
    apply(&["CustomResourceDefinition"])?;
    followed.until_known("trails are followed", |_| true)?;
    Ok(followed)
}

fn what_is_made_changed_and_deleted_is_told(administrator: &Administrator, followed: &Followed) -> Result<()> {
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": "shop", "name": "default"}});
    let trail = json!({
        "apiVersion": "podwitness.io/v1alpha1", "kind": "AuditTrail",
        "metadata": {"namespace": "shop", "name": "default"}, "spec": {"legalHold": true},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "web", "labels": {"app": "web"}},
        "spec": {"nodeName": "node-9", "containers": [{"name": "web", "image": "web"}]},
    });
    administrator.kubectl(&["create", "namespace", "shop"])?;
    for object in [account, trail, pod, policy("one")] {
        // Controllers, where there are some, make the account too.
        administrator.kubectl_with(&["apply", "--filename", "-"], &object.to_string())?;
    }
    followed.until_known("all is there", |known| {
        known.namespaces.contains("shop")
            && known.pods.get(&shop("web")).is_some_and(|pod| pod.addresses.is_empty())
            && known.policies.contains(&shop("one"))
            && known.trails.get("shop").is_some_and(|trail| trail.legal_hold)
    })?;
    let status =
        r#"{"status": {"phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}]}}"#;
    administrator.kubectl(&[
        "-n",
        "shop",
        "patch",
        "pod",
        "web",
        "--subresource=status",
        "--type=merge",
        "-p",
        status,
    ])?;
    followed.until_known("the pod has its addresses", |known| {
        known.pods.get(&shop("web")).is_some_and(|pod| pod.addresses.len() == 2)
    })?;
    administrator.kubectl(&["-n", "shop", "label", "pod", "web", "app=api", "--overwrite"])?;
    followed.until_known("the pod has another label", |known| {
        known.pods.get(&shop("web")).is_some_and(|pod| pod.template.labels.get("app") == Some("api"))
    })?;
    administrator.kubectl(&["-n", "shop", "delete", "pod", "web", "--grace-period=0", "--force"])?;
    administrator.kubectl(&["-n", "shop", "delete", "audittrail", "default"])?;
    followed
        .until_known("the pod is gone", |known| !known.pods.contains(&shop("web")) && known.trails.is_empty())
        .map(drop)
}

fn a_server_that_is_killed_leaves_all_in_force_until_it_is_back(cluster: &Cluster, followed: &Followed) -> Result<()> {
    run(cluster.command("program").args(["kill", "kube-apiserver"]))?;
    let came = followed.until("the server is away", |update| !update.complete)?;
    let last = came.last().context("there is one")?;
    ensure!(last.cluster.as_ref().is_some_and(|known| known.policies.contains(&shop("one"))), "{last:#?}");
    ensure!(messages(last).iter().any(|message| message.starts_with("the API server does not answer")), "{last:#?}");
    start_server(cluster)?;
    cluster.kubectl_with(&["create", "--filename", "-"], &policy("two").to_string())?;
    let came = followed.until_known("it is back", |known| known.policies.contains(&shop("two")))?;
    let is_kept = |update: &Update| update.cluster.as_ref().is_some_and(|known| known.policies.contains(&shop("one")));
    ensure!(came.iter().all(is_kept), "{came:#?}");
    Ok(())
}

/// What happened while the way was cut is older than what a server remembers that was started since.
fn what_the_server_has_forgotten_comes_in_one_step(cluster: &Cluster, followed: &Followed) -> Result<()> {
    let list = cluster.kubectl(&["get", "--raw", POLICIES])?;
    let version = serde_json::from_str::<Value>(&list)?["metadata"]["resourceVersion"]
        .as_str()
        .context("a list has a version")?
        .to_owned();
    followed.relay.cut();
    followed.until("the way is cut", |update| !update.complete)?;
    cluster.kubectl(&["-n", "shop", "delete", "networkpolicy", "one", "two"])?;
    cluster.kubectl_with(&["create", "--filename", "-"], &policy("three").to_string())?;
    run(cluster.command("program").args(["restart", "kube-apiserver"]))?;
    await_server(cluster)?;
    // So that this is about what it says.
    let since = format!("{POLICIES}?watch=true&timeoutSeconds=1&resourceVersion={version}");
    let forgotten = cluster.kubectl(&["get", "--raw", &since])?;
    ensure!(forgotten.contains("\"code\":410"), "the server remembers: {forgotten}");

    followed.relay.mend();
    let came = followed.until_known("what was missed is known", |known| known.policies.contains(&shop("three")))?;
    for update in &came {
        let known = update.cluster.as_ref().context("what was known stays")?;
        let names: Vec<&str> = known.policies.iter().map(|policy| policy.name.name()).collect();
        ensure!(names == ["one", "two"] || names == ["three"], "{names:?} at a time");
    }
    Ok(())
}

const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies";

fn start_server(cluster: &Cluster) -> Result<()> {
    run(cluster.command("program").args(["start", "kube-apiserver"]))?;
    await_server(cluster)
}

fn await_server(cluster: &Cluster) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while let Err(error) = cluster.kubectl(&["get", "--raw", "/readyz"]) {
        ensure!(Instant::now() < deadline, "the API server does not come back: {error:#}");
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
