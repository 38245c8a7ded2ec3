//! What is drawn for one patch: a record from which the patch can be made again alone.

use crossmod_volume::rng::Rng;
use crossmod_volume::space::{Deformation, Displacement};
use serde::{Deserialize, Serialize};

use super::PatchConfig;
use crate::Result;
use crate::segment::SegmentationPlan;

/// Standard deviation of a cubic B-spline by the distance of its knots.
const SPLINE_SD: f64 = 0.577;

/// Most points of a bend along one axis.
const MOST_POINTS: f64 = 16.0;

/// Longest displacement by the distance of the points that have one.
const STEEPEST: f64 = 0.25;

/// One patch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchDraw {
    /// Which case of the store.
    pub case: usize,
    /// Where the patch's centre lies, voxels (x, y, z) of the prepared case.
    pub centre: [f64; 3],
    /// How it is turned, stretched and bent.
    pub deformation: Deformation,
    /// Along which axes (x, y, z) it is mirrored.
    pub mirrored: [bool; 3],
    /// Noise, the same in every channel.
    pub noise: Option<Noise>,
    /// What happens to the intensities of each channel.
    pub channels: Vec<ChannelDraw>,
}

/// Noise that was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Standard deviation.
    pub sd: f64,
    /// Seed of the values.
    pub seed: u32,
}

/// One channel's intensities; steps are done in this order.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelDraw {
    /// Standard deviations of a blur along (x, y, z), voxels.
    pub blur_vox: Option<[f64; 3]>,
    /// Factor.
    pub brightness: Option<f64>,
    /// Factor of the distance to the mean.
    pub contrast: Option<f64>,
    /// Share of the voxels kept along each axis.
    pub low_resolution: Option<f64>,
    /// Power of the intensities upside down.
    pub gamma_inverted: Option<f64>,
    /// Power of the intensities.
    pub gamma: Option<f64>,
}

/// Evenly within a range.
fn even([low, high]: [f64; 2], rng: &mut Rng) -> f64 {
    low + (high - low) * f64::from(rng.unit())
}

/// As often below 1 as above, where the range has both.
fn about_one([low, high]: [f64; 2], rng: &mut Rng) -> f64 {
    let below = rng.chance(0.5);
    if (below && low < 1.0) || high <= 1.0 {
        even([low, high.min(1.0)], rng)
    } else {
        even([low.max(1.0), high], rng)
    }
}

/// What else is drawn of patches of one plan.
#[derive(Debug, Clone)]
pub(super) struct Ranges {
    config: PatchConfig,
    in_plane: bool,
    /// Axes (x, y, z) that patches extend along.
    extended: [bool; 3],
    mirrored: [bool; 3],
    largest_angle: f64,
    patch: [usize; 3],
    spacing_mm: [f64; 3],
    channels: usize,
}

impl Ranges {
    /// `swap_axis` may be mirrored too (x, y, z).
    pub(super) fn new(
        plan: &SegmentationPlan,
        config: &PatchConfig,
        swap_axis: Option<usize>,
    ) -> Self {
        let turned = |axis: usize| 2 - axis;
        let extended = [0, 1, 2].map(|axis| plan.dims.axes().contains(&turned(axis)));
        Self {
            config: config.clone(),
            in_plane: PatchConfig::in_plane(plan),
            extended,
            mirrored: [0, 1, 2].map(|axis| {
                extended[axis]
                    && (plan.mirror_axes.contains(&turned(axis)) || swap_axis == Some(axis))
            }),
            largest_angle: config.largest_angle_deg(plan).to_radians(),
            patch: [0, 1, 2].map(|axis| plan.patch[turned(axis)]),
            spacing_mm: [0, 1, 2].map(|axis| plan.spacing_mm[turned(axis)]),
            channels: plan.channels.len(),
        }
    }

