//! What can go wrong with volumes, files and datasets.

use std::path::{Path, PathBuf};

use crate::Grid;

/// An error of this crate. Messages say what was expected, what was found and what to do; the
/// path comes last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A shape, spacing or affine that cannot describe a volume.
    #[error("{0}")]
    Geometry(String),
    /// A file that cannot be opened, read or written.
    #[error("could not {action}: {source}: {}", path.display())]
    Io {
        /// What was being done, in the infinitive.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
        /// The file or folder.
        path: PathBuf,
    },
    /// A file whose content is not what its format promises.
    #[error("{message}: {}", path.display())]
    Format {
        /// Expected, found and what to do.
        message: String,
        /// The file.
        path: PathBuf,
    },
    /// A folder that is not a dataset, or a dataset whose description does not hold.
    #[error("{message}: {}", path.display())]
    Dataset {
        /// Expected, found and what to do.
        message: String,
        /// The file or folder.
        path: PathBuf,
    },
}

impl Error {
    pub(crate) fn geometry(message: String) -> Self {
        Self::Geometry(message)
    }

    pub(crate) fn expect_len(grid: &Grid, found: usize) -> crate::Result<()> {
        if grid.len() == found {
            return Ok(());
        }
        Err(Self::Geometry(format!(
            "expected {} samples for a grid of {:?}, found {found}",
            grid.len(),
            grid.shape()
        )))
    }

    /// An input or output error with its path; `action` in the infinitive ("read the header").
    #[must_use]
    pub fn io(action: &'static str, source: std::io::Error, path: &Path) -> Self {
        Self::Io {
            action,
            source,
            path: path.to_owned(),
        }
    }

    /// A malformed file.
    #[must_use]
    pub fn format(message: impl Into<String>, path: &Path) -> Self {
        Self::Format {
            message: message.into(),
            path: path.to_owned(),
        }
    }

    /// A malformed dataset.
    #[must_use]
    pub fn dataset(message: impl Into<String>, path: &Path) -> Self {
        Self::Dataset {
            message: message.into(),
            path: path.to_owned(),
        }
    }
}
