//! What a namespace asks for the evidence about it: how long it is kept, and how addresses outside the cluster stand in it.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use podwitness_lab::{Outcome, PodSpec};
use podwitness_policy::Protocol;
use podwitness_tests::scenario::Scenario;
use podwitness_tests::traffic::{ANSWER_LIMIT, SourcePorts, probe, serve};

use crate::coverage::Desk;
use crate::field::OPEN;

#[test]
fn addresses_outside_are_kept_as_each_namespace_asks_and_its_files_for_as_long() -> Result<()> {
    let mut scenario = Scenario::new()?.set("retention.minimum", "10d").set("retention.default", "20d");
    let trails = [
        ("bank", "{retention: 30d, externalAddresses: hmac}"),
        ("lab", "{retention: 1d}"),
        ("shop", "{externalAddresses: truncate, legalHold: true}"),
    ];
    let mut pods = Vec::new();
    for ((namespace, spec), host) in trails.into_iter().zip(1..) {
        scenario.cluster.namespace(namespace, &[])?;
        scenario.cluster.write(
            &format!("trail-{namespace}.yaml"),
            &format!(
                "{{apiVersion: podwitness.io/v1alpha1, kind: AuditTrail, metadata: {{namespace: {namespace}, name: default}}, \
                 spec: {spec}}}"
            ),
        )?;
        let addresses = [format!("10.7.0.{host}").parse()?, format!("fd00:7::{host}").parse()?];
        pods.push(scenario.pod(PodSpec::new(namespace, "web", &addresses))?);
    }
    let _servers: Vec<_> = pods.iter().map(|pod| serve(pod, &[OPEN])).collect::<Result<_>>()?;
    let outside = scenario.lab.outsider("near", &["203.0.113.7".parse()?, "2001:db8::7".parse()?])?;
    scenario.start()?;
    let ports = SourcePorts::default();
    for pod in &pods {
        for address in pod.addresses() {
            let sent = probe(&outside, Protocol::Tcp, ports.next()?, SocketAddr::new(address, OPEN), ANSWER_LIMIT)?;
            ensure!(sent.outcome == Outcome::Answered, "{sent:?}");
        }
    }
    scenario.wait_settled(2 * pods.len())?;
    scenario.stop_agent()?;
    scenario.stop_exporter()?;

    let desk = Desk::over(&scenario)?;
    let told = |namespace: &str| {
        desk.texts(&format!(
            "SELECT DISTINCT src_ip FROM verdicts WHERE namespace = '{namespace}' AND src_identity = 'external' ORDER BY src_ip"
        ))
    };
    ensure!(told("lab")? == ["2001:db8::7", "203.0.113.7"], "{:?}", told("lab")?);
    ensure!(told("shop")? == ["2001:db8::/48", "203.0.113.0/24"], "{:?}", told("shop")?);
    let hashed = told("bank")?;
    ensure!(hashed.len() == 2 && hashed.iter().all(|text| text.starts_with("hmac:") && text.len() == 37), "{hashed:?}");

    // In days, after the last time in it.
    let files = scenario.installation.evidence_path().join("verdicts/**/*.parquet");
    let kept = desk.texts(&format!(
        "SELECT DISTINCT concat_ws(' ', namespace, date_diff('day', last, kept)) AS kept FROM (SELECT file_name AS filename, \
         decode(value)::TIMESTAMPTZ AS kept FROM parquet_kv_metadata('{files}') WHERE decode(key) = '{key}') JOIN (SELECT \
         filename, namespace, max(coalesce(last_time, time)) AS last FROM read_parquet('{files}', filename = true) GROUP BY \
         ALL) USING (filename) ORDER BY kept",
        files = files.display(),
        key = podwitness_schemas::metadata::RETAIN_UNTIL,
    ))?;
    ensure!(kept == ["bank 30", "lab 10", "shop 20"], "{kept:?}");
    Ok(())
}
