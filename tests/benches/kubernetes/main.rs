//! The agent as it runs on a node, at a real API server that has 100 to 10,000 pods: its memory and processor time, how long
//! it takes to start, and how long a policy takes from its write until packets are decided by it, while nothing else happens and
//! while pods come and go. `make bench-kubernetes` runs it.
//!
//! The API server is that of `tests/cluster`, without nodes and controllers: every object is made here. The node is one of
//! `podwitness_lab`, on the network of the API server; the pods on it are network namespaces. The agent has the rights that
//! the manifests give it, and no others.
//!
//! What is in force is told by packets: a datagram is sent each half of a millisecond between two pods of the node, and the
//! policy that is written opens and closes their way. The moment of a change is that at which the first datagram was sent that
//! was decided otherwise; the one before it says how much earlier it may have been.
//!
//! The last processor is the node's: the agent runs there, and what sees and sends packets. The control plane and what makes
//! the objects have the others, because they would be on other machines.
//!
//! | variable | |
//! | --- | --- |
//! | `PODWITNESS_BENCH_PODS` | how many pods, with commas between the numbers, which grow (100,1000,10000) |
//! | `PODWITNESS_BENCH_WRITES` | policies that are timed in each situation (200) |
//! | `PODWITNESS_BENCH_SECONDS` | for how long pods come and go, at the least (30) |

#![expect(clippy::cast_precision_loss, reason = "numbers are told with three digits")]

mod api;
mod node;
mod objects;
mod population;
mod probe;
mod process;
mod processors;
mod report;
mod times;
mod writer;

use std::env;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use podwitness_tests::cluster::{Cluster, repository};
use podwitness_tests::memory::Memory;

use api::Api;
use node::Node;
use population::{Population, churn};
use process::Cpu;
use report::Size;
use times::Times;
use writer::{Writer, event_loop};

/// How long the agent may take to have everything in force.
const LIMIT: Duration = Duration::from_secs(120);
/// For how long the agent is left alone: before its memory is looked at, and for its processor time.
const SETTLED: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(10);

/// How much is measured.
struct Extent {
    writes: usize,
    churn: Duration,
}

fn main() -> Result<()> {
    podwitness_lab::isolate()?;
    let sizes = env::var("PODWITNESS_BENCH_PODS").unwrap_or_else(|_| "100,1000,10000".to_owned());
    let sizes: Vec<usize> = sizes
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .context("PODWITNESS_BENCH_PODS is numbers of pods with commas between them")?;
    // Those of the agent's node are in two namespaces, which must be there.
    let is_growing = sizes.is_sorted_by(|one, next| one < next) && sizes.first().is_some_and(|first| *first >= 100);
    ensure!(is_growing, "PODWITNESS_BENCH_PODS is numbers of pods that grow, from 100 on");
    let extent = Extent {
        writes: number("PODWITNESS_BENCH_WRITES", 200)?,
        churn: Duration::from_secs(number("PODWITNESS_BENCH_SECONDS", 30)?),
    };
    processors::take_those_of_control_plane()?;
    let cluster = Cluster::start("podwitness-bench", &["--control-plane", "--no-controllers"])?;
    // Connections are made in the network of the thread that makes them.
    let measured = cluster.netns()?.run(|| measure_all(&cluster, &sizes, &extent))??;
    report::print(&measured);
    Ok(())
}

fn number<T: FromStr>(variable: &str, without: T) -> Result<T> {
    let Ok(given) = env::var(variable) else { return Ok(without) };
    given.parse().map_err(|_| anyhow!("{variable} is a number"))
}

fn measure_all(cluster: &Cluster, sizes: &[usize], extent: &Extent) -> Result<Vec<Size>> {
    let admin = cluster.kubeconfig();
    let manifests = repository("deploy/manifests/podwitness.yaml");
    cluster.kubectl(&["apply", "--filename", manifests.to_str().context("a path of this repository is text")?])?;
    cluster.kubectl(&["wait", "--for=condition=Established", "crd/audittrails.podwitness.io"])?;

    let runtime = event_loop()?;
    let api = runtime.block_on(Api::new(&admin))?;
    let mut population = Population::new(node::NAME, &node::addresses());
    runtime.block_on(population.begin(&api))?;
    let mut writer = None;
    let mut measured = Vec::new();
    for pods in sizes {
        let begin = Instant::now();
        runtime.block_on(population.grow(&api, *pods))?;
        let writer = match &mut writer {
            Some(writer) => writer,
            none => {
                runtime.block_on(async {
                    for policy in objects::probe_policies() {
                        api.create(&api::policies(objects::CLIENT.namespace), &policy).await?;
                    }
                    anyhow::Ok(())
                })?;
                none.insert(Writer::start(&admin)?)
            }
        };
        let [pods, policies] = ["/api/v1/pods", "/apis/networking.k8s.io/v1/networkpolicies"].map(|path| {
            let list = runtime.block_on(api.get(path))?;
            let list: serde_json::Value = serde_json::from_str(&list)?;
            let items = list["items"].as_array().context("a list has items")?;
            let bytes: usize = items.iter().map(|item| item.to_string().len()).sum();
            anyhow::Ok((items.len(), bytes / items.len().max(1)))
        });
        let (pods, policies) = (pods?, policies?);
        println!(
            "\n{} pods of {} bytes, {} policies of {} bytes, {} namespaces; made in {:.0} s",
            pods.0,
            pods.1,
            policies.0,
            policies.1,
            population.namespaces(),
            begin.elapsed().as_secs_f64()
        );
        // What runs on the node is started by threads that are there.
        let node = processors::on_that_of_node(|| Node::make(cluster))?;
        measured.push(measure(&node, writer, &admin, &mut population, pods.0, extent)?);
    }
    Ok(measured)
}

