//! What stores say, and what a person is told of it.

use super::*;

#[derive(Debug, thiserror::Error)]
#[error("Server returned non-2xx status code: {0}")]
struct Said(&'static str);

fn told(said: &'static str) -> (FailureKind, String) {
    let error = Error::Generic { store: "S3", source: Box::new(Said(said)) };
    (FailureKind::of(&error), sentence(&error))
}

#[test]
fn the_stores_own_word_goes_before_its_status() {
    for (said, kind) in [
        ("400 Bad Request: <Error><Code>ExpiredToken</Code></Error>", FailureKind::Unauthenticated),
        ("403 Forbidden: <Error><Code>InvalidAccessKeyId</Code></Error>", FailureKind::Unauthenticated),
        ("403 Forbidden: <Error><Code>RequestTimeTooSkewed</Code></Error>", FailureKind::Clock),
        ("403 Forbidden: <Error><Code>AccessDenied</Code></Error>", FailureKind::Forbidden),
        ("503 Service Unavailable: <Error><Code>SlowDown</Code></Error>", FailureKind::Busy),
        ("503 Service Unavailable: ", FailureKind::Unavailable),
        ("429 Too Many Requests: ", FailureKind::Busy),
        ("507 Insufficient Storage: ", FailureKind::Full),
        ("404 Not Found: ", FailureKind::Missing),
        ("400 Bad Request: ", FailureKind::Unavailable),
    ] {
        assert_eq!(told(said).0, kind, "{said}");
    }
}

#[test]
fn a_document_is_told_as_its_code_and_message_on_one_line() {
    let document = "503 Service Unavailable: <?xml version=\"1.0\"?>\n<Error>\n <Code>SlowDown</Code>\n \
                    <Message>Reduce your request rate.</Message><HostId>x</HostId></Error>";
    let sentence = told(document).1;
    assert!(sentence.ends_with("503 Service Unavailable: SlowDown: Reduce your request rate."), "{sentence}");
    let page = told("502 Bad Gateway: <html>no</html>").1;
    assert!(page.ends_with("502 Bad Gateway: <html>no</html>"), "{page}");
}

#[test]
fn each_kind_has_a_name_of_its_own_and_an_advice() {
    let names: std::collections::BTreeSet<_> = FailureKind::ALL.map(FailureKind::name).into();
    assert_eq!(names.len(), FailureKind::ALL.len());
    assert!(FailureKind::ALL.iter().all(|kind| !kind.advice().is_empty()));
}

#[test]
fn only_an_object_that_is_not_there_is_absent() {
    let answered = |said| Error::NotFound { path: "a".to_owned(), source: Box::new(Said(said)) };
    for absent in ["404 Not Found: ", "404 Not Found: <Error><Code>NoSuchKey</Code></Error>"] {
        assert!(is_absent(&answered(absent)), "{absent}");
    }
    for (said, kind) in [
        ("404 Not Found: <Error><Code>NoSuchBucket</Code></Error>", FailureKind::Missing),
        ("404 Not Found: <Error><Code>ContainerNotFound</Code></Error>", FailureKind::Missing),
        ("404 Not Found: <Error><Code>XAdminUserNotFound</Code></Error>", FailureKind::Unauthenticated),
    ] {
        assert!(!is_absent(&answered(said)), "{said}");
        assert_eq!(FailureKind::of(&answered(said)), kind, "{said}");
    }
}
