//! Batches of patches for supervised segmentation: drawn, then applied.
//!
//! As nnU-Net v2 trains (Isensee et al., doi:10.1038/s41592-020-01008-z): cases at random, a third
//! of each batch centred on a class of its case, then deformation, intensities, mirroring. Each patch
//! is drawn from a stream of its own, keyed by seed, name, step and place in the batch, so that a
//! batch is the same on any number of threads and after any restart. The [`PatchDraw`]s come with it.
//!
//! | part | does |
//! |---|---|
//! | `config` | probabilities and ranges |
//! | `place` | where in a case |
//! | `draw` | the record of a patch |
//! | `apply` | the patch of a record |
//! | `ahead` | batches made while the training computes |
//! | `synthetic` | patches of images that are made of label maps |
//!
//! Arrays are `[n][channel × slice][z][y][x]` of the prepared case; places (x, y, z) in voxels.
//! Outside the volume images and labels are 0. Rotations are in millimetres, so that a patch of
//! voxels that are no cubes is not sheared; nnU-Net turns voxels.

mod ahead;
mod apply;
mod config;
mod draw;
mod place;
mod synthetic;

use std::sync::Arc;

use crossmod_volume::rng::{Rng, case_id};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::segment::plan::Dims;
use crate::segment::{SegmentationPlan, Store};
use crate::{Error, Result};
use apply::Maker;
use draw::Ranges;

pub use ahead::Ahead;
pub use config::PatchConfig;
pub use draw::{ChannelDraw, Noise, PatchDraw};
pub use synthetic::Synthetic;

/// What was drawn for a patch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawn {
    /// It is cut out of a prepared case.
    Cut(PatchDraw),
    /// It is an image made of a label map.
    Made {
        /// Which case, those of the store counted before.
        case: usize,
        /// Which of the case's images.
        number: u32,
    },
}

impl Drawn {
    /// Which case the patch is of.
    #[must_use]
    pub fn case(&self) -> usize {
        match self {
            Self::Cut(draw) => draw.case,
            Self::Made { case, .. } => *case,
        }
    }
}

/// Draws patches of a store's cases, and of those that images are made of, and makes them.
#[derive(Debug, Clone)]
pub struct Patches {
    store: Arc<Store>,
    synthetic: Option<Arc<Synthetic>>,
    plan: SegmentationPlan,
    foreground: f64,
    ranges: Ranges,
    maker: Maker,
    /// How often cases before and with each one are drawn; as often each where there are none.
    shares: Vec<f64>,
    seed: u64,
    name: &'static str,
}

/// Patches of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchBatch {
    /// `[n][channels × slices][z][y][x]`.
    pub images: Vec<f32>,
    /// Values of the label maps, `[n][z][y][x]`; 0 outside the volume.
    pub labels: Vec<u16>,
    /// Which case each patch is of: those of the store, then those that images are made of.
    pub cases: Vec<usize>,
    /// What was drawn for each.
    pub draws: Vec<Drawn>,
    /// Number of patches.
    pub len: usize,
    /// Channels of each, slices counted.
    pub channels: usize,
    /// Voxels along (z, y, x).
    pub shape: [usize; 3],
}

impl Patches {
    /// Patches for a plan; `name` keeps the draws apart from others of the same seed.
    ///
    /// # Errors
    /// [`Error::Recipe`] where the configuration or the plan does not hold, there are no cases, they
    /// were prepared for another number of channels, or labels are to be swapped and nothing says
    /// which axis runs from left to right.
    pub fn new(
        store: Arc<Store>,
        plan: &SegmentationPlan,
        config: &PatchConfig,
        seed: u64,
        name: &'static str,
    ) -> Result<Self> {
        config.check().map_err(Error::Recipe)?;
        plan.check().map_err(Error::Recipe)?;
        if store.channels() != plan.channels.len() {
            return Err(Error::Recipe(format!(
                "expected cases of {} channels, found {} of {}; prepare them for this plan",
                plan.channels.len(),
                store.len(),
                store.channels()
            )));
        }
        let swap = match config.left_right.or_else(|| left_right(plan)) {
            _ if config.swap.is_empty() => None,
            Some(axis) => Some((2 - axis, config.swap.clone())),
            None => {
                return Err(Error::Recipe(
                    "expected left_right to say which axis, 0 (z), 1 (y) or 2 (x), runs from left \
                     to right, since the plan has no orientation, found nothing; set it, or leave \
                     swap out"
                        .into(),
                ));
            }
        };
        let in_plane = PatchConfig::in_plane(plan);
        Ok(Self {
            foreground: config.foreground,
            ranges: Ranges::new(plan, config, swap.as_ref().map(|(axis, _)| *axis)),
            maker: Maker {
                patch: [plan.patch[2], plan.patch[1], plan.patch[0]],
                slices: plan.dims.slices(),
                lowered: [true, true, plan.dims == Dims::Three && !in_plane],
                interpolation: config.interpolation,
                swap,
            },
            store,
            synthetic: None,
            plan: plan.clone(),
            shares: Vec::new(),
            seed,
            name,
        })
    }