    /// Draws all but the place; the crop of a part moves `centre`.
    pub(super) fn draw(&self, case: usize, centre: [f64; 3], rng: &mut Rng) -> Result<PatchDraw> {
        let config = &self.config;
        let mut centre = centre;
        let deformation = self.deformation(&mut centre, rng)?;
        let mirrored = self.mirrored.map(|may| chance(config.mirror_p, rng) && may);
        let noise = chance(config.noise_p, rng).then(|| Noise {
            sd: even(config.noise, rng),
            seed: rng.bits(),
        });
        let mut channels = vec![ChannelDraw::default(); self.channels];
        if chance(config.blur_p, rng) {
            for channel in &mut channels {
                let sigma = self.extended.map(|along| {
                    let sigma = even(config.blur_vox, rng);
                    if along { sigma } else { 0.0 }
                });
                channel.blur_vox = chance(config.blur_channel_p, rng).then_some(sigma);
            }
        }
        if chance(config.brightness_p, rng) {
            for channel in &mut channels {
                channel.brightness = Some(about_one(config.brightness, rng));
            }
        }
        if chance(config.contrast_p, rng) {
            for channel in &mut channels {
                channel.contrast = Some(about_one(config.contrast, rng));
            }
        }
        if chance(config.low_resolution_p, rng) {
            for channel in &mut channels {
                let share = even(config.low_resolution, rng);
                let this = chance(config.low_resolution_channel_p, rng);
                channel.low_resolution = this.then_some(share);
            }
        }
        if chance(config.gamma_inverted_p, rng) {
            for channel in &mut channels {
                channel.gamma_inverted = Some(about_one(config.gamma, rng));
            }
        }
        if chance(config.gamma_p, rng) {
            for channel in &mut channels {
                channel.gamma = Some(about_one(config.gamma, rng));
            }
        }
        Ok(PatchDraw {
            case,
            centre,
            deformation,
            mirrored,
            noise,
            channels,
        })
    }

    /// The axes that a patch is deformed along.
    fn deformed(&self) -> [bool; 3] {
        [true, true, !self.in_plane]
    }

    fn deformation(&self, centre: &mut [f64; 3], rng: &mut Rng) -> Result<Deformation> {
        let config = &self.config;
        let mut angles = [0.0; 3];
        if chance(config.rotation_p, rng) {
            let limit = self.largest_angle;
            angles = angles.map(|_: f64| even([-limit, limit], rng));
            if self.in_plane {
                angles = [0.0, 0.0, angles[2]];
            }
        }
        let mut larger = 1.0;
        if chance(config.scaling_p, rng) {
            larger = even(config.scaling, rng);
        }
        if chance(config.ratio_crop_p, rng) {
            let part = even(config.ratio_crop, rng);
            for (axis, along) in self.deformed().into_iter().enumerate() {
                let slack = (1.0 - part) * self.patch[axis] as f64;
                let shift = even([-0.5, 0.5], rng) * slack;
                if along {
                    centre[axis] += shift;
                }
            }
            larger *= part;
        }
        let scale = self
            .deformed()
            .map(|along| if along { 1.0 / larger } else { 1.0 });
        let deformation = Deformation::new(angles, scale, [0.0; 3], self.spacing_mm);
        if chance(config.elastic_p, rng) {
            return Ok(deformation.bent(self.displacement(rng)?));
        }
        Ok(deformation)
    }

    fn displacement(&self, rng: &mut Rng) -> Result<Displacement> {
        let mut points = [1; 3];
        let mut longest = [0.0; 3];
        for (axis, along) in self.deformed().into_iter().enumerate() {
            let width = even(self.config.elastic_width, rng);
            let size = even(self.config.elastic_size, rng);
            let side = self.patch[axis] as f64;
            if !along || side < 4.0 {
                continue;
            }
            let most = MOST_POINTS.min(side);
            points[axis] = (SPLINE_SD / width + 1.0).round().clamp(3.0, most) as usize;
            let apart = (side - 1.0) / (points[axis] - 1) as f64;
            longest[axis] = (size * side).min(STEEPEST * apart);
        }
        let count = points.iter().product::<usize>();
        let mut vectors: Vec<[f32; 3]> =
            (0..count).map(|_| [(); 3].map(|()| rng.normal())).collect();
        for (axis, longest) in longest.into_iter().enumerate() {
            let found = vectors.iter().map(|v| v[axis].abs()).fold(1e-6, f32::max);
            let scale = longest as f32 / found;
            vectors.iter_mut().for_each(|v| v[axis] *= scale);
        }
        Ok(Displacement::new(points, vectors)?)
    }
}

fn chance(p: f64, rng: &mut Rng) -> bool {
    f64::from(rng.unit()) < p
}
