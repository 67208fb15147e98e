//! What `podwitness verify` says of the evidence, and of copies of it that somebody has touched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::failure::Failure;

/// Verifies the evidence at `root`, then a copy with one byte flipped and a copy without one of its seals. `this` is the
/// program. Ends the demo where the evidence is not good, or a copy is.
pub(super) fn show(this: &Path, root: &Path) -> Result<(), Failure> {
    let good = verify(this, root)?;
    require(&good, "good", "the evidence")?;
    let checked = &good["checked"];
    println!(
        "\nVerified: {} seals in one chain, {} files with {} rows, each as it was sealed.",
        checked["seals"], checked["objects"], checked["rows"]
    );

    let flipped = Copy::of(root)?;
    let file = flipped.first("verdicts", "parquet")?;
    flip_middle_byte(&file).map_err(|error| cannot("change", &file, &error))?;
    tell(this, &flipped, "In a copy, with one byte of a file flipped")?;

    let lacking = Copy::of(root)?;
    let seal = lacking.first("seals", "json")?;
    fs::remove_file(&seal).map_err(|error| cannot("remove", &seal, &error))?;
    tell(this, &lacking, "In another copy, without one of its seals")
}

/// A copy that is gone at the end.
struct Copy(tempfile::TempDir);

impl Copy {
    fn of(root: &Path) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("podwitness-copy-")
            .tempdir()
            .map_err(|error| Failure::answer(format_args!("cannot make a temporary folder: {error}")))?;
        copy(root, folder.path()).map_err(|error| cannot("copy", root, &error))?;
        Ok(Self(folder))
    }

    /// The first file by path with this extension below `folder`.
    fn first(&self, folder: &str, extension: &str) -> Result<PathBuf, Failure> {
        let mut found = Vec::new();
        let folder = self.0.path().join(folder);
        files(&folder, &mut found).map_err(|error| cannot("read", &folder, &error))?;
        found.retain(|path| path.extension().is_some_and(|is| is == extension));
        found.into_iter().min().ok_or_else(|| Failure::answer(format_args!("{} has nothing in it", folder.display())))
    }
}

fn tell(this: &Path, copy: &Copy, what: &str) -> Result<(), Failure> {
    let bad = verify(this, copy.0.path())?;
    require(&bad, "bad", "a copy that was touched")?;
    println!("\n{what}:\n");
    for finding in bad["findings"].as_array().into_iter().flatten() {
        let text = |key: &str| finding[key].as_str().unwrap_or_default();
        println!("  {}: {}\n    {}", text("code"), text("object"), text("message"));
    }
    Ok(())
}

fn verify(this: &Path, root: &Path) -> Result<Value, Failure> {
    let output = Command::new(this)
        .args(["verify", "-o", "json"])
        .arg(root)
        .output()
        .map_err(|error| cannot("run", this, &error))?;
    serde_json::from_slice(&output.stdout).map_err(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        Failure::answer(format_args!("the verification of {} said nothing: {error}: {said}", root.display()))
    })
}

fn require(found: &Value, result: &str, of: &str) -> Result<(), Failure> {
    if found["result"] == result {
        return Ok(());
    }
    Err(Failure::answer(format_args!("the verification of {of} is not {result}:\n{found:#}")))
}

fn flip_middle_byte(path: &Path) -> io::Result<()> {
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::answer(format_args!("cannot {what} {}: {error}", path.display()))
}
