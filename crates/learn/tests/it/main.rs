//! Whole trainings on tiny phantom studies.

mod resume;
mod study;
mod whole_volumes;
