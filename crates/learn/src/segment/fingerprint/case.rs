//! What one case adds to a fingerprint.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crossmod_synth::LabelFiles;
use crossmod_volume::intensity::sample_foreground;
use crossmod_volume::io;
use crossmod_volume::rng::{Rng, case_id};
use crossmod_volume::space::{Frame, Orientation};

use super::CaseStatistics;
use crate::{Error, Result};

/// Seed of the foreground's samples: a fingerprint is made again alike.
const SEED: u64 = 1234;

/// The files of a case.
pub(super) struct Sources<'a> {
    pub(super) id: &'a str,
    pub(super) images: &'a [PathBuf],
    pub(super) labels: LabelFiles,
}

/// What was found in a case.
pub(super) struct Reading {
    pub(super) case: CaseStatistics,
    /// Voxels of each label but the one to ignore.
    pub(super) counts: BTreeMap<u16, usize>,
    /// The least and the greatest value of each channel.
    pub(super) ranges: Vec<[f32; 2]>,
    /// Voxels of each channel's foreground.
    pub(super) foreground: Vec<Vec<f32>>,
}

impl Reading {
    pub(super) fn relative_size(&self) -> f64 {
        let voxels = |shape: [usize; 3]| shape.iter().product::<usize>() as f64;
        voxels(self.case.shape_after_crop) / voxels(self.case.shape)
    }
}

impl Sources<'_> {
    /// Reads the case, one channel at a time; `share` samples of each channel.
    pub(super) fn read(&self, share: usize, ignore: Option<u16>) -> Result<Reading> {
        let (labels, _) = self.labels.read()?;
        let mut grid = labels.grid().clone();
        let mut nonzero = None;
        let mut foreground = Vec::with_capacity(self.images.len());
        let mut ranges = Vec::with_capacity(self.images.len());
        for (channel, path) in self.images.iter().enumerate() {
            let image = io::read_image(path)?;
            if image.grid().shape() != labels.grid().shape() {
                let message = format!(
                    "expected an image of the shape of its label map, {:?}, found {:?}; run \
                     crossmod check",
                    labels.grid().shape(),
                    image.grid().shape()
                );
                return Err(Error::data(message, path));
            }
            if channel == 0 {
                // The label map's affine may be rounded otherwise.
                grid = image.grid().clone();
            }
            nonzero = joined(nonzero, Frame::of_nonzero(&[&image]));
            let finite = image.data().iter().copied().filter(|v| v.is_finite());
            ranges.push(finite.fold([f32::MAX, f32::MIN], |[a, b], v| [a.min(v), b.max(v)]));
            let mut rng = Rng::new(SEED, case_id(self.id), channel as u32);
            foreground.push(sample_foreground(
                &image,
                &labels,
                |l| l > 0 && Some(l) != ignore,
                share,
                &mut rng,
            )?);
        }
        let mut counts = labels.counts();
        counts.retain(|value, _| Some(*value) != ignore);
        let reversed = |[x, y, z]: [usize; 3]| [z, y, x];
        let shape = reversed(grid.shape());
        let [x, y, z] = grid.spacing_mm();
        Ok(Reading {
            case: CaseStatistics {
                id: self.id.to_owned(),
                shape,
                shape_after_crop: nonzero.map_or(shape, |frame| reversed(frame.shape)),
                spacing_mm: [z, y, x],
                orientation: Orientation::of(&grid),
            },
            counts,
            ranges,
            foreground,
        })
    }
}

/// The smallest box that holds both.
fn joined(a: Option<Frame>, b: Option<Frame>) -> Option<Frame> {
    let (Some(a), Some(b)) = (a, b) else {
        return a.or(b);
    };
    let end = |frame: &Frame, axis: usize| frame.start[axis] + frame.shape[axis] as i64;
    let start = [0, 1, 2].map(|axis| a.start[axis].min(b.start[axis]));
    Some(Frame {
        start,
        shape: [0, 1, 2].map(|axis| (end(&a, axis).max(end(&b, axis)) - start[axis]) as usize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::{Grid, Image, Labels};

    fn grid(shape: [usize; 3]) -> Grid {
        Grid::with_spacing(shape, [1.0, 2.0, 3.0]).expect("a grid")
    }

    #[test]
    fn the_box_holds_what_any_channel_shows() {
        let shown = |at: [usize; 3]| {
            let grid = grid([6, 5, 4]);
            let mut data = vec![0.0; grid.len()];
            data[grid.index(at)] = -1.0;
            Frame::of_nonzero(&[&Image::new(grid, data).expect("an image")])
        };
        let both = joined(shown([1, 2, 3]), shown([4, 1, 3])).expect("a box");
        assert_eq!((both.start, both.shape), ([1, 1, 3], [4, 2, 1]));
        assert_eq!(joined(None, Some(both)), Some(both));
        assert_eq!(joined(None, None), None);
    }

    #[test]
    fn shapes_are_told_slices_first_and_must_agree() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let whole = grid([5, 4, 3]);
        let mut data = vec![0.0; whole.len()];
        data[whole.index([2, 1, 1])] = 7.0;
        data[whole.index([3, 1, 2])] = 7.0;
        let image = Image::new(whole.clone(), data).expect("an image");
        io::write_image(&path("a.nii.gz"), &image, &io::Storage::default()).expect("written");
        let labels = |shape| Labels::new(grid(shape), vec![1; shape.iter().product()]);
        let write = |name: &str, shape| {
            io::write_labels(&path(name), &labels(shape).expect("labels")).expect("written");
        };
        write("l.nii.gz", [5, 4, 3]);
        write("short.nii.gz", [5, 4, 2]);
        let read = |label: &str| {
            let images = [path("a.nii.gz")];
            let sources = Sources {
                id: "a",
                images: &images,
                labels: LabelFiles::Map(path(label)),
            };
            sources.read(10, None)
        };
        let found = read("l.nii.gz").expect("a reading");
        assert_eq!(found.case.shape, [3, 4, 5]);
        assert_eq!(found.case.shape_after_crop, [2, 1, 2]);
        assert_eq!(found.case.spacing_mm, [3.0, 2.0, 1.0]);
        assert_eq!(found.case.orientation, Orientation::RAS);
        let mut samples = found.foreground[0].clone();
        samples.sort_by(f32::total_cmp);
        assert_eq!(samples.len(), 10);
        assert!(samples.iter().all(|v| [0.0, 7.0].contains(v)));
        assert_eq!(found.counts, BTreeMap::from([(1, 60)]));
        assert!((found.relative_size() - 4.0 / 60.0).abs() < 1e-12);
        let error = read("short.nii.gz").err().expect("refused").to_string();
        assert!(error.contains("crossmod check"), "{error}");
    }
}
