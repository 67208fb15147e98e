//! What a person is told where a right is missing that the chart gives: each rule of RBAC and each capability, taken away in
//! turn.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, NODES, on_cluster, wait};
use crate::release::{CONFIGURATION, RELEASE};

/// Each resource that the agent reads, and the rule that its sentence must say.
const AGENT_READS: [(&str, &str); 7] = [
    ("namespaces", r#"{apiGroups: [""], resources: ["namespaces"], verbs: ["list", "watch"]}"#),
    ("pods", r#"{apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"]}"#),
    ("services", r#"{apiGroups: [""], resources: ["services"], verbs: ["list", "watch"]}"#),
    ("nodes", r#"{apiGroups: [""], resources: ["nodes"], verbs: ["list", "watch"]}"#),
    (
        "networkpolicies",
        r#"{apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: ["list", "watch"]}"#,
    ),
    ("endpointslices", r#"{apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"]}"#),
    ("audittrails", r#"{apiGroups: ["podwitness.io"], resources: ["audittrails"], verbs: ["list", "watch"]}"#),
];

/// The same of the jobs: the one that writes the status of each AuditTrail, and but for that the one that deletes.
const STATUS_NEEDS: [(&str, &str); 3] = [
    ("namespaces", r#"{apiGroups: [""], resources: ["namespaces"], verbs: ["list", "watch"]}"#),
    ("audittrails", r#"{apiGroups: ["podwitness.io"], resources: ["audittrails"], verbs: ["list", "watch"]}"#),
    ("audittrails/status", r#"{apiGroups: ["podwitness.io"], resources: ["audittrails/status"], verbs: ["patch"]}"#),
];

/// Each capability of the agent's container, and what the agent says without it.
const CAPABILITIES: [(&str, &str); 2] = [
    ("NET_ADMIN", "this process lacks NET_ADMIN; in a container, add"),
    ("SYS_ADMIN", "this process lacks SYS_ADMIN; in a container, add"),
];

impl Cluster {
    /// A role, as it can be put back.
    pub(crate) fn role(&self, name: &str) -> Result<Value> {
        let mut role = self.get(&["get", "clusterrole", name])?;
        // What says which version it is.
        role["metadata"]
            .as_object_mut()
            .context("it has metadata")?
            .retain(|key, _| key != "resourceVersion" && key != "uid");
        Ok(role)
    }

    /// Does something while the role does not have this resource.
    fn without(&self, name: &str, resource: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let whole = self.role(name)?;
        let mut less = whole.clone();
        for rule in less["rules"].as_array_mut().context("a role has rules")? {
            rule["resources"].as_array_mut().context("a rule has resources")?.retain(|of| of != resource);
        }
        less["rules"].as_array_mut().context("a role has rules")?.retain(|rule| rule["resources"] != json!([]));
        ensure!(less != whole, "the role {name} has {resource}");
        self.put(&less)?;
        let worked = work().with_context(|| format!("without {resource}"));
        self.put(&whole)?;
        worked
    }

    /// Puts an object in the place of the one that has its name.
    pub(crate) fn put(&self, object: &Value) -> Result<()> {
        self.kubectl_with(&["replace", "-f", "-"], &object.to_string()).map(drop)
    }

    /// What `doctor` says of the source, asked in the agent's container.
    fn doctor_of_source(&self, pod: &str) -> Result<String> {
        let doctor =
            ["-c", "agent", "--", "podwitness", "doctor", "--only", "agent", "-o", "json", "--config", CONFIGURATION];
        let mut command = self.command("kubectl");
        command.args(["-n", RELEASE, "exec", pod]).args(doctor);
        let (_, checks, said) = crate::cluster::outcome(&mut command)?;
        let checks: Vec<Value> = serde_json::from_str(&checks).with_context(|| said)?;
        let of_source = checks.iter().filter(|check| check["name"] == "source");
        let lines: Vec<_> = of_source.map(|check| format!("{}: {}", check["state"], check["found"])).collect();
        Ok(lines.join("\n"))
    }

    /// What a job of the chart's `CronJob` said, and whether it succeeded.
    pub(crate) fn run_job(&self, cronjob: &str, name: &str) -> Result<(bool, String)> {
        self.kubectl(&["-n", RELEASE, "create", "job", name, &format!("--from=cronjob/{cronjob}")])?;
        let mut succeeded = None;
        wait("the job has run", || {
            let pods = self.get(&["-n", RELEASE, "get", "pods", "-l", &format!("job-name={name}")])?;
            let phases =
                pods["items"].as_array().into_iter().flatten().filter_map(|pod| pod["status"]["phase"].as_str());
            succeeded = phases
                .map(|phase| phase == "Succeeded")
                .max()
                .filter(|_| !pods.to_string().contains(r#""phase":"Pending""#));
            Ok(pods.to_string().contains(r#""phase":"Succeeded""#) || pods.to_string().contains(r#""phase":"Failed""#))
        })?;
        let said = self.kubectl(&["-n", RELEASE, "logs", "-l", &format!("job-name={name}"), "--tail=-1"])?;
        self.kubectl(&["-n", RELEASE, "delete", "job", name])?;
        Ok((succeeded == Some(true), said))
    }
}

#[test]
fn without_any_rule_the_agent_says_which_one_to_add() -> Result<()> {
    on_cluster("rules", |cluster| {
        cluster.enforcing()?;
        let cluster = &*cluster;
        let pod = cluster.pod_on(NODES[0])?;
        ensure!(cluster.doctor_of_source(&pod)?.starts_with("\"ok\""), "with all it is well");
        for (resource, rule) in AGENT_READS {
            cluster.without(RELEASE, resource, || {
                let mut said = String::new();
                let expected = format!("{resource}; give its ClusterRole the rule {rule}");
                wait("doctor names the rule", || {
                    said = cluster.doctor_of_source(&pod)?.replace('\\', "");
                    Ok(said.contains("may not ") && said.contains(&format!("the rule {rule}")))
                })
                .with_context(|| format!("{expected}\n{said}"))
            })?;
        }
        // A pod that starts says it in its log, is not ready, and leaves in force what was.
        let (resource, rule) = AGENT_READS[4];
        cluster.without(RELEASE, resource, || {
            cluster.kubectl(&["-n", RELEASE, "delete", "pod", &pod])?;
            let mut said = String::new();
            wait("its log names the rule", || {
                let Ok(pod) = cluster.pod_on(NODES[0]) else { return Ok(false) };
                said = cluster
                    .kubectl(&["-n", RELEASE, "logs", &pod, "-c", "agent"])
                    .unwrap_or_default()
                    .replace('\\', "");
                Ok(said.contains(&format!("may not list {resource}"))
                    || said.contains(&format!("may not watch {resource}")))
            })
            .with_context(|| said.clone())?;
            ensure!(said.contains(rule), "{said}");
            let ready = cluster.ask(NODES[0], crate::release::AGENT_PORT, "/readyz")?;
            ensure!(ready.contains("everything in the source can be read"), "{ready}");
            Ok(())
        })?;
        cluster.await_nodes()
    })
}

#[test]
fn without_any_rule_the_jobs_say_which_one_to_add() -> Result<()> {
    on_cluster("rules-of-jobs", |cluster| {
        cluster.enforcing()?;
        let cluster = &*cluster;
        cluster
            .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "trailed"}}).to_string())?;
        cluster.apply(
            &json!({
                "apiVersion": "podwitness.io/v1alpha1", "kind": "AuditTrail",
                "metadata": {"namespace": "trailed", "name": "default"}, "spec": {},
            })
            .to_string(),
        )?;
        // No claim of a volume is bound on this cluster.
        cluster.upgrade(&["retain.enabled=true", "retain.key.volume.emptyDir.sizeLimit=1Mi"])?;
        for (account, needs) in [("podwitness-status", &STATUS_NEEDS[..]), ("podwitness-retain", &STATUS_NEEDS[..2])] {
            for (number, (resource, rule)) in needs.iter().enumerate() {
                cluster.without(account, resource, || {
                    let (succeeded, said) = cluster.run_job(account, &format!("{account}-{number}"))?;
                    ensure!(!succeeded && said.contains("may not ") && said.contains(rule), "expected {rule}: {said}");
                    Ok(())
                })?;
            }
            let (succeeded, said) = cluster.run_job(account, account)?;
            ensure!(succeeded, "with all its rules {account} does its work: {said}");
        }
        cluster.upgrade(&["retain.enabled=false"])?;
        cluster.kubectl(&["delete", "namespace", "trailed"]).map(drop)
    })
}

#[test]
fn without_any_capability_the_agent_says_which_one_to_add() -> Result<()> {
    on_cluster("capabilities", |cluster| {
        cluster.enforcing()?;
        let cluster = &*cluster;
        let daemonset = cluster.get(&["-n", RELEASE, "get", "daemonset", RELEASE])?;
        let containers = daemonset["spec"]["template"]["spec"]["containers"].as_array().context("it has containers")?;
        let place = containers.iter().position(|container| container["name"] == "agent").context("it has the agent")?;
        let given = containers[place]["securityContext"]["capabilities"]["add"].as_array().context("it has some")?;
        ensure!(given.len() == CAPABILITIES.len(), "these are all: {given:?}");
        let put = |capabilities: &[&Value]| {
            let path = format!("/spec/template/spec/containers/{place}/securityContext/capabilities/add");
            let patch = json!([{"op": "replace", "path": path, "value": capabilities}]).to_string();
            cluster.kubectl(&["-n", RELEASE, "patch", "daemonset", RELEASE, "--type=json", "-p", &patch]).map(drop)
        };
        for (missing, sentence) in CAPABILITIES {
            put(&given.iter().filter(|capability| **capability != missing).collect::<Vec<_>>())?;
            let mut said = String::new();
            wait("its log says what is missing", || {
                said = NODES
                    .iter()
                    .filter_map(|node| {
                        let pod = cluster.pod_on(node).ok()?;
                        cluster.kubectl(&["-n", RELEASE, "logs", &pod, "-c", "agent"]).ok()
                    })
                    .collect();
                Ok(said.contains(sentence))
            })
            .with_context(|| format!("without {missing}: {said}"))?;
        }
        put(&given.iter().collect::<Vec<_>>())?;
        cluster.await_nodes()
    })
}
