//! A scalar image: `f32` samples on a [`Grid`].

use std::borrow::Cow;

use crate::labels::expect_shape;
use crate::{Error, Grid, Result};

/// Intensities on a grid, x fastest. Interpolated when resampled.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    grid: Grid,
    data: Vec<f32>,
}

impl Image {
    /// An image from its samples, x fastest.
    ///
    /// # Errors
    /// [`Error::Geometry`] where the number of samples is not the grid's.
    pub fn new(grid: Grid, data: Vec<f32>) -> Result<Self> {
        Error::expect_len(&grid, data.len())?;
        Ok(Self { grid, data })
    }

    /// Where the samples lie.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The samples, x fastest.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The samples, x fastest.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Slice `z`: nx × ny samples, x fastest.
    ///
    /// # Panics
    /// Where `z` lies outside the grid.
    #[must_use]
    pub fn slice_z(&self, z: usize) -> &[f32] {
        let n = self.grid.shape()[0] * self.grid.shape()[1];
        &self.data[z * n..(z + 1) * n]
    }

    /// The same grid with each sample replaced by `f` of it.
    #[must_use]
    pub fn map(mut self, f: impl Fn(f32) -> f32) -> Self {
        self.data.iter_mut().for_each(|v| *v = f(*v));
        self
    }

    /// The same samples on another grid of the same shape.
    ///
    /// # Errors
    /// [`Error::Geometry`] where the shape is another.
    pub fn placed(self, grid: &Grid) -> Result<Self> {
        expect_shape(&self.grid, grid)?;
        Self::new(grid.clone(), self.data)
    }

    /// The grid and the samples.
    #[must_use]
    pub fn into_parts(self) -> (Grid, Vec<f32>) {
        (self.grid, self.data)
    }
}

/// To be used up, or only looked at where that is enough.
impl From<Image> for Cow<'_, Image> {
    fn from(image: Image) -> Self {
        Self::Owned(image)
    }
}

/// Copied where it is to be used up.
impl<'a> From<&'a Image> for Cow<'a, Image> {
    fn from(image: &'a Image) -> Self {
        Self::Borrowed(image)
    }
}
