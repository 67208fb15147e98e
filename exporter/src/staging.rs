//! The batch that is on its way into the store, on disk.
//!
//! ```text
//! <spool>/exporter/staging/plan.json        what is to be put where, and where in the spool it ends
//! <spool>/exporter/staging/<n>.parquet      the bytes, exactly
//! ```
//!
//! Invariants:
//!
//! - There is a plan or there is none: it appears by a rename, after every byte that it names is synced.
//! - While there is a plan, its files are not changed. The staged bytes *are* the batch: a repeat after a crash puts
//!   the same bytes at the same paths, whatever has since become of the configuration or of this program.
//! - Files without a plan are of a batch that was never put anywhere, and are removed at start.
//! - At the end the plan goes first, so that it never names a file that is gone.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use podwitness_runtime::durable;
use podwitness_spool::Position;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::sealing::Facts;
use crate::step::Step;

/// The version of `plan.json`. A plan of another version is refused: nothing is put on a guess.
pub const PLAN_VERSION: u32 = 2;

const PLAN: &str = "plan.json";

/// What is to be put where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The spool's position up to which everything is in these files or in the store already.
    pub end: PlannedPosition,
    /// The files, in the order in which they are put.
    pub files: Vec<PlannedFile>,
    /// What the seal that lists the files says beside them.
    pub facts: Facts,
}

/// A [`Position`], as it stands in the plan, with its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlannedPosition {
    segment: u64,
    offset: u64,
}

/// One file of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFile {
    /// Where it goes, from the evidence root.
    pub path: String,
    /// Its name in the staging folder.
    pub staged: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, in lower-case hex.
    pub sha256: String,
    /// The store's own lock that was asked for when it was put in this run; a repeat after a crash asks for the same.
    #[serde(skip)]
    pub locked_until: Option<DateTime<Utc>>,
    /// What it holds.
    #[serde(flatten)]
    pub content: Content,
}

impl PlannedFile {
    /// What is planned with `file`, which is called `staged` in the staging folder.
    pub fn new(file: &NewFile, staged: String) -> Self {
        Self {
            path: file.path.clone(),
            staged,
            bytes: file.bytes.len() as u64,
            sha256: podwitness_seals::sha256(&file.bytes),
            locked_until: None,
            content: file.content.clone(),
        }
    }
}

/// What a seal says about a file, beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Which table it is of.
    pub table: String,
    /// The boot in which its sequence runs.
    pub boot: String,
    /// The namespace whose records it holds; `None` for a table that is not by namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The version of its columns.
    pub schema_version: u32,
    /// How many records.
    pub rows: u64,
    /// `seq` of the first.
    pub first_seq: i64,
    /// `seq` of the last.
    pub last_seq: i64,
    /// The first and the last of each run of `seq` that is missing in between.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<(i64, i64)>,
    /// The earliest time in it.
    pub first_time: DateTime<Utc>,
    /// The latest time in it.
    pub last_time: DateTime<Utc>,
    /// Until when it is to be kept.
    pub retain_until: DateTime<Utc>,
}

/// A file that is ready to be planned.
pub struct NewFile {
    /// Where it goes, from the evidence root.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it holds.
    pub content: Content,
}

/// Why staging failed.
#[derive(Debug, Error)]
pub enum StagingError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}; the spool's disk must have room for one batch beside the spool")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The plan is not one.
    #[error(
        "{path} cannot be understood: {detail}; it was written by another version or is damaged, and the batch stays where it is"
    )]
    Plan {
        /// The plan.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A staged file is not what the plan says.
    #[error("{path} is damaged: its SHA-256 is not the one in the plan; the disk lost bytes that were synced to it")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// The staging folder of one spool.
pub struct Staging {
    folder: PathBuf,
}

impl Staging {
    /// Opens the staging folder of the spool at `spool`, and gives the plan that an earlier run did not finish.
    pub fn open(spool: &Path) -> Result<(Self, Option<Plan>), StagingError> {
        let folder = spool.join("exporter").join("staging");
        fs::create_dir_all(&folder).map_err(io_error("create", &folder))?;
        let staging = Self { folder };
        let plan = staging.read_plan()?;
        if plan.is_none() {
            staging.remove_files()?;
        }
        Ok((staging, plan))
    }

    /// Writes `files` and the plan to put them, durably. There must be no other plan.
    pub fn plan(&self, files: &[NewFile], facts: Facts, end: Position) -> Result<Plan, StagingError> {
        let mut planned = Vec::with_capacity(files.len());
        for (index, file) in files.iter().enumerate() {
            let staged = format!("{index}.parquet");
            self.write_synced(&staged, &file.bytes)?;
            Step::Staged.reached();
            planned.push(PlannedFile::new(file, staged));
        }
        let plan = Plan { version: PLAN_VERSION, end: end.into(), files: planned, facts };
        let text = serde_json::to_vec_pretty(&plan).expect("a plan has string keys and finite numbers");
        // The files' names must be on the disk before the plan's is.
        self.sync_folder()?;
        let path = self.folder.join(PLAN);
        durable::replace(&path, &text, 0o640).map_err(io_error("write", &path))?;
        Step::Planned.reached();
        Ok(plan)
    }

    /// The bytes of a planned file, checked.
    pub fn read(&self, file: &PlannedFile) -> Result<Vec<u8>, StagingError> {
        let path = self.folder.join(&file.staged);
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        if podwitness_seals::sha256(&bytes) == file.sha256 { Ok(bytes) } else { Err(StagingError::Damaged { path }) }
    }

    /// Forgets the plan and its files. Everything up to its end must be marked done in the spool.
    pub fn clear(&self) -> Result<(), StagingError> {
        let path = self.folder.join(PLAN);
        fs::remove_file(&path).map_err(io_error("remove", &path))?;
        self.sync_folder()?;
        Step::Unplanned.reached();
        self.remove_files()
    }

    fn read_plan(&self) -> Result<Option<Plan>, StagingError> {
        let path = self.folder.join(PLAN);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let plan: Plan = serde_json::from_slice(&text)
            .map_err(|error| StagingError::Plan { path: path.clone(), detail: error.to_string() })?;
        if plan.version != PLAN_VERSION {
            let detail = format!("it has version {}, and this program knows {PLAN_VERSION}", plan.version);
            return Err(StagingError::Plan { path, detail });
        }
        Ok(Some(plan))
    }

    fn remove_files(&self) -> Result<(), StagingError> {
        for entry in fs::read_dir(&self.folder).map_err(io_error("list", &self.folder))? {
            let path = entry.map_err(io_error("list", &self.folder))?.path();
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
        Ok(())
    }

    fn write_synced(&self, name: &str, bytes: &[u8]) -> Result<(), StagingError> {
        let path = self.folder.join(name);
        let mut file = File::create(&path).map_err(io_error("create", &path))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error("write", &path))
    }

    fn sync_folder(&self) -> Result<(), StagingError> {
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(io_error("sync", &self.folder))
    }
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> StagingError + use<'a> {
    move |source| StagingError::Io { action, path: path.to_owned(), source }
}

impl From<Position> for PlannedPosition {
    fn from(position: Position) -> Self {
        Self { segment: position.segment(), offset: position.offset() }
    }
}

impl From<PlannedPosition> for Position {
    fn from(planned: PlannedPosition) -> Self {
        Self::new(planned.segment, planned.offset)
    }
}
