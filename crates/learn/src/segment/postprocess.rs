//! What is known of structures beforehand: how many parts, how small, whether hollow.
//!
//! Three rules per class, after nnU-Net (Isensee et al., doi:10.1038/s41592-020-01008-z), which has
//! the first: keep the largest connected part alone, remove parts below a volume, fill holes. In
//! this order; what is removed becomes background, and only background is filled, so that no rule
//! of one class takes a voxel from another. Voxels touch by faces, edges or corners.
//!
//! Rules are chosen on predictions of validation cases, class by class, each only where it raises
//! the class's mean Dice. Volumes that are tried come from the truth of those cases: the smallest
//! part that occurs, and shares of the smallest main part, as a threshold above that would remove a
//! structure that is there. Dice is 1 where a class is neither in the truth nor predicted, so that
//! removing all of a false find counts.
//!
//! Classes here are single labels; of regions that overlap, each label is one.

use crossmod_volume::Labels;
use crossmod_volume::shape::{
    Component, Components, Extent, Least, Neighbourhood, fill_holes, keep_largest,
    remove_smaller_than,
};
use serde::{Deserialize, Serialize};

use super::plan::Class;
use crate::{Error, Result};
use boxes::{Boxes, cut, paste};

mod boxes;

const TOUCHING: Neighbourhood = Neighbourhood::Corners;

/// A rise of the mean Dice below this is rounding.
const RISE: f64 = 1e-6;

/// Shares of the smallest main part that are tried as the least volume.
const SHARES: [f64; 3] = [0.1, 0.25, 0.5];

/// The rules of every class that has some.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Postprocessing {
    /// One entry a class, in the order in which they are applied.
    pub classes: Vec<Rules>,
}

/// The rules of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The label.
    pub value: u16,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Whether the largest part alone is kept.
    #[serde(default)]
    pub keep_largest: bool,
    /// The least volume of a part, mm³; any if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_mm3: Option<f64>,
    /// Whether holes are filled.
    #[serde(default)]
    pub fill_holes: bool,
    /// Mean Dice of the validation cases without and with the rules, for information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dice: Option<[f64; 2]>,
}

impl Rules {
    /// Whether the same is done to the same label.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let deeds = |r: &Self| (r.value, r.keep_largest, r.least_mm3, r.fill_holes);
        deeds(self) == deeds(other)
    }

    fn is_none(&self) -> bool {
        !self.keep_largest && self.least_mm3.is_none() && !self.fill_holes
    }

    /// Applies the rules about parts.
    fn remove(&self, labels: &mut Labels) {
        let of = |label| label == self.value;
        if self.keep_largest {
            keep_largest(labels, of, TOUCHING);
        }
        if let Some(mm3) = self.least_mm3 {
            remove_smaller_than(labels, of, Least::Mm3(mm3), TOUCHING);
        }
    }

    fn fill(&self, labels: &mut Labels) {
        if self.fill_holes {
            fill_holes(labels, |l| l == self.value, self.value, Extent::Volume);
        }
    }

    /// Whether a part of these stays.
    fn keeps(&self, part: &Part, is_largest: bool) -> bool {
        (is_largest || !self.keep_largest) && self.least_mm3.is_none_or(|mm3| part.volume >= mm3)
    }
}

impl Postprocessing {
    /// Applies every rule.
    ///
    /// # Errors
    /// None that a label map of its own grid gives.
    pub fn apply(&self, labels: &mut Labels) -> Result<()> {
        let boxes = Boxes::of(labels);
        for rules in self.classes.iter().filter(|rules| !rules.is_none()) {
            if let Some(frame) = boxes.around(labels.grid(), rules.value) {
                let mut part = cut(labels, frame)?;
                rules.remove(&mut part);
                rules.fill(&mut part);
                paste(&part, frame, labels);
            }
        }
        Ok(())
    }

