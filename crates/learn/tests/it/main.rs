//! Whole trainings on tiny phantom studies.

mod plans;
mod resume;
mod segment;
mod shape;
mod stages;
mod study;
mod whole_volumes;
