//! What can be done below a root; the crate's documentation has the invariants.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use podwitness_schemas::layout::{ROOT_MARKER_PATH, RootMarker};
use sha2::{Digest, Sha256};

use crate::failure::{FailureKind, OpenError, StoreError, sentence};
use crate::folder;
use crate::open::{Opened, Patience, open};

/// An evidence root. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    url: Arc<str>,
    folder: Option<Arc<FilePath>>,
}

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Where it stands, from the root.
    pub path: String,
    /// How many bytes it has.
    pub bytes: u64,
}

/// What `podwitness.json` says of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// There is none: nothing was written here yet.
    Absent,
    /// It is a root of the layout that this version writes and reads.
    Current,
    /// It is a root of another layout.
    Other(u32),
    /// It is there and is no root's marker: why.
    Unreadable(String),
}

impl Store {
    /// Opens the root at `url` (`s3://`, `gs://`, `az://`, `file:///`; see [`crate::url_of`]) with the settings that its
    /// cloud's own tools take from the `environment` (`AWS_*`, `GOOGLE_*`, `AZURE_*`). Sends nothing yet.
    pub fn open(url: &str, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, OpenError> {
        Self::open_with(url, environment, Patience::default())
    }

    /// As [`Store::open`], with another patience.
    pub fn open_with(
        url: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        patience: Patience,
    ) -> Result<Self, OpenError> {
        let Opened { objects, root, folder } = open(url, environment, patience)?;
        let folder = folder.map(|folder: PathBuf| folder.into());
        Ok(Self { objects, root, url: url.trim_end_matches('/').into(), folder })
    }

    /// The root's URL, for messages.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The root in the file system, where it is a folder.
    pub fn folder(&self) -> Option<&FilePath> {
        self.folder.as_deref()
    }

    /// Puts `bytes` at `path`, once: see the crate's invariants.
    pub async fn put_once(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        const ACTION: &str = "write";
        let location = self.location(ACTION, path)?;
        let size = bytes.len();
        let digest = Sha256::digest(&bytes);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(&location, bytes.into(), options).await {
            Ok(_) => {}
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                let Some(there) = self.get(path).await? else {
                    let detail = "somebody else is writing it, or has just deleted it";
                    return Err(self.failure(FailureKind::Unavailable, ACTION, path, detail));
                };
                if there.len() != size || Sha256::digest(&there) != digest {
                    let detail = format!(
                        "it is there already with other bytes: {} bytes, SHA-256 {:x}, where {size} bytes, SHA-256 {digest:x} \
                         were to be written",
                        there.len(),
                        Sha256::digest(&there),
                    );
                    return Err(self.failure(FailureKind::Conflict, ACTION, path, &detail));
                }
            }
            Err(error) => return Err(self.explain(ACTION, path, &error)),
        }
        if let Some(root) = &self.folder {
            folder::make_durable(root, path).map_err(|error| {
                self.failure(FailureKind::of_io(&error), ACTION, path, &format!("cannot sync it: {error}"))
            })?;
        }
        Ok(())
    }

    /// Writes `podwitness.json` where there is none, and refuses a root of another layout.
    pub async fn claim_root(&self) -> Result<(), StoreError> {
        match self.put_once(ROOT_MARKER_PATH, RootMarker::current().to_json().into()).await {
            Err(StoreError { kind: FailureKind::Conflict, .. }) => {}
            other => return other,
        }
        let detail = match self.marker().await? {
            Marker::Current | Marker::Absent => return Ok(()),
            Marker::Other(layout) => {
                format!("the root has layout {layout}, and this version writes layout {}", RootMarker::current().layout)
            }
            Marker::Unreadable(why) => format!("it is there and is no root's marker: {why}"),
        };
        Err(self.failure(FailureKind::Layout, "write", ROOT_MARKER_PATH, &detail))
    }

