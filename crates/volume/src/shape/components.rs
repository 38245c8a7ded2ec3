//! Connected components of a label map, their sizes, and removing the small ones.
//!
//! Which labels make up the mask is said by a function, so that one label, several taken together
//! or any foreground can be asked for.
//!
//! ```
//! use crossmod_volume::shape::{Components, Neighbourhood, keep_largest};
//! use crossmod_volume::{Grid, Labels};
//! let grid = Grid::with_spacing([7, 1, 1], [2.0, 1.0, 1.0])?;
//! let mut labels = Labels::new(grid, vec![1, 0, 1, 1, 0, 2, 2])?;
//! let ones = Components::of(&labels, |label| label == 1, Neighbourhood::Corners);
//! let sizes: Vec<f64> = ones.all().iter().map(|c| c.volume_mm3).collect();
//! assert_eq!(sizes, [2.0, 4.0]);
//! keep_largest(&mut labels, |label| label == 1, Neighbourhood::Corners);
//! assert_eq!(labels.data(), [0, 0, 1, 1, 0, 2, 2]);
//! # Ok::<(), crossmod_volume::Error>(())
//! ```

use serde::{Deserialize, Serialize};

use super::runs::{Neighbourhood, Run, connect};
use crate::Labels;

/// The connected components of a mask, in order of their first voxels in storage.
#[derive(Debug, Clone)]
pub struct Components {
    shape: [usize; 3],
    runs: Vec<Run>,
    components: Vec<Component>,
}

/// One component.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Component {
    /// Number of voxels.
    pub voxels: usize,
    /// Volume, mm³.
    pub volume_mm3: f64,
    /// The least (x, y, z) of its voxels.
    pub low: [usize; 3],
    /// The greatest (x, y, z) of its voxels.
    pub high: [usize; 3],
}

/// The least size that a component must have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Least {
    /// In voxels.
    Voxels(usize),
    /// In cubic millimetres.
    Mm3(f64),
}

impl Components {
    /// The components of the voxels whose label `of` says yes to.
    ///
    /// # Panics
    /// Where a row has 2³² voxels, or the mask as many unbroken rows.
    #[must_use]
    pub fn of(
        labels: &Labels,
        of: impl Fn(u16) -> bool + Sync,
        neighbourhood: Neighbourhood,
    ) -> Self {
        let shape @ [nx, ny, _] = labels.grid().shape();
        let data = labels.data();
        let found = connect(shape, neighbourhood, |x, row| of(data[x + nx * row]));
        let nothing = Component {
            voxels: 0,
            volume_mm3: 0.0,
            low: [usize::MAX; 3],
            high: [0; 3],
        };
        let mut components = vec![nothing; found.sets];
        for run in &found.runs {
            let component = &mut components[run.set as usize];
            let (y, z) = (run.row % ny, run.row / ny);
            let (first, last) = ([run.start as usize, y, z], [run.end as usize - 1, y, z]);
            component.voxels += run.len();
            for axis in 0..3 {
                component.low[axis] = component.low[axis].min(first[axis]);
                component.high[axis] = component.high[axis].max(last[axis]);
            }
        }
        let voxel = labels.grid().voxel_volume_mm3();
        for component in &mut components {
            component.volume_mm3 = component.voxels as f64 * voxel;
        }
        Self {
            shape,
            runs: found.runs,
            components,
        }
    }

    /// Every component, in order of first voxels.
    #[must_use]
    pub fn all(&self) -> &[Component] {
        &self.components
    }

    /// The place in [`Components::all`] of the one with most voxels; of those that tie, the first.
    #[must_use]
    pub fn largest(&self) -> Option<usize> {
        let most = self.components.iter().map(|c| c.voxels).max()?;
        self.components.iter().position(|c| c.voxels == most)
    }

