//! The tiny study and recipe that these tests share.

use std::path::{Path, PathBuf};

use crossmod_learn::Progress;
use crossmod_learn::device::Processor;
use crossmod_learn::fit::{Budget, Row, read_log};
use crossmod_learn::recipe::{Recipe, Request};
use crossmod_synth::phantom::{FieldOfView, PhantomConfig, StudyConfig, write_study};

/// A study of two CT, two MR and one MR to test, 32² pixels.
pub(crate) fn write(root: &Path) {
    let small = FieldOfView {
        size: 32,
        slices: 4,
        spacing_mm: 11.0,
        slice_mm: 36.0,
    };
    let phantom = PhantomConfig {
        ct: small,
        mr: small,
        ..PhantomConfig::default()
    };
    let config = StudyConfig {
        source_cases: 2,
        target_cases: 2,
        test_cases: 1,
        phantom,
        ..StudyConfig::default()
    };
    write_study(root, &config).expect("a study");
}

/// Nets so small that a step takes milliseconds.
pub(crate) fn recipe(name: &str, more: &[&str]) -> Recipe {
    let mut overrides: Vec<String> = [
        "batch=2",
        "pool=3",
        "generator.width=2",
        "generator.blocks=1",
        "discriminator.width=2",
        "segmentor.kind=unet",
        "segmentor.unet.width=2",
        "segmentor.unet.levels=3",
        "plan.max_patch=32",
        "augment.rotation_deg=10",
        "guard.every=3",
        "guard.patches=2",
    ]
    .map(String::from)
    .to_vec();
    overrides.extend(more.iter().map(|&s| s.to_owned()));
    Recipe::load(name, &overrides).expect("a recipe")
}

pub(crate) fn request(study: &Path, out: PathBuf, recipe: Recipe, steps: u64) -> Request {
    Request {
        recipe,
        source: Some(study.join("ct")),
        target: Some(study.join("mr")),
        out,
        budget: Some(Budget::Steps(steps)),
        processor: Processor::cpu(),
    }
}

/// The losses of every step: all of a log but the clock.
pub(crate) fn curve(run: &Path) -> Vec<Row> {
    let rows = read_log(&run.join("log.jsonl")).expect("a log");
    rows.into_iter()
        .map(|row| Row {
            seconds: 0.0,
            ..row
        })
        .collect()
}

/// Asks to stop once it has been asked `left` times.
pub(crate) struct StopAfter {
    pub(crate) left: std::cell::Cell<u32>,
}

impl Progress for StopAfter {
    fn stage(&mut self, _: &str) {}
    fn update(&mut self, _: f64, _: &str) {}
    fn note(&mut self, _: &str) {}
    fn cancelled(&self) -> bool {
        self.left.set(self.left.get().saturating_sub(1));
        self.left.get() == 0
    }
}
