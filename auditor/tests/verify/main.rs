//! `podwitness verify` over roots that were sealed, and over the same ones changed afterwards.

mod asked;
mod cases;
mod rewrite;
mod store;
mod tampered;
mod untouched;
