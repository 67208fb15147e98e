//! What people ask of an installation: who talked to whom and by which policy, through which Service, how long it is kept,
//! whether it is well.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, TimeDelta};
use podwitness_schemas::{metadata, views};
use podwitness_tests::duckdb;
use podwitness_tests::evidence::{Evidence, Row};
use podwitness_tests::traffic::PROTOCOLS;
use serde_json::{Value, json};

use crate::cluster::{Cluster, NODES, outcome, run, wait};
use crate::pods::{Pod, Target, named, port};
use crate::release::{CONFIGURATION, RELEASE};

impl Cluster {
    /// The answer of `DuckDB`, through the views that people are given, whose answer is in one column `line`.
    pub(crate) fn question(&self, question: &str) -> Result<Vec<String>> {
        let views = tempfile::NamedTempFile::new()?;
        let root = self.evidence_path();
        fs::write(views.path(), views::render(root.to_str().context("the path is text")?))?;
        let rows = duckdb::ask(&duckdb::find()?, views.path(), question)?;
        let line = |row: &Value| Ok(row["line"].as_str().context("the answer is in `line`")?.to_owned());
        rows.iter().map(line).collect()
    }

    /// The commands of the notes that ask something, as they are printed. What a person must say for themselves is replaced.
    pub(crate) fn follow_notes(&self, notes: &str) -> Result<()> {
        let keys = self.evidence_path().join("keys");
        let keys = keys.to_str().context("the path is text")?;
        // DuckDB would have to load an extension to read the bucket by itself.
        let commands = notes
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("kubectl ") || line.starts_with("podwitness verify"));
        let commands: Vec<String> = commands.map(|command| command.replace(" DIR", &format!(" {keys}"))).collect();
        ensure!(commands.len() >= 5, "these are the commands: {commands:?}");
        for command in commands {
            let (code, out, said) = outcome(&mut self.shell(&command)?)?;
            ensure!(code == Some(0), "`{command}` ended with {code:?}: {out}{said}");
        }
        Ok(())
    }

    /// What `doctor` says to either program, in its container.
    pub(crate) fn doctors(&self, node: &str) -> Result<String> {
        let pod = self.pod_on(node)?;
        let mut said = String::new();
        for program in ["agent", "exporter"] {
            said += &self.kubectl(&[
                "-n",
                RELEASE,
                "exec",
                &pod,
                "-c",
                program,
                "--",
                "podwitness",
                "doctor",
                "--only",
                program,
                "-o",
                "json",
                "--config",
                CONFIGURATION,
            ])?;
        }
        Ok(said)
    }
}

/// That `DuckDB` says who talked to whom, with label, workload and policy.
pub(crate) fn who_talked_to_whom(cluster: &Cluster) -> Result<()> {
    let found = cluster.question(
        "SELECT DISTINCT concat_ws(' | ', src_workload_kind || ' ' || src_workload, src_labels ->> 'tier', src_label_app, \
         dst_pod, dst_port, verdict, policies_text(policies)) AS line FROM verdicts WHERE namespace = 'shop' AND \
         direction = 'ingress' AND protocol = 'TCP' AND event = 'open' AND src_workload = 'client' ORDER BY ALL",
    )?;
    let expected =
        ["one", "two"].map(|to| format!("Deployment client | front | client | {to} | 8080 | allow | shop/servers[0]"));
    ensure!(found == expected, "DuckDB says {found:#?}");
    let found = cluster.question(
        "SELECT DISTINCT concat_ws(' | ', src_pod, dst_pod, verdict, policies_text(policies)) AS line FROM verdicts WHERE \
         direction = 'ingress' AND event IN ('open', 'deny') AND src_pod = 'stranger' ORDER BY ALL",
    )?;
    let expected = [
        "stranger | one | audit | shop/servers",
        "stranger | one | deny | shop/servers",
        "stranger | two | audit | shop/servers",
        "stranger | two | deny | shop/servers",
        // This namespace has enforced all the time.
        "stranger | vault | deny | bank/closed",
    ];
    ensure!(found.iter().all(|row| expected.contains(&row.as_str())), "DuckDB says {found:#?}");
    ensure!(found.len() >= 4, "DuckDB says {found:#?}");
    Ok(())
}

