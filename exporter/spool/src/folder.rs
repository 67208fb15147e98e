//! The spool's folder: what stands where, and who makes it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::error::SpoolError;

/// The exporter removes segments and keeps its cursor as a member of the group.
const FOLDER_MODE: u32 = 0o770;
const NUMBER_DIGITS: usize = 16;

/// Paths within one spool.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    segments: PathBuf,
    exporter: PathBuf,
}

/// What is in the segments' folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Numbers of the segments, ascending.
    pub(crate) numbers: Vec<u64>,
    /// Bytes of all segments.
    pub(crate) bytes: u64,
    /// Segments that were being made when the writer died.
    pub(crate) unfinished: Vec<PathBuf>,
    /// Files that are not the spool's.
    pub(crate) foreign: Vec<PathBuf>,
}

impl Folder {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), segments: root.join("segments"), exporter: root.join("exporter") }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn segments(&self) -> &Path {
        &self.segments
    }

    pub(crate) fn exporter(&self) -> &Path {
        &self.exporter
    }

    pub(crate) fn cursor(&self) -> PathBuf {
        self.exporter.join("cursor")
    }

    pub(crate) fn segment(&self, number: u64) -> PathBuf {
        self.segments.join(format!("{number:0NUMBER_DIGITS$}.seg"))
    }

    /// The name under which a segment is made, before it is whole.
    pub(crate) fn unfinished_segment(&self, number: u64) -> PathBuf {
        self.segments.join(format!("{number:0NUMBER_DIGITS$}.tmp"))
    }

    /// Makes what is missing, durably, for both sides.
    pub(crate) fn make(&self, disk: &dyn Disk) -> Result<(), SpoolError> {
        let parent = self.root.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            fs::create_dir_all(parent).map_err(|source| SpoolError::io("make folder", parent, source))?;
        }
        if make_folder(&self.root)? {
            let parent = parent.unwrap_or(Path::new("."));
            disk.sync_folder(parent).map_err(|source| SpoolError::io("sync folder", parent, source))?;
        }
        let made = [make_folder(&self.segments)?, make_folder(&self.exporter)?];
        if made.contains(&true) {
            disk.sync_folder(&self.root).map_err(|source| SpoolError::io("sync folder", &self.root, source))?;
        }
        Ok(())
    }

    /// Makes the reader's own part, which the writer has normally made.
    pub(crate) fn make_exporter(&self) -> Result<(), SpoolError> {
        if !self.root.is_dir() {
            return Err(SpoolError::Absent { path: self.root.clone() });
        }
        make_folder(&self.exporter).map(drop)
    }

    /// Looks at the segments; one that the reader removes meanwhile is left out.
    pub(crate) fn list(&self) -> Result<Listing, SpoolError> {
        let failed = |source| SpoolError::io("list", &self.segments, source);
        let entries = match fs::read_dir(&self.segments) {
            Ok(entries) => entries,
            // The reader may come before the first writer.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
            Err(error) => return Err(failed(error)),
        };
        let mut listing = Listing::default();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            match name.to_str().and_then(parse_name) {
                Some((number, "seg")) => match entry.metadata() {
                    Ok(metadata) => {
                        listing.numbers.push(number);
                        listing.bytes += metadata.len();
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(SpoolError::io("look at", &entry.path(), error)),
                },
                Some((_, "tmp")) => listing.unfinished.push(entry.path()),
                _ => listing.foreign.push(entry.path()),
            }
        }
        listing.numbers.sort_unstable();
        listing.foreign.sort_unstable();
        Ok(listing)
    }
}

/// The number and the ending of `0000000000000001.seg`.
fn parse_name(name: &str) -> Option<(u64, &str)> {
    let (digits, ending) = name.split_once('.')?;
    let regular = digits.len() == NUMBER_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|&number| regular && number > 0)?;
    Some((number, ending))
}

/// Whether it was missing. An inherited setgid bit stays; what the umask took from the group comes back.
fn make_folder(path: &Path) -> Result<bool, SpoolError> {
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(false),
        Err(source) => return Err(SpoolError::io("make folder", path, source)),
    }
    let opened = fs::metadata(path).and_then(|metadata| {
        let mode = metadata.permissions().mode() & 0o7770 | FOLDER_MODE;
        fs::set_permissions(path, Permissions::from_mode(mode))
    });
    opened.map_err(|source| SpoolError::io("set the mode of", path, source))?;
    Ok(true)
}
