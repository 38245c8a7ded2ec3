//! A whole two-modality study on disk, as nnU-Net folders.
//!
//! | folder | holds |
//! |---|---|
//! | `ct/` | labelled source scans: `imagesTr`, `labelsTr` |
//! | `mr/` | target scans: unlabelled `imagesTr`; `imagesTs` with `labelsTs` to measure on |
//! | `mr_labelled/` | the same `mr/imagesTr` with their labels: only for a yardstick trained on the target |
//! | `draws/` | each patient's record, JSON |
//!
//! Every patient is scanned once, in one modality; numbers run on through the folders, so no two
//! cases share a name. CT is stored as `i16` in LPS order, MR as `u16` in oblique RAS order.

use std::fs;
use std::path::{Path, PathBuf};

use crossmod_volume::io::{Dtype, Storage, write_atomic, write_image, write_labels};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{LABELS, Modality, PhantomConfig, draw, render};
use crate::{Error, Result};

/// Most cases of one kind: three digits number the patients of all three together.
const MOST_CASES: usize = 333;

/// How large a study is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StudyConfig {
    /// Seed of everything.
    pub seed: u64,
    /// Labelled CT patients.
    pub source_cases: usize,
    /// MR patients to adapt to, without labels.
    pub target_cases: usize,
    /// MR patients to measure on.
    pub test_cases: usize,
    /// What the patients and scans are like.
    pub phantom: PhantomConfig,
}

impl Default for StudyConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            source_cases: 8,
            target_cases: 8,
            test_cases: 3,
            phantom: PhantomConfig::default(),
        }
    }
}

/// Where a study was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Study {
    /// The labelled source dataset.
    pub ct: PathBuf,
    /// The target dataset, its training images unlabelled.
    pub mr: PathBuf,
    /// The target's training images with their labels.
    pub mr_labelled: PathBuf,
    /// The records.
    pub draws: PathBuf,
}

/// Renders a study into `out`, which is created where it does not exist. Files that are there
/// under the same names are replaced; others are left.
///
/// # Errors
/// [`Error::Config`] where a number of cases or a setting lies outside its range;
/// [`Error::Volume`] where a file cannot be written.
pub fn write_study(out: &Path, config: &StudyConfig) -> Result<Study> {
    for (name, count) in [
        ("source_cases", config.source_cases),
        ("target_cases", config.target_cases),
        ("test_cases", config.test_cases),
    ] {
        if !(1..=MOST_CASES).contains(&count) {
            return Err(Error::Config(format!(
                "expected {name} between 1 and {MOST_CASES}, found {count}"
            )));
        }
    }
    let study = Study {
        ct: out.join("ct"),
        mr: out.join("mr"),
        mr_labelled: out.join("mr_labelled"),
        draws: out.join("draws"),
    };
    let folders = [
        study.ct.join("imagesTr"),
        study.ct.join("labelsTr"),
        study.mr.join("imagesTr"),
        study.mr.join("imagesTs"),
        study.mr.join("labelsTs"),
        study.mr_labelled.join("imagesTr"),
        study.mr_labelled.join("labelsTr"),
        study.draws.clone(),
    ];
    for folder in &folders {
        fs::create_dir_all(folder)
            .map_err(|e| crossmod_volume::Error::io("create the folder", e, folder))?;
    }
    let [source, target, test] = [config.source_cases, config.target_cases, config.test_cases];
    (0..source + target + test)
        .into_par_iter()
        .try_for_each(|index| {
            let role = match index {
                i if i < source => Role::Source,
                i if i < source + target => Role::Target,
                _ => Role::Test,
            };
            write_case(&study, config, index, role)
        })?;
    write_json(
        &study.ct.join("dataset.json"),
        &description("phantom_ct", "CT", source),
    )?;
    write_json(
        &study.mr.join("dataset.json"),
        &description("phantom_mr", "MR", 0),
    )?;
    write_json(
        &study.mr_labelled.join("dataset.json"),
        &description("phantom_mr_labelled", "MR", target),
    )?;
    Ok(study)
}

#[derive(Clone, Copy)]
enum Role {
    Source,
    Target,
    Test,
}

fn write_case(study: &Study, config: &StudyConfig, index: usize, role: Role) -> Result<()> {
    let name = format!("p{:03}", index + 1);
    let record = draw(&config.phantom, config.seed, index as u64)?;
    let path = study.draws.join(format!("{name}.json"));
    let value = serde_json::to_value(&record).map_err(|e| Error::record(e, &path))?;
    write_json(&path, &value)?;

    let (modality, dtype, places): (_, _, &[(&Path, &str, bool)]) = match role {
        Role::Source => (Modality::Ct, Dtype::I16, &[(&study.ct, "Tr", true)]),
        Role::Target => (
            Modality::Mr,
            Dtype::U16,
            &[(&study.mr, "Tr", false), (&study.mr_labelled, "Tr", true)],
        ),
        Role::Test => (Modality::Mr, Dtype::U16, &[(&study.mr, "Ts", true)]),
    };
    let (image, labels) = render(&record, modality)?;
    let storage = Storage {
        dtype,
        ..Storage::default()
    };
    for (folder, side, labelled) in places {
        let images = folder.join(format!("images{side}"));
        write_image(
            &images.join(format!("{name}_0000.nii.gz")),
            &image,
            &storage,
        )?;
        if *labelled {
            let path = folder
                .join(format!("labels{side}"))
                .join(format!("{name}.nii.gz"));
            write_labels(&path, &labels)?;
        }
    }
    Ok(())
}

fn description(name: &str, channel: &str, labelled: usize) -> Value {
    let labels: serde_json::Map<String, Value> = LABELS
        .iter()
        .map(|&(value, name)| (name.to_owned(), json!(value)))
        .collect();
    json!({
        "name": name,
        "channel_names": {"0": channel},
        "labels": labels,
        "numTraining": labelled,
        "file_ending": ".nii.gz",
    })
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    Ok(write_atomic(path, |file| {
        Ok(serde_json::to_writer_pretty(file, value)?)
    })?)
}
