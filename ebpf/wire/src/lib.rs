//! Every byte that the kernel programs and user space share.
#![no_std]

mod vocabulary;

pub use vocabulary::*;
