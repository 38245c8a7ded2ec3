//! Writing a dataset as nnU-Net's second version has it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::cases::stem_and_ending;
use super::{Case, Dataset};
use crate::{Error, Result, io};

/// The ending of every file written.
const ENDING: &str = ".nii.gz";

/// Writes a dataset, whatever its layout, to a folder that nnU-Net reads: images and label maps under
/// the names it expects, masks merged, and `dataset.json` with channels, labels, regions, the value to
/// ignore and the classes that were drawn. Files that have the right format already are copied as they
/// are.
///
/// # Errors
/// [`Error::Dataset`] where the folder has files already; otherwise as [`io::read_image`],
/// [`Dataset::read_labels`] and [`io::write_image`].
pub fn write_nnunet(dataset: &Dataset, out: &Path) -> Result<()> {
    let taken = out.is_dir() && fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if taken || out.is_file() {
        return Err(Error::dataset(
            "expected a new folder for the dataset, found one with files; choose another",
            out,
        ));
    }
    let sides = [("Tr", &dataset.training), ("Ts", &dataset.test)];
    for (side, cases) in sides {
        if cases.is_empty() {
            continue;
        }
        let labelled = |case: &Case| case.label.is_some() || !dataset.masks(case).is_empty();
        for (kind, wanted) in [("images", true), ("labels", cases.iter().any(labelled))] {
            let folder = out.join(format!("{kind}{side}"));
            if wanted {
                fs::create_dir_all(&folder)
                    .map_err(|e| Error::io("make the folder", e, &folder))?;
            }
        }
        let written: Vec<Result<()>> = cases
            .par_iter()
            .map(|case| write_case(dataset, case, out, side))
            .collect();
        written.into_iter().collect::<Result<()>>()?;
    }
    let text = serde_json::to_string_pretty(&description(dataset)).unwrap_or_default();
    io::write_atomic(&out.join("dataset.json"), |to| {
        to.write_all(text.as_bytes())
    })
}

fn write_case(dataset: &Dataset, case: &Case, out: &Path, side: &str) -> Result<()> {
    for (channel, path) in case.images.iter().enumerate() {
        let to = out.join(format!("images{side}/{}_{channel:04}{ENDING}", case.id));
        copy_image(path, &to)?;
    }
    let to = out.join(format!("labels{side}/{}{ENDING}", case.id));
    match &case.label {
        Some(path) if copied(path, &to)? => {}
        _ => {
            if let Some(labels) = dataset.read_labels(case)? {
                io::write_labels(&to, &labels)?;
            }
        }
    }
    Ok(())
}

/// Writes an image under another name: as it is where that says the same format, else as far as the
/// other format can hold it.
///
/// # Errors
/// As [`io::read_image`] and [`io::write_image`].
pub fn copy_image(from: &Path, to: &Path) -> Result<()> {
    if copied(from, to)? {
        return Ok(());
    }
    let (image, storage) = io::read_image_stored(from)?;
    io::write_image(to, &image, &storage)
}

/// Copies a file whose name says the format of the other's, if all is in that file; false of any
/// other.
fn copied(from: &Path, to: &Path) -> Result<bool> {
    let [ending, other] = [from, to].map(|path| stem_and_ending(path).map(|(_, ending)| ending));
    let same = ending.is_some() && ending == other && io::files_of(from)?.len() == 1;
    if same {
        fs::copy(from, to).map_err(|e| Error::io("copy the file", e, from))?;
    }
    Ok(same)
}

