//! The store's own lock: Object Lock of S3, in compliance mode, in which nobody can delete a version before its time, the
//! bucket's owner included.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use crate::failure::{FailureKind, StoreError};
use crate::s3::Refusal;
use crate::store::Store;

/// What is wanted of the store's lock: `store.objectLock`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LockPolicy {
    /// Objects are locked where the store can do it.
    #[default]
    Auto,
    /// Nothing is put into a store that cannot.
    Required,
    /// Nothing is locked.
    Off,
}

/// Whether objects are locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectLock {
    /// Each is locked until its own time.
    On,
    /// None is, and this is why, as a clause. Such a store is not WORM.
    Off(String),
    /// None is either, because whether the store does that could not be asked, as a clause. It is not to be called WORM.
    Unknown(String),
}

impl Store {
    /// The same store with another policy of locking.
    #[must_use]
    pub fn with_lock_policy(mut self, policy: LockPolicy) -> Self {
        self.lock_policy = policy;
        self.lock = std::sync::Arc::default();
        self
    }

    /// Whether what is put is locked. The store is asked once; a failure to answer is not remembered.
    pub async fn object_lock(&self) -> Result<&ObjectLock, StoreError> {
        self.lock.get_or_try_init(|| self.ask_for_lock()).await
    }

    async fn ask_for_lock(&self) -> Result<ObjectLock, StoreError> {
        let lock = match (&self.bucket, self.lock_policy) {
            (_, LockPolicy::Off) => return Ok(ObjectLock::Off("`store.objectLock` is `off`".to_owned())),
            (None, _) if self.folder().is_some() => ObjectLock::Off("a folder has no lock".to_owned()),
            (None, _) => ObjectLock::Unknown("objects are locked in S3 alone".to_owned()),
            (Some(bucket), policy) => match bucket.has_object_lock().await {
                Ok(true) => ObjectLock::On,
                Ok(false) => ObjectLock::Off("the bucket was made without Object Lock".to_owned()),
                // Who may put with a lock need not be allowed to ask: then the put itself answers.
                Err(refusal) if refusal.kind == FailureKind::Forbidden && policy == LockPolicy::Required => {
                    ObjectLock::On
                }
                Err(refusal) if refusal.kind == FailureKind::Forbidden => ObjectLock::Unknown(format!(
                    "whether the bucket has Object Lock may not be asked (permit s3:GetBucketObjectLockConfiguration): {}",
                    refusal.detail
                )),
                Err(refusal) if refusal.kind == FailureKind::Unsupported => {
                    ObjectLock::Off(format!("the server knows no Object Lock: {}", refusal.detail))
                }
                Err(refusal) => return Err(self.failure(refusal.kind, "ask for Object Lock of", "", &refusal.detail)),
            },
        };
        match lock {
            ObjectLock::Off(why) | ObjectLock::Unknown(why) if self.lock_policy == LockPolicy::Required => {
                let detail = format!("`store.objectLock` is `required`, and {why}");
                Err(self.failure(FailureKind::Unlocked, "write to", "", &detail))
            }
            lock => Ok(lock),
        }
    }

    /// Until when the store itself says that nobody can delete the object at `path`, in its newest version: the end of its lock
    /// in compliance mode. `None` where there is no such lock, or no object.
    pub async fn locked_until(&self, path: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        const ACTION: &str = "ask for the lock of";
        let Some(bucket) = &self.bucket else { return Ok(None) };
        let key = self.location(ACTION, path)?;
        let refused = |refusal: Refusal| self.failure(refusal.kind, ACTION, path, &refusal.detail);
        bucket.locked_until(key.as_ref()).await.map_err(refused)
    }

    /// Until when an object that must be kept until `until` is to be locked: whole seconds, as the protocol has them,
    /// never before `until`; `None` where nothing is locked, or that time is over already, which stores refuse.
    pub(crate) async fn lock_until(&self, until: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        let second = TimeDelta::seconds(1);
        let whole = until.duration_trunc(second).unwrap_or(until);
        let whole = if whole < until { whole + second } else { whole };
        Ok((*self.object_lock().await? == ObjectLock::On && whole > Utc::now()).then_some(whole))
    }
}
