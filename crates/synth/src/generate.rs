//! From a case and a number to an image, its labels and the record of how they were made.

use std::collections::BTreeMap;

use crossmod_volume::rng::{Rng, case_id};
use crossmod_volume::{Image, Labels};
use serde::{Deserialize, Serialize};

use crate::{Draw, Error, Result, Scene, Step, Structure, SynthRecipe};

/// Makes images by a recipe.
#[derive(Debug, Clone)]
pub struct Generator {
    recipe: SynthRecipe,
}

/// An image that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The image.
    pub image: Image,
    /// What is to be learnt of it, on its grid.
    pub labels: Labels,
    /// What the values were that steps worked on; targets are those of `labels`.
    pub structures: BTreeMap<u16, Structure>,
    /// How it was made.
    pub record: Record,
}

/// How an image was made: enough to make it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The version of this program.
    pub version: String,
    /// The recipe's seed.
    pub seed: u64,
    /// The case that the labels are of.
    pub case: String,
    /// Which of the case's images it is.
    pub number: u32,
    /// What each step did, in order.
    pub draws: Vec<Draw>,
}

impl Generator {
    /// Checks a recipe and reads the files that it names.
    ///
    /// # Errors
    /// [`Error::Recipe`] where a step's values cannot be; what reading its files gives.
    pub fn new(mut recipe: SynthRecipe) -> Result<Self> {
        for step in &mut recipe.steps {
            step.load()?;
        }
        Ok(Self { recipe })
    }

    /// The recipe.
    #[must_use]
    pub fn recipe(&self) -> &SynthRecipe {
        &self.recipe
    }

    /// Whether a step cuts scenes to the patch that a trainer wants.
    #[must_use]
    pub fn cuts(&self) -> bool {
        self.recipe.steps.iter().any(Step::cuts)
    }

    /// The values in a scene, and their structures once the recipe's `target` steps have said what is
    /// learnt of them.
    ///
    /// # Errors
    /// [`Error::Recipe`] where such a step names what the scene has not.
    pub fn learnt(&self, scene: &Scene) -> Result<BTreeMap<u16, Structure>> {
        let mut told = Scene {
            labels: scene.labels.clone(),
            structures: scene.structures.clone(),
            scan: None,
            image: None,
            patch: None,
        };
        let targets = |step: &&Step| matches!(step, Step::Target(_));
        for step in self.recipe.steps.iter().filter(targets) {
            // It draws nothing.
            step.draw(&told, &mut Rng::new(0, 0, 0))?.apply(&mut told)?;
        }
        let values = told.labels.counts().into_keys();
        Ok(values.map(|value| (value, told.structure(value))).collect())
    }

    /// The image `number` of a case. What it is depends on the recipe, its seed, the case's name and
    /// the number, and on nothing else.
    ///
    /// # Errors
    /// [`Error::Recipe`] where a step needs what the scene has not, or no step has painted.
    pub fn make(&self, case: &str, number: u32, mut scene: Scene) -> Result<Made> {
        let key = case_id(&format!("{case}#{number}"));
        let mut draws = Vec::with_capacity(self.recipe.steps.len());
        for (index, step) in (0u32..).zip(&self.recipe.steps) {
            let draw = step.draw(&scene, &mut Rng::new(self.recipe.seed, key, index))?;
            draw.apply(&mut scene)?;
            draws.push(draw);
        }
        let record = Record {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: self.recipe.seed,
            case: case.to_owned(),
            number,
            draws,
        };
        finish(scene, record)
    }
}

impl Record {
    /// Makes the image again from the case's scene.
    ///
    /// # Errors
    /// As [`Generator::make`].
    pub fn replay(&self, mut scene: Scene) -> Result<Made> {
        for draw in &self.draws {
            draw.apply(&mut scene)?;
        }
        finish(scene, self.clone())
    }
}

/// Takes the image off a scene, and of the labels what is to be learnt.
fn finish(mut scene: Scene, record: Record) -> Result<Made> {
    let image = scene.image.take().ok_or_else(|| {
        Error::Recipe(
            "expected a step that paints an image, such as \"intensities\", found none; add one"
                .into(),
        )
    })?;
    let targets: Vec<u16> = (0..=u16::MAX)
        .map(|v| scene.structures.get(&v).map_or(v, |s| s.target))
        .collect();
    let mut labels = scene.labels;
    for value in labels.data_mut() {
        *value = targets[usize::from(*value)];
    }
    Ok(Made {
        image,
        labels,
        structures: scene.structures,
        record,
    })
}
