//! Which backend a connection to a Service really went to: by the evidence, and by what the backends themselves saw.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::{Backend, NetNs, Outcome, PodSpec};
use podwitness_policy::Protocol;
use podwitness_tests::check;
use podwitness_tests::evidence::{Evidence, Row};
use podwitness_tests::scenario::Scenario;
use podwitness_tests::traffic::{ANSWER_LIMIT, PROTOCOLS, Sent, SourcePorts, probe, serve};

/// The Service's addresses and port, and what the backends serve.
const VIRTUAL: [&str; 2] = ["10.96.0.20", "fd00:96::20"];
const PORT: u16 = 80;
const TARGET: u16 = 8080;

/// Probes to each of the addresses. That one of three backends is asked by none of so many happens once in 50,000 times.
const MANY: usize = 30;

fn both(v4: &str, v6: &str) -> Result<Vec<IpAddr>> {
    Ok(vec![v4.parse()?, v6.parse()?])
}

/// A backend, and who the evidence must say that it is.
struct Party<'lab> {
    netns: &'lab NetNs,
    addresses: Vec<IpAddr>,
    node: &'lab str,
    pod: Option<&'lab str>,
    identity: &'lab str,
}

/// A pod of a node that is not this one: no hook sees what comes to it.
fn elsewhere(name: &str, addresses: &[IpAddr]) -> String {
    let ips: Vec<_> = addresses.iter().map(|address| serde_json::json!({"ip": address})).collect();
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "uid": format!("uid-{name}"), "labels": {"app": "web"}},
        "spec": {"nodeName": "elsewhere", "containers": [{"name": "main", "image": "lab"}]},
        "status": {"phase": "Running", "podIP": addresses.first(), "podIPs": ips},
    })
    .to_string()
}

#[test]
fn the_evidence_names_the_backend_that_was_asked_wherever_it_is() -> Result<()> {
    let mut scenario = Scenario::new()?;
    scenario.cluster.namespace("shop", &[])?;
    let client = scenario.pod(PodSpec::new("shop", "client", &both("10.8.0.1", "fd00:8::1")?))?;
    let here = scenario.pod(PodSpec::new("shop", "here", &both("10.8.0.2", "fd00:8::2")?).label("app", "web"))?;
    let there = scenario.lab.outsider("there", &both("203.0.113.7", "2001:db8::7")?)?;
    let outside = scenario.lab.outsider("outside", &both("203.0.113.200", "2001:db8::c8")?)?;
    scenario.cluster.write("pod-there.yaml", &elsewhere("there", &there.addresses()))?;
    let node = scenario.lab.node().name().to_owned();
    let parties = [
        Party { netns: &here, addresses: here.addresses(), node: &node, pod: Some("here"), identity: "exact" },
        Party { netns: &there, addresses: there.addresses(), node: "elsewhere", pod: Some("there"), identity: "exact" },
        Party { netns: &outside, addresses: outside.addresses(), node: "elsewhere", pod: None, identity: "external" },
    ];
    let ports = format!(
        "[{{name: web, port: {PORT}, targetPort: {TARGET}, protocol: TCP}}, \
         {{name: web-udp, port: {PORT}, targetPort: {TARGET}, protocol: UDP}}]"
    );
    let spec = format!("{{clusterIPs: [{}, '{}'], ports: {ports}}}", VIRTUAL[0], VIRTUAL[1]);
    scenario.cluster.service("shop", "web", &spec)?;
    let ready =
        |party: &Party<'_>| Backend { addresses: party.addresses.clone(), node: party.node.to_owned(), ready: true };
    let backends: Vec<Backend> = parties.iter().map(ready).collect();
    scenario.cluster.backends("shop", "web", &[("web", TARGET, "TCP"), ("web-udp", TARGET, "UDP")], &backends)?;
    scenario.lab.services().sync()?;
    let servers = parties.iter().map(|party| serve(party.netns, &[TARGET])).collect::<Result<Vec<_>>>()?;
    scenario.start()?;

    let source_ports = SourcePorts::default();
    let mut sent = Vec::new();
    for address in both(VIRTUAL[0], VIRTUAL[1])? {
        for turn in 0..MANY {
            let remote = SocketAddr::new(address, PORT);
            let probe = probe(&client, PROTOCOLS[turn % 2], source_ports.next()?, remote, ANSWER_LIMIT)?;
            ensure!(probe.outcome == Outcome::Answered, "nothing forbids it: {probe:?}");
            sent.push(probe);
        }
    }
    // By what the servers saw: the client's address and port are not translated.
    let asked = |sent: &Sent| {
        let protocol = usize::from(sent.protocol == Protocol::Udp);
        let mut found = (0..parties.len()).filter(|party| servers[*party][protocol].callers().contains(&sent.local));
        found.next().filter(|_| found.next().is_none()).with_context(|| format!("not one server saw {sent:?}"))
    };
    let asked: Vec<usize> = sent.iter().map(asked).collect::<Result<_>>()?;
    ensure!(asked.iter().collect::<BTreeSet<_>>().len() == parties.len(), "each must have been asked: {asked:?}");

    // Those to the backend here are opened on both sides.
    let evidence = scenario.stop(sent.len() + asked.iter().filter(|party| **party == 0).count())?;
    for (sent, party) in sent.iter().zip(&asked) {
        for event in ["open", "close"] {
            names(only(&evidence, event, sent)?, sent, &parties[*party])?;
        }
    }
    check::closes(&evidence)?;
    check::sequences(&evidence)?;
    ensure!(check::lost(&evidence) == 0, "records were lost");
    Ok(())
}

/// The client's only row of an event of this connection.
fn only<'evidence>(evidence: &'evidence Evidence, event: &str, sent: &Sent) -> Result<&'evidence Row> {
    let is_it = |row: &&Row| {
        row.direction.as_deref() == Some("egress")
            && row.protocol.as_deref() == Some(sent.protocol.name())
            && (row.src.ip, row.src.port) == (Some(sent.local.ip()), Some(sent.local.port()))
    };
    let rows: Vec<&Row> = evidence.events(event).filter(is_it).collect();
    ensure!(rows.len() == 1, "there are {} rows of `{event}` of {sent:?}", rows.len());
    Ok(rows[0])
}

/// That the row has the Service's address, and this backend beside it.
fn names(row: &Row, sent: &Sent, backend: &Party<'_>) -> Result<()> {
    let address = backend.addresses.iter().find(|address| address.is_ipv4() == sent.remote.is_ipv4());
    ensure!(
        (row.dst.ip, row.dst.port) == (Some(sent.remote.ip()), Some(PORT))
            && row.nat_resolution.as_deref() == Some("exact")
            && row.backend == address.map(|address| SocketAddr::new(*address, TARGET))
            && row.dst.pod.as_deref() == backend.pod
            && row.dst.identity.as_deref() == Some(backend.identity),
        "it went to {:?}: {row:?}",
        backend.pod
    );
    Ok(())
}
