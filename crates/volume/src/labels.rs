//! A label map: one `u16` class per voxel of a [`Grid`].

use std::collections::BTreeMap;

use crate::{Error, Grid, Result};

/// Classes on a grid, x fastest; 0 is background. Never interpolated as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Labels {
    grid: Grid,
    data: Vec<u16>,
}

impl Labels {
    /// A label map from its values, x fastest.
    ///
    /// # Errors
    /// [`Error::Geometry`] where the number of values is not the grid's.
    pub fn new(grid: Grid, data: Vec<u16>) -> Result<Self> {
        Error::expect_len(&grid, data.len())?;
        Ok(Self { grid, data })
    }

    /// Where the values lie.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The values, x fastest.
    #[must_use]
    pub fn data(&self) -> &[u16] {
        &self.data
    }

    /// The values, x fastest.
    pub fn data_mut(&mut self) -> &mut [u16] {
        &mut self.data
    }

    /// Slice `z`: nx × ny values, x fastest.
    ///
    /// # Panics
    /// Where `z` lies outside the grid.
    #[must_use]
    pub fn slice_z(&self, z: usize) -> &[u16] {
        let n = self.grid.shape()[0] * self.grid.shape()[1];
        &self.data[z * n..(z + 1) * n]
    }

    /// How many voxels hold each value that occurs, in order of value.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<u16, usize> {
        let mut table = vec![0usize; usize::from(u16::MAX) + 1];
        self.data.iter().for_each(|&v| table[usize::from(v)] += 1);
        (0..=u16::MAX).zip(table).filter(|&(_, n)| n > 0).collect()
    }

    /// The grid and the values.
    #[must_use]
    pub fn into_parts(self) -> (Grid, Vec<u16>) {
        (self.grid, self.data)
    }
}
