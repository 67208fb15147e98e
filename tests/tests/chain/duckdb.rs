//! The evidence as DuckDB reads it, through the views that people are given.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use podwitness_schemas::views;
use podwitness_tests::duckdb::{ask, find};
use podwitness_tests::evidence::{Evidence, Row};
use podwitness_tests::scenario::Scenario;
use podwitness_tests::traffic::PROTOCOLS;
use serde_json::Value;

use crate::field::{Field, OPEN, SHUT, openings};

/// Counts by a text that names a kind.
fn counts(rows: &[Value]) -> Result<BTreeMap<String, i64>> {
    rows.iter()
        .map(|row| {
            let kind = row["kind"].as_str().with_context(|| format!("no kind in {row}"))?;
            Ok((kind.to_owned(), row["n"].as_i64().with_context(|| format!("no number in {row}"))?))
        })
        .collect()
}

fn sums<'row>(rows: impl Iterator<Item = &'row Row>, kind: impl Fn(&Row) -> String) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for row in rows {
        *sums.entry(kind(row)).or_default() += row.count;
    }
    sums
}

fn agree(duckdb: &Path, init: &Path, evidence: &Evidence) -> Result<()> {
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    let decided = |row: &&Row| ["open", "change", "deny"].contains(&&*row.event);
    let by_rule = |row: &Row| {
        let policies: Vec<String> = row
            .policies
            .iter()
            .map(|policy| {
                let rule = policy.rule.map_or(String::new(), |rule| format!("[{rule}]"));
                format!("{}/{}{rule}", policy.namespace, policy.name)
            })
            .collect();
        format!("{} {} {}", optional(&row.src.pod), optional(&row.dst.pod), policies.join(", "))
    };
    let questions = [
        (
            "SELECT event || ' ' || direction || ' ' || namespace AS kind, sum(\"count\")::BIGINT AS n FROM verdicts GROUP BY ALL",
            sums(evidence.rows(), |row| format!("{} {} {}", row.event, optional(&row.direction), row.namespace)),
        ),
        (
            "SELECT src_ip || ' ' || dst_ip || ' ' || dst_port AS kind, sum(\"count\")::BIGINT AS n FROM allowed WHERE \
             protocol IN ('TCP', 'UDP') GROUP BY ALL",
            sums(
                evidence
                    .rows()
                    .filter(decided)
                    .filter(|row| row.verdict.as_deref() == Some("allow"))
                    .filter(|row| row.is_tcp_or_udp()),
                |row| {
                    let address = |ip: Option<std::net::IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
                    let port = row.dst.port.map(|port| port.to_string()).unwrap_or_default();
                    format!("{} {} {port}", address(row.src.ip), address(row.dst.ip))
                },
            ),
        ),
        (
            "SELECT src_pod || ' ' || dst_pod || ' ' || policies_text(policies) AS kind, sum(\"count\")::BIGINT AS n FROM \
             denied GROUP BY ALL",
            sums(evidence.rows().filter(decided).filter(|row| row.verdict.as_deref() == Some("deny")), by_rule),
        ),
        (
            "SELECT split_part(source, '/', 2) || ' ' || split_part(destination, '/', 2) || ' ' || policies AS kind, \
             sum(\"count\")::BIGINT AS n FROM connections() GROUP BY ALL",
            sums(evidence.rows().filter(decided), by_rule),
        ),
    ];
    for (question, expected) in questions {
        let answer = counts(&ask(duckdb, init, question)?).context(question)?;
        ensure!(!expected.is_empty() && answer == expected, "{question}\nsays {answer:#?}\nand not {expected:#?}");
    }
    Ok(())
}

#[test]
fn the_views_say_what_the_files_say() -> Result<()> {
    let duckdb = find()?;
    let mut scenario = Scenario::new()?;
    let field = Field::make(&scenario)?;
    scenario.start()?;
    let mut sent = Vec::new();
    for turn in 0..48 {
        let port = if turn % 4 == 3 { SHUT } else { OPEN };
        sent.push(field.send(turn % field.pods.len(), turn / 4, PROTOCOLS[turn / 2 % 2], port)?);
    }
    let evidence = scenario.stop(openings(&sent))?;
    ensure!(evidence.files.len() >= 2 && evidence.events("deny").count() > 0);
    let init = scenario.lab.path().join("views.sql");
    fs::write(&init, views::render(scenario.installation.evidence_path().to_str().context("the path is text")?))?;
    agree(&duckdb, &init, &evidence)
}
