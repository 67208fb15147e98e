//! What the demo needs of the machine, looked at before anything is done.

use std::fs::File;
use std::path::Path;

use nix::sys::utsname::uname;

/// The oldest kernel that the tests boot.
const OLDEST_KERNEL: (u32, u32) = (6, 1);
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// Present exactly where the kernel was built with the `bpf` system call.
const BPF: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";

/// One sentence on what is missing, or nothing.
pub(super) fn missing() -> Option<String> {
    let release = match uname() {
        Ok(name) => name.release().to_string_lossy().into_owned(),
        Err(error) => return Some(format!("the kernel does not tell its version: {error}")),
    };
    missing_in(&release, Path::new(BPF), Path::new(BTF))
}

fn missing_in(release: &str, bpf: &Path, btf: &Path) -> Option<String> {
    let (major, minor) = OLDEST_KERNEL;
    if version(release).is_none_or(|version| version < OLDEST_KERNEL) {
        return Some(format!(
            "this kernel is {release}, and {major}.{minor} or later is needed: run this on a newer one"
        ));
    }
    if !bpf.exists() {
        return Some(format!(
            "this kernel has no BPF ({} is missing): run this on one with CONFIG_BPF_SYSCALL",
            bpf.display()
        ));
    }
    if let Err(error) = File::open(btf) {
        return Some(format!(
            "this kernel has no BTF ({}: {error}): run this on one with CONFIG_DEBUG_INFO_BTF",
            btf.display()
        ));
    }
    None
}

/// Major and minor, from a release such as `6.12.1-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|character: char| !character.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::missing_in;

    const HERE: &str = "/proc/self/status";
    const NOWHERE: &str = "/nowhere/at/all";

    fn missing(release: &str, bpf: &str, btf: &str) -> Option<String> {
        missing_in(release, Path::new(bpf), Path::new(btf))
    }

    #[test]
    fn a_new_kernel_with_bpf_and_btf_lacks_nothing() {
        for release in ["6.1.0", "6.12.1-amd64", "7.0-rc1"] {
            assert_eq!(missing(release, HERE, HERE), None, "{release}");
        }
    }

    #[test]
    fn what_is_missing_is_said_in_one_sentence() {
        for (release, bpf, btf, said) in [
            ("5.15.0-generic", HERE, HERE, "this kernel is 5.15.0-generic, and 6.1 or later is needed"),
            ("5.15.0", NOWHERE, NOWHERE, "this kernel is 5.15.0"),
            ("strange", HERE, HERE, "this kernel is strange"),
            ("6.1.0", NOWHERE, HERE, "this kernel has no BPF"),
            ("6.1.0", HERE, NOWHERE, "this kernel has no BTF"),
        ] {
            let sentence = missing(release, bpf, btf).unwrap();
            assert!(sentence.starts_with(said), "{sentence}");
        }
    }
}
