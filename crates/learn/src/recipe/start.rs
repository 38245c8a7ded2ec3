//! From a request to a trained run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossmod_volume::dataset::{Case, Dataset};
use serde::Serialize;

use super::{Kind, Recipe, Supervised, SynSeg};
use crate::batch::{AugmentConfig, Order, Sampler, Slices};
use crate::device::Processor;
use crate::fit::manifest::{self, Manifest, Used};
use crate::fit::{self, Budget, RunFolder, State, Summary, Trainable};
use crate::net::PatchGan;
use crate::plan::{Modality, Plan, Sample};
use crate::{Error, Progress, Result};

/// A training that is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is trained.
    pub recipe: Recipe,
    /// The labelled dataset.
    pub source: Option<PathBuf>,
    /// The dataset to be segmented.
    pub target: Option<PathBuf>,
    /// The run's folder.
    pub out: PathBuf,
    /// When it ends; the schedule's epochs where not given.
    pub budget: Option<Budget>,
    /// What the nets run on.
    pub processor: Processor,
}

/// Trains a new run.
///
/// # Errors
/// What reading the data gives, before anything is written; then as [`fit::train()`].
pub fn start(request: &Request, progress: &mut dyn Progress) -> Result<Summary> {
    if request.out.join("recipe.toml").exists() {
        // Said before the data are read, which can take long.
        RunFolder::create(&request.out)?;
    }
    progress.stage("reading the data");
    let data = Data::open(
        &request.recipe,
        request.source.as_deref(),
        request.target.as_deref(),
    )?;
    let plan = data.plan(&request.recipe)?;
    let mut built = data.build(&request.recipe, &plan, &request.processor)?;
    let manifest =
        Manifest::new(&request.recipe, request.recipe.seed, &data.used())?.ending(request.budget);
    let run = RunFolder::create(&request.out)?;
    run.write_toml("plan.toml", &plan)?;
    run.write_json("manifest.json", &manifest)?;
    // Last of these: a folder with a recipe is a run.
    run.write_toml("recipe.toml", &request.recipe)?;
    for reason in &plan.reasons {
        progress.note(reason);
    }
    let budget = request
        .budget
        .unwrap_or(Budget::Steps(built.steps(&request.recipe)));
    finish(&mut built, &run, &request.recipe, budget, None, progress)
}

/// Goes on with an interrupted run as if it had not stopped; `budget` replaces the run's own.
///
/// # Errors
/// [`Error::Run`] where the folder is no run or its data are gone; then as [`fit::train()`].
pub fn resume(
    root: &Path,
    budget: Option<Budget>,
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<Summary> {
    let run = RunFolder::open(root)?;
    let (recipe, plan) = Recipe::of_run(&run)?;
    let mut manifest = Manifest::load(&run)?;
    progress.stage("reading the data");
    let data = Data::open(
        &recipe,
        manifest.source.as_deref(),
        manifest.target.as_deref(),
    )?;
    if manifest::hashes(&data.used())? != manifest.data {
        progress.note("the data differ from those the run was started with (manifest.json)");
    }
    let mut built = data.build(&recipe, &plan, processor)?;
    let state = run.read_state()?;
    if let Some(state) = &state {
        built.model.restore(state, &run)?;
        progress.note(&format!("resuming at step {}", state.step));
    }
    manifest.keep_budget(budget, &run)?;
    let budget = manifest
        .budget
        .or(state.as_ref().and_then(|s| s.budget))
        .unwrap_or(Budget::Steps(built.steps(&recipe)));
    finish(&mut built, &run, &recipe, budget, state.as_ref(), progress)
}

fn finish(
    built: &mut Built,
    run: &RunFolder,
    recipe: &Recipe,
    budget: Budget,
    state: Option<&State>,
    progress: &mut dyn Progress,
) -> Result<Summary> {
    #[derive(Serialize)]
    struct Metrics<'a> {
        recipe: Kind,
        training: &'a Summary,
    }
    progress.stage("training");
    let plan = fit::Plan {
        budget,
        learning_rate: recipe.optimizer.learning_rate,
        decay: &recipe.schedule,
        checkpoint: Duration::from_secs_f64((recipe.checkpoint_minutes * 60.0).min(1e9)),
    };
    let summary = fit::train(built.model.as_mut(), run, &plan, state, progress)?;
    run.write_json(
        "metrics.json",
        &Metrics {
            recipe: recipe.kind,
            training: &summary,
        },
    )?;
    Ok(summary)
}

/// The datasets of a training and the cases it uses.
struct Data {
    kind: Kind,
    source: Option<(Dataset, Vec<Case>)>,
    target: Option<(Dataset, Vec<Case>)>,
    classes: BTreeMap<u16, String>,
}

/// A model ready to train, and how many slices an epoch has.
struct Built {
    model: Box<dyn Trainable>,
    slices: usize,
}

impl Built {
    /// Steps of the recipe's own epochs: an epoch shows the larger domain once.
    fn steps(&self, recipe: &Recipe) -> u64 {
        let epoch = self.slices.div_ceil(recipe.batch) as u64;
        epoch * u64::from(recipe.schedule.epochs())
    }
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
        if kind != Kind::SourceOnly {
            needed(
                target.is_some(),
                "target",
                "the scans of the other modality",
            )?;
        }
        let source = source.map(Dataset::open).transpose()?;
        let target = target.map(Dataset::open).transpose()?;
        let labelled = if kind == Kind::TargetSupervised {
            &target
        } else {
            &source
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
        if weights != 0 && weights != classes.len() {
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
        let source = source.map(|d| with_cases(d, kind != Kind::TargetSupervised));
        let target = target.map(|d| with_cases(d, kind == Kind::TargetSupervised));
        Ok(Self {
            kind,
            source,
            target,
            classes,
        })
    }

    fn plan(&self, recipe: &Recipe) -> Result<Plan> {
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

    fn build(&self, recipe: &Recipe, plan: &Plan, processor: &Processor) -> Result<Built> {
        if self.kind == Kind::Synseg && plan.patch < PatchGan::MIN_SIDE {
            return Err(Error::Recipe(format!(
                "expected a patch of at least {} pixels for the discriminator, found {}",
                PatchGan::MIN_SIDE,
                plan.patch
            )));
        }
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
            let slices = Slices::load(cases, modality, plan, labelled)?;
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
            Kind::Synseg => {
                let source = sampler(source, &plan.source, true, shuffled, "source")?;
                let target = sampler(target, &plan.target, false, Order::Random, "target")?;
                let slices = source.slices().len().max(target.slices().len());
                Built {
                    model: Box::new(SynSeg::new(recipe, source, target, classes, processor)),
                    slices,
                }
            }
            Kind::SourceOnly | Kind::TargetSupervised => {
                let sampler = if self.kind == Kind::SourceOnly {
                    sampler(source, &plan.source, true, shuffled, "source")?
                } else {
                    sampler(target, &plan.target, true, shuffled, "target")?
                };
                let slices = sampler.slices().len();
                Built {
                    model: Box::new(Supervised::new(recipe, sampler, classes, processor)),
                    slices,
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

/// That every voxel has one class, which is known: the recipes' losses count all of them.
///
/// # Errors
/// [`Error::Data`] where it is not so.
fn plain_labels(dataset: &Dataset) -> Result<()> {
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
