//! Several trainings, one after the other: each stage is a run of its own in the folder of the
//! whole, named as the stage is, and a later stage may use an earlier one's nets.
//!
//! ```toml
//! kind = "stages"
//! order = ["translate", "segment"]
//!
//! [stage.translate.recipe]
//! base = "cyclegan"
//!
//! [stage.segment]
//! share = 2.0                  # of the steps or minutes, by the other stages'
//!
//! [stage.segment.recipe]       # any recipe, by `base` and the values that differ
//! base = "segment"
//! translate = "@translate"     # the run of an earlier stage; @source and @target are the datasets
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::Dataset;
use crossmod_volume::io;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::any::{AnyRequest, Task, resume_any, start_any};
use super::{AnyRecipe, Phase, Readable, wrong};
use crate::device::Processor;
use crate::fit::manifest::{Manifest, Used};
use crate::fit::{Budget, RunFolder};
use crate::segment::SegmentRecipe;
use crate::{Error, Progress, Result};

/// Several trainings, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagesRecipe {
    /// `stages`.
    pub kind: StagesKind,
    /// Seed of every random draw of every stage.
    #[serde(default = "first_seed")]
    pub seed: u64,
    /// The stages in their order, by name.
    pub order: Vec<String>,
    /// The stage that segments; the last where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predict: Option<String>,
    /// What each stage is.
    pub stage: BTreeMap<String, Stage>,
}

/// The one kind there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StagesKind {
    /// Several trainings.
    Stages,
}

/// One training of several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its share of the steps or minutes that the whole may take, by those of the other stages.
    #[serde(default = "one")]
    pub share: f64,
    /// A stage whose share this one has, made larger by how many more slices this one trains on: so
    /// that both see each of their slices as often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs_of: Option<String>,
    /// The dataset it takes for the source; `@source` where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// The recipe, with every value once it is resolved.
    pub recipe: Table,
}

fn one() -> f64 {
    1.0
}

fn first_seed() -> u64 {
    1
}

/// What several trainings came to.
#[derive(Debug, Clone, Serialize)]
pub struct StagesSummary {
    /// Each stage's.
    pub stages: Vec<StageSummary>,
}

/// What one of them came to.
#[derive(Debug, Clone, Serialize)]
pub struct StageSummary {
    /// Its name.
    pub name: String,
    /// Its `metrics.json`.
    pub metrics: serde_json::Value,
}

const METRICS: &str = "metrics.json";
const SOURCE: &str = "source";
const TARGET: &str = "target";

impl Readable for StagesRecipe {
    fn template() -> Option<Self> {
        None
    }

