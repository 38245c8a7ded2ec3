//! What can go wrong with a measurement.

use std::path::{Path, PathBuf};

/// An error of this crate. Messages say what was expected, what was found and what to do; the
/// path comes last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A prediction and a truth that do not lie on one grid.
    #[error("{0}")]
    Grids(String),
    /// The same, of a file.
    #[error("{message}: {}", path.display())]
    Files {
        /// Expected, found and what to do.
        message: String,
        /// The prediction, or the folder.
        path: PathBuf,
    },
    /// A file that cannot be read or written.
    #[error(transparent)]
    Volume(#[from] crossmod_volume::Error),
}

impl Error {
    pub(crate) fn files(message: impl Into<String>, path: &Path) -> Self {
        Self::Files {
            message: message.into(),
            path: path.to_owned(),
        }
    }

    /// Names the prediction that an error without a path is about.
    pub(crate) fn about(self, path: &Path) -> Self {
        match self {
            Self::Grids(message) => Self::files(message, path),
            other => other,
        }
    }
}
