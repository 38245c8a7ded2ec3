//! What a dataset is, in the few figures that planning needs; `fingerprint.json`.
//!
//! As nnU-Net's fingerprint (Isensee et al., doi:10.1038/s41592-020-01008-z): shapes before and
//! after cropping to the non-zero box, spacings, and the intensities of the foreground, about as many
//! voxels of each case; and beside it orientations and the volumes of the classes. Shapes and
//! spacings are `[z, y, x]` as stored, mm.

mod case;

use std::collections::BTreeMap;
use std::path::Path;

use crossmod_synth::{LabelFiles, LabelSource};
use crossmod_volume::dataset::{Dataset, Region};
use crossmod_volume::intensity::Statistics;
use crossmod_volume::intensity::foreground::PER_CASE;
use crossmod_volume::io::{self, write_atomic};
use crossmod_volume::space::Orientation;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::plan::{Class, holds_hu};
use crate::{Error, Progress, Result};
use case::{Reading, Sources};

/// Foreground voxels taken of a channel of all cases, or [`PER_CASE`] of each where that is more.
const SAMPLES: usize = 2_000_000;

/// The most of one case.
const MOST_OF_CASE: usize = 200_000;

/// Bytes that cases being read may take together; at least one is read.
const READING_BYTES: usize = 4 << 30;

/// Longest fingerprint read, bytes: a hundred thousand cases are about half.
const LONGEST: u64 = 64 << 20;

/// What planning needs to know of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// The dataset's name.
    pub dataset: String,
    /// Whether the cases are pictures: 2-D files without a third axis.
    pub slices: bool,
    /// The channels in order.
    pub channels: Vec<ChannelStatistics>,
    /// The classes, background first: labels in order of value, regions in the dataset's.
    pub classes: Vec<ClassStatistics>,
    /// The label of voxels that nobody has judged.
    pub ignore: Option<u16>,
    /// Median over cases of the share of voxels within the box of non-zero ones.
    pub median_relative_size_after_cropping: f64,
    /// The cases in order of id.
    pub cases: Vec<CaseStatistics>,
}

/// A channel and the intensities of its foreground.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelStatistics {
    /// Its name.
    pub name: String,
    /// The least and the greatest value of all images; `None` where there are label maps alone.
    pub range: Option<[f32; 2]>,
    /// Its intensities where there is any foreground; `None` where there are label maps alone.
    pub foreground: Option<Statistics>,
}

/// A class and how much of it there is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassStatistics {
    /// What it is.
    pub class: Class,
    /// Cases that hold it.
    pub cases: usize,
    /// Its share of all voxels that are not to be ignored.
    pub share: f64,
    /// Smallest, median and largest volume in the cases that hold it, mm³.
    pub volume_mm3: Option<[f64; 3]>,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseStatistics {
    /// Its id.
    pub id: String,
    /// Voxels along the stored z, y and x.
    pub shape: [usize; 3],
    /// The same of the smallest box that holds every voxel that is not zero in some channel.
    pub shape_after_crop: [usize; 3],
    /// Distances between voxel centres, mm.
    pub spacing_mm: [f64; 3],
    /// Where the stored x, y and z point.
    pub orientation: Orientation,
}

impl Fingerprint {
    /// The fingerprint of the labelled training cases of a dataset. Its classes are the dataset's
    /// regions where it has any. Voxels to be ignored are part of no figure but the cases' shapes.
    ///
    /// # Errors
    /// [`Error::Data`] where no case has a label map, or an image and its label map differ in shape;
    /// what reading gives; [`Error::Interrupted`] where `progress` says so.
    pub fn of(dataset: &Dataset, progress: &mut dyn Progress) -> Result<Self> {
        let names = if dataset.labels_declared {
            dataset.labels.clone()
        } else {
            dataset.discover_labels()?
        };
        let sources: Vec<Sources> = dataset
            .training
            .iter()
            .filter_map(|case| {
                Some(Sources {
                    id: &case.id,
                    images: &case.images,
                    labels: LabelFiles::Map(case.label.clone()?),
                })
            })
            .collect();
        if sources.is_empty() {
            return Err(Error::data(
                "expected training cases with label maps to plan from, found none; put them in \
                 labelsTr or labels",
                &dataset.root,
            ));
        }
        let about = About {
            dataset: dataset.name.clone(),
            slices: dataset.is_slices(),
            channels: &dataset.channels,
            classes: if dataset.regions.is_empty() {
                classes(&names)
            } else {
                regions(&names, &dataset.regions)
            },
            ignore: dataset.ignore,
        };
        about.read(&sources, progress)
    }

