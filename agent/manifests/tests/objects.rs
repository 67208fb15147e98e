//! Namespaces, nodes and pods, field by field.

use std::num::NonZeroU32;

use podwitness_manifests::{Documents, Effect, Object, read_documents};
use podwitness_policy::{Namespace, Node, Phase, Pod, PodTemplate, Protocol};

fn read(text: &str) -> Documents {
    read_documents(text, "x.yaml")
}

fn pod(text: &str) -> Pod {
    let mut documents = read(text);
    assert_eq!(documents.faults, []);
    match documents.objects.pop().expect("an object").object {
        Object::Pod(pod) => pod,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_namespace_has_the_label_with_its_name_as_from_the_api_server() {
    let documents = read("{apiVersion: v1, kind: Namespace, metadata: {name: shop, uid: u1, labels: {team: red}}}");
    let labels = [("kubernetes.io/metadata.name", "shop"), ("team", "red")];
    let labels = labels.into_iter().collect();
    let expected = Namespace { name: "shop".to_owned(), labels, uid: "u1".into() };
    assert_eq!(documents.objects[0].object, Object::Namespace(expected));
}

#[test]
fn a_node_has_its_addresses_and_pod_ranges_and_what_is_wrong_is_named() {
    let documents = read(
        "apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\nspec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24, 'fd00::/64', nonsense]}\n\
         status:\n  addresses:\n  - {type: InternalIP, address: 192.0.2.1}\n  - {type: Hostname, address: node-a}\n  \
         - {type: ExternalIP, address: '2001:db8::1'}\n  - {type: InternalIP, address: 300.1.1.1}\n",
    );
    let expected = Node {
        name: "node-a".to_owned(),
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        pod_cidrs: vec!["10.1.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()],
    };
    assert_eq!(documents.objects[0].object, Object::Node(expected));
    let paths: Vec<&str> = documents.faults.iter().map(|fault| fault.problem.path.as_str()).collect();
    assert_eq!(paths, ["status.addresses[3].address", "spec.podCIDRs[2]"]);
}

#[test]
fn a_running_pod_is_read_with_all_that_policy_and_records_need() {
    let pod = pod(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web-5d8f-x2x\n  namespace: shop\n  uid: u2\n  labels: {app: web, pod-template-hash: 5d8f}\n  \
         ownerReferences:\n  - {apiVersion: apps/v1, kind: ReplicaSet, name: web-5d8f, uid: u3, controller: true}\n\
         spec:\n  nodeName: node-a\n  serviceAccountName: web\n  initContainers:\n  - {name: mesh, restartPolicy: Always, ports: [{name: mesh, containerPort: 15001}]}\n  \
         - {name: once, ports: [{name: once, containerPort: 1}]}\n  containers:\n  - name: web\n    ports:\n    \
         - {name: http, containerPort: 8080}\n    - {containerPort: 9}\n    - {name: dns, containerPort: 53, protocol: UDP}\n\
         status: {phase: Running, podIP: 10.0.0.5, podIPs: [{ip: 10.0.0.5}, {ip: 'fd00::5'}]}\n",
    );
    assert_eq!(pod.name.to_string(), "shop/web-5d8f-x2x");
    assert_eq!(pod.uid, "u2".into());
    assert_eq!(pod.addresses, vec!["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()].into());
    assert_eq!((pod.node.as_deref(), pod.host_network, pod.phase), (Some("node-a"), false, Phase::Running));
    assert_eq!(&*pod.template.service_account, "web");
    assert_eq!(
        (pod.template.workload_kind.as_deref(), pod.template.workload.as_deref()),
        (Some("Deployment"), Some("web"))
    );
    let ports: Vec<_> =
        pod.template.ports.iter().map(|port| (port.name.as_str(), port.protocol, port.port.get())).collect();
    assert_eq!(ports, [("http", Protocol::Tcp, 8080), ("dns", Protocol::Udp, 53), ("mesh", Protocol::Tcp, 15001)]);
}

#[test]
fn what_nobody_uses_of_a_pod_is_passed_over_and_what_is_used_must_be_right() {
    let pod = pod(
        "{apiVersion: v1, kind: Pod, metadata: {name: web, managedFields: [{fieldsV1: {'f:spec': 7}}], annotations: 7, finalizers: null},\n\
         spec: {nodeName: node-a, volumes: {a: b}, containers: [{image: 7, ports: null}], initContainers: null}, status: null}",
    );
    assert_eq!((pod.node.as_deref(), pod.template.ports.len()), (Some("node-a"), 0));
    for wrong in
        ["metadata: {name: web}, spec: {nodeName: 7}", "metadata: {name: web, labels: {app: 7}}", "metadata: 7"]
    {
        let documents = read(&format!("{{apiVersion: v1, kind: Pod, {wrong}}}"));
        assert!(documents.objects.is_empty() && documents.faults.len() == 1, "{wrong}: {:?}", documents.objects);
    }
}

#[test]
fn a_pod_says_when_it_was_made_and_whether_it_is_being_deleted() {
    let made = pod("{apiVersion: v1, kind: Pod, metadata: {name: web, creationTimestamp: '1970-01-02T00:00:01Z'}}");
    assert_eq!((made.created.map(NonZeroU32::get), made.is_being_deleted), (Some(86_401), false));
    let leaving = pod("{apiVersion: v1, kind: Pod, metadata: {name: web, deletionTimestamp: '2026-01-02T00:00:01Z'}}");
    assert_eq!((leaving.created, leaving.is_being_deleted), (None, true));
    for (at, seconds) in [
        ("1969-12-31T23:59:59Z", 1),
        ("1970-01-01T00:00:00Z", 1),
        ("2106-02-07T06:28:15Z", u32::MAX),
        ("2500-01-01T00:00:00Z", u32::MAX),
    ] {
        let made = pod(&format!("{{apiVersion: v1, kind: Pod, metadata: {{name: web, creationTimestamp: '{at}'}}}}"));
        assert_eq!(made.created.map(NonZeroU32::get), Some(seconds), "{at}");
    }
}

#[test]
fn a_pod_without_anything_is_one_without_addresses_that_lives() {
    let pod = pod("{apiVersion: v1, kind: Pod, metadata: {name: web}}");
    assert_eq!(pod.name.to_string(), "default/web");
    assert!(pod.addresses.is_empty() && pod.is_on_pod_network());
    let template = &pod.template;
    let made_by = (&template.workload_kind, &template.workload);
    assert_eq!((pod.phase, made_by), (Phase::Unknown, (&None, &None)));
}

#[test]
fn a_pod_that_has_ended_or_is_on_the_network_of_the_host_is_not_on_the_pod_network() {
    for rest in ["status: {phase: Succeeded}", "status: {phase: Failed}", "spec: {hostNetwork: true, containers: []}"] {
        let pod = pod(&format!("{{apiVersion: v1, kind: Pod, metadata: {{name: web}}, {rest}}}"));
        assert!(!pod.is_on_pod_network(), "{rest}");
    }
}

#[test]
fn workloads_are_named_only_as_far_as_is_certain() {
    let workload = |kind: &str, name: &str, controller: bool, labels: &str| {
        let pod = pod(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p, labels: {{{labels}}}, ownerReferences: \
             [{{apiVersion: x/v1, kind: {kind}, name: {name}, uid: u, controller: {controller}}}]}}}}"
        ));
        let PodTemplate { workload_kind, workload, .. } = PodTemplate::clone(&pod.template);
        workload_kind.zip(workload).map(|(kind, name)| format!("{kind} {name}"))
    };
    assert_eq!(workload("ReplicaSet", "a-b-12ab", true, "pod-template-hash: 12ab").as_deref(), Some("Deployment a-b"));
    assert_eq!(workload("ReplicaSet", "a-b-12ab", true, "").as_deref(), Some("ReplicaSet a-b-12ab"));
    assert_eq!(workload("ReplicaSet", "alone", true, "pod-template-hash: 12ab").as_deref(), Some("ReplicaSet alone"));
    assert_eq!(workload("Job", "backup-287", true, "").as_deref(), Some("Job backup-287"));
    assert_eq!(workload("DaemonSet", "logs", true, "").as_deref(), Some("DaemonSet logs"));
    assert_eq!(workload("ReplicaSet", "a-12ab", false, "pod-template-hash: 12ab"), None);
}

