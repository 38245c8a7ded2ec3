//! The walk along the axis.
//!
//! Filtered views are kept in a ring that holds what one slab sees; a slab is back-projected when
//! its last view has come, then the next views overwrite what no later slab sees. Views come in
//! blocks: a block's fans are sampled at the nodes' angles once, and the fans that the next block's
//! first parallel views need as well are carried over.

use rayon::prelude::*;

use super::grid::Lattice;
use super::{Projections, Reconstruction};
use crate::Result;
use crate::backproject::{BEYOND, Backprojector, Pixels, Tile, Views};
use crate::filter::Filter;
use crate::geometry::Scan;
use crate::rebin::Rebinning;
use crate::simd::Level;

/// Views that are asked for at a time.
const BLOCK: usize = 128;

/// Longest side of a tile, pixels. Nodes about its border serve it alone, which costs more than that its
/// columns do not stay in a second-level cache: of 32 pixels, it took a third more of the processor.
const TILE: usize = 96;

/// Voxels that columns in a slab are filled up to a multiple of: the widest vector.
const STRIDE: usize = 16;

/// Everything that is worked out before the first view.
pub(super) struct Stream<'a> {
    scan: &'a Scan,
    lattice: &'a Lattice,
    rebinning: Rebinning,
    filter: Filter,
    backprojector: Backprojector,
    slabs: Vec<Slab>,
    /// Parallel views in all, floats of a filtered one, and how many the ring holds.
    views: usize,
    view_len: usize,
    slots: usize,
    scale: f32,
}

/// A stretch of voxels along the axis and the parallel views that see it.
#[derive(Debug, Clone)]
struct Slab {
    first: usize,
    depth: usize,
    views: std::ops::Range<usize>,
}

impl<'a> Stream<'a> {
    pub(super) fn plan(scan: &'a Scan, settings: &Reconstruction, lattice: &'a Lattice) -> Self {
        let scanner = scan.scanner();
        let rebinning = Rebinning::new(scan, settings.interpolation);
        let spacing = scanner.ray_spacing_mm();
        // Nodes on either side of the axis that the field of view asks for.
        let side = (scan.field_radius_mm() / spacing).ceil() as usize;
        let side = side.min(rebinning.nodes() / 2);
        let (first, count) = (rebinning.nodes() / 2 - side, 2 * side + 1);
        let filter = Filter::new(
            &settings.kernel,
            spacing,
            rebinning.nodes(),
            scanner.rows,
            [first, count],
        );
        let first_mm = rebinning.first_mm() + first as f64 * spacing;
        let backprojector = Backprojector::new(scan, first_mm, count, settings.aperture);
        let views = scan.views() - 2 * rebinning.margin();
        let pixels = &lattice.pixels;
        // As many as there must be, all of about one thickness.
        let count = pixels.depth.div_ceil(settings.slab).max(1);
        let thickness = pixels.depth.div_ceil(count).max(1);
        let slabs: Vec<Slab> = (0..pixels.depth)
            .step_by(thickness)
            .map(|first| {
                let depth = thickness.min(pixels.depth - first);
                let z = |voxel: usize| pixels.first_z_mm + voxel as f64 * pixels.z_step_mm;
                Slab {
                    first,
                    depth,
                    views: backprojector.seeing(z(first), z(first + depth - 1), views),
                }
            })
            .collect();
        let most = slabs.iter().map(|s| s.views.len()).max().unwrap_or(0);
        // One block more: it may begin before the slab's first view and end after its last one.
        let slots = (most.div_ceil(BLOCK) + 1) * BLOCK;
        Self {
            scan,
            lattice,
            view_len: filter.filtered_len() + BEYOND,
            rebinning,
            filter,
            scale: (1000.0 * backprojector.angle_step() / settings.water_mm) as f32,
            backprojector,
            slabs,
            views,
            slots,
        }
    }

    /// Bytes that [`Stream::run`] takes, beside the image.
    pub(super) fn bytes(&self) -> usize {
        let [a, b] = self.lattice.shape();
        let deepest = self.slabs.iter().map(|s| s.depth).max().unwrap_or(0);
        let ring = self.slots * self.view_len;
        let raw = BLOCK * self.scan.view_len();
        let fans = (BLOCK + 2 * self.rebinning.margin()) * self.rebinning.fan_len();
        let slab = a * b * deepest.next_multiple_of(STRIDE);
        // A tile's nodes and columns, for each thread.
        let threads = rayon::current_num_threads() * (1 << 19);
        4 * (ring + raw + fans + slab + threads)
    }