/// What `dataset.json` says.
fn description(dataset: &Dataset) -> Value {
    let channels = dataset.channels.iter().enumerate();
    let channels: Map<String, Value> = channels
        .map(|(i, name)| (i.to_string(), json!(name)))
        .collect();
    let mut labels = Map::new();
    labels.insert("background".into(), json!(0));
    if dataset.regions.is_empty() {
        for (value, name) in dataset.labels.iter().filter(|(value, _)| **value > 0) {
            let name = if labels.contains_key(name) {
                format!("{name} {value}")
            } else {
                name.clone()
            };
            labels.insert(name, json!(value));
        }
    } else {
        for region in &dataset.regions {
            labels.insert(region.name.clone(), json!(region.values));
        }
    }
    if let Some(ignore) = dataset.ignore {
        labels.insert("ignore".into(), json!(ignore));
    }
    let mut description = json!({
        "name": dataset.name,
        "channel_names": channels,
        "labels": labels,
        "numTraining": dataset.training.len(),
        "file_ending": ENDING,
    });
    if !dataset.regions.is_empty() {
        let order: Vec<u16> = dataset.regions.iter().map(|region| region.value).collect();
        description["regions_class_order"] = json!(order);
    }
    let name_of = |value: &u16| {
        let mut regions = dataset.regions.iter();
        match regions.find(|region| region.value == *value) {
            Some(region) => Some(region.name.clone()),
            None => dataset.labels.get(value).cloned(),
        }
    };
    let partly: BTreeMap<&str, Vec<String>> = dataset
        .cases()
        .filter_map(|case| {
            let drawn = case.labelled.as_ref()?;
            Some((&*case.id, drawn.iter().filter_map(name_of).collect()))
        })
        .collect();
    if !partly.is_empty() {
        description["labelled"] = json!(partly);
    }
    description
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::trial::Trial;
    use crate::dataset::{Finding, Severity, check};

    #[test]
    fn what_is_written_reads_as_what_it_was() {
        let trial = Trial::described(
            r#"{"modality": {"0": "T1", "1": "T2"}, "labels": {"background": 0,
                "whole": [1, 2], "core": 2, "ignore": 3}, "regions_class_order": [1, 2],
                "labelled": {"b": ["core"]}}"#,
        );
        for case in ["a", "b"] {
            for channel in 0..2 {
                trial.image(
                    &format!("imagesTr/{case}_000{channel}.nii"),
                    &[0.0, 1.0, 2.0],
                );
            }
            trial.labels(&format!("labelsTr/{case}.nii"), &[0, 1, 3]);
        }
        trial.image("imagesTs/c_0000.nii", &[4.0, 5.0]);
        trial.image("imagesTs/c_0001.nii", &[6.0, 7.0]);
        let (before, out) = (trial.open(), trial.root().join("out"));
        write_nnunet(&before, &out).expect("written");
        let after = Dataset::open(&out).expect("a dataset");
        let ids = |cases: &[Case]| cases.iter().map(|c| c.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&after.training), ids(&before.training));
        assert_eq!(
            (&after.channels, &after.labels, after.ignore, &after.regions),
            (
                &before.channels,
                &before.labels,
                before.ignore,
                &before.regions
            )
        );
        assert_eq!(after.training[1].labelled, Some(vec![2]));
        let labels = |dataset: &Dataset| dataset.read_labels(&dataset.training[0]).expect("labels");
        assert_eq!(labels(&after), labels(&before));
        assert!(write_nnunet(&before, &out).is_err());
    }

    #[test]
    fn masks_become_label_maps_and_files_of_the_format_stay_as_they_are() {
        let trial = Trial::new();
        trial.image("s1/ct.nii.gz", &[0.0, 1.0, 2.0]);
        trial.labels("s1/segmentations/spleen.nii.gz", &[0, 1, 0]);
        trial.labels("s1/segmentations/aorta.nii.gz", &[1, 0, 0]);
        let out = trial.root().join("out");
        write_nnunet(&trial.open(), &out).expect("written");
        let bytes = |path: &Path| fs::read(path).expect("a file");
        assert_eq!(
            bytes(&out.join("imagesTr/s1_0000.nii.gz")),
            bytes(&trial.root().join("s1/ct.nii.gz"))
        );
        let after = Dataset::open(&out).expect("a dataset");
        assert_eq!(&*after.labels[&2], "spleen");
        let labels = after.read_labels(&after.training[0]).expect("readable");
        assert_eq!(labels.expect("labels").data(), [1, 2, 0]);
    }

    /// Images of two files count once, and formats that are only read are of use too.
    #[test]
    fn images_of_every_format_are_a_dataset() {
        let trial = Trial::new();
        for ending in ["mhd", "mha", "hdr", "nrrd", "nii"] {
            trial.image(&format!("images/{ending}.{ending}"), &[0.0, 1.0, 2.0]);
            trial.labels(&format!("labels/{ending}.{ending}"), &[0, 1, 2]);
        }
        trial.mgz("images/mgz.mgz", &[0, 3, 4]);
        trial.mgz("labels/mgz.mgz", &[0, 1, 2]);
        let dataset = trial.open();
        let wrong = |f: &Finding| f.severity != Severity::Note && f.field != "content";
        let findings = check(&dataset);
        assert!(!findings.iter().any(wrong), "{findings:#?}");
        let out = trial.root().join("out");
        write_nnunet(&dataset, &out).expect("written");
        let after = Dataset::open(&out).expect("a dataset");
        assert_eq!(after.training.len(), 6);
        for case in &after.training {
            let labels = after.read_labels(case).expect("readable").expect("labels");
            assert_eq!(labels.data(), [0, 1, 2], "{}", case.id);
            let grid = io::read_grid(&case.images[0]).expect("readable").0;
            assert!(grid.matches(labels.grid(), 1e-6), "{}", case.id);
        }
    }
}
