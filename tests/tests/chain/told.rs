//! What the person is told when something is wrong: one sentence that says what, where and what to do, and the exit code.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::{Outcome, PodSpec, Program};
use podwitness_policy::Protocol;
use podwitness_tests::scenario::{Scenario, wait};
use podwitness_tests::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, SourcePorts, probe, serve};

/// A user and a group that own nothing.
const UNPRIVILEGED: u32 = 54321;

/// The exit code of a program that ends by itself, and the whole of what it has said.
fn told(mut program: Program) -> Result<(i32, String)> {
    let mut code = None;
    wait("the program ends by itself", || {
        code = program.ended()?.map(|status| status.code());
        Ok(code.is_some())
    })?;
    let code = code.flatten().context("it was ended by a signal")?;
    Ok((code, program.log_tail(usize::MAX)))
}

/// A program of the lab with its configuration, to be run by the test itself.
fn command(scenario: &Scenario, name: &str) -> Command {
    let mut command = scenario.lab.node().command(scenario.lab.path().join("bin").join(name));
    command.env_clear().arg("--config").arg(scenario.installation.configuration_path());
    command
}

fn error_of(output: &Output) -> Result<(i32, String)> {
    Ok((output.status.code().context("it was ended by a signal")?, String::from_utf8(output.stderr.clone())?))
}

/// That the text is this one line.
fn is_line(text: &str, line: &str) -> Result<()> {
    ensure!(text.trim_end() == line, "it should say\n{line}\nand says\n{text}");
    Ok(())
}

#[test]
fn every_fault_of_a_configuration_is_named_at_once_with_its_key() -> Result<()> {
    let scenario = Scenario::new()?
        .set("mode", "enforced")
        .set("batch.maxAge", "soon")
        .set("events.ringBytes", 5000)
        .set("endpoints.netnss", "/run/netns")
        .set("listen.agent", "127.0.0.1");
    for program in [scenario.installation.start_agent()?, scenario.installation.start_exporter()?] {
        let (code, said) = told(program)?;
        println!("{said}\n");
        ensure!(code == 2, "the exit code is {code}");
        for key in ["mode", "batch.maxAge", "events.ringBytes", "endpoints.netnss", "listen.agent"] {
            ensure!(said.contains(&format!(": {key}: ")), "{key} is not named in:\n{said}");
        }
    }
    Ok(())
}

#[test]
fn who_is_not_root_is_told_so() -> Result<()> {
    let mut scenario = Scenario::new()?;
    scenario.start_agent()?;
    scenario.wait_agent()?;
    scenario.stop_agent()?;
    // Without the lab's network, into which only root can go; it does not come so far as to need it.
    let output = Command::new(scenario.lab.path().join("bin/podwitness-agent"))
        .env_clear()
        .arg("--config")
        .arg(scenario.installation.configuration_path())
        .uid(UNPRIVILEGED)
        .gid(UNPRIVILEGED)
        .output()?;
    let (code, said) = error_of(&output)?;
    println!("{said}");
    ensure!(code == 2 && said.lines().count() == 1, "{code}: {said}");
    ensure!(said.contains("root"), "it does not say what to do: {said}");
    Ok(())
}

#[test]
fn a_folder_that_is_no_bpf_file_system_is_named() -> Result<()> {
    let scenario = Scenario::new()?;
    let folder = scenario.lab.path().join("plain/podwitness");
    let scenario = scenario.set("bpffs", folder.to_str());
    let (code, said) = told(scenario.installation.start_agent()?)?;
    println!("{said}");
    ensure!(code == 2, "the exit code is {code}");
    is_line(
        &said,
        &format!(
            "error: {} is not on a BPF file system, so that hooks and maps could not outlive the agent: mount one there \
             (`mount -t bpf bpf <folder>`) or set `bpffs` to a folder on one",
            folder.display()
        ),
    )
}

#[test]
fn a_second_agent_is_refused_and_the_first_does_not_notice() -> Result<()> {
    let mut scenario = Scenario::new()?;
    scenario.start()?;
    let configuration = fs::read_to_string(scenario.installation.configuration_path())?;
    let generation = scenario.agent_metric("podwitness_agent_table_generation")?;

    // With the same configuration, and with all of its own but the pins.
    let (code, said) = error_of(&command(&scenario, "podwitness-agent").output()?)?;
    println!("{said}");
    ensure!(code == 2 && said.lines().count() == 1, "{code}: {said}");
    let spool = scenario.installation.spool_path().display().to_string();
    ensure!(said.contains(&spool), "the spool is not named: {said}");

    let own = configuration.replace(&spool, &format!("{spool}2")).replace("127.0.0.1:94", "127.0.0.1:95");
    ensure!(own != configuration);
    let path = scenario.lab.path().join("second.yaml");
    fs::write(&path, own)?;
    let agent = scenario.lab.path().join("bin/podwitness-agent");
    let output = scenario.lab.node().command(agent).env_clear().arg("--config").arg(path).output()?;
    let (code, said) = error_of(&output)?;
    println!("{said}");
    ensure!(code == 2, "the exit code is {code}");
    let pins = scenario.lab.bpffs_path().join("podwitness");
    is_line(
        &said,
        &format!(
            "error: another agent holds the pins under {}: stop it first, or set `bpffs` to another folder",
            pins.display()
        ),
    )?;

    ensure!(scenario.agent()?.is_ready()?, "the first is not ready any more");
    ensure!(scenario.agent_metric("podwitness_agent_table_generation")? == generation);
    scenario.stop(0)?;
    Ok(())
}