    pub(super) fn run(
        &self,
        projections: &dyn Projections,
        on_progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<f32>> {
        let level = Level::best();
        let mut image = vec![-1000.0; self.lattice.len()];
        let mut ring = vec![0.0; self.slots * self.view_len];
        let mut source = Source::new(self);
        // Blocks begin at multiples, so that a block never wraps around the ring's end.
        let mut ready = self.slabs.first().map_or(0, |s| s.views.start) / BLOCK * BLOCK;
        for (index, slab) in self.slabs.iter().enumerate() {
            while ready < slab.views.end {
                let end = (ready + BLOCK).min(self.views);
                source.fill(projections, level, ready..end, &mut ring)?;
                ready = end;
            }
            let views = Views {
                data: &ring,
                view_len: self.view_len,
                range: slab.views.clone(),
            };
            self.slab(level, slab, &views, &mut image);
            on_progress((index + 1) as f64 / self.slabs.len() as f64);
        }
        Ok(image)
    }

    /// Back-projects a slab into the image.
    fn slab(&self, level: Level, slab: &Slab, views: &Views<'_>, image: &mut [f32]) {
        let [a, b] = self.lattice.shape();
        let whole = &self.lattice.pixels;
        let pixels = Pixels {
            first_z_mm: whole.first_z_mm + slab.first as f64 * whole.z_step_mm,
            depth: slab.depth,
            ..*whole
        };
        let stride = slab.depth.next_multiple_of(STRIDE);
        // All of about one size, so that threads end together.
        let side = |n: usize| {
            let length = n.div_ceil(n.div_ceil(TILE));
            (0..n).step_by(length).map(move |i| i..(i + length).min(n))
        };
        let tiles: Vec<_> = side(b)
            .flat_map(|b| side(a).map(move |a| [a, b.clone()]))
            .collect();
        let blocks: Vec<Vec<f32>> = tiles
            .par_iter()
            .map_init(Tile::default, |tile, at| {
                let columns = tile.backproject(
                    level,
                    &self.backprojector,
                    views,
                    &pixels,
                    at.clone(),
                    stride,
                );
                self.layers(columns, stride, slab.depth)
            })
            .collect();
        let (strides, first, downwards) = self.lattice.strides();
        let up = |voxel: usize| {
            let away = (slab.first + voxel) * strides[2];
            if downwards {
                first - away
            } else {
                first + away
            }
        };
        for ([a, b], layers) in tiles.iter().zip(&blocks) {
            for (number, row) in layers.chunks_exact(a.len()).enumerate() {
                let (voxel, b) = (number / b.len(), b.start + number % b.len());
                let start = up(voxel) + b * strides[1] + a.start * strides[0];
                if strides[0] == 1 {
                    image[start..start + row.len()].copy_from_slice(row);
                } else {
                    for (i, value) in row.iter().enumerate() {
                        image[start + i * strides[0]] = *value;
                    }
                }
            }
        }
    }

    /// Columns `[pixel][z]`, filled up to `stride`, as layers `[z][pixel]` in HU.
    fn layers(&self, columns: &[f32], stride: usize, depth: usize) -> Vec<f32> {
        let pixels = columns.len() / stride;
        let mut layers = vec![0.0; pixels * depth];
        for (pixel, column) in columns.chunks_exact(stride).enumerate() {
            for (layer, value) in layers.chunks_exact_mut(pixels).zip(column) {
                layer[pixel] = value * self.scale - 1000.0;
            }
        }
        layers
    }
}

/// Where filtered views come from.
struct Source<'a> {
    stream: &'a Stream<'a>,
    raw: Vec<f32>,
    /// Fans at the nodes' angles, from number `first` on.
    fans: Vec<f32>,
    first: usize,
    held: usize,
}

impl<'a> Source<'a> {
    fn new(stream: &'a Stream<'a>) -> Self {
        let fans = BLOCK + 2 * stream.rebinning.margin();
        Self {
            stream,
            raw: vec![0.0; BLOCK * stream.scan.view_len()],
            fans: vec![0.0; fans * stream.rebinning.fan_len()],
            first: 0,
            held: 0,
        }
    }

    /// Makes parallel views, a block or less, and puts them into the ring.
    fn fill(
        &mut self,
        projections: &dyn Projections,
        level: Level,
        block: std::ops::Range<usize>,
        ring: &mut [f32],
    ) -> Result<()> {
        let stream = self.stream;
        let rebinning = &stream.rebinning;
        let fan_len = rebinning.fan_len();
        // Parallel view v is made of the fans v to v + 2 margin.
        let needed = block.start..block.end + 2 * rebinning.margin();
        if self.held > 0 && (self.first..=self.first + self.held).contains(&needed.start) {
            let gone = needed.start - self.first;
            self.fans
                .copy_within(gone * fan_len..self.held * fan_len, 0);
            self.held -= gone;
        } else {
            self.held = 0;
        }
        self.first = needed.start;
        while self.first + self.held < needed.end {
            let next = self.first + self.held;
            let count = (needed.end - next).min(BLOCK);
            let raw = &mut self.raw[..count * stream.scan.view_len()];
            projections.views(next..next + count, raw)?;
            let fans = &mut self.fans[self.held * fan_len..(self.held + count) * fan_len];
            fans.par_chunks_exact_mut(fan_len)
                .zip(raw.par_chunks_exact(stream.scan.view_len()))
                .for_each(|(fan, view)| rebinning.channels(level, view, fan));
            self.held += count;
        }
        let slot = block.start % stream.slots;
        let filtered = stream.filter.filtered_len();
        let about = (2 * rebinning.margin() + 1) * fan_len;
        let fans = &self.fans;
        ring[slot * stream.view_len..]
            .par_chunks_exact_mut(stream.view_len)
            .take(block.len())
            .enumerate()
            .for_each_init(
                || (vec![0.0; fan_len], vec![0.0; stream.filter.scratch_len()]),
                |(panels, scratch), (index, out)| {
                    let fans = &fans[index * fan_len..][..about];
                    rebinning.views(level, fans, panels);
                    stream
                        .filter
                        .apply(level, panels, scratch, &mut out[..filtered]);
                },
            );
        Ok(())
    }
}
