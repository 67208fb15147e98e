//! Services with real address translation on the node: what a backend's own hook sees and decides, and what the evidence says.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::{Backend, NetNs, Outcome, Outsider, Pod, PodSpec, Server, Services};
use podwitness_policy::Protocol;
use podwitness_tests::check;
use podwitness_tests::evidence::{Evidence, Row};
use podwitness_tests::scenario::Scenario;
use podwitness_tests::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, PROTOCOLS, Sent, SourcePorts, address_like, probe, serve};

/// The Service's addresses.
const VIRTUAL: [&str; 2] = ["10.96.0.10", "fd00:96::10"];
/// The Service's port, and what the nodes serve it on; both for TCP and UDP.
const PORT: u16 = 80;
const NODE_PORT: u16 = 30_080;
/// What the backends serve.
const TARGET: u16 = 8080;
/// How many probes there are of each kind: some for each of two backends.
const MANY: usize = 12;

/// A client and a stranger, and two backends that let in only the client and `203.0.113.7`.
struct Shop {
    client: Pod,
    stranger: Pod,
    backends: Vec<Pod>,
    /// The TCP and the UDP server of each backend.
    servers: Vec<Vec<Server>>,
    ports: SourcePorts,
    _services: Services,
}

fn both(v4: &str, v6: &str) -> Result<Vec<IpAddr>> {
    Ok(vec![v4.parse()?, v6.parse()?])
}

impl Shop {
    /// Makes it, with these other fields in the Service's spec.
    fn open(scenario: &Scenario, fields: &str) -> Result<Self> {
        let pod = |name: &str, host: u8| -> Result<Pod> {
            let addresses = both(&format!("10.7.0.{host}"), &format!("fd00:7::{host}"))?;
            scenario.pod(PodSpec::new("shop", name, &addresses).label("app", name.trim_end_matches(char::is_numeric)))
        };
        scenario.cluster.namespace("shop", &[])?;
        let (client, stranger) = (pod("client", 8)?, pod("stranger", 9)?);
        let backends = vec![pod("web1", 1)?, pod("web2", 2)?];
        let servers = backends.iter().map(|pod| serve(pod, &[TARGET])).collect::<Result<_>>()?;
        scenario.cluster.policy(
            "shop",
            "web-in",
            &format!(
                "{{podSelector: {{matchLabels: {{app: web}}}}, ingress: [{{from: [{{podSelector: {{matchLabels: {{app: client}}}}}}, \
                 {{ipBlock: {{cidr: 203.0.113.0/25}}}}, {{ipBlock: {{cidr: '2001:db8::/121'}}}}], ports: [{{port: {TARGET}}}, \
                 {{port: {TARGET}, protocol: UDP}}]}}]}}"
            ),
        )?;
        let port = |name: &str, protocol: &str| {
            format!("{{name: {name}, port: {PORT}, targetPort: {TARGET}, nodePort: {NODE_PORT}, protocol: {protocol}}}")
        };
        let ports = format!("[{}, {}]", port("web", "TCP"), port("web-udp", "UDP"));
        let addresses = format!("[{}, '{}']", VIRTUAL[0], VIRTUAL[1]);
        let spec = format!("{{type: NodePort, clusterIPs: {addresses}, ports: {ports}, {fields}}}");
        scenario.cluster.service("shop", "web", &spec)?;
        let node = scenario.lab.node().name();
        let ready = |pod: &Pod| Backend { addresses: pod.addresses(), node: node.to_owned(), ready: true };
        let targets = [("web", TARGET, "TCP"), ("web-udp", TARGET, "UDP")];
        scenario.cluster.backends("shop", "web", &targets, &backends.iter().map(ready).collect::<Vec<_>>())?;
        let services = scenario.lab.services();
        services.sync()?;
        Ok(Self { client, stranger, backends, servers, ports: SourcePorts::default(), _services: services })
    }

    /// Probes of each protocol to the port at each of the addresses.
    fn send(&self, from: &NetNs, to: &[IpAddr], port: u16, wanted: Outcome) -> Result<Vec<Sent>> {
        let mut all = Vec::new();
        for to in to {
            for turn in 0..MANY {
                let limit = if wanted == Outcome::Answered { ANSWER_LIMIT } else { DENIAL_LIMIT };
                let remote = SocketAddr::new(*to, port);
                let sent = probe(from, PROTOCOLS[turn % 2], self.ports.next()?, remote, limit)?;
                ensure!(sent.outcome == wanted, "it should have met {wanted:?}: {sent:?}");
                all.push(sent);
            }
        }
        Ok(all)
    }

