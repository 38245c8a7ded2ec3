//! Arbitrary bytes under the name of a .nii file.

#![no_main]

#[path = "../read.rs"]
mod read;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| read::read("a.nii", bytes));
