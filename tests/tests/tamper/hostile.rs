//! What somebody makes who wants a verifier to fail, to wait for ever, or to look elsewhere: names, links and pipes in a folder, and
//! files that say one thing to one reader and another to the next. Both verifiers find it, and end.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use nix::{sys::stat::Mode, unistd::mkfifo};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use podwitness_seals::document;
use podwitness_seals::seal::{Gap, Seal};
use podwitness_tests::sealed_root::golden::{Golden, SEEDS, golden};
use podwitness_tests::sealed_root::records::open;
use podwitness_tests::sealed_root::{Cluster, Node, SealedRoot, key, micros, signature_path};

use crate::expect::{Expect, Findings, all, one};
use crate::verifiers::{Question, ask, ask_about};

const FILE: &str = "verdicts/cluster=lab/namespace=ops/date=2026-01-02/hour=10/node-b-0b000000-0000-4000-8000-000000000001-000000000002.parquet";
const COVERAGE: &str =
    "coverage/cluster=lab/date=2026-01-02/node-b-0b000000-0000-4000-8000-000000000001-000000000002.parquet";

fn assert_found(root: &SealedRoot, golden: &Golden, what: &str, expected: &Findings) -> Result<()> {
    let found = ask(root, &Question::at(golden.as_of)).with_context(|| what.to_owned())?.findings();
    ensure!(found == *expected, "{what}: {found:#?}");
    Ok(())
}

/// Edits the newest seal of node-b that `fits`, and writes the chain behind it anew, as who holds its keys can.
fn reseal(root: &mut SealedRoot, fits: impl Fn(&Seal) -> bool, edit: impl FnOnce(&mut Seal)) {
    let mut seals: Vec<_> = root.seals().into_iter().filter(|(_, seal)| seal.node == "node-b").collect();
    seals.sort_by_key(|(_, seal)| seal.seal);
    let first = seals.iter().rposition(|(_, seal)| fits(seal)).expect("there is one");
    let mut previous = seals[first].1.previous_sha256.clone();
    let mut edit = Some(edit);
    for (path, mut seal) in seals.split_off(first) {
        if let Some(edit) = edit.take() {
            edit(&mut seal);
        }
        seal.previous_sha256 = previous;
        let signer = SEEDS.iter().map(|(_, seed)| key(*seed)).find(|key| key.public().id() == seal.key_id);
        let bytes = document::to_bytes(&seal);
        root.objects.insert(signature_path(&path), signer.expect("it is one of ours").sign(&bytes).to_vec());
        previous = Some(podwitness_seals::sha256(&bytes));
        root.objects.insert(path, bytes);
    }
}

/// Puts `bytes` in the place of the object at `path`, sealed as they are.
fn replace(root: &mut SealedRoot, path: &str, bytes: Vec<u8>) {
    let is_it = |seal: &Seal| seal.objects.iter().any(|object| object.path == path);
    reseal(root, is_it, |seal| {
        let object = seal.objects.iter_mut().find(|object| object.path == path).expect("it lists it");
        (object.sha256, object.bytes) = (podwitness_seals::sha256(&bytes), bytes.len() as u64);
    });
    root.objects.insert(path.to_owned(), bytes);
}

/// A file as `edit` has its rows and its metadata.
fn rewritten(
    bytes: &[u8],
    edit: impl FnOnce(RecordBatch) -> Result<RecordBatch>,
    mut says: impl FnMut(&mut Vec<KeyValue>),
) -> Result<Vec<u8>> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let mut pairs = reader.metadata().file_metadata().key_value_metadata().context("it has metadata")?.clone();
    pairs.retain(|pair| pair.key.starts_with("podwitness."));
    says(&mut pairs);
    let batch = edit(reader.build()?.next().context("it has rows")??)?;
    let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

/// The same rows with another column `name`, which may have nulls.
fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let at = batch.schema().index_of(name)?;
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields[at] = Arc::new(arrow_schema::Field::new(name, column.data_type().clone(), true));
    let mut columns = batch.columns().to_vec();
    columns[at] = column;
    Ok(RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), columns)?)
}

fn texts(batch: &RecordBatch, value: Option<&str>) -> ArrayRef {
    Arc::new(StringArray::from(vec![value; batch.num_rows()]))
}

