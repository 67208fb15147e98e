//! The server as a scraper and a kubelet meet it: over a real socket on the loopback interface.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use podwitness_runtime::exit;
use podwitness_runtime::http::{ServeError, Server, serve};
use podwitness_runtime::readiness::Readiness;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

const FREE_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn ask(address: SocketAddr, method: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers and closes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

fn start(registry: Registry, readiness: &Readiness) -> Server {
    serve(FREE_PORT, Arc::new(registry), readiness.clone()).expect("a free port is served")
}

#[test]
fn metrics_are_openmetrics_text_with_the_values_of_now() {
    let mut registry = Registry::default();
    let records = Counter::<u64>::default();
    registry.register("podwitness_records_written", "Records in the spool", records.clone());
    let server = start(registry, &Readiness::new());
    records.inc_by(3);
    let answer = ask(server.local_addr(), "GET", "/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert_eq!(
        answer.body,
        "# HELP podwitness_records_written Records in the spool.\n\
         # TYPE podwitness_records_written counter\n\
         podwitness_records_written_total 3\n\
         # EOF\n"
    );
    records.inc();
    assert!(ask(server.local_addr(), "GET", "/metrics").body.contains("podwitness_records_written_total 4\n"));
}

#[test]
fn readyz_names_what_is_not_met_and_healthz_does_not_care() {
    let readiness = Readiness::new();
    let hooks = readiness.condition("hooks attached");
    let policy = readiness.condition("policy in force");
    let server = start(Registry::default(), &readiness);
    let ready = || {
        let answer = ask(server.local_addr(), "GET", "/readyz");
        (answer.status, answer.body)
    };
    assert_eq!(ready(), (503, "hooks attached\npolicy in force\n".to_owned()));
    let health = ask(server.local_addr(), "GET", "/healthz");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    hooks.set(true);
    assert_eq!(ready(), (503, "policy in force\n".to_owned()));
    policy.set(true);
    assert_eq!(ready(), (200, "ready\n".to_owned()));
    drop(hooks);
    assert_eq!(ready(), (503, "hooks attached\n".to_owned()));
}

#[test]
fn nothing_else_is_served() {
    let server = start(Registry::default(), &Readiness::new());
    assert_eq!(ask(server.local_addr(), "GET", "/").status, 404);
    assert_eq!(ask(server.local_addr(), "POST", "/metrics").status, 405);
}

#[test]
fn a_taken_address_is_one_clear_sentence() {
    let taken = TcpListener::bind(FREE_PORT).expect("a free port");
    let address = taken.local_addr().expect("its address");
    let error = serve(address, Arc::default(), Readiness::new()).expect_err("the address is taken");
    assert!(matches!(error, ServeError::AddressInUse { .. }));
    assert_eq!(
        exit::sentence(&error),
        format!("cannot serve metrics on {address}: another process listens there; stop it, or choose another address")
    );
}

#[test]
fn an_address_of_another_machine_is_refused_with_the_reason() {
    let address = "192.0.2.1:9464".parse().expect("an address of the documentation range");
    let error = serve(address, Arc::default(), Readiness::new()).expect_err("the address is not ours");
    assert_eq!(
        exit::sentence(&error),
        "cannot serve metrics on 192.0.2.1:9464: Cannot assign requested address (os error 99)"
    );
}

#[test]
fn dropping_the_server_frees_its_address_even_under_an_open_request() {
    let server = start(Registry::default(), &Readiness::new());
    let address = server.local_addr();
    // Half a request, which a server that waits for its clients would wait for.
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.write_all(b"GET /metrics HTTP/1.1\r\n").expect("written");
    assert_eq!(ask(address, "GET", "/healthz").status, 200, "the half request stops nobody");
    drop(server);
    assert_eq!(stream.read(&mut [0; 1]).expect("closed"), 0);
    let again = serve(address, Arc::default(), Readiness::new()).expect("the address is free again");
    assert_eq!(ask(again.local_addr(), "GET", "/healthz").status, 200);
}
