//! The evidence root as the verifier needs it: what there is, and the bytes of each. A folder is read as it stands; what is in
//! a store comes into a file without a name first, so that no object must fit into memory.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _};
use podwitness_store::{Store, StoreError, url_of};
use tokio::runtime::{Builder, Runtime};

use super::names::Name;
use super::output::Plain;
use crate::failure::Failure;

/// An evidence root.
pub(super) enum Root {
    /// A folder.
    Folder(PathBuf),
    /// Anything else, and what waits for its answers.
    Store(Box<Store>, Runtime),
}

impl Root {
    /// Opens the root that a person named. Nothing is read yet.
    pub(super) fn open(root: &str) -> Result<Self, Failure> {
        let url = url_of(root).map_err(Failure::question)?;
        let store = Store::open(&url, std::env::vars()).map_err(Failure::question)?;
        let Some(folder) = store.folder() else {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Failure::question(format_args!("cannot ask the store: {error}")))?;
            return Ok(Self::Store(Box::new(store), runtime));
        };
        match fs::metadata(folder) {
            Ok(there) if there.is_dir() => Ok(Self::Folder(folder.to_owned())),
            Ok(_) => Err(Failure::question(format_args!("{root} is not a folder: give the evidence root"))),
            Err(error) => Err(Failure::question(format_args!("cannot read the evidence root {root}: {error}"))),
        }
    }

    /// Whether it is in a store, which may have versions and answers from afar.
    pub(super) fn is_store(&self) -> bool {
        matches!(self, Self::Store(..))
    }

    /// Tells `each` the path, what that names, and the bytes of everything below `folder`, in no particular order. A folder
    /// that is not there is empty. What is neither a folder nor a regular file is stray whatever it is called.
    pub(super) fn list(&self, folder: &str, mut each: impl FnMut(&str, Name, u64)) -> Result<(), Failure> {
        match self {
            Self::Folder(root) => list_folder(root, folder, each),
            Self::Store(store, runtime) => runtime
                .block_on(store.list(folder).try_for_each(|object| {
                    each(&object.path, Name::of(&object.path), object.bytes);
                    async { Ok(()) }
                }))
                .map_err(|error: StoreError| Failure::question(error)),
        }
    }

    /// The object at `path`; `None` where there is none.
    pub(super) fn object(&self, path: &str) -> Result<Option<File>, Failure> {
        match self {
            Self::Folder(root) => open(&root.join(path)),
            Self::Store(store, runtime) => runtime.block_on(fetch(store, path, u64::MAX)),
        }
    }

    /// The bytes at `path`, cut behind the first `limit`; `None` where there are none.
    pub(super) fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
        let file = match self {
            Self::Folder(root) => open(&root.join(path))?,
            Self::Store(store, runtime) => runtime.block_on(fetch(store, path, limit))?,
        };
        let Some(file) = file else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable(Path::new(path), &error))?;
        Ok(Some(bytes))
    }
}

/// Opens the file at `path`; `None` where there is none. A pipe would not be opened before somebody writes to it, and a device
/// may never end: only a regular file is one.
fn open(path: &Path) -> Result<Option<File>, Failure> {
    let opened = fs::symlink_metadata(path).and_then(|there| there.is_file().then(|| File::open(path)).transpose());
    match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map_err(|error| unreadable(path, &error)),
    }
}

fn list_folder(root: &Path, folder: &str, mut each: impl FnMut(&str, Name, u64)) -> Result<(), Failure> {
    // Each as it is called on the disk, and as it is told.
    let mut folders = vec![(root.join(folder), folder.to_owned())];
    while let Some((there, folder)) = folders.pop() {
        let entries = match fs::read_dir(&there) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(unreadable(&there, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&there, &error))?;
            let name = entry.file_name();
            // A name that is no text is no name of evidence; it is told as near as it can be.
            let name = name.to_string_lossy();
            let path = format!("{folder}/{name}");
            let kind = entry.file_type().map_err(|error| unreadable(&entry.path(), &error))?;
            if kind.is_dir() {
                folders.push((entry.path(), path));
            } else if !is_unfinished(&name) {
                let name = if kind.is_file() { Name::of(&path) } else { Name::Stray };
                each(&path, name, entry.metadata().map_or(0, |metadata| metadata.len()));
            }
        }
    }
    Ok(())
}

/// What is in the store at `path`, as far as to the first piece that reaches `limit`.
async fn fetch(store: &Store, path: &str, limit: u64) -> Result<Option<File>, Failure> {
    let Some(mut pieces) = store.stream(path).await.map_err(Failure::question)? else { return Ok(None) };
    let unwritable = |error| Failure::question(format_args!("cannot keep {path} in a temporary file: {error}"));
    let mut file = tempfile::tempfile().map_err(unwritable)?;
    let mut bytes = 0_u64;
    while bytes < limit
        && let Some(piece) = pieces.next().await
    {
        let piece = piece.map_err(Failure::question)?;
        bytes = bytes.saturating_add(piece.len() as u64);
        file.write_all(&piece).map_err(unwritable)?;
    }
    file.rewind().map_err(unwritable)?;
    Ok(Some(file))
}

/// Whether `name` is that of a put that was not finished: the library that writes to folders names them so.
fn is_unfinished(name: &str) -> bool {
    name.rsplit_once('#')
        .is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Why nothing can be said: the evidence could not be read.
fn unreadable(path: &Path, error: &dyn Display) -> Failure {
    Failure::question(format_args!(
        "cannot read {}: {error}; without it nothing can be said of the root",
        Plain(&path.to_string_lossy())
    ))
}
