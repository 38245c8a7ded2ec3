//! The program as a user runs it: the built binary, its exit codes, and what it prints.

mod data;
mod plan;
mod report;
mod runs;
mod scan;
mod synth;
mod trial;
mod usage;
