//! What a pod under egress policy meets that asks a Service, and what its records say: with all the Service's backends allowed,
//! with none, and with some.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use podwitness_lab::{Backend, Conversation, Outcome, Outsider, Pod, PodSpec, Server, Services};
use podwitness_policy::Protocol;
use podwitness_tests::check;
use podwitness_tests::evidence::{Evidence, Row};
use podwitness_tests::scenario::{Scenario, wait};
use podwitness_tests::traffic::{
    ANSWER_LIMIT, DENIAL_LIMIT, PROTOCOLS, Sent, SourcePorts, address_like, in_parallel, probe, serve,
};

/// The Service's addresses and port.
const VIRTUAL: [&str; 2] = ["10.96.0.30", "fd00:96::30"];
const PORT: u16 = 80;
/// What the backends serve, and what one of them serves where they differ.
const TARGET: u16 = 8080;
const OTHER_TARGET: u16 = 9090;
/// Probes of each protocol to each of the addresses. That one of two backends is asked by none of four times so many happens
/// once in 2^47 times.
const MANY: usize = 12;
/// How long a probe waits of which it is not known whether it will be denied: less than TCP waits before it tries again.
const EITHER_LIMIT: std::time::Duration = std::time::Duration::from_millis(900);

fn both(v4: &str, v6: &str) -> Result<Vec<IpAddr>> {
    Ok(vec![v4.parse()?, v6.parse()?])
}

/// A client, two pods of the node that can be backends, and one that runs elsewhere.
struct Shop {
    scenario: Scenario,
    client: Pod,
    good: Pod,
    bad: Pod,
    there: Outsider,
    ports: SourcePorts,
    /// The TCP and the UDP servers of `good`, `bad` and `there`, on both ports.
    servers: [Vec<Server>; 3],
    services: Services,
}

impl Shop {
    /// Makes it, with the spec of the only policy on the client's egress.
    fn open(egress: &str) -> Result<Self> {
        let scenario = Scenario::new()?;
        scenario.cluster.namespace("shop", &[])?;
        let spec = |name: &str, v4: &str, v6: &str| -> Result<PodSpec> {
            Ok(PodSpec::new("shop", name, &both(v4, v6)?).label("app", "web").label("tier", name))
        };
        let client = scenario.pod(PodSpec::new("shop", "client", &both("10.9.0.1", "fd00:9::1")?))?;
        let good = spec("good", "10.9.0.2", "fd00:9::2")?.port("http", TARGET, "TCP").port("ask", TARGET, "UDP");
        let bad =
            spec("bad", "10.9.0.3", "fd00:9::3")?.port("http", OTHER_TARGET, "TCP").port("ask", OTHER_TARGET, "UDP");
        let (good, bad) = (scenario.pod(good)?, scenario.pod(bad)?);
        let there = spec("there", "203.0.113.7", "2001:db8::7")?;
        scenario.cluster.pod_elsewhere(&there, "elsewhere")?;
        let there = scenario.lab.outsider("there", &there.addresses)?;
        let ports = [TARGET, OTHER_TARGET];
        let servers = [serve(&good, &ports)?, serve(&bad, &ports)?, serve(&there, &ports)?];
        let services = scenario.lab.services();
        let shop = Self { scenario, client, good, bad, there, ports: SourcePorts::default(), servers, services };
        shop.policy(egress)?;
        let port = |name: &str, target: &str, protocol: &str| {
            format!("{{name: {name}, port: {PORT}, targetPort: {target}, protocol: {protocol}}}")
        };
        let service_ports = format!("[{}, {}]", port("web", "http", "TCP"), port("web-udp", "ask", "UDP"));
        let spec = format!("{{clusterIPs: [{}, '{}'], ports: {service_ports}}}", VIRTUAL[0], VIRTUAL[1]);
        shop.scenario.cluster.service("shop", "web", &spec)?;
        Ok(shop)
    }

    /// Writes the client's policy: these are its egress rules.
    fn policy(&self, egress: &str) -> Result<()> {
        let spec = format!(
            "{{podSelector: {{matchExpressions: [{{key: app, operator: DoesNotExist}}]}}, policyTypes: [Egress], egress: {egress}}}"
        );
        Ok(self.scenario.cluster.policy("shop", "client-out", &spec)?)
    }

