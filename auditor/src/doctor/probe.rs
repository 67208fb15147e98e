//! A live proof, in namespaces of its own: one connection that policy allows and one that it denies, through the programs
//! of this build, and the record of each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use podwitness_lab::{Attempt, Lab, LabError, Outcome, Pod, PodSpec, Programs, Server, isolate};
use podwitness_wire::{Direction, EventKind, Reason, Verdict};

use super::check::{Check, list};
use crate::evidence::{self, Record};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::running::Running;

const NAMESPACE: &str = "doctor";
const POLICY: &str = "allow-one-port";
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2));

/// How long an answer may take: less than a second, so that a denied connection sends one packet.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a verdict may take from the kernel to the evidence.
const EVIDENCE_LIMIT: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One connection, and what must come of it.
struct Trial {
    /// The check's name.
    name: &'static str,
    port: u16,
    outcome: Outcome,
    event: EventKind,
    verdict: Verdict,
    reason: Reason,
    /// What must have decided it at the server, as the evidence says it.
    by: &'static str,
}

const TRIALS: [Trial; 2] = [
    Trial {
        name: "probe.allowed",
        port: 8080,
        outcome: Outcome::Answered,
        event: EventKind::Open,
        verdict: Verdict::Allow,
        reason: Reason::Rule,
        by: "doctor/allow-one-port[0]",
    },
    Trial {
        name: "probe.denied",
        port: 8081,
        outcome: Outcome::TimedOut,
        event: EventKind::Deny,
        verdict: Verdict::Deny,
        reason: Reason::NoRule,
        by: "doctor/allow-one-port",
    },
];

/// Moves this process into namespaces of its own for good, so this comes last.
pub(super) fn checks(programs: &Programs, interrupt: &Interrupt) -> Result<Vec<Check>, Failure> {
    match isolate().map_err(Failure::answer).and_then(|()| prove(programs, interrupt)) {
        Err(Failure::Answer(why)) => {
            let advice = "see the last lines of the two programs' logs, and what of the kernel has failed above";
            Ok(vec![Check::failed("probe", why, advice)])
        }
        other => other,
    }
}

/// Two pods on a node; everything goes on drop.
struct Stage {
    // Before the pod in which they listen.
    _servers: Vec<Server>,
    client: Pod,
    _server: Pod,
    lab: Lab,
}

impl Stage {
    fn build() -> Result<Self, LabError> {
        let lab = Lab::new()?;
        let cluster = lab.cluster();
        cluster.node()?;
        cluster.namespace(NAMESPACE, &[])?;
        let pod = |name: &str, address| {
            let spec = PodSpec::new(NAMESPACE, name, &[address]).label("app", name);
            cluster.pod(&spec)?;
            lab.pod(spec)
        };
        let (client, server) = (pod("client", CLIENT)?, pod("server", SERVER)?);
        let rule = format!(
            "{{from: [{{podSelector: {{matchLabels: {{app: client}}}}}}], ports: [{{port: {}}}]}}",
            TRIALS[0].port
        );
        cluster.policy(
            NAMESPACE,
            POLICY,
            &format!("{{podSelector: {{matchLabels: {{app: server}}}}, ingress: [{rule}]}}"),
        )?;
        // Somebody listens on both ports, so that silence is the policy's.
        let servers = TRIALS.iter().map(|trial| server.serve_tcp(trial.port)).collect::<Result<_, _>>()?;
        Ok(Self { _servers: servers, client, _server: server, lab })
    }
}

