//! Whole trainings on tiny phantom studies.

mod plans;
mod resume;
mod study;
mod whole_volumes;
