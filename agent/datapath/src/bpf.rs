//! The calls of `bpf(2)` about hooks. aya attaches by an interface's name, which may be another one's by then; here it is
//! always the index.
//!
//! The layouts are those of the members of `union bpf_attr` in the kernel's `include/uapi/linux/bpf.h`. The kernel takes
//! an attribute shorter than its own, and reads zeros where it ends.

use std::{
    ffi::CString,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use nix::{Error as Errno, Result};

/// `enum bpf_cmd`.
#[derive(Clone, Copy)]
#[repr(i32)]
enum Command {
    ObjectPin = 6,
    ObjectGet = 7,
    ProgramById = 13,
    InfoByDescriptor = 15,
    ProgramQuery = 16,
    LinkCreate = 28,
    LinkUpdate = 29,
}

/// Which chain of an interface, as `enum bpf_attach_type` numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum TcxHook {
    Ingress = 46,
    Egress = 47,
}

/// `BPF_F_BEFORE`: with nothing named to be before, it means the first place of all.
const FIRST: u32 = 1 << 3;

/// A program in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) program: u32,
    /// The id of its link; 0 where it is attached without one.
    pub(crate) link: u32,
}

/// Attaches a program by a new link as the first one of a chain.
pub(crate) fn attach_first(program: impl AsFd, interface: u32, hook: TcxHook) -> Result<OwnedFd> {
    #[repr(C)]
    struct Attribute {
        program: RawFd,
        interface: u32,
        hook: u32,
        flags: u32,
        relative: u32,
        padding: u32,
        revision: u64,
    }
    let mut attribute = Attribute {
        program: program.as_fd().as_raw_fd(),
        interface,
        hook: hook as u32,
        flags: FIRST,
        relative: 0,
        padding: 0,
        revision: 0,
    };
    // SAFETY: the attribute is that of the command, and has no pointers.
    let descriptor = unsafe { call(Command::LinkCreate, &mut attribute) }?;
    // SAFETY: the kernel has just made the descriptor, and it is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Puts another program behind a link in one step. `ENOLINK` where its interface is gone.
pub(crate) fn replace_program(link: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut attribute: [RawFd; 4] = [link.as_fd().as_raw_fd(), program.as_fd().as_raw_fd(), 0, 0];
    // SAFETY: link, new program, flags, old program; no pointers.
    unsafe { call(Command::LinkUpdate, &mut attribute) }.map(drop)
}

/// What is in a chain, from first to last. `EINVAL` where the kernel has no such chains, `ENODEV` where there is no such
/// interface.
pub(crate) fn query(interface: u32, hook: TcxHook) -> Result<Vec<Attached>> {
    #[repr(C)]
    struct Attribute {
        interface: u32,
        hook: u32,
        query_flags: u32,
        attach_flags: u32,
        program_ids: u64,
        count: u32,
        padding: u32,
        program_flags: u64,
        link_ids: u64,
        link_flags: u64,
        revision: u64,
    }
    // `BPF_MPROG_MAX` of the kernel's include/linux/bpf_mprog.h.
    let mut programs = [0_u32; 64];
    let mut links = [0_u32; 64];
    let mut attribute = Attribute {
        interface,
        hook: hook as u32,
        query_flags: 0,
        attach_flags: 0,
        program_ids: programs.as_mut_ptr().expose_provenance() as u64,
        count: 64,
        padding: 0,
        program_flags: 0,
        link_ids: links.as_mut_ptr().expose_provenance() as u64,
        link_flags: 0,
        revision: 0,
    };
    // SAFETY: both arrays have room for `count` ids, and live until the call returns.
    unsafe { call(Command::ProgramQuery, &mut attribute) }?;
    let attached = programs.into_iter().zip(links).take(attribute.count as usize);
    Ok(attached.map(|(program, link)| Attached { program, link }).collect())
}

/// Whether the kernel has `tcx` chains (commit e420bed02507, Linux 6.6).
pub(crate) fn has_tcx() -> bool {
    // No interface has this index: a kernel that looks for it knows the chain.
    query(0, TcxHook::Ingress) == Err(Errno::ENODEV)
}

/// Keeps an object as long as there is a file. The path is on a BPF file system.
pub(crate) fn pin(object: impl AsFd, path: &Path) -> Result<()> {
    // SAFETY: a string, and a descriptor that is open.
    unsafe { with_path(Command::ObjectPin, path, object.as_fd().as_raw_fd()) }.map(drop)
}

/// Opens an object by its pin.
pub(crate) fn open_pin(path: &Path) -> Result<OwnedFd> {
    // SAFETY: a string, and no descriptor.
    let descriptor = unsafe { with_path(Command::ObjectGet, path, 0) }?;
    // SAFETY: the kernel has just made the descriptor, and it is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// # Safety
///
/// The descriptor is what the command asks for.
unsafe fn with_path(command: Command, path: &Path, descriptor: RawFd) -> Result<RawFd> {
    #[repr(C)]
    struct Attribute {
        path: u64,
        descriptor: RawFd,
        flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let mut attribute = Attribute { path: path.as_ptr().expose_provenance() as u64, descriptor, flags: 0 };
    // SAFETY: the path is a string that lives until the call returns; the rest is the caller's promise.
    unsafe { call(command, &mut attribute) }
}

/// The kernel's id of a link.
pub(crate) fn link_id(link: impl AsFd) -> Result<u32> {
    // `struct bpf_link_info`: its type, its id.
    let [_, id] = info(link)?;
    Ok(id)
}

/// The name of a loaded program, as far as the kernel keeps it (15 bytes).
pub(crate) fn program_name(id: u32) -> Result<String> {
    let mut attribute = [id, 0, 0];
    // SAFETY: id, next id, flags; no pointers.
    let descriptor = unsafe { call(Command::ProgramById, &mut attribute) }?;
    // SAFETY: the kernel has just made the descriptor, and it is nobody else's.
    let program = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // `struct bpf_prog_info`: the name is 64 bytes behind its beginning.
    let words: [u32; 20] = info(program)?;
    let bytes: Vec<u8> = words[16..].iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first words of what the kernel tells of an object.
fn info<const WORDS: usize>(object: impl AsFd) -> Result<[u32; WORDS]> {
    #[repr(C)]
    struct Attribute {
        descriptor: RawFd,
        length: u32,
        info: u64,
    }
    let mut words = [0_u32; WORDS];
    let length = u32::try_from(size_of_val(&words)).expect("an answer is short");
    let info = words.as_mut_ptr().expose_provenance() as u64;
    let mut attribute = Attribute { descriptor: object.as_fd().as_raw_fd(), length, info };
    // SAFETY: the kernel writes `length` bytes at the most, to memory that lives until the call returns.
    unsafe { call(Command::InfoByDescriptor, &mut attribute) }?;
    Ok(words)
}

/// # Safety
///
/// `attribute` is the command's member of `union bpf_attr`, and pointers in it are good for what the command does.
unsafe fn call<A>(command: Command, attribute: &mut A) -> Result<RawFd> {
    // SAFETY: the size is the attribute's own; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as i32, &raw mut *attribute, size_of::<A>()) };
    let result = Errno::result(result)?;
    Ok(RawFd::try_from(result).expect("a descriptor, or zero"))
}
