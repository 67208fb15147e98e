//! `podwitness sql`: the statements with which `DuckDB` opens an evidence root.

use std::io::{ErrorKind, Write, stdout};
use std::path::Path;

use clap::Args;
use podwitness_schemas::views;

use crate::failure::Failure;

/// Print the statements that make DuckDB's views over the evidence at ROOT.
///
/// For example: podwitness sql ./evidence > views.sql && duckdb -init views.sql
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The evidence root: a folder, or a URL that DuckDB can read (s3://, gs://, az://, file://)
    #[arg(value_name = "ROOT")]
    root: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let statements = views::render(&place(&arguments.root)?);
    match stdout().write_all(statements.as_bytes()) {
        // A reader that has seen enough, such as `head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::answer(format_args!("cannot write the statements: {error}"))),
    }
}

/// The root as it goes into the statements: a folder by its absolute path, so that they work from everywhere.
fn place(root: &str) -> Result<String, Failure> {
    let folder = match root.split_once("://") {
        Some(("file", path)) => path,
        Some(_) => return Ok(root.to_owned()),
        None => root,
    };
    let path = Path::new(folder);
    if !path.is_dir() {
        return Err(Failure::question(format_args!("there is no folder {folder}: give the evidence root")));
    }
    // DuckDB refuses a view over files that do not exist, in words that do not say why.
    if !path.join("verdicts").is_dir() {
        return Err(Failure::question(format_args!(
            "{folder} has no `verdicts` folder: nothing has been exported there yet, or the evidence root is another one"
        )));
    }
    let absolute =
        path.canonicalize().map_err(|error| Failure::question(format_args!("cannot find {folder}: {error}")))?;
    absolute.into_os_string().into_string().map_err(|path| {
        Failure::question(format_args!("DuckDB cannot be given a path that is not UTF-8: {}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::place;

    #[test]
    fn a_folder_becomes_an_absolute_path_and_a_url_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("verdicts")).unwrap();
        let path = folder.path().canonicalize().unwrap().into_os_string().into_string().unwrap();
        assert_eq!(place(&format!("{path}/../{}/", folder.path().file_name().unwrap().display())).unwrap(), path);
        assert_eq!(place(&format!("file://{path}")).unwrap(), path);
        assert_eq!(place("s3://evidence/prod").unwrap(), "s3://evidence/prod");
    }

    #[test]
    fn a_root_without_evidence_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert!(place(path).unwrap_err().to_string().contains("has no `verdicts` folder"));
        assert!(place(&format!("{path}/nowhere")).unwrap_err().to_string().contains("there is no folder"));
    }
}