    fn backend(&self, addresses: Vec<IpAddr>, is_here: bool) -> Backend {
        let node = if is_here { self.scenario.lab.node().name() } else { "elsewhere" };
        Backend { addresses, node: node.to_owned(), ready: true }
    }

    /// Makes these the backends, all on the same port.
    fn backends(&self, backends: &[Backend]) -> Result<()> {
        self.scenario.cluster.backends(
            "shop",
            "web",
            &[("web", TARGET, "TCP"), ("web-udp", TARGET, "UDP")],
            backends,
        )?;
        Ok(self.services.sync()?)
    }

    fn both_here(&self) -> [Backend; 2] {
        [self.backend(self.good.addresses(), true), self.backend(self.bad.addresses(), true)]
    }

    /// Probes over each protocol and family; what they meet is one of these.
    fn ask(&self, wanted: &[Outcome]) -> Result<Vec<Sent>> {
        let limit = match wanted {
            [Outcome::TimedOut] => DENIAL_LIMIT,
            [_] => ANSWER_LIMIT,
            _ => EITHER_LIMIT,
        };
        let mut errands = Vec::new();
        for address in both(VIRTUAL[0], VIRTUAL[1])? {
            for turn in 0..2 * MANY {
                errands.push((PROTOCOLS[turn % 2], self.ports.next()?, SocketAddr::new(address, PORT)));
            }
        }
        in_parallel(8, errands, |(protocol, source_port, remote)| {
            let sent = probe(&self.client, protocol, source_port, remote, limit)?;
            ensure!(wanted.contains(&sent.outcome), "it should have met one of {wanted:?}: {sent:?}");
            Ok(sent)
        })
    }

    /// Which of `good`, `bad` and `there` was asked, and on which port.
    fn asked(&self, sent: &Sent) -> Vec<(usize, u16)> {
        let mut found = Vec::new();
        for (party, servers) in self.servers.iter().enumerate() {
            for (number, server) in servers.iter().enumerate() {
                if (number % 2 == 1) == (sent.protocol == Protocol::Udp) && server.callers().contains(&sent.local) {
                    found.push((party, server.port()));
                }
            }
        }
        found
    }

    /// The address in the family of `like` of the party of this number.
    fn address(&self, party: usize, like: IpAddr) -> Option<IpAddr> {
        let addresses = [self.good.addresses(), self.bad.addresses(), self.there.addresses()];
        address_like(&addresses[party], like)
    }

    /// Opens a TCP connection to the Service, which must be allowed, and has it answered.
    fn converse(&self, address: &str) -> Result<Conversation> {
        let remote = SocketAddr::new(address.parse()?, PORT);
        let mut conversation = match self.client.open_tcp_from(self.ports.next()?, remote, ANSWER_LIMIT)? {
            Ok(conversation) => conversation,
            Err(attempt) => bail!("it should have been opened: {attempt:?}"),
        };
        ensure!(conversation.exchange(ANSWER_LIMIT) == Outcome::Answered, "it was opened and is not answered");
        Ok(conversation)
    }

    /// Makes a change and waits until it is in force.
    fn change(&mut self, change: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let before = self.generation()?;
        change(self)?;
        wait("other tables are in force", || Ok(self.generation()? != before))
    }

    fn generation(&self) -> Result<u64> {
        self.scenario.agent_metric("podwitness_agent_table_generation")
    }
}

const NAMES: [&str; 3] = ["good", "bad", "there"];

/// That a row of the client's has the Service, this verdict and these policies.
fn says(row: &Row, verdict: &str, reason: &str, rule: Option<i32>, resolution: &str) -> Result<()> {
    let service = row.service.as_ref().with_context(|| format!("no Service is named: {row:?}"))?;
    let policies: Vec<_> = row.policies.iter().map(|policy| (policy.name.as_str(), policy.rule)).collect();
    let wanted = if reason == "not-isolated" { vec![] } else { vec![("client-out", rule)] };
    ensure!(
        (service.namespace.as_str(), service.name.as_str()) == ("shop", "web")
            && row.dst.ip == Some(service.address.ip())
            && row.dst.port == Some(PORT)
            && service.address.port() == PORT
            && row.src.pod.as_deref() == Some("client")
            && (row.verdict.as_deref(), row.reason.as_deref()) == (Some(verdict), Some(reason))
            && row.nat_resolution.as_deref() == Some(resolution)
            && policies == wanted,
        "it should be {verdict} because of {reason}, by rule {rule:?}, and {resolution}: {row:?}"
    );
    Ok(())
}

