//! The spool, or a part of it, is lost under a node that goes on: what was in it is lost and said to be, and the evidence
//! goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use podwitness_agent::step::Step;
use podwitness_lab::{Conversation, Outcome, Program};
use podwitness_policy::Protocol;
use podwitness_tests::evidence::{Evidence, Row};
use podwitness_tests::scenario::{LIMIT, Scenario, wait};
use podwitness_tests::second_verifier::second_verifier;
use podwitness_tests::traffic::{ANSWER_LIMIT, Sent};
use serde_json::Value;

use crate::agent_steps::{Way, way_to};
use crate::coverage::Desk;
use crate::field::{Field, OPEN, openings};

/// Waits until it has given up, and says what it said.
fn given_up(program: &mut Option<Program>) -> Result<String> {
    let mut ended = program.take().context("it runs")?;
    wait("it gives up", || Ok(ended.ended()?.is_some())).with_context(|| ended.log_tail(20))?;
    ensure!(ended.ended()?.is_some_and(|status| status.code() == Some(2)));
    Ok(ended.log_tail(3))
}

/// The codes in one of the lists of an answer, with how often.
fn codes(answer: &Value, list: &str) -> BTreeMap<String, u64> {
    let mut codes = BTreeMap::new();
    for said in answer[list].as_array().into_iter().flatten() {
        let code = said["code"].as_str().unwrap_or_default().to_owned();
        *codes.entry(code).or_default() += said["count"].as_u64().unwrap_or(1);
    }
    codes
}

/// What both verifiers say of the evidence.
fn verify(scenario: &Scenario) -> Result<Value> {
    let this = std::env::current_exe()?;
    let podwitness = this.ancestors().nth(2).context("a test runs in deps")?.join("podwitness");
    let mut answers = Vec::new();
    for verifier in [Command::new(podwitness).arg("verify"), &mut second_verifier()?] {
        let output = verifier.args(["-o", "json"]).arg(scenario.installation.evidence_path()).output()?;
        let answer: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
        answers.push(answer);
    }
    ensure!(answers[0]["checked"] == answers[1]["checked"], "{answers:#?}");
    for list in ["findings", "admissions"] {
        ensure!(codes(&answers[0], list) == codes(&answers[1], list), "{answers:#?}");
    }
    Ok(answers.remove(0))
}

#[test]
fn a_spool_that_is_lost_is_told_and_the_evidence_goes_on_within_the_boot() -> Result<()> {
    let (answer, _) = lose(Part::Whole, "1s", true)?;
    ensure!(codes(&answer, "findings").is_empty(), "{answer:#}");
    Ok(())
}

/// What the agent and the exporter keep beside them is whole.
#[test]
fn segments_that_are_lost_alone_are_told_and_the_chain_of_seals_goes_on() -> Result<()> {
    let (answer, _) = lose(Part::Segments, "1s", true)?;
    ensure!(codes(&answer, "findings").is_empty(), "{answer:#}");
    Ok(())
}

#[test]
fn what_numbers_mean_is_lost_alone_and_told() -> Result<()> {
    lose_names(Part::Agents)
}

#[test]
fn the_definitions_are_lost_alone_and_told() -> Result<()> {
    lose_names(Part::Definitions)
}

/// Loses what numbers mean, with this, and nothing else of the spool.
fn lose_names(part: Part) -> Result<()> {
    let mut scenario = Scenario::new()?.set("seal.interval", "1s");
    let field = Field::make(&scenario)?;
    scenario.start()?;
    let mut sent = vec![field.send(0, 1, Protocol::Tcp, OPEN)?];
    let (mut long, local) = open_long(&field)?;
    let is_there = || {
        let evidence = scenario.evidence().ok()?;
        Some(opens(&evidence, local).next().is_some())
    };
    wait("it is in the store", || Ok(is_there() == Some(true)))?;
    scenario.stop_agent()?;
    remove(&scenario, part)?;
    scenario.start_agent()?;
    scenario.wait_agent()?;
    let told = scenario.agent()?.log_tail(200);
    ensure!(told.contains("what numbers in older connections mean was lost"), "{told}");
    ensure!(long.exchange(ANSWER_LIMIT) == Outcome::Answered);
    long.close(ANSWER_LIMIT);
    sent.push(field.send(0, 1, Protocol::Tcp, OPEN)?);
    scenario.wait_settled(openings(&sent[1..]))?;
    // A second restart knows that it was the first that told.
    scenario.stop_agent()?;
    scenario.start_agent()?;
    scenario.wait_agent()?;
    let evidence = scenario.stop(0)?;

    are_there_once(&evidence, &sent)?;
    for sent in &sent {
        let mut named = opens(&evidence, sent.local);
        ensure!(named.all(|row| row.src.pod.is_some()), "{sent:?} names its pod");
    }
    // The segment that it is in may have the names still, and has no others.
    let (unknown, known) = ends(&evidence, local)?;
    ensure!(unknown.len() == 2, "an endpoint whose number means nothing is another one");
    let of_known: BTreeSet<_> = known.iter().map(|row| format!("{:?}", row.policies)).collect();
    ensure!(unknown.iter().all(|row| row.policies.is_empty() || of_known.contains(&format!("{:?}", row.policies))));
    let told =
        Desk::over(&scenario)?.texts("SELECT event FROM coverage WHERE event IN ('names-lost', 'records-lost')")?;
    ensure!(told == ["names-lost"], "{told:?}");
    let answer = verify(&scenario)?;
    ensure!(codes(&answer, "findings").is_empty(), "{answer:#}");
    ensure!(codes(&answer, "admissions").get("loss") == Some(&1), "{answer:#}");
    Ok(())
}

