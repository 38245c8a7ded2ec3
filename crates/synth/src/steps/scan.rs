//! A CT scan of what is painted: projected, counted and reconstructed as a scanner does.
//!
//! The image, in HU, is scanned by `crossmod_scanner::simulate` on its own grid: quantum noise with its
//! streaks and texture, the resolution of rays and kernel, partial volume, windmill, and whatever else
//! the settings state. Put it after all that paints, in place of `noise`, a stand-in that takes a small
//! part of the time; `fast` leaves the image as it is and adds reconstructed noise alone.
//!
//! `scanner` is a scanner's name or a TOML file of settings, as of `crossmod scan`; charge, pitch and
//! kernel are drawn, and take the place of the file's. Contrast agent (`physics.iodine`) goes where the
//! label map says, by the values that steps before have left there.
//!
//! Draws charge, pitch, a kernel and a seed; the record holds every setting. The paper that does so,
//! "Learning CT segmentation from label masks only" (Tsanda et al., 2024), states neither dose nor
//! pitch: the ranges are chosen.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "scan"
//! p = 1.0
//! scanner = "matched-1.5mm"
//! mas = [50.0, 300.0]
//! pitch = [0.6, 1.2]
//! kernels = ["hann", "hamming", "shepp-logan"]
//! fast = false
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_scanner::filter::Kernel;
use crossmod_scanner::simulate::{ScanSettings, simulate_labelled};
use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::{Apply, Random};
use crate::error::{probability, range};
use crate::texture::seed;
use crate::{Error, Result, Scene};

/// When and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scan {
    /// Probability of a scan.
    pub p: f32,
    /// A scanner's name, or a TOML file of settings.
    pub scanner: String,
    /// Range of the charge per turn.
    pub mas: [f32; 2],
    /// Range of the pitch.
    pub pitch: [f32; 2],
    /// Kernels, each as likely as the others.
    pub kernels: Vec<Kernel>,
    /// Whether noise alone is reconstructed, and added.
    pub fast: bool,
    #[serde(skip)]
    settings: Box<ScanSettings>,
}

impl Default for Scan {
    /// Chosen.
    fn default() -> Self {
        Self {
            p: 1.0,
            scanner: "matched-1.5mm".to_owned(),
            mas: [50.0, 300.0],
            pitch: [0.6, 1.2],
            kernels: vec![Kernel::Hann, Kernel::Hamming, Kernel::SheppLogan],
            fast: false,
            settings: Box::default(),
        }
    }
}

/// A scan, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanDraw {
    scan: Option<Given>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    settings: Box<ScanSettings>,
    seed: u64,
}

impl Random for Scan {
    type Draw = ScanDraw;

    fn load(&mut self) -> Result<()> {
        probability("scan.p", self.p)?;
        range("scan.mas", self.mas, 1e-3..=1e6)?;
        range("scan.pitch", self.pitch, 0.01..=2.0)?;
        if self.kernels.is_empty() {
            return Err(Error::Recipe(
                "expected scan.kernels to hold a kernel, found none".into(),
            ));
        }
        for kernel in &self.kernels {
            kernel.check()?;
        }
        self.settings = ScanSettings::load(&self.scanner, &[])?.into();
        if self.settings.target_sd_hu.is_some() || self.settings.given_mas.is_some() {
            return Err(Error::Recipe(format!(
                "expected settings without target_sd_hu and given_mas, as scan.mas states the dose and \
                 what is painted has no noise: {}",
                self.scanner
            )));
        }
        Ok(())
    }

    fn draw(&self, _: &Scene, rng: &mut Rng) -> Result<ScanDraw> {
        let given = rng.chance(self.p);
        let mut settings = self.settings.clone();
        settings.fast = self.fast;
        settings.tube.mas = rng.uniform(self.mas[0], self.mas[1]).into();
        settings.helix.pitch = rng.uniform(self.pitch[0], self.pitch[1]).into();
        let kernel = rng.below(self.kernels.len());
        settings.reconstruction.kernel = self.kernels[kernel].clone();
        let seed = seed(rng);
        Ok(ScanDraw {
            scan: given.then_some(Given { settings, seed }),
        })
    }
}

