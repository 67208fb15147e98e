//! Any frame, read by this crate and by a second parser: `make fuzz`. What it keeps, `cargo test` replays.
#![no_main]

#[path = "../../tests/reading/second_parser.rs"]
mod second_parser;

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    second_parser::compare(frame);
});
