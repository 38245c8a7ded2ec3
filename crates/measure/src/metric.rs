//! The numbers that one label of one case is judged by.

use serde::{Deserialize, Serialize};

use crate::{Overlap, SurfaceDistances};

/// A number told of a label. Which way is better, and where it is undefined, is told by each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// [`Overlap::dice`].
    Dice,
    /// [`Overlap::iou`].
    Iou,
    /// [`Overlap::precision`].
    Precision,
    /// [`Overlap::recall`].
    Recall,
    /// [`Overlap::volume_error`].
    VolumeError,
    /// [`Overlap::volume_error_ml`].
    VolumeErrorMl,
    /// [`SurfaceDistances::hausdorff_mm`].
    HausdorffMm,
    /// [`SurfaceDistances::hausdorff_share_mm`] of 0.95.
    Hd95Mm,
    /// [`SurfaceDistances::assd_mm`].
    AssdMm,
    /// [`SurfaceDistances::nsd`].
    Nsd,
}

impl Metric {
    /// Every metric, in the order of tables.
    pub const ALL: [Self; 10] = [
        Self::Dice,
        Self::Iou,
        Self::Precision,
        Self::Recall,
        Self::VolumeError,
        Self::VolumeErrorMl,
        Self::HausdorffMm,
        Self::Hd95Mm,
        Self::AssdMm,
        Self::Nsd,
    ];

    /// Its name in JSON, CSV and arguments.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Dice => "dice",
            Self::Iou => "iou",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::VolumeError => "volume_error",
            Self::VolumeErrorMl => "volume_error_ml",
            Self::HausdorffMm => "hausdorff_mm",
            Self::Hd95Mm => "hd95_mm",
            Self::AssdMm => "assd_mm",
            Self::Nsd => "nsd",
        }
    }

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dice => "Dice",
            Self::Iou => "IoU",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::VolumeError => "volume error",
            Self::VolumeErrorMl => "volume error ml",
            Self::HausdorffMm => "Hausdorff mm",
            Self::Hd95Mm => "HD95 mm",
            Self::AssdMm => "ASSD mm",
            Self::Nsd => "NSD",
        }
    }

    /// Whether it is taken of surfaces.
    #[must_use]
    pub fn of_surfaces(self) -> bool {
        matches!(
            self,
            Self::HausdorffMm | Self::Hd95Mm | Self::AssdMm | Self::Nsd
        )
    }
}

/// What was measured of one label of one case.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measures {
    /// Voxels.
    pub overlap: Overlap,
    /// Surfaces, where they were asked for.
    pub surface: Option<SurfaceDistances>,
}

impl Measures {
    /// A metric of it; `None` where it is undefined or was not measured.
    #[must_use]
    pub fn get(&self, metric: Metric, tolerance_mm: f64) -> Option<f64> {
        let surface = self.surface.as_ref();
        match metric {
            Metric::Dice => self.overlap.dice(),
            Metric::Iou => self.overlap.iou(),
            Metric::Precision => self.overlap.precision(),
            Metric::Recall => self.overlap.recall(),
            Metric::VolumeError => self.overlap.volume_error(),
            Metric::VolumeErrorMl => self.overlap.volume_error_ml(),
            Metric::HausdorffMm => surface?.hausdorff_mm(),
            Metric::Hd95Mm => surface?.hausdorff_share_mm(0.95),
            Metric::AssdMm => surface?.assd_mm(),
            Metric::Nsd => surface?.nsd(tolerance_mm),
        }
    }

    /// Takes another part of the case in, such as a slice of the same patient, or another case.
    pub fn pool(&mut self, other: &Self) {
        self.overlap += other.overlap;
        match (&mut self.surface, &other.surface) {
            (Some(surface), Some(other)) => surface.pool(other),
            (surface @ None, other) => surface.clone_from(other),
            (Some(_), None) => {}
        }
    }
}

impl From<Overlap> for Measures {
    fn from(overlap: Overlap) -> Self {
        Self {
            overlap,
            surface: None,
        }
    }
}
