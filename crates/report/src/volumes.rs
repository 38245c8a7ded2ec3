//! Volumes for the viewer, as small as they may be: NIfTI, compressed.
//!
//! Whole numbers that fit are stored as they are, others as 16 bits over their range; a volume of more
//! than [`MOST_VOXELS`] is halved until it has fewer, its labels with it.

use std::path::Path;

use crossmod_volume::io::{Dtype, Storage, write_atomic, write_image, write_labels};
use crossmod_volume::space::{
    Interpolation, grid_with_shape, resample_image, resample_labels_nearest,
};
use crossmod_volume::{Grid, Image, Labels};

use crate::{Result, base64};

/// Voxels of a volume that is shown: what a browser holds several of.
pub const MOST_VOXELS: usize = 1 << 24;

/// Folder of volumes, beside the page.
const FOLDER: &str = "volumes";

/// What the viewer shows of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseVolumes {
    /// The image.
    pub image: Place,
    /// Label maps on it, and what they are: `truth`, or a run's name.
    pub overlays: Vec<(String, Place)>,
}

/// Where a page finds a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the page: the bytes of a `.nii.gz`.
    Inside(Vec<u8>),
    /// Beside the page, as a script: a page that is opened from a folder may not read other files.
    Beside {
        /// Its path from the page's folder.
        script: String,
        /// The bytes of a `.nii.gz`.
        gzip: Vec<u8>,
    },
    /// Where a server gives it.
    Served(String),
}

impl Place {
    /// A place beside the page; `name` is that of a file, without an ending.
    #[must_use]
    pub fn beside(name: &str, gzip: &[u8]) -> Self {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        };
        let name: String = name.chars().map(plain).collect();
        Self::Beside {
            script: format!("{FOLDER}/{name}.js"),
            gzip: gzip.to_vec(),
        }
    }
}

impl CaseVolumes {
    /// Writes what lies beside a page.
    pub(crate) fn write_beside(&self, page: &Path) -> Result<()> {
        let overlays = self.overlays.iter().map(|(_, place)| place);
        for place in std::iter::once(&self.image).chain(overlays) {
            if let Place::Beside { script, gzip } = place {
                let path = page.with_file_name(script);
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)
                        .map_err(|e| crossmod_volume::Error::io("make the folder", e, folder))?;
                }
                let text = format!(
                    "(window.VOLUMES ??= {{}})[\"{script}\"] = \"{}\";\n",
                    base64::encode(gzip)
                );
                write_atomic(&path, |file| file.write_all(text.as_bytes()))?;
            }
        }
        Ok(())
    }
}

/// An image as the bytes of a `.nii.gz`.
///
/// # Errors
/// [`Error::Volume`](crate::Error::Volume) where the folder for temporary files cannot be written.
pub fn packed_image(image: &Image) -> Result<Vec<u8>> {
    let grid = shown_grid(image.grid())?;
    let smaller = grid
        .as_ref()
        .map(|grid| resample_image(image, grid, Interpolation::Linear, 0.0));
    let image = smaller.as_ref().unwrap_or(image);
    let storage = storage(image.data());
    packed(|path| Ok(write_image(path, image, &storage)?))
}

/// A label map as the bytes of a `.nii.gz`.
///
/// # Errors
/// As [`packed_image`].
pub fn packed_labels(labels: &Labels) -> Result<Vec<u8>> {
    let grid = shown_grid(labels.grid())?;
    let smaller = grid
        .as_ref()
        .map(|grid| resample_labels_nearest(labels, grid));
    packed(|path| Ok(write_labels(path, smaller.as_ref().unwrap_or(labels))?))
}

/// The coarser grid that a volume is shown on; `None` where it is small enough.
fn shown_grid(grid: &Grid) -> Result<Option<Grid>> {
    let mut shape = grid.shape();
    while shape.iter().product::<usize>() > MOST_VOXELS {
        shape = shape.map(|n| n.div_ceil(2));
    }
    if shape == grid.shape() {
        return Ok(None);
    }
    Ok(Some(grid_with_shape(grid, shape)?))
}

