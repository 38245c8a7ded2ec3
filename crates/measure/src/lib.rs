//! Segmentations against truth: overlap per label, per case and pooled.
//!
//! [`overlap()`] compares two label maps; [`evaluate_folders`] compares two files or two folders of
//! them and gives an [`Evaluation`], which is written as JSON, CSV or a table.
//!
//! Dice (Dice 1945, doi:10.2307/1932409) and IoU (Jaccard 1912,
//! doi:10.1111/j.1469-8137.1912.tb05611.x) are counted in voxels of the shared grid. **Empty
//! masks**: where a label is in neither the prediction nor the truth of a case its metrics are
//! undefined (`null` in JSON, empty in CSV), the case is left out of that label's mean, SD and
//! median, and `n` counts the cases that remain. Where it is in exactly one of them they are 0.
//!
//! What counts is what the dataset's `dataset.json` says
//! ([`LabelTable`](crossmod_volume::dataset::LabelTable)): a region is the union of its values in
//! prediction and truth alike, told by the value that it is written as; voxels whose truth nobody
//! has judged (`ignore`) are left out of every count; and of a case in which only some classes were
//! drawn (`labelled`), the others are undefined.

mod error;
mod evaluation;
mod folders;
mod overlap;
mod summary;
mod table;

pub use error::Error;
pub use evaluation::{CaseOverlap, Evaluation, LabelSummary, Mean};
pub use folders::{evaluate_folders, evaluate_folders_by};
pub use overlap::{Overlap, TOLERANCE_MM, overlap, overlap_of};
pub use summary::Summary;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
