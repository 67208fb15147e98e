//! An API server that answers, fails, goes away and comes back, and what is delivered of it.

mod api_server;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use api_server::ApiServer;
use podwitness_policy::{Cluster, ObjectName};
use podwitness_source::{DirectorySource, Effect, KubernetesSource, Update};
use serde_json::{Value, json};

/// So long that only what will never come takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A source that follows a server, and what it has delivered.
struct Followed {
    updates: Receiver<Update>,
    /// In the order of their coming.
    all: Vec<Update>,
    _source: KubernetesSource,
}

impl Followed {
    fn start(server: &ApiServer) -> Self {
        let (deliver, updates) = mpsc::channel();
        let server = podwitness_source::ApiServer::at(&server.url()).unwrap();
        let source = KubernetesSource::start(&server, move |update| drop(deliver.send(update))).unwrap();
        Self { updates, all: Vec::new(), _source: source }
    }

    /// Waits for an update of which this holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Update) -> bool) -> Update {
        let until = Instant::now() + LIMIT;
        loop {
            match self.updates.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(update) => {
                    self.all.push(update.clone());
                    if holds(&update) {
                        return update;
                    }
                }
                Err(error) => panic!("{what}: {error}; last: {:#?}", self.all.last()),
            }
        }
    }

    /// Waits for the whole cluster without a fault.
    fn until_complete(&mut self) -> Arc<Cluster> {
        let update = self.until("everything is read", |update| update.complete && update.faults.is_empty());
        update.cluster.expect("a complete update has a cluster")
    }
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": "red"}}})
}

fn pod(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "uid": name, "labels": {"app": "web"}},
        "spec": {"nodeName": "node-a", "containers": []},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    })
}

fn policy(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": name}, "spec": spec,
    })
}

fn trail(hold: bool) -> Value {
    json!({
        "apiVersion": "podwitness.io/v1alpha1", "kind": "AuditTrail",
        "metadata": {"namespace": "shop", "name": "default"}, "spec": {"legalHold": hold},
    })
}

fn pods(cluster: &Cluster) -> Vec<&str> {
    cluster.pods.iter().map(|pod| pod.name.name()).collect()
}

fn messages(update: &Update) -> Vec<&str> {
    update.faults.iter().map(|fault| fault.message.as_str()).collect()
}

/// A server with a namespace and two pods.
fn shop() -> ApiServer {
    let server = ApiServer::start();
    server.put(namespace("shop"));
    server.put(pod("a", "10.0.0.1"));
    server.put(pod("b", "10.0.0.2"));
    server
}

#[test]
fn what_is_there_comes_in_one_update_and_each_change_after_it() {
    let server = shop();
    let mut followed = Followed::start(&server);
    let cluster = followed.until_complete();
    assert_eq!(pods(&cluster), ["a", "b"]);
    assert_eq!(followed.all.len(), 1, "{:#?}", followed.all);

    server.put(pod("c", "10.0.0.3"));
    let update = followed.until("a pod is made", |update| pods(update.cluster.as_ref().unwrap()).len() == 3);
    assert!(update.received.elapsed() < LIMIT);
    server.put(policy("deny", &json!({"podSelector": {}})));
    followed.until("a policy is made", |update| update.cluster.as_ref().unwrap().policies.len() == 1);
    server.put(pod("c", "10.0.0.4"));
    followed.until("a pod is changed", |update| {
        update.cluster.as_ref().unwrap().pod_at([10, 0, 0, 4].into()).is_some_and(|pod| pod.name.name() == "c")
    });
    server.delete("pods", "shop", "a");
    followed.until("a pod is deleted", |update| pods(update.cluster.as_ref().unwrap()) == ["b", "c"]);
    assert_eq!(pods(&cluster), ["a", "b"], "what was delivered stays as it was");
}

