//! The compiled kernel programs, as one ELF object, and its SHA-256: what the evidence names as the code that decided.
#![forbid(unsafe_code)]

/// Aligns bytes as the ELF reader wants them.
#[repr(C, align(32))]
struct Aligned<T: ?Sized>(T);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/podwitness-ebpf.o")));

/// The ELF object.
#[must_use]
pub fn bytes() -> &'static [u8] {
    &ALIGNED.0
}

/// The SHA-256 of [`bytes`], in hexadecimal.
pub const SHA256: &str = env!("PODWITNESS_EBPF_SHA256");

#[cfg(test)]
mod tests {
    #[test]
    fn the_object_is_elf_for_bpf() {
        let bytes = super::bytes();
        assert_eq!(&bytes[..4], b"\x7fELF");
        // e_machine, EM_BPF.
        assert_eq!(u16::from_le_bytes([bytes[18], bytes[19]]), 247);
        assert_eq!(super::SHA256.len(), 64);
    }
}
