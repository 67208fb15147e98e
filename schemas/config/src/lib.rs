//! The one configuration file that the agent and the exporter both read.
//!
//! The file is YAML and is read strictly: a key that does not exist, a value of the wrong type and a value that
//! cannot work are refused before anything starts, each with its key's path, its line, what was expected and what was
//! found, and all of them at once. Only `cluster`, `source` and `store.url` have no default.
//!
//! - A **duration** is a whole number and one unit: `100ms`, `30s`, `5m`, `12h`, `400d`.
//! - A **size** is a whole number and one unit, in powers of 1024: `512B`, `64KiB`, `16MiB`, `10GiB`, `2TiB`.
//! - A relative **path** starts at the folder that holds the configuration file, so that both programs mean the same
//!   place wherever they were started.

#![forbid(unsafe_code)]

mod fault;
mod model;
mod read;
mod section;
mod store_url;
mod tree;
mod values;

use std::path::Path;

pub use fault::{ConfigFaults, Fault};
pub use model::{
    Batch, Config, Connections, Endpoints, Events, Labels, Listen, Log, LogFormat, LogLevel, Mode, ObjectLock, Privacy,
    Retention, Seal, Source, Spool, Store, Timeouts, UnknownEndpoints, whole_seconds,
};

impl Config {
    /// Reads and checks the file at `path`. `env` looks up one environment variable by its name; only `NODE_NAME` is
    /// asked for.
    pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigFaults> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigFaults::whole_file(path, format!("cannot be read: {error}")))?;
        Self::parse(&text, path, env)
    }

    /// Checks `text` as if it had been read from the file `origin`, which need not exist: it stands in messages, and
    /// relative paths start at its folder.
    pub fn parse(text: &str, origin: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigFaults> {
        let folder = std::path::absolute(origin)
            .map_err(|error| ConfigFaults::whole_file(origin, format!("its folder cannot be told: {error}")))?;
        let folder = folder.parent().unwrap_or(Path::new("/"));
        let tree = tree::parse(text).map_err(|fault| ConfigFaults::new(origin, vec![fault]))?;
        read::config(&tree, folder, env).map_err(|faults| ConfigFaults::new(origin, faults))
    }
}
