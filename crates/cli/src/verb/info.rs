//! `crossmod info`: what images, label maps and datasets hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crossmod_report::{Sheet, case};
use crossmod_volume::dataset::{Dataset, Region, stem_and_ending};
use crossmod_volume::io::{self, DicomOptions, Series, Storage};
use crossmod_volume::space::Orientation;
use crossmod_volume::{Error, Image};
use serde::Serialize;

use crate::context::{Context, Outcome};
use crate::dicom::DicomArgs;
use crate::error::Usage;

/// Tells shape, spacing, orientation, type and range of volumes, the values of label maps, and
/// the cases and labels of datasets.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    crossmod info scan.nii.gz\n  \
    crossmod info dicom/ --json\n  \
    crossmod info ct/ mr/\n  \
    crossmod info scan.nii.gz --png look.png --labels organs.nii.gz")]
pub(crate) struct Args {
    /// Volumes, DICOM series, folders of PNG slices, or datasets
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also draw slices of the volume, the only FILE then
    #[arg(long, value_name = "FILE.png")]
    png: Option<PathBuf>,
    /// The label map to lay over these slices
    #[arg(long, value_name = "FILE", requires = "png")]
    labels: Option<PathBuf>,
    #[command(flatten)]
    dicom: DicomArgs,
}

/// An image of whole numbers with at most this many values is shown as a label map.
const MOST_LABELS: usize = 64;

#[derive(Serialize)]
struct Report {
    files: Vec<Entry>,
}

/// One argument, in JSON.
#[derive(Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
enum Entry {
    Volume(Volume),
    Dataset(DatasetInfo),
    Dicom(DicomFolder),
    Error { file: String, error: String },
}

#[derive(Serialize)]
struct Volume {
    file: String,
    shape: [usize; 3],
    spacing_mm: [f64; 3],
    orientation: String,
    /// Whether the file says where its voxels lie; else the orientation is the format's own.
    placed: bool,
    /// Rows of the RAS affine, the last one left out.
    affine: [[f64; 4]; 3],
    #[serde(rename = "type")]
    dtype: String,
    slope: f64,
    intercept: f64,
    /// Of the finite samples.
    range: Option<[f32; 2]>,
    mean: Option<f64>,
    not_finite: usize,
    /// Voxels by value.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<u16, usize>>,
}

/// Several series, of which one is to be chosen.
#[derive(Serialize)]
struct DicomFolder {
    file: String,
    series: Vec<SeriesInfo>,
}

#[derive(Serialize)]
struct SeriesInfo {
    uid: String,
    number: Option<i64>,
    modality: String,
    description: String,
    slices: usize,
    size: [usize; 2],
}

#[derive(Serialize)]
struct DatasetInfo {
    file: String,
    name: String,
    channels: Vec<String>,
    labels: BTreeMap<u16, String>,
    labels_declared: bool,
    /// Classes of several values, which may overlap.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regions: Vec<RegionInfo>,
    /// The value of voxels that nobody has judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore: Option<u16>,
    /// Cases in which only some classes were drawn, and which.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    partly_labelled: BTreeMap<String, Vec<String>>,
    training: usize,
    training_labelled: usize,
    test: usize,
    test_labelled: usize,
    subjects: usize,
    slices: bool,
}

#[derive(Serialize)]
struct RegionInfo {
    name: String,
    /// The values of label maps that it is made of.
    values: Vec<u16>,
    /// What is written where it is found.
    value: u16,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    if let Some(png) = &args.png {
        let [file] = args.files.as_slice() else {
            return Err(Usage::error(format!(
                "expected one FILE with --png, found {}",
                args.files.len()
            )));
        };
        mosaic(file, &args.dicom.options(), args.labels.as_deref())?.write_png(png)?;
    }
    let options = args.dicom.options();
    let files: Vec<Entry> = args
        .files
        .iter()
        .map(|path| entry(path, &options))
        .collect();
    let failed = files.iter().any(|e| matches!(e, Entry::Error { .. }));
    let report = Report { files };
    context.result(&report, || {
        let texts: Vec<String> = report
            .files
            .iter()
            .map(|e| e.text(context.verbose))
            .collect();
        texts.join("\n")
    })?;
    Ok(if failed {
        Outcome::Findings
    } else {
        Outcome::Done
    })
}

/// Slices of a volume under its labels.
fn mosaic(file: &Path, options: &DicomOptions, labels: Option<&Path>) -> anyhow::Result<Sheet> {
    let (image, _) = io::read_image_with(file, options)?;
    let labels = labels.map(io::read_labels).transpose()?;
    let values = labels.iter().flat_map(|labels| labels.counts().into_keys());
    let names: Vec<(u16, String)> = values
        .filter(|&value| value != 0)
        .map(|value| (value, value.to_string()))
        .collect();
    Ok(case::mosaic(&image, labels.as_ref(), &names)?)
}