/// Nobody who was there can vouch for such files any more.
#[test]
fn what_was_put_and_not_sealed_before_the_loss_is_found_and_nothing_else() -> Result<()> {
    let (answer, boots) = lose(Part::Whole, "1h", false)?;
    let findings = answer["findings"].as_array().context("a list")?;
    ensure!(!findings.is_empty(), "{answer:#}");
    for finding in findings {
        let is_of_the_lost = finding["object"].as_str().is_some_and(|object| object.contains(&boots[0]));
        ensure!(finding["code"] == "object-unsealed" && is_of_the_lost, "{finding:#}");
    }
    Ok(())
}

/// What is lost of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Segments,
    /// What the agent keeps for itself.
    Agents,
    /// Of that, what numbers mean.
    Definitions,
}

/// Removes it. The folder itself is the administrator's, with the groups that the two programs need.
fn remove(scenario: &Scenario, part: Part) -> Result<()> {
    let spool = scenario.installation.spool_path();
    let folder = match part {
        Part::Whole => spool,
        Part::Segments => spool.join("segments"),
        Part::Agents => spool.join("agent"),
        Part::Definitions => return Ok(fs::remove_file(spool.join("agent/definitions.jsonl"))?),
    };
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}

/// Each step that an agent comes to on its way to say it, and the one at which it has said it and does not know that yet.
#[test]
fn a_loss_is_told_once_wherever_the_agent_that_finds_it_is_killed() -> Result<()> {
    let is_on_the_way = |step: &Step| {
        way_to(*step) == Way::Start || matches!(step, Step::Swept | Step::JournalRead | Step::JournalCommitted)
    };
    let steps: Vec<Step> = Step::ALL.iter().copied().filter(is_on_the_way).collect();
    let mut scenario = Scenario::new()?.set("seal.interval", "1s");
    let field = Field::make(&scenario)?;
    scenario.start()?;
    let mut sent = vec![field.send(0, 1, Protocol::Tcp, OPEN)?];
    let mut opened = openings(&sent);
    let cases: Vec<_> = steps.iter().flat_map(|step| [(Part::Whole, step), (Part::Segments, step)]).collect();
    for (part, step) in &cases {
        scenario.wait_settled(opened)?;
        scenario.stop_agent()?;
        scenario.stop_exporter()?;
        remove(&scenario, *part)?;
        scenario.start_exporter()?;
        scenario.start_agent_to(&format!("{}:1", step.name()))?;
        wait("the agent has come to the step", || Ok(scenario.agent()?.is_held()?))
            .with_context(|| format!("{part:?} {}", step.name()))?;
        crate::killed::kill(&mut scenario.agent)?;
        scenario.start_agent()?;
        scenario.wait_agent()?;
        scenario.exporter()?.wait_ready(LIMIT)?;
        sent.push(field.send(0, 1, Protocol::Tcp, OPEN)?);
        opened = openings(&sent);
    }
    let evidence = scenario.stop(opened)?;

    let told = Desk::over(&scenario)?.texts("SELECT boot FROM coverage WHERE event = 'records-lost'")?;
    let boots: BTreeSet<&String> = told.iter().collect();
    ensure!(told.len() == cases.len() && boots.len() == told.len(), "of {} losses are told {told:?}", cases.len());
    are_there_once(&evidence, &sent)?;
    let answer = verify(&scenario)?;
    ensure!(codes(&answer, "findings").is_empty(), "{answer:#}");
    ensure!(codes(&answer, "admissions").get("loss") == Some(&(cases.len() as u64)), "{answer:#}");
    Ok(())
}

