//! The evidence root as the verifier needs it: what there is, and the bytes of each.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// An evidence root.
pub(super) struct Root {
    folder: PathBuf,
}

impl Root {
    /// Opens the root that a person named. Nothing is read yet.
    pub(super) fn open(root: &str) -> Result<Self, Failure> {
        let folder = match root.split_once("://") {
            Some(("file", path)) => PathBuf::from(path),
            Some((scheme, _)) => {
                return Err(Failure::question(format_args!(
                    "no evidence can be read from {scheme}://: copy it to a folder"
                )));
            }
            None => PathBuf::from(root),
        };
        match fs::metadata(&folder) {
            Ok(there) if there.is_dir() => Ok(Self { folder }),
            Ok(_) => Err(Failure::question(format_args!("{root} is not a folder: give the evidence root"))),
            Err(error) => Err(Failure::question(format_args!("cannot read the evidence root {root}: {error}"))),
        }
    }

    /// Tells `each` the path and the bytes of everything below `folder`, in no particular order. A folder that is not
    /// there is empty.
    pub(super) fn list(&self, folder: &str, mut each: impl FnMut(&str, u64)) -> Result<(), Failure> {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let there = self.folder.join(&folder);
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
                    folders.push(path);
                } else if !is_unfinished(&name) {
                    each(&path, fs::metadata(entry.path()).map_or(0, |metadata| metadata.len()));
                }
            }
        }
        Ok(())
    }

    /// The object at `path`; `None` where there is none.
    pub(super) fn object(&self, path: &str) -> Result<Option<File>, Failure> {
        let path = self.folder.join(path);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    /// The bytes at `path`, cut behind the first `limit`; `None` where there are none.
    pub(super) fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
        let Some(file) = self.object(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable(&self.folder.join(path), &error))?;
        Ok(Some(bytes))
    }
}

/// Whether `name` is that of a put that was not finished: the library that writes to folders names them so.
fn is_unfinished(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, digits)| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Why nothing can be said: the evidence could not be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::question(format_args!(
        "cannot read {}: {error}; without it nothing can be said of the root",
        path.display()
    ))
}
