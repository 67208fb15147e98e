//! Whether the two programs of the node run and say that they do their work.

use std::net::SocketAddr;
use std::time::Duration;

use podwitness_config::Listen;
use reqwest::{Client, StatusCode};

use super::check::{Check, sentence};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn checks(listen: &Listen) -> Vec<Check> {
    // A proxy of the environment is not for this node's own programs.
    let client = match Client::builder().no_proxy().timeout(PATIENCE).build() {
        Ok(client) => client,
        Err(error) => {
            let found = format!("they cannot be asked: {}", sentence(&error));
            return vec![Check::unknown("agent", found, "report this: it has nothing to do with the node")];
        }
    };
    vec![ask(&client, "agent", listen.agent).await, ask(&client, "exporter", listen.exporter).await]
}

async fn ask(client: &Client, name: &'static str, address: SocketAddr) -> Check {
    if address.port() == 0 {
        let found = format!("it listens on a port that it chooses itself (`listen.{name}` has port 0)");
        return Check::unknown(name, found, "give it a port, so that it can be asked");
    }
    let see_log = format!("see podwitness-{name}'s log");
    let get = async |path: &str| {
        let answer = client.get(format!("http://{address}{path}")).send().await?;
        let status = answer.status();
        Ok::<_, reqwest::Error>((status, answer.text().await?))
    };
    let alive = match get("/healthz").await {
        Ok((StatusCode::OK, _)) => get("/readyz").await,
        Ok((status, _)) => {
            let found = format!("who listens on {address} says {status}, and is another program");
            return Check::failed(name, found, format!("correct `listen.{name}`, or free the port"));
        }
        Err(error) => Err(error),
    };
    match alive {
        Ok((StatusCode::OK, _)) => Check::ok(name, format!("it runs, and says at {address} that it is ready")),
        Ok((_, conditions)) => {
            let conditions: Vec<&str> = conditions.lines().collect();
            let found = format!("it runs and is not ready; it still waits for: {}", conditions.join(", "));
            Check::failed(name, found, see_log)
        }
        Err(error) => {
            let found = format!("it does not answer: {}", sentence(&error));
            Check::failed(name, found, format!("start podwitness-{name} with this configuration, or {see_log}"))
        }
    }
}
