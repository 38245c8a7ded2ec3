//! Recipes of slices: their data, from the datasets to samplers and nets.

use std::collections::BTreeMap;
use std::path::Path;

use crossmod_volume::dataset::{Case, Dataset};

use super::launch::{Built, Course, Launch, Request, launch, relaunch, rules};
use super::{Cut, Kind, Recipe, Supervised, SynSeg};
use crate::batch::{AugmentConfig, Order, Sampler, Slices};
use crate::device::Processor;
use crate::fit::manifest::Used;
use crate::fit::{Budget, RunFolder, Summary, Trainable};
use crate::net::PatchGanConfig;
use crate::plan::{Class, Modality, Plan, Sample};
use crate::segment::Postprocessing;
use crate::segment::plan::Dims;
use crate::window::{Direction, SliceTranslator};
use crate::{Error, Progress, Result};

/// Trains a new run.
///
/// # Errors
/// What reading the data gives, before anything is written; then as [`crate::fit::train()`].
pub fn start(request: &Request, progress: &mut dyn Progress) -> Result<Summary> {
    launch(request, progress)
}

/// Goes on with an interrupted run as if it had not stopped; `budget` replaces the run's own.
///
/// # Errors
/// [`Error::Run`] where the folder is no run or its data are gone; then as
/// [`crate::fit::train()`].
pub fn resume(
    root: &Path,
    budget: Option<Budget>,
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<Summary> {
    relaunch::<Recipe>(root, budget, processor, progress)
}

impl Launch for Recipe {
    type Kind = Kind;
    type Data = Data;
    type Plan = Plan;

    fn open(&self, source: Option<&Path>, target: Option<&Path>) -> Result<Data> {
        Data::open(self, source, target)
    }

    fn used(data: &Data) -> Vec<Used> {
        data.used()
    }

    fn plan(&self, data: &Data, _: &Processor) -> Result<Plan> {
        data.plan(self)
    }

    fn reasons(plan: &Plan) -> &[String] {
        &plan.reasons
    }

    fn rules(&self, plan: &Plan) -> Result<Postprocessing> {
        rules(&self.postprocess, &plan.classes)
    }

    fn build(&self, data: &Data, plan: &Plan, processor: &Processor, _: bool) -> Result<Built> {
        data.build(self, plan, processor)
    }

    fn saved(run: &RunFolder) -> Result<(Self, Plan)> {
        Self::of_run(run)
    }

    fn course(&self) -> Course<'_, Kind> {
        Course {
            kind: self.kind,
            seed: self.seed,
            batch: self.batch,
            learning_rate: self.optimizer.learning_rate,
            schedule: &self.schedule,
            checkpoint_minutes: self.checkpoint_minutes,
        }
    }
}

/// The datasets of a training and the cases it uses.
pub(super) struct Data {
    kind: Kind,
    source: Option<(Dataset, Vec<Case>)>,
    target: Option<(Dataset, Vec<Case>)>,
    classes: BTreeMap<u16, String>,
}

impl Data {
    fn open(recipe: &Recipe, source: Option<&Path>, target: Option<&Path>) -> Result<Self> {
        let kind = recipe.kind;
        let needed = |given: bool, flag: &str, what: &str| {
            let message = format!("expected --{flag} DATASET ({what}), found none");
            if given {
                Ok(())
            } else {
                Err(Error::Recipe(message))
            }
        };
        if kind != Kind::TargetSupervised {
            needed(source.is_some(), "source", "the labelled scans")?;
        }
        if !matches!(kind, Kind::SourceOnly | Kind::Translated) {
            needed(
                target.is_some(),
                "target",
                "the scans of the other modality",
            )?;
        }
        let source = source.map(Dataset::open).transpose()?;
        let target = target.map(Dataset::open).transpose()?;
        let labelled = match kind {
            Kind::TargetSupervised => &target,
            // Without need, but the guard looks at what becomes of labels where there are some.
            Kind::Cyclegan | Kind::Cut if !source.as_ref().is_some_and(is_plain) => &None,
            Kind::Cyclegan | Kind::Cut | Kind::Synseg | Kind::Translated | Kind::SourceOnly => {
                &source
            }
        };
        let mut classes = BTreeMap::new();
        if let Some(dataset) = labelled {
            plain_labels(dataset)?;
            classes = if dataset.labels_declared {
                dataset.labels.clone()
            } else {
                dataset.discover_labels()?
            };
            if dataset.labelled().is_empty() {
                let message = "expected label maps to train on, found none; put them in labelsTr";
                return Err(Error::data(message, &dataset.root));
            }
            if !(2..=255).contains(&classes.len()) {
                let message = format!("expected 2 to 255 labels, found {}", classes.len());
                return Err(Error::data(message, &dataset.root));
            }
        }
        let weights = recipe.loss.class_weights.len();
        if kind.segments() && weights != 0 && weights != classes.len() {
            return Err(Error::Recipe(format!(
                "expected loss.class_weights of {} labels, found {weights} weights",
                classes.len()
            )));
        }
        let with_cases = |dataset: Dataset, labelled: bool| {
            let keep = |case: &&Case| !labelled || case.label.is_some();
            let cases = dataset.training.iter().filter(keep).cloned().collect();
            (dataset, cases)
        };
        let by_source = kind.segments() && kind != Kind::TargetSupervised;
        let source = source.map(|d| with_cases(d, by_source));
        let target = target.map(|d| with_cases(d, kind == Kind::TargetSupervised));
        Ok(Self {
            kind,
            source,
            target,
            classes,
        })
    }

