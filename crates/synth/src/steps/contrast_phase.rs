//! Contrast phase: structures brighter by what iodine adds to them some time after its injection.
//!
//! Of each tissue the enhancement over the native scan, HU, is tabled in four phases ([`Tissue`]); the
//! painted image is of one phase, and is moved to another that is drawn. What is known from measurements:
//! aorta, spleen, liver and veins by Goshima et al. ("MDCT of the liver and hypervascular hepatocellular
//! carcinomas", American Journal of Roentgenology 187:W25, 2006), 10 to 15 s after bolus tracking for the
//! arterial and 45 to 55 s for the portal venous phase; the kidney by the same group (European Journal of
//! Radiology 2007, PubMed 17367973), cortex and medulla mixed 2 to 1. All others, and the delayed phase
//! (about 3 minutes), are chosen.
//!
//! Draws whether, the phase, a dose factor for the whole image and a factor for each tissue; records what
//! each label value gains. Belongs before partial volume and noise.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "contrast-phase"
//! p = 1.0
//! painted = "native"                              # the phase of the painted image
//! phases = ["native", "arterial", "portal-venous", "delayed"]
//! dose = [0.7, 1.3]
//! sd = 0.1                                        # of each tissue's own factor
//! [[steps.tissues]]                               # instead of the built-in table
//! words = ["liver"]                               # a class that has one of these in its name
//! hu = [20.0, 61.0, 40.0]                         # arterial, portal venous, delayed
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Apply, Random};
use crate::error::{probability, range};
use crate::{Error, Result, Scene};

/// When, and to which phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContrastPhase {
    /// Probability of a change.
    pub p: f32,
    /// The phase of the painted image.
    pub painted: Phase,
    /// The phases, each as likely.
    pub phases: Vec<Phase>,
    /// Range of the factor of all enhancements of an image.
    pub dose: [f32; 2],
    /// Standard deviation of each tissue's own factor.
    pub sd: f32,
    /// What each tissue gains; the first that fits a class counts.
    pub tissues: Vec<Tissue>,
}

/// Time since the injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Before it.
    Native,
    /// Late arterial, about 35 s.
    Arterial,
    /// About 70 s.
    PortalVenous,
    /// About 3 minutes.
    Delayed,
}

/// What a tissue gains over the native scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tissue {
    /// It is any class that has one of these in its name.
    pub words: Vec<String>,
    /// HU in the arterial, portal venous and delayed phase.
    pub hu: [f32; 3],
}

impl Default for ContrastPhase {
    /// The table's sources are in the module's header; the rest is chosen.
    fn default() -> Self {
        let tissues = ENHANCEMENT.iter().map(|(words, hu)| Tissue {
            words: words.iter().map(|&word| word.to_owned()).collect(),
            hu: *hu,
        });
        Self {
            p: 1.0,
            painted: Phase::Native,
            phases: vec![
                Phase::Native,
                Phase::Arterial,
                Phase::PortalVenous,
                Phase::Delayed,
            ],
            dose: [0.7, 1.3],
            sd: 0.1,
            tissues: tissues.collect(),
        }
    }
}

/// Words in class names, and HU in the arterial, portal venous and delayed phase over the native.
/// In an order that finds the special before the general: a pulmonary vein before a vein.
const ENHANCEMENT: &[(&[&str], [f32; 3])] = &[
    // Measured: the middles of the ranges given by the sources.
    (&["liver"], [20.0, 61.0, 40.0]),
    (&["spleen"], [102.0, 78.0, 45.0]),
    (&["portal", "splenic vein"], [90.0, 120.0, 75.0]),
    (&["hepatic vein"], [37.0, 115.0, 75.0]),
    (&["aorta"], [318.0, 121.0, 75.0]),
    (&["cyst", "gallbladder", "urinary bladder"], [0.0, 0.0, 0.0]),
    (&["kidney"], [165.0, 155.0, 110.0]),
    // Chosen.
    (
        &[
            "pulmonary vein",
            "atrium left",
            "left atrium",
            "ventricle left",
            "left ventricle",
            "heart atrium",
            "heart ventricle",
        ],
        [300.0, 120.0, 75.0],
    ),
    (
        &[
            "pulmonary artery",
            "ventricle right",
            "right ventricle",
            "atrium right",
            "right atrium",
        ],
        [180.0, 120.0, 75.0],
    ),
    (&["myocardium"], [80.0, 70.0, 50.0]),
    (&["heart"], [200.0, 110.0, 70.0]),
    (
        &["artery", "carotid", "subclavian", "brachiocephalic trunk"],
        [310.0, 120.0, 75.0],
    ),
    (&["vena cava", "vein", "vena"], [50.0, 105.0, 75.0]),
    (&["vessel"], [150.0, 120.0, 75.0]),
    (&["pancreas"], [75.0, 55.0, 35.0]),
    (&["thyroid"], [110.0, 90.0, 60.0]),
    (&["adrenal"], [60.0, 50.0, 30.0]),
    (&["prostate", "uterus"], [30.0, 50.0, 45.0]),
    (
        &[
            "small bowel",
            "duodenum",
            "colon",
            "stomach",
            "esophagus",
            "oesophagus",
        ],
        [25.0, 40.0, 25.0],
    ),
    (&["tumour", "tumor", "lesion"], [40.0, 35.0, 30.0]),
    (&["brain", "spinal cord"], [3.0, 5.0, 4.0]),
    (
        &["muscle", "gluteus", "iliopsoas", "autochthon", "soft"],
        [5.0, 12.0, 12.0],
    ),
];

