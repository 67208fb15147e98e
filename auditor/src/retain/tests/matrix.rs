//! Each fault at each step of a run in a process of its own: the next run finishes it, and deletes each object once.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use podwitness_store_fixture::SmallDisk;

use super::root::{Root, at_day};
use super::{Run, Step, asks, delete, five_days, wishes};
use crate::retain::deleter::Deleter;

/// Where the process finds its disk.
const DISK: &str = "PODWITNESS_TEST_DISK";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// kill -9.
    Kill,
    /// The store takes, gives and deletes nothing.
    StoreRefuses,
    /// The disk of the key and of the store has no room.
    DiskFull,
}

#[tokio::test]
async fn a_kill_at_any_step_is_finished_by_the_next_run() {
    everywhere(Fault::Kill).await;
}

#[tokio::test]
async fn a_store_that_refuses_at_any_step_costs_a_run() {
    everywhere(Fault::StoreRefuses).await;
}

#[tokio::test]
async fn a_disk_that_is_full_at_any_step_costs_a_run() {
    everywhere(Fault::DiskFull).await;
}

async fn everywhere(fault: Fault) {
    for &step in Step::ALL {
        println!("{}: {fault:?}", step.name());
        attempt(step, fault).await;
    }
}

async fn attempt(step: Step, fault: Fault) {
    let what = format!("{fault:?} at {}", step.name());
    let disk = SmallDisk::new();
    let (store, key) = (disk.path().join("store"), disk.path().join("keys/retain.key"));
    fs::create_dir_all(&store).unwrap();
    let mut root = Root::in_folder(&store);
    five_days(&mut root, 2, 4).await;
    let before: BTreeSet<String> = root.data().await.into_iter().collect();
    drop(Deleter::open(&key).unwrap());
    fs::write(key.with_extension("key.next"), "").unwrap();

    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "retain::tests::matrix::a_run_in_a_process_of_its_own"])
        .env("PODWITNESS_STOP_AT", step.name())
        .env(DISK, disk.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let status = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(status, WaitStatus::Stopped(..)), "it does not stop: {what}: {status:?}");
    let away = disk.path().join("away");
    match fault {
        Fault::Kill => {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        Fault::StoreRefuses => {
            fs::rename(&store, &away).unwrap();
            fs::write(&store, "").unwrap();
            kill(pid, Signal::SIGCONT).unwrap();
            child.wait().unwrap();
            fs::remove_file(&store).unwrap();
            fs::rename(&away, &store).unwrap();
        }
        Fault::DiskFull => {
            disk.fill();
            kill(pid, Signal::SIGCONT).unwrap();
            child.wait().unwrap();
            disk.free();
        }
    }

    let listed = |deletions: Vec<super::Deletion>| -> Vec<String> {
        deletions.into_iter().flat_map(|deletion| deletion.objects).map(|object| object.path).collect()
    };
    let left: BTreeSet<String> = root.data().await.into_iter().collect();
    let signed = listed(root.deletions().await);
    assert!(before.difference(&left).all(|path| signed.contains(path)), "{what}: something is gone and not listed");

    let mut deleter = Deleter::open(&key).unwrap();
    let wishes = wishes(&[asks("shop", 2, false), asks("bank", 4, false)]);
    let outcome =
        delete(&root, &mut deleter, &wishes, at_day(6)).await.unwrap_or_else(|stop| panic!("{what}: {stop:?}"));
    assert_eq!(outcome.refused, Vec::<String>::new(), "{what}");
    assert_eq!(root.data().await.len(), 9, "{what}");
    let deletions = root.deletions().await;
    let turns = deletions.iter().filter(|deletion| deletion.next_key_id.is_some()).count();
    assert_eq!((turns, &deletions[0].next_key_id), (1, &Some(deleter.keys.id())), "{what}");
    let signed = listed(deletions);
    assert_eq!((signed.len(), signed.iter().collect::<BTreeSet<_>>().len()), (6, 6), "{what}: each is listed once");
    assert_eq!(deleter.pending().unwrap(), None, "{what}");
}

/// What the tests above start.
#[tokio::test]
#[ignore = "the body of a child process"]
async fn a_run_in_a_process_of_its_own() {
    let disk = env::var_os(DISK).expect("only the matrix starts it");
    let disk = Path::new(&disk);
    let root = Root::in_folder(&disk.join("store"));
    let mut deleter = Deleter::open(&disk.join("keys/retain.key")).unwrap();
    let wishes = wishes(&[asks("shop", 2, false), asks("bank", 4, false)]);
    let at = |step: Step| {
        step.reached();
        Ok(())
    };
    let run = Run { store: &root.store, wishes: &wishes, trusted: None, now: at_day(5), at: &at };
    // What it says of the fault is not asked: the next run must be able to go on.
    let _ = run.delete(&mut deleter).await;
}