/// What a path holds. An error is an entry too: the other files are still told about.
fn entry(path: &Path, options: &DicomOptions) -> Entry {
    let volume = || {
        io::read_image_with(path, options)
            .map(|(image, storage)| Entry::Volume(Volume::of(&image, &storage, path)))
    };
    let found = match path.is_dir().then(|| Dataset::open(path)) {
        Some(Ok(dataset)) => Ok(Entry::Dataset(DatasetInfo::of(&dataset, path))),
        Some(Err(_)) if io::holds_dicom(path) => match io::list_series(path) {
            Ok(series) if series.len() > 1 && options.series.is_none() => {
                Ok(Entry::Dicom(DicomFolder::of(series, path)))
            }
            Ok(_) => volume(),
            Err(error) => Err(error),
        },
        Some(Err(error)) if !holds_slices(path) => Err(error),
        _ => volume(),
    };
    found.unwrap_or_else(|error: Error| Entry::Error {
        file: path.display().to_string(),
        error: error.to_string(),
    })
}

fn holds_slices(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|e| matches!(stem_and_ending(&e.path()), Some((_, ".png"))))
    })
}

impl DicomFolder {
    fn of(series: Vec<Series>, path: &Path) -> Self {
        let of = |s: Series| SeriesInfo {
            uid: s.uid,
            number: s.number,
            modality: s.modality,
            description: s.description,
            slices: s.slices,
            size: s.size,
        };
        Self {
            file: path.display().to_string(),
            series: series.into_iter().map(of).collect(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n  {} DICOM series\n", self.file, self.series.len());
        for s in &self.series {
            let number = s.number.map_or_else(String::new, |n| n.to_string());
            let [columns, rows] = s.size;
            text.push_str(&format!(
                "  {number:>6}  {:<4} {columns} × {rows} × {}  {}  {}\n",
                s.modality, s.slices, s.description, s.uid
            ));
        }
        text
    }
}

impl Volume {
    fn of(image: &Image, storage: &Storage, path: &Path) -> Self {
        let (grid, data) = (image.grid(), image.data());
        let finite = || data.iter().copied().filter(|v| v.is_finite());
        let count = finite().count();
        let range = finite().fold(None, |range: Option<[f32; 2]>, v| {
            Some(range.map_or([v, v], |[low, high]| [low.min(v), high.max(v)]))
        });
        let rows = grid.world_from_voxel().transpose().to_cols_array_2d();
        Self {
            file: path.display().to_string(),
            shape: grid.shape(),
            spacing_mm: grid.spacing_mm(),
            orientation: Orientation::of(grid).to_string(),
            placed: storage.is_placed(),
            affine: [rows[0], rows[1], rows[2]],
            dtype: storage.dtype.to_string(),
            slope: storage.slope,
            intercept: storage.intercept,
            range,
            mean: (count > 0).then(|| finite().map(f64::from).sum::<f64>() / count as f64),
            not_finite: data.len() - count,
            labels: labels(data),
        }
    }

    fn text(&self, affine: bool) -> String {
        let ([x, y, z], [dx, dy, dz]) = (self.shape, self.spacing_mm);
        let mut text = format!("{}\n  shape        {x} × {y} × {z}\n", self.file);
        text.push_str(&format!("  spacing      {dx:.4} × {dy:.4} × {dz:.4} mm\n"));
        let assumed = if self.placed {
            ""
        } else {
            ", assumed: the file does not say where it lies"
        };
        text.push_str(&format!("  orientation  {}{assumed}\n", self.orientation));
        if affine {
            for row in self.affine {
                let row = row.map(|v| format!("{v:>11.4}")).join(" ");
                text.push_str(&format!("  affine     {row}\n"));
            }
        }
        let scaled = (self.slope, self.intercept) != (1.0, 0.0) && self.slope != 0.0;
        let scale = if scaled {
            format!(", stored × {} + {}", self.slope, self.intercept)
        } else {
            String::new()
        };
        text.push_str(&format!("  type         {}{scale}\n", self.dtype));
        if let (Some([low, high]), Some(mean)) = (self.range, self.mean) {
            text.push_str(&format!("  range        {low} to {high}, mean {mean:.4}\n"));
        }
        if self.not_finite > 0 {
            text.push_str(&format!("  not finite   {} samples\n", self.not_finite));
        }
        for (value, voxels) in self.labels.iter().flatten() {
            text.push_str(&format!("  value {value:<6} {voxels} voxels\n"));
        }
        text
    }
}

/// Voxels by value where the samples can be labels.
pub(super) fn labels(data: &[f32]) -> Option<BTreeMap<u16, usize>> {
    let mut counts = BTreeMap::new();
    for &value in data {
        let whole = value.fract() == 0.0 && (0.0..=f32::from(u16::MAX)).contains(&value);
        *counts.entry(value as u16).or_insert(0) += 1;
        if !whole || counts.len() > MOST_LABELS {
            return None;
        }
    }
    Some(counts)
}

impl DatasetInfo {
    fn of(dataset: &Dataset, path: &Path) -> Self {
        let cases = || dataset.training.iter().chain(&dataset.test);
        Self {
            file: path.display().to_string(),
            name: dataset.name.clone(),
            channels: dataset.channels.clone(),
            labels: dataset.labels.clone(),
            labels_declared: dataset.labels_declared,
            regions: dataset.regions.iter().map(RegionInfo::of).collect(),
            ignore: dataset.ignore,
            partly_labelled: partly_labelled(dataset),
            training: dataset.training.len(),
            training_labelled: dataset.labelled().len(),
            test: dataset.test.len(),
            test_labelled: dataset.test.iter().filter(|c| c.label.is_some()).count(),
            subjects: cases().map(|c| &c.subject).collect::<BTreeSet<_>>().len(),
            slices: dataset.is_slices(),
        }
    }

    fn text(&self, verbose: bool) -> String {
        let what = if self.slices { "slices" } else { "volumes" };
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|(v, n)| format!("{v} {n}"))
            .collect();
        let declared = if self.labels_declared {
            ""
        } else {
            " (no dataset.json names others)"
        };
        let mut text = format!(
            "{}\n  dataset      {}\n  channels     {}\n  training     {} {what}, {} labelled\n  \
             test         {} {what}, {} labelled\n  patients     {}\n  labels       {}{declared}\n",
            self.file,
            self.name,
            self.channels.join(", "),
            self.training,
            self.training_labelled,
            self.test,
            self.test_labelled,
            self.subjects,
            labels.join(", "),
        );
        for (i, region) in self.regions.iter().enumerate() {
            let heading = if i == 0 { "regions" } else { "" };
            text.push_str(&format!("  {heading:<11}  {}\n", region.text()));
        }
        if let Some(value) = self.ignore {
            text.push_str(&format!(
                "  ignored      {value}: voxels that nobody has judged\n"
            ));
        }
        if !self.partly_labelled.is_empty() {
            text.push_str(&format!(
                "  partly       {} cases have only some of the labels drawn\n",
                self.partly_labelled.len()
            ));
            let shown = self.partly_labelled.iter().filter(|_| verbose);
            for (case, drawn) in shown {
                let drawn = match &*drawn.join(", ") {
                    "" => "none".to_owned(),
                    drawn => drawn.to_owned(),
                };
                text.push_str(&format!("               {case}: {drawn}\n"));
            }
        }
        text
    }
}

impl RegionInfo {
    fn of(region: &Region) -> Self {
        Self {
            name: region.name.clone(),
            values: region.values.clone(),
            value: region.value,
        }
    }

