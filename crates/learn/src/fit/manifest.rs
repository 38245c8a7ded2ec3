//! `manifest.json`: where a run's data came from and what made it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::{Case, Dataset};
use crossmod_volume::io::files_of;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Budget, RunFolder};
use crate::{Error, Result};

/// Where a run's data came from and what made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of crossmod.
    pub version: String,
    /// SHA-256 of the resolved recipe's text.
    pub recipe_sha256: String,
    /// Seed of every random draw.
    pub seed: u64,
    /// Operating system, architecture and threads.
    pub host: String,
    /// The labelled dataset.
    pub source: Option<PathBuf>,
    /// The dataset to be segmented.
    pub target: Option<PathBuf>,
    /// When the run ends, as it was asked for last; none where the recipe's own epochs say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// SHA-256 of every file trained on, by its path in its dataset.
    pub data: BTreeMap<String, String>,
}

/// The files of a dataset that are trained on.
#[derive(Debug, Clone)]
pub(crate) struct Used {
    /// The role of the dataset, with which the paths of its files begin.
    pub(crate) role: String,
    /// Its folder.
    pub(crate) root: PathBuf,
    pub(crate) files: Vec<PathBuf>,
}

impl Used {
    /// The images and label maps of a dataset's cases.
    pub(crate) fn of(role: &str, dataset: &Dataset, cases: &[Case]) -> Self {
        let files = cases.iter().flat_map(|c| c.images.iter().chain(&c.label));
        Self {
            role: role.to_owned(),
            root: dataset.root.clone(),
            files: files.cloned().collect(),
        }
    }
}

impl Manifest {
    /// Of a recipe and its data, whose files are read.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub(crate) fn new(recipe: &impl Serialize, seed: u64, used: &[Used]) -> Result<Self> {
        let text = toml::to_string(recipe).map_err(|e| Error::Recipe(e.to_string()))?;
        let root = |role| {
            let used = used.iter().find(|used| used.role == role)?;
            Some(std::path::absolute(&used.root).unwrap_or(used.root.clone()))
        };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").into(),
            recipe_sha256: hex(&Sha256::digest(text)),
            seed,
            host: format!(
                "{} {}, {} threads",
                std::env::consts::OS,
                std::env::consts::ARCH,
                rayon::current_num_threads()
            ),
            source: root("source"),
            target: root("target"),
            budget: None,
            data: hashes(used)?,
        })
    }

    /// The same of a run that ends when `budget` says.
    pub(crate) fn ending(self, budget: Option<Budget>) -> Self {
        Self { budget, ..self }
    }

    /// Notes in the run when it is to end from now on, where that is asked for: a run that stops
    /// before its next checkpoint must know.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub(crate) fn keep_budget(&mut self, asked: Option<Budget>, run: &RunFolder) -> Result<()> {
        if asked.is_none() || asked == self.budget {
            return Ok(());
        }
        self.budget = asked;
        run.write_json("manifest.json", self)
    }

    /// Reads that of a run.
    ///
    /// # Errors
    /// Where it is missing or is none.
    pub fn load(run: &RunFolder) -> Result<Self> {
        let path = run.file("manifest.json");
        let text =
            std::fs::read_to_string(&path).map_err(|e| Error::io("read the manifest", e, &path))?;
        serde_json::from_str(&text).map_err(|e| Error::run(format!("{e}"), &path))
    }
}

/// SHA-256 of every file that is trained on, by its path in its dataset.
///
/// # Errors
/// Where a file cannot be read.
pub(crate) fn hashes(used: &[Used]) -> Result<BTreeMap<String, String>> {
    let mut files = Vec::new();
    for used in used {
        for path in &used.files {
            for path in files_of(path)? {
                let inside: &Path = path.strip_prefix(&used.root).unwrap_or(&path);
                files.push((format!("{}/{}", used.role, inside.display()), path));
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
