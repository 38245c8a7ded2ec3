//! What can go wrong in a scan.

/// An error of this crate. Messages say what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scanner setting or a slice that no scan can have.
    #[error("{0}")]
    Setting(String),
}
