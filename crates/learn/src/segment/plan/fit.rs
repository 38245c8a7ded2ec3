//! From a fingerprint to a plan: everything decided in order, then patch and batch within the memory.
//!
//! nnU-Net's search (doi:10.1038/s41592-020-01008-z, online methods): start from a patch of the
//! median shape (never more than 256³ voxels, or 2048², in the proportions of the spacing), shorten the
//! side that is largest relative to the median shape until a batch of two fits, then enlarge the batch
//! as far as memory and 5 % of the dataset's voxels allow.

use super::axes::{self, Frame};
use super::normalise;
use super::room::{self, Room};
use super::spacing;
use super::topology::Topology;
use super::why::{self, figure, times};
use super::{Channel, Dims, Net, NetKind, PlanConfig, SegmentationPlan, Transpose};
use crate::segment::fingerprint::{Fingerprint, median};
use crate::{Error, Result};

/// Voxels of the first patch of volumes, and of slices.
const LARGEST: [f64; 2] = [16_777_216.0, 4_194_304.0];

/// Median slices up to which the slices of a volume are segmented one by one.
const FEW_SLICES: f64 = 4.0;

/// A spacing grown by this at a time until patches cover a quarter of a volume.
const COARSER: f64 = 1.03;

/// The share of the median shape that a patch covers at least, lest a coarser net be planned too.
const COVERED: f64 = 0.25;

/// Steps of growth tried; the spacing is then 10¹³ times as large.
const MOST_GROWTH: usize = 1000;

impl SegmentationPlan {
    /// Plans for a dataset at its own resolution.
    ///
    /// # Errors
    /// [`Error::Recipe`] where nothing fits the memory or the data have no third axis to be 3-D in.
    pub fn make(fingerprint: &Fingerprint, config: &PlanConfig) -> Result<Self> {
        Ok(Planner::new(fingerprint, config)?.at(None)?.plan)
    }

    /// Plans for the dataset at a coarser resolution, where patches of `fine` show less than a
    /// quarter of a case and those of the coarser plan would show twice as much as that: the first of
    /// nnU-Net's two stages.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub fn make_coarser(
        fine: &Self,
        fingerprint: &Fingerprint,
        config: &PlanConfig,
    ) -> Result<Option<Self>> {
        if fine.dims != Dims::Three {
            return Ok(None);
        }
        let config = PlanConfig {
            dims: Some(Dims::Three),
            ..config.clone()
        };
        let planner = Planner::new(fingerprint, &config)?;
        let voxels = |shape: [f64; 3]| shape.iter().product::<f64>();
        let whole = planner.median_shape;
        let mut spacing = planner.spacing_mm;
        let mut share = voxels(fine.patch.map(|p| p as f64)) / voxels(whole);
        let mut found = None;
        for _ in 0..MOST_GROWTH {
            if share >= COVERED {
                break;
            }
            let largest = spacing.iter().copied().fold(0.0, f64::max);
            let finer = spacing.map(|s| largest / s > 2.0);
            let any = finer.contains(&true);
            for axis in 0..3 {
                if finer[axis] || !any {
                    spacing[axis] *= COARSER;
                }
            }
            let at = planner.at(Some(spacing))?;
            share = voxels(at.plan.patch.map(|p| p as f64)) / voxels(at.exact_shape);
            found = Some(at);
        }
        Ok(found
            .filter(|at| voxels(whole) / voxels(at.exact_shape) >= 2.0)
            .map(|at| at.plan))
    }
}

/// What does not depend on the resolution.
struct Planner<'a> {
    fingerprint: &'a Fingerprint,
    config: &'a PlanConfig,
    dims: Dims,
    transpose: Transpose,
    /// Turned and swapped, as all that follows.
    spacing_mm: [f64; 3],
    median_shape: [f64; 3],
    mirror_axes: Vec<usize>,
    channels: Vec<Channel>,
    reasons: Reasons,
}

/// The reasons that do not depend on the resolution.
struct Reasons {
    dims: String,
    transpose: String,
    spacing: String,
    normalisation: Vec<String>,
    mirror: String,
}