impl Apply for ScanDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        scene.painted()?;
        if let (Some(Given { settings, seed }), Some(image)) = (&self.scan, &scene.image) {
            let labels = Some(&scene.labels);
            let (scanned, _) = simulate_labelled(image, labels, settings, *seed, &mut |_| {})?;
            scene.image = Some(scanned);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    const SHAPE: [usize; 3] = [48, 44, 5];

    /// A small scanner and a cylinder of water.
    fn case() -> (tempfile::TempDir, Scan, Scene) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("small.toml");
        let text = "[scanner]\nchannels = 140\nchannel_rad = 0.0035\nrows = 8\nrow_mm = 6.0\n\
                    views_per_turn = 180\n";
        std::fs::write(&file, text).expect("written");
        let step = Scan {
            scanner: file.to_string_lossy().into_owned(),
            mas: [1.0; 2],
            pitch: [1.0; 2],
            kernels: vec![Kernel::Hann],
            ..Scan::default()
        };
        let mut scene = trial::scene(SHAPE, [4.0, 4.0, 6.0], |_| 1);
        let radius = |[x, y, _]: [usize; 3]| (x as f32 - 23.5).hypot(y as f32 - 21.5) * 4.0;
        let water = |v: [usize; 3]| if radius(v) < 75.0 { 30.0 } else { -1000.0 };
        scene.image = Some(trial::image(&scene, water));
        (folder, step, scene)
    }

    /// Mean in the middle of a scan, and the noise there: half the square of what two seeds differ by.
    fn middle(step: &Scan, scene: &Scene) -> (f64, f64) {
        let scan = |seed| trial::done(step, scene, seed).1.image.expect("an image");
        let (one, other) = (scan(3), scan(4));
        let pairs = trial::voxels(SHAPE).zip(one.data().iter().zip(other.data()));
        let inner = pairs.filter(|([x, y, _], _)| x.abs_diff(23) < 12 && y.abs_diff(21) < 12);
        let values: Vec<(f64, f64)> = inner
            .map(|(_, (&a, &b))| (f64::from(a), f64::from(a - b)))
            .collect();
        let n = values.len() as f64;
        let mean = values.iter().map(|v| v.0).sum::<f64>() / n;
        let square = values.iter().map(|v| v.1.powi(2)).sum::<f64>() / n;
        (mean, (square / 2.0).sqrt())
    }

    #[test]
    fn scans_are_noisier_at_a_lower_dose_and_keep_the_mean() {
        let (_folder, mut step, scene) = case();
        let given = trial::done(&step, &scene, 3).0.scan.expect("a scan");
        assert_eq!(
            (given.settings.tube.mas, given.settings.scanner.rows),
            (1.0, 8)
        );
        let (mean, low) = middle(&step, &scene);
        step.mas = [4.0; 2];
        let (_, high) = middle(&step, &scene);
        assert!((low / high / 2.0 - 1.0).abs() < 0.15, "{low} {high}");
        assert!((mean - 30.0).abs() < 3.0 && low > 1.0, "{mean} {low}");
        step.p = 0.0;
        assert_eq!(trial::done(&step, &scene, 3).1, scene);
    }

    #[test]
    fn charge_pitch_and_kernel_are_drawn() {
        let (_folder, mut step, scene) = case();
        (step.mas, step.pitch) = ([50.0, 300.0], [0.6, 1.2]);
        step.kernels = vec![Kernel::Hann, Kernel::Ramp];
        step.load().expect("settings");
        let mut ramps = 0;
        for seed in 0..40 {
            let draw = step
                .draw(&scene, &mut Rng::new(seed, 0, 0))
                .expect("a draw");
            let settings = draw.scan.expect("always").settings;
            assert!((50.0..300.0).contains(&settings.tube.mas));
            assert!((0.6..1.2).contains(&settings.helix.pitch));
            ramps += usize::from(settings.reconstruction.kernel == Kernel::Ramp);
        }
        assert!((8..32).contains(&ramps), "{ramps}");
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let refused = |step: Scan| {
            let mut step = step;
            step.load().expect_err("refused").to_string()
        };
        let unknown = refused(Scan {
            scanner: "toaster".into(),
            ..Scan::default()
        });
        assert!(unknown.contains("matched-1.5mm"), "{unknown}");
        let none = refused(Scan {
            kernels: Vec::new(),
            ..Scan::default()
        });
        assert!(none.contains("scan.kernels"), "{none}");
        let (folder, mut step, _) = case();
        let file = folder.path().join("target.toml");
        std::fs::write(&file, "target_sd_hu = 12.0\n").expect("written");
        step.scanner = file.to_string_lossy().into_owned();
        assert!(refused(step).contains("target_sd_hu"));
    }
}
