//! Preparing one case for the store, and what that takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crossmod_volume::dataset::Case;
use crossmod_volume::intensity::Normalise;
use crossmod_volume::space::reoriented_grid;
use crossmod_volume::{Labels, io};
use sha2::{Digest as _, Sha256};

use super::entry::{self, Contents, Entry, KEY};
use super::places::Wanted;
use super::{OUTSIDE, SegmentationPlan};
use crate::segment::plan::Class;
use crate::segment::prepare::{read_channels, shown};
use crate::{Error, Result};

/// What of a plan decides how a case is prepared.
pub(super) fn plan_key(plan: &SegmentationPlan) -> Result<String> {
    serde_json::to_string(&(
        env!("CARGO_PKG_VERSION"),
        &plan.transpose,
        plan.spacing_mm,
        plan.dims,
        &plan.channels,
        &plan.classes,
        plan.ignore,
    ))
    .map_err(|e| Error::Recipe(e.to_string()))
}

/// Which channels are 0 outside what they show.
pub(super) fn masked(plan: &SegmentationPlan) -> Vec<bool> {
    let mut values = plan.classes.iter().flat_map(|class| class.members());
    let free = plan.ignore != Some(OUTSIDE) && values.all(|&value| value != OUTSIDE);
    let within = Normalise::ZScore {
        within_nonzero: true,
    };
    let channels = plan.channels.iter();
    channels
        .map(|c| free && c.normalisation == within)
        .collect()
}

