//! Credentials that expire and are rotated, by each way that `object_store` renews them by and that can be had without TLS.
//!
//! Those for a web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`) are asked for with TLS alone, so that they are not tried here.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use podwitness_store_fixture::{PASSWORD, USER};

use crate::bench::{Bench, gateway};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    /// EKS Pod Identity: asked with a token from a file.
    Pod,
    /// The metadata service of an instance.
    Instance,
}

/// What the provider gives.
#[derive(Clone, Debug)]
struct Given {
    access_key: &'static str,
    /// What must stand in the token's file.
    token: &'static str,
}

/// A provider that runs as long as the process.
struct Server {
    address: SocketAddr,
    given: Arc<Mutex<Given>>,
}

impl Server {
    fn start(given: Given) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let given = Arc::new(Mutex::new(given));
        let giving = Arc::clone(&given);
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&stream.unwrap(), &giving.lock().unwrap());
            }
        });
        Self { address, given }
    }

    fn give(&self, given: Given) {
        *self.given.lock().unwrap() = given;
    }
}

fn serve(mut stream: &TcpStream, given: &Given) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let Some(request) = lines.next() else { return };
    let token = lines.find_map(|line| line.to_ascii_lowercase().strip_prefix("authorization: ").map(str::to_owned));
    // They are over at once, so that the next request asks again. The server of the tests knows no sessions.
    let expiration = chrono::Utc::now() + chrono::TimeDelta::seconds(1);
    let credentials = format!(
        r#"{{"AccessKeyId":"{}","SecretAccessKey":"{PASSWORD}","Token":"","Expiration":"{}"}}"#,
        given.access_key,
        expiration.to_rfc3339()
    );
    let (status, body) = match request.split(' ').nth(1).unwrap_or_default() {
        "/latest/api/token" => ("200 OK", "a-token".to_owned()),
        "/latest/meta-data/iam/security-credentials/" => ("200 OK", "a-role".to_owned()),
        "/latest/meta-data/iam/security-credentials/a-role" => ("200 OK", credentials),
        "/pod" if token.as_deref() == Some(given.token) => ("200 OK", credentials),
        "/pod" => ("401 Unauthorized", "the token is over".to_owned()),
        other => panic!("{other} is asked for"),
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    // Who asked may have gone.
    let _ = stream.write_all(answer.as_bytes());
}

fn token_file(bench: &Bench) -> PathBuf {
    bench.path("token")
}

fn rotated(provider: Provider) {
    let gateway = gateway();
    let mut bench = Bench::new(&gateway, "rotated");
    let good = Given { access_key: USER, token: "first" };
    let server = Server::start(good.clone());
    fs::write(token_file(&bench), "first").unwrap();
    let own = match provider {
        Provider::Pod => vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), format!("http://{}/pod", server.address)),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE".to_owned(), token_file(&bench).to_str().unwrap().to_owned()),
        ],
        Provider::Instance => vec![("AWS_METADATA_ENDPOINT".to_owned(), format!("http://{}", server.address))],
    };
    let others = bench.environment().iter().filter(|(name, _)| !name.contains("KEY")).cloned();
    let environment = others.chain(own).collect();
    bench.set_environment(environment);
    let mut agent = bench.agent();
    agent.commit();
    let exporter = bench.start();
    exporter.wait_exported(agent.records);

    // The store does not take those that are given any more.
    server.give(Given { access_key: "expired", ..good.clone() });
    agent.commit();
    exporter.wait_for(&["unauthenticated", "check this program's credentials"]);
    assert_eq!(exporter.page("/readyz").0, 503);
    server.give(good.clone());
    exporter.wait_exported(agent.records);

    if provider == Provider::Pod {
        // The token in the file is over, and is then written anew.
        server.give(Given { token: "second", ..good });
        agent.commit();
        exporter.wait_for(&["cannot ", "401 Unauthorized", "the token is over", "check this program's credentials"]);
        fs::write(token_file(&bench), "second").unwrap();
        exporter.wait_exported(agent.records);
    }
    agent.stop();
    exporter.stop(true);
    let keys: Vec<String> = bench.proxy().seen().into_iter().map(|seen| seen.access_key).collect();
    assert!(keys.iter().any(|key| key == "expired") && keys.iter().any(|key| key == USER), "{keys:?}");
    bench.verify(&agent);
}

#[test]
fn credentials_of_a_pods_identity_are_renewed_and_its_token_is_read_again() {
    rotated(Provider::Pod);
}

#[test]
fn credentials_of_an_instance_are_renewed() {
    rotated(Provider::Instance);
}

#[test]
fn credentials_in_the_environment_are_those_of_the_start() {
    let gateway = gateway();
    let mut bench = Bench::new(&gateway, "environment");
    let good = bench.environment().to_vec();
    let over = good.iter().cloned().map(|(name, value)| match name.as_str() {
        "AWS_ACCESS_KEY_ID" => (name, "expired".to_owned()),
        _ => (name, value),
    });
    bench.set_environment(over.collect());
    let mut agent = bench.agent();
    agent.commit();
    let exporter = bench.start();
    exporter.wait_for(&["unauthenticated", "those that stand in its environment are read when it starts"]);
    drop(exporter);
    bench.set_environment(good);
    agent.stop();
    bench.start().stop(true);
    bench.verify(&agent);
}