/// The smallest type that holds the values, or 16 bits over their range.
fn storage(values: &[f32]) -> Storage {
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = finite().fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(v), b.max(v)));
    let whole = values.iter().all(|v| v.fract() == 0.0);
    if whole && low >= f32::from(i16::MIN) && high <= f32::from(i16::MAX) {
        return Storage {
            dtype: Dtype::I16,
            ..Storage::default()
        };
    }
    let (low, high) = (f64::from(low.min(high)), f64::from(high.max(low)));
    // One value alone is the intercept.
    let slope = if high > low {
        (high - low) / 65_000.0
    } else {
        1.0
    };
    Storage {
        dtype: Dtype::I16,
        slope,
        intercept: 0.5 * (low + high),
        ..Storage::default()
    }
}

fn packed(write: impl FnOnce(&Path) -> Result<()>) -> Result<Vec<u8>> {
    let at = |e, path: &Path| crossmod_volume::Error::io("write", e, path);
    let folder = tempfile::tempdir().map_err(|e| at(e, &std::env::temp_dir()))?;
    let path = folder.path().join("volume.nii.gz");
    write(&path)?;
    Ok(std::fs::read(&path).map_err(|e| at(e, &path))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::io::{read_grid, read_image_stored, read_labels};

    fn image(shape: [usize; 3], value: impl Fn(usize) -> f32) -> Image {
        let grid = Grid::with_spacing(shape, [1.0, 1.0, 2.0]).expect("a grid");
        let n = shape.iter().product();
        Image::new(grid, (0..n).map(value).collect()).expect("an image")
    }

    fn unpacked(bytes: &[u8]) -> (Image, Storage) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("v.nii.gz");
        std::fs::write(&path, bytes).expect("a file");
        read_image_stored(&path).expect("a volume")
    }

    #[test]
    fn whole_numbers_stay_and_others_keep_four_digits() {
        let hu = image([5, 4, 3], |i| i as f32 - 1024.0);
        let (back, stored) = unpacked(&packed_image(&hu).expect("packed"));
        assert_eq!((back.data(), stored.dtype), (hu.data(), Dtype::I16));
        assert_eq!(back.grid(), hu.grid());

        let mr = image([5, 4, 3], |i| 0.37 * i as f32 - 3.0);
        let (back, _) = unpacked(&packed_image(&mr).expect("packed"));
        let worst = back
            .data()
            .iter()
            .zip(mr.data())
            .map(|(a, b)| (a - b).abs());
        assert!(worst.fold(0.0, f32::max) < 3e-4);
        // One value alone has no range.
        let flat = image([2, 2, 2], |_| 0.5);
        assert_eq!(unpacked(&packed_image(&flat).expect("packed")).0, flat);
    }

    #[test]
    fn large_volumes_are_halved_with_their_labels() {
        let grid = Grid::with_spacing([300, 300, 200], [1.0; 3]).expect("a grid");
        let smaller = shown_grid(&grid).expect("a grid").expect("a smaller one");
        assert_eq!(smaller.shape(), [150, 150, 100]);
        assert_eq!(smaller.spacing_mm(), [2.0; 3]);
        let labels = Labels::new(grid, vec![7; 300 * 300 * 200]).expect("labels");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("v.nii.gz");
        std::fs::write(&path, packed_labels(&labels).expect("packed")).expect("a file");
        assert_eq!(read_grid(&path).expect("a grid").0.shape(), [150, 150, 100]);
        assert_eq!(
            read_labels(&path)
                .expect("labels")
                .counts()
                .into_keys()
                .collect::<Vec<u16>>(),
            [7]
        );
    }

    #[test]
    fn names_of_files_are_plain() {
        let Place::Beside { script, .. } = Place::beside("../p 1", &[]) else {
            panic!("beside");
        };
        assert_eq!(script, "volumes/.._p_1.js");
    }
}
