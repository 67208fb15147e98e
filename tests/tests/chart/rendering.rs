//! What the chart renders: accepted by the programs, and with no more rights than it says.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use podwitness_config::{Config, Mode, ObjectLock, Source};
use serde_json::{Value, json};

use crate::helm::{chart, container, containers, helm, is_hook, object, path, pod, render, required, sets, values};

/// Every way to render it that is a different shape.
fn variants() -> Vec<(&'static str, Vec<String>)> {
    let file = |name| vec!["--values".to_owned(), values(name).display().to_string()];
    let with = |more: &[&str]| [required(), sets(more)].concat();
    vec![
        ("nothing but what is required", required()),
        ("everything", file("everything.yaml")),
        ("azure", file("azure.yaml")),
        ("the least", with(&["status.enabled=false", "crds.install=false", "uninstall.cleanNodes=false"])),
    ]
}

fn configuration(objects: &[Value]) -> Result<Config> {
    let text =
        object(objects, "ConfigMap", "podwitness")?["data"]["podwitness.yaml"].as_str().context("it has a file")?;
    let name = |name: &str| (name == "NODE_NAME").then(|| "node-1".to_owned());
    Ok(Config::parse(text, Path::new("/etc/podwitness/podwitness.yaml"), &name)?)
}

#[test]
fn lint_has_nothing_to_say_and_the_plain_manifests_are_what_is_rendered() -> Result<()> {
    for (name, arguments) in [("no values", Vec::new())].into_iter().chain(variants()) {
        let output = helm(&["lint", "--strict", "--kube-version", "1.35.4"], &arguments)?;
        let said = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() && !said.contains("WARNING"), "{name}: {said}");
    }
    let output = Command::new(path("deploy/manifests/render")).arg("--check").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    Ok(())
}

#[test]
fn the_programs_accept_every_configuration_and_find_in_it_what_the_values_say() -> Result<()> {
    for (name, arguments) in variants() {
        let config = configuration(&render(&arguments)?).context(name)?;
        ensure!(config.source == Source::Kubernetes, "{name}");
    }
    let least = configuration(&render(&required())?)?;
    ensure!((least.cluster.as_str(), least.store.url.as_str()) == ("c1", "s3://bucket/root"));
    ensure!(least.mode == Mode::Audit, "the first installation denies nothing");
    ensure!(least.listen.agent.ip().is_loopback() && least.listen.exporter.ip().is_loopback());

    let all = configuration(&render(&variants()[1].1)?)?;
    ensure!(all.mode == Mode::Enforce && all.store.object_lock == ObjectLock::Required);
    ensure!(all.spool.path == Path::new("/srv/podwitness/spool") && all.spool.max_bytes == 1 << 30);
    ensure!(all.seal.key_file == Path::new("/srv/podwitness/key/node.key"));
    ensure!(all.privacy.hmac_key_file == Path::new("/srv/podwitness/privacy/hmac.key"));
    ensure!(all.endpoints.netns == Path::new("/run/netns") && all.connections.max == Some(5000));
    ensure!(all.retention.default == Duration::from_secs(500 * 86_400));
    ensure!(all.startup_taint.is_some() && least.startup_taint.is_none());
    ensure!(all.listen.agent == "[::]:9000".parse()? && all.listen.exporter == "[::]:9001".parse()?);
    Ok(())
}

