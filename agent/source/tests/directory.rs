//! A folder of manifests, changed in all the ways in which people and programs change files.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use podwitness_source::{DirectorySource, Effect, Update};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(10);
/// Longer than any pause after which a change is read.
const SETTLED: Duration = Duration::from_millis(400);

/// A folder and the source that follows it.
struct Scene {
    folder: PathBuf,
    updates: Receiver<Update>,
    last: Update,
    _source: DirectorySource,
    _above: TempDir,
}

impl Scene {
    /// Starts with these files, and takes the first update.
    fn new(files: &[(&str, &str)]) -> Self {
        let above = TempDir::new().unwrap();
        let folder = above.path().join("cluster");
        fs::create_dir(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        Self::start(folder, above)
    }

    fn start(folder: PathBuf, above: TempDir) -> Self {
        let (sender, updates) = mpsc::channel();
        let source = DirectorySource::start(&folder, move |update| drop(sender.send(update))).unwrap();
        let last = updates.recv_timeout(DEADLINE).expect("the first update comes in any case");
        Self { folder, updates, last, _source: source, _above: above }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Waits for an update for which `holds`; the last one counts.
    fn until(&mut self, what: &str, holds: impl Fn(&Update) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds(&self.last) {
            match self.updates.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(update) => self.last = update,
                Err(error) => panic!("{error} while waiting until {what}; last: {:#?}", self.last),
            }
        }
    }

    fn until_has(&mut self, expected: &[&str]) {
        self.until(&format!("the namespaces are {expected:?}"), |update| namespaces(update) == expected);
    }

    fn next_within(&self, time: Duration) -> Option<Update> {
        match self.updates.recv_timeout(time) {
            Ok(update) => Some(update),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the source ended"),
        }
    }

    /// The updates that come until none comes any more.
    fn all(&self) -> Vec<Update> {
        std::iter::from_fn(|| self.next_within(SETTLED)).collect()
    }
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels: {{of: {name}}}\n")
}

fn namespaces(update: &Update) -> Vec<&str> {
    update
        .cluster
        .as_ref()
        .expect("a folder is read whole at the start")
        .namespaces
        .iter()
        .map(|namespace| namespace.name.as_str())
        .collect()
}

#[test]
fn every_form_in_which_kubectl_prints_is_read() {
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "c"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "d"}}]}"#;
    let documents = format!("---\n{}---\n{}", namespace("a"), namespace("b"));
    let yaml_list =
        "apiVersion: v1\nkind: NamespaceList\nitems:\n- metadata: {name: f}\n  apiVersion: v1\n  kind: Namespace\n";
    let scene =
        Scene::new(&[("1.yaml", &documents), ("2.json", list), ("3.yml", &namespace("e")), ("4.yaml", yaml_list)]);
    assert_eq!(namespaces(&scene.last), ["a", "b", "c", "d", "e", "f"]);
    assert!(scene.last.faults.is_empty() && scene.last.complete, "{:?}", scene.last);
}

#[test]
fn an_empty_folder_is_an_empty_cluster() {
    let scene = Scene::new(&[]);
    assert!(namespaces(&scene.last).is_empty());
    assert!(scene.last.complete && scene.last.faults.is_empty(), "{:?}", scene.last);
}

#[test]
fn a_bad_object_is_named_and_the_others_work() {
    let text =
        format!("{}---\napiVersion: v1\nkind: Namespace\nmetadata: {{}}\n---\n{}", namespace("a"), namespace("b"));
    let scene = Scene::new(&[("mixed.yaml", &text), ("other.yaml", &namespace("c"))]);
    assert_eq!(namespaces(&scene.last), ["a", "b", "c"]);
    let [fault] = &scene.last.faults[..] else { panic!("{:?}", scene.last.faults) };
    assert!(fault.origin.ends_with("/mixed.yaml"), "{fault}");
    assert_eq!(fault.document, Some(2), "{fault}");
    assert!(scene.last.complete, "the file was read, to its end");
}

#[test]
fn a_change_says_when_it_was_learnt_of() {
    let mut scene = Scene::new(&[("a.yaml", &namespace("a"))]);
    let before = Instant::now();
    scene.write("b.yaml", &namespace("b"));
    scene.until_has(&["a", "b"]);
    assert!(scene.last.received >= before);
    assert!(scene.last.received.elapsed() >= Duration::from_millis(20), "the folder was not quiet before it was read");
}

