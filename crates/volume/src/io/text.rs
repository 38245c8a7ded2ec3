//! Values in headers that are lines of text.

use std::str::FromStr;

/// What a header says, or why it cannot be taken so.
pub(super) type Told<T> = std::result::Result<T, String>;

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
