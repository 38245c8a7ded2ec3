//! Tests of the crate as its users see it.

mod dicom;
mod mutations;
mod read_back;
mod real_files;
