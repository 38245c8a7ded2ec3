//! What goes wrong with translators while their losses look well, watched for on the same few
//! patches: contrast turned over, images passed on unchanged, one translation for all, structures
//! lost. What is found goes into the log as `guard_*`, and is said once when it is bad.
//!
//! | figure | of | bad |
//! |---|---|---|
//! | `guard_inversion` | mean of the translation where the image is darkest, above the darkest 5 % of the target, by the range | above 0.5 |
//! | `guard_change` | mean difference of image and translation, by the range | below 0.01 |
//! | `guard_diversity` | differences between translations, by those between their images | below 0.1 |
//! | `guard_kept` | Dice, of a segmentor of real source images, on what comes back of a translation by that on the image, of the class that keeps least | below 0.5 |
//! | `guard_synthetic` | that segmentor's mean Dice on the translations: falls as they become unlike the source, too | – |
//! | `guard_consistency` | mean Dice of the run's segmentor on translations, times that of what it finds in target images and in what comes back of them | the lower the worse |

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::structure::{Counts, Learning, Structure, most_likely};
use super::verdict::{CHANGE, DIVERSITY, INVERSION, KEPT};
use crate::batch::{Batch, Sampler};
use crate::fit::{Losses, RunFolder, State};
use crate::net::weights::Named;
use crate::net::{ResNet, Segmentor};
use crate::plan::Class;
use crate::{Result, ops};

/// What is watched, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// Steps between looks; 0 for none, and no guard at all.
    pub every: u64,
    /// Patches of each domain that are looked at.
    pub patches: usize,
    /// Whether a batch that loses its structures in translation does not train the segmentor.
    pub drop_lost: bool,
    /// Whether the weights are those of the look with the best `guard_consistency`, rather than the
    /// last.
    pub choose: bool,
}

impl Default for GuardConfig {
    /// Chosen.
    fn default() -> Self {
        Self {
            every: 100,
            patches: 8,
            drop_lost: true,
            choose: true,
        }
    }
}

/// Steps between those in which the guard's own segmentor learns.
const LESSON: u64 = 2;

/// A step that no training reaches, for the draws of what is looked at.
const NEVER: u64 = 1 << 40;

/// Weights by net.
type Nets = Vec<(String, Vec<Named>)>;

/// The nets that are looked at.
pub(crate) struct Watched<'a, const D: usize> {
    pub(crate) to_target: &'a ResNet<D>,
    pub(crate) to_source: Option<&'a ResNet<D>>,
    pub(crate) segmentor: Option<&'a Segmentor<D>>,
}

/// Watches a training.
#[derive(Debug)]
pub(crate) struct Guard<const D: usize> {
    config: GuardConfig,
    names: Vec<String>,
    source: Batch,
    target: Batch,
    learning: Option<Learning<D>>,
    best: Option<(f32, Nets)>,
    notes: Vec<String>,
    /// Of each kind of trouble whether it was said and is not over.
    said: [bool; 4],
    device: Device,
}

impl<const D: usize> Guard<D> {
    /// A guard over translators between what two samplers give; none where the recipe wants none.
    pub(crate) fn new(
        config: &GuardConfig,
        seed: u64,
        classes: &[Class],
        [source, target]: [&mut Sampler; 2],
        device: &Device,
    ) -> Option<Self> {
        if config.every == 0 {
            return None;
        }
        let source = source.batch(NEVER, config.patches);
        let labelled = source.classes.is_some() && classes.len() >= 2;
        Some(Self {
            config: config.clone(),
            names: classes.iter().map(|class| class.name.clone()).collect(),
            target: target.batch(NEVER, config.patches),
            learning: labelled
                .then(|| Learning::new([source.channels, classes.len()], seed, device)),
            source,
            best: None,
            notes: Vec::new(),
            said: [false; 4],
            device: device.clone(),
        })
    }

