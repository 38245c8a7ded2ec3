//! Drawn patients and studies, looked at from outside.

mod patients;
mod studies;
