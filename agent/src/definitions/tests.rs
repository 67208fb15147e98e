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
    let first = Definitions::open(folder.path(), "boot-1").unwrap();
    let (api, db) = (first.number_identity(pod("api")), first.number_identity(pod("db")));
    assert_eq!((api, db), (1, 2));
    assert_eq!(first.number_identity(pod("api")), api);
    assert_eq!(first.number_rule_set(rules("allow")), 1);
    assert_eq!(first.number_revision("aa"), 1);
    first.write_generation(7, 1).unwrap();
    drop(first);

    let second = Definitions::open(folder.path(), "boot-1").unwrap();
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
    let third = Definitions::open(folder.path(), "boot-1").unwrap();
    assert_eq!([9, 10, 11, 12].map(|generation| third.revision_of(generation)), [1, 2, 3, 3]);
}

#[test]
fn another_boot_begins_numbers_anew_but_not_revisions() {
    let folder = tempfile::tempdir().unwrap();
    let before = Definitions::open(folder.path(), "boot-1").unwrap();
    before.number_identity(pod("api"));
    before.number_revision("aa");
    before.number_revision("bb");
    before.write_generation(1, 2).unwrap();
    drop(before);

    for _ in 0..2 {
        let after = Definitions::open(folder.path(), "boot-2").unwrap();
        assert_eq!(after.identity(1), None);
        assert_eq!(after.revision_of(1), 0);
        assert_eq!(after.number_revision("bb"), 2);
    }
    let after = Definitions::open(folder.path(), "boot-2").unwrap();
    assert_eq!(after.number_identity(pod("web")), 1);
    assert_eq!(after.number_revision("cc"), 3);
}

#[test]
fn a_torn_last_line_is_cut_and_what_follows_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("definitions.jsonl");
    let first = Definitions::open(folder.path(), "boot-1").unwrap();
    first.number_identity(pod("api"));
    first.write_generation(1, 0).unwrap();
    drop(first);
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"identity\":{\"id\":2,").unwrap();

    let second = Definitions::open(folder.path(), "boot-1").unwrap();
    assert_eq!(second.number_identity(pod("db")), 2);
    second.write_generation(2, 0).unwrap();
    drop(second);
    let third = Definitions::open(folder.path(), "boot-1").unwrap();
    assert_eq!(third.identity(2).map(|identity| identity.pod), Some("db".to_owned()));
}

#[test]
fn a_damaged_line_is_named_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("definitions.jsonl");
    fs::write(&path, "{\"boot\":\"boot-1\"}\n{\"identity\":7}\n").unwrap();
    let error = Definitions::open(folder.path(), "boot-1").unwrap_err().to_string();
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
    let first = Definitions::open(folder.path(), "boot-1").unwrap();
    assert_eq!(first.trails(), None, "nobody has said anything yet");
    first.set_trails(vec![trail("shop"), trail("bank")]).unwrap();
    drop(first);
    for boot in ["boot-1", "boot-2", "boot-2"] {
        let next = Definitions::open(folder.path(), boot).unwrap();
        assert_eq!(next.trails().as_deref(), Some(&[trail("bank"), trail("shop")][..]), "{boot}");
    }
    let last = Definitions::open(folder.path(), "boot-2").unwrap();
    last.set_trails(Vec::new()).unwrap();
    drop(last);
    let after = Definitions::open(folder.path(), "boot-2").unwrap();
    assert_eq!(after.trails().as_deref(), Some(&[][..]), "that there are none is known");
}

#[test]
fn numbers_that_are_left_out_are_never_given_by_this_agent_or_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let first = Definitions::open(folder.path(), "boot-1").unwrap();
    assert!(first.is_new());
    first.leave_out(1000);
    first.write_generation(1, 1).unwrap();
    drop(first);
    let second = Definitions::open(folder.path(), "boot-1").unwrap();
    assert!(!second.is_new());
    assert_eq!(second.number_identity(pod("api")), 1001);
    assert_eq!(second.number_rule_set(rules("allow")), 1001);
    let service = ObjectName { namespace: "shop".to_owned(), name: "api".to_owned() };
    assert_eq!(second.number_service(&service), 1001);
    assert_eq!((second.identity(7), second.rule_set(7)), (None, None));
}