fn prove(programs: &Programs, interrupt: &Interrupt) -> Result<Vec<Check>, Failure> {
    eprintln!("probing: two pods on a node of their own, waiting for the agent and the exporter there");
    let stage = Stage::build().map_err(Failure::answer)?;
    let installation = stage.lab.install(programs, None).map_err(Failure::answer)?.set("cluster", "doctor");
    interrupt.check()?;
    let mut running = Running::start(&installation)?;
    let with_logs = |running: &Running, failure| match failure {
        Failure::Answer(why) => Failure::Answer(format!("{why}\n{}", running.log_tails())),
        other => other,
    };
    running.wait_ready(interrupt).map_err(|failure| with_logs(&running, failure))?;

    let mut attempts = Vec::new();
    for trial in TRIALS {
        interrupt.check()?;
        let to = SocketAddr::new(SERVER, trial.port);
        attempts.push((stage.client.connect_tcp(to, PATIENCE).map_err(Failure::answer)?, trial));
    }
    let deadline = Instant::now() + EVIDENCE_LIMIT;
    loop {
        interrupt.check()?;
        let records = evidence::read(&installation.evidence_path()).map_err(Failure::answer)?.records;
        let is_told = attempts.iter().all(|(attempt, trial)| faults(trial, attempt, &records).is_empty());
        if is_told || Instant::now() > deadline {
            return Ok(attempts.iter().map(|(attempt, trial)| judge(trial, attempt, &records)).collect());
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn judge(trial: &Trial, attempt: &Attempt, records: &[Record]) -> Check {
    let told: Vec<String> = decisions(attempt, records).map(text).collect();
    let told = if told.is_empty() { "nothing".to_owned() } else { told.join("; ") };
    let outcome = match attempt.outcome {
        Outcome::Answered => "was answered".to_owned(),
        Outcome::Refused => "was refused".to_owned(),
        Outcome::TimedOut => "was not answered".to_owned(),
        Outcome::Unreachable(kind) => format!("failed ({kind})"),
    };
    let found = format!("{} -> {}/TCP {outcome}; the evidence says: {told}", attempt.local, attempt.remote);
    match faults(trial, attempt, records).as_slice() {
        [] => Check::ok(trial.name, found),
        faults => {
            let advice = "do not rely on this node: report this with what the checks of the kernel say";
            Check::failed(trial.name, format!("{found}; but {}", list(faults)), advice)
        }
    }
}

/// What is not as it must be: the packet's fate, the client's own record of it, and the server's.
fn faults(trial: &Trial, attempt: &Attempt, records: &[Record]) -> Vec<String> {
    let mut faults = Vec::new();
    if attempt.outcome != trial.outcome {
        faults.push(format!("it should have been {:?}", trial.outcome));
    }
    // Nothing isolates the client.
    let at_client = (Direction::Egress, EventKind::Open, Verdict::Allow, Reason::NotIsolated, "");
    let at_server = (Direction::Ingress, trial.event, trial.verdict, trial.reason, trial.by);
    for (direction, event, verdict, reason, by) in [at_client, at_server] {
        let found: Vec<&Record> = decisions(attempt, records)
            .filter(|record| record.direction.as_deref() == Some(direction.name()))
            .collect();
        let is_right = |record: &Record| {
            record.event == event.name()
                && record.verdict.as_deref() == Some(verdict.name())
                && record.reason.as_deref() == Some(reason.name())
                && record.count == 1
                && policies(record) == by
        };
        match found.as_slice() {
            [record] if is_right(record) => {}
            [] => faults.push(format!("the {} record is missing", direction.name())),
            [_] => faults.push(format!("the {} record should say {} {}", direction.name(), verdict.name(), by)),
            many => faults.push(format!("there are {} {} records", many.len(), direction.name())),
        }
    }
    faults
}

/// The records of what was decided about the connection; its end is another event.
fn decisions<'records>(
    Attempt { local, remote, .. }: &Attempt,
    records: &'records [Record],
) -> impl Iterator<Item = &'records Record> {
    let (local, remote) = (*local, *remote);
    records.iter().filter(move |record| {
        ["open", "change", "deny"].contains(&record.event.as_str())
            && record.protocol.as_deref() == Some("TCP")
            && (record.src.ip, record.dst.ip) == (Some(local.ip()), Some(remote.ip()))
            && record.dst.port == Some(remote.port())
            // Denied attempts are counted over their source ports.
            && record.src.port.is_none_or(|port| port == local.port())
    })
}

fn policies(record: &Record) -> String {
    record.policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn text(record: &Record) -> String {
    let time =
        DateTime::from_timestamp_micros(record.time).map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true));
    let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    let by = match policies(record) {
        none if none.is_empty() => String::new(),
        some => format!(" by {some}"),
    };
    format!(
        "{} {} {} ({}){by}",
        time.unwrap_or_else(|| record.time.to_string()),
        word(&record.direction),
        word(&record.verdict),
        word(&record.reason)
    )
}

#[cfg(test)]
mod tests;
