//! Follows the objects of one kind: lists them, and asks for the changes since.
//!
//! A list is streamed where the server can do that, and else comes page by page: in memory there is never more of it than
//! one of these. Changes are asked for from the version that was seen last; where that is too old for the server, all is
//! listed again.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use podwitness_manifests::{ObjectKey, read_object};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::backoff::{Backoff, random};
use super::failure::Failure;
use super::index::{Arrival, News};
use super::kind::Kind;

/// Objects on a page of a list.
const PAGE: u32 = 100;
/// How long the server may keep a request for changes open, in seconds; each for another time, so that not all end at once.
const LEAST_OPEN: f64 = 240.0;
const MOST_OPEN: f64 = 300.0;
/// A connection on which nothing came for this much longer than the server keeps it open is dead.
const GRACE: Duration = Duration::from_secs(5);
/// A list or the beginning of an answer takes at most this long: the server itself gives up after 60 seconds.
const PATIENCE: Duration = Duration::from_secs(70);
/// A connection that lasted this long worked.
const WORKED: Duration = Duration::from_secs(5);

/// News of a kind, and when it was read.
pub(super) type Told = (Instant, Kind, News);

/// Follows one kind, and tells everything about it.
pub(super) struct Follower {
    client: Client,
    kind: Kind,
    tell: mpsc::Sender<Told>,
    backoff: Backoff,
    /// The version from which changes are asked for; none before the list was read.
    version: Option<String>,
}

/// Why a follower ends.
pub(super) struct Deaf;

/// What ends a connection.
enum End {
    /// Nobody listens any more.
    Deaf,
    Failure(Failure),
}

