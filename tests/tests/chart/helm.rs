//! `helm`, and what it renders.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Below the repository's root.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// The chart's folder.
pub(crate) fn chart() -> PathBuf {
    path("deploy/helm/podwitness")
}

/// A file of values of these tests.
pub(crate) fn values(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart/values").join(name)
}

/// A program of the PATH, or of what the set-up script has put into its cache.
pub(crate) fn tool(name: &str) -> Result<Command> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = folder("HOME").context("HOME is not set")?;
    let cache = folder("PODWITNESS_CACHE")
        .unwrap_or_else(|| folder("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("podwitness"));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let cached = ["kubernetes/bin", "kubernetes/packages/usr/bin"].map(|folder| cache.join(folder));
    let found = cached.into_iter().chain(std::env::split_paths(&on_path)).map(|folder| folder.join(name));
    let program = { found }.find(|path| path.is_file());
    Ok(Command::new(program.with_context(|| format!("{name} is not there: run deploy/dev/setup --cluster"))?))
}

/// Runs `helm`.
pub(crate) fn helm(arguments: &[&str], more: &[String]) -> Result<Output> {
    tool("helm")?.args(arguments).arg(chart()).args(more).output().context("cannot run helm")
}

/// The values that have no default, as arguments.
pub(crate) fn required() -> Vec<String> {
    sets(&["cluster=c1", "store.url=s3://bucket/root"])
}

/// `--set` for each.
pub(crate) fn sets(values: &[&str]) -> Vec<String> {
    values.iter().flat_map(|value| ["--set".to_owned(), (*value).to_owned()]).collect()
}

/// `helm template`, refused or not.
pub(crate) fn template(arguments: &[String]) -> Result<Output> {
    let kube = ["template", "podwitness", "--namespace", "watch", "--kube-version", "1.35.4"];
    helm(&kube, arguments)
}

/// The objects that the chart is rendered to.
pub(crate) fn render(arguments: &[String]) -> Result<Vec<Value>> {
    let output = template(arguments)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects: Vec<Value> = serde_saphyr::from_multiple(std::str::from_utf8(&output.stdout)?)?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// The one object of this kind and name that is no hook.
pub(crate) fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name && !is_hook(object);
    objects.iter().find(is_it).with_context(|| format!("there is no {kind} {name}"))
}

/// Whether helm makes it only while the release is taken away.
pub(crate) fn is_hook(object: &Value) -> bool {
    object["metadata"]["annotations"]["helm.sh/hook"].is_string()
}

/// What a pod of this object is made of, where it makes pods.
pub(crate) fn pod(object: &Value) -> Option<&Value> {
    let spec = &object["spec"];
    let spec = if object["kind"] == "CronJob" { &spec["jobTemplate"]["spec"] } else { spec };
    Some(&spec["template"]["spec"]).filter(|pod| pod.is_object())
}

/// Its containers, those too that run first.
pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().flat_map(|key| pod[key].as_array().into_iter().flatten())
}

/// The container of this name.
pub(crate) fn container<'a>(pod: &'a Value, name: &str) -> Result<&'a Value> {
    containers(pod).find(|container| container["name"] == name).with_context(|| format!("there is no container {name}"))
}