    /// Chooses rules on `cases` validation cases. `pair` gives the prediction and the truth of one,
    /// and is asked for each of them twice, one at a time; voxels of the truth's label `ignore` do
    /// not count.
    ///
    /// # Errors
    /// What `pair` gives; where a prediction and its truth differ in shape.
    pub fn choose(
        classes: &[Class],
        ignore: Option<u16>,
        cases: usize,
        mut pair: impl FnMut(usize) -> Result<[Labels; 2]>,
    ) -> Result<Self> {
        let found = classes.iter().filter(|class| class.value != 0);
        let mut trials: Vec<Trial> = found.map(Trial::new).collect();
        let mut load = |case| {
            let [prediction, truth] = pair(case)?;
            same_shape(&prediction, &truth)?;
            Ok::<_, Error>([prediction, truth])
        };
        for case in 0..cases {
            let [prediction, truth] = load(case)?;
            let boxes = [Boxes::of(&prediction), Boxes::of(&truth)];
            for trial in &mut trials {
                trial.see_parts(&boxes, &prediction, &truth, ignore)?;
            }
        }
        trials.iter_mut().for_each(Trial::choose_parts);
        for case in 0..cases {
            let [prediction, truth] = load(case)?;
            let boxes = Boxes::of(&prediction);
            for trial in &mut trials {
                trial.see_holes(&boxes, &prediction, &truth, ignore)?;
            }
        }
        trials.iter_mut().for_each(Trial::choose_holes);
        let chosen = trials.into_iter().map(|trial| trial.rules);
        Ok(Self {
            classes: chosen.filter(|rules| !rules.is_none()).collect(),
        })
    }
}

/// A connected part of a prediction.
struct Part {
    /// mm³.
    volume: f64,
    score: Score,
}

/// Voxels of a prediction.
#[derive(Debug, Clone, Copy, Default)]
struct Score {
    /// That count.
    predicted: usize,
    /// That are right.
    right: usize,
}

impl Score {
    fn count(&mut self, is_ignored: bool, is_right: bool) {
        self.predicted += usize::from(!is_ignored);
        self.right += usize::from(is_right);
    }

    fn plus(self, other: Self) -> Self {
        Self {
            predicted: self.predicted + other.predicted,
            right: self.right + other.right,
        }
    }

    fn dice(self, truth: usize) -> f64 {
        match self.predicted + truth {
            0 => 1.0,
            both => 2.0 * self.right as f64 / both as f64,
        }
    }
}

/// The parts of a class in one case.
struct Seen {
    parts: Vec<Part>,
    largest: Option<usize>,
    /// Voxels of the truth.
    truth: usize,
}

/// What is known of a class while its rules are chosen.
struct Trial {
    rules: Rules,
    cases: Vec<Seen>,
    /// Volumes of the truth, mm³: of the smallest part, and of the smallest of the cases' largest.
    smallest: f64,
    smallest_main: f64,
    /// Sums of Dice with the rules about parts alone and with holes filled.
    without_and_with: [f64; 2],
}

impl Trial {
    fn new(class: &Class) -> Self {
        Self {
            rules: Rules {
                value: class.value,
                name: class.name.clone(),
                keep_largest: false,
                least_mm3: None,
                fill_holes: false,
                dice: None,
            },
            cases: Vec::new(),
            smallest: f64::INFINITY,
            smallest_main: f64::INFINITY,
            without_and_with: [0.0; 2],
        }
    }

    fn see_parts(
        &mut self,
        [predicted, true_]: &[Boxes; 2],
        prediction: &Labels,
        truth: &Labels,
        ignore: Option<u16>,
    ) -> Result<()> {
        let value = self.rules.value;
        let of = |label| label == value;
        let mut seen = Seen {
            parts: Vec::new(),
            largest: None,
            truth: 0,
        };
        if let Some(frame) = true_.around(truth.grid(), value) {
            let truth = cut(truth, frame)?;
            seen.truth = truth.data().iter().filter(|&&l| of(l)).count();
            let parts = Components::of(&truth, of, TOUCHING);
            let volumes = || parts.all().iter().map(|part| part.volume_mm3);
            self.smallest = volumes().fold(self.smallest, f64::min);
            self.smallest_main = self.smallest_main.min(volumes().fold(0.0, f64::max));
        }
        if let Some(frame) = predicted.around(prediction.grid(), value) {
            let (prediction, truth) = (cut(prediction, frame)?, cut(truth, frame)?);
            let parts = Components::of(&prediction, of, TOUCHING);
            let part = |part: &Component| Part {
                volume: part.volume_mm3,
                score: Score::default(),
            };
            seen.parts = parts.all().iter().map(part).collect();
            seen.largest = parts.largest();
            for (&place, &label) in parts.map().iter().zip(truth.data()) {
                if place > 0 {
                    let score = &mut seen.parts[place as usize - 1].score;
                    score.count(Some(label) == ignore, of(label));
                }
            }
        }
        self.cases.push(seen);
        Ok(())
    }

