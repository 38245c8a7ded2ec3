//! A run is a folder: what was asked, what the data decided, the weights, and how to go on.
//!
//! `recipe.toml` (resolved) · `plan.toml` · `weights/*.safetensors` · `state/` (to resume) ·
//! `log.jsonl` · `metrics.json` · `manifest.json`.

use std::fs;
use std::path::{Path, PathBuf};

use crossmod_volume::io::write_atomic;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Budget;
use crate::net::weights::{self, Named};
use crate::{Error, Result};

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
}

/// What a training needs to go on as if it had not stopped.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Seconds spent training.
    pub seconds: f64,
    /// The budget the run was started with.
    pub budget: Option<Budget>,
    /// Arrays by file: weights, optimisers, pools.
    pub arrays: Vec<(String, Vec<Named>)>,
}

#[derive(Serialize, Deserialize)]
struct Position {
    step: u64,
    seconds: f64,
    budget: Option<Budget>,
}

const POSITION: &str = "position.json";

impl RunFolder {
    /// Makes a new run.
    ///
    /// # Errors
    /// [`Error::Run`] where the folder already holds one; where it cannot be made.
    pub fn create(root: &Path) -> Result<Self> {
        if root.join("recipe.toml").exists() {
            return Err(Error::run(
                "expected a new folder, found a run in it; continue it with --resume or choose \
                 another --out",
                root,
            ));
        }
        fs::create_dir_all(root.join("weights"))
            .map_err(|e| Error::io("make the run's folder", e, root))?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Removes the folder again where nothing was written into it.
    pub(crate) fn remove_if_empty(&self) {
        // What is not empty stays, which is what is wanted.
        let _ = fs::remove_dir(self.root.join("weights"));
        let _ = fs::remove_dir(&self.root);
    }

    /// Opens an existing run.
    ///
    /// # Errors
    /// [`Error::Run`] where the folder is not a run.
    pub fn open(root: &Path) -> Result<Self> {
        if !root.join("recipe.toml").is_file() {
            return Err(Error::run(
                "expected a run (a folder with recipe.toml), found none; make one with \
                 `crossmod train`",
                root,
            ));
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The run's own folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the run.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a value as TOML.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_toml(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let path = self.file(name);
        let text = toml::to_string_pretty(value).map_err(|e| Error::run(e.to_string(), &path))?;
        Ok(write_atomic(&path, |out| out.write_all(text.as_bytes()))?)
    }

    /// Reads a value from TOML.
    ///
    /// # Errors
    /// Where the file is missing or does not describe the value.
    pub(crate) fn read_toml<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.file(name);
        let text = fs::read_to_string(&path).map_err(|e| Error::io("read", e, &path))?;
        toml::from_str(&text).map_err(|e| Error::run(e.to_string(), &path))
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_json(&self.file(name), value)
    }

    /// Writes the nets that inference uses.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write_weights(&self, nets: &[(String, Vec<Named>)]) -> Result<()> {
        for (name, arrays) in nets {
            weights::save(&self.weights_path(name), arrays)?;
        }
        Ok(())
    }

    /// Reads the weights of one net.
    ///
    /// # Errors
    /// Where the file is missing or malformed.
    pub fn read_weights(&self, name: &str) -> Result<Vec<Named>> {
        weights::load(&self.weights_path(name))
    }

    /// Where the weights of a net lie.
    #[must_use]
    pub fn weights_path(&self, name: &str) -> PathBuf {
        self.root
            .join("weights")
            .join(format!("{name}.safetensors"))
    }

    /// Replaces the state: the old one stays until the new one is whole.
    ///
    /// # Errors
    /// Where it cannot be written; the old state is then untouched.
    pub fn write_state(&self, state: &State) -> Result<()> {
        let [new, current, old] = ["state.new", "state", "state.old"].map(|n| self.file(n));
        let written = Self::write_state_files(&new, state);
        if let Err(error) = written {
            // Best effort: the error that matters is the one that is returned.
            let _ = fs::remove_dir_all(&new);
            return Err(error);
        }
        let swap = || -> std::io::Result<()> {
            if current.exists() {
                if old.exists() {
                    fs::remove_dir_all(&old)?;
                }
                fs::rename(&current, &old)?;
            }
            fs::rename(&new, &current)?;
            if old.exists() {
                fs::remove_dir_all(&old)
            } else {
                Ok(())
            }
        };
        swap().map_err(|e| Error::io("replace the state", e, &current))
    }