/// A connection whose rules an agent has numbered that may be forgotten, with its near end.
fn open_long(field: &Field) -> Result<(Conversation, SocketAddr)> {
    let remote = SocketAddr::new(field.pods[1].addresses()[0], OPEN);
    let opened = field.pods[0].open_tcp_from(field.ports.next()?, remote, ANSWER_LIMIT)?;
    let Ok(long) = opened else { anyhow::bail!("policy allows it: {opened:?}") };
    let local = long.local();
    Ok((long, local))
}

/// The records of a connection's beginning.
fn opens(evidence: &Evidence, local: SocketAddr) -> impl Iterator<Item = &Row> {
    evidence.events("open").filter(move |row| row.src.port == Some(local.port()))
}

/// That each of these connections has its records, and no more.
fn are_there_once(evidence: &Evidence, sent: &[Sent]) -> Result<()> {
    sent.iter().try_for_each(|sent| {
        let rows = opens(evidence, sent.local).count();
        ensure!(rows == openings(&[*sent]), "{sent:?} is there {rows} times");
        Ok(())
    })
}

/// The records of the ends of a connection, one a side: first that of the endpoints that nobody knows any more, where there is
/// one, and then that of those which are known.
fn ends(evidence: &Evidence, local: SocketAddr) -> Result<(Vec<&Row>, Vec<&Row>)> {
    let closes = evidence.events("close").filter(|row| row.src.port == Some(local.port()));
    let (unknown, known): (Vec<_>, Vec<_>) = closes.partition(|row| row.namespace == "_unknown");
    ensure!(known.len() == 2 && matches!(unknown.len(), 0 | 2), "{} and {}", known.len(), unknown.len());
    ensure!(known.iter().any(|row| !row.policies.is_empty()), "a policy has allowed it");
    Ok((unknown, known))
}

/// Loses this of the spool of a node that seals so often, before or after a seal; what the verifiers say, and the boots of
/// records.
fn lose(part: Part, interval: &str, is_sealed: bool) -> Result<(Value, Vec<String>)> {
    let mut scenario = Scenario::new()?.set("seal.interval", interval);
    let field = Field::make(&scenario)?;
    scenario.start()?;
    let mut before = vec![field.send(0, 1, Protocol::Tcp, OPEN)?, field.send(1, 0, Protocol::Udp, OPEN)?];
    let (mut long, local) = open_long(&field)?;
    let there = |sent: &Sent| {
        let evidence = scenario.evidence().ok()?;
        Some(opens(&evidence, sent.local).count() == openings(&[*sent]))
    };
    wait("all of that is in the store", || Ok(before.iter().all(|sent| there(sent) == Some(true))))?;

    let seals = |scenario: &Scenario| scenario.exporter_metric("podwitness_exporter_seals_total");
    if is_sealed {
        // While the agent says nothing more, all that it has said comes under a seal.
        scenario.hold_agent(true)?;
        let before_this = seals(&scenario)?;
        wait("it is sealed", || Ok(seals(&scenario)? >= before_this + 2))?;
    }
    remove(&scenario, part)?;
    if is_sealed {
        scenario.hold_agent(false)?;
    }
    // Something that the agent has to write down, and cannot.
    before.push(field.send(0, 1, Protocol::Tcp, OPEN)?);
    let told = given_up(&mut scenario.agent)?;
    ensure!(told.contains("was removed by somebody else"), "{told}");
    given_up(&mut scenario.exporter)?;

    scenario.start()?;
    let told = scenario.agent()?.log_tail(200);
    ensure!(told.contains("the spool was lost, and with it all that was not in the store yet"), "{told}");
    ensure!(long.exchange(ANSWER_LIMIT) == Outcome::Answered);
    long.close(ANSWER_LIMIT);
    let after = vec![field.send(0, 1, Protocol::Tcp, OPEN)?, field.send(1, 2, Protocol::Tcp, OPEN)?];
    scenario.wait_settled(openings(&after))?;
    // A second restart knows that it was the first that told.
    scenario.stop_agent()?;
    scenario.start_agent()?;
    scenario.wait_agent()?;
    before.extend(after);
    let evidence = scenario.stop(0)?;

    let boots: BTreeSet<&str> = evidence.rows().map(|row| row.boot.as_str()).collect();
    ensure!(boots.len() == 2, "{boots:?}");
    are_there_once(&evidence, &before)?;
    let (unknown, _) = ends(&evidence, local)?;
    ensure!(unknown.is_empty() == (part == Part::Segments), "what numbers mean is lost with the whole alone");
    ensure!(unknown.iter().all(|row| row.policies.is_empty()), "it names what another number stood for");

    let answer = verify(&scenario)?;
    let admissions = codes(&answer, "admissions");
    let is_resumed = admissions.get("chain-resumed") == Some(&1);
    ensure!(admissions.get("loss") == Some(&1) && is_resumed == (part == Part::Whole), "{answer:#}");
    Ok((answer, boots.into_iter().map(str::to_owned).collect()))
}
