//! A store that fails while its evidence is verified is told, and never taken for evidence that is missing or altered.

use std::process::Command;

use podwitness_store_fixture::{Fault, Operation};

use crate::bench::{Bench, built, gateway};

/// What `podwitness verify` asks of a store.
const ASKED: [Operation; 5] =
    [Operation::AskLock, Operation::List, Operation::ListVersions, Operation::Get, Operation::AskRetention];

/// What each attempt of a request meets, with what is said of it.
const FAULTS: [(Fault, &str); 7] = [
    (Fault::Dropped, "see whether the store is up"),
    (Fault::Answered("400 Bad Request", "ExpiredToken", None), "check this program's credentials"),
    (Fault::Answered("403 Forbidden", "AccessDenied", None), "permit these credentials to do so"),
    (Fault::Answered("404 Not Found", "NoSuchBucket", None), "create the bucket or folder"),
    (Fault::Answered("429 Too Many Requests", "TooManyRequests", Some(1)), "nothing needs to be done unless it lasts"),
    (Fault::Answered("500 Internal Server Error", "InternalError", None), "see whether the store is up"),
    (Fault::AnswerCut, "see whether the store is up"),
];

#[test]
fn a_store_that_fails_is_no_finding() {
    let gateway = gateway();
    let bench = Bench::new(&gateway, "verified");
    let mut agent = bench.agent();
    agent.commit();
    agent.stop();
    bench.start().stop(true);
    bench.verify(&agent);

    let verify = || {
        let mut podwitness = Command::new(built("podwitness"));
        podwitness.env_clear().envs(bench.environment().iter().cloned());
        let output = podwitness.args(["verify", "s3://verified"]).output().unwrap();
        let told = [output.stdout, output.stderr].map(|told| String::from_utf8_lossy(&told).into_owned()).concat();
        (output.status.code(), told)
    };
    for operation in ASKED {
        bench.proxy().hurt(operation, Fault::Slow);
        let (code, told) = verify();
        assert_eq!(code, Some(0), "{operation:?}, slow: {told}");
        for (fault, said) in FAULTS {
            let hurts = bench.proxy().hurts(operation);
            bench.proxy().hurt(operation, fault);
            let (code, told) = verify();
            assert!(bench.proxy().hurts(operation) > hurts, "{operation:?} is not asked for");
            let of_locks = matches!(operation, Operation::AskLock | Operation::AskRetention);
            if of_locks && matches!(fault, Fault::Answered(_, "AccessDenied", _)) {
                // Whoever reads evidence need not be permitted to ask for locks.
                assert_eq!(code, Some(0), "{operation:?}, {fault:?}: {told}");
                assert_eq!(told.matches("may not be asked (permit s3:Get").count(), 1, "{told}");
            } else {
                assert_eq!(code, Some(2), "{operation:?}, {fault:?}: {told}");
                assert!(told.contains(said), "{operation:?}, {fault:?}: {told}");
            }
        }
        bench.proxy().heal();
        let (code, told) = verify();
        assert_eq!(code, Some(0), "{told}");
        assert!(!told.contains("Notes:"), "each object is locked as its seal says: {told}");
    }
    assert_eq!(bench.proxy().unknown(), Vec::<String>::new());
}