#[test]
fn a_bad_object_is_named_and_the_others_are_in_force() -> Result<()> {
    let mut scenario = Scenario::new()?;
    scenario.cluster.namespace("shop", &[])?;
    let one = scenario.pod(PodSpec::new("shop", "one", &["10.3.0.1".parse()?]))?;
    let two = scenario.pod(PodSpec::new("shop", "two", &["10.3.0.2".parse()?]))?;
    let _servers = serve(&two, &[80, 81])?;
    scenario.cluster.policy("shop", "on-80", "{podSelector: {}, ingress: [{ports: [{port: 80}]}]}")?;
    scenario.cluster.write("broken.yaml", "apiVersion: v1\nkind: [\n")?;
    let good = "apiVersion: v1\nkind: Namespace\nmetadata: {name: extra}\n";
    let bad = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: odd, namespace: shop}\n\
               spec: {podSelector: {matchLabels: {app: none}}, ingress: [{ports: [{port: 99999}]}]}\n";
    scenario.cluster.write("second.yaml", &format!("{good}---\n{bad}"))?;
    scenario.start_exporter()?;
    scenario.start_agent()?;
    wait("the rest is in force, and that it is not all is said", || {
        let unread = (503, "everything in the source can be read\n".to_owned());
        Ok(scenario.agent()?.get("/readyz").is_ok_and(|answer| answer == unread)
            && scenario.agent_metric("podwitness_agent_endpoints")? == 2)
    })?;

    let log = scenario.agent()?.log_tail(usize::MAX);
    println!("{log}");
    let warning = |file: &str| {
        let mut lines = log.lines().filter(|line| line.contains("WARN"));
        lines.find(|line| line.contains(file)).with_context(|| format!("{file} is not named"))
    };
    ensure!(warning("broken.yaml")?.contains("line 2"), "the place of the fault is not named");
    let second = warning("second.yaml")?;
    for word in ["document 2", "shop/odd", "99999"] {
        ensure!(second.contains(word), "`{word}` is not in: {second}");
    }
    ensure!(scenario.agent_metric("podwitness_agent_faults{place=\"objects\"}")? == 2);

    let ports = SourcePorts::default();
    let to = |port: u16| std::net::SocketAddr::from(([10, 3, 0, 2], port));
    let allowed = probe(&one, Protocol::Tcp, ports.next()?, to(80), ANSWER_LIMIT)?;
    let denied = probe(&one, Protocol::Tcp, ports.next()?, to(81), DENIAL_LIMIT)?;
    ensure!((allowed.outcome, denied.outcome) == (Outcome::Answered, Outcome::TimedOut), "{allowed:?} {denied:?}");

    // Mended: the faults are gone and what was meant is there.
    scenario.cluster.remove("broken.yaml")?;
    scenario.cluster.write("second.yaml", good)?;
    scenario.wait_agent()?;
    wait("no object has a fault", || Ok(scenario.agent_metric("podwitness_agent_faults{place=\"objects\"}")? == 0))?;
    scenario.stop(3)?;
    Ok(())
}

#[test]
fn a_store_that_refuses_is_named_and_takes_everything_once_it_is_mended() -> Result<()> {
    let mut scenario = Scenario::new()?;
    let in_the_way: PathBuf = scenario.installation.evidence_path().join("store");
    fs::write(&in_the_way, "a file where a folder should be")?;
    let root = in_the_way.join("root");
    scenario = scenario.set("store.url", root.to_str());
    scenario.cluster.namespace("shop", &[])?;
    let one = scenario.pod(PodSpec::new("shop", "one", &["10.3.0.1".parse()?]))?;
    let two = scenario.pod(PodSpec::new("shop", "two", &["10.3.0.2".parse()?]))?;
    let _servers = serve(&two, &[80])?;
    scenario.start_agent()?;
    scenario.wait_agent()?;
    probe(&one, Protocol::Tcp, 20_000, "10.3.0.2:80".parse()?, ANSWER_LIMIT)?;
    scenario.start_exporter()?;
    wait("the exporter says that the store refuses", || {
        let (status, said) = scenario.exporter()?.get("/readyz").unwrap_or_default();
        let is_told = scenario.exporter()?.log_tail(50).contains("WARN");
        Ok(is_told && status == 503 && said.lines().any(|line| line.starts_with("store takes evidence: cannot write ")))
    })?;
    let log = scenario.exporter()?.log_tail(usize::MAX);
    println!("{log}");
    let warning = log.lines().find(|line| line.contains("WARN")).context("there is no warning")?;
    for word in [root.to_str().context("the path is text")?, "it is tried again until it succeeds"] {
        ensure!(warning.contains(word), "`{word}` is not in: {warning}");
    }

    fs::remove_file(&in_the_way)?;
    wait("the exporter is ready", || scenario.exporter()?.is_ready().map_err(Into::into))?;
    scenario.wait_settled(2)?;
    scenario.stop_agent()?;
    scenario.stop_exporter()?;
    let evidence = podwitness_tests::evidence::Evidence::read(&root)?;
    ensure!(evidence.events("open").count() == 2 && evidence.events("close").count() == 2);
    Ok(())
}
