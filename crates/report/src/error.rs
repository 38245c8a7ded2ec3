//! What can go wrong while reporting.

/// An error of this crate. Messages say what was expected, what was found and what to do; a path
/// comes last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Pictures that do not fit together.
    #[error("{0}")]
    Picture(String),
    /// A picture that cannot be encoded.
    #[error("could not encode the picture as PNG: {0}")]
    Png(#[from] png::EncodingError),
    /// A page that cannot be filled in.
    #[error("could not fill in the report's page: {0}")]
    Page(#[from] minijinja::Error),
    /// A file that cannot be written.
    #[error(transparent)]
    Volume(#[from] crossmod_volume::Error),
}