/// A plan and the median shape before rounding.
struct At {
    plan: SegmentationPlan,
    exact_shape: [f64; 3],
}

impl<'a> Planner<'a> {
    fn new(fingerprint: &'a Fingerprint, config: &'a PlanConfig) -> Result<Self> {
        if fingerprint.cases.is_empty() || fingerprint.classes.len() < 2 {
            return Err(Error::Recipe(format!(
                "expected cases with at least one class beside background to plan for, found {} \
                 cases and {} classes in all; check the labels",
                fingerprint.cases.len(),
                fingerprint.classes.len()
            )));
        }
        let frame = Frame::of(fingerprint);
        let (spacing_mm, why_spacing) = spacing::target(&frame.cases);
        let transpose = frame.transpose(spacing_mm);
        let turned = |values: [f64; 3]| transpose.forward.map(|axis| values[axis]);
        let shapes: Vec<[f64; 3]> = frame
            .cases
            .iter()
            .map(|case| turned(spacing::resampled(case, spacing_mm)))
            .collect();
        let along = |axis: usize| shapes.iter().map(move |s| s[axis]).collect::<Vec<f64>>();
        let median_shape = [0, 1, 2].map(|axis| median(&mut along(axis)));
        let spacing_mm = turned(spacing_mm);
        let (dims, why_dims) = choose_dims(config.dims, median_shape)?;
        let (mirror_axes, why_mirror) = axes::mirror(fingerprint, transpose, dims.axes());
        let relative = fingerprint.median_relative_size_after_cropping;
        let (channels, normalisation): (Vec<Channel>, Vec<String>) = fingerprint
            .channels
            .iter()
            .map(|channel| {
                let (normalisation, why) = normalise::choose(channel, relative);
                let name = channel.name.clone();
                let why = format!("normalisation of {name}: {why}");
                (
                    Channel {
                        name,
                        normalisation,
                    },
                    why,
                )
            })
            .unzip();
        let swapped = match transpose.forward {
            [0, 1, 2] => "the thickest axis is z already".to_owned(),
            forward => format!("axes taken in the order {forward:?}, so that the thickest is z"),
        };
        Ok(Self {
            fingerprint,
            config,
            dims,
            transpose,
            spacing_mm,
            median_shape,
            mirror_axes,
            channels,
            reasons: Reasons {
                dims: format!("dims: {why_dims}"),
                transpose: format!("orientation: {}; {swapped}", frame.why),
                spacing: why_spacing,
                normalisation,
                mirror: format!("mirroring: {why_mirror}"),
            },
        })
    }

    /// The plan at a spacing, the target's where there is none.
    fn at(&self, coarser: Option<[f64; 3]>) -> Result<At> {
        let spacing_mm = coarser.unwrap_or(self.spacing_mm);
        let scaled =
            |shape: [f64; 3]| [0, 1, 2].map(|a| shape[a] * self.spacing_mm[a] / spacing_mm[a]);
        let exact_shape = scaled(self.median_shape);
        let median_shape = match coarser {
            None => exact_shape,
            Some(_) => exact_shape.map(|s| s.round_ties_even().max(1.0)),
        };
        let room = Room::new(self.fingerprint, self.config, self.dims, spacing_mm);
        let (topology, first) = self.shrink(spacing_mm, median_shape, &room)?;
        let net = self.net(&topology);
        let (batch, why_batch) = self.batch(&net, topology.patch, &room, median_shape);
        let rule = match coarser {
            None => &self.reasons.spacing,
            Some(_) => "coarser until a patch shows a quarter of the median case",
        };
        let patches = [topology.patch, first];
        let least = self.config.min_batch.max(1);
        let mut reasons = vec![self.reasons.dims.clone(), self.reasons.transpose.clone()];
        reasons.push(why::spacing(spacing_mm, self.dims, rule));
        reasons.extend(self.reasons.normalisation.iter().cloned());
        reasons.push(why::patch(patches, median_shape, self.dims, least, &room));
        reasons.push(why::net(&net, spacing_mm, self.dims, self.config.min_edge));
        reasons.push(why_batch);
        // One volume's Dice is of little use where a patch shows a small part of it.
        let covered = topology.patch.map(|p| p as f64).iter().product::<f64>()
            / median_shape.iter().product::<f64>();
        let batch_dice = coarser.is_none() && (self.dims != Dims::Three || covered < COVERED);
        let mut plan = SegmentationPlan {
            dataset: self.fingerprint.dataset.clone(),
            spacing_mm: spacing_mm.map(|s| (s * 1e5).round() / 1e5),
            patch: topology.patch,
            batch,
            batch_dice,
            mirror_axes: self.mirror_axes.clone(),
            ignore: self.fingerprint.ignore,
            ram_mb: 0,
            median_shape: median_shape.map(|s| s.round_ties_even() as usize),
            reasons,
            dims: self.dims,
            transpose: self.transpose,
            net,
            channels: self.channels.clone(),
            classes: self.fingerprint.classes(),
        };
        let (ram_mb, words) = room::expense(&plan, self.fingerprint, self.config);
        plan.ram_mb = ram_mb;
        plan.reasons.extend(words);
        plan.reasons.push(self.reasons.mirror.clone());
        plan.reasons.extend(why::classes(self.fingerprint));
        Ok(At { plan, exact_shape })
    }