    /// What says whether a batch keeps its structures, where one that does not is not to train the
    /// segmentor.
    pub(crate) fn structure(&self) -> Option<&Structure<D>> {
        let learning = self.learning.as_ref().filter(|_| self.config.drop_lost);
        learning.map(|learning| &learning.structure)
    }

    /// Learns from a batch of the source.
    pub(crate) fn learn(&mut self, batch: &Batch, step: u64) {
        if let Some(learning) = self
            .learning
            .as_mut()
            .filter(|_| step.is_multiple_of(LESSON))
        {
            learning.learn(batch);
        }
    }

    /// Looks, where it is time to; `weights` are kept where they are the best so far.
    pub(crate) fn look(
        &mut self,
        step: u64,
        nets: Watched<'_, D>,
        weights: impl Fn() -> Nets,
    ) -> Losses {
        if !(step + 1).is_multiple_of(self.config.every) {
            return Losses::new();
        }
        let (x, y) = (&self.source, &self.target);
        let image = |batch: &Batch| batch.tensor::<D>(&self.device);
        let fixed = |net: &ResNet<D>| burn::module::Module::no_grad(net.clone());
        let to_target = fixed(nets.to_target);
        let fake = to_target.forward(image(x));
        let translation = ops::values(fake.clone());
        let area = x.channels * x.area();
        let inversion = inversion(&x.images, &translation, &y.images);
        let change = difference(&x.images, &translation);
        let diversity = spread(&translation, area) / spread(&x.images, area).max(1e-6);
        let mut found = vec![
            ("guard_inversion", inversion),
            ("guard_change", change),
            ("guard_diversity", diversity),
        ];
        let mut worst = None;
        if let (Some(learning), Some(truth)) = (&self.learning, &x.classes) {
            let structure = &learning.structure;
            let before = structure.counts(&x.images, x.shape, truth);
            let synthetic = structure.counts(&translation, x.shape, truth);
            found.push(("guard_synthetic", synthetic.mean_dice() as f32));
            if let Some(to_source) = nets.to_source {
                let back = ops::values(fixed(to_source).forward(fake.clone()));
                worst = before.worst(&structure.counts(&back, x.shape, truth));
            }
        }
        if let Some((_, share)) = worst {
            found.push(("guard_kept", share as f32));
        }
        if let (Some(segmentor), Some(to_source), Some(truth)) =
            (nets.segmentor, nets.to_source, &x.classes)
        {
            let segmentor = burn::module::Module::no_grad(segmentor.clone());
            let classes = self.names.len();
            let on_fake = Counts::of(classes, &most_likely(segmentor.forward(fake)), truth);
            let real = most_likely(segmentor.forward(image(y)));
            let again = to_target.forward(fixed(to_source).forward(image(y)));
            let again = most_likely(segmentor.forward(again));
            let real: Vec<u8> = real.into_iter().map(|class| class as u8).collect();
            let stable = Counts::of(classes, &again, &real);
            let score = (on_fake.mean_dice() * stable.mean_dice()) as f32;
            found.push(("guard_consistency", score));
            // Where nothing is found yet, no look is better than the last weights.
            let best = self.best.as_ref().map_or(0.0, |(best, _)| *best);
            let better = score > best;
            if self.config.choose && better {
                self.best = Some((score, weights()));
            }
        }
        self.tell([inversion, change, diversity], worst);
        found
    }

    /// Notes what has become bad.
    fn tell(&mut self, [inversion, change, diversity]: [f32; 3], worst: Option<(usize, f64)>) {
        let lost = worst.filter(|(_, share)| KEPT.broken_by(*share as f32));
        let class = lost.map_or("", |(class, _)| self.names[class].as_str());
        let share = lost.map_or(0.0, |(_, share)| share);
        let troubles = [
            (
                INVERSION.broken_by(inversion),
                format!(
                    "guard: contrast may be inverted: what is darkest becomes brighter by \
                     {inversion:.2} of the range; raise loss.lambda_identity"
                ),
            ),
            (
                CHANGE.broken_by(change),
                format!("guard: images are passed on unchanged, but for {change:.3} of the range"),
            ),
            (
                DIVERSITY.broken_by(diversity),
                format!(
                    "guard: translations collapse: they differ {diversity:.2} times as much as \
                     their images"
                ),
            ),
            (
                lost.is_some(),
                format!("guard: {class} keeps {share:.2} of its Dice in what comes back"),
            ),
        ];
        for ((bad, note), said) in troubles.into_iter().zip(&mut self.said) {
            if bad && !*said {
                self.notes.push(note);
            }
            *said = bad;
        }
    }

