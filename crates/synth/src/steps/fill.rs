//! Paints structures: with one value each, or with a texture that has the structure's histogram.
//!
//! "Learning CT segmentation from label masks only" (Tsanda et al., 2024). Constants are drawn from a
//! normal distribution for each label in each image, whose mean and standard deviation are those of the
//! structure's mean over scans (`prior`: the built-in tables, the case's own scan, or a file that `crossmod
//! synth fit` measured). Textures (see the list at `textures`) are drawn anew for each label, over the box
//! that holds it, and matched to the structure's histogram by quantiles.
//!
//! Draws for each label its value, or a texture and a distribution. Intensities in HU, lengths in mm. What
//! nobody has painted before is −1000 HU, air.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "fill"
//! of = ["*"]                  # all; or classes, names, values; none: what is learnt
//! with = "texture"            # or "constant"
//! prior = "ct"                # the tables; or "scan", or "prior.toml"
//! phase = "venous"            # of the tables; or "native"
//! textures = ["dead-leaves", "spectral", "perlin", "worley", "mixture"]   # or paths of films
//! ffmpeg = "ffmpeg"           # the program that reads films other than PNG frames and .y4m
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use std::collections::BTreeMap;

use crossmod_volume::rng::Rng;
use crossmod_volume::space::Frame;
use crossmod_volume::{Grid, Image};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::chosen::chosen;
use super::{Apply, Random};
use crate::reference::{Distribution, Reference, scan_of};
use crate::{Phase, Result, Scene, TextureDraw, Textures};

/// The entry of `of` that means every structure.
const ALL: &str = "*";

/// What nobody has painted, HU.
pub(super) const AIR: f32 = -1000.0;

/// What is painted, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fill {
    /// Classes, names or values; `*` for all; none: what is learnt.
    pub of: Vec<String>,
    /// One value for each label, or a texture.
    pub with: With,
    /// Where intensities come from.
    pub prior: Reference,
    /// Of the built-in tables.
    pub phase: Phase,
    /// Textures, each as likely as the others.
    pub textures: Textures,
    /// The program that reads films.
    pub ffmpeg: String,
}

/// What structures are painted with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum With {
    /// One value.
    #[default]
    Constant,
    /// A texture with the structure's histogram.
    Texture,
}

impl Default for Fill {
    /// Every label one value, the paper's second kind.
    fn default() -> Self {
        Self {
            of: vec![ALL.to_owned()],
            with: With::Constant,
            prior: Reference::default(),
            phase: Phase::default(),
            textures: Textures::default(),
            ffmpeg: "ffmpeg".to_owned(),
        }
    }
}

/// What each label is painted with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FillDraw {
    parts: BTreeMap<u16, Paint>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Paint {
    Constant(f32),
    Texture {
        texture: TextureDraw,
        like: Distribution,
    },
}

impl Random for Fill {
    type Draw = FillDraw;

    fn load(&mut self) -> Result<()> {
        self.prior.load("fill.prior", false)?;
        if self.with == With::Texture {
            self.textures.load(&self.ffmpeg)?;
        }
        Ok(())
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<FillDraw> {
        let values: Vec<u16> = if self.of.iter().any(|entry| entry == ALL) {
            scene.labels.counts().into_keys().collect()
        } else {
            let mut values: Vec<u16> = chosen(&self.of, scene).into_values().flatten().collect();
            values.sort_unstable();
            values
        };
        let means = match self.with {
            With::Constant if self.prior.is_scan() => means(scene)?,
            _ => BTreeMap::new(),
        };
        if self.prior.is_scan() {
            scan_of(scene, "fill")?;
        }
        let parts = values.into_iter().map(|value| {
            let structure = scene.structure(value);
            let paint = match self.with {
                With::Constant => {
                    let mean = || means.get(&value).copied();
                    let constant = self
                        .prior
                        .constant(&structure, value, self.phase, mean, rng);
                    Paint::Constant(constant)
                }
                With::Texture => Paint::Texture {
                    like: self.prior.distribution(&structure, value, self.phase, rng),
                    texture: self.textures.draw(rng),
                },
            };
            (value, paint)
        });
        Ok(FillDraw {
            parts: parts.collect(),
        })
    }
}

/// The mean of each label in the case's own scan.
fn means(scene: &Scene) -> Result<BTreeMap<u16, f32>> {
    let mut sums: BTreeMap<u16, (f64, f64)> = BTreeMap::new();
    let scan = scan_of(scene, "fill")?;
    // Runs of one label are added up before the map is asked.
    let mut voxels = scene.labels.data().iter().zip(scan.data()).peekable();
    while let Some((&label, &v)) = voxels.next() {
        let mut run = (1.0, f64::from(v));
        while let Some((_, v)) = voxels.next_if(|&(&next, _)| next == label) {
            run = (run.0 + 1.0, run.1 + f64::from(*v));
        }
        let sum = sums.entry(label).or_default();
        *sum = (sum.0 + run.0, sum.1 + run.1);
    }
    let means = sums
        .into_iter()
        .map(|(label, (n, sum))| (label, (sum / n) as f32));
    Ok(means.filter(|(_, mean)| mean.is_finite()).collect())
}

impl Apply for FillDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let grid = scene.grid().clone();
        let mut image = match scene.image.take() {
            Some(image) => image,
            None => Image::new(grid.clone(), vec![AIR; grid.len()])?,
        };
        let mut constants = vec![None; usize::from(u16::MAX) + 1];
        for (&value, paint) in &self.parts {
            if let Paint::Constant(hu) = paint {
                constants[usize::from(value)] = Some(*hu);
            }
        }
        let pixels = image.data_mut().par_iter_mut().zip(scene.labels.data());
        pixels.for_each(|(v, &label)| {
            if let Some(hu) = constants[usize::from(label)] {
                *v = hu;
            }
        });
        let textured = self
            .parts
            .values()
            .any(|p| matches!(p, Paint::Texture { .. }));
        let boxes = if textured {
            boxes(scene)
        } else {
            BTreeMap::new()
        };
        for (value, paint) in &self.parts {
            if let (Paint::Texture { texture, like }, Some(frame)) = (paint, boxes.get(value)) {
                paint_texture(scene, &mut image, *value, frame, texture, like)?;
            }
        }
        scene.image = Some(image);
        Ok(())
    }
}

