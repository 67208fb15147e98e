//! Whether this process may do what the datapath does.

use std::fs;

use crate::Error;

/// The capabilities that are needed (`capabilities(7)`): to attach to interfaces and to ask connection tracking; and to
/// enter pods' namespaces, which is also the right to all that `BPF` and `PERFMON` are a part of (`bpf_token_capable` of the
/// kernel's `include/linux/bpf.h`, `bpf_capable` before).
const NEEDED: [(u32, &str); 2] = [(12, "NET_ADMIN"), (21, "SYS_ADMIN")];

/// Says in one sentence what is lacking, before anything else fails for want of it.
pub fn check_privileges() -> Result<(), Error> {
    let path = "/proc/self/status";
    let status = fs::read_to_string(path).map_err(crate::pins::pin_error("read", path.as_ref()))?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    let lacking = lacking(effective);
    if lacking.is_empty() { Ok(()) } else { Err(Error::NotPermitted { lacking: lacking.join(" and ") }) }
}

fn lacking(effective: u64) -> Vec<&'static str> {
    NEEDED.iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::lacking;

    #[test]
    fn each_capability_that_is_not_there_is_named() {
        assert_eq!(lacking(0), ["NET_ADMIN", "SYS_ADMIN"]);
        assert_eq!(lacking(1 << 39 | 1 << 38 | 1 << 21), ["NET_ADMIN"]);
        assert!(lacking(u64::MAX).is_empty());
    }
}
