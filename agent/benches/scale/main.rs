//! The controller about clusters of 100 to 10,000 pods, on the kernel of this machine: how long a change takes from the
//! moment at which it is told to that at which it is in force, in which step, and how much memory there is to it.
//! `make bench-scale` runs it.
//!
//! Other processes make the clock on the wall lie; what counts is the processor's time beside it, and how both grow.

#![expect(clippy::cast_precision_loss, reason = "times are told with three digits")]

mod cluster;
mod memory;
mod stages;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use podwitness_agent::bench::Agent;
use podwitness_endpoints::Endpoint;
use podwitness_policy::{Cluster, Pod};

use cluster::{NODE, Which, changed, is_local};
use stages::{Applied, Cost, HOOK};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

const ISOLATED: &str = "PODWITNESS_BENCH_ISOLATED";
const BPFFS: &str = "/run/bpf";
/// Changes of each kind, one after the other.
const REPEATED: usize = 40;
/// The time between changes of policies, so that none has to do with the one before.
const APART: Duration = Duration::from_millis(100);
/// After this time the hooks of a pod that came are being put on, which takes longer.
const BEGUN: Duration = Duration::from_millis(5);
/// How often pods come and go in the storm, and for how long.
const EVERY: Duration = Duration::from_millis(10);
const STORM: usize = 1000;

fn main() -> Result<()> {
    if std::env::var_os(ISOLATED).is_none() {
        let status = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "--"])
            .arg(std::env::current_exe()?)
            .env(ISOLATED, "yes")
            .status()
            .context("unshare (util-linux) is not there")?;
        std::process::exit(status.code().unwrap_or(1));
    }
    run("mount -t tmpfs tmpfs /run")?;
    fs::create_dir(BPFFS)?;
    run(&format!("mount -t bpf bpf {BPFFS}"))?;
    run("ip link set lo up")?;

    let applied = stages::follow();
    let sizes = std::env::var("PODWITNESS_BENCH_PODS").unwrap_or_else(|_| "100,1000,10000".to_owned());
    let mut growth: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (number, pods) in sizes.split(',').enumerate() {
        let pods: usize = pods.parse().context("PODWITNESS_BENCH_PODS is numbers of pods with commas between them")?;
        for (kind, times) in measure(number, pods, &applied)? {
            let [median, most] = [0.5, 0.99].map(|share| times.wall(share));
            growth.entry(kind).or_default().push(format!("{:8.2} {:8.2}", milliseconds(median), milliseconds(most)));
        }
    }
    println!("\nfrom told to in force, ms, median and 99 % for {sizes} pods");
    for (kind, of) in growth {
        println!("  {kind:22} {}", of.join("  |"));
    }
    Ok(())
}

/// What many changes of one kind took.
#[derive(Default)]
struct Times {
    /// Each step of each change.
    steps: BTreeMap<&'static str, Vec<Cost>>,
    /// From told to in force.
    walls: Vec<Duration>,
}

impl Times {
    fn add(&mut self, told: Instant, applied: Applied) {
        self.walls.push(applied.at.saturating_duration_since(told));
        for (step, cost) in applied.steps {
            self.steps.entry(step).or_default().push(cost);
        }
    }

    fn wall(&self, share: f64) -> Duration {
        at(self.walls.clone(), share)
    }

    fn print(&self, kind: &str) {
        println!(
            "  {kind}: median {:.2} ms, 99 % within {:.2} ms",
            milliseconds(self.wall(0.5)),
            milliseconds(self.wall(0.99))
        );
        for (step, costs) in &self.steps {
            let cpu = |share| milliseconds(at(costs.iter().map(|cost| cost.cpu).collect(), share));
            let wall = |share| milliseconds(at(costs.iter().map(|cost| cost.wall).collect(), share));
            println!(
                "    {step:10} CPU {:8.3} {:8.3}   wall {:8.3} {:8.3}   {} times",
                cpu(0.5),
                cpu(0.99),
                wall(0.5),
                wall(0.99),
                costs.len()
            );
        }
    }
}

