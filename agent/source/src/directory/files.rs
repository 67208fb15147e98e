//! What was last read in each file, and which of its objects count.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;

use podwitness_manifests::{Document, Mistake, read_documents};

use crate::Fault;

struct File {
    /// As last read, or why it could not be.
    text: Result<String, String>,
    /// The objects that count.
    objects: Vec<Document>,
    /// Whether `objects` are all of a text that was whole: one that was read to its end, be it with objects in it that
    /// cannot be used.
    whole: bool,
    /// Whether `objects` are those of `text`.
    current: bool,
    faults: Vec<Fault>,
}

/// The files of the folder, by name.
pub(super) struct Files {
    folder: PathBuf,
    files: BTreeMap<OsString, File>,
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, files: BTreeMap::new() }
    }

    /// Takes in what is in a file now.
    ///
    /// A text that does not parse may be half of what is being written, and an empty one its beginning: then the
    /// objects read before stay, until the file is whole or deleted. Policy is not lost with an editor's slip.
    pub(super) fn take(&mut self, name: &OsStr, content: io::Result<Vec<u8>>) {
        let text = content
            .map_err(|error| format!("cannot read the file: {error}; make it readable, or take it away"))
            .and_then(|bytes| {
                String::from_utf8(bytes).map_err(|error| format!("the file is no UTF-8 text: {error}; save it as such"))
            });
        if self.files.get(name).is_some_and(|old| old.text == text) {
            return;
        }
        let origin = self.folder.join(name).display().to_string();
        let mut file = File::read(text, &origin);
        let emptied = file.text.as_ref().is_ok_and(|text| has_no_document(text));
        let before = self.files.remove(name).filter(|old| old.whole && !old.objects.is_empty());
        if let Some(before) = before.filter(|_| emptied || !file.whole) {
            let message = if emptied {
                "the file is empty; what it said before stays in force: delete the file if its objects are to go"
            } else {
                "what the file said before stays in force until it is mended or deleted"
            };
            file.faults.push(Fault::of_file(&origin, message));
            (file.objects, file.whole, file.current) = (before.objects, true, false);
        }
        self.files.insert(name.to_owned(), file);
    }

    /// Whether the file was ever taken in.
    pub(super) fn has(&self, name: &OsStr) -> bool {
        self.files.contains_key(name)
    }

    /// Forgets the files that are not among these.
    pub(super) fn keep_only(&mut self, names: &HashSet<OsString>) {
        self.files.retain(|name, _| names.contains(name));
    }

    /// The objects that count, in the order of the files' names and of the documents in them.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Document> {
        self.files.values().flat_map(|file| &file.objects)
    }

    /// What is wrong, in the same order.
    pub(super) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.files.values().flat_map(|file| &file.faults)
    }

    /// Whether the objects that count are those of the files' present texts.
    pub(super) fn are_current(&self) -> bool {
        self.files.values().all(|file| file.current)
    }
}

impl File {
    fn read(text: Result<String, String>, origin: &str) -> Self {
        let (objects, faults, whole) = match &text {
            Ok(text) => {
                let documents = read_documents(text, origin);
                let broken = |fault: &podwitness_manifests::Fault| matches!(fault.problem.mistake, Mistake::Syntax(_));
                let whole = !documents.faults.iter().any(broken);
                (documents.objects, documents.faults.into_iter().map(Fault::from).collect(), whole)
            }
            Err(message) => (Vec::new(), vec![Fault::of_file(origin, message)], false),
        };
        Self { text, objects, whole, current: whole, faults }
    }
}

/// Whether there are only comments and separators. (A `List` without items is a document, and says what it says.)
fn has_no_document(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}
