//! Whole volumes of one modality in memory, all of one size.

use crossmod_volume::dataset::Case;
use crossmod_volume::rng::{Rng, case_id};
use crossmod_volume::space::{
    Interpolation, Orientation, grid_with_spacing, reorient_image, reorient_labels, resample_image,
    resample_labels_linear,
};
use crossmod_volume::{Grid, Image, io};
use rayon::prelude::*;

use super::Order;
use super::case::{indices, labels_on, only_image};
use crate::Result;
use crate::plan::{Class, Modality};

/// One volume, `[z][y][x]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Intensities in [-1, 1].
    pub image: Vec<f32>,
    /// The class of every voxel, where the case is labelled.
    pub classes: Option<Vec<u16>>,
}

/// An image as the nets see it, and what is needed on the way back.
#[derive(Debug, Clone)]
pub struct PreparedVolume {
    /// The image at the working spacing, intensities in [-1, 1].
    pub image: Image,
    /// The image's own grid, its axes in the working order.
    pub upright: Grid,
}

/// Prepares one image: axes to right, anterior and superior, intensities to [-1, 1], voxels to
/// `spacing_mm` along every axis.
///
/// # Errors
/// What resampling gives.
pub fn prepare_volume(
    image: Image,
    modality: &Modality,
    spacing_mm: f64,
) -> Result<PreparedVolume> {
    let upright = reorient_image(&image, Orientation::RAS);
    let (standard, _) = modality.standardise.apply(upright);
    let target = grid_with_spacing(standard.grid(), [spacing_mm; 3])?;
    let image = if target == *standard.grid() {
        standard.clone()
    } else {
        resample_image(&standard, &target, Interpolation::Linear, -1.0)
    };
    Ok(PreparedVolume {
        image,
        upright: standard.grid().clone(),
    })
}

/// An array `[z][y][x]` cropped or extended about its centre from one size to another, `beyond`
/// where there was nothing.
///
/// # Panics
/// Where `from` does not describe the array.
#[must_use]
pub fn centred<T: Copy>(values: &[T], from: [usize; 3], to: [usize; 3], beyond: T) -> Vec<T> {
    assert_eq!(
        values.len(),
        from.iter().product::<usize>(),
        "the array's size"
    );
    let shift = [0, 1, 2].map(|a| from[a].div_ceil(2) as isize - to[a].div_ceil(2) as isize);
    let place = |i: usize, axis: usize| {
        let at = i as isize + shift[axis];
        usize::try_from(at).ok().filter(|&at| at < from[axis])
    };
    let mut out = Vec::with_capacity(to.iter().product());
    for z in 0..to[0] {
        for y in 0..to[1] {
            let row = place(z, 0)
                .zip(place(y, 1))
                .map(|(z, y)| (z * from[1] + y) * from[2]);
            for x in 0..to[2] {
                let at = row.zip(place(x, 2)).map(|(row, x)| row + x);
                out.push(at.map_or(beyond, |at| values[at]));
            }
        }
    }
    out
}

/// All volumes of one modality.
#[derive(Debug)]
pub struct Volumes {
    volumes: Vec<Volume>,
    order: Order,
    seed: u64,
    name: &'static str,
}

impl Volumes {
    /// Reads and prepares the cases; those that `labelled` says so of with their classes. `name`
    /// keeps their draws apart from other volumes'.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) where a label map lies on another grid or holds a value
    /// that is no class;
    /// what reading gives.
    pub fn load(
        cases: &[(Case, bool)],
        modality: &Modality,
        (spacing_mm, shape): (f64, [usize; 3]),
        classes: &[Class],
        (order, seed, name): (Order, u64, &'static str),
    ) -> Result<Self> {
        let volumes = cases
            .par_iter()
            .map(|(case, labelled)| load(case, *labelled, modality, (spacing_mm, shape), classes))
            .collect::<Result<_>>()?;
        Ok(Self {
            volumes,
            order,
            seed,
            name,
        })
    }

    /// Number of volumes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.volumes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.volumes.is_empty()
    }

    /// The volume of a step; see [`Order`].
    ///
    /// # Panics
    /// Where there are none; recipes refuse empty data before training.
    #[must_use]
    pub fn at(&self, step: u64) -> &Volume {
        let n = self.len();
        let place = match self.order {
            Order::Random => {
                let key = case_id(self.name) ^ step >> 32;
                Rng::new(self.seed, key, step as u32).below(n)
            }
            Order::Shuffled => {
                let (epoch, place) = (step / n as u64, (step % n as u64) as usize);
                let key = case_id(self.name).rotate_left(32);
                Rng::new(self.seed, key, epoch as u32).permutation(n)[place]
            }
        };
        &self.volumes[place]
    }
}

/// `[z, y, x]` of a grid.
pub(crate) fn depth_first(grid: &Grid) -> [usize; 3] {
    let [x, y, z] = grid.shape();
    [z, y, x]
}

fn load(
    case: &Case,
    labelled: bool,
    modality: &Modality,
    (spacing_mm, shape): (f64, [usize; 3]),
    classes: &[Class],
) -> Result<Volume> {
    let path = only_image(case)?;
    let image = io::read_image(path)?;
    let grid = image.grid().clone();
    let prepared = prepare_volume(image, modality, spacing_mm)?;
    let from = depth_first(prepared.image.grid());
    let values = centred(prepared.image.data(), from, shape, -1.0);
    let Some(label) = case.label.as_ref().filter(|_| labelled) else {
        return Ok(Volume {
            image: values,
            classes: None,
        });
    };
    let labels = labels_on(&grid, label)?;
    let upright = reorient_labels(&labels, Orientation::RAS);
    let working = resample_labels_linear(&upright, prepared.image.grid());
    let found = indices(working.data(), classes, label)?;
    let found: Vec<u16> = found.into_iter().map(u16::from).collect();
    Ok(Volume {
        image: values,
        classes: Some(centred(&found, from, shape, 0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 86 slices are padded to 88 and cropped back.
    #[test]
    fn padding_is_undone() {
        let values: Vec<u16> = (0..86 * 3 * 2).map(|i| i as u16).collect();
        let padded = centred(&values, [86, 3, 2], [88, 8, 8], 9999);
        assert_eq!(padded.iter().filter(|v| **v != 9999).count(), values.len());
        assert_eq!(centred(&padded, [88, 8, 8], [86, 3, 2], 0), values);
        let odd = centred(&values, [86, 3, 2], [45, 2, 3], 7);
        assert_eq!(odd.len(), 45 * 6);
    }

    #[test]
    fn every_volume_comes_once_an_epoch() {
        let volume = |i: usize| Volume {
            image: vec![i as f32],
            classes: None,
        };
        let volumes = |order| Volumes {
            volumes: (0..5).map(volume).collect(),
            order,
            seed: 3,
            name: "test",
        };
        let shuffled = volumes(Order::Shuffled);
        let epoch = |e: u64| {
            (0..5)
                .map(|i| shuffled.at(5 * e + i).image[0] as usize)
                .collect()
        };
        let orders: Vec<Vec<usize>> = (0..4).map(epoch).collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
        assert!(orders.iter().any(|order| *order != orders[0]));
        let random = volumes(Order::Random);
        let drawn: std::collections::BTreeSet<usize> =
            (0..60).map(|s| random.at(s).image[0] as usize).collect();
        assert_eq!(drawn.len(), 5);
    }
}
