//! What patches are drawn from: probabilities and ranges.

use crossmod_volume::space::Interpolation;
use serde::{Deserialize, Serialize};

use crate::segment::SegmentationPlan;
use crate::segment::plan::Dims;

/// Sides of a patch of which one is more than this many times as long as the first make it one of
/// thick slices, which is turned within them only; nnU-Net's.
const ANISOTROPY: f64 = 3.0;

/// Probabilities and ranges that patches are drawn from. A range is the least and the greatest
/// value; between them values are drawn evenly, those of factors about 1 (`brightness`, `contrast`,
/// `gamma`) half the time from below 1 and half from above.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PatchConfig {
    /// Share of a batch's patches that are centred on a class of the case.
    pub foreground: f64,
    /// How images are interpolated; labels are those of the nearest voxels.
    pub interpolation: Interpolation,
    /// Probability of turning.
    pub rotation_p: f64,
    /// Largest angle either way, degrees; nnU-Net's rule if left out, see
    /// [`PatchConfig::largest_angle_deg`].
    pub rotation_deg: Option<f64>,
    /// Probability of another scale.
    pub scaling_p: f64,
    /// By how much larger a region the patch shows.
    pub scaling: [f64; 2],
    /// Probability of bending.
    pub elastic_p: f64,
    /// Width of the bends by the patch's side.
    pub elastic_width: [f64; 2],
    /// Largest displacement by the patch's side; at most a quarter of the bends' distance is taken,
    /// so that the image does not fold.
    pub elastic_size: [f64; 2],
    /// Probability of showing a part of the patch, enlarged to it.
    pub ratio_crop_p: f64,
    /// That part's side by the patch's.
    pub ratio_crop: [f64; 2],
    /// Probability of mirroring along each axis that allows it.
    pub mirror_p: f64,
    /// Pairs of labels that change places where a patch is mirrored left to right, which it then
    /// may be whatever `mirror_axes` of the plan say.
    pub swap: Vec<[u16; 2]>,
    /// Which of the turned array's axes, 0 (z), 1 (y) or 2 (x), runs from left to right, for
    /// `swap`; as the plan's orientation says if left out.
    pub left_right: Option<usize>,
    /// Probability of noise.
    pub noise_p: f64,
    /// Its standard deviation.
    pub noise: [f64; 2],
    /// Probability of blurring any channel.
    pub blur_p: f64,
    /// Probability of blurring each, then.
    pub blur_channel_p: f64,
    /// Standard deviation along each axis, voxels.
    pub blur_vox: [f64; 2],
    /// Probability of brightness.
    pub brightness_p: f64,
    /// Factor of intensities.
    pub brightness: [f64; 2],
    /// Probability of contrast.
    pub contrast_p: f64,
    /// Factor of their distance to their mean.
    pub contrast: [f64; 2],
    /// Probability of lowering the resolution of any channel.
    pub low_resolution_p: f64,
    /// Probability of lowering each one's, then.
    pub low_resolution_channel_p: f64,
    /// Share of the voxels along each axis that are kept.
    pub low_resolution: [f64; 2],
    /// Probability of a power of the intensities upside down.
    pub gamma_inverted_p: f64,
    /// Probability of a power of the intensities.
    pub gamma_p: f64,
    /// The power.
    pub gamma: [f64; 2],
}

impl Default for PatchConfig {
    /// Those of nnU-Net v2's trainer and its package batchgenerators (Isensee et al.,
    /// doi:10.1038/s41592-020-01008-z, supplementary note 4, as released in version 2): what it
    /// calls the variance of noise is used there as its standard deviation, and so here. It does
    /// not bend or enlarge; where it is made to, its bends are up to a fifth of the side.
    fn default() -> Self {
        Self {
            foreground: 0.33,
            interpolation: Interpolation::Linear,
            rotation_p: 0.2,
            rotation_deg: None,
            scaling_p: 0.2,
            scaling: [0.7, 1.4],
            elastic_p: 0.0,
            elastic_width: [0.05, 0.2],
            elastic_size: [0.0, 0.2],
            ratio_crop_p: 0.0,
            ratio_crop: [0.5, 1.0],
            mirror_p: 0.5,
            swap: Vec::new(),
            left_right: None,
            noise_p: 0.1,
            noise: [0.0, 0.1],
            blur_p: 0.2,
            blur_channel_p: 0.5,
            blur_vox: [0.5, 1.0],
            brightness_p: 0.15,
            brightness: [0.75, 1.25],
            contrast_p: 0.15,
            contrast: [0.75, 1.25],
            low_resolution_p: 0.25,
            low_resolution_channel_p: 0.5,
            low_resolution: [0.5, 1.0],
            gamma_inverted_p: 0.1,
            gamma_p: 0.3,
            gamma: [0.7, 1.5],
        }
    }
}