#[test]
fn what_is_wrong_with_a_pod_costs_that_part_alone() {
    let documents = read(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec:\n  containers:\n  - name: web\n    ports:\n    \
         - {name: a, containerPort: 0}\n    - {name: b, containerPort: 1, protocol: ICMP}\n    - {name: c, containerPort: 2}\n\
         status: {phase: Dreaming, podIPs: [{ip: 10.0.0.5}, {ip: ten}]}\n",
    );
    let Object::Pod(pod) = &documents.objects[0].object else { panic!("it is a Pod") };
    assert_eq!((pod.addresses.len(), pod.template.ports.len(), pod.phase), (1, 1, Phase::Unknown));
    let paths: Vec<&str> = documents.faults.iter().map(|fault| fault.problem.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "status.podIPs[1].ip",
            "status.phase",
            "spec.containers[0].ports[0].containerPort",
            "spec.containers[0].ports[1].protocol"
        ]
    );
}

#[test]
fn a_namespace_that_there_cannot_be_is_nobodys() {
    let kinds = [
        ("v1", "Pod", ""),
        ("v1", "Service", ""),
        ("discovery.k8s.io/v1", "EndpointSlice", "addressType: IPv4, endpoints: [],"),
        ("networking.k8s.io/v1", "NetworkPolicy", ""),
        ("networking.k8s.io/v1", "NetworkPolicy", "spec: 7,"),
        ("podwitness.io/v1alpha1", "AuditTrail", ""),
    ];
    for (version, kind, rest) in kinds {
        let of = |namespace: &str, name: &str| {
            read(&format!(
                "{{apiVersion: {version}, kind: {kind}, {rest} metadata: {{namespace: \"{namespace}\", name: {name}}}}}"
            ))
        };
        assert_eq!(of("a", "default").objects.len(), 1, "{kind} {rest}");
        let documents = of(r"a\0b", "default");
        assert_eq!(documents.objects, [], "{kind} {rest}");
        let [fault] = &documents.faults[..] else { panic!("{:?}", documents.faults) };
        assert_eq!(fault.problem.effect, Effect::LeftOut, "{kind} {rest}");
        if rest != "spec: 7," {
            let message = fault.problem.to_string();
            let expected = r"`metadata.namespace` is `a\0b`, which no namespace can be called; write the name of one";
            assert_eq!(message, format!("{expected} (the object is left out until then)"));
        }
    }
}
