//! Services, `EndpointSlice`s and `AuditTrail`s, field by field.

use std::net::IpAddr;
use std::time::Duration;

use podwitness_manifests::{Documents, Object, read_documents};
use podwitness_policy::{AuditTrail, EndpointSlice, ExternalAddresses, Protocol, Service, SliceEndpoint, WitnessMode};

fn read(text: &str) -> Documents {
    read_documents(text, "x.yaml")
}

/// What is said of the objects of a text, without where they were read.
fn messages(documents: &Documents) -> Vec<String> {
    documents.faults.iter().map(|fault| fault.problem.to_string()).collect()
}

fn service(rest: &str) -> (Service, Vec<String>) {
    let mut documents =
        read(&format!("{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: shop, uid: u1}}, {rest}}}"));
    match documents.objects.pop().expect("the service is used").object {
        Object::Service(service) => (service, messages(&documents)),
        other => panic!("{other:?}"),
    }
}

fn slice(rest: &str) -> (EndpointSlice, Vec<String>) {
    let labels = "labels: {kubernetes.io/service-name: web}";
    let mut documents = read(&format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: web-1, namespace: shop, {labels}}}, {rest}}}"
    ));
    match documents.objects.pop().expect("the slice is used").object {
        Object::EndpointSlice(slice) => (slice, messages(&documents)),
        other => panic!("{other:?}"),
    }
}