/// The box that holds each label.
fn boxes(scene: &Scene) -> BTreeMap<u16, Frame> {
    type Ends = BTreeMap<u16, [[usize; 3]; 2]>;
    fn hold(all: &mut Ends, label: u16, [low, high]: [[usize; 3]; 2]) {
        let all = all.entry(label).or_insert([low, high]);
        all[0] = [0, 1, 2].map(|a| all[0][a].min(low[a]));
        all[1] = [0, 1, 2].map(|a| all[1][a].max(high[a]));
    }
    let [nx, _, nz] = scene.grid().shape();
    let of_slice = |z: usize| {
        let mut found = Ends::new();
        for (y, row) in scene.labels.slice_z(z).chunks_exact(nx).enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|a, b| a == b) {
                hold(&mut found, run[0], [[x, y, z], [x + run.len() - 1, y, z]]);
                x += run.len();
            }
        }
        found
    };
    let joined = |mut all: Ends, other: Ends| {
        other
            .into_iter()
            .for_each(|(label, ends)| hold(&mut all, label, ends));
        all
    };
    let ends = (0..nz)
        .into_par_iter()
        .map(of_slice)
        .reduce(Ends::new, joined);
    let frame = |[low, high]: [[usize; 3]; 2]| Frame {
        start: low.map(|v| v as i64),
        shape: [0, 1, 2].map(|a| high[a] - low[a] + 1),
    };
    ends.into_iter()
        .map(|(label, ends)| (label, frame(ends)))
        .collect()
}

/// Paints one label.
fn paint_texture(
    scene: &Scene,
    image: &mut Image,
    value: u16,
    frame: &Frame,
    texture: &TextureDraw,
    like: &Distribution,
) -> Result<()> {
    let labels = scene.labels.data();
    let own = || places(scene.grid(), frame).filter(|&i| labels[i] == value);
    let of_scan = || {
        let scan = scan_of(scene, "fill")?.data();
        Ok(own().map(|i| scan[i]).collect())
    };
    let Some(like) = like.quantiles(of_scan)? else {
        return Ok(());
    };
    let filled = texture.on(frame.shape, scene.grid().spacing_mm())?;
    let in_box = places(scene.grid(), frame).zip(filled);
    let mut values: Vec<f32> = in_box
        .filter(|&(i, _)| labels[i] == value)
        .map(|(_, v)| v)
        .collect();
    like.impose(&mut values);
    let data = image.data_mut();
    own().zip(values).for_each(|(i, v)| data[i] = v);
    Ok(())
}

/// Places in storage of a box's voxels, in its order.
fn places(grid: &Grid, frame: &Frame) -> impl Iterator<Item = usize> {
    let [nx, ny, _] = grid.shape();
    let [x0, y0, z0] = frame.start.map(|v| usize::try_from(v).unwrap_or(0));
    let [sx, sy, sz] = frame.shape;
    (z0..z0 + sz).flat_map(move |z| {
        (y0..y0 + sy).flat_map(move |y| (x0..x0 + sx).map(move |x| x + nx * (y + ny * z)))
    })
}

#[cfg(test)]
mod tests;