    /// The fingerprint of label maps without images, wherever [`LabelSource`] finds them: what there is
    /// to plan from where images are to be synthesised. The classes are the values that occur.
    ///
    /// # Errors
    /// [`Error::Synth`] where there are no label maps; what reading gives.
    pub fn of_label_maps(path: &Path, progress: &mut dyn Progress) -> Result<Self> {
        let source = LabelSource::open(path)?;
        let structures = source.scheme().structures().iter();
        let names: BTreeMap<u16, String> = structures
            .map(|(&value, structure)| (value, structure.name.clone()))
            .collect();
        let sources: Vec<Sources> = source
            .cases
            .iter()
            .map(|case| Sources {
                id: &case.id,
                images: &[],
                labels: case.labels.clone(),
            })
            .collect();
        let about = About {
            dataset: stem(path),
            slices: false,
            channels: &["synthetic".to_owned()],
            classes: classes(&names),
            ignore: None,
        };
        let mut found = about.read(&sources, progress)?;
        let occurs = |class: &ClassStatistics| class.class.value == 0 || class.cases > 0;
        found.classes.retain(occurs);
        Ok(found)
    }

    /// Forgets the intensities of all channels that do not hold HU: those of images that are made of
    /// label maps say nothing of a scanner's.
    pub fn forget_scales(&mut self) {
        for channel in &mut self.channels {
            if !holds_hu(channel) {
                (channel.range, channel.foreground) = (None, None);
            }
        }
    }

    /// Reads a fingerprint.
    ///
    /// # Errors
    /// What reading gives; [`Error::Run`] where the file is no fingerprint.
    pub fn load(path: &Path) -> Result<Self> {
        let text = super::plan::text_of(path, LONGEST)?;
        serde_json::from_str(&text).map_err(|e| {
            let message = format!(
                "expected a fingerprint, found an error ({e}); make it again with crossmod plan"
            );
            Error::run(message, path)
        })
    }

    /// Writes `fingerprint.json`.
    ///
    /// # Errors
    /// Where it cannot be written; nothing is then left behind.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::Recipe(e.to_string()))?;
        Ok(write_atomic(path, |out| writeln!(out, "{text}"))?)
    }

    /// The classes.
    #[must_use]
    pub fn classes(&self) -> Vec<Class> {
        self.classes.iter().map(|c| c.class.clone()).collect()
    }
}

fn stem(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match crossmod_volume::dataset::stem_and_ending(&whole) {
        Some((stem, _)) => stem.to_owned(),
        None => whole
            .file_name()
            .map_or_else(|| "dataset".into(), |n| n.to_string_lossy().into_owned()),
    }
}

fn classes(names: &BTreeMap<u16, String>) -> Vec<Class> {
    names
        .iter()
        .map(|(&value, name)| Class::new(value, name))
        .collect()
}

/// The background, then the regions in their order: of those found in a voxel the last is written.
fn regions(names: &BTreeMap<u16, String>, regions: &[Region]) -> Vec<Class> {
    let background = names.get(&0).map_or("background", |name| name);
    let region = |region: &Region| Class {
        value: region.value,
        name: region.name.clone(),
        values: if region.values == [region.value] {
            Vec::new()
        } else {
            region.values.clone()
        },
    };
    let regions = regions.iter().map(region);
    std::iter::once(Class::new(0, background))
        .chain(regions)
        .collect()
}

/// What is known before any file is read.
struct About<'a> {
    dataset: String,
    slices: bool,
    channels: &'a [String],
    classes: Vec<Class>,
    ignore: Option<u16>,
}

