//! One node: a spool written as the agent writes it, the exporter as a process, and a bucket behind a proxy.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podwitness_spool::{Checkpoint, Origin, Record, Writer, WriterOptions};
use podwitness_store_fixture::{Gateway, Proxy};
use podwitness_tests::sealed_root::records::{self, Dictionary};
use podwitness_tests::second_verifier::second_verifier;
use serde_json::Value;
use tempfile::TempDir;

/// Long enough for a slow machine; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(120);

/// A node before a bucket of its own, or a folder.
pub(crate) struct Bench {
    folder: TempDir,
    proxy: Option<Proxy>,
    environment: Vec<(String, String)>,
    /// What the bucket holds, as files: the evidence root.
    pub(crate) root: PathBuf,
}

impl Bench {
    /// Makes the bucket, which locks its objects, on the server.
    pub(crate) fn new(gateway: &Gateway, bucket: &str) -> Self {
        block_on(gateway.make_bucket(bucket, true));
        let proxy = Proxy::start(gateway.address());
        let environment = gateway.environment_at(&proxy.address().to_string());
        let folder = tempfile::tempdir().unwrap();
        configure(&folder, &format!("s3://{bucket}"));
        Self { folder, proxy: Some(proxy), environment, root: gateway.bucket_folder(bucket) }
    }

    /// The store is a folder.
    pub(crate) fn with_folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("evidence");
        configure(&folder, &format!("file://{}", root.display()));
        Self { folder, proxy: None, environment: Vec::new(), root }
    }

    /// What is before the bucket.
    pub(crate) fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("a folder has no proxy")
    }

    /// Another environment for the exporters that are started from now on.
    pub(crate) fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The agent's side of the spool, which has told of its start.
    pub(crate) fn agent(&self) -> Agent {
        let mut agent = self.take_up(Paused { commits: 0, records: 0 });
        agent.write(vec![records::agent_started(now_us())]);
        agent
    }

    /// The same, where it was left.
    pub(crate) fn take_up(&self, Paused { commits, records }: Paused) -> Agent {
        let options = WriterOptions { max_bytes: 1 << 30, segment_bytes: 64 << 10 };
        let origin = Origin {
            cluster: "lab".to_owned(),
            node: "node-a".to_owned(),
            boot: "0a000000-0000-4000-8000-000000000001".to_owned(),
            agent_version: "0.1.0".to_owned(),
            object_sha256: "ab".repeat(32),
        };
        let (writer, _) = Writer::open(&self.path("spool"), options, origin).unwrap();
        Agent { writer, commits, records }
    }

    /// Starts the exporter.
    pub(crate) fn start(&self) -> Exporter {
        let log = tempfile::Builder::new().prefix("log-").tempfile_in(self.folder.path()).unwrap();
        let child = Command::new(built("podwitness-exporter"))
            .arg("--config")
            .arg(self.path("podwitness.yaml"))
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        Exporter { child, log: log.into_temp_path().keep().unwrap(), listen: OnceLock::new() }
    }

    /// Both verifiers say that nothing is found, that as many rows are there as the agent has written, and none is lost.
    /// Returns the codes of what is admitted.
    pub(crate) fn verify(&self, agent: &Agent) -> BTreeSet<String> {
        if let Some(proxy) = &self.proxy {
            assert_eq!(proxy.unknown(), Vec::<String>::new(), "requests that no operation of the table is");
        }
        let (rows, admissions) = self.ask();
        assert_eq!(rows, agent.records, "each record once");
        assert!(!admissions.contains("loss"), "{admissions:?}");
        admissions
    }

    /// Both verifiers say that nothing is found. Returns how many rows there are, and the codes of what is admitted.
    pub(crate) fn ask(&self) -> (u64, BTreeSet<String>) {
        let mut by_us = Command::new(built("podwitness"));
        let [one, other] = [by_us.arg("verify"), &mut second_verifier().unwrap()].map(|verifier| {
            let output = verifier.args(["-o", "json"]).arg(&self.root).output().unwrap();
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
            assert_eq!(answer["result"], "good", "{answer:#}");
            let admissions = answer["admissions"].as_array().unwrap().iter();
            let codes = admissions.map(|admission| admission["code"].as_str().unwrap().to_owned()).collect();
            (answer["checked"].clone(), codes)
        });
        assert_eq!(one, other, "the verifiers do not agree");
        (one.0["rows"].as_u64().unwrap(), one.1)
    }
}