impl From<Deaf> for End {
    fn from(_: Deaf) -> Self {
        Self::Deaf
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Follower {
    pub(super) fn new(client: Client, kind: Kind, tell: mpsc::Sender<Told>) -> Self {
        Self { client, kind, tell, backoff: Backoff::default(), version: None }
    }

    /// Goes on until nobody listens.
    pub(super) async fn run(mut self) -> Deaf {
        loop {
            let began = Instant::now();
            match self.listen().await {
                Err(End::Deaf) => return Deaf,
                // What the server has forgotten is no failure of its own: it is listed again, and that may fail.
                Err(End::Failure(Failure::Expired)) => self.version = None,
                Err(End::Failure(failure)) => {
                    if self.tell(News::Failed(failure)).await.is_err() {
                        return Deaf;
                    }
                }
                Ok(()) if began.elapsed() > WORKED => {
                    self.backoff.reset();
                    continue;
                }
                Ok(()) => {}
            }
            tokio::time::sleep(self.backoff.next()).await;
        }
    }

    /// Reads the list, where that was not done, and follows changes until the connection ends.
    async fn listen(&mut self) -> Result<(), End> {
        if self.version.is_none() {
            let streamed = self.watch().await;
            // There are several reasons for which a server streams no lists: its age, its settings, its etcd. Where it is another
            // one, the pages are refused too.
            let Err(End::Failure(Failure::Refused(_))) = streamed else { return streamed };
            self.list().await?;
        }
        self.watch().await
    }

    /// Reads all pages of the list.
    async fn list(&mut self) -> Result<(), End> {
        self.tell(News::Listing).await?;
        let mut parameters = ListParams::default().limit(PAGE);
        loop {
            let request = self.request().list(&parameters).map_err(|error| Failure::Away(error.to_string()))?;
            let page: Page = answer("list", self.client.request(request)).await?;
            for item in page.items {
                self.tell(News::Listed(self.arrival(&item, head(&item)))).await?;
            }
            parameters.continue_token = page.metadata.next.filter(|next| !next.is_empty());
            if parameters.continue_token.is_none() {
                self.version = Some(page.metadata.version);
                return self.tell(News::Complete).await.map_err(End::from);
            }
        }
    }

    /// Follows changes, after the list where none was read, until the server ends it.
    async fn watch(&mut self) -> Result<(), End> {
        let open = random(LEAST_OPEN, MOST_OPEN);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundred seconds")]
        let parameters = WatchParams::default().timeout(open as u32);
        let (parameters, version, mut is_listing) = match &self.version {
            Some(version) => (parameters, version.as_str(), false),
            None => (parameters.initial_events(), "", true),
        };
        let request = self.request().watch(&parameters, version).map_err(|error| Failure::Away(error.to_string()))?;
        let events = answer("watch", self.client.request_events::<Box<RawValue>>(request)).await?;
        let mut events = std::pin::pin!(events);
        self.tell(if is_listing { News::Listing } else { News::Following }).await?;
        loop {
            let event = match timeout(Duration::from_secs_f64(open) + GRACE, events.try_next()).await {
                Ok(Ok(Some(event))) => event,
                // Its time is over, or the connection broke off: where it cannot be made again, that is told.
                Ok(Ok(None) | Err(kube::Error::ReadEvents(_))) if !is_listing => return Ok(()),
                Ok(Ok(None)) => return Err(Failure::Away("it broke off a list".to_owned()).into()),
                Ok(Err(error)) => {
                    // It would be the same again from the same version.
                    self.version = None;
                    return Err(Failure::of("watch", &error).into());
                }
                Err(_) => return Err(Failure::Away("it has been silent for too long".to_owned()).into()),
            };
            match event {
                WatchEvent::Added(item) | WatchEvent::Modified(item) => {
                    let mut head = head(&item);
                    let version = head.resource_version.take();
                    let arrival = self.arrival(&item, head);
                    if is_listing {
                        self.tell(News::Listed(arrival)).await?;
                    } else {
                        self.tell(News::Applied(arrival)).await?;
                        self.saw(version);
                    }
                }
                WatchEvent::Deleted(item) => {
                    let mut head = head(&item);
                    let version = head.resource_version.take();
                    self.tell(News::Deleted(self.key(head))).await?;
                    self.saw(version);
                }
                WatchEvent::Bookmark(bookmark) => {
                    let ends_list = bookmark.metadata.annotations.contains_key("k8s.io/initial-events-end");
                    if is_listing && ends_list {
                        is_listing = false;
                        self.tell(News::Complete).await?;
                    }
                    if !is_listing {
                        self.version = Some(bookmark.metadata.resource_version);
                        self.backoff.reset();
                    }
                }
                WatchEvent::Error(status) => return Err(Failure::of_status("watch", &status).into()),
            }
        }
    }

    /// A change to this version was told; the next connection goes on after it.
    fn saw(&mut self, version: Option<String>) {
        if version.is_some() {
            self.version = version;
        }
        self.backoff.reset();
    }

    fn request(&self) -> Request {
        Request::new(self.kind.path())
    }

    fn key(&self, Head { name, namespace, .. }: Head) -> ObjectKey {
        ObjectKey { kind: self.kind.name().to_owned(), namespace, name: name.unwrap_or_default() }
    }

    fn arrival(&self, item: &RawValue, head: Head) -> Arrival {
        let (object, problems) = read_object(self.kind.api_version(), self.kind.name(), item.get());
        Arrival { key: self.key(head), object, problems }
    }

    async fn tell(&self, news: News) -> Result<(), Deaf> {
        self.tell.send((Instant::now(), self.kind, news)).await.map_err(|_| Deaf)
    }
}

/// The answer to a request with this verb, unless it does not come in time.
async fn answer<T>(verb: &'static str, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(|error| Failure::of(verb, &error)),
        Err(_) => Err(Failure::Away(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// A page of a list, with its objects as they were written.
#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    items: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(rename = "resourceVersion")]
    version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// What tells one object, and one version of it, from another.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Head {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
}

fn head(item: &RawValue) -> Head {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Item {
        metadata: Head,
    }
    serde_json::from_str::<Item>(item.get()).unwrap_or_default().metadata
}
