//! Where the pins are, and who may use them.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::statfs::{self, FsType},
};

use podwitness_wire::{LAYOUT, names};

use crate::Error;

/// `BPF_FS_MAGIC` of the kernel's `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: FsType = FsType(0xcafe_4a11);

/// Whether an agent of this boot has made maps under the folder of the BPF file system, of this layout or the one before.
pub fn has_maps(bpffs: &Path) -> bool {
    let pins = Pins::new(bpffs);
    [pins.maps(), pins.first_maps()].iter().any(|maps| maps.join(names::CONNECTIONS).exists())
}

/// Holds pins against a second agent for as long as one of its clones lives. The kernel lets go of it when the process ends,
/// however it ends.
pub(crate) type Lock = Arc<Flock<File>>;

/// The folders of the pins.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    root: PathBuf,
}

impl Pins {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder of one layout's maps.
    fn layout(&self) -> PathBuf {
        self.root.join(format!("v{LAYOUT}"))
    }

    pub(crate) fn maps(&self) -> PathBuf {
        self.layout().join("maps")
    }

    /// The maps of layout 1, whose number is not in its path.
    pub(crate) fn first_maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    /// Where the counters of the first layout are kept after its other maps are gone, so that the balance goes on.
    pub(crate) fn first_counters(&self) -> PathBuf {
        self.layout().join("counters-1")
    }

    /// The newest layout whose maps are there.
    pub(crate) fn newest_layout(&self) -> Result<Option<u32>, Error> {
        let number = |name: &str| name.strip_prefix('v').and_then(|number| number.parse().ok());
        Ok(entries(&self.root)?.iter().filter_map(|name| number(name)).max())
    }

    pub(crate) fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Where a program is pinned that user space runs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Makes the folders, having checked that pins can be there.
    pub(crate) fn create(&self) -> Result<(), Error> {
        let existing = self.root.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        let file_system =
            statfs::statfs(existing).map_err(|errno| pin_error("look at", existing)(io::Error::from(errno)))?;
        if file_system.filesystem_type() != BPF_FS_MAGIC {
            return Err(Error::NotBpffs { path: self.root.clone() });
        }
        if let Some(layout) = self.newest_layout()?.filter(|layout| *layout > LAYOUT) {
            return Err(Error::NewerLayout { path: self.root.clone(), layout });
        }
        for folder in [&self.root, &self.maps(), &self.links()] {
            fs::create_dir_all(folder).map_err(pin_error("make", folder))?;
        }
        Ok(())
    }

    /// Holds the pins against a second agent.
    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        let folder = File::open(&self.root).map_err(pin_error("open", &self.root))?;
        let lock = Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            nix::Error::EWOULDBLOCK => Error::InUse { path: self.root.clone() },
            errno => pin_error("lock", &self.root)(io::Error::from(errno)),
        })?;
        Ok(Arc::new(lock))
    }

    /// By which clsact filters are known to belong to these pins: the number of the folder, which no other one has as long
    /// as it is there.
    pub(crate) fn filter_handle(&self) -> Result<u32, Error> {
        use std::os::unix::fs::MetadataExt as _;

        let number = fs::metadata(&self.root).map_err(pin_error("look at", &self.root))?.ino();
        // The kernel gives low handles to filters that were added without one.
        Ok(u32::try_from(number & 0x3fff_ffff).expect("30 bits") | 1 << 30)
    }

    /// The file names under the links' folder.
    pub(crate) fn link_names(&self) -> Result<Vec<String>, Error> {
        entries(&self.links())
    }

    /// Removes the maps of every layout, newer ones too.
    pub(crate) fn remove_maps(&self) -> Result<(), Error> {
        remove_pins(&self.first_maps())?;
        for name in entries(&self.root)? {
            let is_layout = name.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok());
            if is_layout {
                let folder = self.root.join(name);
                remove_pins(&folder.join("maps"))?;
                remove_pins(&folder)?;
            }
        }
        Ok(())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

/// The file names in a folder; none where it is not there.
fn entries(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(pin_error("list", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(pin_error("list", folder))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Removes a folder that is empty; one that is gone already is no error.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(pin_error("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// Removes every pin in a folder, and the folder.
pub(crate) fn remove_pins(folder: &Path) -> Result<(), Error> {
    for name in entries(folder)? {
        unpin(&folder.join(name))?;
    }
    remove_folder(folder)
}

/// Removes a pin; one that is gone already is no error.
pub(crate) fn unpin(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(pin_error("remove", path)(error)),
        _ => Ok(()),
    }
}

pub(crate) fn pin_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Pin { action, path, source }
}
