//! What is known of structures beforehand: how many parts, how small, whether hollow.
//!
//! Three rules per class, after nnU-Net (Isensee et al., doi:10.1038/s41592-020-01008-z), which has
//! the first: keep the largest connected part alone, remove parts below a volume, fill holes. In
//! this order; what is removed becomes background, and only background is filled, so that no rule
//! of one class takes a voxel from another. Voxels touch by faces, edges or corners.
//!
//! A class that is a region is the union of its labels, and what lies within a part that goes, goes
//! with it. A region within a larger one gives what it loses back to that one, and its holes are
//! filled from it: an enhancing core without its specks leaves the tumour around as it was.
//!
//! `choose` finds on validation cases which rules help; a recipe may state them instead. Either way
//! they lie in the run's `postprocessing.toml`.

use crossmod_volume::Labels;
use crossmod_volume::shape::{
    Extent, Least, Neighbourhood, fill_holes, keep_largest, remove_smaller_than,
};
use serde::{Deserialize, Serialize};

use super::plan::Class;
use crate::Result;
use crate::fit::RunFolder;
use boxes::{Boxes, cut, paste};

pub use stated::PostprocessConfig;

mod boxes;
mod choose;
mod stated;

/// The file of a run that says how its segmentations are post-processed.
const FILE: &str = "postprocessing.toml";

const TOUCHING: Neighbourhood = Neighbourhood::Corners;

/// In masks of a class: the class itself, what can be filled, and other labels.
const OWN: u16 = 1;
const FREE: u16 = 0;
const OTHER: u16 = 2;

/// The rules of every class that has some.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Postprocessing {
    /// One entry a class, in the order in which they are applied.
    pub classes: Vec<Rules>,
}

/// The rules of one class.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The label, or the one that a region is written as.
    pub value: u16,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The labels that it is made of, where it is a region; none where it is `value` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<u16>,
    /// What removed voxels become: background (0), or the label of a region around.
    #[serde(default, skip_serializing_if = "is_background")]
    pub instead: u16,
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

/// Of serde's making.
fn is_background(label: &u16) -> bool {
    *label == 0
}

impl Rules {
    /// No rules yet, for a class among others.
    fn none(class: &Class, classes: &[Class]) -> Self {
        Self {
            value: class.value,
            name: class.name.clone(),
            values: class.values.clone(),
            instead: around(class, classes),
            ..Self::default()
        }
    }

    /// Whether the same is done to the same class.
    fn is_same(&self, other: &Self) -> bool {
        let deeds = |r: &Self| (r.keep_largest, r.least_mm3, r.fill_holes);
        (self.value, &self.values, self.instead) == (other.value, &other.values, other.instead)
            && deeds(self) == deeds(other)
    }

    fn is_none(&self) -> bool {
        !self.keep_largest && self.least_mm3.is_none() && !self.fill_holes
    }

    /// The labels that the class is made of.
    fn members(&self) -> &[u16] {
        if self.values.is_empty() {
            std::slice::from_ref(&self.value)
        } else {
            &self.values
        }
    }

    fn has(&self, label: u16) -> bool {
        self.members().contains(&label)
    }

    /// Where the class is in a box of a label map once its rules about parts were applied, and, if
    /// asked for, its holes filled.
    fn kept(&self, part: &Labels, filled: bool) -> Result<Labels> {
        let mask = part.data().iter().map(|&label| {
            if self.has(label) {
                OWN
            } else if label == 0 || label == self.instead {
                FREE
            } else {
                OTHER
            }
        });
        let mut mask = Labels::new(part.grid().clone(), mask.collect())?;
        let own = |label| label == OWN;
        // Both set to 0 what they remove: it is free.
        if self.keep_largest {
            keep_largest(&mut mask, own, TOUCHING);
        }
        if let Some(mm3) = self.least_mm3 {
            remove_smaller_than(&mut mask, own, Least::Mm3(mm3), TOUCHING);
        }
        // A region that is written as none of its own labels has none to fill with.
        if filled && self.has(self.value) {
            fill_holes(&mut mask, own, OWN, Extent::Volume);
        }
        Ok(mask)
    }

    /// Applies the rules to a box of a label map.
    fn apply(&self, part: &mut Labels) -> Result<()> {
        let kept = self.kept(part, self.fill_holes)?;
        for (label, &kept) in part.data_mut().iter_mut().zip(kept.data()) {
            *label = match (self.has(*label), kept == OWN) {
                (true, false) => self.instead,
                (false, true) => self.value,
                _ => *label,
            };
        }
        Ok(())
    }
}

impl Postprocessing {
    /// The rules of a run; none where it has no file of them.
    pub(crate) fn of_run(run: &RunFolder) -> Result<Self> {
        if run.file(FILE).exists() {
            run.read_toml(FILE)
        } else {
            Ok(Self::default())
        }
    }

    /// Makes them a new run's, where there are some.
    pub(crate) fn begin(&self, run: &RunFolder) -> Result<()> {
        if self.classes.is_empty() {
            Ok(())
        } else {
            self.save(run)
        }
    }

    /// Makes them a run's.
    pub(crate) fn save(&self, run: &RunFolder) -> Result<()> {
        run.write_toml(FILE, self)
    }

    /// Leaves those that others have too.
    pub(crate) fn keep_shared(&mut self, others: &Self) {
        self.classes
            .retain(|rule| others.classes.iter().any(|other| rule.is_same(other)));
    }

    /// Applies every rule.
    ///
    /// # Errors
    /// None that a label map of its own grid gives.
    pub fn apply(&self, labels: &mut Labels) -> Result<()> {
        let mut boxes = Boxes::of(labels);
        for rules in self.classes.iter().filter(|rules| !rules.is_none()) {
            if let Some(frame) = boxes.around(labels.grid(), rules.members()) {
                let mut part = cut(labels, frame)?;
                rules.apply(&mut part)?;
                paste(&part, frame, labels);
                // A single label shrinks, or fills its own holes; a region's may turn into others.
                if !rules.values.is_empty() {
                    boxes = Boxes::of(labels);
                }
            }
        }
        Ok(())
    }
}

/// What a class that loses a voxel leaves there: the label of the smallest region that holds the
/// whole class and has a label of its own beside it, or background.
fn around(class: &Class, classes: &[Class]) -> u16 {
    let holds = |region: &&Class| {
        region.members().len() > class.members().len()
            && class.members().iter().all(|v| region.members().contains(v))
            && region.members().contains(&region.value)
            && !class.members().contains(&region.value)
    };
    let regions = classes.iter().filter(holds);
    regions
        .min_by_key(|region| region.members().len())
        .map_or(0, |region| region.value)
}

#[cfg(test)]
mod tests;