    /// The largest topology that a smallest batch of fits, and the patch it was first tried with.
    fn shrink(
        &self,
        spacing_mm: [f64; 3],
        median_shape: [f64; 3],
        room: &Room,
    ) -> Result<(Topology, [usize; 3])> {
        let axes = self.dims.axes();
        let stages = match self.config.kind {
            NetKind::Resnet9 => 3,
            NetKind::NormFree => 4,
            NetKind::ClassicUnet => 5,
            _ => 12,
        };
        let topology =
            |patch| Topology::of(spacing_mm, patch, axes, self.config.min_edge.max(1), stages);
        let density: f64 = axes.iter().map(|&a| 1.0 / spacing_mm[a]).product();
        let largest = LARGEST[usize::from(self.dims != Dims::Three)];
        let scale = (largest / density).powf(1.0 / axes.len() as f64);
        let mut patch = [1; 3];
        for &axis in axes {
            let side = (scale / spacing_mm[axis]).round_ties_even();
            patch[axis] = side.min(median_shape[axis]).ceil().max(1.0) as usize;
        }
        let mut found = topology(patch);
        let first = found.patch;
        // Shorter sides than these no net of two halvings fits into.
        let least = first.map(|side| side.min(4 * self.config.min_edge));
        while !room.holds(&self.net(&found), found.patch) {
            // Longest relative to the median shape first; of equals the last.
            let mut order: Vec<usize> = axes.to_vec();
            let relative = |axis: usize| found.patch[axis] as f64 / median_shape[axis];
            order.sort_by(|&a, &b| relative(a).total_cmp(&relative(b)));
            let shorter = order.into_iter().rev().find_map(|axis| {
                let mut patch = found.patch;
                let step = found.multiples[axis];
                let shortened = patch[axis].checked_sub(step).filter(|&s| s > 0)?;
                // With the multiple that the shorter side would have, lest sizes be left out.
                let mut trial = patch;
                trial[axis] = shortened;
                let step = topology(trial).multiples[axis];
                patch[axis] = patch[axis].checked_sub(step).filter(|&s| s > 0)?;
                let next = topology(patch);
                let shorter = next.patch[axis] < found.patch[axis];
                (shorter && next.patch[axis] >= least[axis]).then_some(next)
            });
            let Some(next) = shorter else {
                return Err(self.too_little(&found, room));
            };
            found = next;
        }
        Ok((found, first))
    }

    fn too_little(&self, smallest: &Topology, room: &Room) -> Error {
        let batch = self.config.min_batch.max(1);
        let wanted = room.wanted_mb(&self.net(smallest), smallest.patch);
        Error::Recipe(format!(
            "expected memory for the smallest patch, {} in a batch of {batch}, about {wanted:.0} MB on \
             the CPU, found {} allowed; allow more with --ram or --vram, or make the net narrower \
             with base_features",
            times(smallest.patch),
            room.words(),
        ))
    }

