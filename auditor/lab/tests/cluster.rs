//! The lab's cluster as YAML.

use std::fs;

use podwitness_lab::{Backend, Lab, PodSpec};
use serde_json::{Value, json};

fn read(lab: &Lab, file: &str) -> Value {
    let text = fs::read_to_string(lab.cluster_path().join(file)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

fn files(lab: &Lab) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(lab.cluster_path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn objects_are_those_of_kubernetes() {
    let lab = Lab::new().unwrap();
    let cluster = lab.cluster();
    cluster.node().unwrap();
    cluster.namespace("shop", &[("team", "8")]).unwrap();
    let spec = PodSpec::new("shop", "api", &["10.1.0.1".parse().unwrap(), "fd00:1::1".parse().unwrap()])
        .label("app", "yes")
        .port("http", 8080, "TCP");
    cluster.pod(&spec).unwrap();
    let policy = "
        podSelector: {}
        policyTypes: [Ingress]
        ingress:
          - ports: [{port: http, protocol: TCP}]
    ";
    cluster.policy("shop", "allow-http", policy).unwrap();

    assert_eq!(read(&lab, "node-node-a.yaml")["status"]["addresses"][1]["address"], "fd00:172:30::2");
    let namespace = read(&lab, "namespace-shop.yaml");
    // Words and numbers of labels stay text, whatever YAML would make of them unquoted.
    assert_eq!(namespace["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "shop", "team": "8"}));
    let pod = read(&lab, "pod-shop-api.yaml");
    assert_eq!(pod["metadata"]["labels"], json!({"app": "yes"}));
    assert_eq!(pod["spec"]["nodeName"], "node-a");
    assert_eq!(
        pod["spec"]["containers"][0]["ports"][0],
        json!({"name": "http", "containerPort": 8080, "protocol": "TCP"})
    );
    assert_eq!(pod["status"]["podIPs"], json!([{"ip": "10.1.0.1"}, {"ip": "fd00:1::1"}]));
    assert_eq!((&pod["status"]["phase"], &pod["status"]["hostIP"]), (&json!("Running"), &json!("172.30.0.2")));
    let policy = read(&lab, "policy-shop-allow-http.yaml");
    assert_eq!(policy["kind"], "NetworkPolicy");
    assert_eq!(policy["spec"]["ingress"][0]["ports"][0]["port"], "http");
}

#[test]
fn a_service_has_a_slice_of_each_family() {
    let lab = Lab::new().unwrap();
    let cluster = lab.cluster();
    cluster.service("shop", "web", "{clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]}").unwrap();
    let backend = |addresses: &[&str], ready| Backend {
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        node: "node-a".to_owned(),
        ready,
    };
    let backends = [backend(&["10.1.0.1", "fd00:1::1"], true), backend(&["10.1.0.2"], false)];
    cluster.backends("shop", "web", &[("http", 8080, "TCP")], &backends).unwrap();

    let service = read(&lab, "service-shop-web.yaml");
    assert_eq!((&service["kind"], &service["spec"]["ports"][0]["port"]), (&json!("Service"), &json!(80)));
    let text = fs::read_to_string(lab.cluster_path().join("endpoints-shop-web.yaml")).unwrap();
    let slices: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let [v4, v6] = slices.as_slice() else { panic!("there are {} slices", slices.len()) };
    for slice in [v4, v6] {
        assert_eq!(slice["apiVersion"], "discovery.k8s.io/v1");
        assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "web");
        assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
        assert_eq!(slice["endpoints"][0]["nodeName"], "node-a");
    }
    assert_eq!((&v4["addressType"], &v6["addressType"]), (&json!("IPv4"), &json!("IPv6")));
    assert_eq!(v4["endpoints"][1]["addresses"], json!(["10.1.0.2"]));
    assert_eq!(v4["endpoints"][1]["conditions"]["ready"], false);
    assert_eq!(v6["endpoints"].as_array().map(Vec::len), Some(1), "a backend has an endpoint in its families alone");
}

#[test]
fn objects_change_and_go_and_leave_no_drafts() {
    let lab = Lab::new().unwrap();
    let cluster = lab.cluster();
    let spec = PodSpec::new("shop", "api", &["10.1.0.1".parse().unwrap()]);
    cluster.pod(&spec).unwrap();
    cluster.pod(&spec.clone().uid("another")).unwrap();
    assert_eq!(read(&lab, "pod-shop-api.yaml")["metadata"]["uid"], "another");
    cluster.policy("shop", "deny", "podSelector: {}").unwrap();
    cluster.write("mine.yaml", "kind: List\n").unwrap();
    assert_eq!(files(&lab), ["mine.yaml", "pod-shop-api.yaml", "policy-shop-deny.yaml"]);
    cluster.remove_pod(&spec).unwrap();
    cluster.remove_policy("shop", "deny").unwrap();
    cluster.remove("mine.yaml").unwrap();
    assert!(files(&lab).is_empty());
    let error = cluster.policy("shop", "bad", "podSelector: {").unwrap_err().to_string();
    assert!(error.contains("policy shop/bad is no YAML"), "{error}");
}
