//! Every prepared training case: in memory while there is room, else read from a cache file, box by
//! box.
//!
//! Each case is prepared once ([`SegmentationPlan::prepare`]) and written to a file of its own, as
//! nnU-Net does (Isensee et al., doi:10.1038/s41592-020-01008-z); a later start with the same plan
//! and unchanged files finds it there. Then cases are read into memory in order until the budget is
//! spent. Whether a case is held or read again for each patch changes nothing in what is read.
//!
//! | part | does |
//! |---|---|
//! | `entry` | the cache file |
//! | `case` | preparing a case, and what that takes |
//! | `places` | where each class is, for oversampling |
//!
//! The budget holds for what the store itself takes: cases being prepared, cases held, and the
//! boxes that patches are cut from, one for each thread.

mod case;
mod entry;
mod places;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crossmod_volume::Grid;
use crossmod_volume::dataset::Case;
use crossmod_volume::space::Frame;
use rayon::prelude::*;

use super::SegmentationPlan;
use crate::batch::PatchConfig;
use crate::{Error, Progress, Result};
use case::Job;
use entry::Entry;
use places::Wanted;

/// Bytes that cases being prepared may take together where there is no budget; at least one is.
const PREPARING: u64 = 4 << 30;

/// How much larger a region a patch is cut from than it has sides for; nnU-Net's 1.4, and a little.
const LARGER: f64 = 1.5;

/// Voxels around that region that are read too.
const AROUND: usize = 6;

/// Bytes that a voxel of a box takes: a sample, and its share of a slice as it is read.
const PER_VOXEL: u64 = 5;

/// The label, on working grids, of voxels where nothing was shown, as outside a skull-stripped
/// brain: patches hold 0 there, whatever is done to the intensities around.
pub(crate) const OUTSIDE: u16 = u16::MAX;

/// Prepared cases.
#[derive(Debug)]
pub struct Store {
    entries: Vec<Entry>,
    /// The channels that are 0 where nothing was shown.
    masked: Vec<bool>,
    /// Bytes that a box of one channel may take while patches are cut; no limit without a budget.
    per_box: Option<u64>,
    ram: Option<u64>,
}

impl Store {
    /// Prepares the cases for a plan and holds as many as go into `ram` bytes; without it, all.
    /// Cases are written to `folder`, from where they are taken if they are there already and
    /// neither the plan nor the case's files have changed.
    ///
    /// # Errors
    /// [`Error::Data`] where a case has no label map or cannot be prepared, or where it cannot be
    /// within the budget, naming its file and the bytes; what reading and writing give;
    /// [`Error::Interrupted`] where `progress` says so.
    pub fn make(
        plan: &SegmentationPlan,
        cases: &[Case],
        folder: &Path,
        ram: Option<u64>,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        progress.stage("prepare");
        fs::create_dir_all(folder).map_err(|e| Error::io("create the folder", e, folder))?;
        let mut ids = BTreeSet::new();
        if let Some(twice) = cases.iter().find(|case| !ids.insert(&case.id)) {
            let message = format!(
                "expected every case once, found {} twice; rename one",
                twice.id
            );
            return Err(Error::data(message, folder));
        }
        let key = case::plan_key(plan)?;
        let jobs: Vec<Job<'_>> = cases
            .par_iter()
            .map(|case| Job::new(plan, case, &key, folder))
            .collect::<Result<_>>()?;
        prepare(plan, &jobs, ram, progress)?;
        let entries: Vec<Entry> = jobs.iter().map(Job::entry).collect::<Result<_>>()?;
        let mut store = Self {
            entries,
            masked: case::masked(plan),
            per_box: None,
            ram,
        };
        store.hold(plan, &jobs, progress)?;
        Ok(store)
    }

    /// Reads cases into memory until the budget is spent.
    fn hold(
        &mut self,
        plan: &SegmentationPlan,
        jobs: &[Job<'_>],
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let all: u64 = self.entries.iter().map(Entry::bytes).sum();
        let mut room = u64::MAX;
        if let Some(ram) = self.ram.filter(|&ram| ram < all) {
            let threads = rayon::current_num_threads() as u64;
            let reach = reach(plan);
            let boxes = |entry: &Entry| {
                let shape = entry.grid().shape();
                let voxels: usize = (0..3).map(|axis| shape[axis].min(reach[axis])).product();
                voxels as u64 * PER_VOXEL * threads
            };
            let (largest, need) = self.entries.iter().zip(jobs).fold((None, 0), |most, one| {
                let need = boxes(one.0);
                if need > most.1 {
                    (Some(one.1), need)
                } else {
                    most
                }
            });
            if let Some(job) = largest.filter(|_| need > ram) {
                let why = format!("for the boxes that {threads} threads cut patches from");
                return Err(job.breach(ram, need, &why, "use fewer --threads"));
            }
            room = ram - need;
            self.per_box = Some(need / threads);
        }
        progress.stage("load");
        let n = self.entries.len();
        for (i, entry) in self.entries.iter_mut().enumerate() {
            if progress.cancelled() {
                return Err(Error::Interrupted { step: 0 });
            }
            if entry.bytes() <= room {
                entry.hold()?;
                room -= entry.bytes();
            }
            progress.update((i + 1) as f64 / n as f64, &format!("{} of {n} read", i + 1));
        }
        Ok(())
    }

    /// Number of cases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no cases.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A case's id.
    ///
    /// # Panics
    /// Where there are not that many cases; so do the other functions that take one.
    #[must_use]
    pub fn id(&self, case: usize) -> &str {
        self.entries[case].id()
    }

    /// The shape of a case, on a grid without a place in the world.
    #[must_use]
    pub fn grid(&self, case: usize) -> &Grid {
        self.entries[case].grid()
    }

    /// Channels of each case.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.masked.len()
    }