/// That a row names this backend.
fn names(shop: &Shop, row: &Row, party: usize, port: u16) -> Result<()> {
    let service = row.dst.ip.context("a row has addresses")?;
    let backend = shop.address(party, service).map(|address| SocketAddr::new(address, port));
    ensure!(
        row.backend == backend && row.dst.pod.as_deref() == Some(NAMES[party]),
        "it went to {} on {port}: {row:?}",
        NAMES[party]
    );
    Ok(())
}

/// The client's rows of an event, of what was sent from here.
fn of<'evidence>(evidence: &'evidence Evidence, event: &str, sent: &Sent) -> Vec<&'evidence Row> {
    let is_it = |row: &&Row| {
        row.direction.as_deref() == Some("egress")
            && row.protocol.as_deref() == Some(sent.protocol.name())
            && (row.src.ip, row.src.port) == (Some(sent.local.ip()), Some(sent.local.port()))
    };
    evidence.events(event).filter(is_it).collect()
}

/// That each of these was answered by one backend, and has one opening and one close at the client that name it, by this rule.
/// Returns how often each party was asked.
fn allowed(shop: &Shop, evidence: &Evidence, sent: &[Sent], rule: i32) -> Result<[usize; 3]> {
    let mut times = [0; 3];
    for sent in sent {
        let asked = shop.asked(sent);
        let [(party, port)] = asked[..] else { bail!("not one server saw {sent:?}: {asked:?}") };
        times[party] += 1;
        for event in ["open", "close"] {
            let rows = of(evidence, event, sent);
            let [row] = rows[..] else { bail!("there is not one `{event}` of {sent:?}: {rows:#?}") };
            says(row, "allow", "rule", Some(rule), "exact")?;
            names(shop, row, party, port)?;
        }
    }
    Ok(times)
}

/// That so many attempts were denied at the client and nowhere else, each row with this resolution.
fn denied(evidence: &Evidence, sent: &[Sent], resolution: &str) -> Result<()> {
    let mut counted = 0;
    for row in evidence.events("deny") {
        ensure!(row.direction.as_deref() == Some("egress"), "only the client's policy denies: {row:?}");
        says(row, "deny", "no-rule", None, resolution)?;
        counted += row.count;
    }
    let (least, most) = (sent.len(), sent.len() + sent.iter().filter(|sent| sent.may_be_repeated()).count() * 9);
    let counted = usize::try_from(counted)?;
    ensure!((least..=most).contains(&counted), "{least} were denied and {counted} are recorded");
    Ok(())
}

/// That the records are whole and that there are so many openings.
fn whole(evidence: &Evidence, openings: usize) -> Result<()> {
    ensure!(check::closes(evidence)? == openings, "there are not {openings} openings");
    check::sequences(evidence)?;
    ensure!(check::lost(evidence) == 0, "records were lost");
    Ok(())
}

/// Egress rules that let go to the pods with this label, on both ports.
fn to(key: &str, value: &str) -> String {
    format!(
        "[{{to: [{{podSelector: {{matchLabels: {{{key}: {value}}}}}}}], ports: [{{port: {TARGET}}}, \
         {{port: {TARGET}, protocol: UDP}}]}}]"
    )
}

#[test]
fn all_backends_are_allowed_and_each_record_names_the_one_that_was_asked() -> Result<()> {
    let mut shop = Shop::open(&to("app", "web"))?;
    shop.backends(&shop.both_here())?;
    shop.scenario.start()?;
    let sent = shop.ask(&[Outcome::Answered])?;
    let evidence = shop.scenario.stop(2 * sent.len())?;
    let times = allowed(&shop, &evidence, &sent, 0)?;
    ensure!(times[0] > 0 && times[1] > 0, "both must have been asked: {times:?}");
    ensure!(evidence.events("deny").next().is_none(), "nothing was denied");
    whole(&evidence, 2 * sent.len())
}