#[test]
fn a_file_that_does_not_parse_keeps_what_it_said_until_it_is_mended_or_deleted() {
    let mut scene = Scene::new(&[("a.yaml", &namespace("a")), ("b.yaml", &namespace("b"))]);
    scene.write("a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: [half");
    scene.until("it is a fault", |update| !update.faults.is_empty());
    assert_eq!(namespaces(&scene.last), ["a", "b"]);
    assert!(!scene.last.complete);
    let stays = scene.last.faults.iter().find(|fault| fault.message.contains("stays in force")).unwrap();
    assert!(stays.origin.ends_with("/a.yaml"), "{stays}");

    scene.write("a.yaml", &namespace("mended"));
    scene.until_has(&["b", "mended"]);
    assert!(scene.last.faults.is_empty() && scene.last.complete, "{:?}", scene.last);

    scene.write("a.yaml", "metadata: {name: [half");
    scene.until("it is a fault", |update| !update.faults.is_empty());
    fs::remove_file(scene.path("a.yaml")).unwrap();
    scene.until_has(&["b"]);
    assert!(scene.last.faults.is_empty() && scene.last.complete, "{:?}", scene.last);
}

#[test]
fn what_a_slow_writer_has_truncated_is_not_taken_for_its_content() {
    let mut scene = Scene::new(&[("a.yaml", &namespace("a")), ("b.yaml", &namespace("b"))]);
    let mut file = File::create(scene.path("a.yaml")).unwrap();
    assert!(scene.next_within(SETTLED).is_none(), "empty, but open");
    file.write_all(namespace("a1").as_bytes()).unwrap();
    file.flush().unwrap();
    assert!(scene.next_within(SETTLED).is_none(), "whole by itself, but open");
    // What happens to others is not held up by it.
    scene.write("c.yaml", &namespace("c"));
    scene.until_has(&["a", "b", "c"]);
    file.write_all(format!("---\n{}", namespace("a2")).as_bytes()).unwrap();
    drop(file);
    scene.until_has(&["a1", "a2", "b", "c"]);
}

#[test]
fn a_file_that_was_never_seen_whole_makes_the_cluster_incomplete_while_it_is_written() {
    let mut scene = Scene::new(&[("a.yaml", &namespace("a"))]);
    let mut file = File::create(scene.path("new.yaml")).unwrap();
    file.write_all(b"apiVersion: v1\n").unwrap();
    scene.until("it is incomplete", |update| !update.complete);
    file.write_all(b"kind: Namespace\nmetadata: {name: new}\n").unwrap();
    drop(file);
    scene.until_has(&["a", "new"]);
    assert!(scene.last.complete);
}

#[test]
fn an_emptied_file_keeps_its_objects_and_one_without_items_does_not() {
    let mut scene = Scene::new(&[("a.yaml", &namespace("a"))]);
    scene.write("a.yaml", "# moved elsewhere\n---\n");
    scene.until("it is a fault", |update| !update.faults.is_empty());
    assert_eq!(namespaces(&scene.last), ["a"]);
    assert!(scene.last.faults[0].message.contains("delete the file"), "{}", scene.last.faults[0]);
    scene.write("a.yaml", "apiVersion: v1\nkind: List\nitems: []\n");
    scene.until_has(&[]);
    assert!(scene.last.faults.is_empty(), "{:?}", scene.last);
}

#[test]
fn what_can_be_used_of_a_file_that_never_was_whole_is_used() {
    let mut scene = Scene::new(&[("a.yaml", &format!("{}---\n{{half", namespace("a")))]);
    assert_eq!(namespaces(&scene.last), ["a"]);
    assert!(!scene.last.complete && !scene.last.faults.is_empty(), "{:?}", scene.last);
    scene.write("a.yaml", &format!("{}---\n{{half", namespace("b")));
    scene.until_has(&["b"]);
    assert!(!scene.last.complete, "there is nothing better to keep, and still something missing");
}

#[test]
fn an_object_that_is_there_twice_is_named_with_both_places() {
    let scene = Scene::new(&[("1.yaml", &namespace("a")), ("2.yaml", &namespace("a"))]);
    let [fault] = &scene.last.faults[..] else { panic!("{:?}", scene.last.faults) };
    assert!(fault.origin.ends_with("/2.yaml") && fault.message.contains("/1.yaml"), "{fault}");
    assert_eq!(fault.effect, Some(Effect::LeftOut));
}