    fn write_state_files(folder: &Path, state: &State) -> Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(|e| Error::io("clear the state", e, folder))?;
        }
        fs::create_dir_all(folder).map_err(|e| Error::io("make the state's folder", e, folder))?;
        for (name, arrays) in &state.arrays {
            weights::save(&folder.join(format!("{name}.safetensors")), arrays)?;
        }
        let position = Position {
            step: state.step,
            seconds: state.seconds,
            budget: state.budget,
        };
        write_json(&folder.join(POSITION), &position)
    }

    /// The last state, or none where no checkpoint was written yet.
    ///
    /// # Errors
    /// Where the state is there and cannot be read.
    pub fn read_state(&self) -> Result<Option<State>> {
        // A stop between the two renames leaves the old state under its other name.
        let Some(folder) = ["state", "state.old"]
            .map(|n| self.file(n))
            .into_iter()
            .find(|f| f.join(POSITION).is_file())
        else {
            return Ok(None);
        };
        let path = folder.join(POSITION);
        let text = fs::read_to_string(&path).map_err(|e| Error::io("read", e, &path))?;
        let position: Position = serde_json::from_str(&text)
            .map_err(|e| Error::run(format!("expected a checkpoint's position: {e}"), &path))?;
        let mut arrays = Vec::new();
        let entries = fs::read_dir(&folder).map_err(|e| Error::io("list", e, &folder))?;
        for entry in entries {
            let path = entry.map_err(|e| Error::io("list", e, &folder))?.path();
            if let (Some("safetensors"), Some(stem)) = (
                path.extension().and_then(|e| e.to_str()),
                path.file_stem().and_then(|s| s.to_str()),
            ) {
                arrays.push((stem.to_owned(), weights::load(&path)?));
            }
        }
        let Position {
            step,
            seconds,
            budget,
        } = position;
        Ok(Some(State {
            step,
            seconds,
            budget,
            arrays,
        }))
    }
}

impl State {
    /// The arrays saved under `name`.
    ///
    /// # Errors
    /// [`Error::Run`] where they are missing.
    pub fn arrays(&self, name: &str, run: &Path) -> Result<&[Named]> {
        self.arrays
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, a)| a.as_slice())
            .ok_or_else(|| {
                Error::run(
                    format!("expected {name}.safetensors in the checkpoint; the run cannot resume"),
                    run,
                )
            })
    }
}

/// Writes a value as indented JSON, whole or not at all.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::run(e.to_string(), path))?;
    Ok(write_atomic(path, |out| {
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(step: u64) -> State {
        let arrays = vec![Named {
            name: "a".into(),
            shape: vec![2],
            values: vec![1.0, step as f32],
        }];
        State {
            step,
            seconds: 1.5,
            budget: Some(Budget::Steps(9)),
            arrays: vec![("net".into(), arrays)],
        }
    }

    #[test]
    fn a_state_comes_back_and_survives_a_stop_between_renames() -> Result<()> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("run");
        let run = RunFolder::create(&root)?;
        assert!(run.read_state()?.is_none());
        run.write_state(&state(1))?;
        run.write_state(&state(2))?;
        let back = run.read_state()?.expect("a state");
        assert_eq!((back.step, back.budget), (2, Some(Budget::Steps(9))));
        assert_eq!(back.arrays("net", &root)?[0].values, [1.0, 2.0]);
        assert!(back.arrays("other", &root).is_err());
        fs::rename(root.join("state"), root.join("state.old")).expect("renamed");
        assert_eq!(run.read_state()?.expect("the old state").step, 2);
        Ok(())
    }

    #[test]
    fn a_folder_with_a_run_is_not_overwritten() -> Result<()> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = RunFolder::create(folder.path())?;
        assert!(RunFolder::open(folder.path()).is_err());
        run.write_toml("recipe.toml", &toml::Table::new())?;
        assert!(RunFolder::create(folder.path()).is_err());
        assert!(RunFolder::open(folder.path()).is_ok());
        Ok(())
    }
}
