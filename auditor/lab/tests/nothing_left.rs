//! What a lab leaves behind. One test in a process of its own, because it looks at everything that the process has.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use podwitness_lab::{Lab, Outcome, PodSpec};

/// Mounts, interfaces, this process's children and threads, and the temporary folders of labs.
fn everything() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.extend(mounts.lines().map(|line| format!("mount {line}")));
    // Through a command, and not the lab's own way of looking.
    let links = Command::new("ip").args(["-o", "link"]).output().unwrap();
    assert!(links.status.success());
    all.extend(String::from_utf8(links.stdout).unwrap().lines().map(|line| format!("link {line}")));
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        all.insert(format!("thread {}", task.display()));
        let children = fs::read_to_string(task.join("children")).unwrap();
        all.extend(children.split_whitespace().map(|child| format!("child {child}")));
    }
    for entry in fs::read_dir(std::env::temp_dir()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("podwitness-lab-") {
            all.insert(format!("folder {name}"));
        }
    }
    all
}

/// Network namespaces that are mounted anywhere this process can see.
fn namespaces(all: &BTreeSet<String>) -> usize {
    all.iter().filter(|line| line.starts_with("mount") && line.contains("nsfs")).count()
}

#[test]
fn two_labs_with_the_same_addresses_live_side_by_side_and_leave_nothing() {
    let before = everything();
    {
        let labs = [Lab::new().unwrap(), Lab::new().unwrap()];
        let soon = Duration::from_millis(900);
        let there: SocketAddr = "[fd00:1::2]:80".parse().unwrap();
        let pairs = labs.each_ref().map(|lab| {
            let one = PodSpec::new("shop", "one", &["10.1.0.1".parse().unwrap(), "fd00:1::1".parse().unwrap()]);
            let two = PodSpec::new("shop", "two", &["10.1.0.2".parse().unwrap(), there.ip()]);
            (lab.pod(one).unwrap(), lab.pod(two).unwrap())
        });
        let during = everything();
        // Two nodes and four pods, and nothing of them among this process's own interfaces.
        assert_eq!(namespaces(&during) - namespaces(&before), 6);
        let links = |all: &BTreeSet<String>| all.iter().filter(|line| line.starts_with("link")).count();
        assert_eq!(links(&during), links(&before));
        // Only the first lab has a server, so that an answer in the second would have crossed over.
        let [(one, two), (other_one, _other_two)] = &pairs;
        let _server = two.serve_tcp(80).unwrap();
        assert_eq!(one.connect_tcp(there, soon).unwrap().outcome, Outcome::Answered);
        assert_eq!(other_one.connect_tcp(there, soon).unwrap().outcome, Outcome::Refused);
        drop(labs);
        // Pods outlive the lab that they were made in.
        assert_eq!(one.connect_tcp(there, soon).unwrap().outcome, Outcome::Answered);
    }
    let after = everything();
    let left: Vec<_> = after.difference(&before).collect();
    let missing: Vec<_> = before.difference(&after).collect();
    assert!(left.is_empty() && missing.is_empty(), "left behind: {left:#?}, gone: {missing:#?}");
}
