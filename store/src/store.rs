//! What can be done below a root; the crate's documentation has the invariants.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::{BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use podwitness_schemas::layout::{ROOT_MARKER_PATH, RootMarker};
use sha2::{Digest, Sha256};

use crate::failure::{FailureKind, OpenError, StoreError, is_absent, sentence};
use crate::folder;
use crate::lock::{LockPolicy, ObjectLock};
use crate::open::{Opened, Patience, open};
use crate::s3::Bucket;

/// An evidence root. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) objects: Arc<dyn ObjectStore>,
    root: Path,
    url: Arc<str>,
    folder: Option<Arc<FilePath>>,
    pub(crate) bucket: Option<Arc<Bucket>>,
    pub(crate) lock_policy: LockPolicy,
    /// What the store has answered.
    pub(crate) lock: Arc<tokio::sync::OnceCell<ObjectLock>>,
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
        let Opened { objects, root, folder, bucket } = open(url, environment, patience)?;
        let folder = folder.map(|folder: PathBuf| folder.into());
        Ok(Self {
            objects,
            root,
            url: url.trim_end_matches('/').into(),
            folder,
            bucket,
            lock_policy: LockPolicy::default(),
            lock: Arc::default(),
        })
    }

    /// The root's URL, for messages.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The root in the file system, where it is a folder.
    pub fn folder(&self) -> Option<&FilePath> {
        self.folder.as_deref()
    }

    /// Puts `bytes` at `path`, once: see the crate's invariants. Nothing is locked.
    pub async fn put_once(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.put(self.objects.as_ref(), path, bytes).await
    }

    /// As [`Store::put_once`], locked until `until` where the store does that (see [`Store::object_lock`]), in one request.
    /// Returns the time of the lock that was asked for: `until` to the next full second; `None` where nothing was locked, or
    /// `until` is over. Of an object that was there already with the same bytes, it is what the first put asked for, as
    /// long as that was for the same time.
    pub async fn put_locked(
        &self,
        path: &str,
        bytes: Bytes,
        until: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let lock = self.lock_until(until).await?;
        match (&self.bucket, lock) {
            (Some(bucket), Some(lock)) => {
                let locking = bucket.locking(lock).map_err(|error| self.explain("write", path, &error))?;
                self.put(&locking, path, bytes).await?;
            }
            _ => self.put_once(path, bytes).await?,
        }
        Ok(lock)
    }

    async fn put(&self, objects: &dyn ObjectStore, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        const ACTION: &str = "write";
        let location = self.location(ACTION, path)?;
        let size = bytes.len();
        let digest = Sha256::digest(&bytes);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match objects.put_opts(&location, bytes.into(), options).await {
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

    /// The bytes at `path`; `None` where there are none. A bucket that is not there is [`FailureKind::Missing`].
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        const ACTION: &str = "read";
        let location = self.location(ACTION, path)?;
        let found = match self.objects.get(&location).await {
            Ok(found) => found.bytes().await,
            Err(error) if is_absent(&error) => return Ok(None),
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
            Err(error) if is_absent(&error) => return Ok(None),
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

    /// Deletes the object at `path`, durably and for good: in a bucket with versions all of them, since a deletion that names
    /// none would only hide the object, and would do so before the end of its lock. One that is not there is no fault;
    /// one whose lock has not ended is [`FailureKind::Locked`].
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> {
        match &self.bucket {
            Some(bucket) => self.delete_versions(bucket, path).await,
            None => self.delete_plainly(path).await,
        }
    }

    pub(crate) async fn delete_plainly(&self, path: &str) -> Result<(), StoreError> {
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

    pub(crate) fn location(&self, action: &'static str, path: &str) -> Result<Path, StoreError> {
        Path::parse(format!("{}/{path}", self.root).trim_matches('/'))
            .map_err(|error| self.failure(FailureKind::Unsupported, action, path, &error.to_string()))
    }

    fn relative(&self, location: &Path) -> String {
        self.relative_key(location.as_ref())
    }

    pub(crate) fn relative_key(&self, whole: &str) -> String {
        whole.strip_prefix(self.root.as_ref()).unwrap_or(whole).trim_start_matches('/').to_owned()
    }

    pub(crate) fn explain(&self, action: &'static str, path: &str, error: &Error) -> StoreError {
        self.failure(FailureKind::of(error), action, path, &sentence(error))
    }

    pub(crate) fn failure(&self, kind: FailureKind, action: &'static str, path: &str, detail: &str) -> StoreError {
        let object = if path.is_empty() { self.url.to_string() } else { format!("{}/{path}", self.url) };
        StoreError { kind, action, object, detail: detail.to_owned() }
    }
}