#[test]
fn no_backend_is_allowed_and_the_service_is_denied() -> Result<()> {
    let mut shop = Shop::open(&to("app", "nobody"))?;
    shop.backends(&shop.both_here())?;
    shop.scenario.start()?;
    let sent = shop.ask(&[Outcome::TimedOut])?;
    let evidence = shop.scenario.stop(0)?;
    denied(&evidence, &sent, "all-backends")?;
    whole(&evidence, 0)
}

#[test]
fn a_service_without_a_backend_is_denied_to_an_isolated_pod_and_left_to_the_node_for_another() -> Result<()> {
    let mut shop = Shop::open(&to("app", "web"))?;
    let mut away = shop.both_here();
    for backend in &mut away {
        backend.ready = false;
    }
    shop.backends(&away)?;
    shop.scenario.start()?;
    let sent = shop.ask(&[Outcome::TimedOut])?;
    shop.change(|shop| Ok(shop.scenario.cluster.remove_policy("shop", "client-out")?))?;
    let refused = shop.ask(&[Outcome::Refused])?;
    let evidence = shop.scenario.stop(refused.len())?;
    denied(&evidence, &sent, "none")?;
    for sent in &refused {
        let rows = of(&evidence, "open", sent);
        let [row] = rows[..] else { bail!("there is not one opening of {sent:?}: {rows:#?}") };
        says(row, "allow", "not-isolated", None, "none")?;
    }
    whole(&evidence, refused.len())
}

#[test]
fn mixed_backends_on_this_node_are_decided_where_the_connection_really_goes() -> Result<()> {
    let mut shop = Shop::open(&to("tier", "good"))?;
    shop.backends(&shop.both_here())?;
    shop.scenario.start()?;
    let sent = shop.ask(&[Outcome::Answered, Outcome::TimedOut])?;
    let (answered, refused): (Vec<Sent>, Vec<Sent>) =
        sent.into_iter().partition(|sent| sent.outcome == Outcome::Answered);
    ensure!(!answered.is_empty() && !refused.is_empty(), "both backends must have been chosen");
    let evidence = shop.scenario.stop(2 * answered.len())?;
    for sent in &refused {
        ensure!(shop.asked(sent).is_empty(), "somebody saw {sent:?}");
    }
    let times = allowed(&shop, &evidence, &answered, 0)?;
    ensure!(times == [answered.len(), 0, 0], "others than the one that is allowed were asked: {times:?}");
    denied(&evidence, &refused, "exact")?;
    for row in evidence.events("deny") {
        names(&shop, row, 1, TARGET)?;
    }
    whole(&evidence, 2 * answered.len())
}

#[test]
fn mixed_backends_of_which_a_denied_one_is_elsewhere_are_all_denied() -> Result<()> {
    let mut shop = Shop::open(&to("tier", "good"))?;
    shop.backends(&[shop.backend(shop.good.addresses(), true), shop.backend(shop.there.addresses(), false)])?;
    shop.scenario.start()?;
    let sent = shop.ask(&[Outcome::TimedOut])?;
    let evidence = shop.scenario.stop(0)?;
    ensure!(sent.iter().all(|sent| shop.asked(sent).is_empty()), "somebody was asked");
    denied(&evidence, &sent, "mixed")?;
    whole(&evidence, 0)
}

#[test]
fn a_named_target_port_is_each_backends_own() -> Result<()> {
    let by_name =
        "[{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}, {port: ask, protocol: UDP}]}]";
    let mut shop = Shop::open(by_name)?;
    let [good, bad] = shop.both_here();
    let at = |port: u16| [("web", port, "TCP"), ("web-udp", port, "UDP")];
    shop.scenario.cluster.slices(
        "shop",
        "web",
        &[(&at(TARGET), std::slice::from_ref(&good)), (&at(OTHER_TARGET), std::slice::from_ref(&bad))],
    )?;
    shop.services.sync()?;
    shop.scenario.start()?;
    let sent = shop.ask(&[Outcome::Answered])?;
    shop.change(|shop| shop.policy(&to("app", "web")))?;
    let mixed = shop.ask(&[Outcome::Answered, Outcome::TimedOut])?;
    let (answered, refused): (Vec<Sent>, Vec<Sent>) =
        mixed.into_iter().partition(|sent| sent.outcome == Outcome::Answered);
    ensure!(!answered.is_empty() && !refused.is_empty(), "both backends must have been chosen");
    let openings = 2 * (sent.len() + answered.len());
    let evidence = shop.scenario.stop(openings)?;
    let times = allowed(&shop, &evidence, &sent, 0)?;
    ensure!(times[0] > 0 && times[1] > 0, "both must have been asked: {times:?}");
    let times = allowed(&shop, &evidence, &answered, 0)?;
    ensure!(times == [answered.len(), 0, 0], "the number is that of one backend's port alone: {times:?}");
    for sent in sent.iter().chain(&answered) {
        for (party, port) in shop.asked(sent) {
            ensure!(port == [TARGET, OTHER_TARGET][party], "{} was asked on {port}", NAMES[party]);
        }
    }
    denied(&evidence, &refused, "exact")?;
    for row in evidence.events("deny") {
        names(&shop, row, 1, OTHER_TARGET)?;
    }
    whole(&evidence, openings)
}

