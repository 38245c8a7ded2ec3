//! From a request to a trained run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossmod_volume::dataset::{Case, Dataset};
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Kind, Recipe, Supervised, SynSeg};
use crate::batch::{AugmentConfig, Order, Sampler, Slices};
use crate::device::Processor;
use crate::fit::{self, Budget, Manifest, RunFolder, State, Summary, Trainable};
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
    let manifest = data.manifest(&request.recipe)?;
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
    let path = run.file("manifest.json");
    let text =
        std::fs::read_to_string(&path).map_err(|e| Error::io("read the manifest", e, &path))?;
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|e| Error::run(format!("{e}"), &path))?;
    progress.stage("reading the data");
    let data = Data::open(
        &recipe,
        manifest.source.as_deref(),
        manifest.target.as_deref(),
    )?;
    if data.hashes()? != manifest.data {
        progress.note("the data differ from those the run was started with (manifest.json)");
    }
    let mut built = data.build(&recipe, &plan, processor)?;
    let state = run.read_state()?;
    if let Some(state) = &state {
        built.model.restore(state, &run)?;
        progress.note(&format!("resuming at step {}", state.step));
    }
    let budget = budget
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
        schedule: recipe.schedule.clone(),
        optimizer: recipe.optimizer.clone(),
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

    fn manifest(&self, recipe: &Recipe) -> Result<Manifest> {
        let text = toml::to_string(recipe).map_err(|e| Error::Recipe(e.to_string()))?;
        let root = |data: &Option<(Dataset, Vec<Case>)>| {
            data.as_ref()
                .map(|(d, _)| std::path::absolute(&d.root).unwrap_or(d.root.clone()))
        };
        Ok(Manifest {
            version: env!("CARGO_PKG_VERSION").into(),
            recipe_sha256: hex(&Sha256::digest(text)),
            seed: recipe.seed,
            host: format!(
                "{} {}, {} threads",
                std::env::consts::OS,
                std::env::consts::ARCH,
                rayon::current_num_threads()
            ),
            source: root(&self.source),
            target: root(&self.target),
            data: self.hashes()?,
        })
    }

    /// SHA-256 of every file that is trained on, by its path in its dataset.
    fn hashes(&self) -> Result<BTreeMap<String, String>> {
        let mut files = Vec::new();
        for (name, data) in [("source", &self.source), ("target", &self.target)] {
            if let Some((dataset, cases)) = data {
                for path in cases.iter().flat_map(|c| c.images.iter().chain(&c.label)) {
                    let inside = path.strip_prefix(&dataset.root).unwrap_or(path);
                    files.push((format!("{name}/{}", inside.display()), path));
                }
            }
        }
        files
            .par_iter()
            .map(|(name, path)| {
                let bytes = std::fs::read(path).map_err(|e| Error::io("read", e, path))?;
                Ok((name.clone(), hex(&Sha256::digest(bytes))))
            })
            .collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
