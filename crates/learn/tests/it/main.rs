//! Whole trainings on tiny phantom studies.

mod plans;
mod resume;
mod segment;
mod study;
mod whole_volumes;
