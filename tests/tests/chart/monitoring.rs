//! Alerts and dashboard: every metric, label and value that they ask for is one that the programs emit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::PodSpec;
use podwitness_tests::scenario::{Scenario, wait};
use podwitness_tests::traffic::{ANSWER_LIMIT, PROTOCOLS, probe, serve};
use serde_json::Value;

use crate::expressions::read;
use crate::helm::{chart, object, path, render, sets, tool, values};

/// What the scraping adds to every series: the `PodMonitor`'s own relabelling, and what Prometheus and its operator set.
const OF_SCRAPING: [&str; 4] = ["job", "instance", "endpoint", "node"];

/// What is emitted: the names, and for each label of each the values that were seen.
struct Emitted(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Emitted {
    fn read(texts: &[String]) -> Result<Self> {
        let mut all: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        // Of the scraping itself.
        all.entry("up".to_owned()).or_default();
        for line in texts.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('#')) {
            let (series, _) = line.rsplit_once(' ').context("a line has a value")?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let seen = all.entry(name.to_owned()).or_default();
            for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
                let (label, value) = label.split_once('=').context("a label has a value")?;
                seen.entry(label.to_owned()).or_default().insert(value.trim_matches('"').to_owned());
            }
        }
        Ok(Self(all))
    }

    fn check(&self, expression: &str, shown: &[String]) -> Result<()> {
        let asked = read(expression)?;
        ensure!(!asked.selectors.is_empty(), "it asks for nothing");
        let mut labels: BTreeSet<String> = OF_SCRAPING.map(str::to_owned).into();
        for selector in &asked.selectors {
            let metric = &selector.metric;
            let seen = self.0.get(metric).with_context(|| format!("nothing emits {metric}"))?;
            labels.extend(seen.keys().cloned());
            for matcher in selector.matchers.iter().filter(|matcher| !OF_SCRAPING.contains(&matcher.label.as_str())) {
                let found =
                    seen.get(&matcher.label).with_context(|| format!("{metric} has no label {}", matcher.label))?;
                let is_there = matcher.value.as_ref().is_none_or(|value| found.contains(value));
                ensure!(is_there, "{metric} has no such {matcher:?}, but {found:?}");
            }
        }
        if let Some(grouped) = asked.grouped_by {
            ensure!(grouped.is_subset(&labels), "it groups by {grouped:?}, and there are {labels:?}");
            labels = grouped;
        }
        for label in shown {
            ensure!(labels.contains(label), "the label {label} is shown, and there are {labels:?}");
        }
        Ok(())
    }
}

/// The labels that a text shows, each between `before` and `after`.
fn shown(text: &str, before: &str, after: &str) -> Vec<String> {
    text.split(before).skip(1).filter_map(|part| Some(part.split_once(after)?.0.trim().to_owned())).collect()
}

/// The metrics of both programs that have had something to do.
fn emitted() -> Result<Emitted> {
    let mut scenario = Scenario::new()?.set("seal.interval", "1s");
    scenario.cluster.namespace("shop", &[])?;
    let pods = [("one", "10.5.0.1"), ("two", "10.5.0.2")]
        .map(|(name, address)| scenario.pod(PodSpec::new("shop", name, &[address.parse()?])));
    let [one, two] = pods;
    let (one, two) = (one?, two?);
    scenario.cluster.policy("shop", "one-port", "{podSelector: {}, ingress: [{ports: [{port: 8000}]}]}")?;
    let _servers = serve(&two, &[8000])?;
    scenario.start()?;
    for protocol in PROTOCOLS {
        probe(&one, protocol, 40_000, (two.addresses()[0], 8000).into(), ANSWER_LIMIT)?;
    }
    wait("something is in the store, and sealed", || {
        Ok(scenario.exporter_metric("podwitness_exporter_records_exported_total")? > 0
            && scenario.exporter_metric("podwitness_exporter_seals_total")? > 1)
    })?;
    let texts = [scenario.agent()?.get("/metrics")?.1, scenario.exporter()?.get("/metrics")?.1];
    Emitted::read(&texts)
}