    /// Cases held in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.entries.iter().filter(|e| e.is_held()).count()
    }

    /// Bytes of the cases held in memory.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let held = self.entries.iter().filter(|entry| entry.is_held());
        held.map(Entry::bytes).sum()
    }

    /// How many voxels of a list are known in a case: the classes of the plan but background, in
    /// order, and after them, where there is a label to ignore, the voxels that do not have it.
    #[must_use]
    pub fn places(&self, case: usize, list: usize) -> usize {
        self.entries[case].places(list)
    }

    /// Voxel (x, y, z) `k` of a list.
    ///
    /// # Errors
    /// Where the cache file cannot be read.
    pub fn place(&self, case: usize, list: usize, k: usize) -> Result<[usize; 3]> {
        self.entries[case].place(list, k)
    }

    /// Whether a channel is 0 where nothing was shown.
    pub(crate) fn masked(&self, channel: usize) -> bool {
        self.masked[channel]
    }

    /// The samples of a channel in a box within the case.
    pub(crate) fn image(&self, case: usize, channel: usize, frame: Frame) -> Result<Vec<f32>> {
        self.check(case, frame)?;
        self.entries[case].image(channel, frame)
    }

    /// The labels in a box within the case; [`OUTSIDE`] where nothing was shown.
    pub(crate) fn labels(&self, case: usize, frame: Frame) -> Result<Vec<u16>> {
        self.check(case, frame)?;
        self.entries[case].labels(frame)
    }

    fn check(&self, case: usize, frame: Frame) -> Result<()> {
        let entry = &self.entries[case];
        let need = frame.shape.iter().product::<usize>() as u64 * PER_VOXEL;
        let (Some(ram), Some(most)) = (self.ram, self.per_box) else {
            return Ok(());
        };
        if need <= most || entry.is_held() {
            return Ok(());
        }
        let why = format!(
            "for a box of {:?} voxels, with what is held already",
            frame.shape
        );
        let advice = "narrow the augmentation's scaling";
        Err(case::breach(
            entry.id(),
            ram,
            ram - most + need,
            &why,
            advice,
            entry.path(),
        ))
    }
}

/// The longest sides (x, y, z) of a box that a patch is cut from, however it is turned: none is
/// longer than the patch's diagonal, in millimetres, along the axes that it is turned about.
fn reach(plan: &SegmentationPlan) -> [usize; 3] {
    let turned: &[usize] = if PatchConfig::in_plane(plan) {
        &[1, 2]
    } else {
        &[0, 1, 2]
    };
    let mm = |axis: usize| plan.patch[axis] as f64 * plan.spacing_mm[axis];
    let diagonal = turned
        .iter()
        .map(|&axis| mm(axis).powi(2))
        .sum::<f64>()
        .sqrt();
    [2, 1, 0].map(|axis| {
        let side = if turned.contains(&axis) {
            (LARGER * diagonal / plan.spacing_mm[axis]).ceil() as usize
        } else {
            plan.patch[axis]
        };
        side.saturating_add(AROUND)
    })
}

/// Prepares what is not in the cache yet, as many at a time as the budget allows.
fn prepare(
    plan: &SegmentationPlan,
    jobs: &[Job<'_>],
    ram: Option<u64>,
    progress: &mut dyn Progress,
) -> Result<()> {
    let missing: Vec<&Job<'_>> = jobs.iter().filter(|job| !job.is_cached()).collect();
    let wanted = Wanted::new(plan);
    let allowed = ram.unwrap_or(PREPARING);
    let largest = missing.iter().max_by_key(|job| job.peak());
    if let (Some(ram), Some(job)) = (ram, largest)
        && job.peak() > ram
    {
        let why = format!("to be prepared ({})", job.sizes());
        return Err(job.breach(ram, job.peak(), &why, "spacing_mm in plan.toml"));
    }
    let mut rest = &missing[..];
    while !rest.is_empty() {
        if progress.cancelled() {
            let step = (missing.len() - rest.len()) as u64;
            return Err(Error::Interrupted { step });
        }
        let mut sum = 0u64;
        let fits = |job: &&&Job<'_>| {
            sum = sum.saturating_add(job.peak());
            sum <= allowed
        };
        let together = rest.iter().take_while(fits).count();
        let together = together.clamp(1, rayon::current_num_threads());
        let (now, later) = rest.split_at(together);
        now.par_iter()
            .try_for_each(|job| job.prepare(plan, &wanted))?;
        rest = later;
        let done = missing.len() - rest.len();
        let fraction = done as f64 / missing.len() as f64;
        progress.update(fraction, &format!("{done} of {} cases", missing.len()));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
