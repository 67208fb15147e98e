//! Bounded access to the bytes of a frame.

/// The bytes of one frame, from its Ethernet header on.
pub trait Bytes {
    /// How many there are.
    fn length(&self) -> u32;

    /// `N` bytes from `offset`, or `None` where the frame ends before.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
}

impl Bytes for &[u8] {
    fn length(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let start = offset as usize;
        self.get(start..start.checked_add(N)?)?.try_into().ok()
    }
}

/// The bytes of a packet that ends where its header says: what follows in the frame is padding, and no part of it.
pub(crate) struct Bounded<'a, B> {
    pub(crate) bytes: &'a B,
    pub(crate) end: u32,
}

impl<B: Bytes> Bytes for Bounded<'_, B> {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.end
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        if offset as usize + N > self.end as usize { None } else { self.bytes.load(offset) }
    }
}