impl About<'_> {
    fn read(self, sources: &[Sources], progress: &mut dyn Progress) -> Result<Fingerprint> {
        progress.stage("fingerprint");
        let share = (SAMPLES / sources.len()).clamp(PER_CASE, MOST_OF_CASE);
        let together = together(sources)?;
        let mut readings: Vec<Reading> = Vec::with_capacity(sources.len());
        for some in sources.chunks(together) {
            if progress.cancelled() {
                let step = readings.len() as u64;
                return Err(Error::Interrupted { step });
            }
            let found: Vec<Result<Reading>> = some
                .par_iter()
                .map(|source| source.read(share, self.ignore))
                .collect();
            for reading in found {
                readings.push(reading?);
            }
            let done = readings.len();
            progress.update(
                done as f64 / sources.len() as f64,
                &format!("{done} of {} cases", sources.len()),
            );
        }
        let mut sizes: Vec<f64> = readings.iter().map(Reading::relative_size).collect();
        Ok(Fingerprint {
            median_relative_size_after_cropping: median(&mut sizes),
            channels: self
                .channels
                .iter()
                .enumerate()
                .map(|(i, name)| ChannelStatistics {
                    name: name.clone(),
                    range: readings
                        .iter()
                        .filter_map(|reading| reading.ranges.get(i).copied())
                        .reduce(|[a, b], [c, d]| [a.min(c), b.max(d)]),
                    foreground: pooled(&mut readings, i),
                })
                .collect(),
            classes: self
                .classes
                .into_iter()
                .map(|c| volumes(c, &readings))
                .collect(),
            dataset: self.dataset,
            slices: self.slices,
            ignore: self.ignore,
            cases: readings.into_iter().map(|r| r.case).collect(),
        })
    }
}

/// How many cases are read at a time: one a thread, fewer where they are large.
fn together(sources: &[Sources]) -> Result<usize> {
    let largest = sources
        .par_iter()
        .map(|source| {
            Ok((
                io::read_grid(source.labels.first())?.0.len(),
                source.images.len(),
            ))
        })
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        // A label map and an image, each perhaps also as it lies in the file, and the foreground.
        .map(|(voxels, channels)| voxels.saturating_mul(8 + 16 * channels.min(1) + 4 * channels))
        .max()
        .unwrap_or(1);
    Ok((READING_BYTES / largest.max(1)).clamp(1, rayon::current_num_threads()))
}

/// The foreground of a channel over all cases.
fn pooled(readings: &mut [Reading], channel: usize) -> Option<Statistics> {
    let mut all = Vec::new();
    for reading in readings {
        if let Some(samples) = reading.foreground.get_mut(channel) {
            all.append(samples);
        }
    }
    Statistics::of(&all)
}

fn volumes(class: Class, readings: &[Reading]) -> ClassStatistics {
    let count = |reading: &Reading| -> usize {
        let counts = &reading.counts;
        class
            .members()
            .iter()
            .filter_map(|value| counts.get(value))
            .sum()
    };
    let all: usize = readings.iter().flat_map(|r| r.counts.values()).sum();
    let own: usize = readings.iter().map(count).sum();
    let mut found: Vec<f64> = readings
        .iter()
        .filter(|reading| count(reading) > 0)
        .map(|reading| count(reading) as f64 * reading.case.spacing_mm.iter().product::<f64>())
        .collect();
    let middle = median(&mut found);
    ClassStatistics {
        class,
        cases: found.len(),
        share: own as f64 / all.max(1) as f64,
        volume_mm3: match *found {
            [] => None,
            [first, ..] => Some([first, middle, found[found.len() - 1]]),
        },
    }
}

/// The median, the mean of the middle two for an even count; sorts; 0 of none.
pub(super) fn median(values: &mut [f64]) -> f64 {
    percentile(values, 50.0)
}