#[test]
fn what_is_no_file_in_a_folder_is_stray_and_is_not_opened() -> Result<()> {
    type Make = fn(&Path) -> std::io::Result<()>;
    let golden = golden()?;
    let seal = Expect::of(&golden).chain("node-b").pop().context("it has seals")?;
    let outside = tempfile::tempdir()?;
    fs::create_dir(outside.path().join("folder"))?;
    let link: Make = |at| symlink("../../no-such-file", at);
    let folder: Make = |at| symlink("..", at);
    let pipe: Make = |at| mkfifo(at, Mode::S_IRWXU).map_err(Into::into);
    let instead = |path: &str| all([one("object-missing", path), one("stray", path)]);
    let cases: [(&str, &[u8], Make, Findings); 9] = [
        ("a link", b"verdicts/x", link, one("stray", "verdicts/x")),
        ("a link to a folder", b"seals/x", folder, one("stray", "seals/x")),
        ("a pipe", b"keys/x", pipe, one("stray", "keys/x")),
        ("a link for an object", FILE.as_bytes(), link, instead(FILE)),
        ("a pipe for an object", FILE.as_bytes(), pipe, instead(FILE)),
        ("a pipe for a seal", seal.as_bytes(), pipe, one("stray", &seal)),
        ("a pipe for the marker", b"podwitness.json", pipe, one("layout", "podwitness.json")),
        ("a folder for the marker", b"podwitness.json", |at| fs::create_dir(at), one("layout", "podwitness.json")),
        ("a large hole", FILE.as_bytes(), |at| fs::File::create(at)?.set_len(1 << 40), one("object-altered", FILE)),
    ];
    for (what, path, make, expected) in cases {
        let root = tempfile::tempdir()?;
        golden.root.write(root.path())?;
        let at = root.path().join(OsStr::from_bytes(path));
        let _ = fs::remove_file(&at);
        if what.ends_with("for a seal") {
            fs::remove_file(root.path().join(signature_path(&seal)))?;
        }
        make(&at)?;
        let found = ask_about(root.path(), &Question::at(golden.as_of)).context(what)?.findings();
        ensure!(found == expected, "{what}: {found:#?}");
    }
    Ok(())
}

#[test]
fn what_stands_in_a_folder_is_found_whatever_its_name() -> Result<()> {
    let golden = golden()?;
    let names: [(&[u8], &str); 4] = [
        (b"verdicts/cluster=lab/\xff/x", "verdicts/cluster=lab/\u{fffd}/x"),
        (b"verdicts/\xe2\x82", "verdicts/\u{fffd}"),
        (b"coverage/a\nGOOD\x1b[2J", "coverage/a\nGOOD\u{1b}[2J"),
        (b"policies/x#", "policies/x#"),
    ];
    let root = tempfile::tempdir()?;
    golden.root.write(root.path())?;
    for (name, _) in names {
        let at = root.path().join(OsStr::from_bytes(name));
        fs::create_dir_all(at.parent().context("it is in a folder")?)?;
        fs::write(at, "hello")?;
    }
    let found = ask_about(root.path(), &Question::at(golden.as_of))?.findings();
    ensure!(found == all(names.map(|(_, told)| one("stray", told))), "{found:#?}");
    Ok(())
}

#[test]
fn a_name_has_one_form() -> Result<()> {
    let golden = golden()?;
    let seal = Expect::of(&golden).chain("node-b").pop().context("it has seals")?;
    let mut root = golden.root.clone();
    let numbered = |number: &str| seal.replace("000000000005", number);
    let strays = [
        FILE.replace("date=2026-01-02", "date=2026-02-31"),
        FILE.replace("date=2026-01-02", "date=0000-01-02"),
        FILE.replace("namespace=ops", "namespace=%6Fps"),
        FILE.replace("namespace=ops", "namespace=%FF"),
        FILE.replace(".parquet", "_parquet"),
        FILE.replace("000000000002", "000000000000"),
        seal.replace("cluster=lab", "cluster=%6Cab"),
        numbered("000000000000"),
        numbered("9007199254740992"),
        numbered("18446744073709551615"),
        numbered("99999999999999999999999"),
        "deletions/cluster=lab/000000000000.json".to_owned(),
    ];
    for stray in &strays {
        root.put(stray, b"hello".to_vec());
    }
    let node = "coverage/cluster=lab/date=2026-01-02/--a-000000000001.parquet";
    root.put(node, b"hello".to_vec());
    let expected = all(strays.iter().map(|stray| one("stray", stray)).chain([one("object-unsealed", node)]));
    assert_found(&root, &golden, "names", &expected)
}

