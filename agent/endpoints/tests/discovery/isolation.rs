//! Runs each test in namespaces of its own, and gives it pods.
//!
//! A network namespace belongs to a thread and a mount namespace to a process: so a test runs its own executable
//! again, under `unshare`, for itself alone.

use std::any::type_name_of_val;
use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use podwitness_endpoints::{Discovery, Endpoint, Options, Snapshot};

const ISOLATED: &str = "PODWITNESS_TEST_ISOLATED";
/// Where `ip netns` mounts; under the test's own /run.
pub(crate) const NETNS: &str = "/run/netns";
const DEADLINE: Duration = Duration::from_secs(10);

/// Runs `test`, the whole body of a test function, in a network namespace and with a /run of its own.
pub(crate) fn isolated(test: impl FnOnce()) {
    isolated_with(&[], test);
}

/// The same, without the right to listen to other namespaces.
pub(crate) fn isolated_without_broadcast(test: impl FnOnce()) {
    isolated_with(&["setpriv", "--bounding-set", "-net_broadcast", "--"], test);
}

fn isolated_with(wrapper: &[&str], test: impl FnOnce()) {
    // The closure's path has the crate's name before the test's, and its own after it.
    let path = type_name_of_val(&test);
    let name = path.split_once("::").and_then(|(_, path)| path.strip_suffix("::{{closure}}")).unwrap();
    if env::var_os(ISOLATED).is_some_and(|isolated| isolated == name) {
        run("mount -t tmpfs tmpfs /run");
        fs::create_dir(NETNS).unwrap();
        run("ip link set lo up");
        return test();
    }
    let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    assert!(root, "this test makes network namespaces: run it as root");
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .args(wrapper)
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ISOLATED, name)
        .output()
        .expect("unshare (util-linux) is installed");
    let out = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}\n{error}");
    assert!(out.contains("1 passed"), "the test did not run in its namespaces: {out}\n{error}");
}

/// Runs a command line, whose words have no blanks in them.
pub(crate) fn run(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a namespace with one veth, up, whose host side is `host-<name>`.
pub(crate) fn pod(name: &str, addresses: &[&str]) {
    run(&format!("ip netns add {name}"));
    veth(name, "eth0", &format!("host-{name}"));
    for address in addresses {
        assign(name, "eth0", address);
    }
}

pub(crate) fn veth(pod: &str, inside: &str, outside: &str) {
    run(&format!("ip link add {outside} type veth peer name {inside} netns {pod}"));
    run(&format!("ip link set {outside} up"));
    run(&format!("ip -n {pod} link set {inside} up"));
}

pub(crate) fn assign(pod: &str, interface: &str, address: &str) {
    run(&format!("ip -n {pod} address add {address} dev {interface} nodad"));
}

/// The index of an interface of this namespace, if it is there.
pub(crate) fn index(interface: &str) -> Option<u32> {
    // /sys shows the namespace in which it was mounted: netlink, through `ip`, shows this one.
    let output = Command::new("ip").args(["-o", "link", "show", "dev", interface]).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    out.split(':').next().and_then(|index| index.parse().ok())
}

/// Discovery under test, and all that it delivered.
pub(crate) struct Watched {
    discovery: Option<Discovery>,
    snapshots: Receiver<Snapshot>,
    pub(crate) last: Snapshot,
}

impl Watched {
    pub(crate) fn start() -> Self {
        Self::start_in(NETNS)
    }

    /// Starts, and takes the first snapshot.
    pub(crate) fn start_in(folder: &str) -> Self {
        let (sender, snapshots) = mpsc::channel();
        let options = Options { netns: PathBuf::from(folder) };
        let discovery = Discovery::start(options, move |snapshot| drop(sender.send(snapshot))).unwrap();
        let last = snapshots.recv_timeout(DEADLINE).expect("the first snapshot comes in any case");
        Self { discovery: Some(discovery), snapshots, last }
    }

    /// Waits for a snapshot for which `holds`; the last one counts.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&Snapshot) -> bool) -> &Snapshot {
        let deadline = Instant::now() + DEADLINE;
        while !holds(&self.last) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.snapshots.recv_timeout(left) {
                Ok(snapshot) => self.last = snapshot,
                Err(error) => panic!("{error} while waiting until {what}; last: {:#?}", self.last),
            }
        }
        &self.last
    }

    /// Waits until `pod` is there with these addresses, apart from link-local ones.
    pub(crate) fn until_has(&mut self, pod: &str, addresses: &[&str]) -> Endpoint {
        let what = format!("{pod} has {addresses:?}");
        let found = |snapshot: &Snapshot| {
            snapshot.endpoints.iter().find(|endpoint| endpoint.name == pod && assigned(endpoint) == addresses).cloned()
        };
        found(self.until(&what, |snapshot| found(snapshot).is_some())).unwrap()
    }

    /// The next snapshot, if one comes within the time.
    pub(crate) fn next_within(&self, time: Duration) -> Option<Snapshot> {
        match self.snapshots.recv_timeout(time) {
            Ok(snapshot) => Some(snapshot),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("discovery ended"),
        }
    }

    /// Stops discovery, after which nothing can be delivered.
    pub(crate) fn stop(mut self) {
        drop(self.discovery.take());
        while self.snapshots.try_recv().is_ok() {}
        assert_eq!(self.snapshots.recv(), Err(mpsc::RecvError));
    }
}

/// An endpoint's addresses as text, without the link-local ones that the kernel gives.
pub(crate) fn assigned(endpoint: &Endpoint) -> Vec<String> {
    endpoint.addresses.iter().map(ToString::to_string).filter(|ip| !ip.starts_with("fe80:")).collect()
}

/// Waits for a condition that nothing tells of.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Makes an empty file in the folder, as a runtime does before it mounts.
pub(crate) fn empty_file(name: &str) -> String {
    let path = format!("{NETNS}/{name}");
    File::create_new(&path).unwrap();
    path
}