impl PatchConfig {
    /// Patches as they are, as for validation.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            rotation_p: 0.0,
            scaling_p: 0.0,
            elastic_p: 0.0,
            ratio_crop_p: 0.0,
            mirror_p: 0.0,
            noise_p: 0.0,
            blur_p: 0.0,
            brightness_p: 0.0,
            contrast_p: 0.0,
            low_resolution_p: 0.0,
            gamma_inverted_p: 0.0,
            gamma_p: 0.0,
            ..Self::default()
        }
    }

    /// Whether patches are turned, stretched and bent within their slices only: pictures, and
    /// patches whose slices are thick.
    #[must_use]
    pub fn in_plane(plan: &SegmentationPlan) -> bool {
        let [z, y, x] = plan.patch;
        plan.dims != Dims::Three || z.max(y).max(x) as f64 / z as f64 > ANISOTROPY
    }

    /// The largest angle that patches are turned by, either way: that of the configuration, else
    /// nnU-Net's, 30° about each axis; of slices 180°, or 15° where the patch is longer one way by
    /// half.
    #[must_use]
    pub fn largest_angle_deg(&self, plan: &SegmentationPlan) -> f64 {
        let [_, y, x] = plan.patch;
        let long = y.max(x) as f64 / y.min(x) as f64 > 1.5;
        self.rotation_deg.unwrap_or(match plan.dims {
            Dims::Three if Self::in_plane(plan) => 180.0,
            Dims::Three => 30.0,
            _ if long => 15.0,
            _ => 180.0,
        })
    }

    /// What is wrong with it, said as its keys.
    ///
    /// # Errors
    /// The first thing found: what was expected of which key, and what it is.
    pub fn check(&self) -> Result<(), String> {
        let shares = [
            ("foreground", self.foreground),
            ("rotation_p", self.rotation_p),
            ("scaling_p", self.scaling_p),
            ("elastic_p", self.elastic_p),
            ("ratio_crop_p", self.ratio_crop_p),
            ("mirror_p", self.mirror_p),
            ("noise_p", self.noise_p),
            ("blur_p", self.blur_p),
            ("blur_channel_p", self.blur_channel_p),
            ("brightness_p", self.brightness_p),
            ("contrast_p", self.contrast_p),
            ("low_resolution_p", self.low_resolution_p),
            ("low_resolution_channel_p", self.low_resolution_channel_p),
            ("gamma_inverted_p", self.gamma_inverted_p),
            ("gamma_p", self.gamma_p),
        ];
        for (key, found) in shares {
            within(key, &[found], [0.0, 1.0])?;
        }
        let ranges = [
            ("scaling", self.scaling, [0.1, 10.0]),
            ("elastic_width", self.elastic_width, [0.01, 1.0]),
            ("elastic_size", self.elastic_size, [0.0, 1.0]),
            ("ratio_crop", self.ratio_crop, [0.01, 1.0]),
            ("noise", self.noise, [0.0, 1e6]),
            ("blur_vox", self.blur_vox, [0.0, 100.0]),
            ("brightness", self.brightness, [0.0, 1e6]),
            ("contrast", self.contrast, [0.0, 1e6]),
            ("low_resolution", self.low_resolution, [0.01, 1.0]),
            ("gamma", self.gamma, [0.01, 100.0]),
        ];
        for (key, found, limits) in ranges {
            within(key, &found, limits)?;
            if found[0] > found[1] {
                return Err(format!(
                    "expected {key} to be the least and the greatest value, found {found:?}; \
                     exchange them"
                ));
            }
        }
        within("rotation_deg", self.rotation_deg.as_slice(), [0.0, 180.0])?;
        if self.left_right.is_some_and(|axis| axis > 2) {
            return Err(format!(
                "expected left_right to be 0 (z), 1 (y) or 2 (x), found {:?}; correct it",
                self.left_right
            ));
        }
        let mut swapped: Vec<u16> = self.swap.iter().flatten().copied().collect();
        swapped.sort_unstable();
        if swapped.contains(&0) || swapped.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!(
                "expected swap to be pairs of labels above 0, each once, found {:?}; correct them",
                self.swap
            ));
        }
        Ok(())
    }
}

fn within(key: &str, found: &[f64], [low, high]: [f64; 2]) -> Result<(), String> {
    // NaN is not within.
    if found.iter().all(|v| (low..=high).contains(v)) {
        return Ok(());
    }
    Err(format!(
        "expected {key} to be from {low} to {high}, found {found:?}; correct it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::store::tests::plan;

    #[test]
    fn defaults_hold_and_survive_toml() {
        for config in [PatchConfig::default(), PatchConfig::plain()] {
            config.check().expect("in order");
            let text = toml::to_string(&config).expect("written");
            let back: PatchConfig = toml::from_str(&text).expect("read");
            assert_eq!(back, config);
        }
        assert!(toml::from_str::<PatchConfig>("rotation = 3").is_err());
        let one: PatchConfig = toml::from_str("gamma_p = 0.0").expect("read");
        assert_eq!((one.gamma_p, one.blur_p), (0.0, 0.2));
    }

    #[test]
    fn nonsense_is_named() {
        let wrong = |change: fn(&mut PatchConfig), key: &str| {
            let mut config = PatchConfig::default();
            change(&mut config);
            let message = config.check().expect_err("refused");
            assert!(message.contains(key), "{message}");
        };
        wrong(|c| c.blur_p = 1.5, "blur_p");
        wrong(|c| c.gamma_p = f64::NAN, "gamma_p");
        wrong(|c| c.scaling = [0.0, 1.0], "scaling");
        wrong(|c| c.gamma = [1.5, 0.7], "exchange");
        wrong(|c| c.rotation_deg = Some(200.0), "rotation_deg");
        wrong(|c| c.left_right = Some(3), "left_right");
        wrong(|c| c.swap = vec![[1, 2], [2, 3]], "swap");
    }

    #[test]
    fn angles_and_thick_slices_as_nnunet() {
        let config = PatchConfig::default();
        let of = |dims, patch| {
            let plan = SegmentationPlan {
                dims,
                ..plan(patch)
            };
            (
                PatchConfig::in_plane(&plan),
                config.largest_angle_deg(&plan),
            )
        };
        assert_eq!(of(Dims::Three, [40, 56, 40]), (false, 30.0));
        assert_eq!(of(Dims::Three, [16, 48, 48]), (false, 30.0));
        assert_eq!(of(Dims::Three, [16, 49, 32]), (true, 180.0));
        assert_eq!(of(Dims::Two, [1, 48, 32]), (true, 180.0));
        assert_eq!(
            of(Dims::TwoAndHalf { context: 1 }, [1, 64, 32]),
            (true, 15.0)
        );
    }
}
