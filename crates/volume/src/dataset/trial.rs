//! Tiny datasets in a temporary folder, for the tests of this module.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use glam::DMat4;
use tempfile::TempDir;

use super::Dataset;
use crate::{Grid, Image, Labels, io};

/// A folder that is removed when the test ends.
pub(super) struct Trial(TempDir);

impl Trial {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// A folder with this `dataset.json`.
    pub(super) fn described(json: &str) -> Self {
        let trial = Self::new();
        std::fs::write(trial.root().join("dataset.json"), json).expect("a writable folder");
        trial
    }

    pub(super) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn open(&self) -> Dataset {
        Dataset::open(self.root()).expect("a dataset")
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        path
    }

    /// An empty file.
    pub(super) fn touch(&self, name: &str) {
        std::fs::write(self.file(name), b"").expect("a writable folder");
    }

    /// An image of one row of voxels, 1 mm apart.
    pub(super) fn image(&self, name: &str, samples: &[f32]) {
        self.image_at(name, samples, 0.0);
    }

    /// The same, moved by `shift_mm` along x.
    pub(super) fn image_at(&self, name: &str, samples: &[f32], shift_mm: f64) {
        let path = self.file(name);
        let image = Image::new(row(samples.len(), shift_mm), samples.to_vec()).expect("an image");
        io::write_image(&path, &image, &io::Storage::default()).expect("a writable folder");
    }

    /// A label map of one row of voxels, 1 mm apart.
    pub(super) fn labels(&self, name: &str, values: &[u16]) {
        let path = self.file(name);
        let labels = Labels::new(row(values.len(), 0.0), values.to_vec()).expect("a label map");
        io::write_labels(&path, &labels).expect("a writable folder");
    }

    /// A label map of the same sort, as FreeSurfer keeps it.
    pub(super) fn mgz(&self, name: &str, values: &[u8]) {
        let mut bytes = vec![0; 284];
        // Version, sizes, volumes; sizes of voxels, unit steps and the middle follow.
        for (at, n) in [(0, 1), (4, values.len() as i32), (8, 1), (12, 1), (16, 1)] {
            bytes[at..at + 4].copy_from_slice(&n.to_be_bytes());
        }
        bytes[29] = 1;
        let middle = [values.len() as f32 / 2.0, 0.5, 0.5];
        let one = [30, 34, 38, 42, 58, 74].map(|at| (at, 1.0));
        for (at, v) in one.into_iter().chain([78, 82, 86].into_iter().zip(middle)) {
            bytes[at..at + 4].copy_from_slice(&v.to_be_bytes());
        }
        bytes.extend(values);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&bytes).expect("memory");
        let packed = gzip.finish().expect("memory");
        std::fs::write(self.file(name), packed).expect("a writable folder");
    }
}

fn row(length: usize, shift_mm: f64) -> Grid {
    let place = DMat4::from_translation(glam::DVec3::new(shift_mm, 0.0, 0.0));
    Grid::new([length, 1, 1], place).expect("a grid")
}