/// A percentile, linear between order statistics; sorts; 0 of none.
pub(super) fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else {
        return 0.0;
    };
    let rank = percent / 100.0 * last as f64;
    let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
    low + (high - low) * rank.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;
    use crate::segment::plan::{Dims, PlanConfig, SegmentationPlan};
    use crossmod_volume::{Grid, Image, Labels};
    use std::fs;
    use std::path::PathBuf;

    /// Two cases of 4 × 3 × 2 voxels of 1 × 2 × 3 mm.
    fn trial(folder: &Path, images: &str) {
        for name in [images, "labels"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        let grid = Grid::with_spacing([4, 3, 2], [1.0, 2.0, 3.0]).expect("a grid");
        for (case, organ) in [("a", 6), ("b", 2)] {
            let path = |name: &str| folder.join(name).join(format!("{case}.nii.gz"));
            let values = (1..=24).map(|v| v as f32).collect();
            let image = Image::new(grid.clone(), values).expect("an image");
            io::write_image(&path(images), &image, &io::Storage::default()).expect("written");
            let values = (0..24).map(|v| if v < organ { 5 } else { 0 }).collect();
            let labels = Labels::new(grid.clone(), values).expect("labels");
            io::write_labels(&path("labels"), &labels).expect("written");
        }
    }

    #[test]
    fn foreground_and_volumes_are_those_of_the_cases() {
        let folder = tempfile::tempdir().expect("a folder");
        trial(folder.path(), "images");
        let dataset = Dataset::open(folder.path()).expect("a dataset");
        let print = Fingerprint::of(&dataset, &mut Silent).expect("a fingerprint");
        let organ = &print.classes[1];
        assert_eq!((organ.class.value, &*organ.class.name), (5, "label 5"));
        assert_eq!((organ.cases, organ.share), (2, 8.0 / 48.0));
        assert_eq!(organ.volume_mm3, Some([12.0, 24.0, 36.0]));
        let found = print.channels[0].foreground.expect("foreground");
        // 1 to 6, and 1 and 2.
        assert_eq!((found.min, found.max, found.mean), (1.0, 6.0, 3.0));
        assert_eq!(print.channels[0].range, Some([1.0, 24.0]));
        assert_eq!(print.cases[1].shape, [2, 3, 4]);
        assert_eq!(print.cases[1].spacing_mm, [3.0, 2.0, 1.0]);
        assert!((print.median_relative_size_after_cropping - 1.0).abs() < 1e-12);
    }

    #[test]
    fn regions_are_the_classes_and_ignored_voxels_count_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        trial(folder.path(), "images");
        let json = r#"{"channel_names": {"0": "T1"}, "labels": {"background": 0, "whole": [1, 5],
            "core": 5, "ignore": 6}, "regions_class_order": [2, 1]}"#;
        fs::write(folder.path().join("dataset.json"), json).expect("written");
        let grid = Grid::with_spacing([4, 3, 2], [1.0, 2.0, 3.0]).expect("a grid");
        // 1 to 6 are the core, 7 to 9 the rest of the whole, 10 to 14 nobody knows.
        let value = |v: u16| match v {
            0..6 => 5,
            6..9 => 1,
            9..14 => 6,
            _ => 0,
        };
        let labels = Labels::new(grid, (0..24).map(value).collect()).expect("labels");
        let path = folder.path().join("labels/a.nii.gz");
        io::write_labels(&path, &labels).expect("written");
        fs::remove_file(folder.path().join("labels/b.nii.gz")).expect("it is there");
        let dataset = Dataset::open(folder.path()).expect("a dataset");
        let print = Fingerprint::of(&dataset, &mut Silent).expect("a fingerprint");
        assert_eq!(print.ignore, Some(6));
        let found: Vec<_> = print
            .classes
            .iter()
            .map(|c| (&*c.class.name, c.share))
            .collect();
        let of = |n: f64| n / 19.0;
        let expected = [
            ("background", of(10.0)),
            ("whole", of(9.0)),
            ("core", of(6.0)),
        ];
        assert_eq!(found, expected);
        assert_eq!(print.classes[1].volume_mm3, Some([54.0; 3]));
        assert_eq!(print.channels[0].foreground.map(|f| f.max), Some(9.0));
        let plan = SegmentationPlan::make(&print, &PlanConfig::default()).expect("a plan");
        assert!(plan.has_regions());
        assert_eq!(
            (plan.ignore, plan.classes[1].members()),
            (Some(6), &[1, 5][..])
        );
        let written: Vec<u16> = plan.classes.iter().map(|class| class.value).collect();
        assert_eq!(written, [0, 2, 1]);
        assert!(
            plan.reasons
                .iter()
                .any(|r| r.starts_with("classes: 2 regions"))
        );
        assert!(plan.reasons.iter().any(|r| r.starts_with("ignore: ")));
    }

    #[test]
    fn label_maps_alone_are_enough() {
        let folder = tempfile::tempdir().expect("a folder");
        trial(folder.path(), "pictures");
        let labels = folder.path().join("labels");
        // Without numbers, files of one value each would be the organs of one case.
        for case in ["a", "b"] {
            let path = |name: &str| labels.join(format!("{name}.nii.gz"));
            fs::rename(path(case), path(&format!("{case}1"))).expect("renamed");
        }
        let print = Fingerprint::of_label_maps(&labels, &mut Silent).expect("a fingerprint");
        assert_eq!(print.dataset, "labels");
        assert_eq!((print.cases.len(), print.classes.len()), (2, 2));
        assert_eq!(print.channels[0].foreground, None);
        assert_eq!(print.channels[0].range, None);
        let empty = folder.path().join("empty");
        fs::create_dir(&empty).expect("a folder");
        let error = Fingerprint::of_label_maps(&empty, &mut Silent).expect_err("refused");
        assert!(matches!(error, Error::Synth(_)), "{error}");
    }

    #[test]
    fn a_dataset_without_images_has_its_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let labels = folder.path().join("labelsTr");
        fs::create_dir(&labels).expect("a folder");
        let grid = Grid::with_spacing([8, 8, 8], [1.0; 3]).expect("a grid");
        let mut data = vec![0; grid.len()];
        data[100] = 2;
        let map = Labels::new(grid, data).expect("labels");
        io::write_labels(&labels.join("a.nii.gz"), &map).expect("written");
        let json = r#"{"labels": {"background": 0, "spleen": 1, "liver": 2}, "channel_names": {"0": "CT"},
                       "numTraining": 1, "file_ending": ".nii.gz"}"#;
        fs::write(folder.path().join("dataset.json"), json).expect("written");
        let print = Fingerprint::of_label_maps(folder.path(), &mut Silent).expect("a fingerprint");
        let names: Vec<&str> = print.classes.iter().map(|c| &*c.class.name).collect();
        assert_eq!(names, ["background", "liver"]);
    }

    /// The plans of real sets; skipped without them.
    #[test]
    fn real_datasets_are_planned_as_one_who_knows_nnunet_expects() {
        let Some(data) = std::env::var_os("CROSSMOD_TEST_DATA").map(PathBuf::from) else {
            eprintln!("skipped: CROSSMOD_TEST_DATA is not set");
            return;
        };
        let plan = |folder: &str| {
            let dataset = Dataset::open(&data.join(folder)).expect(folder);
            let print = Fingerprint::of(&dataset, &mut Silent).expect(folder);
            SegmentationPlan::make(&print, &PlanConfig::default()).expect(folder)
        };
        let brain = plan("msd_hippocampus");
        assert_eq!((brain.dims, brain.patch), (Dims::Three, [40, 56, 40]));
        assert_eq!(brain.net.strides, [[1; 3], [2; 3], [2; 3], [2; 3]]);
        // 5 % of 166 cases, where the Decathlon's 260 give nnU-Net's 9.
        assert_eq!((brain.batch, brain.spacing_mm), (6, [1.0; 3]));
        let heart = plan("mscmr/bssfp");
        assert_eq!((heart.patch, heart.batch), ([12, 192, 192], 2));
        assert_eq!(heart.spacing_mm, [8.0, 1.25, 1.25]);
        assert_eq!(heart.transpose.orientation, None);
        assert_eq!(heart.net.kernels[..3], [[1, 3, 3], [1, 3, 3], [3, 3, 3]]);
        assert_eq!(heart.mirror_axes, [1]);
        let slices = plan("aanlib/ct");
        assert_eq!((slices.dims, slices.patch), (Dims::Two, [1, 224, 256]));
    }
}