    /// Mean Dice under some rules about parts.
    fn dice(&self, rules: &Rules) -> f64 {
        let of_case = |seen: &Seen| {
            let parts = seen.parts.iter().enumerate();
            let kept = parts.filter(|(i, part)| rules.keeps(part, Some(*i) == seen.largest));
            let score = kept.fold(Score::default(), |sum, (_, part)| sum.plus(part.score));
            score.dice(seen.truth)
        };
        self.cases.iter().map(of_case).sum::<f64>() / self.cases.len().max(1) as f64
    }

    fn choose_parts(&mut self) {
        let mut volumes: Vec<Option<f64>> = Vec::new();
        if self.smallest.is_finite() {
            let shares = SHARES.map(|share| share * self.smallest_main);
            volumes.extend(shares.into_iter().chain([self.smallest]).map(Some));
        }
        // Fewer rules first: another is taken only where it adds something.
        let mut tried = vec![(false, None), (true, None)];
        tried.extend(volumes.iter().map(|&least| (false, least)));
        tried.extend(volumes.iter().map(|&least| (true, least)));
        let none = self.dice(&self.rules);
        let mut best = none;
        for (keep_largest, least_mm3) in tried {
            let rules = Rules {
                keep_largest,
                least_mm3,
                ..self.rules.clone()
            };
            let dice = self.dice(&rules);
            if dice > best + RISE {
                best = dice;
                self.rules = rules;
            }
        }
        self.rules.dice = Some([none, best]);
    }

    fn see_holes(
        &mut self,
        boxes: &Boxes,
        prediction: &Labels,
        truth: &Labels,
        ignore: Option<u16>,
    ) -> Result<()> {
        let value = self.rules.value;
        let total = truth.data().iter().filter(|&&l| l == value).count();
        let mut scores = [Score::default(); 2];
        if let Some(frame) = boxes.around(prediction.grid(), value) {
            let (mut part, truth) = (cut(prediction, frame)?, cut(truth, frame)?);
            self.rules.remove(&mut part);
            let score = |part: &Labels| {
                let mut score = Score::default();
                let pairs = part.data().iter().zip(truth.data());
                for (_, &label) in pairs.filter(|&(&l, _)| l == value) {
                    score.count(Some(label) == ignore, label == value);
                }
                score
            };
            scores[0] = score(&part);
            fill_holes(&mut part, |l| l == value, value, Extent::Volume);
            scores[1] = score(&part);
        }
        for (sum, score) in self.without_and_with.iter_mut().zip(scores) {
            *sum += score.dice(total);
        }
        Ok(())
    }

    fn choose_holes(&mut self) {
        let [without, with] = self
            .without_and_with
            .map(|s| s / self.cases.len().max(1) as f64);
        if with > without + RISE {
            self.rules.fill_holes = true;
            self.rules.dice = self.rules.dice.map(|[none, _]| [none, with]);
        }
    }
}

fn same_shape(prediction: &Labels, truth: &Labels) -> Result<()> {
    let [a, b] = [truth, prediction].map(|labels| labels.grid().shape());
    if a == b {
        return Ok(());
    }
    let message = format!("expected a prediction of its truth's shape {a:?}, found {b:?}");
    Err(crossmod_volume::Error::Geometry(message).into())
}

#[cfg(test)]
mod tests;
