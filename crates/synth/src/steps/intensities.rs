//! Paints a scene: each class gets a mean and a standard deviation, each voxel a normal number.
//!
//! The Gaussian mixture of lab2im and SynthSeg (Billot et al., Medical Image Analysis 86:102789, 2023,
//! doi:10.1016/j.media.2023.102789). Means and standard deviations are drawn evenly, documented as of
//! 25 to 225 and 5 to 25; SynthSeg's code, where it is given no prior, takes 0 to 250 and 0 to 30. Or
//! they come from a [`Prior`]. The class of value 0 is made black in 5 % of the images and dark
//! (mean 0 to 15, standard deviation 0 to 5) in 25 %. Voxels are independent.
//!
//! Draws, for each class that occurs, both numbers, and the seed of the voxels' own, of which each
//! slice has a stream.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "intensities"
//! ranges = "documented"     # or "code"
//! # prior = "t1.toml"       # instead of ranges; means and deviations of each class
//! mixed = false             # with a prior: in half of the images take the ranges all the same
//! by = "class"              # or "label": the two sides of the body apart
//! nonnegative = true        # means below 0, which normal priors may give, become 0
//! black = 0.05              # probability of a background of 0
//! dark = 0.25               # probability of one of dark_mean and dark_sd
//! dark_mean = [0.0, 15.0]
//! dark_sd = [0.0, 5.0]
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use std::path::PathBuf;

use crossmod_volume::Image;
use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::lattice::seed;
use super::published::Published;
use super::{Apply, Random};
use crate::error::{probability, range};
use crate::prior::{Prior, Spread};
use crate::{Error, Result, Scene};

/// Where means and standard deviations come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Intensities {
    /// Which published ranges.
    pub ranges: Published,
    /// Range of the means instead of the published one.
    pub mean: Option<[f32; 2]>,
    /// Range of the standard deviations instead of the published one.
    pub sd: Option<[f32; 2]>,
    /// A prior file, instead of ranges.
    pub prior: Option<PathBuf>,
    /// With a prior: whether half of the images take their means from the ranges, and half, by a
    /// draw of its own, their standard deviations.
    pub mixed: bool,
    /// What shares a Gaussian.
    pub by: By,
    /// Whether means below 0 become 0.
    pub nonnegative: bool,
    /// Probability that the background is 0.
    pub black: f32,
    /// Probability that the background is of `dark_mean` and `dark_sd`.
    pub dark: f32,
    /// Range of a dark background's mean.
    pub dark_mean: [f32; 2],
    /// Range of a dark background's standard deviation.
    pub dark_sd: [f32; 2],
    #[serde(skip)]
    known: Option<Prior>,
}

/// What shares a Gaussian.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Values of one class.
    #[default]
    Class,
    /// Each value has its own.
    Label,
}

impl Default for Intensities {
    /// SynthSeg's values.
    fn default() -> Self {
        Self {
            ranges: Published::Documented,
            mean: None,
            sd: None,
            prior: None,
            mixed: false,
            by: By::Class,
            nonnegative: true,
            black: 0.05,
            dark: 0.25,
            dark_mean: [0.0, 15.0],
            dark_sd: [0.0, 5.0],
            known: None,
        }
    }
}

/// The Gaussians of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntensitiesDraw {
    paints: Vec<Paint>,
    seed: u64,
}

/// The Gaussian of some values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Paint {
    class: String,
    labels: Vec<u16>,
    mean: f32,
    sd: f32,
}

impl Intensities {
    /// The ranges of means and of standard deviations.
    fn ranges(&self) -> [Spread; 2] {
        let [mean, sd] = match self.ranges {
            Published::Documented => [[25.0, 225.0], [5.0, 25.0]],
            Published::Code => [[0.0, 250.0], [0.0, 30.0]],
        };
        [self.mean.unwrap_or(mean), self.sd.unwrap_or(sd)]
            .map(|[low, high]| Spread::Uniform { low, high })
    }
}

impl Random for Intensities {
    type Draw = IntensitiesDraw;

    fn load(&mut self) -> Result<()> {
        for (key, found) in [("mean", self.mean), ("dark_mean", Some(self.dark_mean))] {
            let found = found.unwrap_or_default();
            range(&format!("intensities.{key}"), found, -1e6..=1e6)?;
        }
        for (key, found) in [("sd", self.sd), ("dark_sd", Some(self.dark_sd))] {
            let found = found.unwrap_or_default();
            range(&format!("intensities.{key}"), found, 0.0..=1e6)?;
        }
        probability("intensities.black", self.black)?;
        probability("intensities.dark", self.dark)?;
        probability("intensities.black + dark", self.black + self.dark)?;
        self.known = self.prior.as_deref().map(Prior::load).transpose()?;
        Ok(())
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<IntensitiesDraw> {
        let ranges = self.ranges();
        // Drawn whether needed or not, so that a prior changes no other number.
        let by_range = [(); 2].map(|()| rng.chance(0.5) && self.mixed);
        let background = scene.structure(0).class;
        let shade = rng.unit();
        let dark = [self.dark_mean, self.dark_sd].map(|[low, high]| rng.uniform(low, high));
        let mut paints = Vec::new();
        for (class, labels) in scene.classes() {
            let spreads = match &self.known {
                None => ranges,
                Some(prior) => {
                    let known = prior.of(&class, &labels).ok_or_else(|| {
                        Error::Recipe(format!(
                            "expected the prior of step `intensities` to know class `{class}`, \
                             found nothing; add it, or a class `*` for all others"
                        ))
                    })?;
                    let known = [known.mean, known.sd];
                    [0, 1].map(|i| if by_range[i] { ranges[i] } else { known[i] })
                }
            };
            let shared: Vec<Vec<u16>> = match self.by {
                By::Class => vec![labels],
                By::Label => labels.into_iter().map(|value| vec![value]).collect(),
            };
            for labels in shared {
                let [mean, sd] = spreads.map(|spread| spread.draw(rng));
                let mean = if self.nonnegative {
                    mean.max(0.0)
                } else {
                    mean
                };
                let mut paint = Paint {
                    class: class.clone(),
                    labels,
                    mean,
                    sd: sd.max(0.0),
                };
                if class == background && shade < self.black + self.dark {
                    let black = shade < self.black;
                    [paint.mean, paint.sd] = if black { [0.0; 2] } else { dark };
                }
                paints.push(paint);
            }
        }
        Ok(IntensitiesDraw {
            paints,
            seed: seed(rng),
        })
    }
}

impl Apply for IntensitiesDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let mut gaussians = vec![[0.0f32; 2]; usize::from(u16::MAX) + 1];
        for paint in &self.paints {
            for &value in &paint.labels {
                gaussians[usize::from(value)] = [paint.mean, paint.sd];
            }
        }
        let grid = scene.grid().clone();
        let slice = grid.shape()[0] * grid.shape()[1];
        let mut image = vec![0.0; grid.len()];
        let slices = image
            .par_chunks_mut(slice)
            .zip(scene.labels.data().par_chunks(slice));
        slices.enumerate().for_each(|(z, (out, labels))| {
            Rng::new(self.seed, z as u64, 0).fill_normal(out);
            for (v, &label) in out.iter_mut().zip(labels) {
                let [mean, sd] = gaussians[usize::from(label)];
                *v = mean + sd * *v;
            }
        });
        scene.image = Some(Image::new(grid, image)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
