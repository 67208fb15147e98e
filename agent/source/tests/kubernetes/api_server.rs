//! A small API server: it lists, pages, streams and watches as the real one does, and fails as it is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// `resource`, namespace, name.
type Key = (String, String, String);

/// A change: the version that it made, the resource, the type of the event and the object.
type Change = (u64, String, &'static str, Value);

#[derive(Default)]
struct Contents {
    version: u64,
    objects: BTreeMap<Key, Value>,
    changes: Vec<Change>,
    /// Changes up to this version are forgotten.
    forgotten: u64,
    /// Resources that can be streamed as a list.
    streams: bool,
    /// What is refused: by verb and resource, the code and the message.
    refused: BTreeMap<(&'static str, String), (u16, String)>,
    requests: Vec<String>,
}

/// The server. Its contents outlive its being away.
pub(crate) struct ApiServer {
    contents: Arc<Mutex<Contents>>,
    changed: Arc<watch::Sender<()>>,
    address: SocketAddr,
    running: Option<Runtime>,
}

#[derive(Clone)]
struct Shared {
    contents: Arc<Mutex<Contents>>,
    changed: Arc<watch::Sender<()>>,
}

impl ApiServer {
    /// An empty one, which can stream lists.
    pub(crate) fn start() -> Self {
        let contents = Contents { version: 1, streams: true, ..Contents::default() };
        let mut server = Self {
            contents: Arc::new(Mutex::new(contents)),
            changed: Arc::new(watch::Sender::new(())),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            running: None,
        };
        server.come_back();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening, and breaks off every connection.
    pub(crate) fn go_away(&mut self) {
        self.running.take().expect("it is there").shutdown_background();
    }

    /// Listens again, at the same address.
    pub(crate) fn come_back(&mut self) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(async {
            loop {
                // What was there a moment ago may not be gone yet.
                match TcpListener::bind(self.address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                }
            }
        });
        self.address = listener.local_addr().unwrap();
        let shared = Shared { contents: Arc::clone(&self.contents), changed: Arc::clone(&self.changed) };
        let router = Router::new().fallback(answer).with_state(shared);
        runtime.spawn(async { axum::serve(listener, router).await });
        self.running = Some(runtime);
    }

    /// Makes an object, or changes it.
    pub(crate) fn put(&self, mut object: Value) {
        let mut contents = self.contents();
        contents.version += 1;
        let version = contents.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let key = key(&object);
        let before = contents.objects.insert(key.clone(), object.clone());
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        contents.changes.push((version, key.0, kind, object));
        drop(contents);
        self.changed.send_replace(());
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let mut contents = self.contents();
        contents.version += 1;
        let version = contents.version;
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = contents.objects.remove(&key).expect("it is there");
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        contents.changes.push((version, key.0, "DELETED", object));
        drop(contents);
        self.changed.send_replace(());
    }

    /// Forgets which changes led to what it has now.
    pub(crate) fn forget_changes(&self) {
        let mut contents = self.contents();
        contents.version += 1;
        contents.forgotten = contents.version;
        contents.changes.clear();
    }

    /// Refuses a verb on a resource from now on.
    pub(crate) fn refuse(&self, verb: &'static str, resource: &str, code: u16, message: &str) {
        self.contents().refused.insert((verb, resource.to_owned()), (code, message.to_owned()));
    }

    /// Refuses nothing any more.
    pub(crate) fn permit_all(&self) {
        self.contents().refused.clear();
    }

    /// Refuses lists that are streamed, as a server without the feature does.
    pub(crate) fn stream_no_lists(&self) {
        self.contents().streams = false;
    }

    /// Everything that it has, as `kubectl get -o json` prints it.
    pub(crate) fn list(&self) -> Value {
        let items: Vec<Value> = self.contents().objects.values().cloned().collect();
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    }

    /// What was asked so far, as paths with queries.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.contents().requests.clone()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap()
    }
}

fn key(object: &Value) -> Key {
    let kind = object["kind"].as_str().expect("a kind").to_lowercase();
    let resource = match kind.strip_suffix('y') {
        Some(start) => format!("{start}ies"),
        None => format!("{kind}s"),
    };
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (resource, field("namespace"), field("name"))
}

async fn answer(State(shared): State<Shared>, uri: Uri) -> Response {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let query: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let resource = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    let watches = query.get("watch").is_some_and(|watch| watch == "true");
    let streams_list = query.contains_key("sendInitialEvents");
    {
        let mut contents = shared.contents.lock().unwrap();
        contents.requests.push(uri.to_string());
        let verb = if watches { "watch" } else { "list" };
        if let Some((code, message)) = contents.refused.get(&(verb, resource.clone())) {
            return status(*code, message);
        }
        if streams_list && !contents.streams {
            let message = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is \
                           forbidden for watch unless the WatchList feature gate is enabled";
            return status(422, message);
        }
    }
    if watches { watch(shared, resource, &query, streams_list) } else { page(&shared, &resource, &query) }
}

/// One page of a list.
fn page(shared: &Shared, resource: &str, query: &BTreeMap<String, String>) -> Response {
    let contents = shared.contents.lock().unwrap();
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let (first, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(usize::MAX));
    let of_resource = contents.objects.iter().filter(|((of, ..), _)| of == resource);
    // As the real one does it: without `apiVersion` and `kind`.
    let mut items: Vec<Value> = of_resource.map(|(_, object)| object.clone()).collect();
    for item in &mut items {
        let item = item.as_object_mut().expect("an object");
        item.remove("apiVersion");
        item.remove("kind");
    }
    let more = items.len() > first.saturating_add(limit);
    let items: Vec<Value> = items.into_iter().skip(first).take(limit).collect();
    let mut metadata = json!({"resourceVersion": contents.version.to_string()});
    if more {
        metadata["continue"] = json!((first + limit).to_string());
    }
    json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}).to_string().into_response()
}