/// What each label value gains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContrastPhaseDraw {
    phase: Phase,
    /// HU by value.
    gains: Vec<(u16, f32)>,
}

impl Tissue {
    fn hu(&self, phase: Phase) -> f32 {
        match phase {
            Phase::Native => 0.0,
            Phase::Arterial => self.hu[0],
            Phase::PortalVenous => self.hu[1],
            Phase::Delayed => self.hu[2],
        }
    }

    fn fits(&self, class: &str) -> bool {
        self.words
            .iter()
            .any(|word| class.contains(&word.to_lowercase()))
    }
}

impl Random for ContrastPhase {
    type Draw = ContrastPhaseDraw;

    fn load(&mut self) -> Result<()> {
        probability("contrast-phase.p", self.p)?;
        range("contrast-phase.dose", self.dose, 0.0..=100.0)?;
        range("contrast-phase.sd", [self.sd; 2], 0.0..=10.0)?;
        for tissue in &self.tissues {
            for hu in tissue.hu {
                range("contrast-phase.tissues.hu", [hu; 2], -1000.0..=3000.0)?;
            }
        }
        if self.phases.is_empty() {
            return Err(Error::Recipe(
                "expected contrast-phase.phases to hold a phase, found none; leave the key out for \
                 all four"
                    .into(),
            ));
        }
        Ok(())
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<ContrastPhaseDraw> {
        let given = rng.chance(self.p);
        let phase = self.phases[rng.below(self.phases.len())];
        let phase = if given { phase } else { self.painted };
        let dose = rng.uniform(self.dose[0], self.dose[1]);
        let factors: Vec<f32> = self
            .tissues
            .iter()
            .map(|_| (dose * (1.0 + self.sd * rng.normal())).max(0.0))
            .collect();
        let mut gains = Vec::new();
        for (class, values) in scene.classes() {
            let class = class.replace('_', " ").to_lowercase();
            let mut tissues = self.tissues.iter().zip(&factors);
            if let Some((tissue, factor)) = tissues.find(|(tissue, _)| tissue.fits(&class)) {
                let hu = factor * (tissue.hu(phase) - tissue.hu(self.painted));
                gains.extend(values.into_iter().map(|value| (value, hu)));
            }
        }
        gains.retain(|(_, hu)| *hu != 0.0);
        Ok(ContrastPhaseDraw { phase, gains })
    }
}

impl Apply for ContrastPhaseDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        scene.painted()?;
        let mut gains = vec![0.0; usize::from(u16::MAX) + 1];
        for &(value, hu) in &self.gains {
            gains[usize::from(value)] = hu;
        }
        if let Some(image) = &mut scene.image {
            let labels = scene.labels.data().par_iter();
            let values = image.data_mut().par_iter_mut().zip(labels);
            values.for_each(|(v, label)| *v += gains[usize::from(*label)]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;
    use crate::Structure;

    fn abdomen() -> Scene {
        let mut scene = trial::scene([6, 4, 3], [1.0; 3], |[x, _, _]| 10 + x as u16);
        let names = [
            "liver",
            "kidney_cyst",
            "left kidney",
            "hepatic vein",
            "bone",
            "aorta",
        ];
        for (value, name) in (10..).zip(names) {
            let structure = Structure {
                name: name.into(),
                class: name.into(),
                ..Structure::unnamed(value)
            };
            scene.structures.insert(value, structure);
        }
        scene.image = Some(trial::image(&scene, |[x, _, _]| x as f32));
        scene
    }

    fn gains(painted: Phase, phase: Phase) -> Vec<f32> {
        let step = ContrastPhase {
            painted,
            phases: vec![phase],
            dose: [1.0; 2],
            sd: 0.0,
            ..ContrastPhase::default()
        };
        let (_, after) = trial::done(&step, &abdomen(), 1);
        let image = after.image.expect("an image");
        (0..6).map(|x| image.data()[x] - x as f32).collect()
    }

    #[test]
    fn structures_gain_what_the_table_says_and_there_and_back_is_nothing() {
        let arterial = gains(Phase::Native, Phase::Arterial);
        assert_eq!(arterial, [20.0, 0.0, 165.0, 37.0, 0.0, 318.0]);
        let back = gains(Phase::Arterial, Phase::Native);
        assert!(arterial.iter().zip(&back).all(|(a, b)| a + b == 0.0));
        assert_eq!(gains(Phase::Delayed, Phase::Delayed), [0.0; 6]);
        let washed = gains(Phase::Arterial, Phase::PortalVenous);
        assert_eq!((washed[0], washed[5]), (41.0, 121.0 - 318.0));
    }

    #[test]
    fn phases_are_even_and_doses_in_range() {
        let scene = abdomen();
        let mut seen = [0; 4];
        for case in 0..2000 {
            let step = ContrastPhase {
                sd: 0.0,
                ..ContrastPhase::default()
            };
            let draw = step
                .draw(&scene, &mut Rng::new(5, case, 0))
                .expect("a draw");
            seen[draw.phase as usize] += 1;
            if draw.phase == Phase::Arterial {
                let aorta = draw.gains.iter().find(|(value, _)| *value == 15);
                let dose = aorta.expect("the aorta").1 / 318.0;
                assert!((0.7..=1.3).contains(&dose), "{dose}");
            }
        }
        assert!(seen.iter().all(|n| (430..570).contains(n)), "{seen:?}");
    }
}
