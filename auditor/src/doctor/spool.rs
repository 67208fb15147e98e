//! The folder between the two programs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use nix::sys::statfs::{FsType, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};
use podwitness_config::Spool;
use podwitness_spool::{Look, look};

use super::check::{Check, sentence};

/// What the folder's group must be able to do, because the exporter is another user: list it, make files in it, enter it.
const GROUP: u32 = 0o070;

/// File systems that do not keep what is written to them (`include/uapi/linux/magic.h`, `ramfs` in `fs/ramfs/inode.c`).
const VOLATILE: [(FsType, &str); 3] =
    [(FsType(0x0102_1994), "tmpfs"), (FsType(0x8584_58f6), "ramfs"), (FsType(0x794c_7630), "overlayfs")];

pub(super) fn checks(spool: &Spool) -> Vec<Check> {
    let path = &spool.path;
    let folder = folder(path);
    if !path.is_dir() {
        return vec![folder];
    }
    let mut checks = vec![folder, file_system(path)];
    match look(path) {
        Ok(look) => checks.extend([room(spool, &look), waiting(spool, &look)]),
        Err(error) => checks.push(Check::failed(
            "spool.waiting",
            sentence(&error),
            "do what the message says; nothing is taken from this spool until then",
        )),
    }
    checks
}

fn folder(path: &Path) -> Check {
    let name = "spool.folder";
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let found = format!("cannot look at {}: {error}", path.display());
            return Check::failed(name, found, "start the agent, which makes it, or correct `spool.path`");
        }
    };
    if !metadata.is_dir() {
        return Check::failed(name, format!("{} is not a folder", path.display()), "correct `spool.path`");
    }
    let mode = metadata.mode() & 0o7777;
    let found =
        format!("{} belongs to user {} and group {}, mode {mode:o}", path.display(), metadata.uid(), metadata.gid());
    if mode & GROUP == GROUP {
        Check::ok(name, found)
    } else {
        let advice =
            "give it to a group of which the exporter's user is, with mode 2770: else only its owner can empty it";
        Check::warning(name, found, advice)
    }
}

fn file_system(path: &Path) -> Check {
    let name = "spool.file-system";
    let advice = "put `spool.path` on a disk of the node: what is not exported yet would go with a restart";
    let kind = match statfs(path) {
        Ok(found) => found.filesystem_type(),
        Err(errno) => return Check::unknown(name, format!("cannot look at it: {errno}"), advice),
    };
    let is_read_only = statvfs(path).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY));
    if is_read_only {
        return Check::failed(name, "it is mounted read-only", "mount it for writing: nothing can be recorded");
    }
    match VOLATILE.iter().find(|(volatile, _)| *volatile == kind) {
        Some((_, word)) => Check::warning(name, format!("{word} does not outlive the node or the container"), advice),
        None => Check::ok(name, "it outlives a restart of the node"),
    }
}

fn room(spool: &Spool, look: &Look) -> Check {
    match statvfs(&spool.path) {
        Ok(found) => judge_room(spool.max_bytes, look.bytes, found.blocks_available() * found.fragment_size()),
        Err(errno) => {
            Check::unknown("spool.room", format!("cannot look at it: {errno}"), "see `df` on the spool's folder")
        }
    }
}

fn judge_room(max: u64, used: u64, available: u64) -> Check {
    let name = "spool.room";
    let found = format!("{} used of {}, and {} free on the disk", bytes(used), bytes(max), bytes(available));
    if used >= max {
        let advice =
            "let the exporter reach its store, or raise `spool.maxBytes`: nothing more is read from the kernel";
        Check::failed(name, found, advice)
    } else if available < max - used {
        let advice = "make room, or lower `spool.maxBytes`: the disk will be full before the spool is";
        Check::warning(name, found, advice)
    } else {
        Check::ok(name, found)
    }
}

fn waiting(spool: &Spool, look: &Look) -> Check {
    let name = "spool.waiting";
    let last = match look.last_written.map(|time| SystemTime::now().duration_since(time).unwrap_or_default()) {
        Some(age) => format!("last written to {} s ago", age.as_secs()),
        None => "never written to".to_owned(),
    };
    let found = format!("at most {} wait for the exporter; {last}", bytes(look.waiting_bytes));
    if look.waiting_bytes > spool.max_bytes / 2 {
        Check::warning(name, found, "see what the exporter's log says of the store: the spool is more than half full")
    } else {
        Check::ok(name, found)
    }
}

/// As a size of the configuration is written, rounded down.
fn bytes(number: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(factor, _)| number >= *factor);
    unit.map_or_else(|| format!("{number} B"), |(factor, word)| format!("{} {word}", number / factor))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use podwitness_config::Spool;
    use podwitness_spool::Look;

    use super::{bytes, checks, folder, judge_room, waiting};
    use crate::doctor::check::State;

    fn spool(path: &std::path::Path) -> Spool {
        Spool { path: path.to_owned(), max_bytes: 100, segment_bytes: 10, commit_interval: Duration::from_millis(100) }
    }

    #[test]
    fn a_spool_that_is_not_there_is_one_failure() {
        let all = checks(&spool("/nowhere/at/all".as_ref()));
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].name, all[0].state), ("spool.folder", State::Failed));
    }

    #[test]
    fn a_folder_that_only_its_owner_can_use_is_a_warning() {
        let place = tempfile::tempdir().unwrap();
        let mut with = |mode| {
            fs::set_permissions(place.path(), Permissions::from_mode(mode)).unwrap();
            folder(place.path()).state
        };
        assert_eq!([0o700, 0o750, 0o770].map(&mut with), [State::Warning, State::Warning, State::Ok]);
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(folder(&file).state, State::Failed);
    }

    #[test]
    fn a_spool_needs_room_up_to_its_limit() {
        assert_eq!(judge_room(100, 40, 60).state, State::Ok);
        assert_eq!(judge_room(100, 40, 59).state, State::Warning);
        assert_eq!(judge_room(100, 100, 1000).state, State::Failed);
        assert_eq!(judge_room(10 << 30, 5 << 20, 1023).found, "5 MiB used of 10 GiB, and 1023 B free on the disk");
        assert_eq!(bytes(1024), "1 KiB");
    }

    #[test]
    fn more_than_half_a_spool_waiting_is_a_warning() {
        let look = |waiting_bytes| Look { bytes: 90, waiting_bytes, last_written: None };
        let of = |waiting_bytes| waiting(&spool("/".as_ref()), &look(waiting_bytes)).state;
        assert_eq!((of(50), of(51)), (State::Ok, State::Warning));
    }
}
