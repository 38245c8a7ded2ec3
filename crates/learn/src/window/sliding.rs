//! Overlapping windows over a prepared case, in memory that does not grow with its length.
//!
//! Windows of the plan's patch overlap by half, count most in their middle, and may be shown
//! mirrored as well and to several nets (Isensee et al., doi:10.1038/s41592-020-01008-z). A
//! volume smaller than a window is padded with 0, the mean of normalised images. Of mirrored
//! copies and nets the *probabilities* are averaged. nnU-Net averages what its nets give before
//! the softmax, within one configuration, and probabilities between configurations; probabilities
//! are bounded, so that no net outweighs others by the scale of its outputs, and a mean of them
//! needs no copy of its own: each is added where it belongs, with its share.
//!
//! The weight of a window is a product over axes, and so is the sum of the weights of all windows
//! that show a voxel: shares are known beforehand, and what is summed up is the result itself,
//! kept in steps of 1/65535 as `u16`. A window adds an error of at most half a step to a voxel, or
//! about one where it is shown in several copies, which round at places spread over the step so that
//! small probabilities are not lost. The order of windows does not change the sum.
//!
//! Slices are *pulled*, as [`argmax_onto`](crossmod_volume::space::argmax_onto) does: windows run
//! when a slice they show is asked for, and slices below those asked for are forgotten. Memory is
//!
//! 2 · outputs · ny · nx · (patch z + slices asked for at a time) bytes,
//!
//! of the working grid, plus what the net needs for one batch of windows. 117 classes on
//! 256 × 256 × 533 with windows of 128³ take 2.1 GB, whatever the 533 is.

mod axis;
mod net;
mod scratch;

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crossmod_volume::Image;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::segment::plan::{Dims, SegmentationPlan};
use crate::{Error, Result};
use axis::Axis;

pub use net::{PatchNet, Take, WindowBatch};
pub(super) use scratch::Scratch;

/// What a probability of 1 is kept as.
const ONE: f32 = 65535.0;

/// How a volume is covered with windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowConfig {
    /// Distance of windows, in windows: above 0, at most 1.
    pub step: f64,
    /// Whether every window is also shown mirrored, along the plan's axes, in all combinations.
    pub mirror: bool,
    /// Windows shown to a net at a time; 1 for volumes and 4 for slices if left out.
    pub batch: Option<usize>,
    /// Most bytes for slices that wait for further windows, MB (10⁶ bytes); no limit if left out.
    pub ram_mb: Option<usize>,
}

impl Default for WindowConfig {
    /// nnU-Net's (doi:10.1038/s41592-020-01008-z, online methods).
    fn default() -> Self {
        Self {
            step: 0.5,
            mirror: true,
            batch: None,
            ram_mb: None,
        }
    }
}

/// Told after each batch how many windows of how many are done; an error ends the work.
pub type OnWindows<'a> = dyn FnMut(usize, usize) -> Result<()> + 'a;

/// A volume's probabilities, made while they are read.
pub struct Sliding<'a> {
    channels: &'a [Image],
    nets: &'a [Box<dyn PatchNet>],
    on_windows: &'a mut OnWindows<'a>,
    scratch: Option<&'a mut Scratch>,
    case: PathBuf,
    /// z, y, x.
    axes: [Axis; 3],
    /// Neighbouring slices on each side that are channels.
    context: usize,
    outputs: usize,
    mirrors: Vec<[bool; 3]>,
    batch: usize,
    ram: u64,
    /// Windows done, counted x fastest, z slowest.
    done: usize,
    /// The first slice that is held, or would be.
    first: usize,
    /// `[output][y][x]` each.
    slices: VecDeque<Vec<u16>>,
    /// Slices no longer needed, to be used again.
    spare: Vec<Vec<u16>>,
}