    /// For each voxel, x fastest: 0, or 1 + the place of its component in [`Components::all`].
    #[must_use]
    pub fn map(&self) -> Vec<u32> {
        let mut map = vec![0; self.shape.iter().product()];
        for run in &self.runs {
            map[self.range(run)].fill(run.set + 1);
        }
        map
    }

    /// Sets the voxels of each component that `keep` says no to (by its place in
    /// [`Components::all`]) to 0. Returns how many voxels that were.
    ///
    /// # Panics
    /// Where the shape is not that of the label map these components are of.
    pub fn clear(&self, labels: &mut Labels, keep: impl Fn(usize, &Component) -> bool) -> usize {
        assert_eq!(labels.grid().shape(), self.shape, "the labels these are of");
        let components = self.components.iter().enumerate();
        let kept: Vec<bool> = components.map(|(i, c)| keep(i, c)).collect();
        let mut cleared = 0;
        for run in self.runs.iter().filter(|run| !kept[run.set as usize]) {
            labels.data_mut()[self.range(run)].fill(0);
            cleared += run.len();
        }
        cleared
    }

    fn range(&self, run: &Run) -> std::ops::Range<usize> {
        let start = run.row * self.shape[0];
        start + run.start as usize..start + run.end as usize
    }
}

/// Sets all but the largest component of the voxels whose label `of` says yes to, to 0. Returns
/// how many voxels that were.
pub fn keep_largest(
    labels: &mut Labels,
    of: impl Fn(u16) -> bool + Sync,
    neighbourhood: Neighbourhood,
) -> usize {
    let components = Components::of(labels, of, neighbourhood);
    let largest = components.largest();
    components.clear(labels, |i, _| Some(i) == largest)
}

