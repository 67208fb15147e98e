//! What is done to a root, and everything that must be found of it.

use std::sync::LazyLock;

use podwitness_schemas::layout;
use podwitness_seals::document;
use podwitness_seals::seal::{Chain, NamespaceRetention};
use podwitness_seals::time::Time;
use podwitness_tests::sealed_root::golden::{Golden, golden};
use podwitness_tests::sealed_root::{Cluster, Deletions, Node, SealedRoot, key, micros, signature_path};

use crate::rewrite::{put, recount, rewrite, seal, seal_path};

/// A root that is not as it should be.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) root: SealedRoot,
    /// Microseconds since 1970.
    pub(crate) as_of: i64,
    pub(crate) options: Vec<String>,
    /// The names of the keys that the verifier is given; `None` for none.
    pub(crate) trusted: Option<Vec<&'static str>>,
    /// `code object`, all of them.
    pub(crate) expected: Vec<String>,
}

const SHOP: &str = "verdicts/cluster=lab/namespace=shop/";
const OPS: &str = "verdicts/cluster=lab/namespace=ops/";

// Each is made once: its records go through a spool, which syncs.
static GOLDEN: LazyLock<Golden> = LazyLock::new(|| golden().unwrap());
static IDLE: LazyLock<SealedRoot> = LazyLock::new(|| {
    let mut root = SealedRoot::new();
    let mut node = Node::begin(&mut root, Cluster::named("lab"), "node-a", 1, "boot-1", micros(10, 0, 0)).unwrap();
    for minute in [5, 10, 15, 20] {
        node.seal(&mut root, micros(10, minute, 0));
    }
    let mut deletions = Deletions::begin(&mut root, Cluster::named("lab"), 4);
    for minute in [5, 10, 15] {
        deletions.delete(&mut root, micros(10, minute, 0), &[]).unwrap();
    }
    root
});

/// The golden root, to which `tamper` does something and tells what must be found.
fn case(name: &'static str, tamper: impl FnOnce(&mut SealedRoot) -> Vec<String>) -> Case {
    let mut root = GOLDEN.root.clone();
    let expected = tamper(&mut root);
    Case { name, root, as_of: GOLDEN.as_of, options: Vec::new(), trusted: None, expected }
}

fn told(options: &[&str], case: Case) -> Case {
    Case { options: options.iter().map(|option| (*option).to_owned()).collect(), ..case }
}