#[test]
fn a_connection_keeps_its_backend_when_that_is_not_ready_any_more_and_follows_the_policy_about_it() -> Result<()> {
    let mut shop = Shop::open(&to("app", "web"))?;
    let [good, bad] = shop.both_here();
    shop.backends(std::slice::from_ref(&good))?;
    shop.scenario.start()?;
    let mut lasting: Vec<Conversation> = VIRTUAL.iter().map(|address| shop.converse(address)).collect::<Result<_>>()?;
    // The backend is known now, and with it the policy: nothing of it changes with the Service.
    shop.change(|shop| shop.backends(std::slice::from_ref(&bad)))?;
    for conversation in &mut lasting {
        ensure!(conversation.exchange(ANSWER_LIMIT) == Outcome::Answered, "its backend is allowed still");
    }
    let elsewhere = shop.ask(&[Outcome::Answered])?;

    shop.change(|shop| shop.policy(&to("tier", "bad")))?;
    for conversation in &mut lasting {
        let outcome = conversation.exchange(DENIAL_LIMIT);
        ensure!(outcome == Outcome::TimedOut, "its backend is not allowed any more, and it met {outcome:?}");
    }
    let after = shop.ask(&[Outcome::Answered])?;
    shop.change(|shop| shop.policy(&to("app", "web")))?;
    for conversation in &mut lasting {
        ensure!(conversation.exchange(ANSWER_LIMIT) == Outcome::Answered, "its backend is allowed again");
    }
    let locals: Vec<SocketAddr> = lasting.iter().map(Conversation::local).collect();
    for conversation in lasting {
        conversation.close(ANSWER_LIMIT);
    }
    let openings = 2 * (elsewhere.len() + after.len() + locals.len());
    let evidence = shop.scenario.stop(openings)?;
    allowed(&shop, &evidence, &elsewhere, 0)?;
    allowed(&shop, &evidence, &after, 0)?;
    for local in locals {
        let mut told: Vec<&Row> = evidence
            .rows()
            .filter(|row| (row.src.ip, row.src.port) == (Some(local.ip()), Some(local.port())))
            .filter(|row| row.direction.as_deref() == Some("egress"))
            .collect();
        told.sort_by_key(|row| row.seq);
        let events: Vec<_> =
            told.iter().map(|row| (row.event.as_str(), row.verdict.as_deref().unwrap_or(""))).collect();
        ensure!(
            events == [("open", "allow"), ("change", "deny"), ("change", "allow"), ("close", "allow")],
            "{told:#?}"
        );
        for row in &told {
            names(&shop, row, 0, TARGET)?;
        }
        says(told[0], "allow", "rule", Some(0), "exact")?;
        says(told[1], "deny", "no-rule", None, "exact")?;
        says(told[2], "allow", "rule", Some(0), "exact")?;
        let rules = |row: &Row| row.previous_policies.iter().map(|policy| policy.rule).collect::<Vec<_>>();
        ensure!(rules(told[1]) == [Some(0)] && rules(told[2]) == [None], "the rule sets before are wrong: {told:#?}");
        let before = |row: &Row| row.previous_verdict.clone();
        ensure!(
            (before(told[1]).as_deref(), before(told[2]).as_deref()) == (Some("allow"), Some("deny")),
            "the verdicts before are wrong: {told:#?}"
        );
    }
    check::sequences(&evidence)?;
    ensure!(check::lost(&evidence) == 0, "records were lost");
    Ok(())
}
