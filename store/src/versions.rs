//! The versions of objects, where the store keeps them.

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, ObjectStore as _};

use crate::failure::{FailureKind, StoreError, is_absent};
use crate::s3::{Bucket, PageMarker, Refusal, VersionsPage};
use crate::store::Store;

/// One version of an object, or a delete marker over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Where it stands, from the root.
    pub path: String,
    /// The store's name for it; `null` in a bucket that keeps no versions.
    pub version: String,
    /// Whether it is what a reader gets who names no version.
    pub is_latest: bool,
    /// Whether it is a marker that says that there is nothing.
    pub is_delete_marker: bool,
    /// How many bytes it has; 0 of a marker.
    pub bytes: u64,
    /// The store's entity tag. Versions with different ones may still have the same bytes.
    pub etag: Option<String>,
}

impl Store {
    /// The versions of what stands below `prefix` (as in [`Store::list`]), in the order of their paths but for delete markers,
    /// which come before or after the versions of one page; `None` where the kind of store has none that could be asked
    /// for, which are all but S3.
    pub fn versions(&self, prefix: &str) -> Option<BoxStream<'static, Result<Version, StoreError>>> {
        self.bucket.as_ref()?;
        let begin = self.location("list the versions of", prefix).map(|location| {
            // A folder's name must not find those that begin alike.
            let key = if location.as_ref().is_empty() { String::new() } else { format!("{location}/") };
            (key, Some(PageMarker::default()))
        });
        let prefix = prefix.to_owned();
        Some(match begin {
            Ok((key, page)) => self.clone().pages(key, page, prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        })
    }

    fn pages(
        self,
        key: String,
        first: Option<PageMarker>,
        prefix: String,
    ) -> BoxStream<'static, Result<Version, StoreError>> {
        stream::try_unfold((self, first), move |(store, page)| {
            let (key, prefix) = (key.clone(), prefix.clone());
            async move {
                let (Some(page), Some(bucket)) = (page, store.bucket.clone()) else { return Ok(None) };
                let (found, next) = bucket
                    .versions(&key, &page)
                    .await
                    .map_err(|refusal| store.refused("list the versions of", &prefix, &refusal))?;
                let versions = store.named(found);
                Ok(Some((stream::iter(versions.into_iter().map(Ok)), (store, next))))
            }
        })
        .try_flatten()
        .boxed()
    }

    /// The bytes of one version; `None` where there is no such one, or it is a delete marker.
    pub async fn get_version(&self, path: &str, version: &str) -> Result<Option<Bytes>, StoreError> {
        const ACTION: &str = "read";
        let options = GetOptions { version: Some(version.to_owned()), ..GetOptions::default() };
        let found = match self.objects.get_opts(&self.location(ACTION, path)?, options).await {
            Ok(found) => found.bytes().await,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => Err(error),
        };
        found.map(Some).map_err(|error| self.explain(ACTION, path, &error))
    }

    /// Deletes every version at `path`, then the markers over them. A version that is locked leaves the markers as they are.
    pub(crate) async fn delete_versions(&self, bucket: &Bucket, path: &str) -> Result<(), StoreError> {
        const ACTION: &str = "delete";
        let key = self.location(ACTION, path)?;
        let refused = |refusal: Refusal| self.refused(ACTION, path, &refusal);
        let mut found = Vec::new();
        let mut page = Some(PageMarker::default());
        while let Some(from) = page {
            let (versions, next) = match bucket.versions(key.as_ref(), &from).await {
                Ok(page) => page,
                // A server that knows no versions has but one of each.
                Err(refusal) if refusal.kind == FailureKind::Unsupported => {
                    return self.delete_plainly(path).await;
                }
                Err(refusal) => return Err(refused(refusal)),
            };
            let ours = self.named(versions).into_iter().filter(|version| version.path == path);
            found.extend(ours);
            page = next;
        }
        found.sort_by_key(|version| version.is_delete_marker);
        for version in found {
            bucket.delete_version(key.as_ref(), &version.version).await.map_err(refused)?;
        }
        Ok(())
    }

    fn named(&self, page: VersionsPage) -> Vec<Version> {
        let versions = page.version.into_iter().map(|found| Version {
            path: self.relative_key(&found.key),
            version: found.version_id,
            is_latest: found.is_latest,
            is_delete_marker: false,
            bytes: found.size,
            etag: found.etag,
        });
        let markers = page.delete_marker.into_iter().map(|found| Version {
            path: self.relative_key(&found.key),
            version: found.version_id,
            is_latest: found.is_latest,
            is_delete_marker: true,
            bytes: 0,
            etag: None,
        });
        versions.chain(markers).collect()
    }

    fn refused(&self, action: &'static str, path: &str, refusal: &Refusal) -> StoreError {
        self.failure(refusal.kind, action, path, &refusal.detail)
    }
}