#[test]
fn no_container_may_do_more_than_its_work_needs() -> Result<()> {
    for (name, arguments) in variants() {
        for object in &render(&arguments)? {
            let Some(pod) = pod(object) else { continue };
            let whose = format!("{name}: {} {}", object["kind"], object["metadata"]["name"]);
            ensure!(pod["automountServiceAccountToken"] == false, "{whose} mounts a token into every container");
            ensure!(pod["hostPID"].is_null() && pod["hostIPC"].is_null(), "{whose}");
            for container in containers(pod) {
                let name = container["name"].as_str().context("a container has a name")?;
                let security = &container["securityContext"];
                ensure!(security["privileged"].is_null(), "{whose}: {name}");
                ensure!(security["capabilities"]["drop"] == json!(["ALL"]), "{whose}: {name}");
                ensure!(security["readOnlyRootFilesystem"] == true, "{whose}: {name}");
                ensure!(security["allowPrivilegeEscalation"] == false, "{whose}: {name}");
                ensure!(security["seccompProfile"]["type"] == "RuntimeDefault", "{whose}: {name}");
                let is_agent = ["agent", "detach"].contains(&name);
                let added = &security["capabilities"]["add"];
                ensure!(
                    if is_agent { added == &json!(["NET_ADMIN", "SYS_ADMIN"]) } else { added.is_null() },
                    "{whose}: {name}"
                );
                let is_root = is_agent || name == "folders";
                ensure!((security["runAsNonRoot"] == true) != is_root, "{whose}: {name}");
                let mounts: BTreeSet<_> = { container["volumeMounts"].as_array().into_iter().flatten() }
                    .filter_map(|mount| mount["name"].as_str())
                    .collect();
                let talks = ["agent", "retain", "status", "wait"].contains(&name);
                ensure!(mounts.contains("token") == talks, "{whose}: {name} has the token or lacks it");
                ensure!(mounts.contains("key") == ["exporter", "folders", "retain"].contains(&name), "{whose}: {name}");
                ensure!(!(is_root && mounts.contains("store-token")), "{whose}: {name}");
            }
        }
    }
    Ok(())
}

/// `SELinux` lets no container into a folder of the node that has no type for it.
#[test]
fn whatever_uses_a_folder_of_the_node_can_have_a_type_that_may() -> Result<()> {
    let types = ["agent.seLinuxOptions.type=spc_t", "exporter.seLinuxOptions.type=spc_t"];
    let objects = render(&[required(), sets(&types)].concat())?;
    let nodes: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "DaemonSet").collect();
    ensure!(nodes.len() == 2, "one, and one that takes it away: {nodes:?}");
    for container in nodes.into_iter().filter_map(pod).flat_map(containers) {
        ensure!(container["securityContext"]["seLinuxOptions"]["type"] == "spc_t", "{container}");
    }
    Ok(())
}

/// Whatever an account may, as `verb resource`.
fn rights(objects: &[Value], name: &str) -> Result<BTreeSet<String>> {
    let role = object(objects, "ClusterRole", name)?;
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().context("a role has rules")? {
        for resource in texts(&rule["resources"]) {
            rights.extend(texts(&rule["verbs"]).iter().map(|verb| format!("{verb} {resource}")));
        }
    }
    Ok(rights)
}

#[test]
fn each_account_may_read_what_its_work_needs_and_write_what_is_its_own() -> Result<()> {
    let read = |kinds: &[&str], verbs: &[&str]| -> BTreeSet<String> {
        kinds.iter().flat_map(|kind| verbs.iter().map(move |verb| format!("{verb} {kind}"))).collect()
    };
    let seven = ["pods", "namespaces", "services", "nodes", "networkpolicies", "endpointslices", "audittrails"];
    let agent = read(&seven, &["list", "watch"]);
    let trails = read(&["namespaces", "audittrails"], &["list", "watch"]);

    let least = render(&required())?;
    ensure!(rights(&least, "podwitness")? == agent);
    ensure!(rights(&least, "podwitness-retain").is_err(), "nothing is deleted that nobody asked for");
    let mut status = trails.clone();
    status.insert("patch audittrails/status".to_owned());
    ensure!(rights(&least, "podwitness-status")? == status);

    let all = render(&variants()[1].1)?;
    let mut with_taint = agent.clone();
    with_taint.extend(read(&["nodes"], &["get", "patch"]));
    ensure!(rights(&all, "podwitness")? == with_taint);
    ensure!(rights(&all, "podwitness-retain")? == trails);
    Ok(())
}