    fn virtual_addresses() -> Result<Vec<IpAddr>> {
        both(VIRTUAL[0], VIRTUAL[1])
    }

    /// Which backend was asked over this protocol from this address and port.
    fn asked(&self, protocol: Protocol, caller: SocketAddr) -> Option<&Pod> {
        let server = usize::from(protocol == Protocol::Udp);
        let mut pods = self.backends.iter().zip(&self.servers);
        pods.find(|(_, servers)| servers[server].callers().contains(&caller)).map(|(pod, _)| pod)
    }
}

/// The only row of an event that a pod's ingress has of what came from here.
fn arrived<'evidence>(
    evidence: &'evidence Evidence,
    event: &str,
    sent: &Sent,
    from: SocketAddr,
) -> Result<&'evidence Row> {
    let is_it = |row: &&Row| {
        row.direction.as_deref() == Some("ingress")
            && row.protocol.as_deref() == Some(sent.protocol.name())
            && (row.src.ip, row.src.port) == (Some(from.ip()), Some(from.port()))
    };
    let rows: Vec<&Row> = evidence.events(event).filter(is_it).collect();
    ensure!(rows.len() == 1, "there are {} rows of `{event}` at the destination of {sent:?}", rows.len());
    Ok(rows[0])
}

/// That the row is of this backend's port, and says this.
fn is_at(row: &Row, backend: &Pod, verdict: &str, reason: &str, rule: Option<i32>) -> Result<()> {
    let address = row.src.ip.and_then(|like| address_like(&backend.addresses(), like));
    let policies: Vec<_> = row.policies.iter().map(|policy| (policy.name.as_str(), policy.rule)).collect();
    let wanted = if reason == "node" { vec![] } else { vec![("web-in", rule)] };
    ensure!(
        row.dst.pod.as_deref() == Some(&backend.spec().name)
            && (row.dst.ip, row.dst.port) == (address, Some(TARGET))
            && (row.verdict.as_deref(), row.reason.as_deref()) == (Some(verdict), Some(reason))
            && policies == wanted,
        "at {} it should be {verdict} because of {reason}: {row:?}",
        backend.spec().name
    );
    Ok(())
}

fn whole(evidence: &Evidence) -> Result<()> {
    check::closes(evidence)?;
    check::sequences(evidence)?;
    ensure!(check::lost(evidence) == 0, "records were lost");
    Ok(())
}

#[test]
fn a_backend_decides_by_who_really_asks_and_its_record_has_no_translated_address() -> Result<()> {
    let mut scenario = Scenario::new()?;
    let shop = Shop::open(&scenario, "")?;
    scenario.start()?;
    let allowed = shop.send(&shop.client, &Shop::virtual_addresses()?, PORT, Outcome::Answered)?;
    let denied = shop.send(&shop.stranger, &Shop::virtual_addresses()?, PORT, Outcome::TimedOut)?;
    // Allowed ones are opened on both sides, and of the denied ones the sender's.
    let evidence = scenario.stop(2 * allowed.len() + denied.len())?;

    for sent in &allowed {
        let backend = shop.asked(sent.protocol, sent.local).with_context(|| format!("nobody was asked: {sent:?}"))?;
        is_at(arrived(&evidence, "open", sent, sent.local)?, backend, "allow", "rule", Some(0))?;
    }
    // Which backend it was to be cannot be known; attempts at one that are alike but for the source port count together.
    let at_web = |row: &&Row| row.direction.as_deref() == Some("ingress") && row.dst.port == Some(TARGET);
    let counted: i64 = evidence.events("deny").filter(at_web).map(|row| row.count).sum();
    ensure!(counted == i64::try_from(denied.len())?, "{} were denied and {counted} are recorded", denied.len());
    for row in evidence.events("deny").filter(at_web) {
        let backend = shop.backends.iter().find(|pod| row.dst.pod.as_deref() == Some(&pod.spec().name));
        is_at(row, backend.with_context(|| format!("this is at no backend: {row:?}"))?, "deny", "no-rule", None)?;
        ensure!(row.src.pod.as_deref() == Some("stranger"), "it came from elsewhere: {row:?}");
    }
    whole(&evidence)
}