/// Asks the Service over both families and protocols, and finds its name and the backend's record beside each.
pub(crate) fn through_the_service(cluster: &Cluster, pods: &[Pod]) -> Result<()> {
    let service = cluster.get(&["-n", "shop", "get", "service", "server"])?;
    let addresses = service["spec"]["clusterIPs"].as_array().context("it has addresses")?;
    let mut targets = Vec::new();
    for address in addresses {
        let address = address.as_str().context("an address is text")?.parse()?;
        targets.extend(PROTOCOLS.map(|protocol| Target { protocol, remote: SocketAddr::new(address, port(protocol)) }));
    }
    ensure!(targets.len() == 4, "it has two addresses: {service}");
    let answered = cluster.exec_probes(named(pods, "shopper")?, &targets, 20)?;
    ensure!(answered.iter().all(|answered| *answered), "the Service answers: {answered:?}");
    wait("the Service is in the evidence", || Ok(service_records(&cluster.evidence()?, &targets).is_ok()))
        .or_else(|_| service_records(&cluster.evidence()?, &targets))
}

fn service_records(evidence: &Evidence, targets: &[Target]) -> Result<()> {
    let of_shopper = |row: &&Row| row.src.pod.as_deref() == Some("shopper") && row.event == "open";
    let (out, within): (Vec<&Row>, Vec<&Row>) =
        evidence.rows().filter(of_shopper).partition(|row| row.direction.as_deref() == Some("egress"));
    ensure!(out.len() == targets.len() && within.len() == targets.len(), "{out:#?} {within:#?}");
    for Target { protocol, remote } in targets {
        let is_it = |row: &&&Row| row.protocol.as_deref() == Some(protocol.name()) && row.dst.ip == Some(remote.ip());
        let Some(row) = out.iter().find(is_it) else { bail!("there is no record of {protocol:?} {remote}: {out:#?}") };
        let named = row.service.as_ref().is_some_and(|service| service.name == "server" && service.address == *remote);
        ensure!(
            named && row.nat_resolution.as_deref() == Some("exact"),
            "it says through which Service it went: {row:?}"
        );
        // The same connection on the other side, on whichever node.
        let other = within.iter().find(|other| {
            (other.src.port, &other.protocol) == (row.src.port, &row.protocol) && other.src.ip == row.src.ip
        });
        let other = other.with_context(|| format!("there is no other side of {row:?}"))?;
        ensure!(
            other.dst.pod == row.dst.pod && row.dst.pod.is_some(),
            "both sides name the backend: {row:?} {other:?}"
        );
    }
    Ok(())
}

/// That the namespace's `AuditTrail` has been followed, and says what evidence there is.
pub(crate) fn trail(cluster: &Cluster, namespace: &str, days: i64) -> Result<()> {
    let evidence = cluster.evidence()?.of_namespace(namespace);
    let newest = evidence.files.last().context("the namespace has evidence")?;
    let time = |key: &str| -> Result<_> {
        Ok(DateTime::parse_from_rfc3339(newest.metadata.get(key).context("a file says it")?)?)
    };
    let kept = time(metadata::RETAIN_UNTIL)? - time(metadata::LAST_TIME)?;
    ensure!(kept >= TimeDelta::days(days) && kept < TimeDelta::days(days + 1), "it is kept for {kept}");

    let (succeeded, said) = cluster.run_job("podwitness-status", "status-now")?;
    ensure!(succeeded, "the job failed: {said}");
    let trail = cluster.get(&["-n", namespace, "get", "audittrail", "default"])?;
    let status = &trail["status"];
    ensure!(status["files"].as_i64() > Some(0) && status["bytes"].as_i64() > Some(0), "its status is {status}");
    let times = ["evidenceFrom", "evidenceTo", "lastSeal"];
    ensure!(
        times.iter().all(|time| status[time].is_string()) && status["held"] == json!(false),
        "its status is {status}"
    );
    ensure!(
        status["conditions"][0]["type"] == "Ready" && status["conditions"][0]["status"] == "True",
        "its status is {status}"
    );
    Ok(())
}

/// That a person sees that it does: the notes' commands work, and `doctor` finds nothing wrong on any node.
pub(crate) fn it_is_well(cluster: &Cluster, notes: &str) -> Result<()> {
    cluster.follow_notes(notes)?;
    for node in NODES {
        let said = cluster.doctors(node)?;
        ensure!(said.contains("(Object Lock)"), "the bucket locks: {said}");
    }
    run(&mut cluster.shell("kubectl get audittrails --all-namespaces")?).map(drop)
}