fn configure(folder: &TempDir, url: &str) {
    let text = format!(
        "cluster: lab\nnode: node-a\nsource: {{directory: ./cluster}}\nstore: {{url: '{url}'}}\n\
         spool: {{path: ./spool}}\nbatch: {{maxAge: 100ms}}\nseal: {{interval: 1s, keyFile: ./key/node.key}}\n\
         listen: {{agent: '127.0.0.1:0', exporter: '127.0.0.1:0'}}\n"
    );
    fs::write(folder.path().join("podwitness.yaml"), text).unwrap();
}

/// An agent that does not run.
pub(crate) struct Paused {
    commits: u16,
    records: u64,
}

/// What writes the spool.
pub(crate) struct Agent {
    writer: Writer,
    commits: u16,
    /// How many records it has written.
    pub(crate) records: u64,
}

impl Agent {
    /// Some records of each table, of two namespaces.
    pub(crate) fn commit(&mut self) {
        self.commits += 1;
        let (now, number) = (now_us(), self.commits);
        let mut records = vec![records::open("shop", now, number), records::open("bank", now, number)];
        records.push(records::enforced("shop", now, "web-1"));
        records.extend(records::policies(now));
        self.write(records);
    }

    /// So many connections.
    pub(crate) fn witness(&mut self, connections: u16) {
        let now = now_us();
        self.write((1..=connections).map(|port| records::open("shop", now, port)).collect());
    }

    /// It ends without a word.
    pub(crate) fn pause(self) -> Paused {
        Paused { commits: self.commits, records: self.records }
    }

    /// Its stop in good order.
    pub(crate) fn stop(&mut self) {
        self.write(vec![records::agent_stopped(now_us())]);
    }

    pub(crate) fn write(&mut self, records: Vec<Record>) {
        self.records += records.len() as u64;
        let checkpoint = Checkpoint { ring: "ring".to_owned(), ring_position: self.records, ..Checkpoint::default() };
        self.writer.commit(records, &Dictionary(Arc::default()), &checkpoint).unwrap();
    }

    /// Bytes of the spool.
    pub(crate) fn spool_bytes(&self) -> u64 {
        self.writer.bytes()
    }
}

/// An exporter that runs; killed on drop.
pub(crate) struct Exporter {
    child: Child,
    log: PathBuf,
    listen: OnceLock<String>,
}

impl Exporter {
    /// Everything that it has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says all of `words` in one line, and gives the line.
    pub(crate) fn wait_for(&self, words: &[&str]) -> String {
        wait_until(&format!("the exporter says {words:?}"), || {
            self.log().lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        })
    }

    /// A page: the status and the rest.
    pub(crate) fn page(&self, page: &str) -> (u16, String) {
        let listen = self.listen.get_or_init(|| {
            let line: Value = serde_json::from_str(&self.wait_for(&["exporter started"])).unwrap();
            line["listen"].as_str().unwrap().to_owned()
        });
        let mut stream = TcpStream::connect(listen).unwrap();
        write!(stream, "GET {page} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// The value of a metric, named without the program's prefix.
    pub(crate) fn metric<T: FromStr<Err: Debug>>(&self, name: &str) -> T {
        let metrics = self.page("/metrics").1;
        let prefix = format!("podwitness_exporter_{name} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("{name} is not in {metrics}")).parse().unwrap()
    }

    /// Waits until it has exported so many records.
    pub(crate) fn wait_exported(&self, records: u64) {
        wait_until("everything is in the store", || {
            (self.metric::<u64>("records_exported_total") >= records).then_some(())
        });
    }

    /// SIGTERM, and waits for its end, which must be a success with everything put; `is_last` where the agent has stopped
    /// before.
    pub(crate) fn stop(mut self, is_last: bool) {
        self.wait_for(&["exporter started"]);
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        let status = wait_until("the exporter ends", || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{status}: {}", self.log());
        let line = self.wait_for(&["everything in the spool is in the store, and sealed"]);
        assert_eq!(line.contains(r#""is_last":true"#), is_last, "{line}");
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("the exporter has said: {}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition; `what` is for the failure.
pub(crate) fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn now_us() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// A program of the workspace.
pub(crate) fn built(program: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.ancestors().nth(2).expect("a test runs in deps").join(program);
    assert!(path.is_file(), "{} is not built: cargo build -p {program}", path.display());
    path
}

/// Runs what the server is asked.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn gateway() -> Gateway {
    block_on(Gateway::start())
}
