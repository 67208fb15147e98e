//! What each answer of a store means.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::check;
use crate::doctor::check::{Check, State};

fn ask(url: &str, environment: &[(&str, &str)]) -> Check {
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(check(url, environment.into_iter()))
}

/// Answers each connection with the next of these statuses and bodies, as an S3 server on this machine.
fn ask_s3(answers: &[(&str, &str)]) -> Check {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn({
        let answers: Vec<(String, String)> =
            answers.iter().map(|(status, body)| ((*status).to_owned(), (*body).to_owned())).collect();
        move || {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\nETag: \"1\"\r\nLast-Modified: \
                     Wed, 01 Jan 2025 00:00:00 GMT\r\n\r\n"
                );
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        }
    });
    let check = ask(
        "s3://evidence/prod",
        &[
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "here"),
            ("AWS_ENDPOINT_URL", &endpoint),
        ],
    );
    server.join().unwrap();
    check
}

const LOCKING: &str =
    "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
const NO_LOCK: &str = "<Error><Code>ObjectLockConfigurationNotFoundError</Code><Message>none</Message></Error>";
const EMPTY: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

#[test]
fn a_folder_is_there_or_not_and_an_evidence_root_or_another_s() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    assert_eq!(ask(&format!("{url}/nowhere"), &[]).state, State::Failed);
    let fresh = ask(&url, &[]);
    assert_eq!(fresh.state, State::Ok, "{fresh:?}");
    assert!(fresh.found.contains("no evidence"), "{fresh:?}");
    for (text, state, words) in [
        (r#"{"layout": 1}"#, State::Ok, "layout 1"),
        (r#"{"layout": 2}"#, State::Failed, "has layout 2"),
        ("hello", State::Failed, "somebody else's"),
    ] {
        fs::write(folder.path().join("podwitness.json"), text).unwrap();
        let check = ask(&url, &[]);
        assert_eq!(check.state, state, "{check:?}");
        assert!(check.found.contains(words), "{check:?}");
    }
}

#[test]
fn a_bucket_is_asked_with_the_environment_s_settings() {
    for (status, answer, words) in [
        ("200 OK", LOCKING, "it locks each object"),
        ("404 Not Found", NO_LOCK, "it locks nothing, so it is not WORM: the bucket was made without"),
        (
            "403 Forbidden",
            "",
            "whether it locks is not known, so it is not taken for WORM: whether the bucket has Object Lock may not be asked",
        ),
        ("501 Not Implemented", "", "it locks nothing, so it is not WORM: the server knows no Object Lock"),
    ] {
        let marker = ask_s3(&[("200 OK", r#"{"layout": 1}"#), (status, answer)]);
        assert_eq!(marker.state, State::Ok, "{marker:?}");
        assert!(marker.found.contains(words), "{marker:?}");
    }
    let fresh = ask_s3(&[("404 Not Found", ""), ("200 OK", EMPTY), ("200 OK", LOCKING)]);
    assert_eq!(fresh.state, State::Ok, "{fresh:?}");
    let missing = ask_s3(&[("404 Not Found", ""), ("404 Not Found", "<Error><Code>NoSuchBucket</Code></Error>")]);
    assert_eq!(missing.state, State::Failed);
    assert!(missing.found.contains("NoSuchBucket"), "{missing:?}");
    assert!(missing.advice.unwrap().contains("create the bucket"));
    let forbidden = ask_s3(&[("403 Forbidden", "")]);
    assert_eq!(forbidden.state, State::Failed);
    assert!(forbidden.advice.unwrap().contains("permit the credentials"));
}

#[test]
fn a_store_that_nobody_serves_is_told_without_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings =
        [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let check = ask("s3://evidence/prod", &settings);
    assert_eq!(check.state, State::Failed);
    assert!(!check.found.contains("within"), "{check:?}");
}

#[test]
fn a_store_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let settings =
        [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let check = ask("s3://evidence/prod", &settings);
    assert_eq!((check.state, check.found.as_str()), (State::Failed, "s3://evidence/prod did not answer within 5 s"));
}