#[test]
fn what_nothing_depends_on_is_not_delivered() {
    let server = shop();
    let mut followed = Followed::start(&server);
    followed.until_complete();
    let mut beating = pod("a", "10.0.0.1");
    beating["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    beating["metadata"]["annotations"] = json!({"beat": "1"});
    server.put(beating);
    server.put(namespace("later"));
    followed.until("a namespace is made", |update| update.cluster.as_ref().unwrap().namespaces.contains("later"));
    assert_eq!(followed.all.len(), 2, "{:#?}", followed.all);
}

#[test]
fn pods_alike_share_their_labels() {
    let server = shop();
    let cluster = Followed::start(&server).until_complete();
    let template = |name| &cluster.pods[&ObjectName::new("shop", name)].template;
    assert!(Arc::ptr_eq(template("a"), template("b")));
}

#[test]
fn a_server_that_streams_no_lists_is_read_page_by_page() {
    let server = shop();
    for number in 0..250 {
        server.put(pod(&format!("more-{number:03}"), &format!("10.0.1.{number}")));
    }
    server.stream_no_lists();
    let mut followed = Followed::start(&server);
    assert_eq!(followed.until_complete().pods.len(), 252);
    let pages =
        server.requests().into_iter().filter(|asked| asked.contains("/pods?") && asked.contains("limit=100")).count();
    assert_eq!(pages, 3, "{:#?}", server.requests());
    server.put(pod("z", "10.0.0.9"));
    followed.until("a pod is made", |update| update.cluster.as_ref().unwrap().pods.len() == 253);
}

#[test]
fn before_every_kind_was_listed_there_is_no_cluster_but_the_reason() {
    let server = shop();
    for verb in ["list", "watch"] {
        server.refuse(verb, "nodes", 503, "starting");
    }
    let mut followed = Followed::start(&server);
    let waiting = followed.until("the reason is told", |update| !update.faults.is_empty());
    assert!(waiting.cluster.is_none() && !waiting.complete);
    assert_eq!(
        messages(&waiting),
        [
            "cannot list and watch nodes: it answers 503: starting (until everything has been read once nothing new is put \
          in force)"
        ]
    );
    assert_eq!(waiting.faults[0].origin, server.url());
    assert_eq!(waiting.faults[0].effect, None);
    server.permit_all();
    assert_eq!(pods(&followed.until_complete()), ["a", "b"]);
    let with_cluster = followed.all.iter().filter(|update| update.cluster.is_some()).count();
    assert_eq!(with_cluster, 1, "it comes in one step: {:#?}", followed.all);
}

#[test]
fn a_missing_permission_is_named_with_the_rule_to_add() {
    let server = shop();
    server.put(policy("deny", &json!({"podSelector": {}})));
    server.stream_no_lists();
    let said = "networkpolicies.networking.k8s.io is forbidden: User \"system:serviceaccount:podwitness:agent\" cannot list \
                resource \"networkpolicies\" in API group \"networking.k8s.io\" at the cluster scope";
    server.refuse("list", "networkpolicies", 403, said);
    let mut followed = Followed::start(&server);
    let waiting = followed.until("the reason is told", |update| !update.faults.is_empty());
    let [message] = messages(&waiting)[..] else { panic!("{waiting:#?}") };
    assert!(
        message.starts_with(&format!("may not list networkpolicies: {said}; give its ClusterRole the rule ")),
        "{message}"
    );
    assert!(
        message.contains(
            "{apiGroups: [\"networking.k8s.io\"], resources: [\"networkpolicies\"], verbs: [\"list\", \"watch\"]}"
        ),
        "{message}"
    );
    server.permit_all();
    assert_eq!(followed.until_complete().policies.len(), 1);
}

#[test]
fn a_permission_that_is_taken_away_leaves_what_was_read_in_force() {
    let mut server = shop();
    let mut followed = Followed::start(&server);
    followed.until_complete();
    server.refuse("watch", "pods", 403, "pods is forbidden");
    server.go_away();
    server.come_back();
    let update =
        followed.until("it is told", |update| messages(update).iter().any(|said| said.contains("may not watch pods")));
    assert!(!update.complete);
    assert_eq!(pods(&update.cluster.unwrap()), ["a", "b"]);
    let message = update.faults.iter().find(|fault| fault.message.contains("may not")).unwrap().message.clone();
    assert!(message.ends_with("(what was read before stays in force)"), "{message}");
}

#[test]
fn a_server_that_goes_away_leaves_what_was_read_in_force_until_it_is_back() {
    let mut server = shop();
    let mut followed = Followed::start(&server);
    let before = followed.until_complete();
    server.go_away();
    let away = followed.until("it is told", |update| !update.complete);
    assert_eq!(away.cluster.as_deref(), Some(&*before));
    server.put(pod("c", "10.0.0.3"));
    server.delete("pods", "shop", "a");
    server.come_back();
    let back = followed.until_complete();
    let last = if pods(&back) == ["b", "c"] {
        back
    } else {
        followed
            .until("the changes come", |update| pods(update.cluster.as_ref().unwrap()) == ["b", "c"])
            .cluster
            .unwrap()
    };
    assert_eq!(pods(&last), ["b", "c"]);
    let told = followed.all.iter().flat_map(|update| &update.faults).filter(|fault| fault.effect.is_none());
    for fault in told {
        assert!(fault.message.starts_with("the API server does not answer: "), "{fault}");
        assert!(fault.message.ends_with(" (what was read before stays in force)"), "{fault}");
    }
}

#[test]
fn what_was_deleted_while_changes_were_forgotten_is_gone_after_the_list_in_one_step() {
    for streams in [true, false] {
        let mut server = shop();
        if !streams {
            server.stream_no_lists();
        }
        let mut followed = Followed::start(&server);
        followed.until_complete();
        let before = followed.all.len();
        server.go_away();
        server.delete("pods", "shop", "a");
        server.put(pod("c", "10.0.0.1"));
        server.put(pod("d", "10.0.0.4"));
        server.forget_changes();
        server.come_back();
        followed.until("the list is read again", |update| {
            update.complete && pods(update.cluster.as_ref().unwrap()) == ["b", "c", "d"]
        });
        for update in &followed.all[before..] {
            let there = pods(update.cluster.as_ref().unwrap());
            assert!(there == ["a", "b"] || there == ["b", "c", "d"], "streams: {streams}, {there:?}");
        }
    }
}

#[test]
fn without_the_definition_of_audit_trails_it_works_says_so_and_takes_them_up_when_it_comes() {
    let server = shop();
    for verb in ["list", "watch"] {
        server.refuse(verb, "audittrails", 404, "the server could not find the requested resource");
    }
    let mut followed = Followed::start(&server);
    let update = followed.until("the cluster is there", |update| update.cluster.is_some() && update.complete);
    assert_eq!(pods(update.cluster.as_ref().unwrap()), ["a", "b"]);
    assert_eq!(
        messages(&update),
        [
            "has no AuditTrail of podwitness.io/v1alpha1; install its CustomResourceDefinition, if namespaces are to say how \
          their evidence is kept"
        ]
    );
    assert_eq!(update.faults[0].effect, Some(Effect::Ignored));
    server.put(trail(true));
    server.permit_all();
    let cluster = followed.until_complete();
    assert!(cluster.trails["shop"].legal_hold);
}

#[test]
fn a_hold_stays_where_a_server_suddenly_does_not_know_the_kind() {
    let mut server = shop();
    server.put(trail(true));
    let mut followed = Followed::start(&server);
    followed.until_complete();
    for verb in ["list", "watch"] {
        server.refuse(verb, "audittrails", 404, "404 page not found");
    }
    server.go_away();
    server.come_back();
    let update =
        followed.until("it is told", |update| messages(update).iter().any(|said| said.contains("no AuditTrail")));
    assert!(!update.complete && update.cluster.unwrap().trails["shop"].legal_hold);
}

#[test]
fn an_object_that_cannot_be_used_is_told_and_costs_no_other() {
    let server = shop();
    let unknown = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"form": []}]});
    server.put(policy("unknown", &unknown));
    server.put(policy("wrong", &json!({"podSelector": "all"})));
    server.put(trail(true));
    let mut other = trail(true);
    other["metadata"]["name"] = json!("other");
    server.put(other);
    let mut followed = Followed::start(&server);
    let update = followed.until("everything is read", |update| update.complete);
    let cluster = update.cluster.as_ref().unwrap();
    assert_eq!((cluster.policies.len(), cluster.trails.len(), cluster.pods.len()), (2, 1, 2));
    let told: Vec<_> = update.faults.iter().map(|fault| fault.effect).collect();
    assert_eq!(told, [Some(Effect::LeftOut), Some(Effect::RuleClosed), Some(Effect::NamespaceClosed)], "{update:#?}");
    assert!(update.faults[1].message.starts_with("NetworkPolicy shop/unknown: `spec.ingress[0].form`"), "{update:#?}");

    server.put(policy("unknown", &json!({"podSelector": {}})));
    server.delete("networkpolicies", "shop", "wrong");
    server.delete("audittrails", "shop", "other");
    let cluster = followed.until_complete();
    assert_eq!((cluster.policies.len(), cluster.trails.len()), (1, 1));
}

#[test]
fn the_same_objects_make_the_same_cluster_whatever_the_source() {
    let server = ApiServer::start();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples");
    let mut read = 0;
    for entry in fs::read_dir(&examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            for document in serde_saphyr::from_multiple::<Value>(&fs::read_to_string(&path).unwrap()).unwrap() {
                let is_ours = document["apiVersion"].is_string() && document["kind"].is_string();
                if is_ours {
                    server.put(document);
                    read += 1;
                }
            }
        }
    }
    server.put(namespace("shop"));
    server.put(trail(true));
    assert!(read > 10, "{read} objects in {}", examples.display());
    let followed = Followed::start(&server).until("everything is read", |update| update.complete);

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("all.json"), server.list().to_string()).unwrap();
    let (deliver, delivered) = mpsc::channel();
    let _directory = DirectorySource::start(folder.path(), move |update| drop(deliver.send(update))).unwrap();
    let update = delivered.recv_timeout(LIMIT).unwrap();
    assert_eq!(followed.cluster, update.cluster);
    let effects = |update: &Update| update.faults.iter().map(|fault| fault.effect).collect::<Vec<_>>();
    assert_eq!(effects(&followed), effects(&update));
}
