//! Both datasets of a training on whole volumes, and what they decide.

use std::collections::BTreeMap;
use std::path::Path;

use crossmod_volume::dataset::{Case, Dataset};
use crossmod_volume::io;
use crossmod_volume::rng::{Rng, case_id};
use crossmod_volume::space::{Orientation, reoriented_grid};
use serde::{Deserialize, Serialize};

use super::learner::Learner;
use super::{Patience, Phase, ShapeConsistency, ShapeKind, ShapeRecipe};
use crate::batch::{Order, Volumes};
use crate::device::Processor;
use crate::fit::RunFolder;
use crate::fit::manifest::Used;
use crate::net::PatchGanConfig;
use crate::plan::{Class, Modality, PlanConfig, Sample};
use crate::recipe::launch::{Built, Course, Launch, rules};
use crate::recipe::{Readable as _, plain_labels};
use crate::segment::Postprocessing;
use crate::{Error, Result};

/// Choices a recipe makes for the planner of volumes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VolumePlanConfig {
    /// Distance between voxels in the nets, along every axis.
    pub spacing_mm: f64,
    /// The largest sides, `[z, y, x]`: training volumes are cropped to them about their centres.
    pub max_shape: [usize; 3],
    /// HU that become -1 and 1 in CT.
    pub ct_window: [f32; 2],
    /// Percentiles that become -1 and 1 in every other modality.
    pub percentiles: [f64; 2],
}

impl Default for VolumePlanConfig {
    /// The paper's spacing and its crop, 86 slices being padded to 88; the window of a heart with
    /// contrast agent and the percentiles are chosen.
    fn default() -> Self {
        Self {
            spacing_mm: 1.5,
            max_shape: [88, 112, 112],
            ct_window: [-200.0, 600.0],
            percentiles: [1.0, 99.0],
        }
    }
}

/// How volumes are prepared for the nets of a run, and what their classes mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumePlan {
    /// Distance between voxels, along every axis.
    pub spacing_mm: f64,
    /// Voxels of a training volume, `[z, y, x]`.
    pub shape: [usize; 3],
    /// Why, one sentence a choice.
    pub reasons: Vec<String>,
    /// The classes in the order of the segmentors' channels; the first is background.
    pub classes: Vec<Class>,
    /// How the source's intensities are prepared.
    pub source: Modality,
    /// How the target's are.
    pub target: Modality,
}

/// Both datasets.
pub(in crate::recipe) struct Data {
    sides: [Dataset; 2],
    classes: BTreeMap<u16, String>,
}

impl Launch for ShapeRecipe {
    type Kind = ShapeKind;
    type Data = Data;
    type Plan = VolumePlan;

    fn open(&self, source: Option<&Path>, target: Option<&Path>) -> Result<Data> {
        let (Some(source), Some(target)) = (source, target) else {
            return Err(Error::Recipe(
                "expected --source DATASET and --target DATASET, the labelled volumes of both \
                 modalities"
                    .into(),
            ));
        };
        let sides = [Dataset::open(source)?, Dataset::open(target)?];
        let mut classes = BTreeMap::new();
        for dataset in &sides {
            plain_labels(dataset)?;
            let found = if dataset.labels_declared {
                dataset.labels.clone()
            } else {
                dataset.discover_labels()?
            };
            for (value, name) in found {
                classes.entry(value).or_insert(name);
            }
        }
        if !(2..=255).contains(&classes.len()) {
            let message = format!("expected 2 to 255 labels, found {}", classes.len());
            return Err(Error::data(message, source));
        }
        let data = Data { sides, classes };
        if data
            .cases(self)
            .iter()
            .flatten()
            .all(|(_, labelled)| !labelled)
        {
            let message = "expected label maps to train on, found none; put them in labelsTr";
            return Err(Error::data(message, source));
        }
        Ok(data)
    }

    fn used(data: &Data) -> Vec<Used> {
        ["source", "target"]
            .into_iter()
            .zip(&data.sides)
            .map(|(role, dataset)| Used::of(role, dataset, &dataset.training))
            .collect()
    }

