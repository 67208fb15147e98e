//! The words that user space changes at a stroke, mapped into its memory.

use std::{
    mem::offset_of,
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use podwitness_wire::{State, names, state_flags};

use crate::Error;

/// The one [`State`], which programs read while it is changed. Each field is stored whole.
#[derive(Debug)]
pub(crate) struct SharedState {
    memory: NonNull<State>,
    length: NonZeroUsize,
}

// SAFETY: the memory is shared with the kernel already, and is only reached through atomic operations.
unsafe impl Send for SharedState {}
// SAFETY: as above.
unsafe impl Sync for SharedState {}

impl SharedState {
    pub(crate) fn new(map: impl AsFd) -> Result<Self, Error> {
        let length = NonZeroUsize::new(page_bytes()).expect("a page has bytes");
        // SAFETY: a new mapping at a place of the kernel's choice replaces nothing.
        let memory =
            unsafe { mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, map, 0) }
                .map_err(|source| Error::Memory { map: names::STATE, source })?;
        Ok(Self { memory: memory.cast(), length })
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the memory is mapped as long as `self` lives; the offset is one of a `u64` field of `State`, which is
        // aligned, and all access to it, the kernel's too, is by whole words.
        unsafe { self.memory.byte_add(offset).cast::<AtomicU64>().as_ref() }
    }

    /// The table generation in force; 0 before the first.
    pub(crate) fn generation(&self) -> u64 {
        self.word(offset_of!(State, generation)).load(Ordering::Acquire)
    }

    /// Puts a generation in force, for every packet from now on.
    pub(crate) fn set_generation(&self, generation: u64) {
        self.word(offset_of!(State, generation)).store(generation, Ordering::Release);
    }

    /// The epoch in which denials are counted now.
    pub(crate) fn epoch(&self) -> u64 {
        self.word(offset_of!(State, epoch)).load(Ordering::Acquire)
    }

    /// Has denials counted in the next epoch, and returns it.
    pub(crate) fn turn_epoch(&self) -> u64 {
        self.word(offset_of!(State, epoch)).fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Says what an endpoint whose pod is not known may do.
    pub(crate) fn set_deny_unknown_endpoints(&self, deny: bool) {
        let flags = if deny { state_flags::DENY_UNKNOWN_ENDPOINTS } else { 0 };
        self.word(offset_of!(State, flags)).store(flags, Ordering::Release);
    }
}

impl Drop for SharedState {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives `self`. An error would mean that it is not
        // mapped, which changes nothing.
        let _ = unsafe { munmap(self.memory.cast(), self.length.get()) };
    }
}

/// Bytes of a page of this machine.
pub(crate) fn page_bytes() -> usize {
    // SAFETY: the call has no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("the size of a page is known")
}
