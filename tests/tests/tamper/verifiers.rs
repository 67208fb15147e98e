//! The two verifiers, run as a person runs them.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context as _, Result, ensure};
use podwitness_seals::time::Time;
use podwitness_tests::sealed_root::{SealedRoot, golden};
use podwitness_tests::second_verifier::python;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

/// Code and object.
pub(crate) type Finding = (String, String);

/// What a verifier says.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) result: String,
    pub(crate) keys: String,
    checked: Value,
    findings: Vec<Said>,
    admissions: Vec<Said>,
    notes: Vec<Said>,
}

#[derive(Debug, Deserialize)]
struct Said {
    code: String,
    object: Option<String>,
    node: Option<String>,
    count: Option<u64>,
    first: Option<String>,
}

impl Answer {
    pub(crate) fn findings(&self) -> BTreeSet<Finding> {
        self.findings.iter().map(|said| (said.code.clone(), said.object.clone().unwrap_or_default())).collect()
    }

    /// Each admission as `code node count first`.
    pub(crate) fn admissions(&self) -> BTreeSet<String> {
        let text = |said: &Said| {
            let of = |text: &Option<String>| text.clone().unwrap_or_default();
            format!("{} {} {} {}", said.code, of(&said.node), said.count.unwrap_or_default(), of(&said.first))
        };
        self.admissions.iter().map(text).collect()
    }

    /// Each note of what was found, as `code count object`; not what a verifier says of itself.
    pub(crate) fn notes(&self) -> BTreeSet<String> {
        let text = |said: &Said| {
            format!("{} {} {}", said.code, said.count.unwrap_or_default(), said.object.clone().unwrap_or_default())
        };
        self.notes.iter().filter(|said| said.code != "not-checked").map(text).collect()
    }
}

/// How they are asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// With the keys that an auditor was given, or with those of the evidence.
    pub(crate) trusted: bool,
    /// In microseconds since 1970.
    pub(crate) as_of: i64,
    /// Other options.
    pub(crate) options: Vec<String>,
}

impl Question {
    pub(crate) fn at(as_of: i64) -> Self {
        Self { trusted: true, as_of, options: Vec::new() }
    }
}

/// Exit code and output of `podwitness verify`.
fn ask_rust(arguments: &[String]) -> Result<(i32, String)> {
    let this = env::current_exe()?;
    let podwitness = this.ancestors().nth(2).context("a test runs in deps")?.join("podwitness");
    ensure!(podwitness.is_file(), "{} is not built: cargo build -p podwitness", podwitness.display());
    let output = Command::new(podwitness).arg("verify").args(arguments).output()?;
    Ok((output.status.code().context("it was killed")?, String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// `many.py`: Python with all libraries loaded, which takes most of the time that `verify.py` needs for a small root.
struct Loaded {
    _child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Loaded {
    fn start() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tamper/many.py");
        let mut child = Command::new(python()?).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take().context("it was piped")?;
        let answers = BufReader::new(child.stdout.take().context("it was piped")?);
        Ok(Self { _child: child, questions, answers })
    }

    fn ask(&mut self, arguments: &[String]) -> Result<(i32, String)> {
        writeln!(self.questions, "{}", serde_json::to_string(arguments)?)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("many.py says {line:?}"))
    }
}

/// Exit code and output of `verify.py`. Those that are loaded wait for the next question; each ends with this process,
/// which holds their standard input.
fn ask_python(arguments: &[String]) -> Result<(i32, String)> {
    static IDLE: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());
    let idle = IDLE.lock().expect("no thread panics with it").pop();
    let mut loaded = idle.map_or_else(Loaded::start, Ok)?;
    let answer = loaded.ask(arguments)?;
    IDLE.lock().expect("no thread panics with it").push(loaded);
    Ok(answer)
}

/// A folder with the keys that an auditor was given.
pub(crate) fn trusted_keys() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for (name, key) in golden::trusted() {
        std::fs::write(folder.path().join(format!("{name}.pem")), key.public().to_pem())?;
    }
    Ok(folder)
}

/// Asks both about `root`, and gives the answer of the first, with which the second agrees.
pub(crate) fn ask(root: &SealedRoot, question: &Question) -> Result<Answer> {
    let folder = tempfile::tempdir()?;
    root.write(folder.path())?;
    ask_about(folder.path(), question)
}

/// The same of a root in a folder.
pub(crate) fn ask_about(root: &Path, question: &Question) -> Result<Answer> {
    let keys = trusted_keys()?;
    let mut answers = Vec::new();
    let mut arguments = vec!["-o".to_owned(), "json".to_owned()];
    arguments.extend(["--as-of".to_owned(), Time::from_micros(question.as_of).to_string()]);
    if question.trusted {
        arguments.extend(["--trusted-keys".to_owned(), keys.path().to_string_lossy().into_owned()]);
    }
    arguments.extend(question.options.iter().cloned());
    arguments.push(root.to_string_lossy().into_owned());
    for (name, ask) in [("verify.py", ask_python as fn(&[String]) -> _), ("podwitness verify", ask_rust)] {
        let (status, told): (i32, String) = ask(&arguments).with_context(|| format!("cannot run {name}"))?;
        let answer: Answer =
            serde_json::from_str(&told).with_context(|| format!("{name} ended with {status}: {told}"))?;
        let code = i32::from(answer.result != "good");
        ensure!(status == code, "{name} says {} and ends with {status}", answer.result);
        ensure!((answer.result == "good") == answer.findings.is_empty(), "{name} says {} of {told}", answer.result);
        let keys = if question.trusted { "trusted" } else { "from-evidence" };
        ensure!(answer.keys == keys, "{name} says that the keys are {}", answer.keys);
        answers.push(answer);
    }
    let [one, other] = answers.try_into().ok().context("there are two verifiers")?;
    let (first, second) = (one.findings(), other.findings());
    ensure!(
        first == second,
        "verify.py alone finds {:#?}, podwitness verify alone finds {:#?}",
        first.difference(&second).collect::<Vec<_>>(),
        second.difference(&first).collect::<Vec<_>>()
    );
    ensure!(
        one.checked == other.checked,
        "verify.py has checked {:#}, podwitness verify has checked {:#}",
        one.checked,
        other.checked
    );
    Ok(one)
}