fn given(trusted: &[&'static str], case: Case) -> Case {
    Case { trusted: Some(trusted.to_vec()), ..case }
}

/// Four idle seals of one node, and three deletions of nothing.
fn idle(name: &'static str, tamper: impl FnOnce(&mut SealedRoot) -> Vec<String>) -> Case {
    let mut root = IDLE.clone();
    let expected = tamper(&mut root);
    Case { name, root, as_of: micros(10, 22, 0), options: Vec::new(), trusted: None, expected }
}

fn found<const N: usize>(findings: [(&str, &str); N]) -> Vec<String> {
    findings.map(|(code, object)| format!("{code} {object}")).to_vec()
}

fn remove_document(root: &mut SealedRoot, path: &str) {
    root.objects.remove(path).unwrap();
    root.objects.remove(&signature_path(path)).unwrap();
}

fn first(root: &SealedRoot, prefix: &str) -> String {
    root.paths(prefix)[0].clone()
}

fn of_root() -> Vec<Case> {
    vec![
        case("the root says nothing of itself", |root| {
            root.objects.remove(layout::ROOT_MARKER_PATH);
            found([("layout", "podwitness.json")])
        }),
        case("the root is of another layout", |root| {
            root.objects.insert(layout::ROOT_MARKER_PATH.to_owned(), br#"{"layout":2}"#.to_vec());
            found([("layout", "podwitness.json")])
        }),
        case("something else stands among the evidence", |root| {
            root.put("verdicts/README", Vec::new());
            root.put("seals/cluster=lab/node=node-a/notes.json", Vec::new());
            root.put("keys/other.pem", Vec::new());
            root.put("beside/README", Vec::new());
            found([
                ("stray", "verdicts/README"),
                ("stray", "seals/cluster=lab/node=node-a/notes.json"),
                ("stray", "keys/other.pem"),
            ])
        }),
        told(
            &["--nodes", "lab/node-a,lab/node-c"],
            case("a node that should be there is not", |_| found([("chain-missing", "seals/cluster=lab/node=node-c")])),
        ),
        told(
            &["--pin", &format!("lab/node-a={}", "0".repeat(64))],
            case("a chain does not have the seal that was pinned", |_| {
                found([("pin-missing", "seals/cluster=lab/node=node-a")])
            }),
        ),
    ]
}

fn of_keys() -> Vec<Case> {
    let seals_of = |root: &SealedRoot, code: &str, keep: fn(u64) -> bool| -> Vec<String> {
        let seals = root.seals().into_iter().filter(|(_, seal)| seal.node == "node-a" && keep(seal.seal));
        seals.map(|(path, _)| format!("{code} {path}")).collect()
    };
    vec![
        case("a key has the name of another", |root| {
            let path = layout::key_path(&key(4).public().id().0);
            root.objects.insert(path.clone(), key(9).public().to_pem().into_bytes());
            let mut expected = found([("key-unreadable", &path)]);
            let signed = root.deletions().into_iter().filter(|(_, deletion)| deletion.key_id == key(4).public().id());
            expected.extend(signed.map(|(path, _)| format!("key-missing {path}")));
            expected
        }),
        case("a key is gone", |root| {
            root.objects.remove(&layout::key_path(&key(1).public().id().0)).unwrap();
            seals_of(root, "key-missing", |number| number <= 3)
        }),
        given(&["node-b", "retain"], {
            case("a chain is signed by keys that nobody vouches for", |root| seals_of(root, "key-untrusted", |_| true))
        }),
        given(&["node-a", "node-b", "retain"], {
            case("a chain goes on with a key that was not handed over", |root| {
                rewrite(root, "node-a", |seal| {
                    if seal.seal >= 4 {
                        seal.key_id = key(3).public().id();
                    }
                });
                vec![format!("chain-broken {}", seal_path(root, "node-a", 4))]
            })
        }),
    ]
}

fn of_documents() -> Vec<Case> {
    vec![
        case("a seal is not in its canonical form", |root| {
            let path = seal_path(root, "node-a", 2);
            root.objects.get_mut(&path).unwrap().push(b'\n');
            found([("document-malformed", &path), ("chain-broken", &seal_path_of_next(&path))])
        }),
        case("a seal lacks a key that may be null", |root| {
            let path = seal_path(root, "node-b", 5);
            let text = String::from_utf8(root.objects[&path].clone()).unwrap();
            root.objects.insert(path.clone(), text.replace(r#""next_key_id":null,"#, "").into_bytes());
            found([("document-malformed", &path)])
        }),
        case("a seal was moved to another boot", |root| {
            let path = seal_path(root, "node-a", 2);
            let moved = path.replace("-000000000002.json", "0-000000000002.json");
            for (from, to) in [(path.clone(), moved.clone()), (signature_path(&path), signature_path(&moved))] {
                let bytes = root.objects.remove(&from).unwrap();
                root.put(&to, bytes);
            }
            found([("document-misplaced", &moved)])
        }),
        case("a seal has no signature", |root| {
            let path = seal_path(root, "node-a", 1);
            root.objects.remove(&signature_path(&path)).unwrap();
            found([("signature-missing", &path)])
        }),
        case("a seal has the signature of another", |root| {
            let (path, other) = (seal_path(root, "node-a", 1), seal_path(root, "node-a", 2));
            let signature = root.objects[&signature_path(&other)].clone();
            root.objects.insert(signature_path(&path), signature);
            found([("signature-wrong", &path)])
        }),
        case("a deletion's signature is cut", |root| {
            let path = first(root, "deletions/");
            root.objects.get_mut(&signature_path(&path)).unwrap().truncate(63);
            found([("signature-wrong", &path)])
        }),
        case("a signature has lost its seal", |root| {
            let stray = seal_path(root, "node-b", 5).replace("0005.json", "0007.json.sig");
            root.put(&stray, vec![0; 64]);
            found([("signature-stray", &stray)])
        }),
    ]
}

/// The path of the seal behind the second of node-a.
fn seal_path_of_next(path: &str) -> String {
    path.replace("000000000002", "000000000003")
}

fn of_chains() -> Vec<Case> {
    vec![
        idle("a chain has lost its first seal", |root| {
            let path = seal_path(root, "node-a", 1);
            remove_document(root, &path);
            found([("chain-begins-late", &seal_path(root, "node-a", 2))])
        }),
        idle("a chain has lost two seals in its middle", |root| {
            for number in [2, 3] {
                let path = seal_path(root, "node-a", number);
                remove_document(root, &path);
            }
            found([("seal-missing", "seals/cluster=lab/node=node-a/*-000000000002.json")])
        }),
        idle("a chain of deletions has lost one", |root| {
            let path = layout::deletion_path("lab", 2);
            remove_document(root, &path);
            found([("deletion-missing", &path)])
        }),
        idle("two seals have one number", |root| {
            let mut twin = seal(root, "node-a", 4);
            "boot-0".clone_into(&mut twin.boot);
            let path = layout::seal_path("lab", "node-a", "boot-0", 4);
            put(root, &path, &twin);
            found([("chain-forked", &path), ("chain-forked", &layout::seal_path("lab", "node-a", "boot-1", 4))])
        }),
        idle("a seal names another one before it", |root| {
            let mut last = seal(root, "node-a", 4);
            last.previous_sha256 = Some("0".repeat(64));
            let path = seal_path(root, "node-a", 4);
            put(root, &path, &last);
            found([("chain-broken", &path)])
        }),
        idle("a window does not begin where the one before ended", |root| {
            let path = seal_path(root, "node-a", 4);
            let mut last = seal(root, "node-a", 4);
            last.window.start = Time::from_micros(micros(10, 16, 0));
            put(root, &path, &last);
            found([("chain-broken", &path)])
        }),
        idle("a seal in the middle says that it is the first", |root| {
            let path = seal_path(root, "node-a", 4);
            let mut last = seal(root, "node-a", 4);
            last.chain = Chain::Begins;
            put(root, &path, &last);
            found([("chain-broken", &path)])
        }),
        idle("a chain has lost its newest seals", |root| {
            for number in [3, 4] {
                let path = seal_path(root, "node-a", number);
                remove_document(root, &path);
            }
            found([("chain-ends-early", &seal_path(root, "node-a", 2))])
        }),
    ]
}

fn of_objects() -> Vec<Case> {
    vec![
        case("an object is gone", |root| {
            let path = first(root, SHOP);
            root.objects.remove(&path).unwrap();
            found([("object-missing", &path)])
        }),
        case("a byte of an object is another one", |root| {
            let path = first(root, "coverage/");
            *root.objects.get_mut(&path).unwrap().last_mut().unwrap() ^= 1;
            found([("object-altered", &path)])
        }),
        case("an object is cut", |root| {
            let path = first(root, "policies/");
            root.objects.get_mut(&path).unwrap().pop();
            found([("object-altered", &path)])
        }),
        case("an object has a second name", |root| {
            let path = first(root, SHOP);
            let copy = path.replace("namespace=shop", "namespace=other");
            root.put(&copy, root.objects[&path].clone());
            found([("object-unsealed", &copy)])
        }),
        case("an object is no Parquet", |root| {
            let path = first(root, SHOP).replace("node-a", "node-c");
            root.put(&path, b"PAR1 and nothing more".to_vec());
            found([("object-unsealed", &path)])
        }),
        case("two seals list one object", |root| {
            let path = first(root, SHOP);
            let mut twice = None;
            rewrite(root, "node-a", |seal| {
                if let Some(object) = seal.objects.iter().find(|object| object.path == path) {
                    twice = Some(object.clone());
                } else if let Some(object) = twice.take() {
                    seal.objects.push(object);
                    recount(seal);
                }
            });
            found([("object-twice", &path), ("sequence-overlap", &path)])
        }),
        case("a seal says another version of a file's columns", |root| {
            let path = first(root, SHOP);
            rewrite(root, "node-a", |seal| {
                seal.objects
                    .iter_mut()
                    .filter(|object| object.path == path)
                    .for_each(|object| object.schema_version += 1);
            });
            found([("object-contradicts", &path)])
        }),
        case("a seal says another last time of a file's rows", |root| {
            let path = first(root, SHOP);
            rewrite(root, "node-a", |seal| {
                let object = seal.objects.iter_mut().find(|object| object.path == path);
                if let Some(object) = object {
                    object.last_time = Time::from_micros(object.last_time.micros() - 1);
                }
            });
            found([("object-contradicts", &path)])
        }),
    ]
}

fn of_counts() -> Vec<Case> {
    vec![
        case("an object was never sealed, and nobody says so", |root| {
            let paths = root.paths(OPS);
            let (gone, next) = (paths[0].clone(), paths[1].clone());
            root.objects.remove(&gone).unwrap();
            rewrite(root, "node-b", |seal| {
                seal.objects.retain(|object| object.path != gone);
                recount(seal);
            });
            found([("sequence-gap", &next)])
        }),
        case("what the spool lost is said by nobody", |root| {
            rewrite(root, "node-b", |seal| seal.gaps.clear());
            let path = root.paths(OPS)[1].clone();
            found([("sequence-gap", &path)])
        }),
        case("more was read from the spool than was sealed", |root| {
            rewrite(root, "node-b", |seal| {
                if seal.seal == 2 {
                    seal.balance.rows.get_mut("verdicts").unwrap().spooled += 1;
                }
            });
            found([("balance", &seal_path(root, "node-b", 2))])
        }),
        case("the kernel let through more than came out", |root| {
            rewrite(root, "node-b", |seal| {
                if seal.seal == 5 {
                    seal.balance.kernel.as_mut().unwrap().denied_attempts.before += 1;
                }
            });
            found([("balance", &seal_path(root, "node-b", 5))])
        }),
    ]
}

fn of_retention() -> Vec<Case> {
    let shorter = |seal: &mut podwitness_seals::seal::Seal| {
        if seal.seal == 4 {
            seal.retention.iter_mut().filter(|asked| asked.namespace == "shop").for_each(|asked| asked.seconds += 1);
        }
    };
    vec![
        case("a seal keeps for less than its namespace asked for", |root| {
            let path = seal(root, "node-a", 4).objects[0].path.clone();
            rewrite(root, "node-a", shorter);
            found([("retention-shortened", &path)])
        }),
        case("an object was deleted too early", |root| {
            let path = root.paths(SHOP).pop().unwrap();
            deletion_of(root, micros(12, 34, 0), Cluster::named("lab"), &path);
            found([("retention-early", &path)])
        }),
        case("an object was deleted while it was on hold", |root| {
            let path = first(root, OPS);
            let hold = podwitness_tests::sealed_root::asks("ops", 0, true);
            deletion_of(root, micros(12, 34, 0), Cluster { retention: vec![hold], ..Cluster::named("lab") }, &path);
            found([("retention-early", &path)])
        }),
        case("an object was deleted although its node went on asking for longer", |root| {
            let path = first(root, OPS);
            // What is sealed from then on follows what is asked for; what was sealed before is not touched by it.
            rewrite(root, "node-b", |seal| {
                if seal.seal >= 2 {
                    let hours = 10 * 3600;
                    let raised = |asked: &mut NamespaceRetention| (asked.hold, asked.seconds) = (false, hours);
                    seal.retention.iter_mut().filter(|asked| asked.namespace == "ops").for_each(raised);
                    let of_ops = seal.objects.iter_mut().filter(|object| object.namespace.as_deref() == Some("ops"));
                    of_ops.for_each(|object| object.retain_until = object.last_time.after(hours));
                }
            });
            let cluster = Cluster { default_seconds: 3600, ..Cluster::named("lab") };
            deletion_of(root, micros(11, 5, 30), cluster, &path);
            found([("retention-disregarded", &layout::deletion_path("lab", 3))])
        }),
        case("a deletion lists what no seal lists", |root| {
            let (path, deletion) = root.deletions().pop().unwrap();
            let mut deletion = deletion;
            deletion.objects[0].rows += 1;
            let bytes = document::to_bytes(&deletion);
            root.objects.insert(signature_path(&path), key(5).sign(&bytes).to_vec());
            root.objects.insert(path, bytes);
            found([("retention-early", &deletion.objects[0].path)])
        }),
    ]
}

/// A third deletion, in the chain of the golden root's.
fn deletion_of(root: &mut SealedRoot, time: i64, cluster: Cluster, path: &str) {
    let (last, before) = root.deletions().pop().unwrap();
    let mut apart = root.clone();
    apart.objects.retain(|path, _| !path.starts_with("deletions/"));
    let made = Deletions::begin(&mut apart, cluster, 5).delete(&mut apart, time, &[path.to_owned()]).unwrap();
    let mut deletion: podwitness_seals::deletion::Deletion = document::from_bytes(&apart.objects[&made]).unwrap();
    deletion.deletion = before.deletion + 1;
    deletion.previous_sha256 = Some(podwitness_seals::sha256(&root.objects[&last]));
    root.put_document(&layout::deletion_path("lab", deletion.deletion), &deletion, &key(5));
    root.objects.remove(path).unwrap();
}

/// Every one.
pub(crate) fn all() -> Vec<Case> {
    let cases = [of_root(), of_keys(), of_documents(), of_chains(), of_objects(), of_counts(), of_retention()];
    cases.into_iter().flatten().collect()
}
