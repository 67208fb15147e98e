//! The ring buffer, read without letting go.
//!
//! aya's own reader gives each record back to the kernel as it is dropped. Here the consumer position is the
//! acknowledgement: a batch is read from a position onwards, made durable, and only then is the position advanced. The
//! layout is the kernel's (`kernel/bpf/ringbuf.c`, commit 457f44363a88): a page with the consumer's position, which is
//! ours to write, a page with the producer's, and the data twice, so that a record which wraps can be read in one
//! piece.

use std::{
    marker::PhantomData,
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use podwitness_wire::{Event, names};

use crate::{Error, shared_state::page_bytes};

/// A position in the ring: it only grows, and is never taken back (`unsigned long`, 64 bits on every machine that the
/// programs are built for).
pub type Position = u64;

/// Set in a record's length while a program is still writing it.
const BUSY: u32 = 1 << 31;
/// Set in a record's length where the program has thrown it away.
const DISCARDED: u32 = 1 << 30;
/// Length and page offset, before each record.
const HEADER_BYTES: u64 = 8;

/// A ring whose records are `E`.
#[derive(Debug)]
pub(crate) struct Ring<E> {
    consumer: Mapping,
    producer: Mapping,
    bytes: u64,
    records: PhantomData<E>,
}

impl<E: aya::Pod + Into<Event>> Ring<E> {
    /// Maps a ring of `bytes`, a power of two.
    pub(crate) fn new(map: impl AsFd, bytes: u32) -> Result<Self, Error> {
        let page = page_bytes();
        let data = usize::try_from(bytes).expect("an address holds 32 bits");
        Ok(Self {
            consumer: Mapping::new(&map, 0, page, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?,
            producer: Mapping::new(&map, page, page + 2 * data, ProtFlags::PROT_READ)?,
            bytes: u64::from(bytes),
            records: PhantomData,
        })
    }

    /// Up to where records were acknowledged.
    pub(crate) fn acknowledged(&self) -> Position {
        self.consumer.word(0).load(Ordering::Acquire)
    }

    /// Up to where programs have reserved room.
    pub(crate) fn reserved(&self) -> Position {
        self.producer.word(0).load(Ordering::Acquire)
    }

    /// Gives the room up to `position` back to the kernel.
    pub(crate) fn acknowledge(&self, position: Position) {
        self.consumer.word(0).store(position, Ordering::Release);
    }

    /// Reads at most `most` finished records from `position` on, and returns where the next one begins.
    pub(crate) fn read(&self, mut position: Position, most: usize, events: &mut Vec<Event>) -> Position {
        let end = self.reserved();
        let full = events.len() + most;
        while position < end && events.len() < full {
            let offset = position & (self.bytes - 1);
            let header = self.header(offset).load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let length = header & !(BUSY | DISCARDED);
            if header & DISCARDED == 0 && length as usize == size_of::<E>() {
                events.push(self.record(offset + HEADER_BYTES).into());
            }
            position += (u64::from(length) + HEADER_BYTES).next_multiple_of(8);
        }
        position
    }

    fn header(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: offsets are below the ring's size, behind the producer's page, and a multiple of eight.
        unsafe { self.data(offset).cast::<AtomicU32>().as_ref() }
    }

    fn record(&self, offset: u64) -> E {
        // SAFETY: the data are mapped twice, so that a record which begins in the first copy ends in the second at the
        // latest; a finished record is not written until it is acknowledged; every bit pattern is an `E`.
        unsafe { self.data(offset).cast::<E>().as_ptr().read_unaligned() }
    }

    fn data(&self, offset: u64) -> NonNull<u8> {
        let offset = usize::try_from(offset).expect("an address holds a position in the ring");
        // SAFETY: the mapping has the producer's page and twice the ring's size; the offset is below that.
        unsafe { self.producer.memory.byte_add(page_bytes() + offset) }
    }
}

/// A mapped part of the ring.
#[derive(Debug)]
struct Mapping {
    memory: NonNull<u8>,
    length: NonZeroUsize,
}

// SAFETY: the memory is shared with the kernel already; positions and headers are read by atomic operations, records
// only when they are finished.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(map: impl AsFd, offset: usize, length: usize, protection: ProtFlags) -> Result<Self, Error> {
        let length = NonZeroUsize::new(length).expect("a page has bytes");
        let offset = libc::off_t::try_from(offset).expect("a page's size is a file offset");
        // SAFETY: a new mapping at a place of the kernel's choice replaces nothing.
        let memory = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, map, offset) }
            .map_err(|source| Error::Memory { map: names::EVENTS, source })?;
        Ok(Self { memory: memory.cast(), length })
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the word is in the first page of the mapping, aligned, and the kernel changes it by whole words.
        unsafe { self.memory.byte_add(offset).cast::<AtomicU64>().as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives `self`. An error would mean that it is not
        // mapped, which changes nothing.
        let _ = unsafe { munmap(self.memory.cast(), self.length.get()) };
    }
}
