//! Where the surface of a mask runs.

use crossmod_volume::shape::Points;
use crossmod_volume::{Grid, Labels};
use rayon::prelude::*;

use super::area::areas_mm2;
use super::bounds::Bounds;
use super::{Error, Result, Surface};

/// The pieces of a surface: where they are, and for each the kind whose size `sizes` tells.
pub(super) struct Pieces {
    pub(super) points: Points,
    pub(super) kinds: Vec<Vec<u8>>,
    pub(super) sizes: [f64; 256],
}

/// Voxels of a label map that count as inside.
pub(super) struct Mask<'a> {
    pub(super) labels: &'a Labels,
    pub(super) values: &'a [u16],
    /// Voxels of this map with this value are outside.
    pub(super) without: Option<(&'a Labels, u16)>,
}

impl Mask<'_> {
    /// Writes a 1 for each voxel inside of a row of the volume, from x on.
    fn row(&self, x: usize, y: usize, z: usize, out: &mut [u8]) {
        let start = self.labels.grid().index([x, y, z]);
        let row = &self.labels.data()[start..start + out.len()];
        match *self.values {
            [value] => {
                for (inside, &label) in out.iter_mut().zip(row) {
                    *inside = u8::from(label == value);
                }
            }
            _ => {
                for (inside, label) in out.iter_mut().zip(row) {
                    *inside = u8::from(self.values.contains(label));
                }
            }
        }
        if let Some((labels, ignored)) = self.without {
            let row = &labels.data()[start..start + out.len()];
            for (inside, &label) in out.iter_mut().zip(row) {
                *inside &= u8::from(label != ignored);
            }
        }
    }
}

/// A box of voxels that holds a mask, and how its rows are seen from within and without.
struct View<'a> {
    mask: &'a Mask<'a>,
    bounds: Bounds,
    shape: [usize; 3],
}

impl View<'_> {
    /// A row of the box, which may lie just beside it. Outside of the volume nothing is inside, but
    /// an axis of one voxel has no outside: there the volume is a plane.
    fn row(&self, y: isize, z: isize, out: &mut [u8]) {
        let place = |at: isize, axis: usize| match self.shape[axis] {
            1 => Some(0),
            n => usize::try_from(at).ok().filter(|&at| at < n),
        };
        match (place(y, 1), place(z, 2)) {
            (Some(y), Some(z)) => self.mask.row(self.bounds.low[0], y, z, out),
            _ => out.fill(0),
        }
    }
}

impl Pieces {
    /// The surface of a mask all of which lies in the box.
    ///
    /// # Errors
    /// Where the box has an axis too long to measure along.
    pub(super) fn of(mask: &Mask<'_>, bounds: Bounds, surface: Surface) -> Result<Self> {
        let grid = mask.labels.grid();
        let view = View {
            mask,
            bounds,
            shape: grid.shape(),
        };
        match surface {
            Surface::Elements => view.elements(grid.spacing_mm()),
            Surface::Voxels => view.border_voxels(grid.spacing_mm()),
        }
    }
}