    /// Such as `whole tumour = 1 + 2 + 3, written as 1`.
    fn text(&self) -> String {
        let values: Vec<String> = self.values.iter().map(u16::to_string).collect();
        let (name, sum) = (&self.name, values.join(" + "));
        format!("{name} = {sum}, written as {}", self.value)
    }
}

/// The names of the classes that were drawn in each case in which not all were.
fn partly_labelled(dataset: &Dataset) -> BTreeMap<String, Vec<String>> {
    let name = |value: &u16| {
        let region = dataset.regions.iter().find(|r| r.value == *value);
        let label = || dataset.labels.get(value).cloned();
        region
            .map(|r| r.name.clone())
            .or_else(label)
            .unwrap_or_else(|| format!("label {value}"))
    };
    let cases = dataset.training.iter().chain(&dataset.test);
    cases
        .filter_map(|case| {
            let drawn = case.labelled.as_ref()?.iter().map(name).collect();
            Some((case.id.clone(), drawn))
        })
        .collect()
}

impl Entry {
    fn text(&self, verbose: bool) -> String {
        match self {
            Self::Volume(volume) => volume.text(verbose),
            Self::Dataset(dataset) => dataset.text(verbose),
            Self::Dicom(folder) => folder.text(),
            Self::Error { file, error } => format!("{file}\n  error        {error}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_few_whole_numbers() {
        assert_eq!(
            labels(&[0.0, 2.0, 2.0]),
            Some(BTreeMap::from([(0, 1), (2, 2)]))
        );
        assert_eq!(labels(&[0.0, 0.5]), None);
        assert_eq!(labels(&[-1.0]), None);
        assert_eq!(labels(&[f32::NAN]), None);
        let many: Vec<f32> = (0..100).map(|v| v as f32).collect();
        assert_eq!(labels(&many), None);
    }
}
