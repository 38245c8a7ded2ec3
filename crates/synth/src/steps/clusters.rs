//! Parts of organs by their intensities in the case's own scan.
//!
//! A structure that is one label is seldom one tissue: vessels of a liver, cortex and medulla of a
//! kidney. Its voxels fall into k groups of least summed squares about their means, so that a later
//! step can give each a look of its own. SynthSeg clusters what is not labelled in this way (Billot et
//! al., Medical Image Analysis 86:102789, 2023, doi:10.1016/j.media.2023.102789); here it is done
//! within structures. The groups are the best that there are: in one dimension dynamic programming
//! finds them (Wang and Song, The R Journal 3(2):29, 2011, doi:10.32614/RJ-2011-015), on 1024 bins.
//!
//! Both sides of a class are taken together. Draws whether, and how many parts each class gets;
//! records their means. The darkest part keeps the value and class, the others become `<class>, part
//! 2` and on; what is learnt stays. Needs a scan.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "clusters"
//! of = ["liver", "kidney"]   # classes, names or values; none: all that is learnt
//! p = 1.0
//! parts = [2, 3]
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::chosen::{chosen, places};
use super::parts::split_class;
use super::{Apply, Random};
use crate::error::{counts, probability};
use crate::{Error, Result, Scene};
use kmeans::Histogram;

mod kmeans;

/// What is parted, and into how many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clusters {
    /// Classes, names or values; none: all that is learnt.
    pub of: Vec<String>,
    /// Probability, for each class.
    pub p: f32,
    /// Range of the number of parts.
    pub parts: [usize; 2],
}

impl Default for Clusters {
    /// Chosen.
    fn default() -> Self {
        Self {
            of: Vec::new(),
            p: 1.0,
            parts: [2, 3],
        }
    }
}

/// The classes that are parted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClustersDraw {
    classes: Vec<Clustered>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clustered {
    values: Vec<u16>,
    /// Means of the parts in the scan, rising.
    centres: Vec<f32>,
}

impl Random for Clusters {
    type Draw = ClustersDraw;

    fn load(&mut self) -> Result<()> {
        probability("clusters.p", self.p)?;
        counts("clusters.parts", self.parts, 1..=16)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<ClustersDraw> {
        let scan = scene.scan.as_ref().ok_or_else(|| {
            Error::Recipe(
                "expected the case to have a scan, whose intensities `clusters` parts structures \
                 by, found labels alone; give the scans too, or leave the step out"
                    .into(),
            )
        })?;
        // Drawn for all, so that a class does not depend on the others.
        let classes: Vec<(Vec<u16>, usize)> = chosen(&self.of, scene)
            .into_values()
            .map(|values| {
                let parted = rng.chance(self.p);
                let parts = self.parts[0] + rng.below(self.parts[1] - self.parts[0] + 1);
                (values, if parted { parts } else { 1 })
            })
            .filter(|(_, parts)| *parts > 1)
            .collect();
        let places = places(classes.iter().map(|(values, _)| &values[..]));
        let histograms =
            Histogram::of_places(scan.data(), scene.labels.data(), &places, classes.len());
        let clustered = classes.into_iter().zip(histograms);
        let classes = clustered.map(|((values, parts), histogram)| Clustered {
            values,
            centres: histogram.centres(parts),
        });
        Ok(ClustersDraw {
            classes: classes.filter(|class| class.centres.len() > 1).collect(),
        })
    }
}

impl Apply for ClustersDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let Some(scan) = scene.scan.take() else {
            return Err(Error::Recipe(
                "expected the case to have a scan, as it had when the record was made, found none"
                    .into(),
            ));
        };
        // For each value: the borders between its parts, and the parts' values.
        let mut parts = vec![None; usize::from(u16::MAX) + 1];
        for class in &self.classes {
            let borders: Vec<f32> = class
                .centres
                .windows(2)
                .map(|c| 0.5 * (c[0] + c[1]))
                .collect();
            let all = split_class(scene, &class.values, class.centres.len(), "part")?;
            for (&value, all) in class.values.iter().zip(all) {
                parts[usize::from(value)] = Some((borders.clone(), all));
            }
        }
        let labels = scene.labels.data_mut().par_iter_mut();
        labels.zip(scan.data()).for_each(|(label, v)| {
            if let Some((borders, all)) = &parts[usize::from(*label)] {
                *label = all[borders.iter().filter(|border| v > border).count()];
            }
        });
        scene.scan = Some(scan);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    #[test]
    fn three_intensities_of_two_sides_become_three_parts() {
        let mut scene = trial::scene([12, 5, 4], [1.0; 3], |[x, _, _]| (x % 3) as u16);
        let tissue = |y: usize| [10.0, 50.0, 120.0][y % 3];
        scene.scan = Some(trial::image(&scene, |[x, y, z]| {
            tissue(y) + (x + z) as f32 * 0.1
        }));
        let step = Clusters {
            parts: [3, 3],
            ..Clusters::default()
        };
        let (draw, after) = trial::done(&step, &scene, 1);
        let centres = &draw.classes[0].centres;
        for (found, expected) in centres.iter().zip([10.7, 50.7, 120.7]) {
            assert!((found - expected).abs() < 0.2, "{centres:?}");
        }
        for ([x, y, _], &label) in trial::voxels([12, 5, 4]).zip(after.labels.data()) {
            let structure = after.structure(label);
            assert_eq!(structure.target, (x % 3) as u16);
            match (x % 3, y % 3) {
                (0, _) => assert_eq!(label, 0),
                (_, 0) => assert_eq!(structure.class, "organ"),
                (_, part) => assert_eq!(structure.class, format!("organ, part {}", part + 1)),
            }
        }
    }

    #[test]
    fn without_a_scan_it_is_refused() {
        let scene = trial::scene([2, 1, 1], [1.0; 3], |_| 1);
        let refused = Clusters::default().draw(&scene, &mut Rng::new(1, 0, 0));
        let said = refused.map_err(|e| e.to_string());
        assert!(said.is_err_and(|e| e.contains("labels alone")));
    }

    #[test]
    fn one_intensity_is_one_part() {
        let mut scene = trial::scene([4, 4, 1], [1.0; 3], |_| 1);
        scene.scan = Some(trial::image(&scene, |_| 3.0));
        let (draw, after) = trial::done(&Clusters::default(), &scene, 5);
        assert!(draw.classes.is_empty());
        assert_eq!(after, scene);
    }
}