#[test]
fn what_gets_into_the_store_is_in_the_container_that_does_alone() -> Result<()> {
    let objects = render(&variants()[1].1)?;
    let node = pod(object(&objects, "DaemonSet", "podwitness")?).context("it makes pods")?;
    let names = |container: &Value| -> BTreeSet<String> {
        let variables = container["env"].as_array().into_iter().flatten();
        variables.filter_map(|variable| variable["name"].as_str().map(str::to_owned)).collect()
    };
    let exporter = container(node, "exporter")?;
    for name in ["AWS_REGION", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "SSL_CERT_FILE"] {
        ensure!(names(exporter).contains(name), "the exporter lacks {name}");
    }
    ensure!(exporter["envFrom"][0]["secretRef"]["name"] == "store-keys");
    for other in ["agent", "folders"] {
        let other = container(node, other)?;
        ensure!(names(other) == BTreeSet::from(["NODE_NAME".to_owned()]) && other["envFrom"].is_null(), "{other}");
    }
    // What retain says for itself takes the place of all that the exporter has.
    let retain = pod(object(&objects, "CronJob", "podwitness-retain")?).context("it makes pods")?;
    let retain = container(retain, "retain")?;
    ensure!(retain["envFrom"][0]["secretRef"]["name"] == "deleting-keys" && !names(retain).contains("AWS_ROLE_ARN"));
    let status = pod(object(&objects, "CronJob", "podwitness-status")?).context("it makes pods")?;
    ensure!(names(container(status, "status")?).contains("AWS_ROLE_ARN"));
    Ok(())
}

#[test]
fn the_definition_of_audit_trails_goes_with_the_release_unless_it_is_kept() -> Result<()> {
    let name = "audittrails.podwitness.io";
    let least = render(&required())?;
    let definition = object(&least, "CustomResourceDefinition", name)?;
    ensure!(definition["spec"]["names"]["kind"] == "AuditTrail" && definition["metadata"]["annotations"].is_null());
    ensure!(!chart().join("crds").exists(), "helm installs what is there, and never takes it away");
    let kept = render(&[required(), sets(&["crds.keep=true"])].concat())?;
    let kept = &object(&kept, "CustomResourceDefinition", name)?["metadata"];
    ensure!(kept["annotations"]["helm.sh/resource-policy"] == "keep" && kept["name"] == name);
    let without = render(&[required(), sets(&["crds.install=false"])].concat())?;
    ensure!(object(&without, "CustomResourceDefinition", name).is_err());
    Ok(())
}

#[test]
fn what_takes_the_release_away_lives_no_longer_than_that() -> Result<()> {
    let objects = render(&[required(), sets(&["serviceAccounts.node.annotations.a=b"])].concat())?;
    let hooks: Vec<&Value> = objects.iter().filter(|object| is_hook(object)).collect();
    ensure!(hooks.len() == 7, "{} hooks", hooks.len());
    for hook in hooks {
        let annotations = &hook["metadata"]["annotations"];
        ensure!(annotations["helm.sh/hook"] == "post-delete", "{hook}");
        let is_node = hook["kind"] == "ServiceAccount" && hook["metadata"]["name"] == "podwitness";
        ensure!((annotations["a"] == "b") == is_node, "the annotations of an account are on the account: {hook}");
        ensure!(annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded", "{hook}");
    }
    // What was let in by a quota of the release is to be let in again when that quota is gone.
    let with_quota = render(&[required(), sets(&["priorityQuota=true"])].concat())?;
    let (after, before): (Vec<&Value>, Vec<&Value>) =
        with_quota.iter().filter(|object| object["kind"] == "ResourceQuota").partition(|object| is_hook(object));
    ensure!(before.len() == 1 && after.len() == 1 && before[0]["spec"] == after[0]["spec"], "{before:?} {after:?}");
    ensure!(after[0]["metadata"]["annotations"]["helm.sh/hook-weight"] == "-1", "{after:?}");
    let none = render(&[required(), sets(&["uninstall.cleanNodes=false", "priorityQuota=true"])].concat())?;
    ensure!(!none.iter().any(is_hook));
    Ok(())
}