/// The value below which so large a share of them lies.
fn at(mut of: Vec<Duration>, share: f64) -> Duration {
    of.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a place in the list")]
    let place = ((of.len() as f64 * share).ceil() as usize).clamp(1, of.len().max(1)) - 1;
    of.get(place).copied().unwrap_or_default()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A running agent, and what it was told.
struct Bench<'a> {
    agent: Agent,
    applied: &'a Receiver<Applied>,
    cluster: Arc<Cluster>,
    endpoints: Vec<Endpoint>,
    changes: u64,
    /// Hooks that came while something else was waited for.
    hooked: VecDeque<Applied>,
}

impl Bench<'_> {
    /// Tells a change and waits until it is in force.
    fn change(&mut self, times: &mut Times, change: impl FnOnce(&mut Cluster)) -> Result<()> {
        self.cluster = changed(&self.cluster, change);
        let told = Instant::now();
        self.agent.tell_cluster(&self.cluster)?;
        self.changes += 1;
        times.add(told, self.wait()?);
        Ok(())
    }

    fn wait(&mut self) -> Result<Applied> {
        loop {
            let applied = self.next()?;
            if applied.changes >= self.changes {
                return Ok(applied);
            }
            if applied.steps.contains_key(HOOK) {
                self.hooked.push_back(applied);
            }
        }
    }

    fn wait_for_hooks(&mut self) -> Result<Applied> {
        loop {
            let applied = self.hooked.pop_front().map_or_else(|| self.next(), Ok)?;
            if applied.steps.contains_key(HOOK) {
                return Ok(applied);
            }
        }
    }

    /// Forgets those of the changes before.
    fn forget_hooks(&mut self) {
        self.hooked.clear();
        while self.applied.try_recv().is_ok() {}
    }

    fn next(&self) -> Result<Applied> {
        self.applied.recv_timeout(Duration::from_secs(60)).context("the controller does nothing")
    }

    fn tell_endpoints(&mut self) -> Result<()> {
        self.agent.tell_endpoints(self.endpoints.clone(), vec!["10.0.0.10".parse()?, "fd00::10".parse()?])?;
        self.changes += 1;
        Ok(())
    }
}

/// An interface for each pod of this node.
fn hook(cluster: &Cluster, prefix: &str) -> Result<Vec<Endpoint>> {
    let pods = cluster.pods.iter().filter(|pod| is_local(pod));
    pods.enumerate().map(|(number, pod)| interface(&format!("{prefix}x{number}"), pod)).collect()
}

fn interface(name: &str, pod: &Pod) -> Result<Endpoint> {
    run(&format!("ip link add {name} type veth peer name {name}p"))?;
    let index = fs::read_to_string(Path::new("/sys/class/net").join(name).join("ifindex"));
    let index = match index {
        Ok(text) => text.trim().parse()?,
        // The /sys of another network namespace.
        Err(_) => nix::net::if_::if_nametoindex(name)?,
    };
    Ok(Endpoint {
        name: format!("cni-{name}"),
        interface: index,
        interface_name: name.to_owned(),
        addresses: pod.addresses.iter().collect(),
    })
}