fn trail(spec: &str) -> (AuditTrail, Vec<String>) {
    let metadata = "metadata: {name: default, namespace: shop}";
    let mut documents =
        read(&format!("{{apiVersion: podwitness.io/v1alpha1, kind: AuditTrail, {metadata}, spec: {spec}}}"));
    match documents.objects.pop().expect("the trail is used").object {
        Object::AuditTrail(trail) => (trail, messages(&documents)),
        other => panic!("{other:?}"),
    }
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

const NO_FAULT: [String; 0] = [];

fn addresses_of(slice: &EndpointSlice) -> Vec<IpAddr> {
    slice.endpoints.iter().map(|endpoint| endpoint.address).collect()
}

#[test]
fn a_service_has_all_addresses_that_a_node_translates() {
    let (service, faults) = service(
        "spec: {type: LoadBalancer, clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, 'fd00:96::1'], externalIPs: [198.51.100.1], \
         internalTrafficPolicy: Local, ports: [{name: http, port: 80, nodePort: 30080}, {name: dns, protocol: UDP, port: 53}]}, \
         status: {loadBalancer: {ingress: [{ip: 203.0.113.1}, {ip: 203.0.113.2, ipMode: Proxy}, {ip: 203.0.113.3, ipMode: VIP}, \
         {hostname: lb.example}]}}",
    );
    assert_eq!(faults, NO_FAULT);
    assert_eq!((service.name.to_string().as_str(), service.uid.to_string().as_str()), ("shop/web", "u1"));
    assert_eq!(service.cluster_addresses, addresses(&["10.96.0.1", "fd00:96::1"]));
    assert_eq!(service.external_addresses, addresses(&["198.51.100.1", "203.0.113.1", "203.0.113.3"]));
    assert!(service.internal_traffic_local);
    let ports: Vec<_> = service.ports.iter().map(|port| (port.name.as_str(), port.protocol, port.port.get())).collect();
    assert_eq!(ports, [("http", Protocol::Tcp, 80), ("dns", Protocol::Udp, 53)]);
    assert_eq!(service.ports.iter().map(|port| port.node_port.map(u16::from)).collect::<Vec<_>>(), [Some(30080), None]);
}

#[test]
fn a_service_that_is_only_a_name_has_no_addresses_and_no_node_ports() {
    for spec in [
        "clusterIP: None, externalIPs: [198.51.100.1]",
        "clusterIP: None, clusterIPs: [None]",
        "type: ExternalName, externalName: db.example, externalIPs: [198.51.100.1]",
    ] {
        let (service, faults) = service(&format!("spec: {{{spec}, ports: [{{port: 80, nodePort: 30080}}]}}"));
        assert_eq!(faults, NO_FAULT);
        assert!(service.cluster_addresses.is_empty() && service.external_addresses.is_empty(), "{spec}");
        assert_eq!(service.ports[0].node_port, None, "{spec}");
    }
}

#[test]
fn what_is_wrong_with_a_service_costs_that_part_alone() {
    let (service, faults) = service(
        "spec: {clusterIPs: [10.96.0.1, ten], internalTrafficPolicy: Near, ports: [{name: a, port: 0}, {name: b, port: 80, protocol: ICMP}, \
         {name: c, port: 81, nodePort: 70000}]}",
    );
    assert_eq!(service.cluster_addresses, addresses(&["10.96.0.1"]));
    assert_eq!(service.ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["c"]);
    assert!(!service.internal_traffic_local);
    assert_eq!(
        faults,
        [
            "`spec.ports[0].port` is 0, which is no port; give a number from 1 to 65535 (this part is left out until then)",
            "`spec.ports[1].protocol` is `ICMP`; the protocols are TCP, UDP and SCTP (this part is left out until then)",
            "`spec.ports[2].nodePort` is 70000, which is no port; give a number from 1 to 65535 (this part is left out until then)",
            "`spec.internalTrafficPolicy` is `Near`; it can be Cluster and Local, and is taken as Cluster until then",
            "`spec.clusterIPs[1]` is `ten`, which is not an IP address; write one such as 192.0.2.1 or 2001:db8::1 (this part \
             is left out until then)",
        ]
    );
}

#[test]
fn a_slice_has_the_backends_of_its_service_with_their_state() {
    let (slice, faults) = slice(
        "addressType: IPv4, ports: [{name: http, port: 8080}, {port: 53, protocol: UDP}], endpoints: [{addresses: [10.0.0.5], \
         nodeName: node-a}, {addresses: [10.0.0.6], conditions: {ready: false, serving: true, terminating: true}}, \
         {addresses: [10.0.0.7], conditions: {ready: false, serving: false}}]",
    );
    assert_eq!(faults, NO_FAULT);
    assert_eq!((slice.name.to_string().as_str(), slice.service.as_deref()), ("shop/web-1", Some("web")));
    let ports: Vec<_> = slice.ports.iter().map(|port| (port.name.as_str(), port.protocol, port.port.get())).collect();
    assert_eq!(ports, [("http", Protocol::Tcp, 8080), ("", Protocol::Udp, 53)]);
    let states: Vec<_> = slice.endpoints.iter().map(|end| (end.ready, end.serving, end.terminating)).collect();
    assert_eq!(states, [(true, true, false), (false, true, true), (false, false, false)]);
    assert_eq!(addresses_of(&slice), addresses(&["10.0.0.5", "10.0.0.6", "10.0.0.7"]));
    assert_eq!(slice.endpoints[0].node.as_deref(), Some("node-a"));
}

#[test]
fn a_slice_of_names_has_no_backends() {
    let (slice, faults) = slice("addressType: FQDN, endpoints: [{addresses: [db.example]}]");
    assert_eq!((faults.as_slice(), slice.endpoints.as_slice()), (NO_FAULT.as_slice(), [].as_slice()));
}

#[test]
fn what_is_wrong_with_a_slice_costs_that_part_alone() {
    let (slice, faults) = slice(
        "addressType: IPv4, ports: [{name: all}, {name: http, port: 8080}], \
         endpoints: [{addresses: ['fd00::5', ten]}, {addresses: [10.0.0.6]}]",
    );
    assert_eq!(slice.ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["http"]);
    assert_eq!(addresses_of(&slice), addresses(&["10.0.0.6"]));
    assert_eq!(
        faults,
        [
            "`ports[0].port` is missing, which means all ports; nothing can be said of a Service then, so give its number (this \
             part is left out until then)",
            "`endpoints[0].addresses[0]` is `fd00::5`, which is no address of the slice's `addressType` IPv4; put it in a slice \
             of its own (this part is left out until then)",
            "`endpoints[0].addresses[1]` is `ten`, which is not an IP address; write one such as 192.0.2.1 or 2001:db8::1 (this \
             part is left out until then)",
        ]
    );
    let (slice, faults) = self::slice(
        "addressType: v4, endpoints: [{addresses: [10.0.0.6, 'fd00::5'], nodeName: node-a, conditions: {ready: false}}]",
    );
    assert_eq!(addresses_of(&slice), addresses(&["10.0.0.6", "fd00::5"]));
    let is_as_given = |end: &SliceEndpoint| !end.ready && end.serving && end.node.as_deref() == Some("node-a");
    assert!(slice.endpoints.iter().all(is_as_given), "{:?}", slice.endpoints);
    assert_eq!(
        faults,
        ["`addressType` is `v4`; it can be IPv4, IPv6 and FQDN, and is taken as what each address is until then"]
    );
}

#[test]
fn addresses_are_read_as_the_api_server_reads_them() {
    let (slice, faults) =
        slice("addressType: IPv4, endpoints: [{addresses: [010.000.0.08]}, {addresses: ['::ffff:10.0.0.9']}]");
    assert_eq!(faults, NO_FAULT);
    assert_eq!(addresses_of(&slice), addresses(&["10.0.0.8", "10.0.0.9"]));
}

#[test]
fn an_audit_trail_says_what_becomes_of_the_evidence_of_its_namespace() {
    let (trail, faults) = trail("{retention: 400d, legalHold: true, mode: audit, externalAddresses: truncate}");
    assert_eq!(faults, NO_FAULT);
    assert_eq!(trail.retention, Some(Duration::from_secs(400 * 86_400)));
    assert_eq!((trail.legal_hold, trail.mode), (true, Some(WitnessMode::Audit)));
    assert_eq!(trail.external_addresses, ExternalAddresses::Truncate);
    let (trail, faults) = self::trail("{}");
    assert_eq!(faults, NO_FAULT);
    assert_eq!((trail.retention, trail.legal_hold, trail.mode), (None, false, None));
    assert_eq!(trail.external_addresses, ExternalAddresses::Full);
}

#[test]
fn what_is_wrong_with_an_audit_trail_loses_and_reveals_nothing() {
    let (trail, faults) = trail("{retention: 400, legalHold: 'yes', mode: Audit, externalAddresses: hashed, keep: 1}");
    assert_eq!((trail.retention, trail.legal_hold, trail.mode), (None, true, None));
    assert_eq!(trail.external_addresses, ExternalAddresses::Hmac);
    assert_eq!(
        faults,
        [
            "`spec.externalAddresses` is `hashed`; it can be full, truncate and hmac, and is taken as hmac until then",
            "`spec.keep` is not a field of the API; correct its spelling or take it away (this part is left out until then)",
            "`spec.legalHold` is `yes`; it can be true and false, and is taken as true until then",
            "`spec.mode` is `Audit`; it can be enforce and audit, and is taken as the mode of the node until then",
            "`spec.retention` is `400`, which is no duration; write a whole number and its unit (s, m, h, d), such as 400d (this \
             part is left out until then)",
        ]
    );
    for retention in ["0d", "d", "-1d", "1.5d", "99999999999999999999d", "1w"] {
        let (trail, faults) = self::trail(&format!("{{retention: '{retention}'}}"));
        assert_eq!((trail.retention, faults.len()), (None, 1), "{retention}");
    }
    let (trail, faults) = self::trail("{retention: 36501d}");
    assert_eq!(trail.retention, Some(Duration::from_secs(36_500 * 86_400)));
    assert_eq!(
        faults,
        [
            "`spec.retention` is `36501d`, and the longest is 36500d (a hundred years), which is taken; write that at most"
        ]
    );
    assert_eq!(self::trail("[]").1, ["`spec` is `[]`; write an object (this part is left out until then)"]);
}

#[test]
fn an_audit_trail_of_another_name_is_named_and_left_out() {
    let documents =
        read("{apiVersion: podwitness.io/v1alpha1, kind: AuditTrail, metadata: {name: mine, namespace: shop}}");
    assert!(documents.objects.is_empty());
    assert_eq!(
        documents.faults[0].to_string(),
        "x.yaml, document 1: AuditTrail shop/mine: `metadata.name` is `mine`; only the one called `default` counts in its \
         namespace, so give it that name or take it away (the object is left out until then)"
    );
}

#[test]
fn a_service_or_slice_with_a_field_of_the_wrong_type_is_named_and_left_out() {
    let documents = read(
        "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {ports: 80}}\n---\n\
         {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, namespace: shop}, endpoints: {}}\n---\n\
         {apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, spec: {clusterIP: 10.96.0.2}}\n",
    );
    let keys: Vec<String> = documents.objects.iter().map(|document| document.object.key().to_string()).collect();
    assert_eq!(keys, ["Service shop/api"]);
    let objects: Vec<String> =
        documents.faults.iter().flat_map(|fault| &fault.object).map(ToString::to_string).collect();
    assert_eq!(objects, ["Service shop/web", "EndpointSlice shop/web-1"]);
}
