//! Numbers are given once, and survive the agent.

use std::{fs, io::Write as _};

use podwitness_spool::{Definitions as _, PolicyRule};

use super::*;

fn pod(name: &str) -> Identity {
    Identity { namespace: "shop".to_owned(), pod: name.to_owned(), ..Identity::default() }
}

fn rules(policy: &str) -> RuleSet {
    let rule = PolicyRule { name: policy.to_owned(), rule: Some(0), ..PolicyRule::default() };
    RuleSet { id: 0, policies: vec![rule] }
}

#[test]
fn the_same_content_keeps_its_number_across_agents_and_new_content_gets_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let first = Definitions::open(folder.path(), "boot-1", None).unwrap();
    let (api, db) = (first.number_identity(pod("api")), first.number_identity(pod("db")));
    assert_eq!((api, db), (1, 2));
    assert_eq!(first.number_identity(pod("api")), api);
    assert_eq!(first.number_rule_set(rules("allow")), 1);
    assert_eq!(first.number_revision("aa"), 1);
    first.write_generation(7, 1).unwrap();
    drop(first);

    let second = Definitions::open(folder.path(), "boot-1", None).unwrap();
    assert_eq!(second.number_identity(pod("db")), db);
    assert_eq!(second.number_identity(pod("web")), 3);
    assert_eq!(second.identity(api).map(|identity| identity.pod), Some("api".to_owned()));
    assert_eq!(second.rule_set(1).map(|set| set.policies), Some(rules("allow").policies));
    assert_eq!(second.number_revision("aa"), 1);
    assert_eq!(second.number_revision("bb"), 2);
    let revisions = |generations: [u64; 4]| generations.map(|generation| second.revision_of(generation));
    assert_eq!(revisions([6, 7, 8, 900]), [0, 1, 1, 1], "it holds until another one is said");
    second.write_generation(9, 1).unwrap();
    second.write_generation(11, 2).unwrap();
    assert_eq!(revisions([7, 10, 11, 12]), [1, 1, 2, 2]);
    // What was said of generations that never came into force is said anew when they do.
    second.write_generation(10, 2).unwrap();
    second.write_generation(11, 3).unwrap();
    second.sync().unwrap();
    assert_eq!(revisions([9, 10, 11, 12]), [1, 2, 3, 3]);
    drop(second);
    let third = Definitions::open(folder.path(), "boot-1", None).unwrap();
    assert_eq!([9, 10, 11, 12].map(|generation| third.revision_of(generation)), [1, 2, 3, 3]);
}

#[test]
fn another_boot_begins_numbers_anew_but_not_revisions() {
    let folder = tempfile::tempdir().unwrap();
    let before = Definitions::open(folder.path(), "boot-1", None).unwrap();
    before.number_identity(pod("api"));
    before.number_revision("aa");
    before.number_revision("bb");
    before.write_generation(1, 2).unwrap();
    drop(before);

    for _ in 0..2 {
        let after = Definitions::open(folder.path(), "boot-2", None).unwrap();
        assert_eq!(after.identity(1), None);
        assert_eq!(after.revision_of(1), 0);
        assert_eq!(after.number_revision("bb"), 2);
    }
    let after = Definitions::open(folder.path(), "boot-2", None).unwrap();
    assert_eq!(after.number_identity(pod("web")), 1);
    assert_eq!(after.number_revision("cc"), 3);
}

#[test]
fn a_torn_last_line_is_cut_and_what_follows_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("definitions.jsonl");
    let first = Definitions::open(folder.path(), "boot-1", None).unwrap();
    first.number_identity(pod("api"));
    first.write_generation(1, 0).unwrap();
    drop(first);
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"identity\":{\"id\":2,").unwrap();

    let second = Definitions::open(folder.path(), "boot-1", None).unwrap();
    assert_eq!(second.number_identity(pod("db")), 2);
    second.write_generation(2, 0).unwrap();
    drop(second);
    let third = Definitions::open(folder.path(), "boot-1", None).unwrap();
    assert_eq!(third.identity(2).map(|identity| identity.pod), Some("db".to_owned()));
}