#[test]
fn everything_that_alerts_and_dashboard_ask_for_is_emitted() -> Result<()> {
    let emitted = emitted()?;
    let alerts: Value = serde_saphyr::from_str(&fs::read_to_string(chart().join("alerts/podwitness.yaml"))?)?;
    let rules = alerts["groups"][0]["rules"].as_array().context("there are rules")?;
    ensure!(rules.len() > 10, "there are rules");
    for rule in rules {
        let text = rule["annotations"].to_string();
        let expression = rule["expr"].as_str().context("a rule has an expression")?;
        emitted
            .check(expression, &shown(&text, "$labels.", " "))
            .with_context(|| format!("alert {}", rule["alert"]))?;
    }
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(chart().join("dashboards/podwitness.json"))?)?;
    let panels = dashboard["panels"].as_array().context("there are panels")?;
    ensure!(panels.len() > 10, "there are panels");
    for panel in panels {
        for target in panel["targets"].as_array().context("a panel has targets")? {
            let legend = target["legendFormat"].as_str().context("a target has a legend")?;
            let expression = target["expr"].as_str().context("a target has an expression")?;
            let checked = emitted.check(expression, &shown(legend, "{{", "}}"));
            checked.with_context(|| format!("panel {}", panel["title"]))?;
        }
    }
    for variable in dashboard["templating"]["list"].as_array().context("there are variables")? {
        if let Some(query) = variable["query"].as_str().filter(|query| query.starts_with("label_values(")) {
            let metric = query.trim_start_matches("label_values(").split(',').next().context("it names a metric")?;
            emitted.check(metric, &[]).with_context(|| format!("variable {}", variable["name"]))?;
        }
    }
    ensure!(emitted.check("podwitness_agent_nothing", &[]).is_err(), "what is not emitted is found");
    let refused = emitted.check("podwitness_agent_kernel_events_total{what=\"nothing\"}", &[]);
    ensure!(refused.is_err(), "and so is a value that is not");
    Ok(())
}

#[test]
fn the_labels_of_scraping_are_those_that_the_pod_monitor_gives() -> Result<()> {
    let objects = render(&["--values".to_owned(), values("everything.yaml").display().to_string()])?;
    let monitor = &object(&objects, "PodMonitor", "podwitness")?["spec"];
    ensure!(monitor["jobLabel"] == "app.kubernetes.io/name");
    let daemonset = object(&objects, "DaemonSet", "podwitness")?;
    let pod = &daemonset["spec"]["template"];
    for (label, value) in monitor["selector"]["matchLabels"].as_object().context("it selects by labels")? {
        ensure!(&pod["metadata"]["labels"][label] == value, "it selects other pods: {label}");
    }
    ensure!(pod["metadata"]["labels"]["app.kubernetes.io/name"] == "podwitness", "job is what the expressions say");
    let ports: BTreeSet<_> = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| container["ports"][0]["name"].as_str())
        .collect();
    let endpoints = monitor["podMetricsEndpoints"].as_array().context("it has endpoints")?;
    ensure!(endpoints.iter().filter_map(|endpoint| endpoint["port"].as_str()).collect::<BTreeSet<_>>() == ports);
    for endpoint in endpoints {
        ensure!(endpoint["relabelings"][0]["targetLabel"] == "node");
    }
    // The objects hold the very files that are tested here.
    let rules: Value = serde_saphyr::from_str(&fs::read_to_string(chart().join("alerts/podwitness.yaml"))?)?;
    ensure!(object(&objects, "PrometheusRule", "podwitness")?["spec"] == rules);
    let dashboard = &object(&objects, "ConfigMap", "podwitness-dashboard")?["data"]["podwitness.json"];
    let dashboard: Value = serde_json::from_str(dashboard.as_str().context("it is text")?)?;
    ensure!(dashboard["uid"] == "podwitness");
    let plain = render(&[crate::helm::required(), sets(&["listen.address=0.0.0.0"])].concat())?;
    ensure!(object(&plain, "PodMonitor", "podwitness").is_err(), "it is made only where it is asked for");
    Ok(())
}

#[test]
fn prometheus_takes_the_alerts_and_fires_them_when_it_should() -> Result<()> {
    for arguments in [["check", "rules"], ["test", "rules"]] {
        let file = match arguments[0] {
            "check" => chart().join("alerts/podwitness.yaml"),
            _ => path("tests/tests/chart/alerts.test.yaml"),
        };
        let output = tool("promtool")?.args(arguments).arg(file).output().context("cannot run promtool")?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "{said}");
    }
    Ok(())
}
