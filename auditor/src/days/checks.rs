//! What must hold of the root on any day.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser;
use podwitness_seals::time::Time;
use podwitness_tests::sealed_root::SealedRoot;
use podwitness_tests::second_verifier::second_verifier;
use serde_json::Value;
use tempfile::TempDir;

use super::world::World;
use crate::verify;

/// `podwitness verify`, as a person gives it.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: verify::Arguments,
}

impl World {
    /// Everything is verified, with the keys that an auditor was given; what is left is what the model says.
    pub(super) fn verify(&mut self) {
        let found = findings(&self.ask());
        assert!(found.is_empty(), "at {}: {found:#?}", Time::from_micros(self.now));
        let there = SealedRoot::read(self.folder.path()).unwrap();
        let left: BTreeSet<_> =
            there.objects.keys().map(String::as_str).filter(|path| path.ends_with(".parquet")).collect();
        let model = self.model.paths();
        let (more, less): (Vec<_>, Vec<_>) = (left.difference(&model).collect(), model.difference(&left).collect());
        assert!(left == model, "at {}: not deleted: {more:#?}; deleted: {less:#?}", Time::from_micros(self.now));
        self.newest.clear();
    }

    fn ask(&self) -> Value {
        ask(self.folder.path(), self.now, &["--trusted-keys", self.trusted.path().to_str().unwrap()])
    }

    /// What has come since the last look is verified as a part: but for what the part begins with, nothing is found.
    pub(super) fn verify_newest(&mut self) {
        let part = TempDir::new().unwrap();
        let keys = std::fs::read_dir(self.folder.path().join("keys")).unwrap();
        let keys = keys.map(|entry| format!("keys/{}", entry.unwrap().file_name().to_str().unwrap()));
        for path in
            keys.chain(["podwitness.json".to_owned()]).chain(self.newest.iter().cloned()).collect::<BTreeSet<_>>()
        {
            let to = part.path().join(&path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::hard_link(self.folder.path().join(&path), to).unwrap();
        }
        for (code, object) in findings(&ask(part.path(), self.now, &["--part"])) {
            let is_first = match code.as_str() {
                // The number of a seal is of one chain, across boots.
                "chain-begins-late" => self
                    .newest
                    .iter()
                    .filter(|path| is_of_chain(path, &object))
                    .all(|path| number(path) >= number(&object)),
                "sequence-gap" => self
                    .newest
                    .iter()
                    .filter(|path| sequence(path) == sequence(&object))
                    .all(|path| number(path) >= number(&object)),
                _ => false,
            };
            assert!(is_first, "at {}: {code} {object}", Time::from_micros(self.now));
        }
        self.newest.clear();
    }

    /// `verify.py` finds nothing either, and has checked the same.
    pub(super) fn second_opinion(&self) {
        let output = second_verifier()
            .unwrap()
            .args(["-o", "json", "--as-of", &Time::from_micros(self.now).to_string(), "--trusted-keys"])
            .args([self.trusted.path(), self.folder.path()])
            .output()
            .unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        assert_eq!((said["result"].as_str(), output.status.code()), (Some("good"), Some(0)), "verify.py says {said:#}");
        assert_eq!(said["checked"], self.ask()["checked"]);
    }
}

/// The number at the end of a path.
fn number(path: &str) -> &str {
    let name = path.trim_end_matches(".sig").rsplit_once('.').map_or(path, |(name, _)| name);
    &name[name.len() - 12..]
}

/// The table, namespace, node and boot of a file's path; `None` of another one.
fn sequence(path: &str) -> Option<(&str, &str)> {
    let (folder, name) = path.strip_suffix(".parquet")?.rsplit_once('/')?;
    Some((folder.split("/date=").next()?, &name[..name.len() - 12]))
}

/// Whether both are seals of one node.
fn is_of_chain(path: &str, seal: &str) -> bool {
    path.starts_with("seals/")
        && path.rsplit_once('/').map(|(folder, _)| folder) == seal.rsplit_once('/').map(|(folder, _)| folder)
}

/// What `podwitness verify` says.
fn ask(root: &Path, now: i64, options: &[&str]) -> Value {
    let now = Time::from_micros(now).to_string();
    let line = ["verify", "--as-of", &now, root.to_str().unwrap()].into_iter().chain(options.iter().copied());
    verify::ask(&Line::parse_from(line).arguments).unwrap().to_json()
}

/// The code and the object of each finding.
fn findings(told: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |finding: &Value| (text(&finding["code"]), text(&finding["object"]));
    told["findings"].as_array().unwrap().iter().map(of).collect()
}
