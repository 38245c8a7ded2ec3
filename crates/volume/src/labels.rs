//! A label map: one `u16` class per voxel of a [`Grid`].

use std::collections::BTreeMap;

use crate::{Error, Grid, Image, Result};

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

    /// The label map of an image whose samples were meant as labels: each is rounded to the nearest
    /// whole number from 0 to 65535; what is not finite becomes background.
    #[must_use]
    pub fn rounded(image: Image) -> Self {
        let (grid, data) = image.into_parts();
        // Casts hold values beyond the ends there, and make 0 of what is no number.
        let whole = |v: &f32| if v.is_finite() { v.round() as u16 } else { 0 };
        let data = data.iter().map(whole).collect();
        Self { grid, data }
    }

    /// The label map with each value replaced by that of the table, where it has one.
    #[must_use]
    pub fn renamed(mut self, table: &BTreeMap<u16, u16>) -> Self {
        for value in &mut self.data {
            *value = table.get(value).copied().unwrap_or(*value);
        }
        self
    }

    /// The same values on another grid of the same shape.
    ///
    /// # Errors
    /// [`Error::Geometry`] where the shape is another.
    pub fn placed(self, grid: &Grid) -> Result<Self> {
        expect_shape(&self.grid, grid)?;
        Self::new(grid.clone(), self.data)
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

/// Refuses to place samples on a grid of another shape.
pub(crate) fn expect_shape(found: &Grid, expected: &Grid) -> Result<()> {
    if found.shape() == expected.shape() {
        return Ok(());
    }
    Err(Error::geometry(format!(
        "expected the shape of the grid to be placed on, {:?}, found {:?}; resample instead",
        expected.shape(),
        found.shape()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_rounded_renamed_and_placed() {
        let grid = Grid::with_spacing([6, 1, 1], [1.0; 3]).expect("a grid");
        let samples = vec![0.4, 1.6, -3.0, 70_000.0, f32::NAN, f32::INFINITY];
        let labels = Labels::rounded(Image::new(grid.clone(), samples).expect("an image"));
        assert_eq!(labels.data(), [0, 2, 0, 65_535, 0, 0]);
        let labels = labels.renamed(&BTreeMap::from([(2, 0), (0, 2)]));
        assert_eq!(labels.data(), [2, 0, 2, 65_535, 2, 2]);
        let other = Grid::with_spacing([6, 1, 1], [2.0; 3]).expect("a grid");
        assert_eq!(
            labels.clone().placed(&other).expect("one shape").grid(),
            &other
        );
        let turned = Grid::with_spacing([1, 6, 1], [2.0; 3]).expect("a grid");
        assert!(labels.placed(&turned).is_err());
    }
}