#[test]
fn bytes_that_are_no_text_are_a_fault_of_that_file_alone() {
    let mut scene = Scene::new(&[("a.yaml", &namespace("a"))]);
    fs::write(scene.path("b.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    scene.until("it is a fault", |update| !update.faults.is_empty());
    assert_eq!(namespaces(&scene.last), ["a"]);
    assert!(scene.last.faults[0].message.contains("UTF-8"), "{}", scene.last.faults[0]);
}

#[test]
fn a_deleted_file_takes_its_objects_with_it_and_a_renamed_one_keeps_them() {
    let mut scene = Scene::new(&[("a.yaml", &namespace("a")), ("b.yaml", &namespace("b"))]);
    fs::remove_file(scene.path("a.yaml")).unwrap();
    scene.until_has(&["b"]);
    fs::rename(scene.path("b.yaml"), scene.path("c.yaml")).unwrap();
    assert!(scene.all().is_empty(), "the objects are the same");
    fs::rename(scene.path("c.yaml"), scene.path("c.yaml~")).unwrap();
    scene.until_has(&[]);
}

#[test]
fn saving_by_rename_is_one_change() {
    let mut scene = Scene::new(&[("a.yaml", &namespace("a0"))]);
    // An editor is never slow between its steps; this test may be, on a busy machine, and then that save does not count.
    for attempt in 1..=20 {
        let begun = Instant::now();
        fs::rename(scene.path("a.yaml"), scene.path("a.yaml~")).unwrap();
        scene.write("a.yaml", &namespace(&format!("a{attempt}")));
        let quick = begun.elapsed() < Duration::from_millis(10);
        fs::remove_file(scene.path("a.yaml~")).unwrap();
        let expected = format!("a{attempt}");
        if quick {
            scene.last = scene.next_within(DEADLINE).expect("the save is a change");
            assert_eq!(namespaces(&scene.last), [expected]);
            assert!(scene.all().is_empty(), "it is one change");
            return;
        }
        scene.until_has(&[&expected]);
    }
    panic!("the machine is too busy for any save to take less than 10 ms");
}

#[test]
fn hidden_and_temporary_files_and_folders_are_not_read() {
    let scene = Scene::new(&[
        (".hidden.yaml", &namespace("hidden")),
        ("a.yaml~", &namespace("backup")),
        ("a.yaml.swp", "b0VIM"),
        ("a.yaml.tmp", &namespace("temporary")),
        ("README.md", "not a manifest"),
        ("a.yaml", &namespace("a")),
    ]);
    fs::create_dir(scene.path("folder.yaml")).unwrap();
    assert_eq!(namespaces(&scene.last), ["a"]);
    assert!(scene.all().is_empty());
    assert!(scene.last.faults.is_empty(), "{:?}", scene.last);
}

#[test]
fn nothing_is_delivered_when_the_objects_are_the_same() {
    let scene = Scene::new(&[("a.yaml", &namespace("a"))]);
    scene.write("a.yaml", &format!("# a comment\n{}", namespace("a")));
    assert!(scene.all().is_empty());
}

#[test]
fn a_burst_of_writes_is_few_updates_and_the_last_is_right() {
    let mut scene = Scene::new(&[("a.yaml", &namespace("a0"))]);
    let begun = Instant::now();
    for number in 1..=50 {
        scene.write("a.yaml", &namespace(&format!("a{number}")));
        scene.write(&format!("b{number:02}.yaml"), &namespace(&format!("b{number:02}")));
    }
    let took = begun.elapsed();
    let mut expected = vec!["a50".to_owned()];
    expected.extend((1..=50).map(|number| format!("b{number:02}")));
    let deadline = Instant::now() + DEADLINE;
    let mut updates = 0;
    while namespaces(&scene.last) != expected {
        scene.last = scene.updates.recv_timeout(deadline - Instant::now()).expect("the last state is delivered");
        updates += 1;
    }
    // Each but the last ended with a pause of 20 ms, which a busy machine makes in the burst itself.
    assert!(updates <= 2 + took.as_millis() / 20, "{updates} in {took:?}");
    assert!(scene.last.complete && scene.last.faults.is_empty(), "{:?}", scene.last.faults);
    assert!(scene.all().is_empty());
}

/// What the kubelet does to a volume of a `ConfigMap`.
fn swap(folder: &Path, version: u32) {
    let data = format!("..version_{version}");
    fs::create_dir(folder.join(&data)).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(folder.join(&data).join(format!("{name}.yaml")), namespace(&format!("{name}{version}"))).unwrap();
    }
    symlink(&data, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    for name in ["a", "b", "c"] {
        let link = folder.join(format!("{name}.yaml"));
        if !link.is_symlink() {
            symlink(format!("..data/{name}.yaml"), link).unwrap();
        }
    }
}

#[test]
fn a_config_map_is_taken_in_whole_at_each_swap() {
    let above = TempDir::new().unwrap();
    let folder = above.path().join("cluster");
    fs::create_dir(&folder).unwrap();
    swap(&folder, 0);
    let mut scene = Scene::start(folder, above);
    assert_eq!(namespaces(&scene.last), ["a0", "b0", "c0"]);
    let mut updates = Vec::new();
    for version in 1..=30 {
        swap(&scene.folder, version);
        fs::remove_dir_all(scene.path(&format!("..version_{}", version - 1))).unwrap();
        updates.extend(scene.next_within(Duration::from_millis(u64::from(version % 4) * 15)));
    }
    updates.extend(scene.all());
    for update in &updates {
        let versions: Vec<&str> = namespaces(update).into_iter().map(|name| &name[1..]).collect();
        assert!(versions.len() == 3 && versions.iter().all(|version| *version == versions[0]), "mixed: {versions:?}");
    }
    scene.last = updates.pop().unwrap();
    assert_eq!(namespaces(&scene.last), ["a30", "b30", "c30"]);
}

#[test]
fn a_link_to_the_folder_that_is_pointed_elsewhere_is_followed() {
    let above = TempDir::new().unwrap();
    for version in ["one", "two"] {
        fs::create_dir(above.path().join(version)).unwrap();
        fs::write(above.path().join(version).join("a.yaml"), namespace(version)).unwrap();
    }
    let folder = above.path().join("cluster");
    symlink("one", &folder).unwrap();
    let mut scene = Scene::start(folder.clone(), above);
    assert_eq!(namespaces(&scene.last), ["one"]);
    let pointed = Instant::now();
    symlink("two", folder.with_file_name("new")).unwrap();
    fs::rename(folder.with_file_name("new"), &folder).unwrap();
    scene.until_has(&["two"]);
    assert!(pointed.elapsed() < Duration::from_secs(2), "{:?}", pointed.elapsed());
    scene.write("a.yaml", &namespace("three"));
    scene.until_has(&["three"]);
}

#[test]
fn a_folder_that_is_not_there_at_the_start_is_one_clear_sentence() {
    let above = TempDir::new().unwrap();
    let error = DirectorySource::start(&above.path().join("nowhere"), |_| {}).unwrap_err().to_string();
    assert!(error.contains("/nowhere") && error.contains("source.directory"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn a_folder_that_vanishes_leaves_the_cluster_in_force_until_it_is_back() {
    let mut scene = Scene::new(&[("a.yaml", &namespace("a")), ("b.yaml", &namespace("b"))]);
    fs::remove_dir_all(&scene.folder).unwrap();
    scene.until("it is a fault", |update| !update.faults.is_empty());
    assert_eq!(namespaces(&scene.last), ["a", "b"]);
    assert!(!scene.last.complete);
    assert!(scene.last.faults[0].message.contains("until the folder is back"), "{}", scene.last.faults[0]);

    let ready = scene.folder.with_file_name("ready");
    fs::create_dir(&ready).unwrap();
    fs::write(ready.join("c.yaml"), namespace("c")).unwrap();
    fs::rename(&ready, &scene.folder).unwrap();
    scene.until_has(&["c"]);
    assert!(scene.last.faults.is_empty() && scene.last.complete, "{:?}", scene.last);
    scene.write("d.yaml", &namespace("d"));
    scene.until_has(&["c", "d"]);
}

#[test]
fn nothing_is_delivered_after_the_source_was_dropped() {
    let scene = Scene::new(&[("a.yaml", &namespace("a"))]);
    let Scene { _source: source, updates, .. } = scene;
    drop(source);
    assert!(matches!(updates.recv_timeout(DEADLINE), Err(RecvTimeoutError::Disconnected)));
}