    fn plan(&self, recipe: &Recipe) -> Result<Plan> {
        if let Some(run) = &recipe.translate {
            let (_, plan) = Recipe::of_run(&RunFolder::open(run)?)?;
            return self.plan_of(plan, recipe);
        }
        fn sample((dataset, cases): &(Dataset, Vec<Case>)) -> Sample<'_> {
            Sample { dataset, cases }
        }
        Plan::make(
            &recipe.plan,
            self.source.as_ref().map(sample),
            self.target.as_ref().map(sample),
            &self.classes,
            recipe.multiple(),
        )
    }

    /// The plan of what another run translates: images are prepared as they were for it.
    fn plan_of(&self, mut plan: Plan, recipe: &Recipe) -> Result<Plan> {
        let multiple = recipe.multiple();
        if !plan.patch.is_multiple_of(multiple) {
            return Err(Error::Recipe(format!(
                "expected the patch of the run that translates, {}, to be a multiple of {multiple} \
                 for the segmentor; train it with the same `segmentor` in its recipe",
                plan.patch
            )));
        }
        let class = |(&value, name): (&u16, &String)| Class {
            value,
            name: name.clone(),
        };
        plan.classes = self.classes.iter().map(class).collect();
        plan.reasons
            .push("all as in the run that translates".into());
        Ok(plan)
    }

    fn build(&self, recipe: &Recipe, plan: &Plan, processor: &Processor) -> Result<Built> {
        let slices = plan.block.as_ref().map(|block| block.slices);
        let least = slices.unwrap_or(plan.patch).min(plan.patch);
        if self.kind.translates() && least < PatchGanConfig::MIN_SIDE {
            return Err(Error::Recipe(format!(
                "expected a patch of at least {} pixels along every axis for the discriminator, \
                 found {least}",
                PatchGanConfig::MIN_SIDE,
            )));
        }
        match plan.dims {
            Dims::Three => self.build_of::<5>(recipe, plan, processor),
            Dims::Two | Dims::TwoAndHalf { .. } => self.build_of::<4>(recipe, plan, processor),
        }
    }

    /// Nets of slices (`D` = 4) or of volumes (`D` = 5).
    fn build_of<const D: usize>(
        &self,
        recipe: &Recipe,
        plan: &Plan,
        processor: &Processor,
    ) -> Result<Built> {
        let run = recipe.translate.as_deref();
        let translator = run
            .map(|run| SliceTranslator::<D>::load(run, Direction::SourceToTarget, processor))
            .transpose()?;
        let sampler = |data: &Option<(Dataset, Vec<Case>)>,
                       modality: &Option<Modality>,
                       labelled: bool,
                       order: Order,
                       name: &'static str| {
            let (Some((dataset, cases)), Some(modality)) = (data, modality) else {
                return Err(Error::Recipe(format!(
                    "expected a plan for the {name}, found none"
                )));
            };
            let mut slices = Slices::load(cases, modality, plan, labelled)?;
            if let Some(translator) = &translator {
                let side = slices.side();
                if recipe.guard.every > 0 && recipe.guard.drop_lost {
                    slices.keep(|excerpts| translator.keeps(excerpts, side));
                }
                slices = slices.map(|case| translator.translate_slices(case, side));
            }
            if slices.is_empty() {
                return Err(Error::data(
                    "expected slices to train on, found none",
                    &dataset.root,
                ));
            }
            let augment: AugmentConfig = recipe.augment.clone();
            Ok(Sampler::new(
                slices,
                order,
                augment,
                plan.patch,
                recipe.seed,
                name,
            ))
        };
        let (source, target) = (&self.source, &self.target);
        let classes = plan.classes.len();
        let shuffled = Order::Shuffled;
        Ok(match self.kind {
            Kind::Synseg | Kind::Cyclegan | Kind::Cut => {
                let labelled = !self.classes.is_empty();
                let source = sampler(source, &plan.source, labelled, shuffled, "source")?;
                let target = sampler(target, &plan.target, false, Order::Random, "target")?;
                let samples = source.slices().len().max(target.slices().len());
                let model: Box<dyn Trainable> = if self.kind == Kind::Cut {
                    Box::new(Cut::<D>::new(
                        recipe,
                        source,
                        target,
                        &plan.classes,
                        processor,
                    ))
                } else {
                    Box::new(SynSeg::<D>::new(
                        recipe,
                        source,
                        target,
                        &plan.classes,
                        processor,
                    ))
                };
                Built { model, samples }
            }
            Kind::SourceOnly | Kind::Translated | Kind::TargetSupervised => {
                let sampler = if self.kind == Kind::TargetSupervised {
                    sampler(target, &plan.target, true, shuffled, "target")?
                } else {
                    sampler(source, &plan.source, true, shuffled, "source")?
                };
                let slices = sampler.slices().len();
                Built {
                    model: Box::new(Supervised::<D>::new(recipe, sampler, classes, processor)),
                    samples: slices,
                }
            }
        })
    }

    /// What is trained on.
    fn used(&self) -> Vec<Used> {
        [("source", &self.source), ("target", &self.target)]
            .into_iter()
            .filter_map(|(role, data)| {
                let (dataset, cases) = data.as_ref()?;
                Some(Used::of(role, dataset, cases))
            })
            .collect()
    }
}