    fn plan(&self, data: &Data, _: &Processor) -> Result<VolumePlan> {
        let config = PlanConfig {
            ct_window: self.plan.ct_window,
            percentiles: self.plan.percentiles,
            ..PlanConfig::default()
        };
        let mut reasons = Vec::new();
        let mut largest = [0; 3];
        let mut modalities = Vec::with_capacity(2);
        for dataset in &data.sides {
            let (modality, why) = Modality::of(Sample::of(dataset), &config)?;
            modalities.push(modality);
            reasons.push(why);
            for path in dataset
                .training
                .iter()
                .filter_map(|case| case.images.first())
            {
                let grid = reoriented_grid(&io::read_grid(path)?.0, Orientation::RAS);
                let (shape, spacing) = (grid.shape(), grid.spacing_mm());
                for (axis, side) in largest.iter_mut().enumerate() {
                    let along = 2 - axis;
                    let mm = shape[along] as f64 * spacing[along];
                    *side = (*side).max((mm / self.plan.spacing_mm).round() as usize);
                }
            }
        }
        let multiple = self.multiple();
        let least = PatchGanConfig::MIN_SIDE.next_multiple_of(multiple);
        let most = self
            .plan
            .max_shape
            .map(|m| (m / multiple * multiple).max(least));
        let shape = [0, 1, 2].map(|a| largest[a].next_multiple_of(multiple).clamp(least, most[a]));
        reasons.push(format!(
            "{shape:?} voxels: the largest volume has {largest:?} at {} mm, max_shape is {:?}, \
             sides are multiples of {multiple}",
            self.plan.spacing_mm, self.plan.max_shape
        ));
        let (Some(target), Some(source)) = (modalities.pop(), modalities.pop()) else {
            return Err(Error::Recipe("expected two modalities".into()));
        };
        let class = |(&value, name): (&u16, &String)| Class {
            value,
            name: name.clone(),
        };
        Ok(VolumePlan {
            spacing_mm: self.plan.spacing_mm,
            shape,
            reasons,
            classes: data.classes.iter().map(class).collect(),
            source,
            target,
        })
    }

    fn reasons(plan: &VolumePlan) -> &[String] {
        &plan.reasons
    }

    fn rules(&self, plan: &VolumePlan) -> Result<Postprocessing> {
        rules(&self.postprocess, &plan.classes)
    }

    fn build(
        &self,
        data: &Data,
        plan: &VolumePlan,
        processor: &Processor,
        fresh: bool,
    ) -> Result<Built> {
        let names = ["source", "target"];
        let orders = [Order::Shuffled, Order::Random];
        let mut sides = Vec::with_capacity(2);
        for (of, cases) in data.cases(self).into_iter().enumerate() {
            let modality = [&plan.source, &plan.target][of];
            let size = (plan.spacing_mm, plan.shape);
            let draws = (orders[of], self.seed, names[of]);
            let volumes = Volumes::load(&cases, modality, size, &plan.classes, draws)?;
            if volumes.is_empty() {
                let message = "expected volumes to train on, found none";
                return Err(Error::data(message, &data.sides[of].root));
            }
            sides.push(volumes);
        }
        let (Some(target), Some(source)) = (sides.pop(), sides.pop()) else {
            return Err(Error::Recipe("expected two modalities".into()));
        };
        let samples = source.len().max(target.len());
        let mut learner = Learner::new(self, plan.classes.len(), plan.shape, processor);
        if fresh {
            for run in &self.begin {
                learner.take_over(&RunFolder::open(run)?)?;
            }
        }
        let model = ShapeConsistency {
            learner,
            volumes: [source, target],
            patience: Patience::new(
                match self.phase {
                    Phase::Translators => 0,
                    Phase::Segmentors | Phase::Joint | Phase::Offline => self.patience,
                },
                samples,
            ),
        };
        Ok(Built {
            model: Box::new(model),
            samples,
        })
    }

    fn saved(run: &RunFolder) -> Result<(Self, VolumePlan)> {
        Self::of_run(run)
    }

    fn course(&self) -> Course<'_, ShapeKind> {
        Course {
            kind: self.kind,
            seed: self.seed,
            batch: 1,
            learning_rate: self.optimizer.learning_rate,
            schedule: &self.schedule,
            checkpoint_minutes: self.checkpoint_minutes,
        }
    }
}