#[test]
fn a_damaged_line_is_named_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("definitions.jsonl");
    fs::write(&path, "{\"boot\":\"boot-1\"}\n{\"identity\":7}\n").unwrap();
    let error = Definitions::open(folder.path(), "boot-1", None).unwrap_err().to_string();
    assert!(error.starts_with("line 2 of the definitions in "), "{error}");
}

#[test]
fn what_namespaces_ask_for_is_known_to_the_next_agent_in_this_boot_and_another() {
    let trail = |namespace: &str| Trail {
        namespace: namespace.to_owned(),
        retention_seconds: 60,
        legal_hold: true,
        external_addresses: 3,
    };
    let folder = tempfile::tempdir().unwrap();
    let first = Definitions::open(folder.path(), "boot-1", None).unwrap();
    assert_eq!(first.trails(), None, "nobody has said anything yet");
    first.set_trails(vec![trail("shop"), trail("bank")]).unwrap();
    drop(first);
    for boot in ["boot-1", "boot-2", "boot-2"] {
        let next = Definitions::open(folder.path(), boot, None).unwrap();
        assert_eq!(next.trails().as_deref(), Some(&[trail("bank"), trail("shop")][..]), "{boot}");
    }
    let last = Definitions::open(folder.path(), "boot-2", None).unwrap();
    last.set_trails(Vec::new()).unwrap();
    drop(last);
    let after = Definitions::open(folder.path(), "boot-2", None).unwrap();
    assert_eq!(after.trails().as_deref(), Some(&[][..]), "that there are none is known");
}

#[test]
fn a_ledger_that_is_lost_under_the_kernels_maps_is_told_of_until_a_record_says_so_and_its_numbers_are_not_given_again()
{
    let folder = tempfile::tempdir().unwrap();
    let untouched = Definitions::open(folder.path(), "boot-1", None).unwrap();
    assert!(!untouched.are_lost(), "there was nothing before");
    drop(untouched);
    let taken_up = Definitions::open(folder.path(), "boot-1", Some(1000)).unwrap();
    assert!(!taken_up.are_lost(), "the maps are there, and so is what their numbers mean");
    assert_eq!(taken_up.number_identity(pod("api")), 1);
    drop(taken_up);
    for name in fs::read_dir(folder.path()).unwrap() {
        fs::remove_file(name.unwrap().path()).unwrap();
    }
    // Each is killed before it has written anything, or said anything.
    for last in [1000, 2000, 3000] {
        let after = Definitions::open(folder.path(), "boot-1", Some(last)).unwrap();
        assert!(after.are_lost(), "{last}");
        assert_eq!(after.number_identity(pod("api")), 1001);
        assert_eq!(after.number_rule_set(rules("allow")), 1001);
        let service = ObjectName::new("shop", "api");
        assert_eq!(after.number_service(&service), 1001);
        assert_eq!((after.identity(7), after.rule_set(7)), (None, None));
    }
    // The kernel goes too, and nothing was said.
    let reboot = Definitions::open(folder.path(), "boot-2", None).unwrap();
    assert!(reboot.are_lost());
    assert_eq!(reboot.number_identity(pod("api")), 1);
    for _ in 0..2 {
        reboot.loss_is_told().unwrap();
        assert!(!reboot.are_lost());
    }
    drop(reboot);
    assert!(!Definitions::open(folder.path(), "boot-2", Some(1000)).unwrap().are_lost());
}

#[test]
fn a_kill_between_the_mark_of_a_loss_and_the_new_ledger_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lost = Definitions::open(folder.path(), "boot-1", Some(1000)).unwrap();
    drop(lost);
    fs::remove_file(folder.path().join("definitions.jsonl")).unwrap();
    let next = Definitions::open(folder.path(), "boot-1", Some(2000)).unwrap();
    assert!(next.are_lost());
    assert_eq!(next.number_identity(pod("api")), 2001);
}
