//! `podwitness demo` as a person runs it: it checks itself, and says what it saw and where the evidence is.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::Programs;

#[test]
fn the_demo_meets_its_own_expectations_and_says_where_its_evidence_is() -> Result<()> {
    let agent = Programs::beside_this()?.agent;
    let podwitness = agent.with_file_name("podwitness");
    let folder = tempfile::tempdir()?;
    let evidence = folder.path().join("evidence");

    let output = Command::new(&podwitness)
        .args(["demo", "--evidence"])
        .arg(&evidence)
        .output()
        .with_context(|| format!("cannot run {}", podwitness.display()))?;
    let (told, said) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "the demo ended with {}:\n{told}\n{said}", output.status);
    for words in [
        "shop/default-deny",
        "The same, answered by DuckDB",
        "Verified: ",
        "object-altered",
        "chain-begins-late",
        "sql",
        &evidence.to_string_lossy(),
    ] {
        ensure!(told.contains(words) || said.contains(words), "the demo does not say {words:?}:\n{told}\n{said}");
    }
    ensure!(evidence.join("podwitness.json").is_file(), "there is no evidence in {}", evidence.display());
    Ok(())
}