fn measure(
    node: &Node,
    writer: &Writer,
    admin: &Path,
    population: &mut Population,
    pods: usize,
    extent: &Extent,
) -> Result<Size> {
    let probe = node.probe()?;
    writer.write(false)?;
    // No agent has been here: the way is open until one decides.
    probe.wait(true, Instant::now(), LIMIT)?;
    let begin = Instant::now();
    let mut agent = node.start_agent()?;
    let to_in_force = probe.wait(false, begin, LIMIT).with_context(|| agent.log_tail(20))?.at - begin;
    agent.wait_ready(LIMIT)?;
    let pid = agent.pid();
    let cpu_of_start = Cpu::of(pid)?;
    thread::sleep(SETTLED);
    let memory_at_first = Memory::of(pid)?;
    println!(
        "  started: in force after {:.2} s, with {:.2} s of processor time ({} bytes resident)",
        to_in_force.as_secs_f64(),
        cpu_of_start.total().as_secs_f64(),
        memory_at_first.resident,
    );

    probe.pause(true);
    let (idle, ()) = cpu_over(pid, || {
        thread::sleep(IDLE);
        Ok(())
    })?;
    probe.pause(false);

    let (in_quiet, quiet) = cpu_over(pid, || writer.time(&probe, |times| times.len() >= extent.writes))?;
    quiet.print("in quiet");
    println!("    processor: {in_quiet}");

    let admin: PathBuf = admin.to_owned();
    let is_stopping = AtomicBool::new(false);
    let (in_churn, (busy, churned)) = cpu_over(pid, || {
        thread::scope(|scope| {
            let churning = scope.spawn(|| {
                let runtime = event_loop()?;
                runtime.block_on(async { churn(&Api::new(&admin).await?, population, &is_stopping).await })
            });
            let begin = Instant::now();
            let is_enough = |times: &Times| {
                churning.is_finished() || times.len() >= extent.writes && begin.elapsed() >= extent.churn
            };
            let timed = writer.time(&probe, is_enough);
            is_stopping.store(true, Ordering::Relaxed);
            let churned = churning.join().map_err(|_| anyhow!("what makes pods come and go has panicked"))??;
            Ok((timed?, churned))
        })
    })?;
    busy.print("while pods come and go");
    println!(
        "    {:.1} pods/s went and as many came, processor: {in_churn}",
        f64::from(churned.pods) / churned.time.as_secs_f64()
    );
    thread::sleep(SETTLED);
    let memory_at_last = Memory::of(pid)?;
    let ended = agent.terminate(LIMIT)?;
    ensure!(ended.success(), "the agent ended with {ended}");
    Ok(Size {
        pods,
        to_in_force,
        cpu_of_start: cpu_of_start.total(),
        memory_at_first,
        memory_at_last,
        idle: idle.percent,
        in_churn: in_churn.percent,
        waited_in_churn: in_churn.waited,
        quiet,
        busy,
    })
}

/// A share of one processor, and by which threads.
struct Share {
    percent: f64,
    by_thread: String,
    /// The share of the time for which it waited for a processor.
    waited: f64,
}

impl std::fmt::Display for Share {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.1} % ({}), waited for one {:.1} %", self.percent, self.by_thread, self.waited)
    }
}

/// Does something, and says what the agent took of the processor meanwhile.
fn cpu_over<T>(pid: u32, work: impl FnOnce() -> Result<T>) -> Result<(Share, T)> {
    let (before, begin) = (Cpu::of(pid)?, Instant::now());
    let done = work()?;
    let (took, time) = (Cpu::of(pid)?.since(&before), begin.elapsed());
    let [percent, waited] = [took.total(), took.waited()].map(|of| process::percent(of, time));
    Ok((Share { percent, by_thread: took.shares(time), waited }, done))
}