    /// What is to be said since the last call.
    pub(crate) fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The weights that are kept, where a look chose some, and those of the guard's segmentor.
    pub(crate) fn weights(&self, last: impl FnOnce() -> Nets) -> Nets {
        let mut weights = match &self.best {
            Some((_, best)) => best.clone(),
            None => last(),
        };
        weights.extend(self.learning.as_ref().map(Learning::weights));
        weights
    }

    pub(crate) fn state(&self) -> Nets {
        let mut state = self.learning.as_ref().map_or(Vec::new(), Learning::state);
        let score = Named {
            name: "score".into(),
            shape: vec![self.best.iter().len()],
            values: self.best.iter().map(|(score, _)| *score).collect(),
        };
        state.push(("guard_best".into(), vec![score]));
        for (name, weights) in self.best.iter().flat_map(|(_, best)| best) {
            state.push((format!("best_{name}"), weights.clone()));
        }
        state
    }

    pub(crate) fn restore(&mut self, state: &State, run: &RunFolder) -> Result<()> {
        if let Some(learning) = &mut self.learning {
            learning.restore(state, run)?;
        }
        let score = state.arrays("guard_best", run.root())?;
        self.best = score
            .first()
            .and_then(|score| score.values.first())
            .map(|&score| {
                let nets = state.arrays.iter().filter_map(|(name, weights)| {
                    Some((name.strip_prefix("best_")?.to_owned(), weights.clone()))
                });
                (score, nets.collect())
            });
        Ok(())
    }
}

/// Mean of the translation where the image is darkest, above the target's darkest 5 %, by the
/// range; 0 where less than a hundredth of the image is dark.
pub(super) fn inversion(images: &[f32], translations: &[f32], target: &[f32]) -> f32 {
    let dark: Vec<f32> = images
        .iter()
        .zip(translations)
        .filter(|(image, _)| **image < -0.9)
        .map(|(_, translation)| *translation)
        .collect();
    if dark.len() * 100 < images.len() {
        return 0.0;
    }
    let mut sorted = target.to_vec();
    sorted.sort_by(f32::total_cmp);
    let darkest = sorted[sorted.len() / 20];
    (dark.iter().sum::<f32>() / dark.len() as f32 - darkest) / 2.0
}

/// Mean absolute difference by the range.
pub(super) fn difference(a: &[f32], b: &[f32]) -> f32 {
    let sum: f32 = a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum();
    sum / (2.0 * a.len() as f32)
}

/// Mean difference of each image and the next, by the range.
fn spread(images: &[f32], area: usize) -> f32 {
    let each: Vec<&[f32]> = images.chunks(area).collect();
    let sum: f32 = each
        .windows(2)
        .map(|pair| difference(pair[0], pair[1]))
        .sum();
    sum / each.len().saturating_sub(1).max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_by_hand() {
        let image = [-1.0, -1.0, 0.0, 0.5];
        let target = [-1.0; 40];
        assert_eq!(inversion(&image, &[1.0, 0.5, 0.0, -1.0], &target), 0.875);
        assert_eq!(inversion(&image, &image, &target), 0.0);
        assert_eq!(inversion(&[0.0; 4], &[1.0; 4], &target), 0.0);
        assert_eq!(difference(&image, &[-1.0, 0.0, 0.0, 0.5]), 0.125);
        assert_eq!(spread(&[0.0, 0.0, 1.0, 1.0, 1.0, 1.0], 2), 0.25);
    }
}
