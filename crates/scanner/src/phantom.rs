//! Bodies of known shape, and what a scanner measures of them exactly.
//!
//! A [`Phantom`] is a sum of [`Object`]s: ellipsoids, cylinders and boxes, turned and cut at will,
//! each adding its value wherever it is. Values are attenuation over that of water, so air is 0,
//! water 1, and 0.001 is one Hounsfield unit. Places are world millimetres. Line integrals are the
//! lengths of the chords times the attenuation: no sampling is involved.

mod object;
mod rays;
mod shapes;
mod voxels;

use crossmod_volume::{Grid, Image};

pub use object::Object;
pub use rays::PhantomRays;

/// Objects whose values add up; air everywhere else.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Phantom {
    objects: Vec<Object>,
}

impl Phantom {
    /// Air.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One object more.
    #[must_use]
    pub fn with(mut self, object: Object) -> Self {
        self.objects.push(object);
        self
    }

    /// What it is made of.
    #[must_use]
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// The value at a place.
    #[must_use]
    pub fn value(&self, place_mm: [f64; 3]) -> f64 {
        let here = self.objects.iter().filter(|o| o.contains(place_mm));
        here.map(Object::value).sum()
    }

    /// The sum over the objects of value times chord (mm) along the ray from `origin_mm` in the
    /// direction of the unit vector `direction`.
    #[must_use]
    pub fn line_mm(&self, origin_mm: [f64; 3], direction: [f64; 3]) -> f64 {
        self.objects
            .iter()
            .map(|o| o.value() * o.chord_mm(origin_mm, direction))
            .sum()
    }

    /// The phantom in HU on a grid, each voxel the mean of `samples`³ places in it.
    #[must_use]
    pub fn voxels(&self, grid: &Grid, samples: usize) -> Image {
        voxels::voxels(self, grid, samples.max(1))
    }
}
