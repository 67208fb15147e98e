//! Both verifiers over a root, and what they answered.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use chrono::{DateTime, SecondsFormat};
use podwitness_tests::sealed_root::SealedRoot;
use podwitness_tests::second_verifier::second_verifier;
use serde_json::Value;
use tempfile::TempDir;

/// A root in a folder, to be asked about as of a time.
pub(crate) struct Asked {
    pub(crate) folder: TempDir,
    as_of: i64,
}

/// What the command answered.
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) json: Value,
}

impl Asked {
    /// `root`, as of `as_of` in microseconds since 1970.
    pub(crate) fn about(root: &SealedRoot, as_of: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        root.write(&folder.path().join("root")).unwrap();
        Self { folder, as_of }
    }

    /// What `podwitness verify` says.
    pub(crate) fn run(&self, options: &[&str]) -> Output {
        self.put_to(Command::new(env!("CARGO_BIN_EXE_podwitness")).arg("verify"), options)
    }

    fn put_to(&self, verifier: &mut Command, options: &[&str]) -> Output {
        let as_of = DateTime::from_timestamp_micros(self.as_of).unwrap().to_rfc3339_opts(SecondsFormat::Micros, true);
        let root = self.folder.path().join("root");
        verifier.args(["--as-of", &as_of]).args(options).arg(root).output().unwrap()
    }

    /// What it says with `-o json` and `options`, which `verify.py` says too.
    pub(crate) fn answer(&self, options: &[&str]) -> Answer {
        let options = [&["-o", "json"], options].concat();
        let answer = Answer::of(&self.run(&options));
        let other = Answer::of(&self.put_to(&mut second_verifier().unwrap(), &options));
        assert_eq!((answer.code, answer.facts()), (other.code, other.facts()), "the verifiers do not agree");
        answer
    }
}

impl Answer {
    /// What `output` says in JSON.
    pub(crate) fn of(output: &Output) -> Self {
        let told = String::from_utf8_lossy(&output.stderr);
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"));
        Self { code: output.status.code(), json }
    }

    /// All of it but the sentences, and which document says otherwise.
    fn facts(&self) -> Value {
        let mut facts = self.json.clone();
        for list in ["findings", "admissions", "notes"] {
            let said = facts[list].as_array_mut().unwrap();
            for one in &mut *said {
                one.as_object_mut().unwrap().retain(|key, _| !["message", "seal"].contains(&key.as_str()));
            }
            said.sort_by_cached_key(ToString::to_string);
        }
        facts
    }

    /// The findings as `code object`.
    pub(crate) fn findings(&self) -> BTreeSet<String> {
        self.list("findings", "object")
    }

    /// The admissions as `code node count`.
    pub(crate) fn admissions(&self) -> BTreeSet<String> {
        let count = |admission: &Value| admission["count"].as_u64().unwrap();
        self.each("admissions", |admission| {
            format!("{} {} {}", text(admission, "code"), text(admission, "node"), count(admission))
        })
    }

    /// The notes as `code object`.
    pub(crate) fn notes(&self) -> BTreeSet<String> {
        self.list("notes", "object")
    }

    fn list(&self, list: &str, key: &str) -> BTreeSet<String> {
        self.each(list, |entry| format!("{} {}", text(entry, "code"), text(entry, key)))
    }

    fn each(&self, list: &str, told: impl Fn(&Value) -> String) -> BTreeSet<String> {
        self.json[list].as_array().unwrap().iter().map(told).collect()
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or("-")
}