/// Sets each component smaller than `least` of the voxels whose label `of` says yes to, to 0.
/// Returns how many voxels that were.
pub fn remove_smaller_than(
    labels: &mut Labels,
    of: impl Fn(u16) -> bool + Sync,
    least: Least,
    neighbourhood: Neighbourhood,
) -> usize {
    let components = Components::of(labels, of, neighbourhood);
    components.clear(labels, |_, component| match least {
        Least::Voxels(voxels) => component.voxels >= voxels,
        Least::Mm3(mm3) => component.volume_mm3 >= mm3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grid, rng::Rng};
    use proptest::prelude::*;

    fn speckle(shape: [usize; 3], density: f32, seed: u64) -> Labels {
        let mut rng = Rng::new(seed, 0, 0);
        let grid = Grid::with_spacing(shape, [0.5, 2.0, 3.0]).expect("a grid");
        let data = (0..grid.len()).map(|_| {
            if rng.chance(density) {
                1 + rng.below(2) as u16
            } else {
                0
            }
        });
        Labels::new(grid.clone(), data.collect()).expect("labels")
    }

    /// A flood from each voxel not yet reached, in order of storage.
    fn flood(labels: &Labels, of: impl Fn(u16) -> bool, neighbourhood: Neighbourhood) -> Vec<u32> {
        let shape = labels.grid().shape();
        let most = match neighbourhood {
            Neighbourhood::Faces => 1,
            Neighbourhood::Edges => 2,
            Neighbourhood::Corners => 3,
        };
        let mut map = vec![0; labels.data().len()];
        let mut count = 0;
        for seed in 0..map.len() {
            if map[seed] != 0 || !of(labels.data()[seed]) {
                continue;
            }
            count += 1;
            map[seed] = count;
            let mut open = vec![seed];
            while let Some(i) = open.pop() {
                let at = [
                    i % shape[0],
                    i / shape[0] % shape[1],
                    i / (shape[0] * shape[1]),
                ];
                for step in 0..27 {
                    let d = [step % 3, step / 3 % 3, step / 9].map(|v| v as i64 - 1);
                    let to = [0, 1, 2].map(|a| at[a] as i64 + d[a]);
                    let near = d.iter().map(|v| v.abs()).sum::<i64>() <= most
                        && (0..3).all(|a| (0..shape[a] as i64).contains(&to[a]));
                    if near {
                        let j = labels.grid().index(to.map(|v| v as usize));
                        if map[j] == 0 && of(labels.data()[j]) {
                            map[j] = count;
                            open.push(j);
                        }
                    }
                }
            }
        }
        map
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        #[test]
        fn as_a_flood(
            seed in any::<u64>(),
            shape in prop::array::uniform3(1usize..14),
            density in 0.05f32..0.95,
            pick in 0usize..3,
        ) {
            let labels = speckle(shape, density, seed);
            let touching =
                [Neighbourhood::Faces, Neighbourhood::Edges, Neighbourhood::Corners][pick];
            for of in [|l: u16| l != 0, |l: u16| l == 2] {
                let found = Components::of(&labels, of, touching);
                let map = found.map();
                prop_assert_eq!(&map, &flood(&labels, of, touching));
                for (i, component) in found.all().iter().enumerate() {
                    let voxels: Vec<usize> =
                        (0..map.len()).filter(|&v| map[v] == i as u32 + 1).collect();
                    prop_assert_eq!(component.voxels, voxels.len());
                    prop_assert!((component.volume_mm3 - 3.0 * voxels.len() as f64).abs() < 1e-9);
                    let places = voxels.iter().map(|v| [
                        v % shape[0], v / shape[0] % shape[1], v / (shape[0] * shape[1])
                    ]);
                    for axis in 0..3 {
                        let along = places.clone().map(|p| p[axis]);
                        prop_assert_eq!(Some(component.low[axis]), along.clone().min());
                        prop_assert_eq!(Some(component.high[axis]), along.max());
                    }
                }
            }
        }
    }

    #[test]
    fn diagonals_touch_by_neighbourhood() {
        let grid = Grid::with_spacing([2, 2, 1], [1.0; 3]).expect("a grid");
        let plane = Labels::new(grid, vec![1, 0, 0, 1]).expect("labels");
        let count = |labels: &Labels, n| Components::of(labels, |l| l == 1, n).all().len();
        assert_eq!(count(&plane, Neighbourhood::Faces), 2);
        assert_eq!(count(&plane, Neighbourhood::Edges), 1);
        let grid = Grid::with_spacing([2, 2, 2], [1.0; 3]).expect("a grid");
        let corner = Labels::new(grid, vec![1, 0, 0, 0, 0, 0, 0, 1]).expect("labels");
        assert_eq!(count(&corner, Neighbourhood::Edges), 2);
        assert_eq!(count(&corner, Neighbourhood::Corners), 1);
    }

    #[test]
    fn small_ones_go_and_other_labels_stay() {
        let grid = Grid::with_spacing([9, 1, 1], [1.0, 1.0, 2.0]).expect("a grid");
        let data = vec![1, 0, 1, 1, 2, 1, 1, 1, 2];
        let labels = Labels::new(grid, data).expect("labels");
        let ones = |label| label == 1;

        let mut kept = labels.clone();
        assert_eq!(keep_largest(&mut kept, ones, Neighbourhood::Faces), 3);
        assert_eq!(kept.data(), [0, 0, 0, 0, 2, 1, 1, 1, 2]);
        let mut all = labels.clone();
        keep_largest(&mut all, |label| label != 0, Neighbourhood::Faces);
        assert_eq!(all.data(), [0, 0, 1, 1, 2, 1, 1, 1, 2]);

        for least in [Least::Voxels(2), Least::Mm3(3.0)] {
            let mut kept = labels.clone();
            let gone = remove_smaller_than(&mut kept, ones, least, Neighbourhood::Faces);
            assert_eq!(gone, 1, "{least:?}");
            assert_eq!(kept.data(), [0, 0, 1, 1, 2, 1, 1, 1, 2]);
        }
        let mut none = labels.clone();
        assert_eq!(keep_largest(&mut none, |l| l == 5, Neighbourhood::Faces), 0);
        assert_eq!(none, labels);
    }
}