/// The changes since a version, as they come.
fn watch(shared: Shared, resource: String, query: &BTreeMap<String, String>, streams_list: bool) -> Response {
    let mut first = Vec::new();
    let seen;
    {
        let contents = shared.contents.lock().unwrap();
        if streams_list {
            let of_resource = contents.objects.iter().filter(|((of, ..), _)| *of == resource);
            first.extend(of_resource.map(|(_, object)| line("ADDED", object)));
            let end = json!({"kind": "Bookmark", "apiVersion": "v1", "metadata": {
                "resourceVersion": contents.version.to_string(),
                "annotations": {"k8s.io/initial-events-end": "true"},
            }});
            first.push(line("BOOKMARK", &end));
            seen = contents.version;
        } else {
            seen = query["resourceVersion"].parse().expect("a version");
            if seen < contents.forgotten {
                let message = format!("too old resource version: {seen} ({})", contents.forgotten);
                let gone = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                                  "message": message, "reason": "Expired", "code": 410});
                return Body::from(line("ERROR", &gone)).into_response();
            }
        }
    }
    let changed = shared.changed.subscribe();
    let later = stream::unfold((shared, changed, seen), move |(shared, mut changed, mut seen)| {
        let resource = resource.clone();
        async move {
            loop {
                changed.borrow_and_update();
                {
                    let contents = shared.contents.lock().unwrap();
                    let next = contents.changes.iter().find(|(version, of, ..)| *version > seen && *of == resource);
                    if let Some((version, _, kind, object)) = next {
                        seen = *version;
                        let line = line(kind, object);
                        drop(contents);
                        return Some((line, (shared, changed, seen)));
                    }
                }
                changed.changed().await.ok()?;
            }
        }
    });
    Body::from_stream(stream::iter(first).chain(later).map(Ok::<_, Infallible>)).into_response()
}

fn line(kind: &str, object: &Value) -> Bytes {
    // The real one writes the type first.
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into()
}

fn status(code: u16, message: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                      "message": message, "code": code});
    (StatusCode::from_u16(code).expect("a code"), body.to_string()).into_response()
}