impl View<'_> {
    /// Cells between voxels, each with the code of its eight corners.
    fn elements(&self, spacing_mm: [f64; 3]) -> Result<Pieces> {
        let size = self.bounds.size();
        let cells = [0, 1, 2].map(|axis| match self.shape[axis] {
            1 => 1,
            _ => size[axis] + 1,
        });
        // From one side of a cell to the other along x.
        let flat = self.shape[0] == 1;
        let slice = |z: usize| {
            let below = self.bounds.low[2] as isize + z as isize - 1;
            let mut row = vec![0; size[0]];
            // Of the voxels before and after each cell's place, for one y: this slice's corners at
            // bit 0, the next one's at bit 4.
            let mut pair = |y: isize, out: &mut [u8]| {
                let middle = if flat {
                    &mut out[..1]
                } else {
                    &mut out[1..=size[0]]
                };
                self.row(y, below, &mut row);
                middle.copy_from_slice(&row);
                self.row(y, below + 1, &mut row);
                middle.iter_mut().zip(&row).for_each(|(m, r)| *m |= r << 4);
                if flat {
                    out[1] = out[0];
                }
            };
            let mut before = vec![0; cells[0] + 1];
            let mut after = before.clone();
            let mut codes = vec![0; cells[0]];
            let mut found = Found::default();
            pair(self.bounds.low[1] as isize - 1, &mut before);
            for y in 0..cells[1] {
                pair((self.bounds.low[1] + y) as isize, &mut after);
                let corners = before.windows(2).zip(after.windows(2));
                for (code, (b, a)) in codes.iter_mut().zip(corners) {
                    *code = b[0] | b[1] << 1 | a[0] << 2 | a[1] << 3;
                }
                found.row(y, &codes);
                std::mem::swap(&mut before, &mut after);
            }
            found
        };
        let found = (0..cells[2]).into_par_iter().map(slice).collect();
        pieces(cells, spacing_mm, found, areas_mm2(spacing_mm))
    }

    /// Voxels inside with one of those that share a face with them outside.
    fn border_voxels(&self, spacing_mm: [f64; 3]) -> Result<Pieces> {
        let size = self.bounds.size();
        let flat = self.shape[0] == 1;
        let slice = |z: usize| {
            let z = (self.bounds.low[2] + z) as isize;
            let mut own = vec![0; size[0]];
            let mut beside = own.clone();
            let mut border = own.clone();
            let mut found = Found::default();
            for y in 0..size[1] {
                let at = (self.bounds.low[1] + y) as isize;
                self.row(at, z, &mut own);
                border.fill(1);
                for (y, z) in [(at - 1, z), (at + 1, z), (at, z - 1), (at, z + 1)] {
                    self.row(y, z, &mut beside);
                    border.iter_mut().zip(&beside).for_each(|(b, n)| *b &= n);
                }
                for x in 0..size[0] {
                    let before = x.checked_sub(1).map_or(0, |x| own[x]);
                    let after = own.get(x + 1).copied().unwrap_or(0);
                    let along = flat || before & after == 1;
                    border[x] = own[x] & u8::from(!(along && border[x] == 1));
                }
                found.row(y, &border);
            }
            found
        };
        let found = (0..size[2]).into_par_iter().map(slice).collect();
        pieces(size, spacing_mm, found, [1.0; 256])
    }
}

/// What was found in a slice.
#[derive(Default)]
struct Found {
    places: Vec<[u32; 2]>,
    kinds: Vec<u8>,
}

impl Found {
    /// Adds what of a row is neither all outside nor all inside.
    fn row(&mut self, y: usize, kinds: &[u8]) {
        const AT_ONCE: usize = 16;
        for (i, some) in kinds.chunks(AT_ONCE).enumerate() {
            // Most of a row is.
            let same = some.iter().all(|&k| k == some[0]);
            if same && (some[0] == 0 || some[0] == u8::MAX) {
                continue;
            }
            for (x, &kind) in (i * AT_ONCE..).zip(some) {
                if kind != 0 && kind != u8::MAX {
                    self.places.push([x as u32, y as u32]);
                    self.kinds.push(kind);
                }
            }
        }
    }
}

fn pieces(
    shape: [usize; 3],
    spacing_mm: [f64; 3],
    found: Vec<Found>,
    sizes: [f64; 256],
) -> Result<Pieces> {
    let lattice = Grid::with_spacing(shape, spacing_mm).map_err(Error::Volume)?;
    let mut points = Points::none(&lattice).map_err(Error::Volume)?;
    let (slices, kinds) = found.into_iter().map(|f| (f.places, f.kinds)).unzip();
    points.slices = slices;
    Ok(Pieces {
        points,
        kinds,
        sizes,
    })
}
