//! What can go wrong in a scan.

use std::path::{Path, PathBuf};

/// An error of this crate. Messages say what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scanner setting or a slice that no scan can have.
    #[error("{0}")]
    Setting(String),
    /// A file that describes a scanner or a scan.
    #[error("could not read: {source}: {}", path.display())]
    Read {
        /// Why it failed.
        source: std::io::Error,
        /// The file.
        path: PathBuf,
    },
    /// A volume that cannot be scanned or made.
    #[error(transparent)]
    Volume(#[from] crossmod_volume::Error),
}

impl Error {
    pub(crate) fn read(source: std::io::Error, path: &Path) -> Self {
        Self::Read {
            source,
            path: path.to_owned(),
        }
    }
}
