//! A chain of deletions.

use anyhow::{Context as _, Result};
use podwitness_schemas::layout;
use podwitness_seals::deletion::{DeletedObject, Deletion};
use podwitness_seals::key::PrivateKey;
use podwitness_seals::time::Time;

use super::{Cluster, SealedRoot, key};

/// Who deletes in one cluster.
pub struct Deletions {
    cluster: Cluster,
    key: PrivateKey,
    next_key: Option<PrivateKey>,
    number: u64,
    previous: Option<String>,
}

impl Deletions {
    /// Nothing is deleted yet. `seed` names the key that signs.
    pub fn begin(root: &mut SealedRoot, cluster: Cluster, seed: u8) -> Self {
        let key = key(seed);
        root.put_key(&key.public());
        Self { cluster, key, next_key: None, number: 0, previous: None }
    }

    /// The key of `seed` signs from the deletion behind the next one on; it is put.
    pub fn rotate_key(&mut self, root: &mut SealedRoot, seed: u8) {
        let next = key(seed);
        root.put_key(&next.public());
        self.next_key = Some(next);
    }

    /// Signs a list of what stands at `paths`, then deletes it. `time` is in microseconds since 1970. Gives the deletion's
    /// path.
    pub fn delete(&mut self, root: &mut SealedRoot, time: i64, paths: &[String]) -> Result<String> {
        let seals = root.seals();
        let listed = |path: &String| {
            let found = seals.iter().find_map(|(seal, content)| {
                let object = content.objects.iter().find(|object| object.path == *path)?;
                Some(DeletedObject::of(object, seal))
            });
            found.with_context(|| format!("no seal lists {path}"))
        };
        let mut objects = paths.iter().map(listed).collect::<Result<Vec<_>>>()?;
        objects.sort_by(|one, other| one.path.cmp(&other.path));
        self.number += 1;
        let deletion = Deletion {
            r#type: "podwitness-deletion".to_owned(),
            version: 1,
            cluster: self.cluster.name.clone(),
            deletion: self.number,
            previous_sha256: self.previous.take(),
            time: Time::from_micros(time),
            tool_version: "0.1.0".to_owned(),
            minimum_seconds: self.cluster.minimum_seconds,
            default_seconds: self.cluster.default_seconds,
            retention: self.cluster.retention.clone(),
            objects,
            key_id: self.key.public().id(),
            next_key_id: self.next_key.as_ref().map(|key| key.public().id()),
        };
        let path = layout::deletion_path(&self.cluster.name, self.number);
        self.previous = Some(root.put_document(&path, &deletion, &self.key));
        if let Some(next) = self.next_key.take() {
            self.key = next;
        }
        for path in paths {
            root.objects.remove(path);
        }
        Ok(path)
    }
}