    /// What the root is.
    pub async fn marker(&self) -> Result<Marker, StoreError> {
        Ok(match self.get(ROOT_MARKER_PATH).await? {
            None => Marker::Absent,
            Some(bytes) => match serde_json::from_slice::<RootMarker>(&bytes) {
                Ok(marker) if marker.layout == RootMarker::current().layout => Marker::Current,
                Ok(marker) => Marker::Other(marker.layout),
                Err(error) => Marker::Unreadable(error.to_string()),
            },
        })
    }

    /// The bytes at `path`; `None` where there are none, or no such bucket.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        const ACTION: &str = "read";
        let location = self.location(ACTION, path)?;
        let found = match self.objects.get(&location).await {
            Ok(found) => found.bytes().await,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => Err(error),
        };
        found.map(Some).map_err(|error| self.explain(ACTION, path, &error))
    }

    /// The bytes at `path`, piece by piece; `None` where there are none.
    pub async fn stream(
        &self,
        path: &str,
    ) -> Result<Option<BoxStream<'static, Result<Bytes, StoreError>>>, StoreError> {
        const ACTION: &str = "read";
        let location = self.location(ACTION, path)?;
        let found = match self.objects.get(&location).await {
            Ok(found) => found.into_stream(),
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.explain(ACTION, path, &error)),
        };
        let (store, path) = (self.clone(), path.to_owned());
        Ok(Some(found.map(move |piece| piece.map_err(|error| store.explain(ACTION, &path, &error))).boxed()))
    }

    /// How many bytes are at `path`; `None` where there is no object.
    pub async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        const ACTION: &str = "read";
        match self.objects.head(&self.location(ACTION, path)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.explain(ACTION, path, &error)),
        }
    }

    /// What stands below `prefix`, whole segments of a path or `""` for everything, in no particular order. A bucket that
    /// is not there is [`FailureKind::Missing`]; a folder that is not there is empty.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<Object, StoreError>> {
        const ACTION: &str = "list";
        let location = match self.location(ACTION, prefix) {
            Ok(location) => location,
            Err(error) => return futures_util::stream::once(async { Err(error) }).boxed(),
        };
        let (store, prefix) = (self.clone(), prefix.to_owned());
        self.objects
            .list(Some(&location))
            .map(move |found| match found {
                Ok(meta) => Ok(Object { path: store.relative(&meta.location), bytes: meta.size }),
                Err(error) => Err(store.explain(ACTION, &prefix, &error)),
            })
            .boxed()
    }

    /// Deletes the object at `path`, durably. One that is not there is no fault.
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> {
        const ACTION: &str = "delete";
        match self.objects.delete(&self.location(ACTION, path)?).await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(self.explain(ACTION, path, &error)),
        }
        let Some(root) = &self.folder else { return Ok(()) };
        folder::sync_nearest(root, path).map_err(|error| {
            self.failure(FailureKind::of_io(&error), ACTION, path, &format!("cannot sync its folder: {error}"))
        })
    }

    fn location(&self, action: &'static str, path: &str) -> Result<Path, StoreError> {
        Path::parse(format!("{}/{path}", self.root).trim_matches('/'))
            .map_err(|error| self.failure(FailureKind::Unsupported, action, path, &error.to_string()))
    }

    fn relative(&self, location: &Path) -> String {
        let whole = location.as_ref();
        whole.strip_prefix(self.root.as_ref()).unwrap_or(whole).trim_start_matches('/').to_owned()
    }

    fn explain(&self, action: &'static str, path: &str, error: &Error) -> StoreError {
        self.failure(FailureKind::of(error), action, path, &sentence(error))
    }

    fn failure(&self, kind: FailureKind, action: &'static str, path: &str, detail: &str) -> StoreError {
        let object = if path.is_empty() { self.url.to_string() } else { format!("{}/{path}", self.url) };
        StoreError { kind, action, object, detail: detail.to_owned() }
    }
}
