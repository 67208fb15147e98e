//! The folders of a node that the two programs need, each for those who may use it.
//!
//! The agent is root and the exporter is not; what they share is a group. A cluster gives both that group, and has this run
//! before either: as root, whose the folders are, in the group. Then no capability is needed: an owner may give a folder to a
//! group of its own, and set its mode.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use podwitness_config::Config;

/// The agent writes, the exporter removes and keeps its own files there; what either makes belongs to the group.
const SPOOL_MODE: u32 = 0o2770;
/// The exporter makes the node's key there, which nobody else can read.
const KEY_MODE: u32 = 0o770;
/// The agent's alone: the exporter must not be able to undo what hides addresses.
const PRIVACY_MODE: u32 = 0o700;

/// Why a folder is not as it must be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// There is no group to share.
    #[error(
        "--make-folders gives folders to the group that it runs in, and that is root's: run it in the exporter's group"
    )]
    NoGroup,
    /// The file system refused.
    #[error("cannot {action} {}: {source}; it must belong to the user that runs this", path.display())]
    Refused {
        /// What was tried.
        action: String,
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Makes what is missing of the folders of `config`, and gives those that are there to their users; `group` is the one that
/// both programs have.
pub(crate) fn make(config: &Config, group: u32) -> Result<(), FolderError> {
    if group == 0 {
        return Err(FolderError::NoGroup);
    }
    make_folder(&config.spool.path, SPOOL_MODE, group)?;
    make_folder(folder_of(&config.seal.key_file), KEY_MODE, group)?;
    make_folder(folder_of(&config.privacy.hmac_key_file), PRIVACY_MODE, group)
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}

fn make_folder(path: &Path, mode: u32, group: u32) -> Result<(), FolderError> {
    let refused = |action: &str| {
        let (action, path) = (action.to_owned(), path.to_owned());
        move |source| FolderError::Refused { action, path, source }
    };
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(refused("make the folder"))?;
    chown(path, None, Some(group)).map_err(refused(&format!("give to the group {group} the folder")))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(refused("set the mode of the folder"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const GROUP: u32 = 64_002;

    fn config(root: &Path) -> Config {
        let root = root.display();
        let text = format!(
            "cluster: c\nnode: n\nsource: {{kubernetes: {{}}}}\nstore: {{url: s3://bucket}}\nspool: {{path: {root}/spool}}\n\
             seal: {{keyFile: {root}/key/node.key}}\nprivacy: {{hmacKeyFile: {root}/privacy/hmac.key}}\n"
        );
        Config::parse(&text, Path::new("/etc/podwitness.yaml"), &|_| None).unwrap()
    }

    #[test]
    fn each_folder_is_for_those_who_may_use_it_be_it_new_or_there() {
        let root = tempfile::tempdir().unwrap();
        let is_root = fs::metadata(root.path()).unwrap().uid() == 0;
        // Without root there is no other group to give anything to.
        let group = if is_root { GROUP } else { fs::metadata(root.path()).unwrap().gid() };
        // As the kubelet makes it.
        fs::create_dir(root.path().join("key")).unwrap();
        fs::set_permissions(root.path().join("key"), Permissions::from_mode(0o755)).unwrap();
        for _ in 0..2 {
            make(&config(root.path()), group).unwrap();
            let found = ["spool", "key", "privacy"].map(|name| {
                let metadata = fs::metadata(root.path().join(name)).unwrap();
                (metadata.mode() & 0o7777, metadata.gid())
            });
            assert_eq!(found, [(0o2770, group), (0o770, group), (0o700, group)]);
        }
    }

    #[test]
    fn the_group_of_root_is_none_to_share_and_a_folder_that_is_none_is_named() {
        let root = tempfile::tempdir().unwrap();
        let refused = make(&config(root.path()), 0).unwrap_err().to_string();
        assert!(refused.contains("run it in the exporter's group"), "{refused}");
        fs::write(root.path().join("spool"), "").unwrap();
        let refused = make(&config(root.path()), GROUP).unwrap_err().to_string();
        let path = root.path().join("spool").display().to_string();
        assert!(refused.starts_with(&format!("cannot make the folder {path}: ")), "{refused}");
    }
}
