//! Probabilities of all outputs on disk while a case is being predicted.
//!
//! A file of `u16` in steps of 1/65535, native byte order, `[output][z][y][x]`: written slice by
//! slice in whatever order they are complete, read output by output. It goes when dropped.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

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
        let path = folder.join(format!(".crossmod-{}.probabilities", std::process::id()));
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
        let [slices, area] = self.shape;
        let mut bytes = Vec::with_capacity(2 * area);
        for (output, plane) in slice.chunks(area).enumerate() {
            bytes.clear();
            bytes.extend(plane.iter().flat_map(|v| v.to_ne_bytes()));
            let at = 2 * (area * (z + slices * output)) as u64;
            self.file
                .seek(SeekFrom::Start(at))
                .and_then(|_| self.file.write_all(&bytes))
                .map_err(|e| Error::io("write probabilities", e, &self.path))?;
        }
        Ok(())
    }

    /// One output's probabilities.
    pub(in crate::window) fn read(&mut self, output: usize) -> Result<Vec<f32>> {
        let [slices, area] = self.shape;
        let mut values = Vec::with_capacity(slices * area);
        let mut bytes = vec![0; 2 * area];
        let start = 2 * (area * slices * output) as u64;
        let mut read = || -> std::io::Result<()> {
            self.file.seek(SeekFrom::Start(start))?;
            for _ in 0..slices {
                self.file.read_exact(&mut bytes)?;
                let steps = bytes
                    .chunks_exact(2)
                    .map(|b| u16::from_ne_bytes([b[0], b[1]]));
                values.extend(steps.map(|steps| f32::from(steps) / ONE));
            }
            Ok(())
        };
        read().map_err(|e| Error::io("read probabilities", e, &self.path))?;
        Ok(values)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = fs::remove_file(&self.path);
    }
}
