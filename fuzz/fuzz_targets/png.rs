//! Arbitrary bytes under the name of a .png file.

#![no_main]

#[path = "../read.rs"]
mod read;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| read::read("a.png", bytes));