fn measure(number: usize, pods: usize, applied: &Receiver<Applied>) -> Result<Vec<(&'static str, Times)>> {
    let before = memory::in_use();
    let cluster = Arc::new(cluster::cluster(pods));
    let of_cluster = memory::in_use() - before;
    let folder = tempfile::tempdir()?;
    let endpoints = hook(&cluster, &format!("n{number}"))?;
    println!(
        "\n{} pods, {} policies, {} namespaces, {} Services, {} endpoints here",
        cluster.pods.len(),
        cluster.policies.len(),
        cluster.namespaces.len(),
        cluster.services.len(),
        endpoints.len()
    );
    let before = memory::in_use();
    let agent = Agent::start(&Path::new(BPFFS).join(number.to_string()), folder.path(), NODE)?;
    let mut bench = Bench { agent, applied, cluster, endpoints, changes: 0, hooked: VecDeque::new() };
    let mut first = Times::default();
    bench.tell_endpoints()?;
    bench.change(&mut first, |_| {})?;
    first.print("first");
    let of_agent = memory::in_use() - before;
    println!(
        "  memory: the cluster {} KB ({} B a pod), the controller {} KB ({} B a pod), resident {} KB",
        of_cluster / 1024,
        of_cluster / pods,
        of_agent / 1024,
        of_agent / pods,
        memory::of_process("VmRSS:") / 1024
    );

    let mut kinds: Vec<(&'static str, Times)> = Vec::new();
    let mut of_kind = |bench: &mut Bench, kind: &'static str, change: &dyn Fn(&mut Cluster, usize)| -> Result<()> {
        let mut times = Times::default();
        for repetition in 0..REPEATED {
            if kind.starts_with("policy") {
                thread::sleep(APART);
            }
            bench.change(&mut times, |cluster| change(cluster, repetition))?;
        }
        times.print(kind);
        kinds.push((kind, times));
        Ok(())
    };
    let namespaces = pods.div_ceil(50);
    let which = |repetition: usize| Which { namespace: repetition % namespaces, number: 100 + repetition };
    of_kind(&mut bench, "remote pod added", &|cluster, repetition| add(cluster, which(repetition), 1))?;
    of_kind(&mut bench, "remote pod relabelled", &|cluster, repetition| relabel(cluster, which(repetition)))?;
    of_kind(&mut bench, "remote pod removed", &|cluster, repetition| remove(cluster, which(repetition)))?;
    of_kind(&mut bench, "policy changed", &|cluster, repetition| {
        let change = 1 + u16::try_from(repetition).expect("there are few");
        for policy in cluster::policies(0, change) {
            cluster.policies.insert(policy);
        }
    })?;
    let is_here = |namespace: &usize| {
        let name = cluster::namespace_name(*namespace);
        bench.cluster.pods.iter().any(|pod| is_local(pod) && pod.name.namespace() == name)
    };
    // In a small cluster each namespace has a pod here.
    if let Some(elsewhere) = (0..namespaces).find(|namespace| !is_here(namespace)) {
        of_kind(&mut bench, "policy elsewhere", &|cluster, repetition| {
            let change = 1 + u16::try_from(repetition).expect("there are few");
            for policy in cluster::policies(elsewhere, change) {
                cluster.policies.insert(policy);
            }
        })?;
    }
    of_kind(&mut bench, "policy of other peers", &|cluster, repetition| {
        let change = 1000 + u16::try_from(repetition).expect("there are few");
        let policy = cluster::front_for(0, repetition % 2, change);
        cluster.policies.insert(policy);
    })?;
    let (mut times, mut meanwhile) = (Times::default(), Times::default());
    for repetition in 0..REPEATED {
        let which = Which { namespace: repetition % namespaces, number: 300 + repetition };
        let pod = cluster::pod(which, 0);
        let endpoint = interface(&format!("n{number}y{repetition}"), &pod)?;
        bench.change(&mut Times::default(), |cluster| add(cluster, which, 0))?;
        bench.endpoints.push(endpoint);
        thread::sleep(APART);
        bench.forget_hooks();
        let told = Instant::now();
        bench.tell_endpoints()?;
        thread::sleep(BEGUN);
        bench.change(&mut meanwhile, |cluster| {
            for policy in cluster::policies(0, 2000 + u16::try_from(repetition).expect("there are few")) {
                cluster.policies.insert(policy);
            }
        })?;
        times.add(told, bench.wait_for_hooks()?);
    }
    times.print("local pod added");
    meanwhile.print("policy meanwhile");
    kinds.push(("local pod added", times));
    kinds.push(("policy meanwhile", meanwhile));
    let times = storm(&mut bench, namespaces)?;
    kinds.push(("storm", times));
    bench.agent.stop()?;
    Ok(kinds)
}

