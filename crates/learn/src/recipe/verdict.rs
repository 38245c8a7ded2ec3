//! Where the guards' figures become bad, and what the figures in a log come to.

use crate::fit::Row;

/// A figure that is watched, and what it may be.
#[derive(Debug)]
pub(super) struct Limit {
    /// Its name in the log, to which 3-D translators add the modality.
    figure: &'static str,
    /// What it is.
    meaning: &'static str,
    least: f32,
    most: f32,
}

/// Contrast turned over.
pub(super) const INVERSION: Limit = Limit {
    figure: "guard_inversion",
    meaning: "how much brighter the darkest becomes, by the range",
    least: f32::NEG_INFINITY,
    most: 0.5,
};
/// Images passed on.
pub(super) const CHANGE: Limit = Limit {
    figure: "guard_change",
    meaning: "difference between images and translations, by the range",
    least: 0.01,
    most: f32::INFINITY,
};
/// One translation for all.
pub(super) const DIVERSITY: Limit = Limit {
    figure: "guard_diversity",
    meaning: "differences between translations, by those between their images",
    least: 0.1,
    most: f32::INFINITY,
};
/// Structures lost.
pub(super) const KEPT: Limit = Limit {
    figure: "guard_kept",
    meaning: "share of its Dice that the class which loses most keeps in what comes back",
    least: super::structure::LOST as f32,
    most: f32::INFINITY,
};
/// The figure by which weights are chosen.
const CONSISTENCY: &str = "guard_consistency";

impl Limit {
    /// Whether a value is beyond it.
    pub(super) fn broken_by(&self, value: f32) -> bool {
        value < self.least || value > self.most
    }

    /// `at least 0.1`, `at most 0.5`.
    fn wanted(&self) -> String {
        if self.most.is_finite() {
            format!("at most {}", self.most)
        } else {
            format!("at least {}", self.least)
        }
    }
}

/// What a guard's figure says of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The figure's name in the log.
    pub figure: String,
    /// What it is.
    pub meaning: &'static str,
    /// What it should be.
    pub wanted: String,
    /// At the last look.
    pub last: f32,
    /// Whether that is bad.
    pub bad: bool,
    /// At the look with the best `guard_consistency`, by which weights are chosen where they are.
    pub at_best: Option<f32>,
}

/// What the guards' figures in a run's log say; nothing where no guard looked.
#[must_use]
pub fn verdicts(log: &[Row]) -> Vec<Verdict> {
    let best = log
        .iter()
        .filter(|row| row.losses.get(CONSISTENCY).is_some_and(|c| *c > 0.0))
        .max_by(|a, b| a.losses[CONSISTENCY].total_cmp(&b.losses[CONSISTENCY]));
    let last = log
        .iter()
        .rev()
        .find(|row| row.losses.keys().any(|name| name.starts_with("guard_")));
    let Some(last) = last else {
        return Vec::new();
    };
    let limits = [&INVERSION, &CHANGE, &DIVERSITY, &KEPT];
    let of = |limit: &'static Limit| {
        let figures = last.losses.iter();
        figures
            .filter(|(name, _)| name.starts_with(limit.figure))
            .map(|(name, &value)| Verdict {
                figure: name.clone(),
                meaning: limit.meaning,
                wanted: limit.wanted(),
                last: value,
                bad: limit.broken_by(value),
                at_best: best.and_then(|row| row.losses.get(name)).copied(),
            })
    };
    limits.into_iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64, losses: &[(&str, f32)]) -> Row {
        Row {
            step,
            epoch: 1,
            learning_rate: 1.0,
            seconds: 0.0,
            losses: losses.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect(),
        }
    }

    #[test]
    fn the_last_look_is_judged_and_the_best_one_shown_beside_it() {
        let log = [
            row(0, &[("cycle", 1.0)]),
            row(99, &[("guard_change", 0.2), ("guard_consistency", 0.6)]),
            row(199, &[("guard_change", 0.005), ("guard_consistency", 0.4)]),
            row(200, &[("cycle", 1.0)]),
        ];
        let found = verdicts(&log);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].last, found[0].at_best), (0.005, Some(0.2)));
        assert!(found[0].bad && found[0].wanted == "at least 0.01");
    }

    #[test]
    fn figures_of_both_modalities_are_judged_and_no_look_gives_no_verdict() {
        let log = [row(
            9,
            &[
                ("guard_inversion_source", 0.7),
                ("guard_inversion_target", 0.1),
                ("guard_kept_source", 0.9),
            ],
        )];
        let bad: Vec<bool> = verdicts(&log).iter().map(|v| v.bad).collect();
        assert_eq!(bad, [true, false, false]);
        assert_eq!(verdicts(&log[..0]), []);
    }
}
