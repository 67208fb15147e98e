//! iproute2's `ip`, several commands in one go.

use std::io::Write;
use std::process::Stdio;

use crate::error::LabError;
use crate::netns::NetNs;

/// Runs `commands` (arguments of `ip`, one command an element) in the namespace, up to the first that fails, which is
/// then named.
pub(crate) fn batch(netns: &NetNs, commands: &[String]) -> Result<(), LabError> {
    let missing = |source| LabError::Missing { program: "ip".into(), package: "iproute2", source };
    let mut child = netns
        .command("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(missing)?;
    let mut script = commands.join("\n");
    script.push('\n');
    // Taken, so that it is closed before the wait. A broken pipe means that `ip` gave up: it says why on stderr.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(LabError::system("wait for `ip`"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let command = failed_line(&said).and_then(|line| commands.get(line - 1)).map_or("-batch -", String::as_str);
    let reason = said.lines().filter(|line| !line.starts_with("Command failed")).collect::<Vec<_>>().join("; ");
    Err(LabError::Ip { command: command.to_owned(), said: reason })
}

/// The line number in `Command failed -:3`, counted from 1.
fn failed_line(said: &str) -> Option<usize> {
    said.lines().find_map(|line| line.strip_prefix("Command failed -:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::failed_line;

    #[test]
    fn the_failed_line_is_read_from_what_ip_says() {
        assert_eq!(failed_line("RTNETLINK answers: File exists\nCommand failed -:3\n"), Some(3));
        assert_eq!(failed_line("ip: not a batch"), None);
    }
}
