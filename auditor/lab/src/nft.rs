//! nftables' `nft`: one ruleset, put in force as one step.

use std::io::Write;
use std::process::Stdio;

use crate::error::LabError;
use crate::netns::NetNs;

/// Puts a ruleset in force in the namespace, all of it or nothing.
pub(crate) fn apply(netns: &NetNs, ruleset: &str) -> Result<(), LabError> {
    let missing = |source| LabError::Missing { program: "nft".into(), package: "nftables", source };
    let mut child = netns
        .command("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(missing)?;
    // Taken, so that it is closed before the wait. A broken pipe means that `nft` gave up: it says why on stderr.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(ruleset.as_bytes());
    }
    let output = child.wait_with_output().map_err(LabError::system("wait for `nft`"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(LabError::Nft { said: String::from_utf8_lossy(&output.stderr).trim_end().to_owned() })
}