impl ShapeRecipe {
    /// The recipe and the plan of a run.
    ///
    /// # Errors
    /// [`Error::Run`] where one is missing, cannot be read, or holds values that cannot be.
    pub fn of_run(run: &RunFolder) -> Result<(Self, VolumePlan)> {
        let recipe: Self = run.read_toml("recipe.toml")?;
        let recipe = recipe
            .check()
            .map_err(|e| Error::run(e.to_string(), &run.file("recipe.toml")))?;
        let plan: VolumePlan = run.read_toml("plan.toml")?;
        let multiple = recipe.multiple();
        let fits = |side: &usize| *side > 0 && side.is_multiple_of(multiple);
        let spaced = plan.spacing_mm.is_finite() && plan.spacing_mm > 0.0;
        let classed = (2..=255).contains(&plan.classes.len());
        if !(spaced && classed && plan.shape.iter().all(fits)) {
            let message = format!(
                "expected spacing_mm above 0, sides that are multiples of {multiple} and 2 to 255 \
                 classes, found {} mm, {:?} and {}",
                plan.spacing_mm,
                plan.shape,
                plan.classes.len()
            );
            return Err(Error::run(message, &run.file("plan.toml")));
        }
        Ok((recipe, plan))
    }
}

impl Data {
    /// The cases of both sides and whether their labels are used. Which ones are is drawn from the
    /// seed; where segmentors are trained on real volumes alone, only those are.
    fn cases(&self, recipe: &ShapeRecipe) -> [Vec<(Case, bool)>; 2] {
        [0, 1].map(|of| {
            let cases = &self.sides[of].training;
            let known: Vec<usize> = (0..cases.len())
                .filter(|&i| cases[i].label.is_some())
                .collect();
            let kept = (known.len() as f64 * recipe.labelled[of]).round() as usize;
            let key = case_id(["labelled source", "labelled target"][of]);
            let order = Rng::new(recipe.seed, key, 0).permutation(known.len());
            let chosen: Vec<usize> = order.into_iter().take(kept).map(|i| known[i]).collect();
            let all = cases.iter().enumerate();
            all.map(|(i, case)| (case.clone(), chosen.contains(&i)))
                .filter(|(_, labelled)| *labelled || recipe.phase != Phase::Segmentors)
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of real labels that the paper varies: 14 % of 71 volumes are 10.
    #[test]
    fn a_share_of_the_labels_is_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let side = |name: &str| {
            let root = folder.path().join(name);
            for part in ["imagesTr", "labelsTr"] {
                std::fs::create_dir_all(root.join(part)).expect("a folder");
            }
            for i in 0..71 {
                for file in [
                    format!("imagesTr/c{i}_0000.nii"),
                    format!("labelsTr/c{i}.nii"),
                ] {
                    std::fs::write(root.join(file), b"").expect("a file");
                }
            }
            let json = r#"{"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1},
                "file_ending": ".nii"}"#;
            std::fs::write(root.join("dataset.json"), json).expect("a file");
            Dataset::open(&root).expect("a dataset")
        };
        let data = Data {
            sides: [side("a"), side("b")],
            classes: BTreeMap::new(),
        };
        let recipe = |phase, seed| ShapeRecipe {
            phase,
            seed,
            labelled: [1.0, 0.14],
            ..ShapeRecipe::default()
        };
        let ids = |cases: &[(Case, bool)]| -> Vec<String> {
            let labelled = cases.iter().filter(|(_, labelled)| *labelled);
            labelled.map(|(case, _)| case.id.clone()).collect()
        };
        let [source, target] = data.cases(&recipe(Phase::Joint, 1));
        assert_eq!((source.len(), target.len()), (71, 71));
        assert_eq!((ids(&source).len(), ids(&target).len()), (71, 10));
        let [_, alone] = data.cases(&recipe(Phase::Segmentors, 1));
        assert_eq!(alone.len(), 10);
        assert_eq!(ids(&alone), ids(&target));
        let [_, other] = data.cases(&recipe(Phase::Joint, 2));
        assert_ne!(ids(&other), ids(&target));
    }
}
