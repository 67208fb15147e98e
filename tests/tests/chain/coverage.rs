//! What the evidence says of what was enforced, from when to when, and by which text: as DuckDB reads it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::{Outcome, PodSpec};
use podwitness_policy::Protocol;
use podwitness_schemas::views;
use podwitness_tests::duckdb::{ask, find};
use podwitness_tests::scenario::{Scenario, wait};
use podwitness_tests::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, probe, serve};
use serde_json::Value;

use crate::field::{OPEN, SHUT};

/// The views over what the scenario has left.
pub(crate) struct Desk {
    duckdb: PathBuf,
    init: PathBuf,
}

impl Desk {
    pub(crate) fn over(scenario: &Scenario) -> Result<Self> {
        Self::at(&scenario.installation.evidence_path(), scenario.lab.path().join("views.sql"))
    }

    fn at(root: &Path, init: PathBuf) -> Result<Self> {
        fs::write(&init, views::render(root.to_str().context("the path is text")?))?;
        Ok(Self { duckdb: find()?, init })
    }

    fn rows(&self, question: &str) -> Result<Vec<Value>> {
        ask(&self.duckdb, &self.init, question)
    }

    /// The one column of each row, as text.
    pub(crate) fn texts(&self, question: &str) -> Result<Vec<String>> {
        let rows = self.rows(question)?;
        let text = |row: &Value| {
            let (_, value) = row.as_object()?.iter().next()?;
            Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        rows.iter().map(|row| text(row).with_context(|| format!("no column in {row}"))).collect()
    }

    fn is_true_of_all(&self, claim: &str, table: &str) -> Result<()> {
        let against = self.rows(&format!("SELECT * FROM {table} WHERE ({claim}) IS DISTINCT FROM true"))?;
        ensure!(against.is_empty(), "{claim} does not hold for {against:#?}");
        Ok(())
    }
}

fn spec(port: u16) -> String {
    format!("{{podSelector: {{}}, ingress: [{{ports: [{{port: {port}}}]}}]}}")
}

#[test]
fn each_endpoint_has_its_life_and_each_policy_its_versions_and_a_verdict_the_text_that_was_in_force() -> Result<()> {
    let mut scenario = Scenario::new()?;
    scenario.cluster.namespace("shop", &[])?;
    let old = scenario.pod(PodSpec::new("shop", "old", &["10.5.0.1".parse()?]))?;
    let _servers = serve(&old, &[OPEN, SHUT])?;
    scenario.cluster.policy("shop", "one-port", &spec(OPEN))?;
    scenario.cluster.policy("shop", "other", "{podSelector: {matchLabels: {app: nobody}}}")?;
    scenario.start()?;
    let endpoints = |scenario: &Scenario| scenario.agent_metric("podwitness_agent_endpoints");
    let generation = |scenario: &Scenario| scenario.agent_metric("podwitness_agent_table_generation");
    let other_generation =
        |scenario: &Scenario, before: u64| wait("other tables are in force", || Ok(generation(scenario)? != before));

    // An interface before its pod, and gone after its pod.
    let new = PodSpec::new("shop", "new", &["10.5.0.2".parse()?]);
    let pod = scenario.lab.pod(new.clone())?;
    wait("the new pod has hooks", || Ok(endpoints(&scenario)? == 2))?;
    let before = generation(&scenario)?;
    scenario.cluster.pod(&new)?;
    other_generation(&scenario, before)?;
    let to = |port| std::net::SocketAddr::new(old.addresses()[0], port);
    let sent = probe(&pod, Protocol::Tcp, 0, to(OPEN), ANSWER_LIMIT)?;
    ensure!(sent.outcome == Outcome::Answered, "{sent:?}");

    // Another version, by which another port is open.
    let revision = scenario.policy_revision()?;
    scenario.cluster.policy("shop", "one-port", &spec(SHUT))?;
    scenario.wait_other_revision(revision)?;
    let sent = probe(&pod, Protocol::Tcp, 0, to(SHUT), ANSWER_LIMIT)?;
    ensure!(sent.outcome == Outcome::Answered, "{sent:?}");
    let sent = probe(&pod, Protocol::Tcp, 0, to(OPEN), DENIAL_LIMIT)?;
    ensure!(sent.outcome == Outcome::TimedOut, "{sent:?}");

    let before = generation(&scenario)?;
    scenario.cluster.remove_pod(&new)?;
    other_generation(&scenario, before)?;
    drop(pod);
    wait("its hooks are gone", || Ok(endpoints(&scenario)? == 1))?;

    // A policy that goes while no agent is there to say so.
    scenario.wait_agent()?;
    scenario.stop_agent()?;
    scenario.cluster.remove_policy("shop", "other")?;
    scenario.start_agent()?;
    scenario.wait_agent()?;
    scenario.stop_now()?;

    let desk = Desk::over(&scenario)?;
    let told = desk.texts(
        "SELECT concat_ws(' ', event, pod) FROM coverage WHERE event NOT IN ('balance', 'clock') ORDER BY seq",
    )?;
    let wanted = [
        "agent-started",
        "endpoint-attached old",
        "endpoint-enforced old",
        "endpoint-attached",
        "endpoint-known new",
        "endpoint-enforced new",
        "endpoint-unknown new",
        "endpoint-detached",
        "agent-stopped",
        "agent-started",
        "endpoint-attached old",
        "endpoint-enforced old",
        "agent-stopped",
    ];
    ensure!(told == wanted, "{told:#?}");
    desk.is_true_of_all("seq = row", "(SELECT *, row_number() OVER (ORDER BY seq) AS row FROM coverage)")?;
    desk.is_true_of_all(
        "since <= time AND time - since < INTERVAL 1 MINUTE AND time >= last_time AND now() - time < INTERVAL 10 MINUTE \
         AND now() >= time AND \"date\" = (time AT TIME ZONE 'UTC')::DATE",
        "(SELECT * REPLACE (coalesce(since, time) AS since), lag(time, 1, time) OVER (ORDER BY seq) AS last_time FROM \
         coverage WHERE event NOT IN ('balance', 'clock'))",
    )?;
    // What was the case for how long: each state of the endpoint begins where the one before it ends.
    desk.is_true_of_all(
        "since = began",
        "(SELECT *, lag(time) OVER (PARTITION BY netns ORDER BY seq) AS began FROM coverage WHERE netns IS NOT NULL QUALIFY \
         event != 'endpoint-attached')",
    )?;
    // The second agent finds the hooks that the first has left.
    let had_hooks =
        desk.texts("SELECT coalesce(detail, 'new') FROM coverage WHERE event = 'endpoint-attached' ORDER BY seq")?;
    ensure!(had_hooks[..2] == ["new", "new"] && had_hooks[2].starts_with("its hooks were on"), "{had_hooks:?}");
    desk.is_true_of_all(
        "unknown_endpoints = 'allow' AND (event = 'endpoint-attached' OR list_contains(addresses, '10.5.0.2'))",
        "(SELECT * FROM coverage WHERE event IN ('endpoint-known', 'endpoint-unknown') OR (event = 'endpoint-attached' AND \
         pod IS NULL))",
    )?;
    desk.is_true_of_all(
        "mode = 'enforce' AND policy_revision >= 1 AND length(policy_sha256) = 64 AND interface_name IS NOT NULL",
        "(SELECT * FROM coverage WHERE event = 'endpoint-enforced')",
    )?;

    let told = desk.texts(
        "SELECT concat_ws(' ', event, name, text::JSON->>'$.spec.ingress[0].ports[0].port', count) FROM policies ORDER BY \
         seq",
    )?;
    let (first, second) = (format!("one-port {OPEN}"), format!("one-port {SHUT}"));
    let wanted = [
        "statement 2".to_owned(),
        format!("in-force {first}"),
        "in-force other".to_owned(),
        format!("ended {first}"),
        format!("effective {second}"),
        "statement 1".to_owned(),
        format!("in-force {second}"),
    ];
    ensure!(told == wanted, "{told:#?}");
    desk.is_true_of_all(
        "understood AND len(faults) = 0 AND sha256(text) = text_sha256 AND effective_from <= time AND revision_from <= \
         policy_revision AND coalesce(effective_to = time AND revision_to = policy_revision - 1, event != 'ended')",
        "(SELECT * FROM policies WHERE event != 'statement')",
    )?;
    // The name of what is in force is made of what the rows say.
    desk.is_true_of_all(
        "policy_sha256 = made",
        "(SELECT policy_sha256, sha256('[' || string_agg(to_json([namespace, name, coalesce(uid, ''), text_sha256])::VARCHAR, \
         ',' ORDER BY namespace, name) || ']') AS made FROM policies WHERE event = 'in-force' GROUP BY policy_sha256)",
    )?;

    let told = desk.texts(
        "SELECT concat_ws(' ', name, revision_from, coalesce(revision_to::VARCHAR, 'now'), \
         (effective_to IS NULL)::VARCHAR) FROM policy_versions ORDER BY name, revision_from",
    )?;
    ensure!(
        told == ["one-port 1 1 false", "one-port 2 2 false", "one-port 3 now true", "other 1 2 false"],
        "{told:#?}"
    );

    // As the README says. Each verdict finds one text, and it is the one by which the port was open.
    let readme = include_str!("../../../README.md");
    let start = readme.find("SELECT v.time").context("the README has the question")?;
    let question = readme[start..].split(";\n").next().context("the question ends")?;
    let told = desk.texts(&format!(
        "SELECT DISTINCT concat_ws(' ', verdict, dst_port, text::JSON->>'$.spec.ingress[0].ports[0].port') AS x FROM \
         ({question}) ORDER BY x"
    ))?;
    let wanted = [format!("allow {OPEN} {OPEN}"), format!("allow {SHUT} {SHUT}"), format!("deny {OPEN} {SHUT}")];
    ensure!(told == wanted, "{told:#?}");
    let counts =
        format!("(SELECT count(*) AS n, (SELECT sum(len(policies)) FROM verdicts) AS wanted FROM ({question}))");
    desk.is_true_of_all("n = wanted", &counts)?;
    desk.is_true_of_all("NOT began_before", "verdicts")?;

    // Somebody who was given a namespace's verdicts alone can open them all the same.
    let part = scenario.lab.path().join("part");
    fs::create_dir(&part)?;
    fs::rename(scenario.installation.evidence_path().join("verdicts"), part.join("verdicts"))?;
    let desk = Desk::at(&part, scenario.lab.path().join("part.sql"))?;
    ensure!(!desk.rows("FROM verdicts")?.is_empty());
    ensure!(desk.rows("FROM coverage")?.is_empty() && desk.rows("FROM policy_versions")?.is_empty());
    Ok(())
}