/// A pod that reaches itself by its Service is sent back to by the node, from the node's address, which is always allowed.
#[test]
fn a_pod_that_reaches_itself_by_its_service_comes_from_the_node() -> Result<()> {
    let mut scenario = Scenario::new()?;
    let shop = Shop::open(&scenario, "")?;
    // The only one left.
    let node = scenario.lab.node().name().to_owned();
    let only = Backend { addresses: shop.backends[0].addresses(), node, ready: true };
    let targets = [("web", TARGET, "TCP"), ("web-udp", TARGET, "UDP")];
    scenario.cluster.backends("shop", "web", &targets, &[only])?;
    scenario.lab.services().sync()?;
    scenario.start()?;
    let sent = shop.send(&shop.backends[0], &Shop::virtual_addresses()?, PORT, Outcome::Answered)?;
    let evidence = scenario.stop(2 * sent.len())?;
    from_node(&scenario, &shop, &evidence, sent.len())?;
    whole(&evidence)
}

/// With the policy `Cluster` the client's address is gone when a pod sees it, and policy cannot tell it from the node.
#[test]
fn a_node_port_hides_its_client_behind_the_node() -> Result<()> {
    let mut scenario = Scenario::new()?;
    let shop = Shop::open(&scenario, "externalTrafficPolicy: Cluster")?;
    let [_, far] = outsiders(&scenario)?;
    scenario.start()?;
    let sent = shop.send(&far, scenario.lab.node().addresses(), NODE_PORT, Outcome::Answered)?;
    let evidence = scenario.stop(sent.len())?;
    from_node(&scenario, &shop, &evidence, sent.len())?;
    whole(&evidence)
}

/// With the policy `Local` the client keeps its address, and `ipBlock` means what it says.
#[test]
fn a_node_port_with_the_policy_local_keeps_its_client() -> Result<()> {
    let mut scenario = Scenario::new()?;
    let shop = Shop::open(&scenario, "externalTrafficPolicy: Local")?;
    let [near, far] = outsiders(&scenario)?;
    scenario.start()?;
    let node = scenario.lab.node().addresses().to_vec();
    let allowed = shop.send(&near, &node, NODE_PORT, Outcome::Answered)?;
    let denied = shop.send(&far, &node, NODE_PORT, Outcome::TimedOut)?;
    let evidence = scenario.stop(allowed.len())?;
    for sent in &allowed {
        let backend = shop.asked(sent.protocol, sent.local).with_context(|| format!("nobody was asked: {sent:?}"))?;
        is_at(arrived(&evidence, "open", sent, sent.local)?, backend, "allow", "rule", Some(0))?;
    }
    let refused = evidence.events("deny").filter(|row| row.src.ip.is_some_and(|ip| far.addresses().contains(&ip)));
    let counted: i64 = refused.map(|row| row.count).sum();
    ensure!(counted == i64::try_from(denied.len())?, "{} were denied and {counted} are recorded", denied.len());
    whole(&evidence)
}

/// One that the backends let in, and one that they do not.
fn outsiders(scenario: &Scenario) -> Result<[Outsider; 2]> {
    Ok([
        scenario.lab.outsider("near", &both("203.0.113.7", "2001:db8::7")?)?,
        scenario.lab.outsider("far", &both("203.0.113.200", "2001:db8::c8")?)?,
    ])
}

/// That so many connections came to backends, all from the node's address.
fn from_node(scenario: &Scenario, shop: &Shop, evidence: &Evidence, number: usize) -> Result<()> {
    let opened = evidence.events("open").filter(|row| row.direction.as_deref() == Some("ingress"));
    let opened: Vec<&Row> = opened.collect();
    ensure!(opened.len() == number, "{} connections came to a backend, and not {number}", opened.len());
    for row in opened {
        let backend = shop.backends.iter().find(|pod| row.dst.pod.as_deref() == Some(&pod.spec().name));
        is_at(row, backend.with_context(|| format!("this is at no backend: {row:?}"))?, "allow", "node", None)?;
        ensure!(row.src.ip.is_some_and(|ip| scenario.lab.node().addresses().contains(&ip)), "not the node: {row:?}");
    }
    Ok(())
}