    /// Resolves the stages' recipes as well.
    fn check(mut self) -> Result<Self> {
        let known: Vec<&String> = self.stage.keys().collect();
        let mut ordered: Vec<&String> = self.order.iter().collect();
        ordered.sort();
        if known != ordered || known.is_empty() {
            let expected = format!("the stages {known:?}, each once");
            return Err(wrong("order", &expected, format!("{:?}", self.order)));
        }
        if let Some(name) = known
            .iter()
            .find(|name| [SOURCE, TARGET].contains(&name.as_str()) || !is_plain(name))
        {
            let expected = "a plain word other than source and target";
            return Err(wrong("a stage's name", expected, name));
        }
        for name in [&self.predict].into_iter().flatten() {
            if !self.stage.contains_key(name) {
                return Err(wrong("predict", "the name of a stage", name));
            }
        }
        let mut earlier = vec![SOURCE.to_owned(), TARGET.to_owned()];
        for name in &self.order {
            let Some(stage) = self.stage.get_mut(name) else {
                continue;
            };
            if !(stage.share.is_finite() && stage.share > 0.0) {
                return Err(wrong(
                    &format!("stage.{name}.share"),
                    "above 0",
                    stage.share,
                ));
            }
            if let Some(other) = stage.epochs_of.iter().find(|o| !earlier[2..].contains(o)) {
                let key = format!("stage.{name}.epochs_of");
                return Err(wrong(&key, "the name of an earlier stage", other));
            }
            let seed = Value::Integer(self.seed as i64);
            stage.recipe.insert("seed".into(), seed);
            let place = format!("stage {name}");
            let mut recipe = AnyRecipe::of(stage.recipe.clone(), &[], &place)?;
            if matches!(recipe, AnyRecipe::Stages(_)) {
                return Err(wrong("a stage's kind", "another than stages", "stages"));
            }
            stage.recipe = recipe.table()?;
            let named = paths(&mut recipe).into_iter().map(|path| path.clone());
            for path in named.chain(stage.source.clone()) {
                if let Some(word) = reference(&path).filter(|w| !earlier.iter().any(|e| e == w)) {
                    let expected = format!("one of @{}", earlier.join(", @"));
                    return Err(wrong(&place, &expected, format!("@{word}")));
                }
            }
            earlier.push(name.clone());
        }
        Ok(self)
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !name.is_empty() && name.chars().all(plain)
}

/// What `@word` refers to.
fn reference(path: &Path) -> Option<&str> {
    path.to_str()?.strip_prefix('@')
}

/// The datasets and runs that a recipe names.
fn paths(recipe: &mut AnyRecipe) -> Vec<&mut PathBuf> {
    match recipe {
        AnyRecipe::Adapt(recipe) => recipe.translate.iter_mut().collect(),
        AnyRecipe::Segment(recipe) => {
            let SegmentRecipe { translate, mix, .. } = &mut **recipe;
            let mixed = mix
                .iter_mut()
                .flat_map(|mix| std::iter::once(&mut mix.dataset).chain(&mut mix.translate));
            translate.iter_mut().chain(mixed).collect()
        }
        AnyRecipe::Shape(recipe) => recipe.begin.iter_mut().collect(),
        AnyRecipe::Pseudo(recipe) => recipe.runs.iter_mut().collect(),
        AnyRecipe::Stages(_) => Vec::new(),
    }
}

impl StagesRecipe {
    /// The run among the stages' that does what is wanted.
    pub(super) fn run_that(&self, task: Task, root: &Path) -> Result<PathBuf> {
        let translates = |name: &&String| {
            let recipe = &self.stage[*name].recipe;
            AnyRecipe::of(recipe.clone(), &[], name).is_ok_and(|recipe| match recipe {
                AnyRecipe::Adapt(recipe) => recipe.kind.translates(),
                AnyRecipe::Shape(recipe) => recipe.phase != Phase::Segmentors,
                AnyRecipe::Segment(_) | AnyRecipe::Pseudo(_) | AnyRecipe::Stages(_) => false,
            })
        };
        let found = match task {
            Task::Predict => self.predict.as_ref().or(self.order.last()),
            Task::Translate => self.order.iter().rfind(translates),
        };
        found.map(|name| root.join(name)).ok_or_else(|| {
            Error::run(
                "expected a run with translators, found none among its stages",
                root,
            )
        })
    }
}

/// Trains a new run in all its stages.
pub(super) fn start(
    recipe: &StagesRecipe,
    data: [Option<PathBuf>; 2],
    out: &Path,
    budget: Option<Budget>,
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<StagesSummary> {
    let used: Vec<Used> = [SOURCE, TARGET]
        .into_iter()
        .zip(data)
        .filter_map(|(role, root)| {
            // Each stage hashes the files that it uses.
            Some(Used {
                role: role.to_owned(),
                root: root?,
                files: Vec::new(),
            })
        })
        .collect();
    for used in &used {
        Dataset::open(&used.root)?;
    }
    let manifest = Manifest::new(recipe, recipe.seed, &used)?.ending(budget);
    let run = RunFolder::create(out)?;
    run.write_json("manifest.json", &manifest)?;
    run.write_toml("recipe.toml", recipe)?;
    Whole::new(recipe, &run, &manifest, processor)?.train(progress)
}

/// Goes on with the stage that was interrupted.
pub(super) fn resume(
    recipe: &StagesRecipe,
    root: &Path,
    budget: Option<Budget>,
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<StagesSummary> {
    let run = RunFolder::open(root)?;
    let mut manifest = Manifest::load(&run)?;
    manifest.keep_budget(budget, &run)?;
    Whole::new(recipe, &run, &manifest, processor)?.train(progress)
}

/// All stages of a run.
struct Whole<'a> {
    run: &'a RunFolder,
    /// Where `@word` is.
    places: BTreeMap<String, PathBuf>,
    stages: Vec<Ready>,
    budget: Option<Budget>,
    processor: &'a Processor,
}

/// A stage with all its references replaced.
struct Ready {
    name: String,
    recipe: AnyRecipe,
    source: Option<PathBuf>,
    share: f64,
    /// How many more slices it trains on than the one whose epochs it has.
    stretch: Option<f64>,
}

impl<'a> Whole<'a> {
    fn new(
        recipe: &StagesRecipe,
        run: &'a RunFolder,
        manifest: &Manifest,
        processor: &'a Processor,
    ) -> Result<Self> {
        let data = [(SOURCE, &manifest.source), (TARGET, &manifest.target)];
        let mut places: BTreeMap<String, PathBuf> = data
            .into_iter()
            .filter_map(|(word, path)| Some((word.to_owned(), path.clone()?)))
            .collect();
        places.extend(
            recipe
                .order
                .iter()
                .map(|name| (name.clone(), run.file(name))),
        );
        let mut whole = Self {
            run,
            places,
            stages: Vec::new(),
            budget: manifest.budget,
            processor,
        };
        for name in &recipe.order {
            let stage = whole.ready(name, &recipe.stage[name])?;
            whole.stages.push(stage);
        }
        Ok(whole)
    }

    fn place(&self, path: &Path) -> Result<PathBuf> {
        match reference(path) {
            None => Ok(path.to_owned()),
            Some(word) => self.places.get(word).cloned().ok_or_else(|| {
                Error::Recipe(format!("expected --{word} DATASET, which this recipe uses"))
            }),
        }
    }

    fn ready(&self, name: &str, stage: &Stage) -> Result<Ready> {
        let mut recipe = AnyRecipe::of(stage.recipe.clone(), &[], name)?;
        for path in paths(&mut recipe) {
            *path = self.place(path)?;
        }
        let source = match &stage.source {
            Some(source) => Some(self.place(source)?),
            None => self.places.get(SOURCE).cloned(),
        };
        let mut ready = Ready {
            name: name.to_owned(),
            recipe,
            source,
            share: stage.share,
            stretch: None,
        };
        if let Some(other) = &stage.epochs_of
            && let Some(other) = self.stages.iter().find(|s| s.name == *other)
        {
            let stretch = ready.slices()? / other.slices()?.max(1.0);
            ready.share = other.share * stretch;
            ready.stretch = Some(stretch);
        }
        Ok(ready)
    }

    fn train(&self, progress: &mut dyn Progress) -> Result<StagesSummary> {
        let shares: f64 = self.stages.iter().map(|stage| stage.share).sum();
        let mut stages = Vec::new();
        for stage in &self.stages {
            let out = self.run.file(&stage.name);
            let budget = match self.budget {
                Some(budget) => Some(budget.part(stage.share / shares)),
                None => stage.own_budget(),
            };
            if !out.join(METRICS).exists() {
                progress.note(&format!("stage {}", stage.name));
                if out.join("recipe.toml").exists() {
                    resume_any(&out, budget, self.processor, progress)?;
                } else {
                    start_any(&self.request(stage, out.clone(), budget), progress)?;
                }
            }
            stages.push(StageSummary {
                name: stage.name.clone(),
                metrics: metrics(&out.join(METRICS))?,
            });
        }
        let summary = StagesSummary { stages };
        self.run.write_json(METRICS, &summary)?;
        Ok(summary)
    }

    fn request(&self, stage: &Ready, out: PathBuf, budget: Option<Budget>) -> AnyRequest {
        let two_sided = matches!(stage.recipe, AnyRecipe::Adapt(_) | AnyRecipe::Shape(_));
        AnyRequest {
            recipe: stage.recipe.clone(),
            source: stage.source.clone(),
            target: self.places.get(TARGET).filter(|_| two_sided).cloned(),
            plan: None,
            out,
            budget,
            processor: self.processor.clone(),
        }
    }
}

impl Ready {
    /// Slices that it trains on, across the thickest axis.
    fn slices(&self) -> Result<f64> {
        let mixed = match &self.recipe {
            AnyRecipe::Segment(recipe) => recipe.mix.as_slice(),
            _ => &[],
        };
        let mut slices = 0;
        for root in self
            .source
            .iter()
            .chain(mixed.iter().map(|mix| &mix.dataset))
        {
            for case in Dataset::open(root)?.labelled() {
                if let Some(path) = &case.label {
                    let (grid, _) = io::read_grid(path)?;
                    let spacing = grid.spacing_mm();
                    let axis = (0..3).fold(2, |a, b| if spacing[b] > spacing[a] { b } else { a });
                    slices += grid.shape()[axis];
                }
            }
        }
        Ok(slices as f64)
    }

    /// When it ends if nothing is asked for; none where its recipe's epochs say so.
    fn own_budget(&self) -> Option<Budget> {
        match (&self.recipe, self.stretch) {
            (AnyRecipe::Segment(recipe), Some(stretch)) => {
                let steps = u64::from(recipe.schedule.epochs) * recipe.steps_per_epoch;
                Some(Budget::Steps(steps).part(stretch))
            }
            _ => None,
        }
    }
}

fn metrics(path: &Path) -> Result<serde_json::Value> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", e, path))?;
    serde_json::from_str(&text).map_err(|e| Error::run(e.to_string(), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, overrides: &[&str]) -> Result<StagesRecipe> {
        let overrides: Vec<String> = overrides.iter().map(|&s| s.to_owned()).collect();
        let table: Table = text.parse().expect("TOML");
        match AnyRecipe::of(table, &overrides, "test")? {
            AnyRecipe::Stages(recipe) => Ok(*recipe),
            other => panic!("expected stages, found {other:?}"),
        }
    }

    const TWO: &str = r#"
        kind = "stages"
        seed = 7
        order = ["translate", "segment"]
        [stage.translate.recipe]
        base = "cyclegan"
        [stage.segment]
        share = 3.0
        [stage.segment.recipe]
        base = "segment"
        translate = "@translate"
    "#;

    #[test]
    fn stages_are_resolved_and_stay_so() -> Result<()> {
        let recipe = load(TWO, &["stage.translate.recipe.pool=9", "seed=8"])?;
        let inner = &recipe.stage["translate"].recipe;
        assert_eq!(inner["pool"], Value::Integer(9));
        // A value that no file names, and the whole's seed.
        assert_eq!(
            inner["optimizer"]["beta2"].as_float(),
            Some(f64::from(0.999f32))
        );
        assert_eq!(inner["seed"], Value::Integer(8));
        let again: Table = toml::to_string(&recipe)
            .expect("TOML")
            .parse()
            .expect("TOML");
        assert_eq!(load(&again.to_string(), &[])?, recipe);
        Ok(())
    }

    #[test]
    fn wrong_stages_are_refused() {
        let said = |text: &str, set: &[&str]| load(text, set).expect_err("refused").to_string();
        let message = said(&TWO.replace("\"segment\"]", "\"segmen\"]"), &[]);
        assert!(message.contains("each once"), "{message}");
        let message = said(&TWO.replace("@translate", "@later"), &[]);
        assert!(
            message.contains("@source, @target, @translate"),
            "{message}"
        );
        let message = said(TWO, &["stage.translate.recipe.pol=9"]);
        assert!(message.contains("did you mean `pool`"), "{message}");
        let message = said(TWO, &["stage.translate.shar=9"]);
        assert!(message.contains("shar"), "{message}");
        let message = said(TWO, &["stage.segment.share=0"]);
        assert!(message.contains("stage.segment.share"), "{message}");
    }

    #[test]
    fn the_stage_that_does_it_is_found() -> Result<()> {
        let root = Path::new("run");
        let recipe = load(TWO, &[])?;
        assert_eq!(recipe.run_that(Task::Predict, root)?, root.join("segment"));
        assert_eq!(
            recipe.run_that(Task::Translate, root)?,
            root.join("translate")
        );
        let chosen = load(TWO, &["predict=translate"])?;
        assert_eq!(
            chosen.run_that(Task::Predict, root)?,
            root.join("translate")
        );
        Ok(())
    }
}
