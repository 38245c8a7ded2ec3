//! A folder of PNG slices as one volume.
//!
//! Slices are the `.png` files of the folder, in order of the numbers in their names
//! (`s2` before `s10`); z is the place in that order. All have one size and depth. Other files
//! are ignored.

use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
};

use super::{super::atomic, Slice, grid, storage};
use crate::{Error, Grid, Result, io::Storage};

pub(in crate::io) fn read_grid(path: &Path) -> Result<(Grid, Storage)> {
    let files = slices(path)?;
    let (first, storage) = super::read_grid(&files[0])?;
    let [width, height, _] = first.shape();
    let grid = grid(width as u32, height as u32, files.len())
        .map_err(|e| Error::format(e.to_string(), path))?;
    Ok((grid, storage))
}

pub(in crate::io) fn read<T>(
    path: &Path,
    convert: impl Fn(f64) -> std::result::Result<T, String>,
) -> Result<(Grid, Vec<T>, Storage)> {
    let files = slices(path)?;
    let mut data = Vec::new();
    let mut first = None;
    for file in &files {
        let slice = Slice::read(file)?;
        let found = (slice.width, slice.height, slice.dtype);
        let (width, height, dtype) = *first.get_or_insert(found);
        if found != (width, height, dtype) {
            return Err(Error::format(
                format!(
                    "expected slices of one size and depth, {width}×{height} {dtype} as the \
                     first, found {}×{} {}; read it alone",
                    found.0, found.1, found.2
                ),
                file,
            ));
        }
        for &value in &slice.values {
            data.push(convert(f64::from(value)).map_err(|m| Error::format(m, file))?);
        }
    }
    let Some((width, height, dtype)) = first else {
        return Err(no_slices(path));
    };
    let grid = grid(width, height, files.len()).map_err(|e| Error::format(e.to_string(), path))?;
    Ok((grid, data, storage(dtype)))
}

/// Writes `slice_0000.png` and so on. The folder appears when all are written; one that holds
/// slices of an earlier write is replaced, one that holds anything else is refused.
pub(in crate::io) fn write<T: Copy + Into<f64>>(
    path: &Path,
    grid: &Grid,
    data: &[T],
    storage: &Storage,
) -> Result<()> {
    let fail = |e| Error::io("write", e, path);
    if path.exists() && !holds_only_slices(path).map_err(fail)? {
        return Err(Error::format(
            "expected a new folder, an empty one, or one of slice_0000.png and so on, found other \
             files in it; name another",
            path,
        ));
    }
    let fresh = atomic::beside(path);
    fs::create_dir(&fresh).map_err(fail)?;
    let written = write_slices(&fresh, grid, data, storage).and_then(|()| {
        if path.exists() {
            fs::remove_dir_all(path).map_err(fail)?;
        }
        fs::rename(&fresh, path).map_err(fail)
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&fresh);
    }
    // The name inside the temporary folder would mean nothing to the reader.
    written.map_err(|e| match e {
        Error::Io { source, .. } => fail(source),
        Error::Format { message, .. } => Error::format(message, path),
        other => other,
    })
}

fn write_slices<T: Copy + Into<f64>>(
    folder: &Path,
    grid: &Grid,
    data: &[T],
    storage: &Storage,
) -> Result<()> {
    let pixels = grid.shape()[0] * grid.shape()[1];
    for (z, slice) in data.chunks(pixels).enumerate() {
        super::write_slice(
            &folder.join(format!("slice_{z:04}.png")),
            grid,
            slice,
            storage,
        )?;
    }
    Ok(())
}

/// Whether a folder holds any.
pub(in crate::io) fn is_folder_of_slices(folder: &Path) -> bool {
    slices(folder).is_ok()
}

fn holds_only_slices(folder: &Path) -> std::io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let number = name
            .strip_prefix("slice_")
            .and_then(|n| n.strip_suffix(".png"));
        if !number.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The slices of a folder in order; at least one.
fn slices(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |e| Error::io("list", e, folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("png"))
            && path.is_file()
        {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(no_slices(folder));
    }
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    files.sort_by(|a, b| by_number(&name(a), &name(b)));
    Ok(files)
}

fn no_slices(folder: &Path) -> Error {
    Error::format(
        "expected a folder of DICOM files or PNG slices, found neither in it; name a file",
        folder,
    )
}

/// Compares names with runs of digits taken as numbers; equal numbers by their writing.
fn by_number(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a, b);
    while let (Some(p), Some(q)) = (x.chars().next(), y.chars().next()) {
        let order = if p.is_ascii_digit() && q.is_ascii_digit() {
            let (m, rest_x) = number(x);
            let (n, rest_y) = number(y);
            (x, y) = (rest_x, rest_y);
            m.len().cmp(&n.len()).then_with(|| m.cmp(n))
        } else {
            (x, y) = (&x[p.len_utf8()..], &y[q.len_utf8()..]);
            p.cmp(&q)
        };
        if order.is_ne() {
            return order;
        }
    }
    x.len().cmp(&y.len()).then_with(|| a.cmp(b))
}

/// The digits that start `text` without leading zeros, and what follows them.
fn number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_their_numbers() {
        let mut names = [
            "s10.png",
            "s2.png",
            "s010b.png",
            "s1.png",
            "a99999999999999999999.png",
        ];
        names.sort_by(|a, b| by_number(a, b));
        assert_eq!(
            names,
            [
                "a99999999999999999999.png",
                "s1.png",
                "s2.png",
                "s10.png",
                "s010b.png"
            ]
        );
        assert_eq!(by_number("s01", "s1"), Ordering::Less);
        assert_eq!(by_number("s1", "s1"), Ordering::Equal);
    }
}
