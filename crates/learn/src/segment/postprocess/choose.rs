//! Which rules about parts and holes help, found on validation cases.
//!
//! Rules are chosen on predictions of validation cases, class by class, each only where it raises
//! the class's mean Dice. Volumes that are tried come from the truth of those cases: the smallest
//! part that occurs, and shares of the smallest main part, as a threshold above that would remove a
//! structure that is there. Dice is 1 where a class is neither in the truth nor predicted, so that
//! removing all of a false find counts.
//!
//! Rules of single labels leave each other's voxels alone, and all are chosen at once. Rules of one
//! region change others: each region's are chosen on predictions to which the rules of those before
//! it were applied.

use crossmod_volume::Labels;
use crossmod_volume::shape::{Component, Components};

use super::boxes::{Boxes, cut};
use super::{OWN, Postprocessing, Rules, TOUCHING};
use crate::segment::plan::Class;
use crate::{Error, Result};

/// A rise of the mean Dice below this is rounding.
const RISE: f64 = 1e-6;

/// Shares of the smallest main part that are tried as the least volume.
const SHARES: [f64; 3] = [0.1, 0.25, 0.5];

impl Postprocessing {
    /// Chooses rules on validation cases. `drawn` tells for each case which of the classes were
    /// drawn in its truth, `None` where all were: the others are not judged there. `pair` gives the
    /// prediction and the truth of a case, and is asked for each of them twice, or twice a region,
    /// one at a time; voxels of the truth's label `ignore` do not count.
    ///
    /// # Errors
    /// What `pair` gives; where a prediction and its truth differ in shape.
    pub fn choose(
        classes: &[Class],
        ignore: Option<u16>,
        drawn: &[Option<Vec<bool>>],
        mut pair: impl FnMut(usize) -> Result<[Labels; 2]>,
    ) -> Result<Self> {
        let found = classes.iter().enumerate();
        let found = found.filter(|(_, class)| class.value != 0);
        let mut trials: Vec<Trial> = found
            .map(|(i, class)| Trial::new(i, Rules::none(class, classes)))
            .collect();
        let together = if classes.iter().any(|class| class.members().len() > 1) {
            1
        } else {
            trials.len().max(1)
        };
        let mut chosen = Self::default();
        for trials in trials.chunks_mut(together) {
            let mut load = |case| {
                let [mut prediction, truth] = pair(case)?;
                same_shape(&prediction, &truth)?;
                chosen.apply(&mut prediction)?;
                Ok::<_, Error>([prediction, truth])
            };
            let judged = |trial: &&mut Trial, case: usize| {
                drawn[case].as_ref().is_none_or(|drawn| drawn[trial.class])
            };
            for case in 0..drawn.len() {
                let loaded = load(case)?;
                let boxes = [Boxes::of(&loaded[0]), Boxes::of(&loaded[1])];
                for trial in trials.iter_mut().filter(|trial| judged(trial, case)) {
                    trial.see_parts(&boxes, &loaded, ignore)?;
                }
            }
            trials.iter_mut().for_each(Trial::choose_parts);
            for case in 0..drawn.len() {
                let loaded = load(case)?;
                let boxes = Boxes::of(&loaded[0]);
                for trial in trials.iter_mut().filter(|trial| judged(trial, case)) {
                    trial.see_holes(&boxes, &loaded, ignore)?;
                }
            }
            trials.iter_mut().for_each(Trial::choose_holes);
            let rules = trials.iter().map(|trial| trial.rules.clone());
            chosen
                .classes
                .extend(rules.filter(|rules| !rules.is_none()));
        }
        Ok(chosen)
    }
}

impl Rules {
    /// Whether a part of these stays.
    fn keeps(&self, part: &Part, is_largest: bool) -> bool {
        (is_largest || !self.keep_largest) && self.least_mm3.is_none_or(|mm3| part.volume >= mm3)
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
    /// Its place among all classes.
    class: usize,
    rules: Rules,
    cases: Vec<Seen>,
    /// Volumes of the truth, mm³: of the smallest part, and of the smallest of the cases' largest.
    smallest: f64,
    smallest_main: f64,
    /// Sums of Dice with the rules about parts alone and with holes filled.
    without_and_with: [f64; 2],
}

impl Trial {
    fn new(class: usize, rules: Rules) -> Self {
        Self {
            class,
            rules,
            cases: Vec::new(),
            smallest: f64::INFINITY,
            smallest_main: f64::INFINITY,
            without_and_with: [0.0; 2],
        }
    }

    fn see_parts(
        &mut self,
        [predicted, true_]: &[Boxes; 2],
        [prediction, truth]: &[Labels; 2],
        ignore: Option<u16>,
    ) -> Result<()> {
        let members = self.rules.members();
        let of = |label| members.contains(&label);
        let mut seen = Seen {
            parts: Vec::new(),
            largest: None,
            truth: 0,
        };
        if let Some(frame) = true_.around(truth.grid(), members) {
            let truth = cut(truth, frame)?;
            seen.truth = truth.data().iter().filter(|&&l| of(l)).count();
            let parts = Components::of(&truth, of, TOUCHING);
            let volumes = || parts.all().iter().map(|part| part.volume_mm3);
            self.smallest = volumes().fold(self.smallest, f64::min);
            self.smallest_main = self.smallest_main.min(volumes().fold(0.0, f64::max));
        }
        if let Some(frame) = predicted.around(prediction.grid(), members) {
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
        [prediction, truth]: &[Labels; 2],
        ignore: Option<u16>,
    ) -> Result<()> {
        let rules = &self.rules;
        let total = truth.data().iter().filter(|&&l| rules.has(l)).count();
        let mut scores = [Score::default(); 2];
        if let Some(frame) = boxes.around(prediction.grid(), rules.members()) {
            let (part, truth) = (cut(prediction, frame)?, cut(truth, frame)?);
            for (score, filled) in scores.iter_mut().zip([false, true]) {
                let kept = rules.kept(&part, filled)?;
                let pairs = kept.data().iter().zip(truth.data());
                for (_, &label) in pairs.filter(|&(&kept, _)| kept == OWN) {
                    score.count(Some(label) == ignore, rules.has(label));
                }
            }
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
