//! The program `crossmod`: labels in one imaging modality become a segmenter for another.
//!
//! This room alone reads arguments, prints and exits. Results go to stdout (with `--json` one
//! JSON object), progress and errors to stderr. Exit codes: 0 done, 1 findings or a failed or
//! interrupted run, 2 wrong usage, 130 stopped at once by a second Ctrl-C.

mod args;
mod bench;
mod context;
mod dicom;
mod error;
mod output;
mod progress;
mod serve;
mod verb;

use std::process::ExitCode;

use crossmod_kernels::Recycler;

#[global_allocator]
static MEMORY: Recycler = Recycler::new();

fn main() -> ExitCode {
    let cli = match args::read() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    // On one of the pool's own threads: handing each small operation of a training over to the
    // pool from outside costs more than the operation.
    let outcome = cli
        .global
        .apply()
        .and_then(|context| rayon::scope(|_| cli.verb.run(&context)));
    match outcome {
        Ok(outcome) => outcome.into(),
        Err(failure) => error::report(&failure, cli.global.json),
    }
}
