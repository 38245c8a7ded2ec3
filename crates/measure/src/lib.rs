//! Predictions against truth: overlap and surfaces of segmentations, errors of images, and how sure
//! the numbers are.
//!
//! [`evaluate_folders`] compares two label maps or two folders of them, [`evaluate_organs`] folders of
//! masks, and give an [`Evaluation`], which is written as JSON, CSV or a table and held [against
//! another run's](Evaluation::against). [`compare_images`] compares synthetic images with real ones.
//!
//! Dice (Dice 1945, doi:10.2307/1932409), IoU (Jaccard 1912,
//! doi:10.1111/j.1469-8137.1912.tb05611.x), precision, recall and volume errors are counted in voxels
//! of the shared grid; what a **surface** is and how distances between two are summed up is told at
//! [`surface`].
//!
//! **Empty masks**: where a label is in neither the prediction nor the truth of a case its metrics are
//! undefined (`null` in JSON, empty in CSV), the case is left out of that label's mean, SD and
//! median, and `n` counts the cases that remain. Where it is in exactly one of them Dice, IoU and NSD
//! are 0 and distances undefined; precision is undefined without a prediction, recall and the relative
//! volume error without a truth.
//!
//! What counts is what the dataset's `dataset.json` says
//! ([`LabelTable`](crossmod_volume::dataset::LabelTable)): a region is the union of its values in
//! prediction and truth alike, told by the value that it is written as; voxels whose truth nobody
//! has judged (`ignore`) are left out of every count; and of a case in which only some classes were
//! drawn (`labelled`), the others are undefined.

mod bootstrap;
mod compare;
mod error;
mod evaluation;
mod folders;
#[cfg(test)]
mod goldens;
pub mod images;
mod metric;
mod normal;
mod organs;
mod overlap;
mod pairs;
mod ssim;
mod summary;
pub mod surface;
mod table;
mod wilcoxon;

pub use bootstrap::{Bootstrap, Interval};
pub use compare::{Comparison, Difference};
pub use error::Error;
pub use evaluation::{CaseMeasures, Evaluation, LabelSummary, Settings};
pub use folders::{evaluate_folders, evaluate_folders_by, measures_of};
pub use images::{
    ImageCase, ImageErrors, ImageEvaluation, ImageSettings, compare_images, image_errors,
};
pub use metric::{Measures, Metric};
pub use organs::evaluate_organs;
pub use overlap::{Overlap, TOLERANCE_MM, overlap, overlap_of};
pub use summary::Summary;
pub use surface::{Distances, Surface, SurfaceDistances, surfaces_of};
pub use wilcoxon::{SignedRank, signed_rank};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
