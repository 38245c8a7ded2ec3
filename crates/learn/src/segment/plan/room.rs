//! The memory there is, and what a plan takes of it.
//!
//! Two limits: this machine's, which no estimate may pass, and, where it is asked for, nnU-Net's own
//! rule for graphics cards, a sum of feature maps that it found 8 GB to hold.

use super::memory::{self, Cost};
use super::why::seconds;
use super::{Dims, Net, NetKind, PlanConfig, SegmentationPlan};
use crate::segment::fingerprint::Fingerprint;

/// Of the memory allowed, what estimates may use. They lie above all that was measured, but other
/// nets than those may differ.
const MARGIN: f64 = 0.92;

/// What nnU-Net measured a net of 8 GB by: the sum of feature maps, and the batch it is for
/// (doi:10.1038/s41592-020-01008-z and arXiv:2404.09556, as in its planners).
struct Reference {
    feature_maps: f64,
    batch: f64,
}

impl Reference {
    fn of(kind: NetKind, dims: Dims) -> Self {
        let residual = matches!(kind, NetKind::ResidualEncoder | NetKind::ResUnet);
        let (feature_maps, batch) = match (dims, residual) {
            (Dims::Three, false) => (560e6, 2.0),
            (Dims::Three, true) => (680e6, 2.0),
            (_, false) => (85e6, 12.0),
            (_, true) => (135e6, 12.0),
        };
        Self {
            feature_maps,
            batch,
        }
    }
}

/// The memory there is for one dataset at one resolution.
pub(super) struct Room {
    ram_mb: Option<usize>,
    vram_gb: Option<f64>,
    least: usize,
    reference: Reference,
    /// Channels in and classes out.
    channels: [usize; 2],
    /// Bytes of the largest case.
    case: f64,
}

impl Room {
    pub(super) fn new(
        fingerprint: &Fingerprint,
        config: &PlanConfig,
        dims: Dims,
        spacing_mm: [f64; 3],
    ) -> Self {
        let channels = fingerprint.channels.len();
        let volume = |shape: [usize; 3], spacing: [f64; 3]| {
            (0..3)
                .map(|a| shape[a] as f64 * spacing[a])
                .product::<f64>()
        };
        let largest = fingerprint
            .cases
            .iter()
            .map(|case| volume(case.shape_after_crop, case.spacing_mm))
            .fold(0.0, f64::max);
        Self {
            ram_mb: config.ram_mb,
            vram_gb: config.vram_gb,
            least: config.min_batch.max(1),
            reference: Reference::of(config.kind, dims),
            channels: [channels * dims.slices(), fingerprint.classes.len()],
            case: (4 * channels + 2) as f64 * largest / volume([1; 3], spacing_mm),
        }
    }

    fn cost(&self, net: &Net, patch: [usize; 3], batch: usize) -> Cost {
        memory::cost(net, self.channels, patch, batch)
    }

    /// Bytes of the largest case being read and of two batches in waiting.
    fn loading(&self, patch: [usize; 3], batch: usize) -> f64 {
        let voxels = patch.iter().product::<usize>() as f64;
        let sample = voxels * (4 * self.channels[0] + 2) as f64;
        self.case + 2.0 * batch as f64 * sample
    }

    /// Bytes of training in all.
    fn total(&self, net: &Net, patch: [usize; 3], batch: usize) -> f64 {
        self.cost(net, patch, batch).bytes + self.loading(patch, batch)
    }

    /// Bytes that estimates may reach.
    fn allowed(&self) -> f64 {
        self.ram_mb
            .map_or(f64::INFINITY, |mb| mb as f64 * 1e6 * MARGIN)
    }

    /// The feature maps of nnU-Net's rule, where it is asked for.
    fn card(&self) -> Option<f64> {
        Some(self.reference.feature_maps * self.vram_gb? / 8.0)
    }

    /// Whether the smallest batch fits.
    pub(super) fn holds(&self, net: &Net, patch: [usize; 3]) -> bool {
        let maps = memory::feature_maps(net, self.channels, patch);
        let nominal = maps / self.reference.batch * self.least as f64;
        self.total(net, patch, self.least) <= self.allowed()
            && self.card().is_none_or(|card| nominal <= card)
    }

    /// MB that have to be allowed for the smallest batch.
    pub(super) fn wanted_mb(&self, net: &Net, patch: [usize; 3]) -> f64 {
        self.total(net, patch, self.least) / MARGIN / 1e6
    }

    /// The largest batch that fits; below the smallest where that only just does.
    pub(super) fn batch(&self, net: &Net, patch: [usize; 3]) -> f64 {
        let one = self.total(net, patch, 1);
        let sample = self.total(net, patch, 2) - one;
        let fits = ((self.allowed() - (one - sample)) / sample).floor();
        let maps = memory::feature_maps(net, self.channels, patch);
        match self.card() {
            Some(card) => fits.min((card / maps * self.reference.batch).round_ties_even()),
            None => fits,
        }
    }

    /// The limits, for a reason.
    pub(super) fn words(&self) -> String {
        match (self.ram_mb, self.vram_gb) {
            (Some(ram), Some(vram)) => format!("{ram} MB and nnU-Net's rule for {vram} GB"),
            (Some(ram), None) => format!("{ram} MB"),
            (None, Some(vram)) => format!("nnU-Net's rule for {vram} GB"),
            (None, None) => "without limit".to_owned(),
        }
    }
}

/// What a plan takes, MB, and the reasons that say so: memory and time.
pub(super) fn expense(
    plan: &SegmentationPlan,
    fingerprint: &Fingerprint,
    config: &PlanConfig,
) -> (usize, [String; 2]) {
    let room = Room::new(fingerprint, config, plan.dims, plan.spacing_mm);
    let cost = room.cost(&plan.net, plan.patch, plan.batch);
    let loading = room.loading(plan.patch, plan.batch);
    let ram_mb = ((cost.bytes + loading) / 1e6).ceil() as usize;
    let memory = format!(
        "memory: about {ram_mb} MB on the CPU, allowed {}: {:.0} for what a step keeps for its backward pass, \
         {:.0} for {:.1} million parameters and the program, {:.0} for the largest case and two \
         batches in waiting",
        room.words(),
        (cost.bytes - cost.fixed_bytes) / 1e6,
        cost.fixed_bytes / 1e6,
        cost.parameters / 1e6,
        loading / 1e6,
    );
    let giga = cost.operations / 1e9;
    let time = giga / config.gflops.max(1e-3);
    let time = format!(
        "time: {giga:.0} GFLOP a step, about {} at {:.0} GFLOP/s; 1000 steps take {:.1} h",
        seconds(time),
        config.gflops,
        time / 3.6,
    );
    (ram_mb, [memory, time])
}
