//! Texts: documents, lists, and what becomes of the bad ones among the good.

use podwitness_manifests::{Document, Documents, Effect, Mistake, assemble, read_documents};
use podwitness_policy::ObjectName;

const ORIGIN: &str = "cluster/all.yaml";

fn read(text: &str) -> Documents {
    read_documents(text, ORIGIN)
}

fn keys(documents: &Documents) -> Vec<String> {
    documents.objects.iter().map(|document| document.object.key().to_string()).collect()
}

fn messages(documents: &Documents) -> Vec<String> {
    documents.faults.iter().map(ToString::to_string).collect()
}

#[test]
fn documents_are_cut_at_markers_and_nothing_counts_for_nothing() {
    let documents = read(
        "# a comment alone\n---\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n--- # the next\r\n\
         apiVersion: v1\nkind: Namespace\nmetadata:\n  name: bank\n  annotations:\n    text: |\n      ---\n      not a marker\n",
    );
    assert_eq!(messages(&documents), Vec::<String>::new());
    assert_eq!(keys(&documents), ["Namespace shop", "Namespace bank"]);
    let numbers: Vec<usize> = documents.objects.iter().map(|document| document.place.document).collect();
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn json_is_read_as_yaml_is() {
    let yaml = read("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: red}}\n");
    let json = read(
        "{\n\t\"apiVersion\": \"v1\", \"kind\": \"Namespace\",\n\t\"metadata\": {\"name\": \"shop\", \"labels\": {\"team\": \"red\"}}}",
    );
    assert_eq!(yaml.objects.len(), 1);
    assert_eq!(yaml, json);
}

#[test]
fn a_document_that_is_no_yaml_is_named_with_its_line_and_the_others_work() {
    let documents = read(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\nkind: Pod\nmetadata: {name: [half\n---\n\
         apiVersion: v1\nkind: Namespace\nmetadata: {name: bank}\n",
    );
    assert_eq!(keys(&documents), ["Namespace shop", "Namespace bank"]);
    let [fault] = documents.faults.as_slice() else { panic!("{:?}", documents.faults) };
    assert!(matches!(fault.problem.mistake, Mistake::Syntax(_)));
    assert_eq!(fault.problem.effect, Effect::LeftOut);
    let message = fault.to_string();
    assert!(message.starts_with("cluster/all.yaml, document 2: the document is neither YAML nor JSON: "), "{message}");
    assert!(["line 5", "line 6", "line 7"].iter().any(|line| message.contains(line)), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

#[test]
fn lists_of_every_kind_are_taken_apart() {
    let documents = read(
        "apiVersion: v1\nkind: List\nitems:\n\
         - {apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n\
         - {apiVersion: v1, kind: NamespaceList, items: [{metadata: {name: bank}}, {metadata: {labels: {a: b}}}]}\n",
    );
    assert_eq!(keys(&documents), ["Namespace shop", "Namespace bank"]);
    assert_eq!(
        messages(&documents),
        ["cluster/all.yaml, document 1, items[1]: Namespace without a name: `metadata.name` is missing; give it (the \
          object is left out until then)"]
    );
}

#[test]
fn an_empty_list_is_no_fault() {
    assert_eq!(read("{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": []}"), Documents::default());
}

#[test]
fn what_is_no_object_is_named() {
    let documents = read("just text\n---\n[1, 2]\n---\nmetadata: {name: x}\n");
    assert_eq!(documents.faults.len(), 3);
    assert!(documents.faults.iter().all(|fault| fault.problem.mistake == Mistake::NotAnObject));
}

#[test]
fn kinds_that_policy_does_not_depend_on_are_ignored_with_a_note() {
    let documents = read("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n");
    assert_eq!(
        messages(&documents),
        [
            "cluster/all.yaml, document 1: Deployment shop/web: ignored, because policy does not depend on `Deployment` of `apps/v1`"
        ]
    );
    assert_eq!(documents.faults[0].problem.effect, Effect::Ignored);
}

#[test]
fn an_object_with_a_field_of_the_wrong_type_is_named_and_left_out() {
    let documents = read("{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {version: 1}}}");
    assert!(documents.objects.is_empty());
    let message = documents.faults[0].to_string();
    assert!(
        message.starts_with("cluster/all.yaml, document 1: Pod shop/web: the object is not as the API describes it: "),
        "{message}"
    );
}

#[test]
fn of_two_objects_of_one_name_the_first_stands() {
    let text = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: red}}}\n---\n\
                {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: blue}}}\n---\n\
                {apiVersion: v1, kind: Node, metadata: {name: shop}}\n";
    let (cluster, faults) = assemble(read(text).objects);
    assert_eq!(cluster.namespaces["shop"].labels.get("team"), Some("red"));
    assert_eq!(cluster.nodes.len(), 1);
    let messages: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "cluster/all.yaml, document 2: Namespace shop: the same object was read before at cluster/all.yaml, document 1, \
          and that one is used; take one of them away (the object is left out until then)"
        ]
    );
}

#[test]
fn the_objects_of_a_folder_become_a_cluster() {
    let text = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\n\
                {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}}\n---\n\
                {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: shop}, spec: {podSelector: {}}}\n---\n\
                {apiVersion: v1, kind: Node, metadata: {name: node-a}}\n---\n\
                {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}}\n---\n\
                {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, namespace: shop}, addressType: IPv4}\n---\n\
                {apiVersion: podwitness.io/v1alpha1, kind: AuditTrail, metadata: {name: default, namespace: shop}}\n";
    let (cluster, faults) = assemble(read(text).objects);
    assert!(faults.is_empty());
    assert!(cluster.namespaces.contains("shop") && cluster.nodes.contains("node-a"));
    assert!(cluster.pods.contains(&ObjectName::new("shop", "web")));
    assert!(cluster.policies.contains(&ObjectName::new("shop", "deny")));
    assert!(cluster.services.contains(&ObjectName::new("shop", "web")));
    assert!(cluster.endpoint_slices.contains(&ObjectName::new("shop", "web-1")));
    assert!(cluster.trails.contains("shop"));
}

#[test]
fn a_listing_of_a_large_cluster_is_read() {
    let pod = |number: usize| {
        format!(
            "- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: pod-{number}\n    namespace: shop\n    labels:\n      app: web\n      \
                 tier: front\n      track: stable\n      release: r{number}\n  spec:\n    nodeName: node-a\n    containers: []\n  status:\n    \
                 phase: Running\n    podIPs:\n    - ip: 10.0.0.1\n    - ip: fd00::1\n"
        )
    };
    let text = format!("apiVersion: v1\nkind: List\nitems:\n{}", (0..10_000).map(pod).collect::<String>());
    let Documents { objects, faults } = read(&text);
    assert_eq!(faults, []);
    assert_eq!(objects.len(), 10_000);
    let Some(Document { place, .. }) = objects.last() else { panic!("there are objects") };
    assert_eq!(place.item, Some(9_999));
}