    fn net(&self, topology: &Topology) -> Net {
        let stages = topology.strides.len();
        let most = match self.dims {
            Dims::Three => self.config.max_features_3d,
            Dims::Two | Dims::TwoAndHalf { .. } => self.config.max_features_2d,
        };
        let base = self.config.base_features.max(1);
        let features = (0..stages as u32)
            .map(|i| base.saturating_mul(1 << i.min(30)).min(most).max(1))
            .collect();
        // Blocks of nnU-Net's residual encoders (arXiv:2404.09556).
        const BLOCKS: [usize; 3] = [1, 3, 4];
        let blocks = |stage: usize| BLOCKS.get(stage).copied().unwrap_or(6);
        let (down, up): (Vec<usize>, usize) = match self.config.kind {
            NetKind::ResidualEncoder => ((0..stages).map(blocks).collect(), 1),
            NetKind::ResUnet => (vec![1; stages], 1),
            NetKind::Resnet9 => {
                let convs = |stage| if stage + 1 == stages { 10 } else { 1 };
                ((0..stages).map(convs).collect(), 0)
            }
            NetKind::PlainConv | NetKind::NormFree | NetKind::ClassicUnet => (vec![2; stages], 2),
        };
        let mut kernels = topology.kernels.clone();
        if self.config.kind == NetKind::Resnet9 && self.dims != Dims::Three {
            // CycleGAN's first and last (arXiv:1703.10593, §7.2).
            kernels[0] = [1, 7, 7];
        }
        Net {
            kind: self.config.kind,
            features,
            strides: topology.strides.clone(),
            kernels,
            convs_per_stage: down,
            convs_per_stage_decoder: vec![up; stages - 1],
            deep_supervision: !(self.config.kind.is_bare() || self.config.kind == NetKind::Resnet9),
        }
    }

    /// The batch and why.
    fn batch(
        &self,
        net: &Net,
        patch: [usize; 3],
        room: &Room,
        median_shape: [f64; 3],
    ) -> (usize, String) {
        let least = self.config.min_batch.max(1);
        let fits = room.batch(net, patch);
        let voxels = median_shape.iter().product::<f64>() * self.fingerprint.cases.len() as f64;
        let one = patch.iter().product::<usize>() as f64;
        let covered = (voxels * self.config.max_covered / one).round_ties_even();
        let percent = figure(100.0 * self.config.max_covered);
        let (chosen, why) = if covered.max(fits) > least as f64 && covered < fits {
            (
                covered,
                format!("more would show over {percent} % of the dataset's voxels at once"),
            )
        } else {
            (fits, "as many as the memory holds".to_owned())
        };
        if chosen > least as f64 {
            let chosen = chosen.min(4096.0) as usize;
            return (chosen, format!("batch {chosen}: {why}"));
        }
        (
            least,
            format!("batch {least}: the smallest there is; {why}"),
        )
    }
}

/// 2-D or 3-D.
fn choose_dims(asked: Option<Dims>, median_shape: [f64; 3]) -> Result<(Dims, String)> {
    let slices = median_shape[0];
    match asked {
        Some(Dims::Three) if slices <= 1.0 => Err(Error::Recipe(
            "expected volumes to plan 3-D for, found single slices; leave --dims out or give 2d"
                .into(),
        )),
        Some(Dims::TwoAndHalf { .. }) if slices <= 1.0 => Err(Error::Recipe(
            "expected volumes to take neighbouring slices from, found single slices; give --dims 2d"
                .into(),
        )),
        Some(Dims::TwoAndHalf { context }) => Ok((
            Dims::TwoAndHalf { context },
            format!(
                "2.5-D as asked: {} slices in, the middle one's classes out, edges repeated",
                2 * context + 1
            ),
        )),
        Some(Dims::Two) => Ok((Dims::Two, "2-D as asked".into())),
        Some(Dims::Three) => Ok((Dims::Three, "3-D as asked".into())),
        None if slices <= 1.0 => Ok((Dims::Two, "2-D, as the cases are single slices".into())),
        None if slices < FEW_SLICES => Ok((
            Dims::Two,
            format!("2-D, as the median case has {slices} slices only"),
        )),
        None => Ok((
            Dims::Three,
            format!("3-D, as the median case has {slices} slices"),
        )),
    }
}
