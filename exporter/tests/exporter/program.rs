//! The program as a whole, and what its person is told.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Child;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use podwitness_config::Config;
use podwitness_exporter::metrics::Metrics;
use podwitness_exporter::run::{self, Exporter};
use podwitness_runtime::readiness::Readiness;
use podwitness_runtime::shutdown::Shutdown;
use podwitness_spool::{Origin, Reader};

use crate::support::{self, Bench, Dictionary, checkpoint, files_below, open, origin, rows_of, wait_until};

/// A page of the exporter that said where it listens.
fn ask(exporter: &support::Exporter, page: &str) -> String {
    let line = exporter.wait_for("exporter started");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let mut stream = TcpStream::connect(line["listen"].as_str().unwrap()).unwrap();
    write!(stream, "GET {page} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn is_ready(exporter: &support::Exporter) -> bool {
    ask(exporter, "/readyz").starts_with("HTTP/1.1 200")
}

#[test]
fn what_is_in_the_spool_is_exported_and_counted_and_a_stop_exports_the_rest() {
    let bench = Bench::new();
    let mut writer = bench.writer(origin());
    let records: Vec<_> = (1..=10).map(|port| open("shop", port)).collect();
    writer.commit(records, &Dictionary, &checkpoint(1)).unwrap();
    let exporter = bench.start();
    let metrics = wait_until("the first batch is done", || {
        let metrics = ask(&exporter, "/metrics");
        let done = metrics.contains("podwitness_exporter_records_exported_total 10")
            && metrics.contains("podwitness_exporter_oldest_unexported_age_seconds 0.0");
        done.then_some(metrics)
    });
    assert!(is_ready(&exporter));
    for line in [
        "podwitness_exporter_records_read_total 10",
        "podwitness_exporter_objects_put_total 1",
        "podwitness_exporter_put_failures_total{kind=\"forbidden\"} 0",
        "podwitness_exporter_spool_damaged_bytes_total 0",
        "podwitness_exporter_spool_bytes ",
        "podwitness_exporter_last_put_timestamp_seconds 1",
        "podwitness_exporter_put_bytes_total ",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }

    writer.commit(vec![open("shop", 11)], &Dictionary, &checkpoint(2)).unwrap();
    exporter.stop();
    let rows: Vec<_> =
        bench.objects().iter().flat_map(|path| rows_of(path)).map(|(_, seq, port)| (seq, port)).collect();
    assert_eq!(rows, (1..=11).map(|n| (i64::from(n), n)).collect::<Vec<_>>());
    let marker = fs::read_to_string(bench.store().join("podwitness.json")).unwrap();
    assert!(marker.contains("\"layout\":1"), "{marker}");
}

#[test]
fn an_empty_spool_makes_no_file() {
    let bench = Bench::new();
    let mut writer = bench.writer(origin());
    writer.commit(Vec::new(), &Dictionary, &checkpoint(1)).unwrap();
    bench.start().stop();
    assert_eq!(bench.objects(), Vec::<std::path::PathBuf>::new());
    assert!(Reader::open(&bench.spool()).unwrap().next().unwrap().is_none(), "a checkpoint alone is done too");
}

#[test]
fn the_exporter_waits_for_an_agent_that_starts_later() {
    let bench = Bench::new();
    let exporter = bench.start();
    exporter.wait_for("waiting for the agent to make the spool");
    assert!(ask(&exporter, "/readyz").contains("spool open"));
    bench.writer(origin()).commit(vec![open("shop", 1)], &Dictionary, &checkpoint(1)).unwrap();
    wait_until("the record is in the store", || (bench.objects().len() == 1).then_some(()));
    exporter.stop();
}

#[test]
fn it_is_awaited_that_the_agent_writes_no_more() {
    let bench = Bench::new();
    let await_agent = || bench.command().arg("--await-agent").spawn().unwrap();
    let ended = |mut waiting: Child| wait_until("the wait ends", || waiting.try_wait().unwrap()).code();
    assert_eq!(ended(await_agent()), Some(0), "there is no spool");

    let writer = bench.writer(origin());
    let mut waiting = await_agent();
    sleep(Duration::from_secs(1));
    assert_eq!(waiting.try_wait().unwrap(), None, "the agent writes");
    drop(writer);
    assert_eq!(ended(waiting), Some(0));
    drop(bench.writer(origin()));
}

#[test]
fn an_agent_of_another_version_begins_another_file() {
    let bench = Bench::new();
    for (version, position) in [("0.1.0", 1), ("0.2.0", 2)] {
        let origin = Origin { agent_version: version.to_owned(), ..origin() };
        bench.writer(origin).commit(vec![open("shop", 1)], &Dictionary, &checkpoint(position)).unwrap();
    }
    bench.start().stop();
    let seqs: Vec<Vec<_>> =
        bench.objects().iter().map(|path| rows_of(path).into_iter().map(|(_, seq, _)| seq).collect()).collect();
    assert_eq!(seqs, [[1], [2]]);
}

#[test]
fn a_store_that_comes_back_gets_everything_and_its_absence_is_told_once() {
    let bench = Bench::new();
    fs::write(bench.store(), "a file where the folder should be").unwrap();
    bench.writer(origin()).commit(vec![open("shop", 1)], &Dictionary, &checkpoint(1)).unwrap();
    let exporter = bench.start();
    let line = exporter.wait_for("cannot write file://");
    assert!(
        line.contains("create the bucket or folder, or correct the evidence root's URL; the spool keeps the evidence"),
        "{line}"
    );
    assert!(!is_ready(&exporter));
    wait_until("it was tried again", || {
        let metrics = ask(&exporter, "/metrics");
        let line =
            metrics.lines().find(|line| line.starts_with("podwitness_exporter_put_failures_total{kind=\"missing\"}"));
        line.is_some_and(|line| !line.ends_with(" 0") && !line.ends_with(" 1")).then_some(())
    });
    fs::remove_file(bench.store()).unwrap();
    exporter.wait_for("the store takes evidence again");
    wait_until("the record is in the store", || (bench.objects().len() == 1).then_some(()));
    assert!(is_ready(&exporter));
    assert_eq!(exporter.log().matches("cannot write").count(), 1, "{}", exporter.log());
    exporter.stop();
}

#[test]
fn an_object_with_other_bytes_stops_the_batch_and_is_never_overwritten() {
    let bench = Bench::new();
    bench.writer(origin()).commit(vec![open("shop", 1)], &Dictionary, &checkpoint(1)).unwrap();
    bench.start().stop();
    let object = bench.objects().remove(0);
    fs::write(&object, "tampered").unwrap();
    fs::remove_file(bench.path("spool/exporter/cursor")).unwrap();

    let exporter = bench.start();
    let line = exporter.wait_for("it is there already with other bytes");
    assert!(line.contains("nothing was overwritten"), "{line}");
    assert!(!is_ready(&exporter));
    exporter.kill();
    assert_eq!(fs::read(&object).unwrap(), b"tampered");
    assert!(bench.staging().join("plan.json").exists(), "the batch stays");
    let left = Reader::open(&bench.spool()).unwrap().next().unwrap();
    assert_eq!(left.expect("the spool keeps it").records.len(), 1);
}

#[test]
fn a_batch_whose_cursor_had_moved_before_the_kill_is_not_exported_again() {
    let bench = Bench::new();
    let mut writer = bench.writer(origin());
    writer.commit(vec![open("shop", 1)], &Dictionary, &checkpoint(1)).unwrap();
    fs::write(bench.store(), "").unwrap();
    let exporter = bench.start();
    exporter.wait_for("cannot write");
    fs::remove_file(bench.store()).unwrap();
    exporter.wait_for("the store takes evidence again");
    wait_until("the record is in the store", || (bench.objects().len() == 1).then_some(()));
    exporter.stop();
    let staged = fs::read(bench.objects().remove(0)).unwrap();

    // As a kill between the cursor's move and the plan's removal leaves it.
    let plan = serde_json::json!({
        "version": 2,
        "end": position_after_first_batch(&bench),
        "files": [{
            "path": bench.objects().remove(0).strip_prefix(bench.store()).unwrap(),
            "staged": "0.parquet",
            "bytes": staged.len(),
            "sha256": format!("{:x}", <sha2::Sha256 as sha2::Digest>::digest(&staged)),
            "table": "verdicts",
            "boot": "5c1f",
            "namespace": "shop",
            "schema_version": 1,
            "rows": 1,
            "first_seq": 1,
            "last_seq": 1,
            "first_time": "2026-01-02T03:04:05Z",
            "last_time": "2026-01-02T03:04:05Z",
            "retain_until": "2027-01-02T03:04:05Z",
        }],
        "facts": podwitness_exporter::sealing::Facts::default(),
    });
    fs::write(bench.staging().join("0.parquet"), &staged).unwrap();
    fs::write(bench.staging().join("plan.json"), plan.to_string()).unwrap();
    writer.commit(vec![open("shop", 2)], &Dictionary, &checkpoint(2)).unwrap();
    let exporter = bench.start();
    exporter.wait_for("finishing the batch that an earlier run had begun to put");
    exporter.stop();
    let rows: Vec<_> =
        bench.objects().iter().flat_map(|path| rows_of(path)).map(|(_, seq, port)| (seq, port)).collect();
    assert_eq!(rows, [(1, 1), (2, 2)]);
    assert_eq!(files_below(&bench.staging()), Vec::<std::path::PathBuf>::new());
}

/// The end of the batch that is done, as the plan writes it.
fn position_after_first_batch(bench: &Bench) -> serde_json::Value {
    let again = Bench::new();
    fs::create_dir_all(again.spool()).unwrap();
    let segments = again.path("spool/segments");
    fs::create_dir(&segments).unwrap();
    for segment in files_below(&bench.path("spool/segments")) {
        fs::copy(&segment, segments.join(segment.file_name().unwrap())).unwrap();
    }
    let batch = Reader::open(&again.spool()).unwrap().next().unwrap().unwrap();
    serde_json::to_value(podwitness_exporter::staging::PlannedPosition::from(batch.end)).unwrap()
}

#[test]
fn a_plan_or_a_staged_file_that_is_not_as_it_was_written_is_named_and_not_put() {
    let bench = Bench::new();
    bench.writer(origin()).commit(vec![open("shop", 1)], &Dictionary, &checkpoint(1)).unwrap();
    bench.start().stop();
    let object = bench.objects().remove(0);
    fs::write(&object, "in the way").unwrap();
    fs::remove_file(bench.path("spool/exporter/cursor")).unwrap();
    let exporter = bench.start();
    exporter.wait_for("it is there already with other bytes");
    exporter.kill();
    fs::remove_file(&object).unwrap();

    fs::write(bench.staging().join("0.parquet"), "damaged").unwrap();
    let mut exporter = bench.start();
    assert_eq!(exporter.wait().code(), Some(2));
    assert!(exporter.log().contains("0.parquet is damaged"), "{}", exporter.log());

    let plan = bench.staging().join("plan.json");
    let newer = fs::read_to_string(&plan).unwrap().replace("\"version\": 2", "\"version\": 9");
    fs::write(&plan, newer).unwrap();
    let mut exporter = bench.start();
    assert_eq!(exporter.wait().code(), Some(2));
    let told = exporter.log();
    assert!(told.contains("plan.json cannot be understood: it has version 9, and this program knows 2"), "{told}");
    assert_eq!(bench.objects(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_second_exporter_is_refused() {
    let bench = Bench::new();
    bench.writer(origin()).commit(vec![open("shop", 1)], &Dictionary, &checkpoint(1)).unwrap();
    let first = bench.start();
    wait_until("the first has the spool", || is_ready(&first).then_some(()));
    let mut second = bench.start();
    assert_eq!(second.wait().code(), Some(2));
    assert!(second.log().contains("error: another exporter has the spool"), "{}", second.log());
    first.stop();
}

#[test]
fn a_bad_configuration_is_refused_with_its_keys() {
    let bench = Bench::new();
    fs::write(bench.config(), "cluster: lab\nsorce: {}\nstore: {url: 'ftp://x/y'}\n").unwrap();
    let mut exporter = bench.start();
    assert_eq!(exporter.wait().code(), Some(2));
    let told = exporter.log();
    assert!(told.contains("sorce") && told.contains("store.url"), "{told}");
}

/// How many puts have failed.
fn failures(metrics: &Metrics) -> u64 {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &metrics.registry()).unwrap();
    let counts = text.lines().filter(|line| line.starts_with("podwitness_exporter_put_failures_total{"));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_hours_is_asked_once_in_a_while_and_then_given_everything() {
    const AWAY: Duration = Duration::from_secs(6 * 3600);
    let bench = Bench::new();
    fs::write(bench.store(), "").unwrap();
    bench.writer(origin()).commit(vec![open("shop", 1)], &Dictionary, &checkpoint(1)).unwrap();
    let config = Config::load(&bench.config(), &|_| None).unwrap();
    let (shutdown, metrics) = (Shutdown::new(), Arc::new(Metrics::default()));
    let exporter = Exporter::new(&config, [], &Readiness::new(), Arc::clone(&metrics), shutdown.clone()).unwrap();
    let work = run::until_stopped(exporter, &shutdown);
    let away = async {
        tokio::time::sleep(AWAY).await;
        let failures = failures(&metrics);
        fs::remove_file(bench.store()).unwrap();
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(bench.objects().len(), 1, "it is in the store some minutes later");
        shutdown.request();
        failures
    };
    let (outcome, failures) = tokio::join!(work, away);
    outcome.unwrap();
    // Once a minute or two, and more often in the first minute.
    assert!((AWAY.as_secs() / 120..AWAY.as_secs() / 60 + 20).contains(&failures), "{failures}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_the_store_is_away_ends_in_time_and_keeps_the_spool() {
    let bench = Bench::new();
    fs::write(bench.store(), "").unwrap();
    bench.writer(origin()).commit(vec![open("shop", 1)], &Dictionary, &checkpoint(1)).unwrap();
    let config = Config::load(&bench.config(), &|_| None).unwrap();
    let shutdown = Shutdown::new();
    let exporter =
        Exporter::new(&config, [], &Readiness::new(), Arc::new(Metrics::default()), shutdown.clone()).unwrap();
    shutdown.request();
    let start = tokio::time::Instant::now();
    run::until_stopped(exporter, &shutdown).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
    assert!(Reader::open(&bench.spool()).unwrap().next().unwrap().is_some());
}
