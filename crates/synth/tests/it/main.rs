//! The crate as its users see it: drawn patients and studies, label maps in, datasets out.

mod ct;
mod offline;
mod patients;
mod sources;
mod studies;
mod trial;