impl<'a> Sliding<'a> {
    /// The probabilities of `nets`, each of `outputs` outputs, for the channels of a prepared case.
    /// `case` is its file, named where memory would not suffice.
    ///
    /// # Errors
    /// [`Error::Recipe`] where the step is not above 0 and at most 1, or there is no net.
    pub fn new(
        plan: &SegmentationPlan,
        config: &WindowConfig,
        (case, channels): (&Path, &'a [Image]),
        (outputs, nets): (usize, &'a [Box<dyn PatchNet>]),
        on_windows: &'a mut OnWindows<'a>,
    ) -> Result<Self> {
        if !(config.step > 0.0 && config.step <= 1.0) {
            return Err(Error::Recipe(format!(
                "expected a step of windows above 0 and at most 1, found {}",
                config.step
            )));
        }
        let Some(first) = channels.first().filter(|_| !nets.is_empty()) else {
            return Err(Error::Recipe(
                "expected a net and an image, found none".into(),
            ));
        };
        let [nx, ny, nz] = first.grid().shape();
        let [pz, py, px] = plan.patch;
        let (along_z, context, batch) = match plan.dims {
            Dims::Three => (Axis::new(nz, pz, config.step), 0, 1),
            Dims::Two => (Axis::of_slices(nz), 0, 4),
            Dims::TwoAndHalf { context } => (Axis::of_slices(nz), context, 4),
        };
        Ok(Self {
            channels,
            nets,
            on_windows,
            scratch: None,
            case: case.to_owned(),
            axes: [
                along_z,
                Axis::new(ny, py, config.step),
                Axis::new(nx, px, config.step),
            ],
            context,
            outputs,
            mirrors: mirrors(if config.mirror {
                &plan.mirror_axes
            } else {
                &[]
            }),
            batch: config.batch.unwrap_or(batch).max(1),
            ram: config.ram_mb.map_or(u64::MAX, |mb| mb as u64 * 1_000_000),
            done: 0,
            first: 0,
            slices: VecDeque::new(),
            spare: Vec::new(),
        })
    }

    /// Also writes every slice to a scratch file as soon as it is complete.
    pub(super) fn keep(mut self, scratch: &'a mut Scratch) -> Self {
        self.scratch = Some(scratch);
        self
    }

    /// Fills `out` with an output's probabilities in some slices (z), `[z][y][x]`. A range must
    /// not begin below the one before: the slices there are forgotten.
    ///
    /// # Errors
    /// What the nets give; [`Error::Data`] naming the case where more memory than allowed would be
    /// needed.
    ///
    /// # Panics
    /// Where the slices are not of the volume or forgotten, or `out` is not as long as they are.
    pub fn read(&mut self, output: usize, slices: Range<usize>, out: &mut [f32]) -> Result<()> {
        let area = self.area();
        assert_eq!(out.len(), slices.len() * area, "a place for each voxel");
        if self.done < self.windows() {
            self.expect_room(slices.len())?;
            self.forget(slices.start.min(self.complete()));
            while self.complete() < slices.end {
                self.next_windows()?;
            }
        }
        self.forget(slices.start);
        let first = self.first;
        assert!(first <= slices.start, "slices in order");
        let held = &self.slices;
        out.par_chunks_mut(area).zip(slices).for_each(|(out, z)| {
            let plane = &held[z - first][output * area..(output + 1) * area];
            for (out, &steps) in out.iter_mut().zip(plane) {
                *out = f32::from(steps) / ONE;
            }
        });
        Ok(())
    }

    /// All windows.
    pub(super) fn windows(&self) -> usize {
        self.axes.iter().map(|axis| axis.starts.len()).product()
    }

    /// Voxels of a slice.
    fn area(&self) -> usize {
        self.axes[1].voxels * self.axes[2].voxels
    }

    /// Which window of each axis is window `i`.
    fn window(&self, i: usize) -> [usize; 3] {
        let [_, ny, nx] = [0, 1, 2].map(|axis| self.axes[axis].starts.len());
        [i / (nx * ny), i / nx % ny, i % nx]
    }

    /// Slices that no further window shows.
    fn complete(&self) -> usize {
        if self.done == self.windows() {
            return self.axes[0].voxels;
        }
        let [k, ..] = self.window(self.done);
        usize::try_from(self.axes[0].starts[k]).unwrap_or(0)
    }

    fn expect_room(&self, asked: usize) -> Result<()> {
        let z = &self.axes[0];
        let layer = self.axes[1].starts.len() * self.axes[2].starts.len();
        let ahead = (self.batch - 1).div_ceil(layer);
        let slices = z.voxels.min(asked + z.patch + ahead);
        let bytes = 2 * (slices * self.outputs) as u64 * self.area() as u64;
        if bytes <= self.ram {
            return Ok(());
        }
        Err(Error::data(
            format!(
                "expected at most {} bytes for the slices that wait for further windows, found \
                 {bytes} for {slices} slices of {} × {} voxels and {} classes; raise the limit",
                self.ram, self.axes[2].voxels, self.axes[1].voxels, self.outputs
            ),
            &self.case,
        ))
    }

    fn forget(&mut self, below: usize) {
        while self.first < below {
            self.spare.extend(self.slices.pop_front());
            self.first += 1;
        }
    }

    /// Runs the next batch.
    fn next_windows(&mut self) -> Result<()> {
        let before = self.complete();
        let end = self.windows().min(self.done + self.batch);
        let windows: Vec<[usize; 3]> = (self.done..end).map(|i| self.window(i)).collect();
        let Some(&last) = windows.last() else {
            return Ok(());
        };
        let (inside, at) = self.axes[0].inside(last[0]);
        while self.first + self.slices.len() < at + inside.len() {
            let len = self.outputs * self.area();
            let mut slice = self.spare.pop().unwrap_or_default();
            slice.clear();
            slice.resize(len, 0);
            self.slices.push_back(slice);
        }
        let plain = self.cut(&windows);
        let copies = self.mirrors.len() * self.nets.len();
        let mut copy = 0;
        for mirror in self.mirrors.clone() {
            let batch = if mirror == [false; 3] {
                &plain
            } else {
                &net::mirrored(&plain, mirror)
            };
            for net in self.nets {
                net.run(batch, &mut |zs, values| {
                    self.add(&windows, mirror, (copy, copies), zs, values);
                    Ok(())
                })?;
                copy += 1;
            }
        }
        self.done = end;
        for z in before..self.complete() {
            if let Some(scratch) = &mut self.scratch {
                scratch.write(z, &self.slices[z - self.first])?;
            }
        }
        let all = self.windows();
        (self.on_windows)(self.done, all)
    }

    /// The voxels of some windows.
    fn cut(&self, windows: &[[usize; 3]]) -> WindowBatch {
        let shape @ [pz, py, px] = [0, 1, 2].map(|axis| self.axes[axis].patch);
        let neighbours = 2 * self.context + 1;
        let channels = self.channels.len() * neighbours;
        let mut values = vec![0.0; windows.len() * channels * pz * py * px];
        let (nz, nx) = (self.axes[0].voxels, self.axes[2].voxels);
        let mut volumes = values.chunks_mut(pz * py * px);
        for &[kz, ky, kx] in windows {
            let (zs, z0) = self.axes[0].inside(kz);
            let (ys, y0) = self.axes[1].inside(ky);
            let (xs, x0) = self.axes[2].inside(kx);
            for image in self.channels {
                for (shift, volume) in (0..neighbours).zip(&mut volumes) {
                    for (i, z) in zs.clone().enumerate() {
                        // Beyond the first and last slice, that one is repeated.
                        let from = (z0 + i + shift).saturating_sub(self.context).min(nz - 1);
                        let slice = image.slice_z(from);
                        for (j, y) in ys.clone().enumerate() {
                            let from = nx * (y0 + j) + x0;
                            let to = px * (y + py * z);
                            volume[to + xs.start..to + xs.end]
                                .copy_from_slice(&slice[from..from + xs.len()]);
                        }
                    }
                }
            }
        }
        WindowBatch {
            values,
            len: windows.len(),
            channels,
            shape,
        }
    }

    /// Adds what a net gave for some slices of (mirrored) windows.
    fn add(
        &mut self,
        windows: &[[usize; 3]],
        mirror: [bool; 3],
        (copy, copies): (usize, usize),
        zs: Range<usize>,
        values: &[f32],
    ) {
        let [pz, py, px] = [0, 1, 2].map(|axis| self.axes[axis].patch);
        let (area, patch_area) = (self.area(), py * px);
        assert_eq!(
            values.len(),
            windows.len() * self.outputs * zs.len() * patch_area,
            "probabilities of {} windows, {} outputs and slices {zs:?}",
            windows.len(),
            self.outputs
        );
        let nx = self.axes[2].voxels;
        let offset = (copy as f32 + 0.5) / copies as f32;
        for (&[kz, ky, kx], values) in windows
            .iter()
            .zip(values.chunks(self.outputs * zs.len() * patch_area))
        {
            let start = self.axes[0].starts[kz];
            let (ys, y0) = self.axes[1].inside(ky);
            let (xs, x0) = self.axes[2].inside(kx);
            let [wz, wy, wx] = [(0, kz), (1, ky), (2, kx)].map(|(a, k)| &self.axes[a].weights[k]);
            let first = self.first as i64;
            let shown = self
                .slices
                .iter_mut()
                .zip(first..)
                .filter_map(|(slice, z)| {
                    let z = usize::try_from(z - start).ok().filter(|&z| z < pz)?;
                    let from = if mirror[0] { pz - 1 - z } else { z };
                    zs.contains(&from)
                        .then(|| (slice, from - zs.start, wz[z] * ONE / copies as f32))
                });
            let shown: Vec<(&mut Vec<u16>, usize, f32)> = shown.collect();
            let add_row = |to: &mut [u16], from: &[f32], scale: f32| {
                let to = to.iter_mut().zip(&wx[xs.clone()]);
                if mirror[2] {
                    let from = &from[px - xs.end..px - xs.start];
                    add_shares(to.zip(from.iter().rev()), scale, offset);
                } else {
                    add_shares(to.zip(&from[xs.clone()]), scale, offset);
                }
            };
            shown.into_par_iter().for_each(|(slice, from, scale)| {
                let planes = slice.par_chunks_mut(area);
                let outputs = values.par_chunks(zs.len() * patch_area);
                planes.zip(outputs).for_each(|(plane, output)| {
                    let output = &output[from * patch_area..(from + 1) * patch_area];
                    for (j, y) in ys.clone().enumerate() {
                        let to = nx * (y0 + j) + x0;
                        let row = if mirror[1] { py - 1 - y } else { y };
                        add_row(
                            &mut plane[to..to + xs.len()],
                            &output[row * px..(row + 1) * px],
                            scale * wy[y],
                        );
                    }
                });
            });
        }
    }
}

/// Adds values with their weights, in whole steps.
fn add_shares<'a>(
    to: impl Iterator<Item = ((&'a mut u16, &'a f32), &'a f32)>,
    scale: f32,
    offset: f32,
) {
    for ((to, weight), value) in to {
        let steps = (value * weight * scale + offset) as u16;
        *to = to.saturating_add(steps);
    }
}

/// All combinations of mirrored axes, none first.
fn mirrors(axes: &[usize]) -> Vec<[bool; 3]> {
    let mut all = vec![[false; 3]];
    for &axis in axes {
        for i in 0..all.len() {
            let mut mirror = all[i];
            if !mirror[axis] {
                mirror[axis] = true;
                all.push(mirror);
            }
        }
    }
    all
}

#[cfg(test)]
pub(crate) mod tests;
