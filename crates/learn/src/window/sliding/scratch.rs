//! Probabilities of all outputs on disk while a case is being predicted.
//!
//! A file of `u16` in steps of 1/65535, native byte order, `[output][z][y][x]`: written slice by
//! slice in whatever order they are complete, or some slices of one output at a time; read by
//! outputs. It goes when dropped.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::ONE;
use crate::{Error, Result};

/// The file.
#[derive(Debug)]
pub(in crate::window) struct Scratch {
    path: PathBuf,
    file: File,
    /// z, and voxels of a slice.
    shape: [usize; 2],
}

impl Scratch {
    /// A hidden file in `folder` for volumes of `slices` slices of `area` voxels.
    pub(in crate::window) fn new(folder: &Path, slices: usize, area: usize) -> Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = folder.join(format!(".crossmod-{process}-{number}.probabilities"));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|e| Error::io("write probabilities", e, &path))?;
        Ok(Self {
            path,
            file,
            shape: [slices, area],
        })
    }

    /// Keeps slice `z`, `[output][y][x]`.
    pub(super) fn write(&mut self, z: usize, slice: &[u16]) -> Result<()> {
        for (output, plane) in slice.chunks(self.shape[1]).enumerate() {
            self.write_plane(output, z, plane.iter().copied())?;
        }
        Ok(())
    }

    /// Keeps some slices, from `z` on, of one output.
    pub(in crate::window) fn put(&mut self, output: usize, z: usize, values: &[f32]) -> Result<()> {
        for (z, plane) in (z..).zip(values.chunks(self.shape[1])) {
            let steps = plane.iter().map(|v| (v * ONE + 0.5) as u16);
            self.write_plane(output, z, steps)?;
        }
        Ok(())
    }

    fn write_plane(
        &mut self,
        output: usize,
        z: usize,
        steps: impl Iterator<Item = u16>,
    ) -> Result<()> {
        let bytes: Vec<u8> = steps.flat_map(u16::to_ne_bytes).collect();
        let at = self.place(output, z);
        self.file
            .seek(SeekFrom::Start(at))
            .and_then(|_| self.file.write_all(&bytes))
            .map_err(|e| Error::io("write probabilities", e, &self.path))
    }

    /// Where a slice of an output begins.
    fn place(&self, output: usize, z: usize) -> u64 {
        let [slices, area] = self.shape;
        2 * (area * (z + slices * output)) as u64
    }

    /// One output's probabilities.
    pub(in crate::window) fn read(&mut self, output: usize) -> Result<Vec<f32>> {
        let [slices, area] = self.shape;
        let mut values = Vec::with_capacity(slices * area);
        self.each(output, 0..slices, |p| values.push(p))?;
        Ok(values)
    }

    /// Adds `weight` times one output's probabilities in some slices to `out`.
    pub(in crate::window) fn add(
        &mut self,
        output: usize,
        slices: Range<usize>,
        weight: f32,
        out: &mut [f32],
    ) -> Result<()> {
        let mut out = out.iter_mut();
        self.each(output, slices, |p| {
            if let Some(out) = out.next() {
                *out += weight * p;
            }
        })
    }

    /// Tells one output's probabilities in some slices, in their order.
    fn each(
        &mut self,
        output: usize,
        slices: Range<usize>,
        mut tell: impl FnMut(f32),
    ) -> Result<()> {
        let mut bytes = vec![0; 2 * self.shape[1]];
        let start = self.place(output, slices.start);
        let read = || -> std::io::Result<()> {
            self.file.seek(SeekFrom::Start(start))?;
            for _ in slices {
                self.file.read_exact(&mut bytes)?;
                for b in bytes.chunks_exact(2) {
                    tell(f32::from(u16::from_ne_bytes([b[0], b[1]])) / ONE);
                }
            }
            Ok(())
        };
        read().map_err(|e| Error::io("read probabilities", e, &self.path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = fs::remove_file(&self.path);
    }
}
