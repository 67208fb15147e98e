//! What an entry says of a connection that was asked for.

use super::*;

fn tuple(protocol: u8, source: &str, destination: &str) -> Tuple {
    Tuple { protocol, source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

const CLIENT: &str = "10.0.0.1:40000";
const SERVICE: &str = "10.96.0.1:80";
const BACKEND: &str = "10.0.1.9:8080";

#[test]
fn only_an_entry_that_began_as_asked_and_was_translated_names_a_backend() {
    let asked = tuple(6, CLIENT, SERVICE);
    let translated = Entry { original: asked, reply: tuple(6, BACKEND, CLIENT) };
    assert_eq!(backend_of(&asked, &translated), Some(BACKEND.parse().unwrap()));
    let masqueraded = Entry { original: asked, reply: tuple(6, BACKEND, "192.0.2.1:1024") };
    assert_eq!(backend_of(&asked, &masqueraded), Some(BACKEND.parse().unwrap()));
    let another_port = Entry { original: asked, reply: tuple(6, "10.96.0.1:8080", CLIENT) };
    assert_eq!(backend_of(&asked, &another_port), Some("10.96.0.1:8080".parse().unwrap()));

    let untranslated = Entry { original: asked, reply: tuple(6, SERVICE, CLIENT) };
    assert_eq!(backend_of(&asked, &untranslated), None);
    let way_back = Entry { original: tuple(6, "10.0.0.7:1", "10.0.0.8:2"), reply: asked };
    assert_eq!(backend_of(&asked, &way_back), None, "the way back of another connection");
    let another_protocol = Entry { original: tuple(17, CLIENT, SERVICE), reply: tuple(17, BACKEND, CLIENT) };
    assert_eq!(backend_of(&asked, &another_protocol), None);
}

#[test]
fn what_is_no_answer_is_an_error_and_not_a_missing_entry() {
    let question = message::question(&tuple(6, CLIENT, SERVICE), 7);
    assert!(message::answer(&question).is_err());
    assert!(message::answer(&question[..10]).is_err());
    assert!(message::answer(&[]).is_err());
}