    /// With cases that images are made of as well, counted after those of the store.
    #[must_use]
    pub fn with_synthetic(mut self, synthetic: Arc<Synthetic>) -> Self {
        self.synthetic = Some(synthetic);
        self
    }

    /// Number of cases.
    fn cases(&self) -> usize {
        self.store.len() + self.synthetic.as_ref().map_or(0, |s| s.len())
    }

    /// With each case drawn as often as its weight says.
    ///
    /// # Errors
    /// [`Error::Recipe`] where there is not one weight for each case, or they are not 0 or more with
    /// a sum above 0.
    pub fn weighted(mut self, weights: &[f64]) -> Result<Self> {
        let total: f64 = weights.iter().sum();
        let fits = weights.len() == self.cases() && weights.iter().all(|w| *w >= 0.0);
        if !fits || !total.is_finite() || total <= 0.0 {
            return Err(Error::Recipe(format!(
                "expected a share of 0 or more for each of {} cases, some above 0, found \
                 {weights:?}; correct them",
                self.cases()
            )));
        }
        let mut sum = 0.0;
        self.shares = weights
            .iter()
            .map(|weight| {
                sum += weight / total;
                sum
            })
            .collect();
        Ok(self)
    }

    /// The case that a patch is of.
    fn choose(&self, rng: &mut Rng) -> usize {
        if self.shares.is_empty() {
            return rng.below(self.cases());
        }
        let drawn = f64::from(rng.unit());
        let last = self.shares.len() - 1;
        self.shares
            .partition_point(|share| *share <= drawn)
            .min(last)
    }

    /// The cases.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What the patches of a step are to be.
    ///
    /// # Errors
    /// Where a cache file of the store cannot be read.
    pub fn draw(&self, step: u64) -> Result<Vec<Drawn>> {
        if self.cases() == 0 {
            return Err(Error::Recipe(
                "expected cases to draw patches of, found none".into(),
            ));
        }
        let n = self.plan.batch;
        let one = |i: usize| {
            let item = step * n as u64 + i as u64;
            let mut rng = Rng::new(self.seed, case_id(self.name) ^ item >> 32, item as u32);
            let case = self.choose(&mut rng);
            if case >= self.store.len() {
                let number = item as u32;
                return Ok(Drawn::Made { case, number });
            }
            let on_class = place::on_class(i, n, self.foreground, &mut rng);
            let around = place::voxel(&self.store, &self.plan, case, on_class, &mut rng)?;
            let (shape, patch) = (self.store.grid(case).shape(), self.maker.patch);
            let centre = [0, 1, 2].map(|axis| {
                let around = around.map(|voxel| voxel[axis]);
                let first = place::origin(shape[axis], patch[axis], around, &mut rng);
                first as f64 + (patch[axis] - 1) as f64 / 2.0
            });
            self.ranges.draw(case, centre, &mut rng).map(Drawn::Cut)
        };
        (0..n).map(one).collect()
    }

    /// The patches of drawn records.
    ///
    /// # Errors
    /// Where a cache file of the store cannot be read, or a box of it goes beyond the budget.
    ///
    /// # Panics
    /// Where a record names a case that the store does not have.
    pub fn make(&self, draws: Vec<Drawn>) -> Result<PatchBatch> {
        let voxels: usize = self.plan.patch.iter().product();
        let channels = self.plan.in_channels();
        let mut images = vec![0.0; draws.len() * channels * voxels];
        let mut labels = vec![0; draws.len() * voxels];
        images
            .par_chunks_mut(channels * voxels)
            .zip(labels.par_chunks_mut(voxels))
            .zip(&draws)
            .try_for_each(|((images, labels), draw)| match (draw, &self.synthetic) {
                (Drawn::Cut(draw), _) => self.maker.make(&self.store, draw, images, labels),
                (Drawn::Made { case, number }, Some(synthetic)) => {
                    let case = case - self.store.len();
                    synthetic.make(case, *number, images, labels)
                }
                (Drawn::Made { .. }, None) => Err(Error::Recipe(
                    "expected cases that images are made of, found none".into(),
                )),
            })?;
        Ok(PatchBatch {
            images,
            labels,
            cases: draws.iter().map(Drawn::case).collect(),
            len: draws.len(),
            draws,
            channels,
            shape: self.plan.patch,
        })
    }

    /// The patches of a step: the same for the same store, seed, name and step.
    ///
    /// # Errors
    /// As [`Patches::draw`] and [`Patches::make`].
    pub fn batch(&self, step: u64) -> Result<PatchBatch> {
        self.make(self.draw(step)?)
    }
}

/// The turned array's axis that runs from left to right, or from right to left.
fn left_right(plan: &SegmentationPlan) -> Option<usize> {
    let letters: Vec<char> = plan.transpose.orientation?.to_string().chars().collect();
    let forward = plan.transpose.forward;
    (0..3).find(|&axis| matches!(letters.get(2 - forward[axis]), Some('L' | 'R')))
}

#[cfg(test)]
mod tests;
