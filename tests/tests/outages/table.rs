//! Each fault of the store at each thing that the exporter asks of it.
//!
//! An operation that is new is one that the proxy does not know, which [`Bench::verify`] refuses; once it is known, it is
//! in [`Operation::ALL`], and so in this table. A fault that is new does not compile before [`told`] says what a person is
//! told of it.

use std::sync::Mutex;
use std::thread;

use podwitness_store_fixture::{Fault, Gateway, Operation};

use crate::bench::{Bench, gateway, wait_until};

/// What can befall a request.
const FAULTS: [Fault; 14] = [
    Fault::Dropped,
    Fault::Answered("400 Bad Request", "ExpiredToken", None),
    Fault::Answered("403 Forbidden", "AccessDenied", None),
    Fault::Answered("403 Forbidden", "RequestTimeTooSkewed", None),
    Fault::Answered("404 Not Found", "NoSuchBucket", None),
    Fault::Answered("412 Precondition Failed", "PreconditionFailed", None),
    Fault::Answered("429 Too Many Requests", "TooManyRequests", None),
    Fault::Answered("429 Too Many Requests", "TooManyRequests", Some(1)),
    Fault::Answered("500 Internal Server Error", "InternalError", None),
    Fault::Answered("503 Service Unavailable", "SlowDown", Some(1)),
    Fault::Slow,
    Fault::AnswerLost,
    Fault::RequestCut,
    Fault::AnswerCut,
];

/// How many attempts meet a fault before it ends.
const ATTEMPTS: u64 = 2;

/// Cases at a time. They wait for most of the time.
const AT_ONCE: usize = 8;

/// The kind of failure and the beginning of what to do, of a fault that a person is told of.
fn told(fault: Fault) -> Option<(&'static str, &'static str)> {
    Some(match fault {
        Fault::Slow => return None,
        Fault::Answered(_, "ExpiredToken", _) => ("unauthenticated", "check this program's credentials"),
        Fault::Answered(_, "AccessDenied", _) => ("forbidden", "permit these credentials to do so"),
        Fault::Answered(_, "RequestTimeTooSkewed", _) => ("clock", "set this machine's clock"),
        Fault::Answered(_, "NoSuchBucket", _) => ("missing", "create the bucket or folder"),
        Fault::Dropped
        | Fault::AnswerLost
        | Fault::RequestCut
        | Fault::AnswerCut
        | Fault::Answered(_, "PreconditionFailed" | "InternalError", _) => {
            ("unavailable", "see whether the store is up")
        }
        Fault::Answered(_, "TooManyRequests" | "SlowDown", _) => ("busy", "nothing needs to be done unless it lasts"),
        Fault::Answered(status, code, _) => panic!("what is a person told of {status} {code}?"),
    })
}

/// How the exporter goes on under a fault.
enum Course {
    /// It repeats the request until the fault ends.
    Repeats,
    /// It does without what it may not ask, having said so.
    DoesWithout(&'static str),
    /// The fault costs time alone.
    GoesOn,
}

/// `None` where there is no such case: the exporter does not ask that, or nothing is there that could be cut.
fn course(operation: Operation, fault: Fault) -> Option<Course> {
    let has_body = match operation {
        Operation::PutMarker
        | Operation::PutKey
        | Operation::PutFile
        | Operation::PutSignature
        | Operation::PutSeal => true,
        Operation::AskLock | Operation::List | Operation::Get => false,
        // podwitness verify asks for them: see `verified`.
        Operation::ListVersions | Operation::AskRetention => return None,
    };
    Some(match (operation, fault) {
        (_, Fault::RequestCut) if !has_body => return None,
        // A marker and a key that are there are what was to be put.
        (_, Fault::Slow) | (Operation::PutMarker | Operation::PutKey, Fault::Answered(_, "PreconditionFailed", _)) => {
            Course::GoesOn
        }
        (Operation::AskLock, Fault::Answered(_, "AccessDenied", _)) => {
            Course::DoesWithout("whether the bucket has Object Lock may not be asked")
        }
        (Operation::List, Fault::Answered(_, "AccessDenied", _)) => Course::DoesWithout("cannot list s3://"),
        _ => Course::Repeats,
    })
}

#[test]
fn every_fault_of_every_request_costs_time_and_nothing_else() {
    let gateway = gateway();
    let mut cases = Vec::new();
    for &operation in Operation::ALL {
        for fault in FAULTS {
            cases.extend(course(operation, fault).map(|course| (operation, fault, course)));
        }
    }
    let number = cases.len();
    assert!(number > 100, "{number} cases");
    let queue = Mutex::new(cases.into_iter().enumerate());
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some((index, (operation, fault, course))) = next else { return };
                    let attempt = || attempt(&gateway, &format!("case-{index}"), operation, fault, &course);
                    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt)).is_err() {
                        println!("FAILED: {operation:?}, {fault:?}");
                        failed.lock().unwrap().push((operation, fault));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {number}: {failed:#?}", failed.len());
    println!("{number} cases");
}

fn attempt(gateway: &Gateway, bucket: &str, operation: Operation, fault: Fault, course: &Course) {
    let bench = Bench::new(gateway, bucket);
    let mut agent = bench.agent();
    agent.commit();
    // With a chain, a key and a marker in the store, the next start asks everything that there is to ask.
    bench.start().stop(false);
    let before = agent.records;

    bench.proxy().hurt(operation, fault);
    agent.commit();
    let exporter = bench.start();
    match course {
        Course::Repeats => {
            let (kind, advice) = told(fault).expect("what is repeated is told");
            let line = exporter.wait_for(&[kind, advice]);
            assert!(line.contains("it is tried again until it succeeds"), "{line}");
            let failures = format!("put_failures_total{{kind=\"{kind}\"}}");
            wait_until(&format!("{operation:?} meets {fault:?} again"), || {
                agent.commit();
                (exporter.metric::<u64>(&failures) >= ATTEMPTS).then_some(())
            });
            let (status, why) = exporter.page("/readyz");
            assert_eq!(status, 503);
            assert!(why.contains("store takes evidence: cannot ") && why.contains(advice), "{why}");
        }
        Course::DoesWithout(words) => drop(exporter.wait_for(&[words])),
        Course::GoesOn => {}
    }
    wait_until("the fault was met", || (bench.proxy().hurts(operation) > 0).then_some(()));
    bench.proxy().heal();
    agent.commit();
    exporter.wait_exported(agent.records - before);
    wait_until("it is well again", || (exporter.page("/readyz").0 == 200).then_some(()));
    let log = exporter.log();
    if matches!(course, Course::Repeats) {
        assert!(log.contains("the store takes evidence again"), "{log}");
        let told = log.lines().filter(|line| line.contains("it is tried again until it succeeds")).count();
        assert_eq!(told, 1, "an outage is told once: {log}");
    }
    agent.stop();
    exporter.stop(true);
    bench.verify(&agent);
}