/// One case's way into the store.
#[derive(Debug)]
pub(super) struct Job<'a> {
    case: &'a Case,
    label: &'a Path,
    path: PathBuf,
    key: [u8; KEY],
    cached: bool,
    /// Voxels as stored and at the plan's spacing.
    voxels: [u64; 2],
    channels: u64,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        plan: &SegmentationPlan,
        case: &'a Case,
        plan_key: &str,
        folder: &Path,
    ) -> Result<Self> {
        let Some(label) = case.label.as_deref() else {
            let message = format!(
                "expected a label map of every case to train on, found none of {}; leave it out",
                case.id
            );
            let path = case.images.first().map_or(folder, PathBuf::as_path);
            return Err(Error::data(message, path));
        };
        let mut hash = Sha256::new();
        hash.update(plan_key);
        hash.update(&case.id);
        let named = case.images.iter().map(PathBuf::as_path).chain([label]);
        let mut files = Vec::new();
        for path in named {
            files.extend(io::files_of(path)?);
        }
        for path in &files {
            let about = fs::metadata(path).map_err(|e| Error::io("read", e, path))?;
            let since = about.modified().ok();
            let since = since.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            hash.update([0]);
            hash.update(name.as_bytes());
            hash.update(about.len().to_le_bytes());
            hash.update(since.map_or(0, |time| time.as_nanos()).to_le_bytes());
        }
        let key = hash.finalize().into();
        let path = folder.join(format!("{}.case", case.id));
        let cached = entry::is_of(&path, &key);
        let voxels = if cached {
            [0; 2]
        } else {
            voxels(plan, case.images.first().map_or(label, PathBuf::as_path))?
        };
        Ok(Self {
            case,
            label,
            path,
            key,
            cached,
            voxels,
            channels: case.images.len() as u64,
        })
    }

    pub(super) fn is_cached(&self) -> bool {
        self.cached
    }

    /// Most bytes held while the case is prepared: its channels, a copy of one, and the label map
    /// before and after; or a file as it is read.
    pub(super) fn peak(&self) -> u64 {
        let [stored, working] = self.voxels;
        let most = stored.max(working);
        most.saturating_mul(4 * self.channels + 12)
            .saturating_add(stored.saturating_mul(8))
    }

    pub(super) fn sizes(&self) -> String {
        let [stored, working] = self.voxels;
        format!(
            "{} channels of {stored} voxels, {working} at the plan's spacing",
            self.channels
        )
    }

    pub(super) fn breach(&self, ram: u64, need: u64, why: &str, advice: &str) -> Error {
        let path = self.case.images.first();
        let path = path.map_or(self.label, PathBuf::as_path);
        breach(&self.case.id, ram, need, why, advice, path)
    }

    /// Prepares the case and writes its file.
    pub(super) fn prepare(&self, plan: &SegmentationPlan, wanted: &Wanted) -> Result<()> {
        let image = self.case.images.first();
        let image = image.map_or(self.label, PathBuf::as_path);
        let channels = read_channels(&self.case.images)?;
        let shown = if masked(plan).contains(&true) {
            Some(shown(&channels)?)
        } else {
            None
        };
        let prepared = plan.prepare(channels).map_err(|e| named(e, image))?;
        let labels = io::read_labels(self.label)?;
        self.check_values(plan, &labels)?;
        let labels = prepared.labels(&labels).map_err(|e| named(e, self.label))?;
        let mut labels = labels.into_parts().1;
        if let Some(shown) = shown {
            let shown = prepared.labels(&shown)?;
            for (label, shown) in labels.iter_mut().zip(shown.data()) {
                if *label == 0 && *shown == 0 {
                    *label = OUTSIDE;
                }
            }
        }
        if u32::try_from(labels.len()).is_err() {
            let message = format!(
                "expected at most 4294967295 voxels at the plan's spacing, found {}; enlarge \
                 spacing_mm in plan.toml",
                labels.len()
            );
            return Err(Error::data(message, image));
        }
        let contents = Contents {
            shape: prepared.grid().shape(),
            places: wanted.sample(&self.case.id, &labels),
            labels: &labels,
            channels: &prepared.channels,
        };
        contents.write(&self.path, &self.key)
    }

    /// Refuses values that the plan does not know.
    fn check_values(&self, plan: &SegmentationPlan, labels: &Labels) -> Result<()> {
        let members = plan.classes.iter().flat_map(Class::members);
        let known: BTreeSet<u16> = members.copied().chain(plan.ignore).collect();
        let unknown = labels.counts().into_keys().find(|v| !known.contains(v));
        unknown.map_or(Ok(()), |value| {
            let message = format!(
                "expected label values {known:?} as in the plan, found {value}; correct the file \
                 or add the label to dataset.json"
            );
            Err(Error::data(message, self.label))
        })
    }

    /// The prepared case.
    pub(super) fn entry(&self) -> Result<Entry> {
        Entry::open(&self.case.id, &self.path, &self.key)
    }
}

/// A budget that cannot be kept.
pub(super) fn breach(id: &str, ram: u64, need: u64, why: &str, advice: &str, path: &Path) -> Error {
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let message = format!(
        "expected to stay within {:.1} MB, {id} needs {:.1} MB ({need} bytes) {why}; raise --ram, \
         or {advice}",
        mb(ram),
        mb(need)
    );
    Error::data(message, path)
}

/// Says which file an error of geometry is about.
fn named(error: Error, path: &Path) -> Error {
    match error {
        Error::Volume(crossmod_volume::Error::Geometry(message)) => Error::data(message, path),
        other => other,
    }
}

/// Voxels of a case as stored, and before it is cut, at the plan's spacing.
fn voxels(plan: &SegmentationPlan, path: &Path) -> Result<[u64; 2]> {
    let (grid, _) = io::read_grid(path)?;
    let oriented = match plan.transpose.orientation {
        Some(orientation) => reoriented_grid(&grid, orientation),
        None => grid.clone(),
    };
    let mut found = oriented.spacing_mm();
    found.reverse();
    let growth = |&axis: &usize| found[plan.transpose.forward[axis]] / plan.spacing_mm[axis];
    let growth: f64 = plan.dims.axes().iter().map(growth).product();
    let stored = grid.len() as f64;
    // Casts of what is too large saturate.
    Ok([stored as u64, (stored * growth).ceil() as u64])
}