/// A hundred changes a second, told when they are due whether or not those before are in force: pods come, change
/// their labels and go, and once in two seconds a policy changes.
fn storm(bench: &mut Bench<'_>, namespaces: usize) -> Result<Times> {
    let mut told: VecDeque<(u64, Instant)> = VecDeque::new();
    let mut times = Times::default();
    let mut take = |told: &mut VecDeque<(u64, Instant)>, applied: Applied| {
        let Applied { changes, at, steps } = applied;
        while let Some((_, moment)) = told.front().filter(|(number, _)| *number <= changes).copied() {
            told.pop_front();
            times.walls.push(at.saturating_duration_since(moment));
        }
        for (step, cost) in steps {
            times.steps.entry(step).or_default().push(cost);
        }
    };
    let kept = bench.cluster.pods.len();
    let before = (process_cpu(), memory::in_use());
    let begin = Instant::now();
    for number in 0..STORM {
        let which = |number: usize| Which { namespace: number % namespaces, number: 400 + number % 500 };
        let next = changed(&bench.cluster, |cluster| match number % 200 {
            0 => {
                for policy in cluster::policies(number / 200 % 2, 100 + u16::try_from(number).expect("there are few")) {
                    cluster.policies.insert(policy);
                }
            }
            _ => match number % 4 {
                0 | 1 => add(cluster, which(number / 4 * 2 + number % 4), 1),
                2 => remove(cluster, which(number / 4 * 2)),
                _ => relabel(cluster, which(number / 4 * 2 + 1)),
            },
        });
        let due = begin + EVERY * u32::try_from(number)?;
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            if let Ok(applied) = bench.applied.recv_timeout(left) {
                take(&mut told, applied);
            }
        }
        bench.cluster = next;
        let moment = Instant::now();
        bench.agent.tell_cluster(&bench.cluster)?;
        bench.changes += 1;
        told.push_back((bench.changes, moment));
    }
    while !told.is_empty() {
        let Ok(applied) = bench.applied.recv_timeout(Duration::from_secs(60)) else {
            bail!("the controller does nothing")
        };
        take(&mut told, applied);
    }
    let took = begin.elapsed();
    times.print("storm");
    let of_controller: Duration = times.steps.get("apply").into_iter().flatten().map(|cost| cost.cpu).sum();
    println!(
        "    {:.1} changes/s, {} became {} applications; CPU of the controller {:.1} %, of all {:.1} %; pods {kept} to {}; memory {:+} KB",
        STORM as f64 / took.as_secs_f64(),
        STORM,
        times.steps.get("apply").map_or(0, Vec::len),
        of_controller.as_secs_f64() / took.as_secs_f64() * 1e2,
        process_cpu().saturating_sub(before.0).as_secs_f64() / took.as_secs_f64() * 1e2,
        bench.cluster.pods.len(),
        (memory::in_use().cast_signed() - before.1.cast_signed()) / 1024,
    );
    thread::sleep(Duration::from_millis(100));
    Ok(times)
}

fn process_cpu() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("each process has the clock").into()
}

fn add(cluster: &mut Cluster, which: Which, node: usize) {
    let pod = cluster::pod(which, node);
    cluster.pods.insert(pod);
    cluster::set_slices(cluster, which.namespace, which.number % 5);
}

fn remove(cluster: &mut Cluster, which: Which) {
    let pod = cluster::pod(which, 1);
    cluster.pods.remove(&pod.name);
    cluster::set_slices(cluster, which.namespace, which.number % 5);
}

fn relabel(cluster: &mut Cluster, which: Which) {
    let mut pod = cluster::pod(which, 1);
    let labels = &mut Arc::make_mut(&mut pod.template).labels;
    labels.set("tier", "back");
    labels.set("app", "orders");
    cluster.pods.insert(pod);
    cluster::set_slices(cluster, which.namespace, which.number % 5);
}

/// Runs a command line, whose words have no blanks in them.
fn run(line: &str) -> Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().with_context(|| line.to_owned())?;
    if !output.status.success() {
        bail!("{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