#[test]
fn a_path_in_a_seal_leads_nowhere_else() -> Result<()> {
    let golden = golden()?;
    let outside = tempfile::tempdir()?;
    let written = outside.path().join("written");
    let order = format!("{FILE}', file_row_number = true); COPY (SELECT 1) TO '{}'; --", written.display());
    let public = golden.root.paths("keys/")[0].clone();
    for (path, is_there) in
        [(order.as_str(), true), (&public, false), ("verdicts/../podwitness.json", false), ("/etc/passwd", false)]
    {
        let mut root = golden.root.clone();
        let bytes = root.objects[FILE].clone();
        let listed = root.objects.get(path).unwrap_or(&bytes).clone();
        let is_it = |seal: &Seal| seal.objects.iter().any(|object| object.path == FILE);
        reseal(&mut root, is_it, |seal| {
            let object = seal.objects.iter_mut().find(|object| object.path == FILE).expect("it lists it");
            path.clone_into(&mut object.path);
            (object.sha256, object.bytes) = (podwitness_seals::sha256(&listed), listed.len() as u64);
        });
        if is_there {
            root.put(path, bytes);
        }
        let listed = all([one("object-contradicts", path), one("object-missing", path), one("object-unsealed", FILE)]);
        let stray = if is_there { one("stray", path) } else { Findings::new() };
        assert_found(&root, &golden, path, &all([listed, stray]))?;
        ensure!(!written.exists(), "a path was taken for an order");
    }
    Ok(())
}

#[test]
fn a_file_says_the_same_to_every_reader() -> Result<()> {
    let golden = golden()?;
    let root = &golden.root;
    let (verdicts, coverage) = (&root.objects[FILE], &root.objects[COVERAGE]);
    let same = |_: &mut Vec<KeyValue>| {};
    let balance = |text: Option<&str>| {
        let edit = |batch: RecordBatch| {
            let batch = with_column(&batch, "event", texts(&batch, Some("balance")))?;
            with_column(&batch, "balance", texts(&batch, text))
        };
        rewritten(coverage, edit, same)
    };
    let balanced = r#""denied_attempts":{"after":0,"before":0},"denied_lost":0,"denied_recorded":0,"events_accepted":{"after":0,"before":0},"events_offered":0,"events_read":0,"events_refused":0,"lost_recorded":0,"lost_unattributed":0,"records_lost":{"after":0,"before":0},"ring":"r","spooled":{}}"#;
    let nulls = |column: &'static str| {
        let edit = |batch: RecordBatch| {
            let at = batch.schema().index_of(column)?;
            // All but the second value are as they were.
            let data = batch.column(at).to_data();
            let bits: Vec<u8> = vec![0xfd; batch.num_rows().div_ceil(8)];
            let data = data.into_builder().null_bit_buffer(Some(bits.into())).build()?;
            with_column(&batch, column, arrow_array::make_array(data))
        };
        rewritten(verdicts, edit, same)
    };
    let lying = {
        // The statistics say of the event what would have a reader leave the row out.
        let mut bytes = balance(Some("none"))?;
        let (needle, footer) =
            (b"\x07balance", bytes.len() - 8 - u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into()?) as usize);
        let mut places: Vec<_> = (footer..bytes.len() - 8).filter(|at| bytes[*at..].starts_with(needle)).collect();
        // Behind the column's name a number stands, its type or its codec.
        places.retain(|at| !matches!(bytes[at + 8], 0x15 | 0x25));
        ensure!(matches!(places.len(), 2 | 4), "the least and the greatest value stand at {places:?}");
        for at in places {
            bytes[at + 1] = b'a';
        }
        bytes
    };
    let contradicts = |path| one("object-contradicts", path);
    let cases = [
        ("as it is", FILE, rewritten(verdicts, Ok, same)?, Findings::new()),
        ("a balance", COVERAGE, balance(Some(&format!("{{{balanced}")))?, Findings::new()),
        (
            "a balance with a key twice",
            COVERAGE,
            balance(Some(&format!(r#"{{"ring":"a",{balanced}"#)))?,
            one("balance", COVERAGE),
        ),
        ("no balance", COVERAGE, balance(None)?, one("balance", COVERAGE)),
        ("a deep balance", COVERAGE, balance(Some(&"[".repeat(100_000)))?, one("balance", COVERAGE)),
        ("statistics that lie", COVERAGE, lying, one("balance", COVERAGE)),
        (
            "no table",
            COVERAGE,
            rewritten(coverage, Ok, |pairs| pairs.retain(|pair| pair.key != "podwitness.table"))?,
            contradicts(COVERAGE),
        ),
        (
            "a key by another name",
            FILE,
            rewritten(verdicts, Ok, |pairs| {
                let node = pairs.iter_mut().find(|pair| pair.key == "podwitness.node").expect("it has one");
                "node".clone_into(&mut node.key);
            })?,
            contradicts(FILE),
        ),
        ("a row without a time", FILE, nulls("time")?, contradicts(FILE)),
        ("a row without a number", FILE, nulls("seq")?, contradicts(FILE)),
    ];
    for (what, path, bytes, expected) in cases {
        let mut root = root.clone();
        replace(&mut root, path, bytes);
        assert_found(&root, &golden, what, &expected)?;
    }
    Ok(())
}

/// A file on which the library of `podwitness verify` panics: a number in its footer that must not be negative, is.
fn panicking(bytes: &[u8]) -> Result<Vec<u8>> {
    let footer = bytes.len() - 8 - u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into()?) as usize;
    let read = |bytes: &[u8]| -> Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        let file = SerializedFileReader::new(file)?;
        let columns = file.metadata().file_metadata().schema_descr().columns();
        let times = columns.iter().position(|column| column.name() == "time").context("it has times")?;
        Ok(file.get_row_group(0)?.get_column_page_reader(times).map(drop)?)
    };
    // The lowest bit of a number of Thrift's compact protocol is its sign.
    let others = (footer..bytes.len() - 8).map(|at| {
        let mut other = bytes.to_vec();
        other[at] ^= 1;
        other
    });
    let panics = |other: &Vec<u8>| catch_unwind(AssertUnwindSafe(|| read(other))).is_err();
    others.into_iter().find(panics).context("the library panics on nothing: its guard can go")
}