/// Whether every case is labelled, and as the recipes can learn it.
fn is_plain(dataset: &Dataset) -> bool {
    let labelled = dataset.training.iter().all(|case| case.label.is_some());
    labelled && plain_labels(dataset).is_ok()
}

/// That every voxel has one class, which is known: the recipes' losses count all of them.
///
/// # Errors
/// [`Error::Data`] where it is not so.
pub(super) fn plain_labels(dataset: &Dataset) -> Result<()> {
    let found = if let Some(region) = dataset.regions.iter().find(|r| r.values.len() > 1) {
        format!("the region \"{}\" of {:?}", region.name, region.values)
    } else if let Some(value) = dataset.ignore {
        format!("the label {value} to ignore")
    } else if dataset.is_partly_labelled() {
        "cases in which only some classes were drawn (labelled)".to_owned()
    } else {
        return Ok(());
    };
    let message = format!(
        "expected labels of one value each, drawn everywhere, which is all that this recipe can \
         learn, found {found} in dataset.json; give each part a label of its own and leave out the \
         cases that are not drawn in full"
    );
    Err(Error::data(message, &dataset.root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_a_recipe_cannot_learn_are_refused() {
        let opened = |labels: &str, target: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            for (name, labels) in [("source", labels), ("target", target)] {
                let root = folder.path().join(name);
                std::fs::create_dir_all(root.join("imagesTr")).expect("a folder");
                std::fs::create_dir_all(root.join("labelsTr")).expect("a folder");
                for file in ["imagesTr/a_0000.nii", "labelsTr/a.nii"] {
                    std::fs::write(root.join(file), b"").expect("a file");
                }
                let json = format!(r#"{{"channel_names": {{"0": "CT"}}, {labels}}}"#);
                std::fs::write(root.join("dataset.json"), json).expect("a file");
            }
            let root = |name: &str| folder.path().join(name);
            let recipe = Recipe::load("synseg", &[]).expect("a recipe");
            let data = Data::open(&recipe, Some(&root("source")), Some(&root("target")));
            data.map(|_| ()).map_err(|e| e.to_string())
        };
        let plain = r#""labels": {"background": 0, "liver": 1, "spleen": 2}"#;
        let regions = r#""labels": {"background": 0, "whole": [1, 2], "core": 2},
            "regions_class_order": [1, 2]"#;
        assert_eq!(opened(plain, plain), Ok(()));
        // The target's labels are not looked at.
        assert_eq!(opened(plain, regions), Ok(()));
        let message = opened(regions, plain).expect_err("regions");
        assert!(
            message.contains("the region \"whole\" of [1, 2]"),
            "{message}"
        );
        let ignore = r#""labels": {"background": 0, "liver": 1, "ignore": 2}"#;
        let message = opened(ignore, plain).expect_err("a label to ignore");
        assert!(message.contains("the label 2 to ignore"), "{message}");
        let partly = format!(r#"{plain}, "labelled": {{"a": ["liver"]}}"#);
        let message = opened(&partly, plain).expect_err("partial labels");
        assert!(
            message.contains("only some classes were drawn"),
            "{message}"
        );
    }
}
