//! Headers that are lines of text, and the values in them.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use super::source::{Rest, beside};
use crate::Result;

/// What a header says, or why it cannot be taken so.
pub(super) type Told<T> = std::result::Result<T, String>;

/// A header that may name another file for the samples.
pub(super) trait TextHeader: Sized {
    /// Reads the header that starts a file.
    fn read(file: &mut Rest) -> Result<Self>;

    /// The name of the file with the samples, where it is another.
    fn data_file(&self) -> Option<&str>;
}

/// The header of a file, and what follows it.
pub(super) fn open<H: TextHeader>(path: &Path) -> Result<(H, Rest)> {
    let mut file = Rest::of(path)?;
    Ok((H::read(&mut file)?, file))
}

/// The file of the samples, where it is another.
pub(super) fn samples_file<H: TextHeader>(path: &Path) -> Result<Option<PathBuf>> {
    let (header, _) = open::<H>(path)?;
    Ok(header.data_file().map(|name| beside(path, name)))
}

pub(super) fn number<T: FromStr>(name: &str, text: &str) -> Told<T> {
    text.parse()
        .map_err(|_| format!("expected a number for \"{name}\", found \"{text}\""))
}

/// So many values with space between.
pub(super) fn values<T: FromStr>(name: &str, text: &str, count: usize) -> Told<Vec<T>> {
    let values: Vec<T> = text
        .split_whitespace()
        .map(|word| number(name, word))
        .collect::<Told<_>>()?;
    if values.len() == count {
        return Ok(values);
    }
    Err(format!(
        "expected {count} values for \"{name}\", found {}",
        values.len()
    ))
}

/// The name of the file with the samples, of which there may be only one.
pub(super) fn data_file(text: &str) -> Told<String> {
    // A list of files, or a pattern such as `slice%03d.raw 1 20 1`.
    if text.starts_with("LIST") || text.contains('%') {
        return Err(format!(
            "expected one data file, found several (\"{text}\"); convert to one file first"
        ));
    }
    Ok(text.to_owned())
}