#[test]
fn a_file_on_which_a_reader_panics_is_a_finding() -> Result<()> {
    let golden = golden()?;
    let mut root = golden.root.clone();
    for path in [FILE, COVERAGE] {
        replace(&mut root, path, panicking(&golden.root.objects[path])?);
    }
    let expected = all([one("object-contradicts", FILE), one("object-contradicts", COVERAGE)]);
    assert_found(&root, &golden, "files that make their reader panic", &expected)
}

#[test]
fn what_waits_for_its_seal_agrees_with_itself_and_goes_on_behind_a_gap() -> Result<()> {
    let golden = golden()?;
    let mut beside = SealedRoot::new();
    let boot = "0b000000-0000-4000-8000-000000000001";
    let mut node = Node::begin(&mut beside, Cluster::named("lab"), "node-b", 3, boot, micros(10, 0, 0))?;
    // The sealed part of the sequence ended with the ninth record; two more were lost.
    node.witness(&mut beside, (1..=11).map(|port| open("ops", micros(10, 1, 0), port)).collect())?;
    let sealed = beside.paths("verdicts/");
    node.witness(&mut beside, vec![open("ops", micros(12, 32, 0), 12)])?;
    let path = beside.paths("verdicts/").into_iter().find(|path| !sealed.contains(path)).context("it was put")?;
    let mut root = golden.root.clone();
    root.put(&path, beside.objects[&path].clone());
    assert_found(&root, &golden, "no gap", &one("object-unsealed", &path))?;
    reseal(
        &mut root,
        |_| true,
        |seal| {
            seal.gaps.push(Gap {
                table: "verdicts".to_owned(),
                namespace: Some("ops".to_owned()),
                boot: boot.to_owned(),
                first_seq: 10,
                last_seq: 11,
                cause: "spool-damage".to_owned(),
            });
        },
    );
    assert_found(&root, &golden, "a gap", &Findings::new())?;
    let other = |batch: RecordBatch| with_column(&batch, "node", texts(&batch, Some("node-x")));
    let bytes = rewritten(&root.objects[&path], other, |_| {})?;
    root.objects.insert(path.clone(), bytes);
    assert_found(&root, &golden, "rows of another node", &one("object-unsealed", &path))
}

#[test]
fn what_is_asked_for_beyond_all_time_is_kept_for_all_time() -> Result<()> {
    let golden = golden()?;
    let mut root = golden.root.clone();
    let is_it = |seal: &Seal| seal.objects.iter().any(|object| object.path == FILE);
    let asks = |seconds| podwitness_tests::sealed_root::asks("ops", seconds, false);
    reseal(&mut root, is_it, |seal| {
        seal.retention = vec![asks((1 << 53) - 1)];
        for object in &mut seal.objects {
            object.retain_until = podwitness_seals::time::Time::from_micros(i64::MAX);
        }
    });
    assert_found(&root, &golden, "for ever", &Findings::new())?;
    // Of two the longer one holds.
    let mut root = golden.root.clone();
    reseal(&mut root, is_it, |seal| seal.retention = vec![asks(1), asks(1 << 30)]);
    let shortened = root.seals().into_iter().flat_map(|(_, seal)| seal.objects).filter(|object| object.path == FILE);
    assert_found(&root, &golden, "twice", &all(shortened.map(|object| one("retention-shortened", &object.path))))
}
