//! Printing that survives a reader who leaves early.

use std::io::{self, ErrorKind, Write as _};

use anyhow::Context as _;

/// Prints text and a line's end on stdout. A closed pipe (`crossmod check … | head`) is no error:
/// the reader has seen enough, and the exit code still tells how it went.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let text = text.trim_end_matches('\n');
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("could not write to the standard output")
        }
        _ => Ok(()),
    }
}

/// Prints a value as indented JSON on stdout.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    text(&serde_json::to_string_pretty(value)?)
}

/// Prints a line on stderr; there is nowhere to report that it failed. Colours in it are for terminals
/// alone, and for none where `NO_COLOR` is set.
pub(crate) fn stderr(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}
