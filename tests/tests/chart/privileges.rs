//! The agent with the capabilities that the chart gives to its container, and without each of them in turn.

use anyhow::{Context as _, Result, bail, ensure};
use podwitness_lab::{Outcome, Pod, PodSpec, Program, Server};
use podwitness_policy::Protocol;
use podwitness_tests::scenario::{LIMIT, Scenario, wait};
use podwitness_tests::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, probe, serve};

use crate::helm::{container, object, pod, render, required};

/// Numbers of `capabilities(7)`.
const CAPABILITIES: [(&str, u32); 2] = [("NET_ADMIN", 12), ("SYS_ADMIN", 21)];

const OPEN: u16 = 8000;
const SHUT: u16 = 8001;

/// Those of the agent's container.
fn granted() -> Result<Vec<u32>> {
    let objects = render(&required())?;
    let node = pod(object(&objects, "DaemonSet", "podwitness")?).context("it makes pods")?;
    let added = &container(node, "agent")?["securityContext"]["capabilities"]["add"];
    let names = added.as_array().context("the agent has capabilities")?;
    let number =
        |name: &serde_json::Value| CAPABILITIES.iter().find(|(known, _)| name == known).map(|(_, number)| *number);
    names.iter().map(|name| number(name).with_context(|| format!("{name} is not known here"))).collect()
}

struct Node {
    client: Pod,
    server: Pod,
    _servers: Vec<Server>,
    // Last, because it is dropped last.
    scenario: Scenario,
}

impl Node {
    fn make() -> Result<Self> {
        let scenario = Scenario::new()?;
        scenario.cluster.namespace("shop", &[])?;
        let client = scenario.pod(PodSpec::new("shop", "client", &["10.5.0.1".parse()?]))?;
        let server = scenario.pod(PodSpec::new("shop", "server", &["10.5.0.2".parse()?]))?;
        scenario.cluster.policy(
            "shop",
            "one-port",
            &format!("{{podSelector: {{}}, ingress: [{{ports: [{{port: {OPEN}}}]}}]}}"),
        )?;
        let servers = serve(&server, &[OPEN, SHUT])?;
        Ok(Self { client, server, _servers: servers, scenario })
    }

    fn outcome(&self, source: u16, port: u16, limit: std::time::Duration) -> Result<Outcome> {
        let remote = (self.server.addresses()[0], port).into();
        Ok(probe(&self.client, Protocol::Tcp, source, remote, limit)?.outcome)
    }
}

/// What the agent said, once it has ended.
fn said_at_end(agent: &mut Program) -> Result<String> {
    wait("the agent has ended", || Ok(agent.ended()?.is_some()))?;
    let code = agent.ended()?.and_then(|status| status.code());
    ensure!(code == Some(2), "it ended with {code:?}");
    Ok(agent.log_tail(5))
}

#[test]
fn the_agent_works_with_what_the_chart_gives_it() -> Result<()> {
    let mut node = Node::make()?;
    node.scenario.start_exporter()?;
    let agent = node.scenario.agent.insert(node.scenario.installation.start_agent_confined_to(&granted()?)?);
    agent.wait_ready(LIMIT)?;
    ensure!(node.outcome(40_000, OPEN, ANSWER_LIMIT)? == Outcome::Answered);
    ensure!(node.outcome(40_001, SHUT, DENIAL_LIMIT)? != Outcome::Answered);
    // A pod that comes later has its namespace entered, and gets its hooks.
    let before = node.scenario.agent_metric("podwitness_agent_endpoints")?;
    let _later = node.scenario.pod(PodSpec::new("shop", "later", &["10.5.0.3".parse()?]))?;
    wait("the later pod has its hooks", || Ok(node.scenario.agent_metric("podwitness_agent_endpoints")? > before))?;
    let evidence = node.scenario.stop(1)?;
    ensure!(evidence.events("deny").count() > 0 && evidence.events("open").count() > 0, "it is in the evidence");
    Ok(())
}

#[test]
fn without_any_one_of_them_the_agent_says_which_is_missing() -> Result<()> {
    let all = granted()?;
    for missing in &all {
        let node = Node::make()?;
        let kept: Vec<u32> = all.iter().copied().filter(|capability| capability != missing).collect();
        let said = said_at_end(&mut node.scenario.installation.start_agent_confined_to(&kept)?)?;
        let Some((name, _)) = CAPABILITIES.iter().find(|(_, number)| number == missing) else { bail!("it is known") };
        ensure!(said.contains(&format!("this process lacks {name}; in a container, add")), "{said}");
    }
    Ok(())
}
