//! Reading, writing and resampling an image.

use std::path::{Path, PathBuf};

use crossmod_volume::io::{Dtype, Storage};
use crossmod_volume::rng::Rng;
use crossmod_volume::space::{Interpolation, grid_with_spacing, resample_aligned};
use crossmod_volume::{Grid, Image, io};
use rayon::prelude::*;
use serde_json::json;

use super::volumes::Task;

/// What the image is resampled to.
const SPACING_MM: [f64; 3] = [1.5; 3];

/// An image in memory.
pub(super) struct Held {
    pub(super) path: PathBuf,
    image: Image,
    storage: Storage,
}

impl Held {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let (image, storage) = io::read_image_stored(path)?;
        Ok(Self {
            path: path.to_owned(),
            image,
            storage,
        })
    }

    /// Writes it beside the file that it came from.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        let path = self.path.with_file_name("ours.nii.gz");
        Ok(io::write_image(&path, &self.image, &self.storage)?)
    }

    pub(super) fn resample(&self) -> anyhow::Result<()> {
        let grid = grid_with_spacing(self.image.grid(), SPACING_MM)?;
        let found = resample_aligned(&self.image, &grid, [Interpolation::Linear; 3])?;
        std::hint::black_box(found);
        Ok(())
    }
}

/// Writes an image of a shape, and tells what to do with it.
pub(crate) fn tasks(shape: [usize; 3], folder: &Path) -> anyhow::Result<Vec<Task>> {
    let path = folder.join("image.nii.gz");
    let storage = Storage {
        dtype: Dtype::I16,
        ..Storage::default()
    };
    io::write_image(&path, &body(shape)?, &storage)?;
    let [x, y, z] = shape;
    let task = |name: &str, what, library| Task {
        name: format!("{name} {x}×{y}×{z}"),
        what,
        with: json!(path),
        library,
    };
    Ok(vec![
        task("read .nii.gz", "read", "nibabel"),
        task("write .nii.gz", "write", "nibabel"),
        task("linear to 1.5 mm", "resample", "simpleitk"),
        task("linear to 1.5 mm", "resample", "scipy"),
    ])
}

/// A body of water with noise in air, HU.
fn body(shape: [usize; 3]) -> anyhow::Result<Image> {
    let grid = Grid::with_spacing(shape, [0.8, 0.8, 1.0])?;
    let [nx, ny, nz] = shape;
    let mut data = vec![0.0f32; grid.len()];
    data.par_chunks_mut(nx * ny)
        .zip(0..nz)
        .for_each(|(slice, z)| {
            let mut rng = Rng::new(1, z as u64, 0);
            for (i, v) in slice.iter_mut().enumerate() {
                let from = |at: usize, n: usize| (at as f32 + 0.5) / n as f32 - 0.5;
                let inside = (from(i % nx, nx) / 0.42).hypot(from(i / nx, ny) / 0.3) < 1.0;
                let organ = (from(i % nx, nx) * 20.0).sin() * (from(i / nx, ny) * 17.0).cos();
                let tissue = 40.0 + 60.0 * organ + 12.0 * rng.normal();
                *v = if inside { tissue.round() } else { -1000.0 };
            }
        });
    Ok(Image::new(grid, data)?)
}
